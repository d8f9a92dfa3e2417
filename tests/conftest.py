"""Fixtures of the whole suite: real models, exported once per machine and shared by every run."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("KIZU_TEST_SHARED", ROOT.parent / "shared"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kizu_fast" / "tests"
# Clones of other versions export other things: they never share a folder of models.
_VERSION = hashlib.sha256(b"".join(path.read_bytes() for path in sorted([*ROOT.glob("export/**/*.py"), ROOT / "kizu_fast/specs.py"]))).hexdigest()[
    :12
]
MODELS = CACHE / f"models-{_VERSION}"
EXPORT = ROOT / ".venv-export" / "bin" / "python"


def export(repository: Path, models: str, weights: str, **env: str) -> subprocess.CompletedProcess[str]:
    """`python -m export` in the environment that has the original libraries."""
    command = [EXPORT, "-m", "export", "--models", models, "--weights", weights, "--repository", repository]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KIZU_", "CLIP_", "YOLO_", "FACE_", "OCR_"))}
    return subprocess.run(list(map(str, command)), cwd=ROOT, env={**kept, **env}, capture_output=True, text=True, check=False)


@pytest.fixture(autouse=True)
def _logs_as_at_the_start() -> Iterator[None]:
    """A command that ran in this process has pointed the logs at a stream that ends with its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Pictures with truth and the makers of weights, beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"no test data at {SHARED}; set KIZU_TEST_SHARED")
    return SHARED


@pytest.fixture(scope="session")
def shared_images() -> Path | None:
    """The pictures beside the project, None where there are none: for tests that can do with painted ones."""
    return SHARED / "images" if SHARED.is_dir() else None


def _weights(kind: str) -> Path | None:
    """A folder with real weights of that kind among others, None where nobody makes them."""
    maker = SHARED / "bin" / "get-weights"
    if not maker.exists():
        return None
    folder = CACHE / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([maker, folder, kind], check=True, capture_output=True)
    return folder


def _repository(part: str, models: str, *weights: Path | str, **env: str) -> Path:
    """A repository of the suite with these models, of each source of weights. Exported once per version of the exporting code."""
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    repository = MODELS.with_name(f"{MODELS.name}-{part}")
    repository.mkdir(parents=True, exist_ok=True)
    for source in weights:
        done = export(repository, models, str(source), **env)
        assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture(scope="session")
def trained_weights() -> Path | None:
    """A folder with a trained yolov8n.pt, None where there is none."""
    return _weights("yolo")


@pytest.fixture(scope="session")
def packs_at_hand() -> Path | None:
    """A folder with InsightFace's pack buffalo_s, None where there is none."""
    return _weights("face")


@pytest.fixture(scope="session")
def face_weights(packs_at_hand: Path | None) -> Path:
    """The same, for tests that mean nothing without it."""
    if packs_at_hand is None:
        pytest.skip("no pack of InsightFace at hand, and none may be shipped: its licence is for research alone")
    return packs_at_hand


@pytest.fixture(scope="session")
def easyocr_weights() -> Path:
    """A folder with easyocr's CRAFT and its English recogniser."""
    return _weights("easyocr") or pytest.skip("no checkpoints of easyocr at hand; put shared/ beside the project")


@pytest.fixture(scope="session")
def ppocr_weights() -> Path:
    """A folder with the newest files of PP-OCR: those that the package rapidocr brings into the export environment."""
    if not EXPORT.exists():
        pytest.skip("no export environment; run: make setup")
    where = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('rapidocr').origin).parent / 'models')"
    done = subprocess.run([EXPORT, "-c", where], capture_output=True, text=True, check=True)
    return Path(done.stdout.strip())


@pytest.fixture(scope="session")
def models(trained_weights: Path | None) -> Path:
    """ViT-B-32 (seeded random weights) and YOLOv8n (trained too where it is at hand). About a minute on the first run."""
    repository = _repository("seen", "clip,yolo", "random", YOLO_SIZE="n")
    return _repository("seen", "yolo", trained_weights, YOLO_SIZE="n") if trained_weights else repository


@pytest.fixture(scope="session")
def face_models(face_weights: Path) -> Path:
    """The pack buffalo_s."""
    return _repository("faces", "face", face_weights, FACE_MODEL_NAME="buffalo_s")


@pytest.fixture(scope="session")
def meaningful_models() -> Path:
    """Tiny-Shapes/own: a CLIP that was trained on coloured shapes, so that what a search finds can be asserted."""
    return _repository("shapes", "Tiny-Shapes/own", ROOT / "export" / "tiny_shapes" / "weights")


@pytest.fixture(scope="session")
def easyocr_models(easyocr_weights: Path) -> Path:
    """CRAFT and the English recogniser. Half a minute on the first run."""
    return _repository("easyocr", "easyocr", easyocr_weights, OCR_LANGUAGES="en")


@pytest.fixture(scope="session")
def ppocr_models(ppocr_weights: Path) -> Path:
    """The newest set of PP-OCR. A quarter of a minute on the first run."""
    return _repository("ppocr", "ppocr", ppocr_weights)
