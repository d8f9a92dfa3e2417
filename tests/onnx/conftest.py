"""Model repositories of tiny graphs, and the exported one where it exists."""

from pathlib import Path

import graphs
import pytest

from kizu_fast.backends.repository import ModelRepository

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def tiny(tmp_path: Path) -> ModelRepository:
    """Both towers of a tiny CLIP, and a detector."""
    graphs.install_clip(tmp_path)
    graphs.install_text(tmp_path)
    graphs.install_yolo(tmp_path)
    return ModelRepository(tmp_path)


@pytest.fixture(scope="session")
def exported() -> ModelRepository:
    """The project's own model repository. Skips, visibly, before the first export."""
    repository = ModelRepository(ROOT / "model_repository")
    if not repository.names():
        pytest.skip("no model is exported yet: run `make export`")
    return repository
