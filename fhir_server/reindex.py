"""`fhir-server reindex`: the index values of stored resources made anew, in chunks, resumable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final

from fhir_server.app import Composition, now
from fhir_server.indexing import LEASE, index_parameters
from fhir_server.model import codec
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import Known
from fhir_server.store.leases import BUCKET as LEASES
from fhir_server.store.leases import Lease, Leases, hold_of
from fhir_server.store.port import Batch, IndexedOtherwise, Put
from fhir_server.stores import Refused, walkable

BUCKET: Final = "reindex"
CHUNK: Final = 200
_LOOK: Final = 1.0


async def reindex(
    composition: Composition,
    resource_type: str | None,
    param: str | None,
    said: Callable[[int, int], None],
) -> int:
    """Index all current resources (of a type, that have a parameter) anew; return how many.

    Args:
        composition: The store.
        resource_type: A type; None is every type.
        param: A search parameter's code: only types that have it are gone through.
        said: Is told after each chunk how many are done, and of how many.

    Raises:
        Refused: There is no such type or parameter, another process reindexes this store, or the
            indexing by new parameters, which comes first, has failed.
    """
    known = await composition.registry.look()
    types = sorted(_types(resource_type, param, known))
    while not composition.registry.is_settled:
        # What is to be indexed anyway comes first: whoever asks waits for its end.
        if not await index_parameters(composition, said=said):
            if hold_of(await composition.store.get(LEASES, LEASE)).failed:
                raise Refused(
                    "The indexing by new search parameters has failed: see a server's log, and try "
                    "again in some minutes."
                )
            await asyncio.sleep(_LOOK)
            await composition.registry.look()
    lease = await Leases(composition.store, now).take("reindex")
    if lease is None:
        raise Refused(
            "Another reindex of this store is running. After one that died on another machine, "
            "begin in half a minute."
        )
    async with lease:
        form = await walkable(composition.store).begin_reindex()
        total = sum([await composition.store.count(one) for one in types])
        done = 0
        for one in types:
            done += await _one(composition, one, form, lease, partial(_said, said, done, total))
    return done


def _said(said: Callable[[int, int], None], before: int, total: int, more: int) -> None:
    said(before + more, total)


def _types(resource_type: str | None, param: str | None, known: Known) -> set[str]:
    if resource_type is not None and resource_type not in RESOURCE_TYPES:
        raise Refused(f"--type {resource_type}: R4 has no such resource type.")
    types = {resource_type} if resource_type else set(RESOURCE_TYPES)
    if param is not None:
        types = {one for one in types if param in known.of(one)}
        if not types:
            raise Refused(f"--param {param}: no such search parameter.")
    return types


async def _one(
    composition: Composition,
    resource_type: str,
    form: str,
    lease: Lease,
    said: Callable[[int], None],
) -> int:
    store = walkable(composition.store)
    place = f"{resource_type}:{form}" if form else resource_type
    begun = await store.get(BUCKET, place)
    after, done = int(begun or 0), 0
    while chunk := await store.walk(resource_type, after=after, limit=CHUNK):
        known = composition.registry.known
        base = composition.fhir_base
        items = [
            (
                (version.resource_type, version.resource_id),
                version.version_id,
                index_values(codec.loads_stored(version.body), base_url=base, known=known),
            )
            for _, version in chunk
            if not version.deleted
        ]
        if lease.is_lost:
            raise Refused("Another process has taken the reindex over.")
        try:
            await store.reindex(items, indexed=known.generation)
        except IndexedOtherwise:
            await composition.registry.look()
            continue
        after, done = chunk[-1][0], done + len(items)
        await store.commit(Batch(puts=(Put(BUCKET, place, str(after).encode()),)))
        said(done)
        await asyncio.sleep(0)
    await store.end_reindex(resource_type)
    await store.commit(Batch(puts=(Put(BUCKET, place, None),)))
    return done
