"""A brake on failures: who fails too often waits."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

LIMIT: Final = 600
"""Failures of one source in a window; secrets are 256 bits, so this saves work, not secrets."""

WINDOW: Final = 60
MAX_SOURCES: Final = 10_000


class Throttle:
    """Counts failures by source, in this process, for a bounded number of sources."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._failures: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def is_braked(self, source: str, now: int) -> bool:
        """Return whether this source has to wait."""
        window, count = self._failures.get(source, (0, 0))
        return window == now // WINDOW and count >= self._limit

    def failed(self, source: str, now: int) -> None:
        """Count a failure."""
        window, count = self._failures.pop(source, (0, 0))
        this = now // WINDOW
        self._failures[source] = (this, count + 1 if window == this else 1)
        if len(self._failures) > MAX_SOURCES:
            self._failures.popitem(last=False)
