"""Connections to the store's file, and what their failures mean to a client."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import apsw

from fhir_server.model.outcome import Unavailable

BUSY_MS: Final = 15_000
"""How long a writer waits for another process's transaction."""

_PAUSE: Final = 0.001

_OLDEST: Final = (3, 51, 3)
"""Before it, two connections could lose commits when the WAL was reset (sqlite.org/wal.html)."""

_READER_CACHE_KIB: Final = 16_384
POINT_CACHE_KIB: Final = 2_048
"""What the event loop's reader caches: room for the upper levels of the trees of some million
resources. The pages below are seldom asked for twice, and a commit of the writer empties the cache:
with more of it a page is only read into memory that the processor has not at hand."""

_WRITER_CACHE_KIB: Final = 65_536
_MMAP: Final = 1 << 30


def make_private(path: Path) -> None:
    """Make an empty file that only its owner may read; SQLite's files beside it will be the same.

    One that is there keeps its permissions.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def check_library() -> None:
    """Refuse an SQLite that loses commits.

    Raises:
        Unavailable: The SQLite that apsw brings is too old.
    """
    found = tuple(map(int, apsw.sqlite_lib_version().split(".")))
    if found < _OLDEST:
        raise Unavailable(
            f"SQLite {apsw.sqlite_lib_version()} can lose commits: install apsw 3.51.3 or later."
        )


def _wait(asked: int) -> bool:
    # SQLite's own waits grow to 0.1 s, in which a lock that is held for 5 ms stands unused.
    time.sleep(_PAUSE)
    return asked * _PAUSE * 1_000 < BUSY_MS


def connect(
    path: Path,
    *,
    writer: bool = False,
    vfs: str | None = None,
    cache_kib: int = _READER_CACHE_KIB,
) -> apsw.Connection:
    """Return a connection of one thread: the writer's, or one that only reads.

    Args:
        path: The store's file.
        writer: Whether it may write.
        vfs: SQLite's layer over the system's files, where it is not the usual one.
        cache_kib: How much one that only reads caches.
    """
    with refusals():
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOMUTEX
        if writer:
            flags |= apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(str(path), flags=flags, vfs=vfs, statementcachesize=400)
        # A statement's plan stays, whatever is bound to it. Else SQLite, which has STAT4, parses
        # and plans many anew at every call: 9 of the 15 us that the one of a read by id took.
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        db.set_busy_timeout(BUSY_MS)
        if writer:
            db.set_busy_handler(_wait)
        if writer:
            db.pragma("journal_mode", "wal")
            # FULL: a commit is on the disk when it returns, power lost or not.
            db.pragma("synchronous", "full")
            db.pragma("cache_size", -_WRITER_CACHE_KIB)
            db.pragma("mmap_size", _MMAP)
            db.wal_autocheckpoint(0)  # the checkpoint has a connection of its own
        else:
            db.pragma("query_only", 1)
            db.pragma("cache_size", -cache_kib)
            # Not mapped: after every commit of another connection, such as an AuditEvent's, SQLite
            # gives a reader's map back (pager.c, pagerBeginReadTransaction), and each page of a new
            # one is a page fault: a read by id took 50 us instead of 17 at a million resources.
            db.pragma("mmap_size", 0)
        db.pragma("temp_store", "memory")
        return db


def cursor_key(db: apsw.Connection) -> bytes:
    """Return the store's own key, which seals what goes out to come back."""
    return bytes(db.execute("SELECT value FROM meta WHERE key = 'cursor_key'").get)


class _Refusals:
    """Turns a failure of the file or the disk into what a client is told."""

    __slots__ = ()

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if isinstance(error, apsw.Error | OSError):
            text = failure(error)
            if text is not None:
                raise Unavailable(text) from error


_REFUSALS: Final = _Refusals()


def refusals() -> _Refusals:
    """Return the context in which a failure of the file or the disk is Unavailable.

    Nothing of the driver's text is told, and nothing was answered that is not so.
    """
    return _REFUSALS


def failure(error: BaseException) -> str | None:
    """Return the sentence for a failure of the file or the disk; None where the fault is ours."""
    match error:
        case apsw.FullError():
            return "The store's disk is full."
        case apsw.CorruptError() | apsw.NotADBError():
            return "The store's file is damaged: restore a backup."
        case apsw.IOError():
            return "The store's disk cannot be read or written."
        case apsw.BusyError() | apsw.LockedError():
            return "The store is busy: try again."
        case apsw.CantOpenError() | apsw.PermissionsError() | apsw.ReadOnlyError() | OSError():
            return "The store's file cannot be opened for writing."
        case apsw.NoMemError():
            return "The server is out of memory."
        case _:
            return None
