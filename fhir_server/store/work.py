"""What all searches of one request may do together, and whether anybody still waits for it.

Each search has a budget of its own (`WorkBudgetExceeded`). Beside it all that a request searches
for has one in common, `MOST` whole searches: the entries of a Bundle, what is included in however
many rounds, totals and conditions. Stores charge it at their port, and who asks them passes nothing
on: it stands in the context of the request's task. What has none is bound search by search.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from fhir_server.store.port import WorkBudgetExceeded

MOST: Final = 3.0
"""Whole searches that one request may do: 3 of 60 million steps of SQLite each, about 2.5 s of one
core with what Python does beside them; or 3 of 100,000 resources that are brought here from
MongoDB, or of 5 seconds of it."""

APART: Final = 40.0
"""Those of one step of an asynchronous request, for which no client waits."""

LONGEST: Final = 60.0
"""Seconds that the entries of a Bundle may read, however cheap each is: 50,000 fit into one."""

_WAITED: Final = 5
"""Times as long a request may wait for its searches, those of conditions too, of which each is free
of charge: thousands of them are an honest transaction, which is slow where the machine is busy."""

BREATH: Final = 0.01
"""Seconds after which a request that had no need to wait lets others have the event loop."""

_T = TypeVar("_T")


class GivenUp(BaseException):
    """Nobody waits for the answer any more: a request that only reads does nothing further.

    It is no refusal and no fault, and nothing that handles one of these may take it for one.
    """


class Work:
    """What one request may still search for.

    Attributes:
        left: Whole searches, and parts of them; what was begun may take it below 0.
        longest: Seconds of reading after which no more entries of a Bundle are read.
        waited: Seconds for which another process was asked.
        is_given_up: Whether nobody waits for the answer; only ever of a request that only reads.
        is_watched: Whether that could become so while a question is asked.
    """

    __slots__ = ("_breathed", "_tasks", "is_given_up", "is_watched", "left", "longest", "waited")

    def __init__(self, most: float | None = None, longest: float = LONGEST) -> None:
        self.left = MOST if most is None else most
        self.longest = longest
        self.waited = 0.0
        self.is_given_up = False
        self.is_watched = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._breathed = time.monotonic()

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.left <= 0 or self.waited >= self.longest * _WAITED

    def charge(self, searches: float, seconds: float = 0.0) -> None:
        """Take away what was done, in whole searches; it may have been waited for besides."""
        self.left -= searches
        self.waited += seconds

    def check(self) -> None:
        """Go on only if there is somebody to go on for, and something left to do it with.

        Raises:
            GivenUp: Nobody waits for it.
            WorkBudgetExceeded: Nothing is left.
        """
        if self.is_given_up:
            raise GivenUp
        if self.is_spent:
            raise WorkBudgetExceeded("the request went past its work budget")

    async def breathe(self) -> None:
        """Let others have the event loop, if it is time.

        Raises:
            GivenUp: Nobody waits for the answer.
        """
        if time.monotonic() - self._breathed >= BREATH:
            await asyncio.sleep(0)
            self._breathed = time.monotonic()
        if self.is_given_up:
            raise GivenUp

    def give_up(self) -> None:
        """Note that nobody waits for the answer; questions that are being asked end."""
        self.is_given_up = True
        for task in self._tasks:
            task.cancel()

    async def asked(self, question: Coroutine[Any, Any, _T]) -> _T:
        """Return what a question to another process gives, which ends when it is given up.

        Raises:
            GivenUp: Nobody waits for the answer.
        """
        if not self.is_watched:
            return await question
        task = asyncio.ensure_future(question)
        self._tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            mine = asyncio.current_task()
            if self.is_given_up and not (mine and mine.cancelling()):
                raise GivenUp from None
            raise
        finally:
            self._tasks.discard(task)


_WORK: Final[ContextVar[Work | None]] = ContextVar("work", default=None)


def current() -> Work | None:
    """Return the work of the request that asks, if it is one's."""
    return _WORK.get()


@contextmanager
def working(work: Work | None = None) -> Iterator[Work]:
    """Let all questions within be of one request: of this, or of that which is on its way."""
    kept = work or _WORK.get()
    if kept is None:
        kept = Work()
    token = _WORK.set(kept)
    try:
        yield kept
    finally:
        _WORK.reset(token)


async def breathe() -> None:
    """Let others have the event loop, if it is time; raises as `Work.breathe` does."""
    work = _WORK.get()
    if work is not None:
        await work.breathe()
