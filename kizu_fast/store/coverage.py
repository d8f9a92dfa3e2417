"""Which models stored results come from, and photos that want a re-run since the settings name others."""

from collections.abc import Mapping
from uuid import UUID

from kizu_fast.store import UNRUN, Outdated
from kizu_fast.store.pool import Database
from kizu_fast.store.queue import wanted
from kizu_fast.store.sql import statement

_CHUNK = 5000  # assets per transaction: well below the statement timeout


class Coverage:
    """CoverageStore over PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def stored_models(self, user: UUID | None) -> dict[str, tuple[str, ...]]:
        """Models of done outcomes by operation, sorted; under 'packs' those that found the faces."""
        return {row["operation"]: tuple(row["models"]) for row in await self._database.fetch("stored_models", user)}

    async def outdated(self, user: UUID | None, current: Mapping[str, str]) -> list[Outdated]:
        """By operation of current: live photos done by other models only, neither waiting for it nor failing with it for good."""
        rows = await self._database.fetch("outdated", user, list(map(str, current)), list(current.values()), UNRUN)
        return [Outdated(row["operation"], tuple(row["models"]), row["photos"]) for row in rows]

    async def queue_outdated(self, user: UUID | None, operation: str, model: str) -> int:
        """Queues them for that operation. How many. A model that no result is of queues all that have a result."""
        total = 0
        while True:
            async with self._database.transaction() as connection:
                rows = await connection.fetch(statement("outdated_assets"), user, str(operation), model, UNRUN, _CHUNK)
                asked = {row["id"]: [operation] for row in rows}
                queued = await connection.fetch(statement("enqueue"), user, *wanted(asked), 5) if asked else []
            total += len(queued)
            if len(rows) < _CHUNK or not queued:
                return total
