"""The writer: one thread that gathers the commits that wait, and makes one fsync for all.

What was answered is on the disk: a caller hears of its commit only after COMMIT returned, and if
COMMIT fails, every caller of the group hears that, and nothing of the group is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.store.port import Batch
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.connect import connect, failure
from fhir_server.store.sqlite.turn import Turn

GROUP: Final = 64
"""Batches in one transaction, at most."""
GROUP_WRITES: Final = 4_000
"""Resources in one transaction, at most, so that nobody waits long for the others."""
WAIT: Final = 0.002
"""How long a group waits for as many as came last time."""

Work = Callable[[Applier], int]
"""Something else that needs the write lock, such as a step of a reindex."""


@dataclass(slots=True)
class _Job:
    batch: Batch | None
    work: Work | None
    loop: asyncio.AbstractEventLoop | None
    future: asyncio.Future[object] | Future[object]
    result: object = None
    error: BaseException | None = None


class Writer:
    """Commits batches, in the order in which they came, from one thread."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self.db = connect(path, writer=True, vfs=vfs)
        self._applier = Applier(self.db)
        self._turn = Turn(path)
        self._closed = False
        self._damaged: str | None = None
        self.failed: str | None = None
        self.groups = 0
        self.batches = 0
        self._last = 1
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def commit(self, batch: Batch) -> None:
        """Make a batch durable.

        Raises:
            CommitRefused: A precondition does not hold; nothing of it was made.
            Unavailable: The disk or the file failed; nothing of it was made.
        """
        await self._ask(batch, None)

    async def run(self, work: Work) -> int:
        """Run something else in a transaction of the writer's, and return what it returns."""
        return cast("int", await self._ask(None, work))

    def submit(self, work: Work) -> Future[object]:
        """Have something done from another thread, in turn with the commits."""
        future: Future[object] = Future()
        if self._closed:
            future.set_exception(Unavailable("The store is closed."))
        else:
            self._queue.put(_Job(None, work, None, future))
        return future

    async def _ask(self, batch: Batch | None, work: Work | None) -> object:
        if self._closed:
            raise Unavailable("The store is closed.")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()
        self._queue.put(_Job(batch, work, loop, future))
        # Once it waits here, a cancelled caller changes nothing: the commit is made.
        return await future

    def close(self) -> None:
        """Finish what was asked, and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            job = self._queue.get()
            if job is None:
                break
            group, going = self._gather(job)
            self._make(group)
            _answer(group)
        self.db.close()
        self._turn.close()

    def _gather(self, first: _Job) -> tuple[list[_Job], bool]:
        group = [first]
        writes = _size(first)
        # One caller alone is not delayed; many callers ask again as soon as they are answered.
        until = time.monotonic() + WAIT if self._last > 1 else 0.0
        while len(group) < GROUP and writes < GROUP_WRITES:
            try:
                job = self._queue.get_nowait()
            except queue.Empty:
                left = until - time.monotonic()
                if len(group) >= self._last or left <= 0:
                    break
                try:
                    job = self._queue.get(timeout=left)
                except queue.Empty:
                    break
            if job is None:
                return group, False
            group.append(job)
            writes += _size(job)
        self._last = len(group)
        return group, True

    def _make(self, group: list[_Job]) -> None:
        self.groups += 1
        self.batches += len(group)
        try:
            self._commit(group)
        except BaseException as error:  # noqa: BLE001 - each caller is told
            self._roll_back(group, error)

    def _commit(self, group: list[_Job]) -> None:
        if self._damaged:
            raise Unavailable(self._damaged)
        with self._turn:
            self.db.execute("BEGIN IMMEDIATE")
        self._applier.begin()
        for job in group:
            self._apply(job)
        self._applier.flush()
        self.db.execute("COMMIT")
        self.failed = None

    def _apply(self, job: _Job) -> None:
        try:
            if job.batch is not None:
                self._applier.apply(job.batch)
            elif job.work is not None:
                work = job.work
                self._applier.flush()
                job.result = self._applier.whole(lambda: work(self._applier))
        except BaseException as error:
            # A full disk or a damaged page may have ended the whole transaction.
            if not self.db.in_transaction or failure(error) is not None:
                raise
            job.error = error

    def _roll_back(self, group: list[_Job], error: BaseException) -> None:
        with contextlib.suppress(apsw.Error):
            if self.db.in_transaction:
                self.db.execute("ROLLBACK")
        self._applier.forget()
        text = failure(error)
        if text is not None:
            self.failed = text
            if isinstance(error, apsw.CorruptError | apsw.NotADBError):
                self._damaged = text
        for job in group:
            if text is None:
                job.error = job.error or error
            else:
                job.error = Unavailable(text)
                job.error.__cause__ = error


def _size(job: _Job) -> int:
    return len(job.batch.writes) if job.batch is not None else GROUP_WRITES


def _answer(group: list[_Job]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop | None, list[_Job]] = {}
    for job in group:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        if loop is None:
            _settle(jobs)
            continue
        with contextlib.suppress(RuntimeError):  # its loop has ended: nobody waits
            loop.call_soon_threadsafe(_settle, jobs)


def _settle(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue
        if job.error is not None:
            job.future.set_exception(job.error)
        else:
            job.future.set_result(job.result)
