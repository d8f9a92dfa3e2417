"""Shared memory regions: filled as the server will read them, used again, gone at the end."""

import sys
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from kizu_fast.backends.triton_memory import AUTO, OFF, ON, Mailboxes, may_share, needed

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Triton shares memory on Linux only")

SMALL = {"a": np.arange(10, dtype=np.uint8).reshape(2, 5), "b": np.arange(3, dtype=np.int32)}
LARGE = {"a": np.zeros((3, 1 << 20), np.uint8)}


@pytest.mark.parametrize(
    ("url", "mode", "tried"),
    [
        ("127.0.0.1:8001", AUTO, True),
        ("localhost:8001", AUTO, True),
        ("triton:8001", AUTO, False),
        ("10.0.0.7:8001", AUTO, False),
        ("triton:8001", ON, True),
        ("127.0.0.1:8001", OFF, False),
    ],
)
def test_auto_tries_this_host_only(url: str, mode: str, tried: bool) -> None:
    assert may_share(url, mode) is tried


def test_inputs_lie_where_the_server_is_told() -> None:
    boxes = Mailboxes()
    box = boxes.take(SMALL)
    places = box.fill(SMALL)
    seen = SharedMemory(box.name)
    for name, array in SMALL.items():
        size, offset = places[name]
        assert bytes(seen.buf[offset : offset + size]) == array.tobytes()
        assert offset % 64 == 0
    assert box.key == f"/{box.name}"
    seen.close()
    boxes.destroy()


def test_arrays_that_are_not_contiguous_are_copied_in_order() -> None:
    boxes = Mailboxes()
    turned = {"a": SMALL["a"].T}
    box = boxes.take(turned)
    ((size, offset),) = box.fill(turned).values()
    seen = SharedMemory(box.name)
    assert bytes(seen.buf[offset : offset + size]) == np.ascontiguousarray(turned["a"]).tobytes()
    seen.close()
    boxes.destroy()


def test_a_region_serves_one_request_at_a_time_and_is_used_again() -> None:
    boxes = Mailboxes()
    first, second = boxes.take(SMALL), boxes.take(SMALL)
    assert first is not second
    boxes.give_back(first)
    assert boxes.take(SMALL) is first
    boxes.give_back(first)
    large = boxes.take(LARGE)
    assert large.size >= needed(LARGE)
    assert len(boxes.all) == 3
    boxes.destroy()


def test_nothing_is_left_in_the_system() -> None:
    boxes = Mailboxes()
    name = boxes.take(SMALL).name
    boxes.destroy()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
