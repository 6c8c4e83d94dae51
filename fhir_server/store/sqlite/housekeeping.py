"""What the store does for itself, in a thread: checkpoints, dictionaries, ended records.

The writer never runs a checkpoint: most of it is done here while the writer goes on, when the WAL
has grown and when the store has been quiet for a while. A WAL that is only brought in goes on
growing under load, so what little is left is then done in the writers' turn, and the file is cut.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final

import apsw
import structlog

from fhir_server.model.outcome import Unavailable
from fhir_server.store.sqlite import dictionaries
from fhir_server.store.sqlite.connect import connect
from fhir_server.store.sqlite.gather import Work
from fhir_server.store.sqlite.turn import Turn

log = structlog.stdlib.get_logger("sqlite")

GROWN: Final = 64_000_000
"""Bytes of WAL from which it is brought in and cut; a smaller one only when nothing is written."""
QUIET: Final = 10.0
"""Seconds without a write after which a WAL of any size is brought in and cut."""
TOO_LARGE: Final = 3 * GROWN
"""Bytes of WAL from which writers wait for all of the checkpoint, not only for the rest of it."""

_PASSES: Final = 4
_REST: Final = 1_000
"""Frames that may be left for the writers to wait for: a few milliseconds' work."""
_PATIENCE_MS: Final = 100
"""How long a commit waits at most for readers, so that the WAL can be cut."""
_RETRY: Final = 3.0
"""Seconds until a WAL that a long reader held is tried again."""

_LOOK: Final = 0.5
_SWEEP: Final = 60.0
_SWEPT: Final = 2_000
_KEPT: Final = 86_400_000_000
"""A record that ended stays so many microseconds: whoever asks `now` brings his own clock."""


Submit = Callable[[Work], Future[object]]


def _wait(asked: int) -> bool:
    time.sleep(0.001)
    return asked < _PATIENCE_MS


class Housekeeper:
    """Looks after one file, from a thread and a connection of its own."""

    def __init__(
        self,
        path: Path,
        submit: Submit,
        *,
        clock: Callable[[], float] = time.time,
        look: float = _LOOK,
    ) -> None:
        self._path = path
        self._submit = submit
        self._clock = clock
        self._look = look
        self._wal = path.with_name(path.name + "-wal")
        self._stop = threading.Event()
        self._quiet = 0.0
        self._seen: tuple[int, int] | None = None
        self._done: tuple[int, int] | None = None
        self._swept = 0.0
        self._retry = 0.0
        self.checkpoints = 0
        self._thread = threading.Thread(target=self._run, name="sqlite-housekeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; the last connection to close brings the WAL in."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        db = self._connected()
        if db is None:
            return
        db.set_busy_handler(_wait)
        turn = Turn(self._path)
        while not self._stop.wait(self._look):
            with contextlib.suppress(apsw.Error):  # busy or full: tried again at the next look
                self._checkpoint(db, turn)
                self._train(db)
                self._sweep(db)
        turn.close()
        db.close()

    def _connected(self) -> apsw.Connection | None:
        """Return the connection; None where the thread is told to end before there is one.

        A thread that gave up would leave the WAL growing while the writer goes on.
        """
        said = ""
        while True:
            try:
                return connect(self._path, writer=True)
            except Unavailable as error:
                if str(error) != said:
                    said = str(error)
                    log.warning("housekeeper.not_connected", reason=said)
            if self._stop.wait(self._look):
                return None

    def _state(self) -> tuple[int, int] | None:
        try:
            found = self._wal.stat()
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns

    def _checkpoint(self, db: apsw.Connection, turn: Turn) -> None:
        now = self._state()
        self._quiet = self._quiet + self._look if now == self._seen else 0.0
        self._seen = now
        if now is None or now == self._done or (now[0] < GROWN and self._quiet < QUIET):
            return
        self.checkpoints += 1
        frames, moved = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        for _ in range(_PASSES):
            if frames - moved <= _REST:
                break
            # What was written meanwhile is less each time; what an old reader holds stays.
            frames, moved = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        if (frames - moved <= _REST or now[0] >= TOO_LARGE) and time.monotonic() >= self._retry:
            self._cut(db, turn)
        elif frames == moved:
            self._done = self._state()

    def _cut(self, db: apsw.Connection, turn: Turn) -> None:
        """Bring in what is left and make the WAL empty; no commit begins meanwhile."""
        self._retry = time.monotonic() + _RETRY
        with turn:
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        self._retry = 0.0
        self._done = self._state()

    def _train(self, db: apsw.Connection) -> None:
        if dictionaries.due(db):
            newest, trained = dictionaries.trained(db, random.Random())
            self._write(lambda applier: dictionaries.keep(applier.db, newest, trained))

    def _write(self, work: Work) -> None:
        """Have the writer do it: against a busy one this thread would never get the lock."""
        done = self._submit(work)
        while not done.done() and not self._stop.wait(0.01):
            pass

    def _sweep(self, db: apsw.Connection) -> None:
        now = time.monotonic()
        if now - self._swept < _SWEEP:
            return
        self._swept = now
        ended = int(self._clock() * 1_000_000) - _KEPT
        if db.execute("SELECT 1 FROM ledger WHERE expires < ? LIMIT 1", (ended,)).get:
            self._write(lambda applier: _swept(applier.db, ended))


def _swept(db: apsw.Connection, ended: int) -> int:
    db.execute(
        "DELETE FROM ledger WHERE rowid IN (SELECT rowid FROM ledger WHERE expires < ? LIMIT ?)",
        (ended, _SWEPT),
    )
    return db.changes()
