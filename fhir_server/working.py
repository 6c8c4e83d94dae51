"""Asynchronous requests are worked on: by whichever process has the lease of one, in turns.

What is open stands in `job-pending`, a list that is short however large the store is. Who takes one
works on it for a while (`TURN`) and gives it back, so that a large one keeps no small one waiting;
whose process died is taken over at the end of its lease, or at once on the same machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Final

import structlog

from fhir_server.interactions.context import Superseded
from fhir_server.interactions.jobs.kinds import take_turn
from fhir_server.interactions.jobs.record import JOB, PENDING, Jobs, decode_job
from fhir_server.interactions.jobs.work import Work
from fhir_server.model.outcome import Unavailable
from fhir_server.model.primitives import micros
from fhir_server.store.leases import Lease, Leases, hold_of
from fhir_server.store.port import Batch, Put, Store

log = structlog.stdlib.get_logger("jobs")

TURN: Final = 10.0
"""Seconds that a process works on one before it looks for the next."""
_PAGE: Final = 100
_TRIES: Final = 4
"""How often in a row one fails, by a fault of ours, before it is given up."""
_DEATHS: Final = 5
"""How many processes in a row may end over one before it is given up."""


class Worker:
    """Takes turns at what is open, one after the other."""

    def __init__(self, jobs: Jobs, store: Store, now: Callable[[], datetime]) -> None:
        self._jobs, self._store, self._now = jobs, store, now
        self._leases = Leases(store, now)
        self._last = ""

    async def turn(self, seconds: float = TURN) -> bool:
        """Have a turn at the next one that is free; return whether there was one.

        Raises:
            Unavailable: The store does not answer.
        """
        async for job_id, seen in self._open():
            if await self._had_turn(job_id, seen, seconds):
                self._last = job_id
                return True
        return False

    async def _open(self) -> AsyncIterator[tuple[str, bytes]]:
        """Give what is open, each with its lease: first what follows the last one."""
        after = self._last + "\0"
        for first, end in ((after, None), ("", after)):
            start = first
            while rows := await self._store.scan(PENDING, start=start, end=end, limit=_PAGE):
                for row in rows:
                    yield row
                start = rows[-1][0] + "\0"

    async def _had_turn(self, job_id: str, seen: bytes, seconds: float) -> bool:
        lease = await self._leases.take_over(job_id, seen, bucket=PENDING)
        if lease is None:
            return False
        async with lease:
            raw = await self._store.get(JOB, job_id, now=micros(self._now()))
            if raw is None or (job := decode_job(raw)).state != "open":
                # It was cancelled, or has ended, as the lease was taken.
                await self._store.commit(Batch(puts=(Put(PENDING, job_id, None),)))
                lease.done()
                return True
            loop = asyncio.get_running_loop()
            until = loop.time() + seconds
            work = Work(
                self._jobs, self._store, self._now, job_id, raw, job,
                lambda: lease.is_lost or loop.time() >= until,
            )  # fmt: skip
            await self._work(work, lease, seen)
        return True

    async def _work(self, work: Work, lease: Lease, seen: bytes) -> None:
        hold = hold_of(seen)
        try:
            if hold.died + (hold.by != "") >= _DEATHS:
                log.error("job.kills", job=work.job_id)
                await work.fail()
            else:
                await take_turn(work)
        except Superseded:
            pass  # another has gone on with it, or it was cancelled
        except Unavailable:
            await lease.give_back(failed=True)
            return
        except Exception as fault:
            log.exception("job.failed", job=work.job_id, fault=type(fault).__name__)
            if hold.failed + 1 < _TRIES:
                await lease.give_back(failed=True)
                return
            await self._give_up(work)
        if await self._store.get(PENDING, work.job_id) is None:
            lease.done()

    async def _give_up(self, work: Work) -> None:
        raw = await self._store.get(JOB, work.job_id)
        if raw is not None:
            work.raw, work.job = raw, decode_job(raw)
            await work.fail()
