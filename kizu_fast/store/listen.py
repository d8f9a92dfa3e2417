"""The wake-up: a hint that there is work. Polling is the guarantee, so everything here may fail without harm."""

import asyncio
import random
import secrets
from contextlib import suppress

import asyncpg
import structlog

from kizu_fast.errors import ConfigError, DatabaseUnavailable
from kizu_fast.store.failures import translated
from kizu_fast.store.pool import Database
from kizu_fast.store.sql import statement

_CHANNEL = "processing_queue"
_PROBE_CHANNEL = "kizu_probe"
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 30.0
_PING_S = 5.0

log = structlog.get_logger(__name__)


class Wakeup:
    """Sets `event` when jobs may have been queued, and after every reconnect, since one may have been missed.

    `alive` is True only while notifications were proven to arrive; a worker polls less often then. run() is the whole of it.
    """

    def __init__(self, database: Database, *, probe_s: float = 3.0, check_s: float = 30.0, retry_s: float = 300.0) -> None:
        """probe_s: patience with the self-probe; check_s: between two pings; retry_s: pause after a probe that failed."""
        self._database, self._probe_s, self._check_s, self._retry_s = database, probe_s, check_s, retry_s
        self.event = asyncio.Event()
        self.alive = False
        self._warned = False
        self._pause_s = _FIRST_PAUSE_S

    async def run(self) -> None:
        """Until cancelled. Returns at once behind a transaction pooler, where nothing would ever be delivered."""
        if not self._database.listens:
            self._warn("no LISTEN behind a transaction pooler, jobs are found by polling only")
            return
        while True:
            try:
                await self._listen()
            except (DatabaseUnavailable, ConfigError) as error:
                log.debug("listener lost", cause=str(error))
            await asyncio.sleep(self._pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter
            self._pause_s = min(_LONGEST_PAUSE_S, self._pause_s * 2)

    async def _listen(self) -> None:
        """One connection's life. Returns or raises DatabaseUnavailable when it is over."""
        connection = await self._database.connect()
        try:
            with translated():
                if not await self._prove(connection):
                    self._warn("LISTEN is accepted but nothing arrives, jobs are found by polling only")
                    await asyncio.sleep(self._retry_s)
                    return
                await connection.add_listener(_CHANNEL, self._notified)
                self.alive, self._pause_s = True, _FIRST_PAUSE_S
                self.event.set()
                await self._watch(connection)
        finally:
            self.alive = False
            connection.terminate()  # no polite goodbye: the peer may be gone

    async def _prove(self, connection: asyncpg.Connection) -> bool:
        """True if a notification sent through the pool arrives on this connection."""
        nonce, arrived = secrets.token_hex(8), asyncio.Event()

        def heard(_connection: object, _pid: int, _channel: str, payload: str) -> None:
            if payload == nonce:
                arrived.set()

        await connection.add_listener(_PROBE_CHANNEL, heard)
        async with self._database.transaction() as sender:
            await sender.execute(statement("notify_probe"), _PROBE_CHANNEL, nonce)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._probe_s):
                await arrived.wait()
        await connection.remove_listener(_PROBE_CHANNEL, heard)
        return arrived.is_set()

    async def _watch(self, connection: asyncpg.Connection) -> None:
        """Returns when the connection ended; asks a silent one every check_s, since a dead peer does not say so."""
        ended = asyncio.Event()
        connection.add_termination_listener(lambda _connection: ended.set())
        while not connection.is_closed():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._check_s):
                    await ended.wait()
            if not ended.is_set():
                await connection.fetchval(statement("ping"), timeout=_PING_S)

    def _notified(self, *_arguments: object) -> None:
        self.event.set()

    def _warn(self, message: str) -> None:
        if not self._warned:
            log.warning(message)
            self._warned = True
