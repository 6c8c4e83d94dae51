"""The embedded engine: one SQLite file, one writer, readers on their own connections.

Point reads run where they are asked for, on the event loop: they take 10 microseconds, a thread
ten times as long. A search begins there too, with a small budget; what needs more is done again
in a thread with the whole budget.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from fhir_server.search.expression import (
    EVERYTHING,
    And,
    Chain,
    Expression,
    Has,
    Ids,
    Not,
    Or,
    Search,
)
from fhir_server.search.values import IndexValues
from fhir_server.store.fact import Fact
from fhir_server.store.feed import Wakes
from fhir_server.store.port import (
    AuditEntry,
    Batch,
    Change,
    Name,
    Page,
    Some,
    Version,
    WorkBudgetExceeded,
)
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.backup import backup
from fhir_server.store.sqlite.budget import FULL
from fhir_server.store.sqlite.connect import check_library, connect, make_private, refusals
from fhir_server.store.sqlite.doctor import examine
from fhir_server.store.sqlite.housekeeping import Housekeeper
from fhir_server.store.sqlite.migrate import LATEST, migrate
from fhir_server.store.sqlite.reader import Reader
from fhir_server.store.sqlite.writer import Writer
from fhir_server.store.work import GivenUp, Work, current

ON_LOOP: Final = 60_000
"""Steps of a search on the event loop: one or two milliseconds."""

LARGE: Final = 300
"""Parts of an expression for which it is asked in a thread at once."""

_THREADS: Final = 3
_CHAIN: Final = 500
_CHANGES: Final = 200
_TICK: Final = 0.5

_T = TypeVar("_T")


@dataclass(slots=True)
class _Question(Generic[_T]):
    """What is asked of a reader: within so many steps, for the request whose work it is.

    Attributes:
        steps: How many were done by now, in all attempts.
    """

    ask: Callable[[Reader, int], _T]
    most: int
    work: Work | None = None
    steps: int = 0

    def of(self, reader: Reader, steps: int) -> _T:
        """Ask a reader."""
        budget = reader.searcher.budget
        before, budget.work, budget.is_first = budget.done, self.work, steps < self.most
        try:
            return self.ask(reader, steps)
        finally:
            budget.work, budget.is_first = None, False
            self.steps += budget.done - before


class SqliteStore:
    """A Store in one SQLite file."""

    def __init__(self, path: Path, *, work_budget: int = FULL, vfs: str | None = None) -> None:
        self.path = path
        self._budget = work_budget
        self.writer = Writer(path, vfs=vfs)
        self._housekeeper = Housekeeper(path, self.writer.submit)
        self._reader = Reader(path, is_for_points=True)
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="sqlite-reader")
        self._idle: queue.SimpleQueue[Reader] = queue.SimpleQueue()
        self._readers: list[Reader] = []
        self._wakes = Wakes()
        self._closed = False

    @classmethod
    async def open(
        cls, path: Path | str, *, work_budget: int = FULL, vfs: str | None = None
    ) -> SqliteStore:
        """Open the store in this file, made or brought to the newest version where needed.

        Args:
            path: The file.
            work_budget: SQLite's steps in one search, at most.
            vfs: SQLite's layer over the system's files for the writer, if not the usual one.

        Raises:
            Unavailable: The file is of a newer version, no store, damaged or not writable.
        """
        check_library()
        where = Path(path)
        with refusals():
            await asyncio.to_thread(_prepare, where)
            return cls(where, work_budget=work_budget, vfs=vfs)

    # --- writes --------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """Make all of it durable, or raise a CommitRefused and make nothing of it."""
        await self.writer.commit(batch)
        if batch.writes:
            self._wakes.wake()

    # --- reads on the loop ---------------------------------------------------------------

    async def read(self, resource_type: str, resource_id: str) -> Version | None:
        """Return the current version (a deletion too), or None where none ever was."""
        with refusals():
            return self._reader.read(resource_type, resource_id)

    async def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""
        with refusals():
            return self._reader.read_many(names)

    async def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""
        with refusals():
            return self._reader.vread(resource_type, resource_id, version_id)

    async def visible(self, name: Name, where: Expression) -> bool:
        """Return whether the current (not deleted) version of this resource matches."""
        with refusals():
            return self._reader.visible(name, where)

    async def tags(self, name: Name) -> frozenset[str]:
        """Return the access tags of a resource."""
        with refusals():
            return self._reader.tags(name)

    async def holder(self, key: str) -> Name | None:
        """Return who holds a unique key `system|value`."""
        with refusals():
            return self._reader.holder(key)

    async def referrers(self, name: Name, *, limit: int = 1000) -> list[Name]:
        """Return current resources, at most so many, that refer to this one."""
        with refusals():
            return self._reader.referrers(name, limit)

    async def get(self, bucket: str, key: str, *, now: int | None = None) -> bytes | None:
        """Return a ledger record, or None where it is absent or (at `now`) has ended."""
        with refusals():
            return self._reader.get(bucket, key, now)

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
        with refusals():
            return self._reader.scan(bucket, start, end, limit, reverse=reverse)

    # --- reads that may take long --------------------------------------------------------

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
        """Return versions newest first: of one resource, of a type, or of all."""
        name = (resource_type, resource_id)

        def history(reader: Reader, steps: int) -> Page:
            with reader.snapshot(steps):
                return reader.history(name, since, at, count, cursor, among)

        return await self._long(history)

    async def search(self, search: Search) -> Page:
        """Return one page of matches.

        Raises:
            WorkBudgetExceeded: The search would take too long.
            BadCursor: The cursor is not one of this store's.
        """
        # What is to be explained has its whole budget at once: its figures are of one attempt.
        # To write down what many values ask takes long too, before any step of it is done.
        return await self._long(
            lambda reader, steps: reader.search(search, steps),
            at_once=search.explain or _is_large(self._reader.searcher.by_type(search)),
        )

    async def count(self, resource_type: str, where: Expression = EVERYTHING) -> int:
        """Return how many current resources of a type match."""
        return await self._long(lambda reader, steps: reader.count(resource_type, where, steps))

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

        def audit(reader: Reader, steps: int) -> list[AuditEntry]:
            with reader.snapshot(steps):
                return reader.audit(patient, since, until, before, after, limit)

        return await self._long(audit)

    async def audit_entry(self, seq: int) -> AuditEntry | None:
        """Return one audit entry."""
        with refusals():
            return self._reader.audit_entry(seq)

    async def audit_chain(self) -> AsyncIterator[AuditEntry]:
        """Return all audit entries, oldest first."""
        last = 0
        while True:
            with refusals():
                entries = self._reader.audit_after(last, _CHAIN)
            if not entries:
                return
            for entry in entries:
                yield entry
            last = entries[-1].seq
            await asyncio.sleep(0)

    async def _long(self, ask: Callable[[Reader, int], _T], *, at_once: bool = False) -> _T:
        work = current()
        if work is None:
            return await self._asked(_Question(ask, self._budget), at_once=at_once)
        await work.breathe()
        work.check()
        # What is left of the request's budget bounds this search too.
        question = _Question(ask, min(self._budget, int(work.left * self._budget) + 1), work)
        try:
            return await self._asked(question, at_once=at_once)
        except WorkBudgetExceeded:
            if work.is_given_up:
                raise GivenUp from None
            raise
        finally:
            work.charge(question.steps / self._budget)

    async def _asked(self, question: _Question[_T], *, at_once: bool) -> _T:
        with refusals():
            try:
                if not at_once:
                    return question.of(self._reader, min(ON_LOOP, question.most))
            except WorkBudgetExceeded:
                if question.most <= ON_LOOP:
                    raise
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._pool, self._apart, lambda reader, _: question.of(reader, question.most)
            )

    def _apart(self, ask: Callable[[Reader, int], _T]) -> _T:
        try:
            reader = self._idle.get_nowait()
        except queue.Empty:
            reader = Reader(self.path)
            self._readers.append(reader)
        try:
            return ask(reader, self._budget)
        finally:
            self._idle.put(reader)

    # --- changes -------------------------------------------------------------------------

    async def changes(self, after: str | None = None) -> AsyncIterator[Change]:
        """Return every version made, of any process, in the order of the commits, as it is made.

        This process's own commits wake it; those of others are found by the file's edition, which
        is looked at every half second.

        Raises:
            BadCursor: The token is not one of this store's.
        """
        with refusals():
            tokens, last = self._reader.tokens(), self._reader.last_number()
        number = tokens.number(after, last)
        while not self._closed:
            with refusals():
                seen, edition = self._wakes.count, self._reader.edition()
                rows = self._reader.changes(number, _CHANGES)
            for number, name, version_id, last_updated, deleted in rows:
                yield Change(tokens.token(number), *name, version_id, last_updated, deleted)
            if rows:
                await asyncio.sleep(0)
                continue
            while not (self._closed or await self._wakes.wait(seen, most=_TICK)):
                with refusals():
                    if self._reader.edition() != edition:
                        break

    async def last_change(self) -> str:
        """Return the token of the last version made."""
        with refusals():
            return self._reader.tokens().token(self._reader.last_number())

    # --- the whole store -----------------------------------------------------------------

    async def backup(self, target: Path | str) -> int:
        """Write a consistent copy of the store into a file, and return its bytes.

        Raises:
            Unavailable: The target cannot be written.
        """
        return await asyncio.to_thread(backup, self.path, Path(target))

    async def doctor(self, *, thorough: bool = True) -> list[Fact]:
        """Return facts of the store's file, and what to do about what is wrong."""
        return await asyncio.to_thread(lambda: examine(self.path, thorough=thorough))

    async def walk(
        self, resource_type: str | None = None, *, after: int = 0, limit: int = 200
    ) -> list[tuple[int, Version]]:
        """Return current resources by the order in which they were first made, after a number.

        The number of the last one is where a walk that was stopped goes on: it never changes.
        """
        with refusals():
            return await asyncio.get_running_loop().run_in_executor(
                self._pool,
                self._apart,
                lambda reader, _: reader.walk(resource_type, after, limit),
            )

    async def reindex(
        self, items: Sequence[tuple[Name, int, IndexValues]], *, indexed: int = 0
    ) -> int:
        """Index resources anew, in one commit, and return how many.

        Args:
            items: Name, the version that was indexed, and its index values; a resource that is at
                another version by now was indexed by its write, and is passed over.
            indexed: By which search parameters, as in a Batch.

        Raises:
            IndexedOtherwise: Resources are indexed by other search parameters by now.
            KeyHeld: By the new values two resources would hold one unique key.
        """

        def work(applier: Applier) -> int:
            applier.check_indexed(indexed)
            return sum(applier.reindex(*item) for item in items)

        return await self.writer.run(work)

    async def begin_reindex(self) -> str:
        """Return by what form of indexes resources are indexed: that of the file's schema."""
        return str(LATEST)

    async def end_reindex(self, resource_type: str) -> None:
        """Use the indexes that every resource of a type is in by now.

        Raises:
            Unavailable: The store cannot be written.
        """
        await self.writer.run(lambda applier: applier.settle_shapes(resource_type))

    # --- life ----------------------------------------------------------------------------

    def seal(self, about: bytes, position: list[Any]) -> str:
        """Return a cursor of a place that is not in one search of this store alone."""
        return self._reader.cursors.seal(about, position)

    def unseal(self, about: bytes, cursor: str) -> list[Any]:
        """Return the place that a cursor says."""
        return self._reader.cursors.open(about, cursor)

    async def edition(self) -> object:
        """Return a value that is another one after every commit but of audit entries alone."""
        with refusals():
            return self._reader.edition()

    async def ready(self) -> bool:
        """Return whether the store can take a commit now."""
        if self._closed:
            return False
        if self.writer.failed is None:
            return True
        try:
            await self.writer.run(Applier.probe)
        except Exception:  # noqa: BLE001 - not ready, whatever the reason
            return False
        return self.writer.failed is None

    async def close(self) -> None:
        """Finish what was begun and let go of the files."""
        if self._closed:
            return
        self._closed = True
        self._wakes.wake()
        await asyncio.to_thread(self._housekeeper.stop)
        await asyncio.to_thread(self.writer.close)
        await asyncio.to_thread(self._pool.shutdown)
        self._reader.close()
        for reader in self._readers:
            reader.close()


def _prepare(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make_private(path)
    db = connect(path, writer=True)
    try:
        migrate(db)
    finally:
        db.close()


def _is_large(by_type: Sequence[tuple[str, Expression]]) -> bool:
    left = LARGE
    waiting = [where for _, where in by_type]
    while waiting and left > 0:
        where = waiting.pop()
        left -= 1
        match where:
            case And(operands) | Or(operands):
                left -= len(operands)
                waiting += operands[:LARGE]
            case Not(inner) | Chain(_, _, inner) | Has(_, _, inner):
                waiting.append(inner)
            case Ids(ids):
                left -= len(ids)
            case _:
                pass
    return left <= 0
