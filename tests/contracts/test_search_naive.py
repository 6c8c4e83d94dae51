"""Searches as URLs, over every store, find what a naive reading of R4 finds, in its order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import Conflict
from tests.conftest import BASE, World
from tests.contracts.conftest import HERE
from tests.naive.drawing import Drawing
from tests.naive.evaluator import Naive
from tests.sizes import seeds

BUNDLES = 18
SEARCHES = 35


@asynccontextmanager
async def worlds(folder: Path) -> AsyncIterator[dict[str, World]]:
    """Give a world over each kind of store."""
    opened = {name: World(store=await opens(folder)) for name, opens in HERE.items()}
    try:
        yield opened
    finally:
        for world in opened.values():
            await world.store.close()


async def fill(drawing: Drawing, all_worlds: dict[str, World], naive: Naive) -> None:
    """Write drawn resources in Bundles, some of them again and again, and delete a few."""
    for turn in range(BUNDLES):
        drawn = [drawing.resource() for _ in range(drawing.random.randint(1, 9))]
        together = {(one["resourceType"], one["id"]): one for one in drawn}
        deleted = drawing.one(sorted(naive.resources)) if turn > BUNDLES // 2 else None
        stored, lost = set(), set()
        for world in all_worlds.values():
            world.clock.move(minutes=5)
            stored.add(await _written(world, together))
            lost.add(bool(deleted) and await _deleted(world, *deleted))
        (bodies,), (is_lost,) = stored, lost
        for body in bodies:
            naive.put(codec.loads(body))
        if deleted and is_lost:
            del naive.resources[deleted]


async def _written(world: World, together: dict[tuple[str, str], Any]) -> tuple[bytes, ...]:
    """Write these in one transaction; return how they are stored."""
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{kind}/{identity}"}}
        for (kind, identity), one in together.items()
    ]
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    await world.transaction(codec.loads(codec.dumps(sent)))
    stored = [await world.store.read(*name) for name in together]
    return tuple(one.body for one in stored if one is not None)


async def _deleted(world: World, kind: str, identity: str) -> bool:
    """Delete a resource; False where others refer to it."""
    try:
        await world.perform("delete", resource_type=kind, resource_id=identity, method="DELETE")
    except Conflict:
        return False
    return True


async def walked(world: World, kind: str, query: str) -> list[str]:
    """Return the ids that a search finds, on all its pages; they are the same on the way back."""
    answer = await _page(world, kind, query)
    pages = [_ids(answer)]
    while following := _link(answer, "next"):
        answer = await _page(world, kind, following)
        pages.append(_ids(answer))
    back = [_ids(answer)]
    while before := _link(answer, "previous"):
        answer = await _page(world, kind, before)
        back.insert(0, _ids(answer))
    assert back == pages
    found = [identity for page in pages for identity in page]
    assert answer["total"] == len(found)
    return found


async def _page(world: World, kind: str, query: str) -> dict[str, Any]:
    pairs = tuple(parse_qsl(query, keep_blank_values=True))
    result = await perform(world.context(), FhirRequest("search-type", kind, query=pairs))
    answer: dict[str, Any] = codec.loads(result.body or b"")
    return answer


def _ids(answer: dict[str, Any]) -> list[str]:
    return [entry["resource"]["id"] for entry in answer.get("entry", ())]


def _link(answer: dict[str, Any], relation: str) -> str:
    """Return the query of a link of a page, or ""."""
    urls = [one["url"] for one in answer["link"] if one["relation"] == relation]
    return urlsplit(urls[0]).query if urls else ""


def selected(drawing: Drawing, naive: Naive) -> tuple[str, str, list[str]]:
    """Draw a search with what it shall find: rather one that finds some and not all."""
    kind = drawing.kind()
    for _ in range(4):
        asked, tree = drawing.search(kind), None
        if drawing.chance(0.2):
            text, tree = drawing.filter(kind)
            asked = f"_filter={quote(text)}"
        wanted = naive.search(kind, asked, tree)
        if 0 < len(wanted) < len(naive.of(kind)):
            break
    return kind, asked, wanted


async def test_a_search_finds_what_r4_says(tmp_path: Path) -> None:
    """Over every store a search gives the resources that a naive reading gives, in its order."""
    selective = 0
    for seed in (drawn := seeds(2)):
        drawing = Drawing(seed)
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        async with worlds(folder) as all_worlds:
            naive = Naive(BASE, all_worlds["memory"].clock())
            await fill(drawing, all_worlds, naive)
            naive.now = all_worlds["memory"].clock()
            for _ in range(SEARCHES):
                kind, asked, wanted = selected(drawing, naive)
                selective += 0 < len(wanted) < len(naive.of(kind))
                paged = f"{asked}&_count={drawing.one((2, 5, 100))}&_total=accurate"
                for name, world in all_worlds.items():
                    got: Any = await walked(world, kind, paged)
                    assert got == wanted, (name, seed, f"{kind}?{paged}")

    # What finds nothing, or everything, proves little.
    assert selective > len(drawn) * SEARCHES / 2
