"""Real Triton servers: one for the whole session with the exported models and small ones beside them, and light ones that a test may kill."""

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import graphs
import numpy as np
import pytest
from faults.conftest import data_dir, template  # noqa: F401  # fixtures: a database that is ready at once
from faults.rig import Rig, opened
from PIL import Image
from processes import paint
from triton.server import ENVIRONMENT, TritonServer

from export import configs
from kizu_fast import specs
from kizu_fast.backends.repository import ModelRepository
from kizu_fast.backends.triton import TritonBackend
from kizu_fast.specs import ModelSpec

HERE = Path(__file__).resolve().parent
IMAGE, TEXT, OBJECTS, MOODY = "clip-vit-b-32-openai-image", "clip-vit-b-32-openai-text", "yolov8m", "clip-vit-b-32-moody-image"
PHOTOS = 60
POISON = ((255, 0, 255), (0, 255, 255), (255, 255, 0))  # the moody model raises, answers NaN, answers a wrong shape
EXPLICIT = ("--model-control-mode=explicit", "--load-model=*")

pytestmark = pytest.mark.triton


def moody(root: Path, spec: ModelSpec) -> None:
    """A model that fails on command (faulty/model.py), in place of whatever is there."""
    shutil.rmtree(root / spec.name, ignore_errors=True)
    (root / spec.name / "1").mkdir(parents=True)
    shutil.copy2(HERE / "faulty" / "model.py", root / spec.name / "1" / "model.py")
    manifest = {"name": spec.name, "spec": spec.as_record(), "original": "faulty", "source": "official"}
    (root / spec.name / "manifest.json").write_text(json.dumps(manifest))
    # No warm-up: tritonserver 2.51.0 dies of one that fails.
    text = configs.render(spec).partition("model_warmup")[0]
    (root / spec.name / "config.pbtxt").write_text(f'{text}backend: "python"\n')


def configured(root: Path) -> Path:
    """config.pbtxt beside every model of the repository."""
    repository = ModelRepository(root)
    for name in repository.names():
        (root / name / "config.pbtxt").write_text(configs.render(repository.spec(name)))
    return root


def install_small(root: Path) -> None:
    """Both towers of a tiny CLIP and a detector that always sees one person, with their configurations."""
    graphs.install_clip(root)
    graphs.install_text(root)
    graphs.install_yolo(root, OBJECTS)
    configured(root)


@pytest.fixture(scope="session")
def _installed() -> None:
    if not ENVIRONMENT.exists():
        pytest.skip("no tritonserver for this machine (Linux x86-64, Python 3.11 or 3.12); run: make test")


@pytest.fixture(scope="session")
def served(_installed: None, models: Path, ppocr_models: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository of the session's server: every exported test model, tiny ones, and a moody one."""
    root = tmp_path_factory.mktemp("served")
    repositories = [models, ppocr_models, *([request.getfixturevalue("face_models")] if request.getfixturevalue("packs_at_hand") else [])]
    for repository in repositories:
        for name in ModelRepository(repository).names():
            shutil.copytree(repository / name, root / name, copy_function=_link)
            (root / name / "config.pbtxt").unlink(missing_ok=True)
    install_small(root)
    moody(root, specs.clip_image(MOODY, side=graphs.SIDE, dim=graphs.DIM, space="moody"))
    return root


def _link(source: str, target: str) -> None:
    Path(target).hardlink_to(source)


@pytest.fixture(scope="session")
def server(served: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """The session's server. No test may end it, or leave a model of it otherwise than it was."""
    one = TritonServer(served, tmp_path_factory.mktemp("triton"), *EXPLICIT).start()
    yield one
    one.stop()


@pytest.fixture
async def backend(server: TritonServer) -> AsyncIterator[TritonBackend]:
    one = TritonBackend([server.url])
    yield one
    await one.close()


@pytest.fixture
def spec_of(served: Path) -> Callable[[str], ModelSpec]:
    return ModelRepository(served, graphs=False).spec


@pytest.fixture
def mood(served: Path) -> Iterator[Callable[[str], None]]:
    """Change the moody model's mood; it is well again after the test."""
    file = served / MOODY / "mood"
    yield lambda word: _write_whole(file, word)
    file.unlink(missing_ok=True)


def _write_whole(file: Path, word: str) -> None:
    part = file.with_suffix(".part")
    part.write_text(word)
    part.rename(file)


@pytest.fixture
def small(_installed: None, tmp_path: Path) -> Path:
    """A repository of tiny models for a server that the test may kill. The CLIP image tower is the moody one."""
    root = tmp_path / "models"
    root.mkdir()
    install_small(root)
    moody(root, ModelRepository(root).spec(IMAGE))
    return root


@pytest.fixture
def light(small: Path, tmp_path: Path) -> Iterator[TritonServer]:
    """A server of its own for one test."""
    folder = tmp_path / "triton"
    folder.mkdir()
    one = TritonServer(small, folder, *EXPLICIT).start()
    yield one
    one.stop()


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small photos; the moody model fails over the first three in its mood "poison"."""
    folder = tmp_path_factory.mktemp("photos")
    for number, colour in enumerate(POISON):
        Image.fromarray(np.full((48 + number, 64, 3), colour, np.uint8)).save(folder / f"{number:04}.png")
    for seed in range(len(POISON), PHOTOS):
        paint(folder / f"{seed:04}.jpg", seed, (64, 48))
    return folder


@pytest.fixture
def rig(data_dir: Path, template: Path, library: Path, small: Path, light: TritonServer, tmp_path: Path) -> Iterator[Rig]:  # noqa: F811
    """A database without rows, photos, and workers over a Triton server of the test's own."""
    with opened(data_dir, template, library, tmp_path) as ready:
        ready.line.env.update(
            KIZU_BACKEND="triton", TRITON_URLS=light.url, KIZU_MODEL_REPOSITORY=str(small), KIZU_OPERATIONS="embedding,objects", BATCH_SIZE="8"
        )
        ready.keep_server()
        yield ready


@pytest.fixture
def mood_of_clip(small: Path) -> Callable[[str], None]:
    """Change the mood of the workers' image tower."""
    return lambda word: _write_whole(small / IMAGE / "mood", word)
