"""All resources indexed by a store's new search parameters: by one process at a time, resumable.

Whoever serves the store does it (`chores.py`), or `fhir-server reindex`. What is written meanwhile
is indexed by its write: the store takes no other (`store.port.INDEXED_BY`). So one walk over what
there is makes a parameter ready, wherever the walk was taken over from another process.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec
import structlog

from fhir_server.app import now
from fhir_server.interactions.own_parameters import (
    BUCKET,
    JOB,
    Definitions,
    Job,
    StoreRegistry,
    definitions_of,
    job_of,
)
from fhir_server.model import codec
from fhir_server.search.extract import index_values
from fhir_server.search.own import kinds_of
from fhir_server.search.values import IndexValues
from fhir_server.store.leases import BUCKET as LEASES
from fhir_server.store.leases import Lease, Leases
from fhir_server.store.port import (
    Batch,
    IndexedOtherwise,
    Name,
    Put,
    RecordChanged,
    Store,
    Version,
)
from fhir_server.stores import Walkable, walkable

log = structlog.stdlib.get_logger("indexing")

LEASE: Final = "search-parameters"
CHUNK: Final = 200
_BREATH: Final = 10
"""Resources after which other requests of this process have their turn."""
_LONGEST_PAUSE: Final = 1.0

Said = Callable[[int, int], None]


class Served(Protocol):
    """A store, and under which FHIR base it is served (`app.Composition`)."""

    store: Store
    registry: StoreRegistry
    fhir_base: str


class _Lost(Exception):
    """Another process has taken the work over."""


async def index_parameters(
    composition: Served, *, gently: bool = False, said: Said = lambda _done, _total: None
) -> bool:
    """Index resources by all parameters that are not ready; return False where another does.

    Args:
        composition: The store.
        gently: Leave a third of the time to requests.
        said: Is told after each chunk how many are done, and of how many.

    Raises:
        Unavailable: The store does not answer.
    """
    lease = await Leases(composition.store, now).take(LEASE)
    if lease is None:
        return False
    async with lease:
        try:
            work = _Work(composition, lease, said, gently=gently)
            while await work.do():
                pass
        except _Lost:
            return False
        except Exception:
            # What cannot be done is tried again, each time after longer.
            await lease.give_back(failed=True)
            raise
    await composition.registry.look()
    return True


class _Work:
    """One process at it."""

    def __init__(self, composition: Served, lease: Lease, said: Said, *, gently: bool) -> None:
        self._store: Walkable = walkable(composition.store)
        self._registry = composition.registry
        self._base = composition.fhir_base
        self._lease = lease
        self._said = said
        self._gently = gently

    async def do(self) -> bool:
        """Do all of a job, begun or left behind; return False where there is none."""
        there, _ = await definitions_of(self._store)
        job = await job_of(self._store)
        if job is None:
            if there.is_settled:
                return False
            job = await self._new(there)
            log.info("indexing.begun", parameters=len(job.codes), resources=job.total)
        await self._registry.look()
        kind = job.kinds[0] if len(job.kinds) == 1 else None
        while chunk := await self._store.walk(kind, after=job.after, limit=CHUNK):
            began = time.monotonic()
            wanted = [version for _, version in chunk if version.resource_type in job.kinds]
            done = await self._index(wanted)
            job = msgspec.structs.replace(job, after=chunk[-1][0], done=job.done + done)
            await self._commit(Put(*JOB, msgspec.json.encode(job)))
            self._said(job.done, max(job.total, job.done))
            if self._gently:
                await asyncio.sleep(min((time.monotonic() - began) / 2, _LONGEST_PAUSE))
        await self._end(job)
        log.info("indexing.ended", parameters=len(job.codes), resources=job.done)
        return True

    async def _new(self, there: Definitions) -> Job:
        fresh = [one for one in there.own if not one.ready]
        kinds = set(there.gone).union(*(kinds_of(one.base) for one in fresh))
        total = sum([await self._store.count(kind) for kind in sorted(kinds)])
        job = Job(
            codes=tuple(one.code for one in fresh),
            generation=there.generation,
            kinds=tuple(sorted(kinds)),
            total=total,
        )
        await self._commit(Put(*JOB, msgspec.json.encode(job)))
        return job

    async def _index(self, versions: Sequence[Version]) -> int:
        while True:
            known = self._registry.known
            items: list[tuple[Name, int, IndexValues]] = []
            for number, version in enumerate(versions):
                name = (version.resource_type, version.resource_id)
                resource = codec.loads_stored(version.body)
                made = index_values(resource, base_url=self._base, known=known)
                items.append((name, version.version_id, made))
                if number % _BREATH == _BREATH - 1:
                    await asyncio.sleep(0)
            try:
                await self._store.reindex(items, indexed=known.generation)
            except IndexedOtherwise:
                # Others came, or went, since: these are made anew by what there is now.
                await self._registry.look()
            else:
                return len(items)

    async def _end(self, job: Job) -> None:
        """Make ready what is left of what the job was begun for."""
        while True:
            there, raw = await definitions_of(self._store)
            own = tuple(
                msgspec.structs.replace(one, ready=True) if one.code in job.codes else one
                for one in there.own
            )
            # Values of what went while the job ran are gone only from what it came to after that.
            gone = () if there.generation == job.generation else there.gone
            after = msgspec.structs.replace(there, own=own, gone=gone)
            try:
                await self._commit(after.put(raw), Put(*JOB, None))
            except RecordChanged:
                continue
            return

    async def _commit(self, *puts: Put) -> None:
        """Commit what is of this job's, unless another process has it.

        Raises:
            RecordChanged: The parameters are others by now.
        """
        while True:
            if self._lease.is_lost:
                raise _Lost
            try:
                await self._store.commit(Batch(puts=(self._lease.fence(), *puts)))
            except RecordChanged as refusal:
                if refusal.bucket == BUCKET:
                    raise
                # It may have been renewed meanwhile.
                if refusal.bucket == LEASES and not await self._lease.is_ours():
                    raise _Lost from refusal
            else:
                return
