"""The distributed engine: a MongoDB replica set, with as many server processes as there are.

Commits of this process are gathered into one transaction at a time; point reads are of what a
majority has, searches and histories of one snapshot.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.search.expression import EVERYTHING, Expression, Search
from fhir_server.store.cursor import Cursors
from fhir_server.store.mongo.audit import AuditReader
from fhir_server.store.mongo.changes import Changes
from fhir_server.store.mongo.chunks import Chunks, loosen
from fhir_server.store.mongo.commit import Committer
from fhir_server.store.mongo.connect import PATIENCE, Opened, open_database
from fhir_server.store.mongo.gather import Gatherer
from fhir_server.store.mongo.ledger import LedgerReader
from fhir_server.store.mongo.prepared import Prepared
from fhir_server.store.mongo.reader import MARKS, Reader, seen
from fhir_server.store.mongo.reads import Most
from fhir_server.store.mongo.reindexing import Item, raise_schema, reindex, set_ordered
from fhir_server.store.mongo.schema import HEAD, VERSION, Collections, Document, unordered
from fhir_server.store.mongo.search import Searcher
from fhir_server.store.mongo.serving import Serving
from fhir_server.store.mongo.staging import record_key
from fhir_server.store.mongo.together import Together
from fhir_server.store.mongo.versions import SHOWN, key_of
from fhir_server.store.port import (
    AuditEntry,
    Batch,
    Change,
    CommitRefused,
    Name,
    Page,
    Some,
    Version,
)
from fhir_server.store.soon import expected
from fhir_server.store.work import current

_T = TypeVar("_T")

_READY: Final = 1.0
"""Seconds for which an answer about readiness is good."""

_JUDGED: Final = {"b": 0, "s": 0, "o": 0, "l": 0}
"""Projection: what a search needs to judge one resource."""

_Documents = dict[str, Document | None]


class MongoStore:
    """A Store in a MongoDB database."""

    def __init__(self, opened: Opened, head: Document) -> None:
        self._opened = opened
        self._calls = opened.calls
        self._collections = opened.collections
        self._cursors = cursors = Cursors(head["cursor_key"])
        self._searcher = Searcher(opened.collections, cursors)
        self._reader = Reader(opened.collections, cursors, is_sharded=head["sharded"])
        self._ledger = LedgerReader(opened.collections)
        self._audit = AuditReader(opened.collections)
        self._chunks = Chunks(opened.collections, opened.calls)
        self._large: set[asyncio.Task[None]] = set()
        self.committer = Committer(opened.calls, opened.collections, self._searcher, self._chunks)
        self._gatherer = Gatherer(self.committer.make)
        self._edition = Together(self._read_edition)
        self._documents = Together(self._asked(SHOWN))
        self._ahead = Together(self._read_ahead)
        self._is_sharded = bool(head["sharded"])
        self._is_quiet = False
        self._last_edition = -1
        self._marks = Together(self._asked(MARKS))
        self._records = Together(self._read_records)
        self._holders = Together(self._read_holders)
        self._changes = Changes(opened.collections, opened.calls)
        self._ready_until = 0.0
        self._closed = False

    @classmethod
    async def open(cls, url: str, *, patience: float = PATIENCE) -> MongoStore:
        """Open the store in the database that a URL names; what is missing in it is made.

        Args:
            url: `mongodb://…`.
            patience: Seconds to wait for a primary.

        Raises:
            Unavailable: It cannot be used; the text says why, in one sentence.
        """
        opened = await open_database(url, patience=patience)
        try:
            head = await opened.calls.read(lambda: _head(opened.collections))
            return cls(opened, head)
        except BaseException:
            await opened.close()
            raise

    # --- writes --------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """Make all of it durable, or raise a CommitRefused and make nothing of it.

        Raises:
            CommitRefused: A precondition does not hold.
            Unavailable: The database does not answer.
        """
        prepared = Prepared(batch)
        if not prepared.has_large:
            await self._gatherer.ask(prepared)
            if batch.writes:
                self._changes.made()
            return
        task = asyncio.create_task(self._commit_large(prepared))
        self._large.add(task)
        task.add_done_callback(self._large.discard)
        # A cancelled caller changes nothing: the commit is made.
        await asyncio.shield(task)

    async def _commit_large(self, prepared: Prepared) -> None:
        """Commit what has values that are kept in pieces: they are written first."""
        if self._closed or self._gatherer.closed:
            raise Unavailable("The store is closed.")
        await prepared.put(self._chunks)
        try:
            await self._gatherer.ask(prepared)
        except CommitRefused:
            await self._calls.read(lambda: loosen(self._collections, prepared.all_pieces))
            self._chunks.sweep_soon()
            raise
        self._changes.made()

    # --- one resource --------------------------------------------------------------------

    async def read(self, resource_type: str, resource_id: str) -> Version | None:
        """Return the current version (a deletion too), or None where none ever was."""
        ahead = expected()
        found = None if ahead is None else ahead.take((resource_type, resource_id))
        if found is None:
            document = await self._documents.ask(key_of(resource_type, resource_id))
        else:
            document = found[0]
        return await self._calls.read(lambda: self._reader.version(document))

    def _asked(self, shown: Mapping[str, int]) -> Callable[[list[str]], Awaitable[_Documents]]:
        def asked(keys: list[str]) -> Awaitable[_Documents]:
            return self._calls.read(lambda: self._reader.documents(keys, shown))

        return asked

    async def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""
        return await self._calls.read(lambda: self._reader.read_many(names))

    async def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""
        return await self._calls.read(
            lambda: self._reader.vread(resource_type, resource_id, version_id)
        )

    async def visible(self, name: Name, where: Expression) -> bool:
        """Return whether the current (not deleted) version of this resource matches."""
        is_seen = seen(where, await self._marks.ask(key_of(*name)))
        if is_seen is not None:
            return is_seen

        async def judge(session: AsyncClientSession) -> bool:
            document = await self._reader.document(key_of(*name), _JUDGED, session)
            if document is None or "D" in document:
                return False
            return await self._searcher.matches(name[0], where, document, session)

        return await self._calls.view(judge)

    async def tags(self, name: Name) -> frozenset[str]:
        """Return the access tags of a resource."""
        marks = await self._marks.ask(key_of(*name))
        return frozenset() if marks is None else frozenset(marks["g"])

    async def holder(self, key: str) -> Name | None:
        """Return who holds a unique key `system|value`."""
        return await self._holders.ask(key)

    async def _read_holders(self, keys: list[str]) -> dict[str, Name | None]:
        return await self._calls.read(lambda: self._reader.holders(keys))

    async def referrers(self, name: Name, *, limit: int = 1000) -> list[Name]:
        """Return current resources, at most so many, that refer to this one."""
        return await self._calls.read(lambda: self._reader.referrers(name, limit))

    # --- many resources ------------------------------------------------------------------

    async def history(
        self,
        resource_type: str | None,
        resource_id: str | None,
        *,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        count: int = 20,
        cursor: str | None = None,
        among: Sequence[Some] = (),
    ) -> Page:
        """Return versions newest first: of one resource, of a type, or of all.

        Raises:
            WorkBudgetExceeded: It would take too long.
            BadCursor: The cursor is not one of this store's.
        """
        name = (resource_type, resource_id)

        async def history(session: AsyncClientSession, _: Most) -> Page:
            head = await self._head(session) if resource_type is None else {}
            return await self._reader.history(head, name, since, at, count, cursor, session, among)

        return await self._viewed(history)

    async def search(self, search: Search) -> Page:
        """Return one page of matches.

        Raises:
            WorkBudgetExceeded: The search would take too long.
            BadCursor: The cursor is not one of this store's.
        """

        async def page(session: AsyncClientSession, most: Most) -> Page:
            return await self._searcher.page(search, await self._head(session), session, most)

        return await self._viewed(page)

    async def count(self, resource_type: str, where: Expression = EVERYTHING) -> int:
        """Return how many current resources of a type match."""
        if where == EVERYTHING:
            head = await self._calls.read(self._head)
            return int(head["counts"].get(resource_type, 0))
        return await self._viewed(
            lambda session, most: self._searcher.count(resource_type, where, session, most)
        )

    async def _viewed(self, ask: Callable[[AsyncClientSession, Most], Awaitable[_T]]) -> _T:
        """Return what one view gives, for the request whose work it is."""
        work = current()
        if work is None:
            return await self._calls.view(lambda session: ask(session, Most()))
        work.check()
        most, began = Most.of(work.left), time.monotonic()
        try:
            return await work.asked(self._calls.view(lambda session: ask(session, most)))
        finally:
            took = time.monotonic() - began
            work.charge(most.searches(took), took)

    async def _head(self, session: AsyncClientSession | None = None) -> Document:
        return await _head(self._collections, session)

    # --- ledger and audit ----------------------------------------------------------------

    async def get(self, bucket: str, key: str, *, now: int | None = None) -> bytes | None:
        """Return a ledger record, or None where it is absent or (at `now`) has ended."""
        asked = record_key(bucket, key)
        document = await self._records.ask(asked)
        if document is None:
            return None
        return await self._calls.read(lambda: self._ledger.value(asked, document, now))

    async def _read_records(self, keys: list[str]) -> _Documents:
        return await self._calls.read(lambda: self._ledger.documents(keys))

    async def scan(
        self,
        bucket: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Return records with start <= key < end, in key order (or from the end backwards)."""
        return await self._calls.read(
            lambda: self._ledger.scan(bucket, start, end, limit, reverse=reverse)
        )

    async def audit(
        self,
        *,
        patient: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Return audit entries newest first: of a Patient, of a time, before a `seq`.

        Behind a `seq` (`after`) they are given oldest first.
        """
        return await self._calls.read(
            lambda: self._audit.audit(patient, since, until, before, after, limit)
        )

    async def audit_entry(self, seq: int) -> AuditEntry | None:
        """Return one audit entry."""
        return await self._calls.read(lambda: self._audit.entry(seq))

    async def audit_chain(self) -> AsyncIterator[AuditEntry]:
        """Return all audit entries, oldest first."""
        last = 0
        while True:
            entries = await self._calls.read(partial(self._audit.after, last))
            if not entries:
                return
            for entry in entries:
                yield entry
            last = entries[-1].seq

    # --- changes -------------------------------------------------------------------------

    def changes(self, after: str | None = None) -> AsyncIterator[Change]:
        """Return every version made, of any process, in the order of the commits, as it is made.

        Raises:
            BadCursor: The token is not one of this store's.
            Unavailable: The database does not answer.
        """
        return self._changes.follow(after)

    async def last_change(self) -> str:
        """Return the token of the last version made."""
        return await self._changes.last()

    # --- the whole store -----------------------------------------------------------------

    async def walk(
        self, resource_type: str | None = None, *, after: int = 0, limit: int = 200
    ) -> list[tuple[int, Version]]:
        """Return current resources by the numbers of their versions, after a number.

        What is updated meanwhile comes again, further on: a walk that was stopped goes on after
        the last number that it had, and leaves nothing out.
        """

        async def walk() -> list[tuple[int, Version]]:
            head = await self._head() if resource_type is None else {}
            return await self._reader.walk(head, resource_type, after, limit)

        return await self._calls.read(walk)

    async def reindex(self, items: Sequence[Item], *, indexed: int = 0) -> int:
        """Index resources anew, in one commit, and return how many.

        Args:
            items: Name, the version that was indexed, and its index values; a resource that is at
                another version by now was indexed by its write, and is passed over.
            indexed: By which search parameters, as in a Batch.

        Raises:
            IndexedOtherwise: Resources are indexed by other search parameters by now.
            KeyHeld: By the new values two resources would hold one unique key.
        """
        return await self._gatherer.ask(
            lambda session: reindex(self._collections, items, indexed, session)
        )

    async def begin_reindex(self) -> str:
        """Take the store to the newest schema: from here on an older server writes no more.

        Returns:
            Of what schema the documents are that are made anew. How far a run has come that an
            older program began counts for nothing.

        Raises:
            Unavailable: The database does not answer.
        """
        if (await self._head())["schema"] < VERSION:
            await self._gatherer.ask(lambda session: raise_schema(self._collections, session))
        return str(VERSION)

    async def end_reindex(self, resource_type: str) -> None:
        """Note that all resources of a type have been indexed anew, as `begin_reindex` says.

        Raises:
            Unavailable: The database does not answer.
        """
        if resource_type in unordered(await self._head()):
            await self._gatherer.ask(
                lambda session: set_ordered(self._collections, resource_type, session)
            )

    # --- life ----------------------------------------------------------------------------

    def serving(self) -> Serving:
        """Return the context of a process that serves this store, which nobody moves meanwhile."""
        return Serving(self._collections, self._calls, self._lose)

    def _lose(self) -> None:
        """Write no more: somebody moves the store, or has moved it, as if nobody served it."""
        self._gatherer.closed = True

    def seal(self, about: bytes, position: list[Any]) -> str:
        """Return a cursor of a place that is not in one search of this store alone."""
        return self._cursors.seal(about, position)

    def unseal(self, about: bytes, cursor: str) -> list[Any]:
        """Return the place that a cursor says."""
        return self._cursors.open(about, cursor)

    async def edition(self) -> object:
        """Return a value that is another one after every commit but of audit entries alone."""
        ahead, before = expected(), self._last_edition
        if ahead is None or self._is_sharded or not self._is_quiet:
            edition = await self._edition.ask(HEAD)
        else:
            edition, document = await self._ahead.ask(key_of(*ahead.name))
            if edition == before:
                # Nothing was committed since before the question: so it is of this edition.
                ahead.found = (document,)
        self._is_quiet, self._last_edition = edition == before, edition
        return edition

    async def _read_ahead(self, keys: list[str]) -> dict[str, tuple[int, Document | None]]:
        return await self._calls.read(lambda: self._reader.ahead(keys))

    async def _read_edition(self, _: list[str]) -> dict[str, int]:
        asked = self._collections.meta
        found = await self._calls.read(lambda: asked.find_one({"_id": HEAD}, {"edition": 1}))
        if found is None:
            raise Unavailable("The database holds no store.")
        return {HEAD: int(found["edition"])}

    async def ready(self) -> bool:
        """Return whether the store can take a commit now."""
        if self._closed or self._gatherer.closed:
            return False
        now = asyncio.get_running_loop().time()
        if now < self._ready_until:
            return True
        if not await self._calls.is_ready():
            return False
        self._ready_until = now + _READY
        return True

    async def close(self) -> None:
        """Finish what was begun and let go of the connections."""
        if self._closed:
            return
        self._closed = True
        self._calls.end_soon()
        self._changes.end()
        if self._large:
            await asyncio.wait(self._large)
        await self._gatherer.close()
        await self._chunks.settle()
        await self._changes.settle()
        await self._opened.close()


async def _head(collections: Collections, session: AsyncClientSession | None = None) -> Document:
    head = await collections.meta.find_one({"_id": HEAD}, session=session)
    if head is None:
        raise Unavailable("The database holds no store.")
    return head
