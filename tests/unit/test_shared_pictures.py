"""kizu_fast/imaging.py on a set of real and hostile files with known truth, where one is at hand beside the project."""

import json
import os
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from kizu_fast.domain import Photo, PhotoFacts
from kizu_fast.errors import PermanentError
from kizu_fast.imaging import decode, looks_like_picture, read_facts

IMAGES = Path(os.environ.get("KIZU_TEST_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "images"
CAPS = {"max_pixels": 128_000_000, "max_bytes": 268_435_456}
SECONDS = 10.0

pytestmark = pytest.mark.skipif(not IMAGES.is_dir(), reason=f"no picture set with truth at {IMAGES}; set KIZU_TEST_SHARED")


def rows(folder: str) -> list[dict[str, Any]]:
    truth = IMAGES / folder / "truth.json"
    return list(json.loads(truth.read_text())[folder]) if truth.exists() else []


def wall_time(text: str | None) -> datetime | None:
    """EXIF's text to a date, None if the calendar does not have it."""
    try:
        return datetime.strptime(text or "", "%Y:%m:%d %H:%M:%S")  # EXIF time has no zone
    except ValueError:
        return None


def offset_minutes(text: str | None) -> int | None:
    if not text or len(text) != 6:
        return None
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    return None if minutes > 15 * 60 else minutes * (-1 if text[0] == "-" else 1)


def check_exif(facts: PhotoFacts, exif: dict[str, Any], name: str) -> None:
    assert facts.taken_at_local == wall_time(exif.get("datetime_original")), name
    if facts.taken_at_local is not None:
        assert facts.utc_offset_minutes == offset_minutes(exif.get("offset_original")), name
    altitude = exif.get("gps_altitude")
    assert facts.altitude_m == (None if altitude is None or abs(altitude) > 100_000 else pytest.approx(altitude, abs=0.01)), name
    assert (facts.camera_make, facts.camera_model) == (exif.get("make"), exif.get("model")), name
    stated = exif.get("orientation", 1)
    assert facts.orientation == (stated if stated in range(1, 9) else 1), name
    gps = exif.get("gps")
    if gps and abs(gps[0]) <= 90 and abs(gps[1]) <= 180:
        assert (facts.latitude, facts.longitude) == pytest.approx(gps, abs=1e-5), name
    else:
        assert (facts.latitude, facts.longitude) == (None, None), name


def decoded(content: bytes) -> tuple[Photo, PhotoFacts] | str:
    """The photo, or the reason against it."""
    try:
        return decode(content, **CAPS)
    except PermanentError as error:
        return str(error)


@pytest.mark.parametrize("entry", rows("formats"), ids=lambda entry: entry["file"])
def test_every_kind_of_file_is_decoded_upright_or_refused_in_one_line(entry: dict[str, Any]) -> None:
    data = (IMAGES / "formats" / entry["file"]).read_bytes()
    width, height = entry.get("upright", (0, 0))
    readable = entry["pillow"]["ok"] and 0 < width * height <= CAPS["max_pixels"] and entry["kind"] != "hostile"
    started = time.monotonic()
    outcome = decoded(data)
    assert time.monotonic() - started < SECONDS
    if isinstance(outcome, str):
        assert not readable, outcome
        assert "\n" not in outcome
        return
    photo, facts = outcome
    assert (photo.width, photo.height) == (facts.width, facts.height)
    assert photo.pixels.shape[0] <= photo.height
    if readable:
        assert (photo.width, photo.height) == (width, height)
        assert looks_like_picture(data[:64], entry["file"])


@pytest.mark.parametrize(
    "entry", [entry for entry in rows("formats") if entry.get("exif") and entry["pillow"]["ok"]], ids=lambda entry: entry["file"]
)
def test_exif_facts_equal_the_truth_or_are_null_where_it_is_impossible(entry: dict[str, Any]) -> None:
    check_exif(read_facts((IMAGES / "formats" / entry["file"]).read_bytes(), **CAPS), entry["exif"], entry["file"])


def test_every_photo_has_its_upright_size_and_exif_facts() -> None:
    for entry in rows("photos"):
        facts = read_facts((IMAGES / "photos" / entry["file"]).read_bytes(), **CAPS)
        assert (facts.width, facts.height) == (entry["upright_width"], entry["upright_height"]), entry["file"]
        check_exif(facts, entry["exif"], entry["file"])


def test_full_size_photos_decode_scaled_to_what_the_models_need() -> None:
    originals = [entry for entry in rows("photos") if entry["file"].startswith("orig-")]
    assert originals
    for entry in originals:
        photo, _ = decode((IMAGES / "photos" / entry["file"]).read_bytes(), **CAPS)
        short = min(photo.pixels.shape[:2])
        assert 720 <= short < 1440 or short == min(photo.width, photo.height), entry["file"]


def test_hostile_files_do_not_blow_up_memory() -> None:
    code = """
import sys
from pathlib import Path
from kizu_fast.backends.memory import peak_resident_bytes
from kizu_fast.errors import PermanentError
from kizu_fast.imaging import decode
for path in sorted(Path(sys.argv[1]).iterdir()):
    try:
        decode(path.read_bytes(), max_pixels=128_000_000, max_bytes=268_435_456)
    except PermanentError:
        pass
print(peak_resident_bytes())
"""
    done = subprocess.run([sys.executable, "-c", code, IMAGES / "formats"], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 1300e6
