"""Pages of `$everything`, of any size and any types; over every store: tests/contracts."""

from __future__ import annotations

import pytest

from fhir_server.model.outcome import InvalidValue
from tests.conftest import World
from tests.contracts.test_everything_pages import Query, filled, page, there_and_back, way


@pytest.fixture
async def people(world: World) -> World:
    """The mother with two visits, a stranger, and one with no record."""
    return await filled(world)


@pytest.mark.parametrize(
    "asked",
    [
        (),
        (("_type", "Observation,Practitioner"),),
        (("_type", "Organization"),),
        (("_type", "Patient,Organization,Practitioner"),),
    ],
    ids=["all", "without the Patient", "beside alone", "no record"],
)
@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 10, 11, 12, 13])
async def test_there_and_back(people: World, count: int, asked: Query) -> None:
    """`previous` leads through the pages that were visited, whatever their size and types."""
    await there_and_back(people, (*asked, ("_count", str(count))))


async def test_back_with_another_size_of_pages(people: World) -> None:
    """With `_count` changed on the way nothing is left out and nothing comes twice."""
    (whole,) = await way(people, await page(people, ()), "next")
    there = await way(people, await page(people, (("_count", "4"),)), "next")

    for size in "1235":
        for begin in there[1:3]:
            turned = tuple(
                (name, size if name == "_count" else value)
                for name, value in begin.links["previous"]
            )
            back = await way(people, await page(people, turned), "previous")
            before = there[: there.index(begin)]
            assert [name for one in reversed(back) for name in one.names] == [
                name for one in before for name in one.names
            ]
    assert {name for one in there for name in one.names} == set(whole.names)


async def test_a_cursor_is_of_its_request(people: World) -> None:
    """One that shows the Patient is none where the Patient is not asked for."""
    second = await page(people, (await page(people, (("_count", "2"),))).links["next"])
    cursor = dict(second.links["first"])["_cursor"]
    assert cursor.startswith("patient.")

    with pytest.raises(InvalidValue):
        await page(people, (("_type", "Observation"), ("_cursor", cursor)))
