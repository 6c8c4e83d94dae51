"""A copy in a file, written as another store is: what `backup` makes of a database."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from fhir_server.store.sqlite.backup import put_in_place
from fhir_server.store.sqlite.importing import SqliteTarget


class SqliteCopy(SqliteTarget):
    """A copy that is there only when it is whole; until then it is `FILE.part`, begun anew."""

    @classmethod
    async def of(cls, file: Path) -> Self:
        """Open a file to be written.

        Raises:
            Unavailable: It cannot be written.
        """
        part = file.with_name(file.name + ".part")
        part.unlink(missing_ok=True)
        return await cls.open(part, "alone")

    async def keep_as(self, file: Path) -> None:
        """Let go of the copy, and give it its name; it is one file, without a WAL beside it."""

        def keep() -> None:
            self._db.pragma("journal_mode", "delete")
            self._db.close()
            put_in_place(self.path, file)

        await self._do(keep)
