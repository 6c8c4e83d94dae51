"""Turns: in one process, what would change the same things is planned one after the other.

A plan that another was faster than is made again, and with three dossiers of one person at once two
of five plans were. Between processes the commit's own conditions decide, as they do here too.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager


class Turns:
    """Locks by key; only those that somebody holds or waits for are kept."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def of(self, keys: Iterable[str]) -> AsyncIterator[None]:
        """Wait for all who hold one of these keys, and hold them."""
        # In one order for all: two who share two keys never wait for one another.
        asked = sorted(set(keys))
        locks = [self._take(key) for key in asked]
        held: list[asyncio.Lock] = []
        try:
            for lock in locks:
                await lock.acquire()
                held.append(lock)
            yield
        finally:
            for lock in held:
                lock.release()
            for key in asked:
                self._leave(key)

    def _take(self, key: str) -> asyncio.Lock:
        lock, users = self._locks.get(key) or (asyncio.Lock(), 0)
        self._locks[key] = lock, users + 1
        return lock

    def _leave(self, key: str) -> None:
        lock, users = self._locks[key]
        if users == 1:
            del self._locks[key]
        else:
            self._locks[key] = lock, users - 1

    def __len__(self) -> int:
        """How many keys are held or waited for."""
        return len(self._locks)
