"""A store in a file, written as another one is: the target of a move (`store/bulk.py`).

A page is a transaction, and the move's mark is in it.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

import apsw

from fhir_server.search.values import IndexValues
from fhir_server.store.bulk import BUCKET, MARK, Kept, MakeReady, Record, RecordKey
from fhir_server.store.derive import indexes_of, write_of
from fhir_server.store.port import AuditEntry, Name, Put, Write
from fhir_server.store.sqlite import dictionaries
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.bulk import SqliteSource, connect_alone
from fhir_server.store.sqlite.connect import make_private
from fhir_server.store.sqlite.ledger import put_record
from fhir_server.store.sqlite.migrate import migrate
from fhir_server.store.sqlite.names import Kind
from fhir_server.store.sqlite.numbering import as_column

_STAMP: Final = "moved"

_RESOURCE: Final = (
    "INSERT INTO resource VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (nr) DO UPDATE SET "
    "rid = excluded.rid, version_id = excluded.version_id, live = excluded.live, "
    "last_updated = excluded.last_updated, tags = excluded.tags"
)


class Importer(Applier):
    """Writes what another store has kept, on the connection of a writer that is alone."""

    def put(self, items: Sequence[Kept], writes: Sequence[Write]) -> None:
        """Write versions, in the order of their numbers; those that are there are replaced.

        A resource's row is that of the latest of them that is there; only of a current version
        it is alive.
        """
        states: dict[Name, Any] = {}
        live: defaultdict[int, int] = defaultdict(int)
        for kept in items:
            if kept.name in states:
                continue
            state = states[kept.name] = self._state(kept.name)
            if state.was_rid is not None:
                self._take_out(state, state.was_rid)
                live[state.type] -= 1
            if not state.nr:
                state.nr = self._numbering.next(kept.name)
        versions: list[tuple[Any, ...]] = []
        for kept, write in zip(items, writes, strict=True):
            state = states[kept.name]
            state.rid, state.version_id = kept.number, write.version_id
            state.last_updated, state.live = write.last_updated, kept.is_indexed
            state.write = write
            state.tags = tuple(sorted(self.names.give(Kind.TAG, one) for one in kept.tags))
            versions.append(self._version(state, kept.number, write))
        # A commit may have moved a key from one resource to another: the page may begin between.
        self.db.executemany(
            "INSERT OR REPLACE INTO unique_key VALUES (?, ?)",
            [
                (key, state.nr)
                for state in states.values()
                if state.live
                for key in state.write.index.unique
            ],
        )
        entries = [
            self._index(state, state.rid, state.write) for state in states.values() if state.live
        ]
        for state in states.values():
            live[state.type] += state.live
        self.db.executemany(
            "INSERT OR REPLACE INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", versions
        )
        self.db.executemany(
            _RESOURCE,
            [
                (one.nr, one.type, name[1], one.rid, one.version_id, one.live, one.last_updated,
                 as_column(one.tags))
                for name, one in states.items()
            ],
        )  # fmt: skip
        self.db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", entries)
        self.db.executemany(
            "INSERT INTO counter VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET live = live + excluded.live",
            [item for item in live.items() if item[1]],
        )

    def put_entries(self, entries: Sequence[AuditEntry]) -> None:
        """Write audit entries; those that are there are replaced."""
        self.db.executemany(
            "INSERT OR REPLACE INTO audit VALUES (?, ?, ?, ?, ?)",
            [
                (one.seq, one.recorded, one.digest, "\n".join(one.patients), one.body)
                for one in entries
            ],
        )
        self.db.executemany(
            "INSERT OR IGNORE INTO audit_patient VALUES (?, ?)",
            [(patient, one.seq) for one in entries for patient in one.patients],
        )

    def put_records(self, records: Iterable[Record], gone: Iterable[RecordKey]) -> None:
        """Write ledger records, and delete others."""
        for bucket, key in gone:
            put_record(self.db, Put(bucket, key, None))
        for one in records:
            put_record(self.db, Put(one.bucket, one.key, one.value, expires=one.expires))

    def done(self) -> None:
        """Write the index rows; what was numbered is kept."""
        self.flush()
        self._numbering.settle()


class SqliteTarget(SqliteSource):
    """A store in one SQLite file, which is made where it is not there, written as another is."""

    is_laborious: ClassVar[bool] = False

    def _connected(self) -> apsw.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        make_private(self.path)
        return connect_alone(self.path)

    def _begin(self) -> None:
        migrate(self._db)
        self._importer = Importer(self._db)
        self._names, self._packing = self._importer.names, self._importer.packing

    @contextmanager
    def _writing(self, mark: bytes | None = None) -> Iterator[Importer]:
        """Give the importer in a transaction of its own, with which a mark is written."""
        importer = self._importer
        self._db.execute("BEGIN IMMEDIATE")
        try:
            importer.begin()
            yield importer
            if mark is not None:
                put_record(self._db, Put(BUCKET, MARK, mark))
            importer.done()
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            importer.forget()
            raise

    async def begin(self, cursor_key: bytes, mark: bytes) -> None:
        """Make an empty store the target of a move."""

        def begin() -> None:
            with self._writing(mark):
                self._set("cursor_key", cursor_key)

        await self._do(begin)

    def _set(self, key: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    async def mark(self) -> bytes | None:
        """Return the mark of a move that is not finished."""
        return await self.record(BUCKET, MARK)

    async def keep(self, mark: bytes) -> None:
        """Write the mark."""

        def keep() -> None:
            with self._writing(mark):
                pass

        await self._do(keep)

    @property
    def make_ready(self) -> MakeReady:
        """What gives index values."""
        return indexes_of

    async def put_versions(
        self,
        items: Sequence[Kept],
        ready: Sequence[IndexValues],
        mark: bytes,
        *,
        again: bool = False,
    ) -> None:
        """Write versions as they are."""
        del again  # all of a transaction is there, or nothing of it; what is there is replaced
        writes = list(map(write_of, items, ready))

        def put() -> None:
            with self._writing(mark) as importer:
                importer.put(items, writes)
            self._train()

        await self._do(put)

    def _train(self) -> None:
        if dictionaries.due(self._db):
            newest, trained = dictionaries.trained(self._db, random.Random())
            with self._writing():
                dictionaries.keep(self._db, newest, trained)

    async def put_entries(self, entries: Sequence[AuditEntry], mark: bytes) -> None:
        """Write audit entries as they are."""

        def put() -> None:
            with self._writing(mark) as importer:
                importer.put_entries(entries)

        await self._do(put)

    async def put_records(self, records: Sequence[Record], gone: Sequence[RecordKey]) -> None:
        """Write ledger records, and delete others."""

        def put() -> None:
            with self._writing() as importer:
                importer.put_records(records, gone)

        await self._do(put)

    async def index(self) -> None:
        """Do nothing: index rows are written with the versions."""

    async def settle(self) -> None:
        """Bring all that was written to its place on the disk."""
        await self._do(lambda: self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE))

    async def stamp(self) -> bytes | None:
        """Return what `finish` has left."""
        return await self._do(lambda: self._meta(_STAMP))

    async def finish(self, stamp: bytes) -> None:
        """Take the mark away and leave a stamp."""

        def finish() -> None:
            with self._writing():
                put_record(self._db, Put(BUCKET, MARK, None))
                self._set(_STAMP, stamp)

        await self._do(finish)
        await self.settle()
