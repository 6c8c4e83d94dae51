"""A consistent copy of the store while it is served, and back into one that nobody serves.

https://www.sqlite.org/backup.html
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.store.sqlite.connect import connect, make_private, refusals
from fhir_server.store.sqlite.migrate import known_version

_PAGES: Final = 2_000
_PAUSE: Final = 0.001
"""Pages copied at once (8 MB), and seconds left to others between two steps."""


def backup(source: Path, target: Path) -> int:
    """Copy the store at `source` into the file `target`, and return the bytes of the copy.

    The copy is of one moment, whatever is written meanwhile: the source's connection holds one
    view all along. `target` is there only when it is whole and on the disk.

    Raises:
        Unavailable: The target is the store itself, or the disk is full or fails.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise Unavailable("A backup cannot be written over the store itself.")
    part = target.with_name(target.name + ".part")
    with refusals():
        part.unlink(missing_ok=True)
        make_private(part)
        db = connect(source)
        try:
            db.execute("BEGIN")
            # A transaction holds its view from its first read on.
            db.execute("SELECT count(*) FROM meta").fetchall()
            _copy(db, part)
            db.execute("ROLLBACK")
        finally:
            db.close()
        put_in_place(part, target)
    return target.stat().st_size


def _copy(source: apsw.Connection, part: Path) -> None:
    copy = apsw.Connection(str(part))
    try:
        with copy.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(_PAGES)
                time.sleep(_PAUSE)
        # The copy is one file, without a WAL beside it.
        copy.pragma("journal_mode", "delete")
    finally:
        copy.close()


def put_in_place(part: Path, target: Path) -> None:
    """Give a file that is whole its name; what is there by that name is on the disk.

    Raises:
        Unavailable: What had the name before is open as a store.
    """
    _sync(part)
    _take_away_wal(target)
    part.replace(target)
    _sync(target.parent)


def _take_away_wal(target: Path) -> None:
    """See to it that no WAL is beside a file: SQLite would play it into whatever has the name.

    It is there where a former copy was opened as a store, and whoever had it open was killed.
    """
    wal = target.with_name(target.name + "-wal")
    if not wal.exists():
        return
    if target.exists():
        with refusals():
            _alone(target, "The file is open as a store: choose another one.").close()
    wal.unlink(missing_ok=True)
    _sync(target.parent)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def restore(backup_file: Path, target: Path) -> None:
    """Put a backup in the place of the store at `target`, all of it or nothing.

    Raises:
        Unavailable: Somebody serves the store, or the file is no backup that this program can use.
    """
    source = _opened(backup_file)
    with refusals():
        try:
            _check(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            make_private(target)
            _replace(source, target)
        finally:
            source.close()


def check_copy(file: Path) -> None:
    """Make sure that a file is a backup, and whole.

    Raises:
        Unavailable: It is not.
    """
    source = _opened(file)
    with refusals():
        try:
            _check(source)
        finally:
            source.close()


def _opened(file: Path) -> apsw.Connection:
    if not file.is_file():
        raise Unavailable("There is no backup at that path.")
    with refusals():
        return apsw.Connection(
            f"{file.absolute().as_uri()}?immutable=1",
            flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
        )


def _check(source: apsw.Connection) -> None:
    if known_version(source) == 0:
        raise Unavailable("The file is empty, and no backup of a store.")
    if source.pragma("quick_check") != "ok":
        raise Unavailable("The backup is damaged: take another one.")


def _replace(source: apsw.Connection, target: Path) -> None:
    """Overwrite the target in one transaction of its own: killed half-way, it is as before."""
    db = _alone(target, "The store is being served: stop the server first.")
    try:
        db.pragma("synchronous", "extra")
        with db.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(_PAGES)
    finally:
        db.close()
    # A restored store must not hand out cursors that were made before it.
    opened = connect(target, writer=True)
    try:
        opened.execute("UPDATE meta SET value = randomblob(32) WHERE key = 'cursor_key'")
    finally:
        opened.close()


def _alone(path: Path, refusal: str) -> apsw.Connection:
    """Open a store that nobody else has open, without its WAL.

    Raises:
        Unavailable: Somebody has; with the text of `refusal`.
    """
    db = apsw.Connection(str(path))
    try:
        db.set_busy_timeout(1_000)
        # Not even idle: in WAL mode only the last one can leave it.
        db.pragma("locking_mode", "exclusive")
        db.pragma("journal_mode", "delete")
        db.execute("BEGIN EXCLUSIVE; COMMIT")
    except apsw.BusyError as error:
        db.close()
        raise Unavailable(refusal) from error
    except BaseException:
        db.close()
        raise
    return db
