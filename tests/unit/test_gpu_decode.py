"""kizu_fast/gpu_decode.py. DALI runs here without a GPU where there is none: the same pipeline, with the decoder's CPU half."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from structlog.testing import capture_logs

from kizu_fast.domain import Photo
from kizu_fast.errors import ConfigError, PermanentError
from kizu_fast.gpu_decode import GpuJpeg, has_end, open_gpu_jpeg, pipeline
from kizu_fast.imaging import decode, turbo_jpeg
from tests.unit.pictures import CAPS, encoded, exif_with, jpeg, scene, stored

pytest.importorskip("nvidia.dali", reason="NVIDIA DALI exists for Linux on x86-64 only")

SHARED = Path(os.environ.get("KIZU_TEST_SHARED", Path(__file__).resolve().parents[3] / "shared")) / "images"


def has_gpu() -> bool:
    try:
        pipeline("gpu")
    except RuntimeError:
        return False
    return True


@pytest.fixture(scope="module")
def dali() -> GpuJpeg:
    return GpuJpeg(partial(pipeline, "gpu" if has_gpu() else "cpu"))


def seen(photo: Photo) -> NDArray[np.float32]:
    """What a model of 224 pixels sees, roughly: (224, 224, 3) in grey levels."""
    return np.asarray(Image.fromarray(photo.pixels).resize((224, 224), Image.Resampling.BICUBIC), np.float32)


def outcome(data: bytes, **options: Any) -> Photo | str:
    try:
        return decode(data, **CAPS, **options)[0]
    except PermanentError as error:
        return f"{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def large() -> NDArray[np.uint8]:
    """(1500, 2201, 3): twice as large as is needed, and of an odd width."""
    noise = np.random.default_rng(5).integers(0, 60, (1500, 2201, 3), np.uint8)
    return cv2.GaussianBlur(scene(2201, 1500) // 2 + noise, (0, 0), 1.5)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_has_the_same_shape_and_picture_as_by_the_usual_decoder(dali: GpuJpeg, large: NDArray[np.uint8], orientation: int) -> None:
    data = jpeg(stored(large, orientation), exif=exif_with(orientation))

    ours, usual = decode(data, **CAPS, jpeg=dali)[0], decode(data, **CAPS)[0]

    assert ours.pixels.shape == usual.pixels.shape == (750, 1101, 3)
    assert (ours.width, ours.height) == (2201, 1500)
    assert np.abs(seen(ours) - seen(usual)).mean() < 0.5
    assert np.abs(ours.pixels.astype(int) - usual.pixels).mean() < 2


@pytest.mark.parametrize("options", [{"subsampling": 2}, {"progressive": True}, {"quality": 60, "restart_marker_blocks": 8}], ids=str)
def test_kinds_of_jpeg(dali: GpuJpeg, large: NDArray[np.uint8], options: dict[str, Any]) -> None:
    data = jpeg(large, **options)

    assert np.abs(seen(decode(data, **CAPS, jpeg=dali)[0]) - seen(decode(data, **CAPS)[0])).mean() < 0.5


def test_grey_becomes_three_equal_channels(dali: GpuJpeg, large: NDArray[np.uint8]) -> None:
    pixels = decode(encoded(np.ascontiguousarray(large[..., 0]), "JPEG"), **CAPS, jpeg=dali)[0].pixels

    assert pixels.shape == (750, 1101, 3)
    assert (pixels[..., 0] == pixels[..., 1]).all()
    assert (pixels[..., 0] == pixels[..., 2]).all()


def test_a_picture_that_is_not_scaled_down_keeps_every_pixel(dali: GpuJpeg) -> None:
    data = jpeg()

    assert np.abs(dali(data, 64, 96).astype(int) - turbo_jpeg(data, 64, 96)).max() <= 2


def test_an_end_is_looked_for_behind_the_header() -> None:
    whole = jpeg()
    with_thumbnail = whole[:2] + b"\xff\xe1" + (len(whole) + 2).to_bytes(2, "big") + whole + whole[2:]

    assert has_end(whole)
    assert has_end(with_thumbnail)
    assert has_end(whole + b"a film that a telephone left behind")
    assert not has_end(with_thumbnail[:-200])
    assert not has_end(whole[:-2])
    assert not has_end(b"\xff\xd8")
    assert not has_end(b"")


def damaged(large: NDArray[np.uint8]) -> dict[str, bytes]:
    whole = jpeg(large, subsampling=2)
    return {
        "cut": whole[: len(whole) // 2],
        "no header": b"\xff\xd8" + bytes(64),
        "a hole": whole[: len(whole) // 2] + whole[len(whole) // 2 + 4001 :],
        "noise": whole[: len(whole) // 3] + np.random.default_rng(2).bytes(3000) + whole[len(whole) // 3 + 3000 :],
    }


@pytest.mark.parametrize("kind", ["cut", "no header", "a hole", "noise"])
def test_of_damage_the_usual_decoder_is_the_judge_and_the_next_photo_is_decoded(dali: GpuJpeg, large: NDArray[np.uint8], kind: str) -> None:
    data = damaged(large)[kind]
    usual = outcome(data)

    ours = outcome(data, jpeg=dali)

    assert ours == usual if isinstance(usual, str) else isinstance(ours, Photo)
    assert isinstance(outcome(jpeg(large), jpeg=dali), Photo)


def test_threads_decode_at_once_and_alike(dali: GpuJpeg, large: NDArray[np.uint8]) -> None:
    files = [jpeg(np.roll(large, 97 * turn, 1)) for turn in range(4)]
    alone = [dali(data, 750, 1101) for data in files]

    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda turn: dali(files[turn % 4], 750, 1101), range(12)))

    assert all(np.array_equal(pixels, alone[turn % 4]) for turn, pixels in enumerate(together))


class FailingPipeline:
    """Runs a real one until `fails` says so."""

    def __init__(self, fails: Callable[[], bool]) -> None:
        self._real = pipeline("cpu")
        self._fails = fails
        self.feed_input = self._real.feed_input

    def run(self) -> Any:
        if self._fails():
            raise RuntimeError("CUDA_ERROR_LAUNCH_FAILED\n  somewhere")
        return self._real.run()


def test_a_lost_gpu_is_said_once_and_photos_are_decoded_all_the_same(large: NDArray[np.uint8]) -> None:
    lost: list[bool] = []
    decoder = GpuJpeg(lambda: FailingPipeline(lambda: bool(lost)))
    data = jpeg(large)
    before = decoder(data, 750, 1101)
    lost.append(True)

    with capture_logs() as logs:
        after = [decoder(data, 750, 1101) for _ in range(3)]

    assert [entry["event"] for entry in logs] == ["decode.gpu_lost"]
    assert "CUDA_ERROR_LAUNCH_FAILED" in logs[0]["reason"]
    assert "somewhere" not in logs[0]["reason"]
    assert not np.array_equal(before, after[0])
    assert all(np.array_equal(one, turbo_jpeg(data, 750, 1101)) for one in after)


def test_one_refused_picture_loses_no_gpu(large: NDArray[np.uint8]) -> None:
    refusals = iter([False, True])  # the first is the proof at the start
    decoder = GpuJpeg(lambda: FailingPipeline(lambda: next(refusals, False)))
    data = jpeg(large)

    with capture_logs() as logs:
        first, second = decoder(data, 750, 1101), decoder(data, 750, 1101)

    assert logs == []
    assert np.array_equal(first, turbo_jpeg(data, 750, 1101))
    assert not np.array_equal(second, first)


def test_without_a_gpu_the_answer_is_one_line_with_what_mends_it() -> None:
    if has_gpu():
        assert open_gpu_jpeg()(jpeg(), 64, 96).shape == (64, 96, 3)
        return
    with pytest.raises(ConfigError, match=r"KIZU_DECODE=gpu: DALI decodes nothing here \(.+\); it needs an NVIDIA GPU; KIZU_DECODE=scaled") as caught:
        open_gpu_jpeg()

    assert "\n" not in str(caught.value)
    assert "Assert" not in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"no picture set with truth at {SHARED}; set KIZU_TEST_SHARED")
def test_files_of_all_kinds_end_as_with_the_usual_decoder(dali: GpuJpeg) -> None:
    """Every hostile and odd file, and the largest photos: the same refusals, the same shapes, and pixels no farther from a full decode."""
    names = [Path("formats") / row["file"] for row in json.loads((SHARED / "formats/truth.json").read_text())["formats"]]
    photos = sorted((SHARED / "photos").rglob("*.jp*g"), key=lambda path: -path.stat().st_size)[:12]
    for path in [*(SHARED / name for name in names), *photos]:
        data = path.read_bytes()
        ours, usual = outcome(data, jpeg=dali), outcome(data)
        if isinstance(ours, str) or isinstance(usual, str):
            assert ours == usual, path.name
            continue
        assert ours.pixels.shape == usual.pixels.shape, path.name
        if path in photos:
            full = seen(decode(data, **CAPS, short_side=None)[0])
            assert np.abs(seen(ours) - full).mean() < 0.3, path.name
