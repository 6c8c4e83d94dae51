"""The metrics of several worker processes of one port: whichever is asked tells those of all.

Each writes what it has counted to a file of its own in a folder that they share, when it has
changed; of one that has ended, what it wrote last goes on being counted.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from fhir_server.rest.metrics import Metrics

EVERY: Final = 1.0
"""Seconds after which what has changed is written."""


@asynccontextmanager
async def counted(own: Metrics, folder: str) -> AsyncIterator[Callable[[], bytes]]:
    """Give what tells the counts of this process, and of those that share a folder with it."""
    if not folder:
        yield own.exposition
        return
    together = Together(Path(folder), own)
    async with together.kept():
        yield together.exposition


class _Written(msgspec.Struct, frozen=True):
    pid: int
    requests: list[tuple[str, int, int]]
    buckets: list[int]
    seconds: float
    in_flight: int
    failures: int


class Together:
    """The counts of this process, and those of its neighbours."""

    def __init__(self, folder: Path, own: Metrics) -> None:
        self._folder = folder
        self._own = own
        self._file = folder / f"{secrets.token_hex(8)}.json"
        self._last = b""

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Give the time in which the others are told."""
        task = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait((task,))
            self.write()

    async def _keep(self) -> None:
        while True:
            self.write()
            await asyncio.sleep(EVERY)

    def write(self) -> None:
        """Tell the others, where there is news."""
        own = self._own
        written = msgspec.json.encode(
            _Written(
                os.getpid(),
                [(method, status, count) for (method, status), count in own.requests.items()],
                own.buckets,
                own.seconds,
                own.in_flight,
                own.failures,
            )
        )
        if written == self._last:
            return
        self._last = written
        draft = self._file.with_suffix(".part")
        with suppress(OSError):  # a full disk must not stop a server
            draft.write_bytes(written)
            draft.replace(self._file)

    def exposition(self) -> bytes:
        """Return the counts of all as text."""
        own = self._own
        total = Metrics(
            Counter(own.requests), list(own.buckets), own.seconds, own.in_flight, own.failures
        )
        for file in sorted(self._folder.glob("*.json")):
            if file != self._file:
                with suppress(OSError, msgspec.MsgspecError):
                    _add(total, msgspec.json.decode(file.read_bytes(), type=_Written))
        return total.exposition()


def _add(total: Metrics, one: _Written) -> None:
    for method, status, count in one.requests:
        total.requests[method, status] += count
    total.buckets = [a + b for a, b in zip(total.buckets, one.buckets, strict=True)]
    total.seconds += one.seconds
    total.failures += one.failures
    total.in_flight += one.in_flight if _is_alive(one.pid) else 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True
