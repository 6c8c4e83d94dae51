"""Pages of AuditEvents, over every store: there and back, whatever is written meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.store.port import AuditRecord, Batch, Store
from tests.conftest import AUDITOR, World, citizen
from tests.fhir_server.interactions.test_writes import observation, patient

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """Ids on a page and where it leads."""

    ids: list[str]
    links: dict[str, Query] = field(hash=False)


async def page(world: World, query: Query) -> Page:
    """Return one page of the AuditEvents."""
    result = await world.perform("search-type", AUDITOR, resource_type="AuditEvent", query=query)
    return page_of(codec.loads(result.body or b""))


def page_of(answer: dict[str, Any]) -> Page:
    """Return what a searchset says."""
    links = {
        one["relation"]: tuple(parse_qsl(urlsplit(one["url"]).query, keep_blank_values=True))
        for one in answer["link"]
    }
    return Page([entry["resource"]["id"] for entry in answer.get("entry", [])], links)


async def report(world: World, *ids: str) -> None:
    """Let system report events, of one time, in one transaction."""
    event = {
        "resourceType": "AuditEvent",
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "code": "rest",
        },
        "recorded": "2024-01-01T08:00:00+07:00",
        "agent": [{"requestor": True, "who": {"display": "a partner"}}],
        "source": {"observer": {"display": "a partner"}},
    }
    entries = [
        {"resource": event | {"id": one}, "request": {"method": "PUT", "url": f"AuditEvent/{one}"}}
        for one in ids
    ]
    await world.transaction({"resourceType": "Bundle", "type": "transaction", "entry": entries})


@pytest.fixture
async def world(store: Store) -> World:
    """Thirteen entries of the chain, and seven reported among them."""
    found = World(store=store)
    await found.put(patient("1") | {"id": "ana"})
    await found.put(observation("Patient/ana") | {"id": "of-ana"})
    for turn in range(4):
        found.clock.move(minutes=1)
        await found.perform("read", resource_type="Observation", resource_id="of-ana")
        if turn % 2:
            await report(found, *(f"told-{turn}-{n}" for n in range(3)))
    found.clock.move(minutes=1)
    await report(found, "told-alone")
    await found.perform("read", resource_type="Patient", resource_id="ana")
    found.clock.move(minutes=1)
    return found


async def more(world: World, number: int) -> None:
    """Let something happen: each page is an event of the chain by itself."""
    world.clock.move(seconds=1)
    await report(world, f"later-{number}")
    await world.perform("read", resource_type="Patient", resource_id="ana")


@pytest.mark.parametrize("asked", [(), (("patient", "ana"),), (("action", "R"),)])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 100])
async def test_there_and_back(world: World, count: int, asked: Query) -> None:
    """`previous` leads through the pages visited, to the first as it was, whatever is written."""
    query = (*asked, ("_count", str(count)))
    there = [await page(world, query)]
    while "next" in there[-1].links:
        await more(world, len(there))
        there.append(await page(world, there[-1].links["next"]))
    back = [there[-1]]
    while "previous" in back[-1].links:
        await more(world, 100 + len(back))
        back.append(await page(world, back[-1].links["previous"]))

    assert [one.ids for one in reversed(back)] == [one.ids for one in there]
    every = [identity for one in there for identity in one.ids]
    assert len(set(every)) == len(every)
    assert not [one for one in every if one.startswith("later")]
    assert {"told-1-0", "told-1-1", "told-1-2", "told-alone"} <= set(every) or asked
    again = [back[-1]]
    while "next" in again[-1].links:
        again.append(await page(world, again[-1].links["next"]))
    assert [one.ids for one in again] == [one.ids for one in there]


async def test_the_first_page_is_as_it_was(world: World) -> None:
    """`first` of a later page shows the first page again; nothing stands before it."""
    first = await page(world, (("_count", "4"),))
    await more(world, 0)
    second = await page(world, first.links["next"])

    shown = await page(world, second.links["first"])

    assert shown.ids == first.ids
    assert set(first.links) == set(shown.links) == {"self", "first", "next"}
    assert set(second.links) == {"self", "first", "previous", "next"}


async def test_no_event_reported_is_shown_where_none_was(store: Store) -> None:
    """The first page had none of them: none comes on another, there or back."""
    world = World(store=store)
    await world.put(patient("1") | {"id": "ana"})
    for _ in range(3):
        await world.perform("read", resource_type="Patient", resource_id="ana")
    first = await page(world, (("_count", "2"),))
    await more(world, 0)

    second = await page(world, first.links["next"])
    back = await page(world, second.links["previous"])

    assert len(second.ids) == 2
    assert back.ids == first.ids


async def test_an_entry_of_a_later_time_committed_before_is_not_lost(store: Store) -> None:
    """Entries come in the order of their commits: each is on one page."""
    world = World(store=store)
    await world.put(patient("1") | {"id": "ana"})
    (known,) = await store.audit()
    now = known.recorded
    late = [5, 9, 3, 8, 1, 7]
    await store.commit(
        Batch(audit=[AuditRecord(now + at * 1000, known.body, ("ana",)) for at in late])
    )
    found = [await page(world, (("_count", "2"), ("patient", "ana")))]
    while "next" in found[-1].links:
        found.append(await page(world, found[-1].links["next"]))
    back = [found[-1]]
    while "previous" in back[-1].links:
        back.append(await page(world, back[-1].links["previous"]))

    every = [identity for one in found for identity in one.ids]
    assert len(every) == len(set(every)) == 7
    assert [one.ids for one in reversed(back)] == [one.ids for one in found]


async def test_who_saw_my_book_is_paged_back(world: World) -> None:
    """`$access-history` leads back too, for the citizen."""

    async def asked(query: Query) -> Page:
        ctx = world.context(citizen("ana"), operations=OPERATIONS)
        request = FhirRequest(
            "operation", operation="$access-history", resource_type="Patient",
            resource_id="ana", query=query,
        )  # fmt: skip
        return page_of(codec.loads((await perform(ctx, request)).body or b""))

    first = await asked((("_count", "3"),))
    second = await asked(first.links["next"])
    back = await asked(second.links["previous"])

    assert back.ids == first.ids
    assert not set(first.ids) & set(second.ids)
