"""The writer: one thread that gathers the commits that wait, and makes one fsync for all.

What was answered is on the disk: a caller hears of its commit only after COMMIT returned, and if
COMMIT fails, every caller of the group hears that, and nothing of the group is kept.
"""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import cast

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.store.port import Batch
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.connect import connect, failure
from fhir_server.store.sqlite.gather import Gatherer, Job, Work
from fhir_server.store.sqlite.turn import Turn


class Writer:
    """Commits batches, in the order in which they came, from one thread."""

    def __init__(self, path: Path, *, vfs: str | None = None) -> None:
        self._gatherer = Gatherer()
        self.db = connect(path, writer=True, vfs=vfs)
        self._applier = Applier(self.db)
        self._turn = Turn(path)
        self._damaged: str | None = None
        self.failed: str | None = None
        self.groups = 0
        self.batches = 0
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    async def commit(self, batch: Batch) -> None:
        """Make a batch durable.

        Raises:
            CommitRefused: A precondition does not hold; nothing of it was made.
            Unavailable: The disk or the file failed; nothing of it was made.
        """
        await self._gatherer.ask(batch, None)

    async def run(self, work: Work) -> int:
        """Run something else in a transaction of the writer's, and return what it returns."""
        return cast("int", await self._gatherer.ask(None, work))

    def submit(self, work: Work) -> Future[object]:
        """Have something done from another thread, in turn with the commits."""
        return self._gatherer.submit(work)

    def close(self) -> None:
        """Finish what was asked, and end the thread."""
        self._gatherer.close()
        self._thread.join()

    def _run(self) -> None:
        while group := self._gatherer.next():
            self._make(group)
            self._gatherer.answer(group)
        self.db.close()
        self._turn.close()

    def _make(self, group: list[Job]) -> None:
        self.groups += 1
        self.batches += len(group)
        try:
            self._commit(group)
        except BaseException as error:  # noqa: BLE001 - each caller is told
            self._roll_back(group, error)

    def _commit(self, group: list[Job]) -> None:
        if self._damaged:
            raise Unavailable(self._damaged)
        with self._turn:
            self.db.execute("BEGIN IMMEDIATE")
        self._applier.begin()
        for job in group:
            self._apply(job)
        self._applier.finish()
        self.db.execute("COMMIT")
        self.failed = None

    def _apply(self, job: Job) -> None:
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

    def _roll_back(self, group: list[Job], error: BaseException) -> None:
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
