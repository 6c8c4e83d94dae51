"""Pages of versions made ready to be written, in processes of their own where they are many."""

from __future__ import annotations

import multiprocessing
import os
import signal
from asyncio import Future, get_running_loop
from collections import deque
from collections.abc import AsyncGenerator
from concurrent.futures import BrokenExecutor, Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Final

from fhir_server.model.outcome import Unavailable
from fhir_server.parent import when_parent_ends
from fhir_server.search.parameters import R4, Known
from fhir_server.store.bulk import Kept, MakeReady
from fhir_server.store.pages import Pages

MANY: Final = 20_000
"""Versions from which on processes are worth their start."""
_MOST: Final = 4

Ready = tuple[list[Kept], Any]
"""A page, and what the target's `make_ready` has made of it."""


class Ahead:
    """Makes pages ready while those before them are written.

    Args:
        make: Makes one ready.
        base_url: The FHIR base by which they are indexed.
        known: The search parameters by which they are.
        apart: Whether in processes of their own, rather than in a thread.
    """

    def __init__(self, make: MakeReady, base_url: str, known: Known = R4, *, apart: bool) -> None:
        self._make = make
        self._base_url = base_url
        self._known = known
        self._workers = 1
        self._executor: Executor
        if not apart:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="ready")
        else:
            self._workers = max(1, min(_MOST, (os.cpu_count() or 1) - 1))
            self._executor = ProcessPoolExecutor(
                self._workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_follow_the_parent,
            )

    def close(self) -> None:
        """End what makes them ready."""
        self._executor.shutdown(cancel_futures=True)

    async def of(self, pages: Pages[Kept]) -> AsyncGenerator[Ready, None]:
        """Give each page when it is ready, in order; a few are on their way.

        Raises:
            Unavailable: A process was killed.
        """
        coming: deque[tuple[list[Kept], Future[Any]]] = deque()
        loop = get_running_loop()
        while True:
            while len(coming) <= self._workers and (page := await pages.next()):
                made = loop.run_in_executor(
                    self._executor, self._make, page, self._base_url, self._known
                )
                coming.append((page, made))
            if not coming:
                return
            page, made = coming.popleft()
            try:
                ready = await made
            except BrokenExecutor as error:
                raise Unavailable("A process that worked for this one was killed.") from error
            yield page, ready


def _follow_the_parent() -> None:
    """End this process when that which it works for has ended, however it did, and only then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    when_parent_ends(lambda: os._exit(1))
