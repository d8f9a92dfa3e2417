"""Vector spaces in PostgreSQL: one row per name, one active per kind. A new one fills beside the old and takes over when it is whole."""

import asyncpg

from kizu_fast.errors import ConfigError
from kizu_fast.store import UNRUN, Space
from kizu_fast.store.pool import Database
from kizu_fast.store.sql import statement


class Spaces:
    """SpaceStore over PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ensure_space(self, name: str, dim: int, kind: str = "image") -> int:
        """The space's id, made if need be; several workers may ask at once. Raises ConfigError if the name stands for something else."""
        found = await self._database.fetch("find_space", name)
        if not found:
            await self._database.fetch("put_space", kind, name, dim)
            found = await self._database.fetch("find_space", name)
        row = found[0]
        if (row["kind"], row["dim"]) != (kind, dim):
            raise ConfigError(
                f"vector space {name} holds {row['kind']} vectors of {row['dim']} numbers, not {kind} vectors of {dim}: run python -m export again"
            )
        return int(row["id"])

    async def activate_if_whole(self, name: str) -> bool:
        """Whether name is the active space afterwards: every photo that search finds in the old one is in it, or failed in it for good."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(statement("lock_spaces"), name)
            new = next((row for row in rows if row["name"] == name), None)
            old = next((row for row in rows if row["is_active"]), None)
            if new is None or new == old:
                return new is not None
            if old is not None:
                if await _lacks(connection, old, new):
                    return False
                await connection.execute(statement("activate_space"), old["id"], False)
            await connection.execute(statement("activate_space"), new["id"], True)
            return True

    async def active_space(self, kind: str = "image") -> Space | None:
        """The space that search asks."""
        rows = await self._database.fetch("active_space", kind)
        return Space(rows[0]["id"], rows[0]["name"], rows[0]["dim"]) if rows else None


async def _lacks(connection: asyncpg.Connection, old: asyncpg.Record, new: asyncpg.Record) -> bool:
    """Whether a switch from old to new would lose a photo. A photo without faces has no vector, so its outcome speaks for it."""
    if new["kind"] == "face":
        return bool(await connection.fetchval(statement("face_space_lacks"), old["name"], new["name"], UNRUN))
    return bool(await connection.fetchval(statement("space_lacks"), old["id"], new["id"], new["name"], UNRUN))
