"""Questions that come at once, asked together: one round trip for all of them.

A round trip costs this process several times what one more key in it does. Whoever asks alone does
not wait; who comes while a question is out waits for its answer, or a little, and is asked with
all who came meanwhile. Each gets an answer that began after it asked: nobody is shown less than
what was there by then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Generic, TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")

MOST: Final = 100
"""Keys in one question, at most."""
PATIENCE: Final = 0.005
"""Seconds after which the next question no longer waits for the answer to the one before."""


class Together(Generic[_K, _V]):
    """What is asked by keys, of one kind, on one event loop."""

    def __init__(self, read: Callable[[list[_K]], Awaitable[Mapping[_K, _V]]]) -> None:
        """Ask by `read`, which gives a value for each of the keys."""
        self._read = read
        self._waiting: dict[_K, asyncio.Future[_V]] = {}
        self._is_out = False
        self._out: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, key: _K) -> _V:
        """Return what is there under a key now.

        Raises:
            Exception: What `read` raised.
        """
        found = self._waiting.get(key)
        if found is None:
            loop = asyncio.get_running_loop()
            found = self._waiting[key] = loop.create_future()
            if not self._is_out:
                self._is_out = True
                # Who is about to ask in this turn of the loop comes along.
                loop.call_soon(self._go)
        # Whoever is cancelled does not cancel it for the others.
        return await asyncio.shield(found)

    def _go(self) -> None:
        """Ask for what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        asked = dict(_first(self._waiting.items(), MOST))
        self._is_out = bool(asked)
        if not asked:
            return
        for key in asked:
            del self._waiting[key]
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._answer(asked))
        self._out.add(task)
        timer = self._timer = loop.call_later(PATIENCE, self._go)
        task.add_done_callback(lambda done: self._done(done, timer))

    def _done(self, task: asyncio.Task[None], timer: asyncio.TimerHandle) -> None:
        self._out.discard(task)
        if timer is self._timer:  # the next has not begun
            self._go()

    async def _answer(self, asked: dict[_K, asyncio.Future[_V]]) -> None:
        try:
            found = await self._read(list(asked))
        except BaseException as error:
            for future in asked.values():
                if isinstance(error, Exception):
                    future.set_exception(error)
                    future.exception()  # those who asked may all be gone
                else:
                    future.cancel()
            if not isinstance(error, Exception):
                raise
        else:
            for key, future in asked.items():
                future.set_result(found[key])


def _first(items: Iterable[tuple[_K, _V]], most: int) -> Iterable[tuple[_K, _V]]:
    return (item for item, _ in zip(items, range(most), strict=False))
