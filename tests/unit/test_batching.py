"""The batcher: every row gets its own answer, one bad row fails alone, no row waits forever."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loop import run_in_no_time

from kizu_fast.batching import Batcher, Infer
from kizu_fast.errors import BackendUnavailable, BatcherStopped, PermanentError, RowMismatch, TransientError
from kizu_fast.lanes import Turns
from kizu_fast.specs import Family, ModelSpec, Tensors, TensorSpec

SPEC = ModelSpec(
    name="doubler",
    family=Family.CLIP_IMAGE,
    inputs=(TensorSpec("number", "int32", (1,)),),
    outputs=(TensorSpec("twice", "int32", (1,)),),
    batch_sizes=(1, 2, 4, 8),
    max_delay_us=5000,
    preprocessing="p1",
    postprocessing="none",
)
BAD = -1
DELAY_S = 0.005


def row(number: int) -> dict[str, Any]:
    return {"number": np.array([number], np.int32)}


class Doubler:
    """Doubles each number in run_s; a batch that holds BAD is refused as a whole."""

    def __init__(self, run_s: float = 1.0) -> None:
        self.run_s, self.batches = run_s, []
        self.running = self.most_running = 0

    async def __call__(self, _spec: ModelSpec, inputs: Tensors) -> Tensors:
        numbers = inputs["number"]
        self.batches.append(numbers[:, 0].tolist())
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(self.run_s)
        self.running -= 1
        if BAD in numbers:
            raise PermanentError("the graph refuses its input")
        return {"twice": numbers * 2}


async def serve(infer: Infer, main: Callable[[Batcher], Coroutine[Any, Any, Any]], *, max_batch: int = 8, places: int = 2) -> Any:
    batcher = Batcher(SPEC, infer, max_batch=max_batch, max_delay_s=DELAY_S, slots=Turns(places))
    task = asyncio.create_task(batcher.run())
    try:
        return await main(batcher)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ask(batcher: Batcher, number: int, after_s: float = 0) -> Any:
    """What the row got: a number, or the error as a value."""
    await asyncio.sleep(after_s)
    try:
        return int((await batcher.submit(row(number)))["twice"][0])
    except (PermanentError, TransientError) as error:
        return error


def now() -> float:
    return asyncio.get_running_loop().time()


@given(
    arrivals=st.lists(st.tuples(st.integers(0, 1000), st.floats(0, 4)), max_size=40),
    max_batch=st.integers(1, 8),
    places=st.integers(1, 3),
)
@settings(deadline=None, max_examples=60)
def test_every_row_gets_its_own_answer_under_any_arrivals(arrivals: list[tuple[int, float]], max_batch: int, places: int) -> None:
    infer = Doubler()

    async def main(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(ask(batcher, number, after_s) for number, after_s in arrivals))

    answers = run_in_no_time(lambda: serve(infer, main, max_batch=max_batch, places=places))

    assert answers == [2 * number for number, _ in arrivals]
    assert all(len(batch) <= max_batch for batch in infer.batches)
    assert infer.most_running <= places


@given(numbers=st.lists(st.sampled_from([BAD, 1, 2, 3]), max_size=20), cancelled=st.sets(st.integers(0, 19)))
@settings(deadline=None, max_examples=60)
def test_bad_and_cancelled_rows_never_spoil_their_neighbours(numbers: list[int], cancelled: set[int]) -> None:
    async def main(batcher: Batcher) -> list[Any]:
        tasks = [asyncio.create_task(ask(batcher, number)) for number in numbers]
        await asyncio.sleep(0.5)  # some wait, some are in a running batch
        for i in cancelled:
            if i < len(tasks):
                tasks[i].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = run_in_no_time(lambda: serve(Doubler(), main, max_batch=4, places=1))

    for i, (number, answer) in enumerate(zip(numbers, answers, strict=True)):
        expected = asyncio.CancelledError if i in cancelled else PermanentError if number == BAD else int
        assert isinstance(answer, expected)


def test_many_photos_share_one_model_call(in_no_time: Callable[..., Any]) -> None:
    """The predecessor's worker made one model call per picture."""
    infer = Doubler()

    async def main(batcher: Batcher) -> None:
        await asyncio.gather(*(ask(batcher, number) for number in range(64)))

    in_no_time(lambda: serve(infer, main))

    assert len(infer.batches) == 8
    assert [len(batch) for batch in infer.batches] == [8] * 8


def test_rows_leave_in_order_of_arrival(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler()

    async def main(batcher: Batcher) -> None:
        await asyncio.gather(*(ask(batcher, number) for number in range(20)))

    in_no_time(lambda: serve(infer, main, places=1))

    assert [number for batch in infer.batches for number in batch] == list(range(20))


def test_a_full_batch_leaves_at_once(in_no_time: Callable[..., Any]) -> None:
    async def main(batcher: Batcher) -> float:
        await asyncio.gather(*(ask(batcher, number) for number in range(8)))
        return now()

    assert in_no_time(lambda: serve(Doubler(run_s=1), main)) == pytest.approx(1)


def test_a_lonely_row_leaves_after_the_delay(in_no_time: Callable[..., Any]) -> None:
    async def main(batcher: Batcher) -> float:
        await ask(batcher, 1)
        return now()

    assert in_no_time(lambda: serve(Doubler(run_s=1), main)) == pytest.approx(1 + DELAY_S)


def test_a_batch_of_one_waits_for_nobody(in_no_time: Callable[..., Any]) -> None:
    async def main(batcher: Batcher) -> float:
        await ask(batcher, 1)
        return now()

    assert in_no_time(lambda: serve(Doubler(run_s=1), main, max_batch=1)) == pytest.approx(1)


def test_rows_that_arrive_while_all_places_are_taken_make_the_next_batch_fuller(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler(run_s=1)

    async def main(batcher: Batcher) -> None:
        await asyncio.gather(*(ask(batcher, number, after_s=0.1 * number) for number in range(9)))

    in_no_time(lambda: serve(infer, main, places=1))

    assert infer.batches == [[0], [1, 2, 3, 4, 5, 6, 7, 8]]


def test_two_models_share_the_places_by_the_age_of_their_rows(in_no_time: Callable[..., Any]) -> None:
    one_by_one, in_batches = Doubler(run_s=1), Doubler(run_s=1)

    async def main() -> None:
        slots = Turns(1)
        detector = Batcher(replace(SPEC, name="detector"), one_by_one, max_batch=1, max_delay_s=DELAY_S, slots=slots)
        embedder = Batcher(SPEC, in_batches, max_batch=8, max_delay_s=DELAY_S, slots=slots)
        tasks = [asyncio.create_task(batcher.run()) for batcher in (detector, embedder)]

        async def photo(number: int, after_s: float) -> None:
            await asyncio.gather(ask(detector, number, after_s), ask(embedder, number, after_s))

        await asyncio.gather(*(photo(number, after_s=0.3 * number) for number in range(12)))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_no_time(main)

    assert len(one_by_one.batches) == 12
    assert len(in_batches.batches) <= 6  # batch for batch it would be one embedding per detection


def test_one_bad_row_fails_alone(in_no_time: Callable[..., Any]) -> None:
    async def main(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(ask(batcher, number) for number in (1, 2, 3, BAD, 5, 6, 7, 8)))

    answers = in_no_time(lambda: serve(Doubler(), main))

    assert isinstance(answers.pop(3), PermanentError)
    assert answers == [2, 4, 6, 10, 12, 14, 16]


def test_a_bad_row_is_found_by_halving(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler()

    async def main(batcher: Batcher) -> None:
        await asyncio.gather(*(ask(batcher, number) for number in (1, 2, 3, BAD, 5, 6, 7, 8)))

    in_no_time(lambda: serve(infer, main))

    assert sorted(map(len, infer.batches), reverse=True) == [8, 4, 4, 2, 2, 1, 1]


def test_an_outage_reaches_every_row_of_the_batch_and_the_next_batch_is_served(in_no_time: Callable[..., Any]) -> None:
    async def infer(spec: ModelSpec, inputs: Tensors) -> Tensors:
        if 13 in inputs["number"]:
            raise BackendUnavailable("the server is gone")
        return {"twice": inputs["number"] * 2}

    async def main(batcher: Batcher) -> tuple[list[Any], Any]:
        lost = await asyncio.gather(*(ask(batcher, number) for number in (1, 13, 2)))
        return lost, await ask(batcher, 21)

    lost, later = in_no_time(lambda: serve(infer, main))

    assert [type(answer) for answer in lost] == [BackendUnavailable] * 3
    assert later == 42


def test_a_row_of_the_wrong_shape_is_refused_before_it_joins_a_batch(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler()

    async def main(batcher: Batcher) -> Any:
        good = asyncio.create_task(ask(batcher, 1))
        with pytest.raises(RowMismatch, match=r"doubler\.number: expected int32 \[1\], got float64 \[2\]"):
            await batcher.submit({"number": np.zeros(2)})
        return await good

    assert in_no_time(lambda: serve(infer, main)) == 2
    assert infer.batches == [[1]]


def test_a_cancelled_row_leaves_its_batch_intact(in_no_time: Callable[..., Any]) -> None:
    async def main(batcher: Batcher) -> list[Any]:
        tasks = [asyncio.create_task(ask(batcher, number)) for number in range(8)]
        await asyncio.sleep(0.5)  # the batch is running
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    answers = in_no_time(lambda: serve(Doubler(run_s=1), main))

    assert isinstance(answers.pop(3), asyncio.CancelledError)
    assert answers == [0, 2, 4, 8, 10, 12, 14]


def test_a_row_cancelled_while_it_waits_is_never_inferred(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler(run_s=1)

    async def main(batcher: Batcher) -> None:
        tasks = [asyncio.create_task(ask(batcher, number)) for number in range(3)]
        await asyncio.sleep(0.5)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    in_no_time(lambda: serve(infer, main, max_batch=1, places=1))

    assert infer.batches == [[0], [2]]


def test_when_all_waiting_rows_are_cancelled_the_place_goes_back(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler(run_s=1)

    async def main(batcher: Batcher) -> Any:
        first = asyncio.create_task(ask(batcher, 1))
        await asyncio.sleep(0.1)
        second = asyncio.create_task(ask(batcher, 2))
        await asyncio.sleep(0.1)
        second.cancel()
        await first
        return await ask(batcher, 3)

    assert in_no_time(lambda: serve(infer, main, max_batch=1, places=1)) == 6
    assert infer.batches == [[1], [3]]


async def _batcher_killed_by(infer: Infer, submit: Callable[[Batcher], Coroutine[Any, Any, Any]]) -> tuple[Any, Any]:
    batcher = Batcher(SPEC, infer, max_batch=1, max_delay_s=DELAY_S, slots=Turns(2))
    task = asyncio.create_task(batcher.run())
    answers = await submit(batcher)
    return answers, (await asyncio.gather(task, return_exceptions=True))[0]


def test_a_batcher_that_died_of_a_bug_tells_every_waiting_row(in_no_time: Callable[..., Any]) -> None:
    async def buggy(spec: ModelSpec, inputs: Tensors) -> Tensors:
        await asyncio.sleep(1)
        return {}["twice"]

    async def submit(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(ask(batcher, number) for number in range(6)))

    answers, death = in_no_time(lambda: _batcher_killed_by(buggy, submit))

    assert [type(answer) for answer in answers] == [BatcherStopped] * 6
    assert isinstance(death, ExceptionGroup)
    assert isinstance(death.exceptions[0], KeyError)


def test_a_dead_batcher_refuses_at_once_instead_of_hanging(in_no_time: Callable[..., Any]) -> None:
    """The predecessor of many such designs: after one failing input the next good request hung too."""

    async def buggy(spec: ModelSpec, inputs: Tensors) -> Tensors:
        raise KeyError

    async def submit(batcher: Batcher) -> tuple[Any, Any, bool]:
        first = await ask(batcher, 1)
        await asyncio.sleep(1)
        return first, await ask(batcher, 2), batcher.stopped

    (first, second, stopped), _ = in_no_time(lambda: _batcher_killed_by(buggy, submit))

    assert isinstance(first, BatcherStopped)
    assert isinstance(second, BatcherStopped)
    assert stopped


def test_closing_tells_rows_that_wait_and_rows_that_run(in_no_time: Callable[..., Any]) -> None:
    async def main() -> list[Any]:
        batcher = Batcher(SPEC, Doubler(run_s=100), max_batch=2, max_delay_s=DELAY_S, slots=Turns(1))
        task = asyncio.create_task(batcher.run())
        rows = [asyncio.create_task(ask(batcher, number)) for number in range(5)]
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return await asyncio.gather(*rows)

    assert [type(answer) for answer in in_no_time(main)] == [BatcherStopped] * 5


def test_an_answer_with_too_few_rows_is_an_error_not_a_wrong_result(in_no_time: Callable[..., Any]) -> None:
    async def forgetful(spec: ModelSpec, inputs: Tensors) -> Tensors:
        return {"twice": inputs["number"][:-1] * 2}

    async def main(batcher: Batcher) -> list[Any]:
        return await asyncio.gather(*(ask(batcher, number) for number in (1, 2, 3)))

    answers = in_no_time(lambda: serve(forgetful, main))

    assert [type(answer) for answer in answers] == [TransientError] * 3
    assert "answered 2 rows for 3" in str(answers[0])


class _HugeSpec(ModelSpec):
    def stack(self, rows: Any) -> Any:
        if len(rows) > 1:
            raise MemoryError
        return super().stack(rows)


def test_no_memory_for_a_batch_is_weather_not_poison(in_no_time: Callable[..., Any]) -> None:
    huge = _HugeSpec(**{field: getattr(SPEC, field) for field in SPEC.__dataclass_fields__})

    async def main() -> list[Any]:
        batcher = Batcher(huge, Doubler(), max_batch=8, max_delay_s=DELAY_S, slots=Turns(1))
        task = asyncio.create_task(batcher.run())
        lost = await asyncio.gather(ask(batcher, 1), ask(batcher, 2))
        answers = [*lost, await ask(batcher, 3)]
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return answers

    first, second, alone = in_no_time(main)

    assert type(first) is type(second) is TransientError
    assert alone == 6


def test_no_batch_is_larger_than_the_spec_allows(in_no_time: Callable[..., Any]) -> None:
    infer = Doubler()

    async def main(batcher: Batcher) -> None:
        await asyncio.gather(*(ask(batcher, number) for number in range(40)))

    in_no_time(lambda: serve(infer, main, max_batch=1000))

    assert max(map(len, infer.batches)) == SPEC.max_batch
