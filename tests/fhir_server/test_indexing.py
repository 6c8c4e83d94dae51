"""What an operator sees and does of a store's own search parameters: doctor, reindex, servers."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server import chores, indexing
from fhir_server.app import Composition, now
from fhir_server.chores import at_chores
from fhir_server.doctor import examine
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.own_parameters import definitions_of
from fhir_server.interactions.perform import perform
from fhir_server.model.outcome import UnsupportedParameter
from fhir_server.reindex import reindex
from fhir_server.store.leases import Leases
from fhir_server.stores import Refused
from tests.contracts.test_own_parameters import definition, patient
from tests.fhir_server.test_together import Opens, process

__all__ = ["process"]


async def put(composition: Composition, resource: dict[str, object]) -> None:
    """Write a resource as the system."""
    kind, identity = str(resource["resourceType"]), str(resource["id"])
    await perform(
        composition.system(),
        FhirRequest(
            "update", resource_type=kind, resource_id=identity, resource=resource, method="PUT"
        ),
    )


async def found(composition: Composition, query: tuple[tuple[str, str], ...]) -> str:
    """Return the body of a search of Patients."""
    request = FhirRequest("search-type", resource_type="Patient", query=query)
    result = await perform(composition.system(), request)
    return (result.body or b"").decode()


async def told(composition: Composition) -> tuple[bool, str]:
    """Return what the doctor says of the search parameters."""
    findings = {one.what: one for one in await examine(composition.settings)}
    return findings["search parameters"].good, findings["search parameters"].text


async def test_the_doctor_tells_of_a_job_that_is_not_done(process: Opens) -> None:
    """Which parameters are not ready, how far they are, and whether indexing fails."""
    one = await process()
    assert await told(one) == (True, "none of the store's own")
    await put(one, patient("p"))
    await put(one, definition())

    assert await told(one) == (
        True, "eye not indexed yet (0 %); a server does it, or: fhir-server reindex",
    )  # fmt: skip
    lease = await Leases(one.store, now).take(indexing.LEASE)
    assert lease
    await lease.give_back(failed=True)
    assert await told(one) == (
        False, "eye not indexed yet (0 %); it has failed 1 times; see why in a server's log",
    )  # fmt: skip


async def test_reindexing_makes_them_ready(process: Opens) -> None:
    """The command does first what is to be done anyway, and knows the parameter by its name."""
    one, other = await process(), await process()
    for number in range(5):
        await put(one, patient(f"p{number}"))
    await put(one, definition())
    with pytest.raises(Refused, match="no such search parameter"):
        await reindex(other, None, "eyes", lambda _done, _of: None)

    done = await reindex(other, None, "eye", lambda _done, _of: None)

    assert done == 5
    assert '"total":5' in await found(other, (("eye", "brown"), ("_summary", "count")))
    assert await told(one) == (True, "1 of the store's own, all indexed")
    # Once more: what is indexed anew is so by the parameter.
    assert await reindex(one, "Patient", None, lambda _done, _of: None) == 5
    assert '"total":5' in await found(one, (("eye", "brown"), ("_summary", "count")))


async def test_a_server_indexes_by_itself(process: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever server took the parameter in, one that is at its chores makes it ready."""
    monkeypatch.setattr(chores, "SECONDS", 0.05)
    one, other = await process(), await process()
    await put(one, patient("p"))
    await put(one, definition())
    with pytest.raises(UnsupportedParameter):
        await found(one, (("eye", "brown"),))

    async with at_chores(other):
        async with asyncio.timeout(30):
            while not (await definitions_of(one.store))[0].is_settled:  # noqa: ASYNC110 - as seen
                await asyncio.sleep(0.05)

    await one.registry.look()
    assert '"total":1' in await found(one, (("eye", "brown"),))


async def test_work_that_fails_is_tried_again_later(
    process: Opens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault ends a turn, not the server; the lease says that it failed."""
    one = await process()
    await put(one, patient("p"))
    await put(one, definition())

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    with monkeypatch.context() as patched:
        patched.setattr(indexing, "index_values", broken)
        with pytest.raises(RuntimeError):
            await indexing.index_parameters(one)
    assert not await indexing.index_parameters(one)
    assert "it has failed 1 times" in (await told(one))[1]
    with pytest.raises(Refused, match="has failed"):
        await reindex(one, None, None, lambda _done, _of: None)
