"""Model repositories of tiny graphs, and the exported one where it exists."""

from pathlib import Path

import graphs
import pytest

from kizu_fast.backends.repository import ModelRepository


@pytest.fixture
def tiny(tmp_path: Path) -> ModelRepository:
    """Both towers of a tiny CLIP, and a detector."""
    graphs.install_clip(tmp_path)
    graphs.install_text(tmp_path)
    graphs.install_yolo(tmp_path)
    return ModelRepository(tmp_path)


@pytest.fixture(scope="session")
def exported(models: Path) -> ModelRepository:
    """Real models, exported once per machine."""
    return ModelRepository(models)
