"""A whole store in a file, read in order or written as it is (`store/bulk.py`).

A move's store is open alone: SQLite's exclusive locking mode keeps every other connection out, of
any process and for as long as it lasts, and is refused where there is one. Killed, it is free.
"""

# ruff: noqa: S608 - every piece of the SQL is ours

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.store.bulk import LEFT_OUT, Ends, Held, Kept, Record, RecordKey, Size, State
from fhir_server.store.chain import GENESIS
from fhir_server.store.port import AuditEntry, Name, Version
from fhir_server.store.sqlite.apply import METHODS
from fhir_server.store.sqlite.connect import check_library, connect, refusals
from fhir_server.store.sqlite.migrate import LATEST, known_version, migrate
from fhir_server.store.sqlite.names import Kind, Names
from fhir_server.store.sqlite.numbering import as_numbers
from fhir_server.store.sqlite.packing import Packing

Mode = Literal["alone", "served", "file"]
"""How a store is opened: nobody else has it open, or somebody may; or it is a copy of one."""

_PATIENCE_MS: Final = 1_000
_CACHE_KIB: Final = 262_144
_CHECKPOINT: Final = 20_000
"""Pages of WAL from which a commit brings it in: 80 MB."""
_PATIENTS: Final = 200_000

_FIRST: Final = (
    "CASE WHEN v.version_id = 1 THEN v.rid ELSE (SELECT f.rid FROM version AS f "
    "INDEXED BY version_nr WHERE f.nr = v.nr ORDER BY f.version_id LIMIT 1) END"
)
_KEPT: Final = (
    "SELECT v.rid, v.version_id, v.last_updated, v.method, v.patients, v.packing, v.body, "
    "r.type, r.id, CASE WHEN r.rid = v.rid THEN r.tags END, "
    f"CASE WHEN r.rid = v.rid THEN {_FIRST} ELSE 0 END, "
    "CASE WHEN r.rid <> v.rid THEN (SELECT n.last_updated FROM version AS n "
    "INDEXED BY version_nr WHERE n.nr = v.nr AND n.version_id = v.version_id + 1) END "
)
_VERSIONS: Final = (
    f"{_KEPT} FROM version AS v NOT INDEXED CROSS JOIN resource AS r "
    "WHERE v.rid > ? AND r.nr = v.nr ORDER BY v.rid LIMIT ?"
)
_CURRENT: Final = (
    f"{_KEPT} FROM resource AS r CROSS JOIN version AS v "
    "WHERE r.type = ? AND r.id = ? AND v.rid = r.rid"
)
_STATES: Final = (
    f"SELECT v.rid, r.type, r.id, r.version_id, length(v.body) = 0, {_FIRST}, r.tags, v.patients, "
    "EXISTS (SELECT 1 FROM entry AS e WHERE e.rid = v.rid) "
    "FROM version AS v NOT INDEXED CROSS JOIN resource AS r "
    "WHERE v.rid > ? AND r.nr = v.nr AND r.rid = v.rid ORDER BY v.rid LIMIT ?"
)

_T = TypeVar("_T")


class SqliteSource:
    """A store in one SQLite file, read whole."""

    def __init__(self, path: Path, mode: Mode) -> None:
        self.path = path
        self._mode = mode
        self._patients: dict[int, str] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-bulk")

    @classmethod
    async def open(cls, path: Path, mode: Mode) -> Self:
        """Open a store.

        Raises:
            Unavailable: It is not there, is no store that this program knows, or is served.
        """
        check_library()
        opened = cls(path, mode)
        try:
            await opened._do(opened._open)
        except BaseException:
            opened._thread.shutdown()
            raise
        return opened

    async def _do(self, work: Callable[[], _T]) -> _T:
        with refusals():
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _open(self) -> None:
        self._db = self._connected()
        try:
            self._begin()
        except BaseException:
            self._db.close()
            raise

    def _connected(self) -> apsw.Connection:
        if not self.path.is_file():
            raise Unavailable("There is no store at that path.")
        if self._mode == "served":
            return connect(self.path)
        if self._mode == "file":
            flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
            return apsw.Connection(f"{self.path.absolute().as_uri()}?immutable=1", flags=flags)
        return connect_alone(self.path)

    def _begin(self) -> None:
        version = known_version(self._db)
        if version < LATEST and self._mode == "served":
            raise Unavailable("The store is an older version's: serve it by this program first.")
        if version < LATEST and self._mode == "file":
            self._db = _writable(self._db)
        if version < LATEST:
            migrate(self._db)
        self._names, self._packing = Names(self._db), Packing(self._db)

    async def close(self) -> None:
        """Let go of the file."""
        await self._do(self._db.close)
        self._thread.shutdown()

    # --- what there is once --------------------------------------------------------------

    async def cursor_key(self) -> bytes:
        """Return the key that seals the store's cursors."""
        return await self._do(lambda: bytes(self._meta("cursor_key")))

    def _meta(self, key: str) -> Any:
        return self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get

    async def ends(self) -> Ends:
        """Return how far it has come."""
        return await self._do(self._ends)

    def _ends(self) -> Ends:
        number, seq, digest = next(
            self._db.execute(
                "SELECT (SELECT coalesce(max(rid), 0) FROM version), coalesce(max(seq), 0), digest "
                "FROM audit"
            )
        )
        return Ends(number, seq, digest or GENESIS)

    async def counts(self) -> dict[str, int]:
        """Return how many versions and audit entries there are, and current resources by type."""
        return await self._do(self._counts)

    def _counts(self) -> dict[str, int]:
        versions, audit = next(
            self._db.execute("SELECT (SELECT count(*) FROM version), (SELECT count(*) FROM audit)")
        )
        rows: list[Any] = self._db.execute("SELECT type, live FROM counter").fetchall()
        by_type = {self._names.text(Kind.TYPE, nr): live for nr, live in rows}
        return {"versions": versions, "audit": audit} | by_type

    async def record(self, bucket: str, key: str) -> bytes | None:
        """Return a ledger record."""
        return await self._do(lambda: self._record(bucket, key))

    def _record(self, bucket: str, key: str) -> bytes | None:
        text = "SELECT value FROM ledger WHERE bucket = ? AND key = ?"
        found = self._db.execute(text, (bucket, key)).get
        return None if found is None else bytes(found)

    # --- read in order -------------------------------------------------------------------

    @asynccontextmanager
    async def moment(self) -> AsyncIterator[None]:
        """Give a time in which all that is read is of one moment."""
        if self._mode != "served":
            yield
            return
        await self._do(lambda: self._db.execute("BEGIN"))
        try:
            yield
        finally:
            await self._do(lambda: self._db.execute("ROLLBACK"))

    async def versions(self, after: int, size: Size) -> list[Kept]:
        """Return versions after a number."""
        rows = partial(self._db.execute, _VERSIONS, (after, size.items))
        return await self._do(
            lambda: _page(map(self._kept, rows()), size, lambda one: len(one.version.body))
        )

    async def current(self, names: Sequence[Name]) -> list[Kept]:
        """Return the current versions of some resources."""

        def read() -> list[Kept]:
            asked = [(self._names.type(kind), key) for kind, key in names]
            rows = [row for one in asked for row in self._db.execute(_CURRENT, one)]
            return sorted(map(self._kept, rows), key=lambda one: one.number)

        return await self._do(read)

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        (
            rid, version_id, last_updated, method, patients, packing, packed,
            type_nr, key, tags, first, replaced,
        ) = row  # fmt: skip
        body = self._packing.unpack(packing, packed)
        version = Version(
            self._names.text(Kind.TYPE, type_nr),
            key,
            version_id,
            last_updated,
            body,
            not body,
            METHODS[method] if type(method) is int else method,
            self._of_patients(patients),
        )
        return Kept(rid, version, replaced, first, self._of_tags(tags))

    def _of_tags(self, column: Any) -> tuple[str, ...]:
        if column is None:
            return ()
        return tuple(sorted(self._names.text(Kind.TAG, nr) for nr in as_numbers(column)))

    def _of_patients(self, column: Any) -> tuple[str, ...]:
        return tuple(map(self._patient, as_numbers(column)))

    def _patient(self, nr: int) -> str:
        found = self._patients.get(nr)
        if found is None:
            found = str(self._db.execute("SELECT id FROM resource WHERE nr = ?", (nr,)).get)
            if len(self._patients) > _PATIENTS:
                self._patients.clear()
            self._patients[nr] = found
        return found

    async def entries(self, after: int, size: Size) -> list[AuditEntry]:
        """Return audit entries after a `seq`."""
        text = (
            "SELECT seq, recorded, body, digest, patients FROM audit WHERE seq > ? "
            "ORDER BY seq LIMIT ?"
        )
        rows = partial(self._db.execute, text, (after, size.items))
        return await self._do(lambda: _page(map(_entry, rows()), size, lambda one: len(one.body)))

    async def records(self, after: RecordKey, size: Size) -> list[Record]:
        """Return ledger records after a bucket and key."""
        out = ", ".join(f"'{bucket}'" for bucket in sorted(LEFT_OUT))
        text = (
            "SELECT bucket, key, value, expires FROM ledger WHERE (bucket, key) > (?, ?) "
            f"AND bucket NOT IN ({out}) ORDER BY bucket, key LIMIT ?"
        )
        rows = partial(self._db.execute, text, (*after, size.items))
        return await self._do(lambda: _page(map(_record, rows()), size, lambda one: len(one.value)))

    async def states(self, after: int, size: Size) -> list[State]:
        """Return resources as they are, by the numbers of their current versions."""
        rows = partial(self._db.execute, _STATES, (after, size.items))
        return await self._do(lambda: [self._state(row) for row in rows()])

    def _state(self, row: tuple[Any, ...]) -> State:
        rid, type_nr, key, version_id, deleted, first, tags, patients, indexed = row
        return State(
            rid,
            (self._names.text(Kind.TYPE, type_nr), key),
            version_id,
            bool(deleted),
            bool(indexed),
            first,
            self._of_tags(tags),
            self._of_patients(patients),
        )

    async def keys(self, after: str, size: Size) -> list[Held]:
        """Return unique keys after one."""
        text = (
            "SELECT u.key, r.type, r.id FROM unique_key AS u CROSS JOIN resource AS r "
            "WHERE u.key > ? AND r.nr = u.nr ORDER BY u.key LIMIT ?"
        )

        def read() -> list[Held]:
            rows = self._db.execute(text, (after, size.items))
            return [
                Held(key, (self._names.text(Kind.TYPE, nr), holder)) for key, nr, holder in rows
            ]

        return await self._do(read)


def _writable(db: apsw.Connection) -> apsw.Connection:
    """Return a copy that is nobody's, and gone when it is closed, of what may only be read."""
    copy = apsw.Connection("")
    with copy.backup("main", db, "main") as steps:
        steps.step(-1)
    db.close()
    return copy


def connect_alone(path: Path) -> apsw.Connection:
    """Return a connection that nobody has beside it, and gets as long as it is open.

    Raises:
        Unavailable: Somebody has.
    """
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX
    db = apsw.Connection(str(path), flags=flags, statementcachesize=400)
    try:
        db.set_busy_timeout(_PATIENCE_MS)
        db.pragma("locking_mode", "exclusive")
        db.pragma("journal_mode", "wal")
        db.execute("BEGIN IMMEDIATE; COMMIT")
    except apsw.BusyError as error:
        db.close()
        raise Unavailable("The store is being served: stop the server first.") from error
    except BaseException:
        db.close()
        raise
    # A loss of power may take the last transactions, in their order, until `settle`.
    db.pragma("synchronous", "normal")
    db.pragma("cache_size", -_CACHE_KIB)
    db.pragma("temp_store", "memory")
    db.wal_autocheckpoint(_CHECKPOINT)
    return db


def _page(items: Iterator[_T], size: Size, weight: Callable[[_T], int]) -> list[_T]:
    """Return items until they weigh as much as a page may."""
    found: list[_T] = []
    left = size.bytes
    for one in items:
        found.append(one)
        left -= weight(one)
        if left <= 0:
            break
    return found


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    seq, recorded, body, digest, patients = row
    return AuditEntry(seq, recorded, body, digest, tuple(patients.split("\n")) if patients else ())


def _record(row: tuple[Any, ...]) -> Record:
    bucket, key, value, expires = row
    return Record(bucket, key, bytes(value), expires)
