"""Operations to models."""

import pytest

from kizu_fast.domain import BUILT, Operation
from kizu_fast.errors import PermanentError
from kizu_fast.plan import plan


def test_every_built_operation_is_planned() -> None:
    assert list(plan(BUILT).operations) == list(BUILT)
    assert plan(BUILT).refused == {}


def test_steps_have_one_order_whatever_order_was_asked_for() -> None:
    forwards, backwards = plan(["embedding", "objects"]), plan(["objects", "embedding"])

    assert forwards.operations == backwards.operations == (Operation.EMBEDDING, Operation.OBJECTS)


def test_an_operation_asked_for_twice_runs_once() -> None:
    assert len(plan(["objects", "objects"]).operations) == 1


def test_nothing_asked_for_is_nothing_to_do() -> None:
    assert plan([]).operations == ()


@pytest.mark.parametrize("word", sorted(set(Operation) - set(BUILT)))
def test_an_operation_that_comes_later_is_refused_by_name(word: str) -> None:
    refusal = plan(["embedding", word]).refused[word]

    assert isinstance(refusal, PermanentError)
    assert str(refusal) == f"{word}: this version does not carry it out yet; it does {', '.join(BUILT)}"


def test_a_word_that_is_no_operation_is_refused_and_the_rest_is_done() -> None:
    work = plan(["objects", "objets"])

    assert list(work.operations) == [Operation.OBJECTS]
    assert "'objets' is no operation" in str(work.refused["objets"])
