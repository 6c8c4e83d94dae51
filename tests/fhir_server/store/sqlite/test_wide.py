"""Thousands of criteria in one search: answered as the reference answers them."""

from __future__ import annotations

import pytest

from fhir_server.search.expression import And, Not, TokenIs
from fhir_server.store.memory import MemoryStore
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, ids, observation, patient, put, walk
from tests.fhir_server.store.sqlite.test_search import _many as many_observations

MANY = 1_500


def _each(form: str, joiner: str = "&") -> str:
    return joiner.join(form.format(f"{number:04}") for number in range(1, MANY + 1))


QUERIES = {
    "not tokens": ("Observation", _each("code:not=x{}") + "&status=final"),
    "tokens with a driver": ("Observation", "status=final&code=" + _each("x{}", ",") + ",8480-6"),
    "tokens": ("Observation", "code=" + _each("x{}", ",") + ",8480-6"),
    "tokens, all": ("Observation", "&".join(["code=8480-6"] * MANY)),
    "not ids": ("Patient", _each("_id:not=x{}") + "&_id:not=a"),
    "ids": ("Patient", "gender=male&_id=" + _each("x{}", ",") + ",a"),
    "texts": ("Patient", "gender=male&name=" + _each("x{}", ",") + ",Nguyen"),
    "dates": ("Patient", "birthdate=" + _each("{}", ",") + "&gender=male"),
    "updated": ("Patient", _each("_lastUpdated=gt{}")),
    "chains": ("Observation", _each("subject:Patient.gender:not=x{}")),
    "references": (
        "Observation",
        "status=final&subject=" + _each("Patient/x{}", ",") + ",Patient/a",
    ),
    "had": ("Patient", _each("_has:Observation:subject:code:not=x{}")),
}


@pytest.mark.parametrize("name", QUERIES)
async def test_many_criteria_find_what_the_reference_finds(store: SqliteStore, name: str) -> None:
    """Neither the depth of a statement nor what it binds bounds what a client may ask."""
    measure = MemoryStore()
    for each in (store, measure):
        await put(
            each,
            patient("a", gender="male", birthDate="0700-01-01", name=[{"family": "Nguyen"}]),
            patient("b", gender="male"),
            observation("o", "a"),
            observation("p", "b", code={"coding": [{"code": "x0007"}]}),
        )
    search = asked(*QUERIES[name], total="accurate")

    found, expected = await store.search(search), await measure.search(search)

    assert ids(found) == ids(expected)
    assert found.total == expected.total


@pytest.mark.parametrize("order", ["code", "-code"])
async def test_long_codes_stand_in_the_order_of_codes(store: SqliteStore, order: str) -> None:
    """A code that is indexed by its hash is sorted by itself, on every page."""
    measure = MemoryStore()
    codes = ["x" * 98, "a" * 97, "b", "x" * 97, "z", "y" * 300]
    for each in (store, measure):
        await put(
            each,
            *(
                observation(f"o{number}", "a", code={"coding": [{"code": code}]})
                for number, code in enumerate(codes)
            ),
        )
    search = asked("Observation", f"_sort={order}", count=2)

    pages, expected = await walk(store, search), await walk(measure, search)

    assert [ids(page) for page in pages] == [ids(page) for page in expected]


async def test_thousands_of_tokens_cost_one_lookup(store: SqliteStore) -> None:
    """What no resource has, denied two thousand times, is counted over thousands of them."""
    await many_observations(store, 6_000)
    denied = And(tuple(Not(TokenIs("code", None, f"x{number}")) for number in range(2_000)))

    assert await store.count("Observation", denied) == 6_000
