"""Shared memory between this process and a Triton server on the same host: pixels are copied once instead of through gRPC and a socket.

Linux only, and only where both see the same /dev/shm (in containers: one `ipc`).
"""

import sys
from collections.abc import Mapping
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from kizu_fast.specs import Tensors

AUTO, ON, OFF = "auto", "on", "off"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_ALIGNED = 64
_LEAST = 1 << 20


def may_share(url: str, mode: str) -> bool:
    """Whether to try with that server: asked for, or in auto mode an address of this host."""
    if mode == OFF or not sys.platform.startswith("linux"):
        return False
    return mode == ON or url.rpartition(":")[0] in _LOOPBACK


class Mailbox:
    """One region. Belongs to one request at a time."""

    def __init__(self, size: int) -> None:
        """Raises OSError when /dev/shm is full or not there."""
        self._memory = SharedMemory(create=True, size=size)
        self.size = size
        self.name = self._memory.name.lstrip("/")
        self.key = f"/{self.name}"
        self.epoch = -1  # of the server that knows it

    def fill(self, inputs: Tensors) -> dict[str, tuple[int, int]]:
        """Copy the inputs in: name to (bytes, offset)."""
        places, offset = {}, 0
        for name, array in inputs.items():
            target: NDArray[np.generic] = np.ndarray(array.shape, array.dtype, buffer=self._memory.buf, offset=offset)
            np.copyto(target, array)
            places[name] = (array.nbytes, offset)
            offset += _padded(array.nbytes)
        return places

    def destroy(self) -> None:
        """Give the memory back to the system."""
        self._memory.close()
        self._memory.unlink()


class Mailboxes:
    """The regions of one server: as many as there were ever requests at once."""

    def __init__(self) -> None:
        self._free: list[Mailbox] = []
        self.all: list[Mailbox] = []

    def take(self, inputs: Tensors) -> Mailbox:
        """A region that holds the inputs. Raises OSError when there is no memory for one."""
        need = needed(inputs)
        for box in sorted(self._free, key=lambda box: box.size):
            if box.size >= need:
                self._free.remove(box)
                return box
        box = Mailbox(max(_LEAST, 1 << (need - 1).bit_length()))
        self.all.append(box)
        return box

    def give_back(self, box: Mailbox) -> None:
        """The next request may write into it."""
        self._free.append(box)

    def destroy(self) -> None:
        """All of them; requests under way must have ended."""
        for box in self.all:
            box.destroy()
        self.all.clear()
        self._free.clear()


def needed(inputs: Mapping[str, NDArray[np.generic]]) -> int:
    """Bytes of a region for these inputs."""
    return sum(_padded(array.nbytes) for array in inputs.values())


def _padded(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED
