"""The checkpoint: the WAL is brought into the file from a connection of its own.

The writer never does it, so no commit waits for it. It runs when the WAL has grown, and when
the store has been quiet for a while.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

import apsw

from fhir_server.store.sqlite.connect import connect

GROWN: Final = 160_000_000
"""Bytes of WAL from which it is brought in; a smaller one only when nothing is written."""
TOO_LARGE: Final = 4 * GROWN
"""Bytes of WAL from which the checkpoint makes writers wait, so that it can start afresh."""
_LOOK: Final = 1.0
_QUIET: Final = 10.0


class Checkpointer:
    """Looks after the WAL of one file, from a thread of its own."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wal = path.with_name(path.name + "-wal")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sqlite-checkpoint", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread; the last connection to close brings the WAL in."""
        self._stop.set()
        self._thread.join()

    def size(self) -> int:
        """Return the bytes of the WAL."""
        try:
            return self._wal.stat().st_size
        except FileNotFoundError:
            return 0

    def _run(self) -> None:
        db = connect(self._path, writer=True)
        db.set_busy_timeout(2_000)
        seen: tuple[int, int] | None = None
        quiet = 0.0
        done: tuple[int, int] | None = None
        while not self._stop.wait(_LOOK):
            now = self._state()
            quiet = quiet + _LOOK if now == seen else 0.0
            seen = now
            if now is None or now == done:
                continue
            if now[0] >= GROWN or quiet >= _QUIET:
                with contextlib.suppress(apsw.Error):  # tried again at the next look
                    mode = (
                        apsw.SQLITE_CHECKPOINT_RESTART
                        if now[0] >= TOO_LARGE
                        else apsw.SQLITE_CHECKPOINT_PASSIVE
                    )
                    frames, moved = db.wal_checkpoint(mode=mode)
                    if frames == moved:
                        done = self._state()
        db.close()

    def _state(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._wal)
        except FileNotFoundError:
            return None
        return found.st_size, found.st_mtime_ns
