"""A whole store in a database, read in order (`store/bulk.py`).

A page is read in one snapshot of the database, so that no version is missed which is replaced
meanwhile; what must be of one moment, in one session that keeps its snapshot
(`minSnapshotHistoryWindowInSeconds`: 300 seconds, if nobody has set it otherwise).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final, Literal, Self, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import OperationFailure, PyMongoError

from fhir_server.model.outcome import Unavailable
from fhir_server.store.bulk import LEFT_OUT, Ends, Held, Kept, Record, RecordKey, Size, State
from fhir_server.store.mongo.audit import entry_of
from fhir_server.store.mongo.calls import unavailable
from fhir_server.store.mongo.chunks import pieces_in, whole
from fhir_server.store.mongo.connect import PATIENCE, Opened, open_database
from fhir_server.store.mongo.schema import HEAD, SEPARATOR, Document
from fhir_server.store.mongo.serving import Alone
from fhir_server.store.mongo.versions import SHOWN, key_of, name_of, number_of, versions_of
from fhir_server.store.port import AuditEntry, Name, Version

_T = TypeVar("_T")

Mode = Literal["alone", "served"]
"""How a store is opened: nobody serves it, or somebody may."""

_KEPT: Final = {**SHOWN, "c": 1, "g": 1, "w": 1}
_STATE: Final[Document] = {
    "r": 1, "v": 1, "D": 1, "c": 1, "g": 1, "p": 1, "indexed": {"$gt": ["$e", None]},
}  # fmt: skip
"""Projections: what a version is made of, and what a state."""

_TOO_OLD: Final = frozenset({239, 246})
"""SnapshotTooOld, SnapshotUnavailable."""


class MongoSource:
    """A store in a MongoDB database, read whole."""

    def __init__(self, opened: Opened, mode: Mode) -> None:
        self._opened = opened
        self._calls = opened.calls
        self._to = opened.collections
        self._alone = Alone(opened.collections, opened.calls) if mode == "alone" else None
        self._session: AsyncClientSession | None = None

    @classmethod
    async def open(cls, url: str, mode: Mode, *, patience: float = PATIENCE) -> Self:
        """Open a store.

        Args:
            url: `mongodb://…`.
            mode: Whether anybody may serve it meanwhile.
            patience: Seconds to wait for a primary.

        Raises:
            Unavailable: It cannot be used, or is served.
        """
        opened = await open_database(url, patience=patience)
        made = cls(opened, mode)
        try:
            if made._alone is not None:
                await made._alone.__aenter__()
        except BaseException:
            await opened.close()
            raise
        return made

    async def close(self) -> None:
        """Let go of the store."""
        if self._alone is not None:
            await self._alone.__aexit__(None, None, None)
        await self._opened.close()

    # --- what there is once --------------------------------------------------------------

    async def _head(self) -> Document:
        return await self._view(self._read_head)

    async def _read_head(self, session: AsyncClientSession) -> Document:
        head = await self._to.meta.find_one({"_id": HEAD}, session=session)
        if head is None:
            raise Unavailable("The database holds no store.")
        return head

    async def cursor_key(self) -> bytes:
        """Return the key that seals the store's cursors."""
        return bytes((await self._head())["cursor_key"])

    async def ends(self) -> Ends:
        """Return how far it has come."""
        head = await self._head()
        return Ends(head["rid"], head["seq"], bytes(head["digest"]))

    async def counts(self) -> dict[str, int]:
        """Return how many versions and audit entries there are, and current resources by type."""

        async def count(session: AsyncClientSession) -> dict[str, int]:
            head = await self._read_head(session)
            there = [
                await one.count_documents({}, session=session, hint="_id_")
                for one in (self._to.resource, self._to.history, self._to.audit)
            ]
            by_type: dict[str, int] = head["counts"]
            return {"versions": there[0] + there[1], "audit": there[2]} | by_type

        return await self._view(count)

    async def record(self, bucket: str, key: str) -> bytes | None:
        """Return a ledger record."""

        async def read(session: AsyncClientSession) -> bytes | None:
            asked = {"_id": f"{bucket}{SEPARATOR}{key}"}
            found = await self._to.ledger.find_one(asked, session=session)
            return None if found is None else (await self._record(found, session)).value

        return await self._view(read)

    # --- read in order -------------------------------------------------------------------

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[None]:
        """Give a time in which all that is read is of one moment."""
        if self._alone is not None:
            yield
            return
        async with self._opened.client.start_session(snapshot=True) as session:
            self._session = session
            try:
                yield
            finally:
                self._session = None

    async def _view(self, read: Callable[[AsyncClientSession], Awaitable[_T]]) -> _T:
        """Read in the moment that there is, or in one of its own."""
        session = self._session
        if session is None:
            return await self._calls.view(read)
        try:
            return await read(session)
        except PyMongoError as error:
            if isinstance(error, OperationFailure) and error.code in _TOO_OLD:
                raise Unavailable(
                    "The database did not keep one moment of the store for as long as it took to "
                    "read: raise its minSnapshotHistoryWindowInSeconds."
                ) from error
            raise unavailable(error) from error

    async def versions(self, after: int, size: Size) -> list[Kept]:
        """Return versions after a number."""

        async def read(session: AsyncClientSession) -> list[Kept]:
            head = await self._read_head(session)
            current = self._to.resource.find(
                {"t": {"$in": sorted(head["counts"])}, "r": {"$gt": after}},
                _KEPT,
                sort=[("r", 1)],
                hint="types",
                session=session,
                batch_size=size.items,
                limit=size.items,
            )
            past = self._to.history.find(
                {"_id": {"$gt": after}},
                _KEPT,
                sort=[("_id", 1)],
                session=session,
                batch_size=size.items,
                limit=size.items,
            )
            found: list[Kept] = []
            left = size.bytes
            async with _Ahead(current) as now, _Ahead(past) as then:
                while len(found) < size.items and left > 0:
                    document = await _least(now, then)
                    if document is None:
                        break
                    (version,) = await versions_of(self._to, [document], session)
                    found.append(_kept(document, version))
                    left -= len(version.body)
            return found

        return await self._view(read)

    async def current(self, names: Sequence[Name]) -> list[Kept]:
        """Return the current versions of some resources."""

        async def read(session: AsyncClientSession) -> list[Kept]:
            asked = {"_id": {"$in": [key_of(*one) for one in names]}}
            found = self._to.resource.find(asked, _KEPT, session=session)
            documents = sorted(await found.to_list(), key=number_of)
            versions = await versions_of(self._to, documents, session)
            return list(map(_kept, documents, versions))

        return await self._view(read)

    async def entries(self, after: int, size: Size) -> list[AuditEntry]:
        """Return audit entries after a `seq`."""

        async def read(session: AsyncClientSession) -> list[AuditEntry]:
            cursor = self._to.audit.find(
                {"_id": {"$gt": after}}, sort=[("_id", 1)], session=session, limit=size.items
            )
            found: list[AuditEntry] = []
            left = size.bytes
            async with cursor:
                async for document in cursor:
                    found.append(entry_of(document))
                    left -= len(document["b"])
                    if left <= 0:
                        break
            return found

        return await self._view(read)

    async def records(self, after: RecordKey, size: Size) -> list[Record]:
        """Return ledger records after a bucket and key."""

        async def read(session: AsyncClientSession) -> list[Record]:
            asked = {"_id": {"$gt": SEPARATOR.join(after)}}
            cursor = self._to.ledger.find(asked, sort=[("_id", 1)], session=session)
            found: list[Record] = []
            left = size.bytes
            async with cursor:
                async for document in cursor:
                    if document["_id"].partition(SEPARATOR)[0] in LEFT_OUT:
                        continue
                    found.append(await self._record(document, session))
                    left -= len(found[-1].value)
                    if left <= 0 or len(found) >= size.items:
                        break
            return found

        return await self._view(read)

    async def _record(self, document: Document, session: AsyncClientSession) -> Record:
        bucket, _, key = document["_id"].partition(SEPARATOR)
        pieces = pieces_in(document)
        value = document.get("b") if pieces is None else await whole(self._to, pieces, session)
        if value is None:
            raise Unavailable("A part of a ledger record is not there.")
        return Record(bucket, key, value, document.get("x"))

    async def states(self, after: int, size: Size) -> list[State]:
        """Return resources as they are, by the numbers of their current versions."""

        async def read(session: AsyncClientSession) -> list[State]:
            head = await self._read_head(session)
            cursor = self._to.resource.find(
                {"t": {"$in": sorted(head["counts"])}, "r": {"$gt": after}},
                _STATE,
                sort=[("r", 1)],
                hint="types",
                session=session,
                batch_size=size.items,
                limit=size.items,
            )
            return [_state(document) for document in await cursor.to_list()]

        return await self._view(read)

    async def keys(self, after: str, size: Size) -> list[Held]:
        """Return unique keys after one."""

        async def read(session: AsyncClientSession) -> list[Held]:
            cursor = self._to.unique.find(
                {"_id": {"$gt": after}}, sort=[("_id", 1)], session=session, limit=size.items
            )
            return [Held(one["_id"], name_of(one["n"])) for one in await cursor.to_list()]

        return await self._view(read)


class _Ahead:
    """A cursor whose next document can be looked at."""

    def __init__(self, cursor: AsyncCursor[Document]) -> None:
        self._cursor = cursor
        self.next: Document | None = None

    async def __aenter__(self) -> Self:
        await self.take()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._cursor.close()

    async def take(self) -> Document | None:
        """Return the next document, and go on."""
        taken = self.next
        self.next = await anext(self._cursor, None)
        return taken


async def _least(one: _Ahead, other: _Ahead) -> Document | None:
    """Take the document of the lesser number."""
    if one.next is None or (other.next is not None and number_of(other.next) < number_of(one.next)):
        return await other.take()
    return await one.take()


def _kept(document: Document, version: Version) -> Kept:
    number = number_of(document)
    if "w" in document:
        return Kept(number, version, replaced=document["w"])
    return Kept(number, version, first=document["c"], tags=tuple(sorted(document["g"])))


def _state(document: Document) -> State:
    return State(
        document["r"],
        name_of(document["_id"]),
        document["v"],
        "D" in document,
        document["indexed"],
        document["c"],
        tuple(sorted(document["g"])),
        tuple(document["p"]),
    )
