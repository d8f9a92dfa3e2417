"""Batcher: rows of many photos become full batches of one model and one shape."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kizu_fast.errors import BatcherStopped, KizuError, PermanentError, TransientError
from kizu_fast.specs import ModelSpec, Tensors

Infer = Callable[[ModelSpec, Tensors], Awaitable[Tensors]]


class Slots(Protocol):
    """Places in which batches run, shared by all batchers of a backend."""

    async def acquire(self, since: float) -> None:
        """Wait for a place. since: loop time at which the oldest row of the batch arrived; the oldest goes first."""
        ...

    def release(self) -> None:
        """Give the place back."""
        ...


class _Row:
    """One input of one photo and the answer it is owed. Compared by identity."""

    __slots__ = ("arrived", "result", "tensors")

    def __init__(self, tensors: Tensors, arrived: float, result: asyncio.Future[Tensors]) -> None:
        self.tensors, self.arrived, self.result = tensors, arrived, result

    def succeed(self, outputs: Tensors) -> None:
        if not self.result.done():
            self.result.set_result(outputs)

    def fail(self, error: KizuError) -> None:
        if not self.result.done():
            self.result.set_exception(error)


class Batcher:
    """One queue of rows. A batch leaves when it is full or its oldest row has waited max_delay_s, and only into a free slot.

    The batch is cut when its slot is there, not before: rows that arrive while the lanes are busy still join, so load
    makes batches fuller, not later.
    """

    def __init__(self, spec: ModelSpec, infer: Infer, *, max_batch: int, max_delay_s: float, slots: Slots) -> None:
        self._spec, self._infer, self._slots = spec, infer, slots
        self._max_batch, self._max_delay_s = min(max_batch, spec.max_batch), max_delay_s
        self._waiting: dict[_Row, None] = {}  # in order of arrival; a dict, so that a cancelled row leaves in O(1)
        self._open: set[_Row] = set()  # every row still owed an answer, those in a running batch included
        self._changed = asyncio.Event()
        self.stopped = False

    async def submit(self, tensors: Tensors) -> Tensors:
        """One row in, its outputs out, as views into the batch: copy what outlives postprocessing.

        Raises RowMismatch before the row can join a batch, PermanentError if this row is at fault, TransientError otherwise.
        """
        self._spec.check_row(tensors)
        if self.stopped:
            raise BatcherStopped(f"{self._spec.name}: the model was closed")
        loop = asyncio.get_running_loop()
        row = _Row(tensors, loop.time(), loop.create_future())
        self._open.add(row)
        self._waiting[row] = None
        self._changed.set()
        try:
            return await row.result
        finally:
            self._open.discard(row)
            self._waiting.pop(row, None)

    async def run(self) -> None:
        """Serve until cancelled. A bug in infer ends it, and every waiting row is told."""
        try:
            async with asyncio.TaskGroup() as batches:
                while True:
                    await self._ripen()
                    await self._slots.acquire(next(iter(self._waiting)).arrived)
                    rows = self._cut()
                    if not rows:  # their photos were cancelled while we waited
                        self._slots.release()
                        continue
                    task = batches.create_task(self._infer_rows(rows))
                    task.add_done_callback(lambda _: self._slots.release())
        finally:
            self.stopped = True
            for row in tuple(self._open):
                row.fail(BatcherStopped(f"{self._spec.name}: the model stopped while a photo waited for it"))

    async def _ripen(self) -> None:
        """Return once rows wait that are a full batch or whose oldest has waited long enough."""
        while True:
            if not self._waiting:
                await self._change()
                continue
            due = next(iter(self._waiting)).arrived + self._max_delay_s
            if len(self._waiting) >= self._max_batch or due <= asyncio.get_running_loop().time():
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _cut(self) -> list[_Row]:
        rows = list(islice(self._waiting, self._max_batch))
        for row in rows:
            del self._waiting[row]
        return rows

    async def _infer_rows(self, rows: list[_Row]) -> None:
        rows = [row for row in rows if not row.result.done()]  # the others' photos were cancelled meanwhile
        if not rows:
            return
        try:
            outputs = await self._infer(self._spec, self._stack(rows))
        except TransientError as error:
            for row in rows:
                row.fail(error)
        except PermanentError as error:
            middle = len(rows) // 2
            if middle == 0:
                rows[0].fail(error)
            else:  # halve until the bad row stands alone
                await self._infer_rows(rows[:middle])
                await self._infer_rows(rows[middle:])
        else:
            self._answer(rows, outputs)

    def _stack(self, rows: Sequence[_Row]) -> dict[str, NDArray[np.generic]]:
        try:
            return self._spec.stack([row.tensors for row in rows])
        except MemoryError as error:
            raise TransientError(f"{self._spec.name}: no memory for a batch of {len(rows)}") from error

    def _answer(self, rows: Sequence[_Row], outputs: Tensors) -> None:
        short = next((name for name, batch in outputs.items() if len(batch) != len(rows)), None)
        if short is not None:
            error = TransientError(f"{self._spec.name}: {short} answered {len(outputs[short])} rows for {len(rows)}")
            for row in rows:
                row.fail(error)
            return
        for i, row in enumerate(rows):
            row.succeed({name: batch[i] for name, batch in outputs.items()})
