"""Commits that wait, gathered, and handed over a group at a time: one transaction for all.

One caller alone is not delayed; many ask again as soon as they are answered, and a group waits
for them where that pays (`pace.py`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.pace import Pace
from fhir_server.store.mongo.prepared import Prepared, Work

GROUP: Final = 64
"""Batches in one transaction, at most."""
GROUP_WRITES: Final = 4_000
"""Resources in one transaction, at most, so that nobody waits long for the others."""
GROUP_BYTES: Final = 16 * 1024 * 1024
"""Bytes in one transaction, at most, but that one batch alone may have more."""


@dataclass(slots=True)
class Job:
    """A batch or other work, and who waits for it."""

    asked: Prepared | Work
    future: asyncio.Future[int]
    result: int = 0
    error: Exception | None = None

    @property
    def size(self) -> tuple[int, int]:
        """How many resources and bytes it writes; work is as large as a group may be."""
        if isinstance(self.asked, Prepared):
            return len(self.asked.batch.writes), self.asked.size
        return GROUP_WRITES, 0


class Gatherer:
    """What waits, on one event loop."""

    def __init__(self, make: Callable[[list[Job]], Awaitable[None]]) -> None:
        """Gather for `make`, which leaves in each job what came of it, and raises nothing."""
        self._make = make
        self._waiting: deque[Job] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._running: asyncio.Task[None] | None = None
        self._pace = Pace(GROUP)
        self.closed = False

    async def ask(self, asked: Prepared | Work) -> int:
        """Wait until it is made, and return what came of it."""
        if self.closed:
            raise Unavailable("The store is closed.")
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(Job(asked, future))
        self._pace.came(_now())
        self._look()
        # Once it waits here, a cancelled caller changes nothing: the commit is made.
        return await future

    async def close(self) -> None:
        """Take no more, and return when what waits is made."""
        self.closed = True
        while self._waiting or self._running is not None:
            if self._running is None:
                self._begin()
            elif not self._running.done():
                await asyncio.wait((self._running,))
            else:
                await asyncio.sleep(0)

    def _look(self) -> None:
        """Hand over what waits, or see to it that it will be."""
        if self._running is not None or not self._waiting:
            return
        wait = 0.0 if self.closed else self._pace.wait(_now(), len(self._waiting))
        if wait <= 0:
            self._begin()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        if self._waiting and self._running is None:
            self._begin()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._running = asyncio.get_running_loop().create_task(self._run(self._group()))

    def _group(self) -> list[Job]:
        group = [self._waiting.popleft()]
        writes, size = group[0].size
        while self._waiting and len(group) < GROUP:
            more, larger = self._waiting[0].size
            writes, size = writes + more, size + larger
            if writes > GROUP_WRITES or size > GROUP_BYTES:
                break
            group.append(self._waiting.popleft())
        return group

    async def _run(self, group: list[Job]) -> None:
        began = _now()
        try:
            await self._make(group)
        except BaseException:
            for job in group:
                job.error = job.error or Unavailable("The store was stopped: look and try again.")
            raise
        finally:
            now = _now()
            self._pace.told(now, now - began, len(group), len(self._waiting))
            self._running = None
            for job in group:
                _tell(job)
            self._look()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _tell(job: Job) -> None:
    if job.future.done():  # whoever asked was cancelled
        return
    if job.error is not None:
        job.future.set_exception(job.error)
    else:
        job.future.set_result(job.result)
