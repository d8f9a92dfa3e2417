"""`make run`: from nothing to searched photos in one command, safe to interrupt at any point; the next run goes on where this one stopped.

    python3 setup/trial.py [--photos DIR] [--weights DIR]

It prepares the environments, exports the models once, ingests the photos, drains the queue and asks one question. Where no download is
possible it says what is missing and how to bring it, and goes on with random weights, whose results mean nothing and say so.
Needs Python >= 3.11 and nothing else. Every setting given from outside is respected.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RUN, EXPORT = ROOT / ".venv/bin/python", ROOT / ".venv-export/bin/python"
PICTURES = {".jpg", ".jpeg", ".png"}
SIZES = "mlxsn"  # the preferred YOLO first; the smallest last
SMALLEST_SAMPLE_BYTES = 10_000
FACES, OCR = "faces", "ocr"
READERS = ("easyocr", "ppocr")
# Asked of the program itself: what is to be done with photos, whether somebody said so, and which of it lacks its models.
SURVEY = """
import json, sys
from kizu_fast.survey import survey
from kizu_fast.errors import ConfigError
from kizu_fast.settings import load_settings
from kizu_fast.worker.config import engine_config
try:
    settings = load_settings()
    found = survey(engine_config(settings, settings.operations))
except ConfigError as error:
    sys.exit(f"kizu-fast: {error}")
print(json.dumps({
    "operations": list(settings.operations), "given": "operations" in settings.model_fields_set,
    "reader": settings.ocr_model, "reader_given": "ocr_model" in settings.model_fields_set,
    "missing": {str(operation): reason for operation, reason in found.missing.items()},
}))
"""

_child: subprocess.Popen[str] | None = None
_stopped = False


class StepFailed(Exception):
    """A step ended badly; it has said why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def main() -> int:
    """Exit 0 when every photo has ended (failed ones are listed), 130 when interrupted, else the failing step's code."""
    parser = argparse.ArgumentParser(prog="make run", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos (default: pictures that installed packages carry)")
    parser.add_argument("--weights", type=Path, help="folder of original weights (default: download the official ones)")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        _run(arguments.photos, arguments.weights)
    except StepFailed as failure:
        return failure.code
    except KeyboardInterrupt:
        _say("interrupted; nothing is left running, `make run` goes on from here")
        return 130
    return 0


def _run(photos: Path | None, weights: Path | None) -> None:
    for folder, name in ((photos, "PHOTOS"), (weights, "WEIGHTS")):
        if folder is not None and not folder.expanduser().is_dir():
            _say(f"{name}={folder} is no folder")
            raise StepFailed(1)
    _step([sys.executable, ROOT / "setup/environments.py", "run", "export"])
    weights = weights.expanduser().resolve() if weights else None
    os.environ.setdefault("KIZU_DATA_DIR", str(ROOT / ".kizu"))
    os.environ.setdefault("KIZU_ALLOW_RANDOM", "true")
    os.environ.setdefault("KIZU_MODEL_REPOSITORY", str(ROOT / "model_repository"))
    _choose_yolo(weights)
    _choose_pack(weights)
    _export(weights)
    _export_optional(weights)
    folder = photos.expanduser().resolve() if photos else _sample_photos()
    os.environ.setdefault("LIBRARY_ROOT", str(folder))
    _step([RUN, "-m", "kizu_fast.cli", "ingest", folder])
    _step([RUN, "-m", "kizu_fast.worker", "--drain"])
    _step([RUN, "-m", "kizu_fast.cli", "status", "--summary"])
    question = "a photo of people" if photos is None else "a photo of something"
    _say(f'one search: kizu-fast search "{question}"')
    _step([RUN, "-m", "kizu_fast.cli", "search", question, "--limit", "5"])
    kept = ("KIZU_DATA_DIR", "KIZU_ALLOW_RANDOM", "KIZU_OPERATIONS", "YOLO_SIZE", "FACE_MODEL_NAME", "OCR_MODEL")
    settings = " ".join(f"{name}={os.environ[name]}" for name in kept if name in os.environ)
    _say(f'ask your own: {settings} .venv/bin/kizu-fast search "a dog on a beach" --open results.html')


def _choose_yolo(weights: Path | None) -> None:
    """With WEIGHTS and no YOLO_SIZE, the size that the folder holds."""
    if os.environ.get("YOLO_SIZE") or weights is None:
        return
    held = [size for size in SIZES if (weights / f"yolov8{size}.pt").exists()]
    if held:
        os.environ["YOLO_SIZE"] = held[0]
        _say(f"YOLO_SIZE={held[0]}, since {weights} holds yolov8{held[0]}.pt; set YOLO_SIZE to choose another")


def _export(weights: Path | None) -> None:
    """Each model from the folder, else from the official source, else with random weights: said, never silent."""
    for model in ("clip", "yolo"):
        sources = [str(weights), "official"] if weights else ["official"]
        if any(_step([EXPORT, "-m", "export", "--models", model, "--weights", source], check=False) == 0 for source in sources):
            continue
        if model == "yolo" and _exported_yolo():
            continue
        _say(f"{model}: going on with random weights. Its results will mean nothing; bring the weights as said above, then `make run` again")
        _step([EXPORT, "-m", "export", "--models", model, "--weights", "random"])


def _choose_pack(weights: Path | None) -> None:
    """With WEIGHTS and no FACE_MODEL_NAME, a whole pack that the folder holds."""
    if os.environ.get("FACE_MODEL_NAME") or weights is None or not (weights / "insightface" / "models").is_dir():
        return
    held = _output([EXPORT, "-m", "export.held", weights]).split()
    if held:
        os.environ["FACE_MODEL_NAME"] = held[0]
        _say(f"FACE_MODEL_NAME={held[0]}, since {weights} holds that pack; set FACE_MODEL_NAME to choose another")


def _export_optional(weights: Path | None) -> None:
    """Faces and text, if they are asked for: from the folder, else from the official source. There are no random weights that would be worth a look.

    What cannot be had is left out of this run and said, so that photos do not fail for it; unless somebody asked for it by KIZU_OPERATIONS.
    """
    survey = _survey()
    for operation, words in ((FACES, ["face"]), (OCR, _readers(survey))):
        if operation in survey["operations"]:
            _export_one(words, weights, there=operation not in survey["missing"])
    survey = _survey()
    if OCR in survey["operations"]:
        _export_other_readers(survey["reader"], weights)
    absent = [operation for operation in survey["operations"] if operation in survey["missing"] and operation in (FACES, OCR)]
    for operation in absent:
        _say(f"{operation}: its models could not be had, so it is left out of this run: {survey['missing'][operation]}; then: make run")
    if absent and not survey["given"]:
        os.environ["KIZU_OPERATIONS"] = ",".join(operation for operation in survey["operations"] if operation not in absent)
    if FACES in survey["operations"] and FACES not in absent:
        _say("faces: packs of InsightFace are for non-commercial research only; KIZU_OPERATIONS without `faces` leaves them out")


def _readers(survey: dict[str, Any]) -> list[str]:
    """OCR_MODEL, and if nobody set it the other one where the first cannot be had."""
    chosen = survey["reader"]
    return [chosen] if survey["reader_given"] else [chosen, *(word for word in READERS if word != chosen)]


def _export_one(words: list[str], weights: Path | None, *, there: bool) -> None:
    """The first of words that can be had. there: its models were exported before, so that a place that cannot be reached changes nothing."""
    for word in words:
        sources = [*([str(weights)] if weights else []), *([] if there else ["official"])]
        if any(_step([EXPORT, "-m", "export", "--models", word, "--weights", source], check=False) == 0 for source in sources) or there:
            if word != words[0]:
                os.environ["OCR_MODEL"] = word
                _say(f"OCR_MODEL={word}, since the models of {words[0]} could not be had; set OCR_MODEL to choose")
            return


def _export_other_readers(chosen: str, weights: Path | None) -> None:
    """Those that the weights folder holds: they stay one setting apart."""
    for word in READERS:
        if weights is not None and word != chosen and (weights / word).is_dir():
            _step([EXPORT, "-m", "export", "--models", word, "--weights", str(weights)], check=False)


def _survey() -> dict[str, Any]:
    """The program's own words about its settings. Raises StepFailed after it has said what is wrong with them."""
    found: dict[str, Any] = json.loads(_output([RUN, "-c", SURVEY]))
    return found


def _output(command: list[str | Path]) -> str:
    """What a short step prints. Raises StepFailed."""
    done = subprocess.run(list(map(str, command)), cwd=ROOT, text=True, stdout=subprocess.PIPE, check=False)
    if _stopped:
        raise KeyboardInterrupt
    if done.returncode:
        raise StepFailed(done.returncode)
    return done.stdout


def _exported_yolo() -> bool:
    """Without YOLO_SIZE, a size that an earlier run exported with real weights serves."""
    if os.environ.get("YOLO_SIZE"):
        return False
    held = [size for size in SIZES if (Path(os.environ["KIZU_MODEL_REPOSITORY"]) / f"yolov8{size}" / "1" / "model.onnx").exists()]
    if not held:
        return False
    os.environ["YOLO_SIZE"] = held[0]
    _say(f"YOLO_SIZE={held[0]}, which was exported before")
    return True


def _sample_photos() -> Path:
    """Pictures that installed packages carry, copied once into the data folder. They are not ours to ship."""
    folder = Path(os.environ["KIZU_DATA_DIR"]) / "sample-photos"
    folder.mkdir(parents=True, exist_ok=True)
    code = "import json, site, sys; print(json.dumps([p for p in sys.path if p.endswith('site-packages')]))"
    places = json.loads(subprocess.run([EXPORT, "-c", code], check=True, capture_output=True, text=True).stdout)
    for package in ("ultralytics/assets", "skimage/data", "insightface/data/images", "matplotlib/mpl-data/sample_data", "sklearn/datasets/images"):
        for place in places:
            for picture in sorted((Path(place) / package).glob("*")):
                target = folder / picture.name
                if picture.suffix.lower() in PICTURES and picture.stat().st_size > SMALLEST_SAMPLE_BYTES and not target.exists():
                    shutil.copyfile(picture, target.with_suffix(".part"))
                    target.with_suffix(".part").rename(target)
    _say(f"{sum(1 for _ in folder.iterdir())} sample pictures of installed packages in {folder}; your own: make run PHOTOS=~/Pictures")
    return folder


def _step(command: list[str | Path], *, check: bool = True) -> int:
    """Run one step in the foreground. Raises StepFailed when it fails and check is set, KeyboardInterrupt when a signal came meanwhile."""
    global _child  # noqa: PLW0603  # the signal handler passes signals on to it
    # In a process group of its own: Ctrl-C then reaches it once, through _stop, and a second one is a second signal.
    _child = subprocess.Popen(list(map(str, command)), cwd=ROOT, text=True, process_group=0)
    code = _child.wait()
    _child = None
    if _stopped:
        raise KeyboardInterrupt
    if code and check:
        raise StepFailed(code)
    return code


def _stop(number: int, _frame: FrameType | None) -> None:
    """Pass the signal on to the running step with all its children; _step waits for its orderly end. Between steps, end at once."""
    global _stopped  # noqa: PLW0603
    _stopped = True
    if _child is None:
        raise KeyboardInterrupt
    with contextlib.suppress(ProcessLookupError):
        os.killpg(_child.pid, number)


def _say(text: str) -> None:
    sys.stderr.write(f"run: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
