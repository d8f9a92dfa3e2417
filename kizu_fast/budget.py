"""ByteBudget: back-pressure in bytes. Photos differ a thousandfold in size, so counting them bounds nothing."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ByteBudget:
    """At most limit_bytes are held at once, first come, first served.

    FIFO, so that a stream of small photos cannot starve a large one. Whoever asks for more than the limit passes alone:
    refusing it would fail a photo that only needs patience.
    """

    def __init__(self, limit_bytes: int) -> None:
        if limit_bytes <= 0:
            raise ValueError(f"a byte budget must be positive, got {limit_bytes}")
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, n_bytes: int) -> AsyncIterator[None]:
        """Hold n_bytes inside the block, waiting for them if need be. Raises ValueError for a negative number."""
        if n_bytes < 0:
            raise ValueError(f"cannot hold {n_bytes} bytes")
        await self._take(n_bytes)
        try:
            yield
        finally:
            self._give(n_bytes)

    def _fits(self, n_bytes: int) -> bool:
        return self.held_bytes == 0 or self.held_bytes + n_bytes <= self.limit_bytes

    async def _take(self, n_bytes: int) -> None:
        if not self._waiting and self._fits(n_bytes):
            self.held_bytes += n_bytes
            return
        turn = asyncio.get_running_loop().create_future()
        entry = (n_bytes, turn)
        self._waiting.append(entry)
        try:
            await turn  # _grant has added n_bytes to held_bytes when it wakes us
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give(n_bytes)  # granted and cancelled in the same turn of the loop
            else:
                self._waiting.remove(entry)
                self._grant()  # the next one may be smaller and fit
            raise

    def _give(self, n_bytes: int) -> None:
        self.held_bytes -= n_bytes
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            n_bytes, turn = self._waiting.popleft()
            if not turn.done():
                self.held_bytes += n_bytes
                turn.set_result(None)
