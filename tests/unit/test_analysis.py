"""Operations fail singly; an outage fails the photo's attempt as a whole."""

import asyncio

import numpy as np
import pytest

from kizu_fast.analysis import Result, analyse
from kizu_fast.domain import Detections, Embedding, Operation, Photo
from kizu_fast.errors import BackendUnavailable, ConfigError, KizuError, PermanentError, TransientError
from kizu_fast.plan import plan
from kizu_fast.specs import Family

PHOTO = Photo(np.zeros((4, 4, 3), np.uint8), 4, 4)
EMBEDDING = Embedding("space", np.array([1, 0], np.float32))
NOTHING_SEEN = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ())


class Runner:
    """Answers what it was given for a family, or raises it."""

    def __init__(self, answers: dict[Family, Result | KizuError]) -> None:
        self._answers = answers
        self.seen: list[Family] = []
        self.at_once = 0

    async def see(self, family: Family, photo: Photo) -> tuple[str, Result]:
        assert photo is PHOTO
        self.seen.append(family)
        await asyncio.sleep(0)
        self.at_once = max(self.at_once, len(self.seen))
        answer = self._answers[family]
        if isinstance(answer, KizuError):
            raise answer
        return f"model of {family}", answer


async def test_every_operation_s_result_is_there_with_its_model() -> None:
    runner = Runner({Family.CLIP_IMAGE: EMBEDDING, Family.YOLO: NOTHING_SEEN})

    analysis = await analyse(PHOTO, plan(["embedding", "objects"]), runner)

    assert analysis.embedding is EMBEDDING
    assert analysis.objects is NOTHING_SEEN
    assert analysis.models == {Operation.EMBEDDING: "model of clip_image", Operation.OBJECTS: "model of yolo"}
    assert analysis.failures == {}


async def test_operations_run_at_the_same_time() -> None:
    runner = Runner({Family.CLIP_IMAGE: EMBEDDING, Family.YOLO: NOTHING_SEEN})

    await analyse(PHOTO, plan(["embedding", "objects"]), runner)

    assert runner.at_once == 2


async def test_only_what_was_asked_for_runs() -> None:
    runner = Runner({Family.YOLO: NOTHING_SEEN})

    analysis = await analyse(PHOTO, plan(["objects"]), runner)

    assert runner.seen == [Family.YOLO]
    assert analysis.embedding is None


async def test_an_operation_that_fails_leaves_the_other_s_result() -> None:
    broken = PermanentError("the embedding has length 0")

    analysis = await analyse(PHOTO, plan(["embedding", "objects"]), Runner({Family.CLIP_IMAGE: broken, Family.YOLO: NOTHING_SEEN}))

    assert analysis.failures == {Operation.EMBEDDING: broken}
    assert analysis.objects is NOTHING_SEEN
    assert analysis.models == {Operation.OBJECTS: "model of yolo"}


async def test_an_operation_that_this_version_cannot_do_is_a_failure_beside_the_results() -> None:
    analysis = await analyse(PHOTO, plan(["objects", "faces"]), Runner({Family.YOLO: NOTHING_SEEN}))

    assert list(analysis.failures) == ["faces"]
    assert isinstance(analysis.failures["faces"], PermanentError)
    assert analysis.objects is NOTHING_SEEN


@pytest.mark.parametrize("error", [TransientError("busy"), BackendUnavailable("gone"), ConfigError("missing")])
async def test_what_is_not_the_photo_s_fault_is_raised(error: KizuError) -> None:
    runner = Runner({Family.CLIP_IMAGE: EMBEDDING, Family.YOLO: error})

    with pytest.raises(type(error), match=str(error)):
        await analyse(PHOTO, plan(["embedding", "objects"]), runner)
