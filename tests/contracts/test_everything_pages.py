"""Pages of `$everything`, over every store: there and back, whatever is written meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.operations.table import OPERATIONS
from fhir_server.store.port import Store
from tests.conftest import World
from tests.fhir_server.operations import record

Query = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Page:
    """What is on a page, in order, and where it leads."""

    names: list[str]
    links: dict[str, Query] = field(hash=False)
    total: int | None = None


async def page(world: World, query: Query, patient: str = "mother") -> Page:
    """Return one page of a Patient's record."""
    ctx = replace(world.context(), operations=OPERATIONS)
    request = FhirRequest(
        "operation", operation="$everything", resource_type="Patient", resource_id=patient,
        query=query,
    )  # fmt: skip
    answer: dict[str, Any] = codec.loads((await perform(ctx, request)).body or b"")
    found = [entry["resource"] for entry in answer.get("entry", [])]
    links = {
        one["relation"]: tuple(parse_qsl(urlsplit(one["url"]).query)) for one in answer["link"]
    }
    names = [f"{one['resourceType']}/{one['id']}" for one in found]
    return Page(names, links, answer.get("total"))


async def way(world: World, begin: Page, relation: str, *, writes: bool = False) -> list[Page]:
    """Return the pages from one on, by their links; with writes in between."""
    found = [begin]
    while relation in found[-1].links:
        if writes:
            of = f"{relation}-{len(found)}"
            await world.put(record.encounter(of, "2023-03-01T08:00:00+07:00", None, of="mother"))
        found.append(await page(world, found[-1].links[relation]))
        assert len(found) < 40
    return found


@pytest.fixture
async def world(store: Store) -> World:
    """A store of each kind, filled."""
    return await filled(World(store=store))


async def filled(found: World) -> World:
    """Write the mother with two visits, a stranger, and one with no record."""
    old = record.visit("old", "2022-05-01T08:00:00+07:00", "2022-05-01T09:00:00+07:00")
    stranger = record.patient("stranger", identifier=[{"system": "urn:x", "value": "3"}])
    alone = record.patient("alone", identifier=[{"system": "urn:x", "value": "4"}])
    for one in (*record.people(), stranger, alone, *record.visit("new"), *old):
        await found.put(one)
    return found


@pytest.mark.parametrize("count", [1, 4, 10])
async def test_there_and_back(world: World, count: int) -> None:
    """`previous` leads through the pages that were visited, back to the first as it was."""
    await there_and_back(world, (("_count", str(count)),))


async def there_and_back(world: World, query: Query) -> None:
    """Go there, back and there again, with writes in between; all pages are as they were."""
    there = await way(world, await page(world, query), "next", writes=True)
    back = await way(world, there[-1], "previous", writes=True)
    again = await way(world, back[-1], "next")

    names = [one.names for one in there]
    assert [one.names for one in reversed(back)] == names
    assert [one.names for one in again] == names
    every = [name for one in names for name in one]
    assert len(every) == len(set(every))
    assert not [name for name in every if "next-" in name or "previous-" in name]
    assert [one.total for one in (*there[1:], *back[1:])] == [None] * (2 * len(there) - 2)
    for one in (*there[1:], *back):
        if one.links["first"] != query:
            assert (await page(world, one.links["first"])).names == names[0]
    assert all(one.links["first"] != query for one in there[1:])


async def test_a_page_that_holds_all_leads_nowhere(world: World) -> None:
    """One page: itself and the first."""
    for patient in ("mother", "alone"):
        assert set((await page(world, (), patient)).links) == {"self", "first"}
