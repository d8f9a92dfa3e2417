"""Vector spaces over time: a new model fills its own space beside the old one, and search switches when it is whole."""

import asyncio
from contextlib import suppress

import structlog

from kizu_fast.domain import Operation
from kizu_fast.errors import DatabaseUnavailable
from kizu_fast.store import JobQueue, SpaceStore

log = structlog.get_logger()

_FIRST_CHECK_S, _CHECK_S = 0.25, 5.0  # the very first space becomes active as soon as it has a row
_RANDOM = "/random/"


class SpaceKeeper:
    """Sees to it that the engine's space gets filled, and made the one that search reads once it is whole."""

    def __init__(self, spaces: SpaceStore, queue: JobQueue, space: str | None, operation: Operation = Operation.EMBEDDING) -> None:
        self._spaces, self._queue, self._space, self._operation = spaces, queue, space, operation
        self._kind = "face" if operation is Operation.FACES else "image"
        self._switched = False

    async def prepare(self) -> None:
        """At start: photos that this space lacks are queued for its operation, unless it is random and search has real weights."""
        if self._space is None:
            return
        active = await self._spaces.active_space(self._kind)
        if active is None or active.name == self._space:
            return
        if _RANDOM in self._space and _RANDOM not in active.name:
            log.warning("search stays with the real weights", active=active.name, random=self._space)
            self._switched = True
            return
        queued = await self._queue.queue_missing(None, self._operation, self._space)
        if queued:
            log.info("filling a new vector space beside the old one", space=self._space, old=active.name, photos=queued)

    async def run(self) -> None:
        """Check now and then until the switch is done. Ends by itself, or when cancelled."""
        wait_s = _FIRST_CHECK_S
        while not self._switched:
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _CHECK_S)
            with suppress(DatabaseUnavailable):
                await self.switch()

    async def switch(self) -> None:
        """Make the engine's space the active one if it is whole. Raises DatabaseUnavailable."""
        if self._space is None or self._switched:
            return
        before = await self._spaces.active_space(self._kind)
        self._switched = await self._spaces.activate_if_whole(self._space)
        if self._switched and before is not None and before.name != self._space:
            log.info("search switched to the new vector space", space=self._space, old=before.name)
