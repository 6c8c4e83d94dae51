"""A process that was started to work for another one ends when that one has, however it did."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import threading
from collections.abc import Callable


def when_parent_ends(end: Callable[[], object]) -> None:
    """Call `end`, in a thread, when the process has ended that started this one to work for it."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        end()

    threading.Thread(target=wait, name="parent", daemon=True).start()
