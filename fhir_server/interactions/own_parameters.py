"""A store's own search parameters: what is known of them, and how SearchParameters change them.

What there is stands in one record, which is written in the same commit as the SearchParameter. The
store refuses whatever was indexed without it (`store.port.INDEXED_BY`), so no process need be
waited for: one that does not know yet is told so by its next write, and looks again.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.interactions.asked import at
from fhir_server.model import codec
from fhir_server.model.outcome import Unavailable
from fhir_server.search.own import is_same, kinds_of, own_of
from fhir_server.search.parameters import R4, Known, Own, known_of
from fhir_server.store.port import INDEXED_BY, Put

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from fhir_server.interactions.plan import Step
    from fhir_server.store.port import Name, Store

SEARCH_PARAMETER: Final = "SearchParameter"
BUCKET: Final = INDEXED_BY[0]
KNOWN: Final = (BUCKET, "known")
"""Bucket and key of the record that says which parameters there are."""

JOB: Final = ("reindex", "search-parameters")
"""Bucket and key of how far the indexing is: it is counted by the engine's own numbers, so that it
is not moved to another store (`store.bulk.LEFT_OUT`)."""

SECONDS: Final = 2.0
"""After which a process asks again which parameters there are. A search by one that was changed or
deleted elsewhere may be answered by the former definition for so long, a write never."""


class Definitions(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a store has of its own.

    Attributes:
        made: How many definitions it ever had.
        generation: Of `Known`.
        gone: Types in which values of former definitions may still be indexed.
    """

    own: tuple[Own, ...] = ()
    made: int = 0
    generation: int = 0
    gone: tuple[str, ...] = ()

    @property
    def known(self) -> Known:
        """The parameters that there are."""
        return known_of(self.own, self.generation)

    @property
    def is_settled(self) -> bool:
        """Whether everything is indexed by what there is, and by nothing else."""
        return not self.gone and all(one.ready for one in self.own)

    def without(self, codes: Collection[str]) -> Definitions:
        """Return the same where these are not ready: a job is at them."""
        own = tuple(
            msgspec.structs.replace(one, ready=False) if one.code in codes else one
            for one in self.own
        )
        return msgspec.structs.replace(self, own=own)

    def put(self, before: bytes | None) -> Put:
        """Return what makes this of what was there before."""
        return Put(*KNOWN, msgspec.json.encode(self), expected=before)

    def puts(self, before: bytes | None) -> tuple[Put, Put]:
        """Return the same where resources are to be indexed otherwise from then on."""
        return self.put(before), Put(*INDEXED_BY, str(self.generation).encode())


class Job(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far the indexing is.

    Attributes:
        codes: Codes of the parameters by which it indexes.
        generation: Of what there was when it began.
        kinds: Types that it goes through.
        after: The engine's number of the last resource that is done.
        done: Resources that are done, of about `total`.
    """

    codes: tuple[str, ...] = ()
    generation: int = 0
    kinds: tuple[str, ...] = ()
    after: int = 0
    done: int = 0
    total: int = 0

    @property
    def progress(self) -> str:
        """How much of it is done, to be shown."""
        # What was written since it began is gone through as well.
        share = 100 * self.done // max(self.total, self.done, 1)
        return f"{min(share, 99)} %"


def job_of_all(there: Definitions) -> Job:
    """Return the job of a store whose resources are not all indexed by what it has."""
    kinds = set(there.gone).union(*(kinds_of(one.base) for one in there.own))
    return Job(
        codes=tuple(one.code for one in there.own),
        generation=there.generation,
        kinds=tuple(sorted(kinds)),
    )


async def definitions_of(store: Store) -> tuple[Definitions, bytes | None]:
    """Return what a store has of its own, and the record that says so.

    Raises:
        Unavailable: The store does not answer.
    """
    raw = await store.get(*KNOWN)
    return read_definitions(raw), raw


def read_definitions(raw: bytes | None) -> Definitions:
    """Return what the record says."""
    return Definitions() if raw is None else msgspec.json.decode(raw, type=Definitions)


async def job_of(store: Store) -> Job | None:
    """Return how far the indexing is; None where it is not begun."""
    raw = await store.get(*JOB)
    return None if raw is None else msgspec.json.decode(raw, type=Job)


class StoreRegistry:
    """What a process knows of the search parameters of its store (interactions.context.Registry).

    Attributes:
        known: The parameters as they were when the store was last asked.
        is_settled: Whether there was nothing to be indexed then.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._asked = float("-inf")
        self.known: Known = R4
        self.is_settled = True

    async def look(self) -> Known:
        """Ask the store for them now.

        Raises:
            Unavailable: The store does not answer.
        """
        self._asked = self._clock()
        # Asked at once they are one question of a database. Where a job ends in between, its
        # parameters are told ready a moment later.
        job, (there, _) = await asyncio.gather(job_of(self._store), definitions_of(self._store))
        known = there.known if job is None else there.without(job.codes).known.at(job.progress)
        # Others may have looked meanwhile: what is known never goes back.
        if known.generation >= self.known.generation:
            self.known, self.is_settled = known, there.is_settled and job is None
        return self.known

    async def refreshed(self) -> Known:
        """Return them as they were at most a moment ago, where the store answers.

        It is asked once for all that comes within that time: the others go on with what is known.
        """
        if self._clock() - self._asked >= SECONDS:
            with suppress(Unavailable):  # whatever needs the store will say so
                await self.look()
        return self.known


async def redefined(
    store: Store, steps: Sequence[Step], deleted: Collection[Name]
) -> tuple[Put, ...]:
    """Return what is to be put with these writes, so that searches know the SearchParameters.

    Args:
        store: It says which there are.
        steps: What is written.
        deleted: What is deleted.

    Raises:
        BusinessRule: One of them is active and cannot be indexed.
        Duplicate: One has the code or URL of another.
    """
    # What others refer to comes first: a composite names its components.
    written = sorted(
        (
            (step, codec.loads_stored(step.write.body))
            for step in steps
            if step.write is not None and step.write.resource_type == SEARCH_PARAMETER
        ),
        key=lambda one: one[1].get("type") == "composite",
    )
    gone = {identity for kind, identity in deleted if kind == SEARCH_PARAMETER}
    if not written and not gone:
        return ()
    before, raw = await definitions_of(store)
    gone |= {resource["id"] for _, resource in written}
    left = [one for one in before.own if one.source not in gone]
    former = {one.source: one for one in before.own if one.source in gone}
    made = before.made
    stale: set[str] = set()
    for step, resource in written:
        with at(step.ask.place):
            own = own_of(resource, known_of(tuple(left), before.generation))
        if own is None:
            continue
        was = former.get(own.source)
        if was is not None and is_same(was, own):
            left.append(was)
            del former[own.source]
            continue
        made += 1
        left.append(msgspec.structs.replace(own, made=made))
    for one in former.values():
        stale |= kinds_of(one.base)
    if made == before.made and not former:
        return ()
    after = Definitions(
        own=tuple(left),
        made=made,
        generation=before.generation + 1,
        gone=tuple(sorted({*before.gone, *stale})),
    )
    return after.puts(raw)
