"""kizu_fast/survey.py: what the settings mean, without loading anything."""

from pathlib import Path

from kizu_fast.backends import fake
from kizu_fast.builtin import Chosen
from kizu_fast.domain import Operation
from kizu_fast.engine import EngineConfig
from kizu_fast.survey import survey


def test_results_are_filed_under_a_space_or_the_name_of_the_model() -> None:
    found = survey(EngineConfig(model_repository=Path("nowhere"), backend="fake"))

    assert found.filed[Operation.EMBEDDING] == fake.SPACE
    assert found.filed[Operation.OBJECTS] == fake.OBJECTS.name
    assert found.filed[Operation.FACES] == fake.FACE.space
    assert set(found.filed) == set(Operation)
    assert found.missing == {}


def test_models_that_are_not_there_are_missing_with_the_command_and_yolo_is_known_by_its_size(tmp_path: Path) -> None:
    found = survey(EngineConfig(model_repository=tmp_path, chosen=Chosen(yolo_size="s", face_model="antelopev2")))

    assert found.filed[Operation.OBJECTS] == "yolov8s"
    assert not {Operation.EMBEDDING, Operation.FACES} & found.filed.keys()
    assert {Operation.EMBEDDING, Operation.OBJECTS, Operation.FACES} <= found.missing.keys()
    assert all("python -m export" in found.missing[operation] for operation in (Operation.EMBEDDING, Operation.OBJECTS, Operation.FACES))
