"""Operations to models."""

from kizu_fast.domain import Operation
from kizu_fast.plan import plan


def test_every_built_operation_is_planned() -> None:
    assert list(plan(tuple(Operation)).operations) == list(Operation)
    assert plan(tuple(Operation)).refused == {}


def test_steps_have_one_order_whatever_order_was_asked_for() -> None:
    forwards, backwards = plan(["embedding", "objects"]), plan(["objects", "embedding"])

    assert forwards.operations == backwards.operations == (Operation.EMBEDDING, Operation.OBJECTS)


def test_an_operation_asked_for_twice_runs_once() -> None:
    assert len(plan(["objects", "objects"]).operations) == 1


def test_nothing_asked_for_is_nothing_to_do() -> None:
    assert plan([]).operations == ()


def test_a_word_that_is_no_operation_is_refused_and_the_rest_is_done() -> None:
    work = plan(["objects", "objets"])

    assert list(work.operations) == [Operation.OBJECTS]
    assert "'objets' is no operation" in str(work.refused["objets"])
