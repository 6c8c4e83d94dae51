"""Processes over one file write in turn.

SQLite's write lock goes to whoever asks at the right moment, which is nearly always the process
that just gave it back: another one waited 0.7 s for a commit where it now waits for one group.
Whoever wants the write lock first takes this turnstile and keeps it until it has the write lock.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

_PAUSE: Final = 0.0005
_PATIENCE: Final = 5.0
"""Seconds after which somebody who stands in the turnstile is passed: he may be stopped."""


class Turn:
    """The turnstile of one file; a context in which the write lock is asked for."""

    def __init__(self, path: Path) -> None:
        name = path.with_name(path.name + "-turn")
        self._file = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Let go of the turnstile's file."""
        os.close(self._file)

    def __enter__(self) -> None:
        until = None
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                now = time.monotonic()
                until = until or now + _PATIENCE
                if now > until:
                    return
                time.sleep(_PAUSE)
            else:
                return

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
