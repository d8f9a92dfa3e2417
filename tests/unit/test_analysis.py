"""Operations fail singly; an outage fails the photo's attempt as a whole."""

import asyncio

import numpy as np
import pytest

from kizu_fast.analysis import analyse
from kizu_fast.domain import Detections, Embedding, Operation, Photo, Result
from kizu_fast.errors import BackendUnavailable, ConfigError, KizuError, PermanentError, TransientError
from kizu_fast.plan import plan

PHOTO = Photo(np.zeros((4, 4, 3), np.uint8), 4, 4)
EMBEDDING = Embedding("space", np.array([1, 0], np.float32))
NOTHING_SEEN = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64), ())


class Runner:
    """Answers what it was given for an operation, or raises it."""

    def __init__(self, answers: dict[Operation, Result | KizuError]) -> None:
        self._answers = answers
        self.seen: list[Operation] = []
        self.at_once = 0

    async def see(self, operation: Operation, photo: Photo) -> tuple[str, Result]:
        assert photo is PHOTO
        self.seen.append(operation)
        await asyncio.sleep(0)
        self.at_once = max(self.at_once, len(self.seen))
        answer = self._answers[operation]
        if isinstance(answer, KizuError):
            raise answer
        return f"model of {operation}", answer


async def test_every_operation_s_result_is_there_with_its_model() -> None:
    runner = Runner({Operation.EMBEDDING: EMBEDDING, Operation.OBJECTS: NOTHING_SEEN})

    analysis = await analyse(PHOTO, plan(["embedding", "objects"]), runner)

    assert analysis.embedding is EMBEDDING
    assert analysis.objects is NOTHING_SEEN
    assert analysis.models == {Operation.EMBEDDING: "model of embedding", Operation.OBJECTS: "model of objects"}
    assert analysis.failures == {}


async def test_operations_run_at_the_same_time() -> None:
    runner = Runner({Operation.EMBEDDING: EMBEDDING, Operation.OBJECTS: NOTHING_SEEN})

    await analyse(PHOTO, plan(["embedding", "objects"]), runner)

    assert runner.at_once == 2


async def test_only_what_was_asked_for_runs() -> None:
    runner = Runner({Operation.OBJECTS: NOTHING_SEEN})

    analysis = await analyse(PHOTO, plan(["objects"]), runner)

    assert runner.seen == [Operation.OBJECTS]
    assert analysis.embedding is None


async def test_an_operation_that_fails_leaves_the_other_s_result() -> None:
    broken = PermanentError("the embedding has length 0")

    analysis = await analyse(PHOTO, plan(["embedding", "objects"]), Runner({Operation.EMBEDDING: broken, Operation.OBJECTS: NOTHING_SEEN}))

    assert analysis.failures == {Operation.EMBEDDING: broken}
    assert analysis.objects is NOTHING_SEEN
    assert analysis.models == {Operation.OBJECTS: "model of objects"}


async def test_a_word_that_is_no_operation_is_a_failure_beside_the_results() -> None:
    analysis = await analyse(PHOTO, plan(["objects", "paint"]), Runner({Operation.OBJECTS: NOTHING_SEEN}))

    assert list(analysis.failures) == ["paint"]
    assert isinstance(analysis.failures["paint"], PermanentError)
    assert analysis.objects is NOTHING_SEEN


@pytest.mark.parametrize("error", [TransientError("busy"), BackendUnavailable("gone"), ConfigError("missing")])
async def test_what_is_not_the_photo_s_fault_is_raised(error: KizuError) -> None:
    runner = Runner({Operation.EMBEDDING: EMBEDDING, Operation.OBJECTS: error})

    with pytest.raises(type(error), match=str(error)):
        await analyse(PHOTO, plan(["embedding", "objects"]), runner)
