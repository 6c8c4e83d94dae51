"""Which engine a store is in: the only file that knows them all.

Opening, for a server or a command; whole stores to be copied; what only a file has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, Self, TypeVar, runtime_checkable

from fhir_server.model.outcome import Unavailable
from fhir_server.search.values import IndexValues
from fhir_server.settings import Settings, WrongSettings, load_settings
from fhir_server.store.bulk import Source, Target
from fhir_server.store.fact import Fact
from fhir_server.store.port import Name, Store, Version
from fhir_server.store.sqlite.backup import check_copy
from fhir_server.store.sqlite.backup import restore as restore_file
from fhir_server.store.sqlite.bulk import SqliteSource
from fhir_server.store.sqlite.copying import SqliteCopy
from fhir_server.store.sqlite.importing import SqliteTarget
from fhir_server.store.sqlite.store import SqliteStore

_T = TypeVar("_T")

NO_FILE: Final = "FHIR_SERVER_STORE: this is no file; use the database's own tools for this."


class Refused(Exception):
    """A command cannot be done; the text says why."""


async def open_store(settings: Settings, *, patience: float = 10.0) -> Store:
    """Open the store that the settings name.

    Args:
        settings: They name a file or a database.
        patience: Seconds to wait for a database that is not ready yet.

    Raises:
        Refused: It cannot be opened.
    """
    if settings.is_embedded:
        return await _open_file(settings)
    # The driver costs a tenth of a second, which a store in a file need not pay.
    from fhir_server.store.mongo.store import MongoStore  # noqa: PLC0415

    try:
        return await MongoStore.open(settings.store, patience=patience)
    except Unavailable as error:
        raise Refused(f"FHIR_SERVER_STORE: {error}") from None


async def _open_file(settings: Settings) -> Store:
    try:
        settings.sqlite_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return await SqliteStore.open(settings.sqlite_path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Refused(f"FHIR_SERVER_STORE: {settings.sqlite_path}: {reason}") from None
    except Unavailable as error:
        raise Refused(f"FHIR_SERVER_STORE: {settings.sqlite_path}: {error}") from None


@runtime_checkable
class Attended(Protocol):
    """A store that must be told who serves it: nobody sees that somebody has it open."""

    def serving(self) -> AbstractAsyncContextManager[object]:
        """Return the context of a process that serves it."""


@asynccontextmanager
async def at_work(store: Store) -> AsyncIterator[None]:
    """Give the time in which a store is served: nobody moves or restores it meanwhile.

    Raises:
        Refused: Somebody does.
    """
    async with AsyncExitStack() as stack:
        if isinstance(store, Attended):
            try:
                await stack.enter_async_context(store.serving())
            except Unavailable as error:
                raise Refused(f"FHIR_SERVER_STORE: {error}") from None
        yield


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store is, and how it is opened to be copied whole.

    Attributes:
        name: What it is called in a refusal: a setting, an option, a file.
    """

    settings: Settings
    name: str = "FHIR_SERVER_STORE"

    @classmethod
    def at(cls, name: str, address: str) -> Self:
        """Return the place at an address that has the form of FHIR_SERVER_STORE.

        Raises:
            Refused: It has not.
        """
        try:
            return cls(load_settings(store=address), name)
        except WrongSettings as error:
            raise Refused(f"{name}: {str(error).partition(': ')[2]}") from None

    @property
    def address(self) -> str:
        """What tells it from others, and may be shown."""
        if self.settings.is_embedded:
            return f"sqlite:///{self.settings.sqlite_path.resolve()}"
        return self.settings.shown_store

    async def source(self, mode: Literal["alone", "served"]) -> Source:
        """Open the store that is there: one that nobody serves, or one that may be served.

        Raises:
            Refused: It cannot be opened.
        """
        if self.settings.is_embedded:
            return await self._opened(SqliteSource.open(self.settings.sqlite_path, mode))
        from fhir_server.store.mongo.bulk import MongoSource  # noqa: PLC0415

        return await self._opened(MongoSource.open(self.settings.store, mode))

    async def target(self) -> Target:
        """Open the store that is there, or a new one, to be written; nobody serves it.

        Raises:
            Refused: It cannot be opened.
        """
        if self.settings.is_embedded:
            return await self._opened(SqliteTarget.open(self.settings.sqlite_path, "alone"))
        from fhir_server.store.mongo.importing import MongoTarget  # noqa: PLC0415

        return await self._opened(MongoTarget.open(self.settings.store, "alone"))

    async def emptied(self, mark: bytes) -> Target:
        """Open the database that is there, take out all that it holds, and mark it as a target.

        Raises:
            Refused: It cannot be opened, or somebody serves it.
        """
        from fhir_server.store.mongo.importing import MongoTarget  # noqa: PLC0415

        target = await self._opened(MongoTarget.open(self.settings.store, "alone"))
        try:
            await target.empty(mark)
        except BaseException:
            await target.close()
            raise
        return target

    def replace(self, file: Path) -> None:
        """Put a copy in the place of the file that is there, all of it or nothing.

        Raises:
            Refused: Somebody serves the store, or the file is no copy.
        """
        try:
            restore_file(file, self.settings.sqlite_path)
        except Unavailable as error:
            raise Refused(f"{self.name}: {error}") from None

    async def _opened(self, opening: Awaitable[_T]) -> _T:
        try:
            return await opening
        except (Unavailable, OSError) as error:
            raise Refused(f"{self.name}: {error}") from None


async def open_copy(file: Path) -> Source:
    """Open a file that `backup` has written.

    Raises:
        Refused: It is none, or is damaged.
    """
    try:
        await asyncio.to_thread(check_copy, file)
        return await SqliteSource.open(file, "file")
    except Unavailable as error:
        raise Refused(f"{file}: {error}") from None


async def new_copy(file: Path) -> SqliteCopy:
    """Open a file to be written as a copy; it is there only once it is whole.

    Raises:
        Refused: It cannot be written.
    """
    try:
        return await SqliteCopy.of(file)
    except (Unavailable, OSError) as error:
        raise Refused(f"{file}: {error}") from None


def embedded(store: Store) -> SqliteStore:
    """Return the store as the embedded engine, for what only a file has.

    Raises:
        Refused: It is another engine.
    """
    if not isinstance(store, SqliteStore):
        raise Refused(NO_FILE)
    return store


@runtime_checkable
class Walkable(Store, Protocol):
    """A store that an operator's commands go through from end to end."""

    async def walk(
        self, resource_type: str | None = None, *, after: int = 0, limit: int = 200
    ) -> list[tuple[int, Version]]:
        """Return current resources of a type after a number, each with its own."""

    async def reindex(
        self, items: Sequence[tuple[Name, int, IndexValues]], *, indexed: int = 0
    ) -> int:
        """Index resources anew, in one commit, and return how many."""

    async def begin_reindex(self) -> str:
        """Note that resources are about to be indexed anew, and return by what form of indexes.

        How far a run has come that was interrupted counts for nothing where it was of another.
        """

    async def end_reindex(self, resource_type: str) -> None:
        """Note that all resources of a type have been indexed anew."""


def walkable(store: Store) -> Walkable:
    """Return the store as one that can be walked through.

    Raises:
        Refused: It is no store that a server keeps.
    """
    if not isinstance(store, Walkable):
        raise Refused("FHIR_SERVER_STORE: this store cannot be walked through.")
    return store


async def facts_of(settings: Settings) -> list[Fact]:
    """Return what is to be known of the store itself, well or not; it may be served meanwhile.

    Raises:
        Refused: It cannot be opened at all.
    """
    if settings.is_embedded:
        store = await _open_file(settings)
        try:
            return await embedded(store).doctor()
        finally:
            await store.close()
    from fhir_server.store.mongo.doctor import examine  # noqa: PLC0415

    try:
        return await examine(settings.store)
    except Unavailable as error:
        raise Refused(f"FHIR_SERVER_STORE: {error}") from None
