"""What every Store tells of how a search was done: real figures, and the same page."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fhir_server.search.expression import Search
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from tests.contracts.making import asked, observation, patient, put, turned


async def _fill(store: Store) -> None:
    await put(store, *(patient(f"p{n}", gender="male", birthDate=f"19{n:02}") for n in range(30)))
    await put(store, *(observation(f"o{n}", f"p{n % 3}") for n in range(12)))


@pytest.mark.parametrize(
    ("kind", "query", "candidates"),
    [
        ("Patient", "", {}),
        ("Patient", "gender=male", {"gender": 30}),
        ("Patient", "gender=male&birthdate=1925", {"gender": 30, "birthdate eq": 1}),
        ("Observation", "code=8480-6&subject=Patient/p1", {"code": 12, "subject": 4}),
        ("Patient", "gender=female", {"gender": 0}),
        ("Patient", "gender=male&_sort=birthdate", {"gender": 30}),
        ("Patient", "gender:not=female", {}),
    ],
)
async def test_an_explanation_tells_the_planners_own_figures(
    store: Store, kind: str, query: str, candidates: dict[str, int]
) -> None:
    """The page is the same, and each index that could drive goes along with what it gives."""
    await _fill(store)
    plain = await store.search(asked(kind, query, count=3))

    page = await store.search(asked(kind, query, count=3, explain=True))

    assert page.versions == plain.versions
    assert not plain.explained
    (one,) = page.explained
    assert one.resource_type == kind
    assert one.milliseconds >= 0
    assert 0 <= one.work <= one.budget
    assert one.ways
    if isinstance(store, MemoryStore):
        assert (one.driver, one.candidates) == (None, ())  # it has no index
        return
    assert {c.asked: c.rows for c in one.candidates if not c.is_more} == candidates
    fewest = min(candidates.items(), key=lambda item: item[1], default=(None, None))
    assert (one.driver, one.rows) == fewest
    others = set(candidates) - {one.driver}
    assert others <= {name.partition(",")[0] for name in one.judged}


async def test_each_type_and_each_page_is_explained(store: Store) -> None:
    """Of several types each has its own plan, on a later page too, and where only a total is."""
    await _fill(store)
    by_type = (*asked("Patient").by_type, *asked("Observation", "code=8480-6").by_type)
    search = Search(by_type, count=2, explain=True)

    first = await store.search(search)
    second = await store.search(turned(search, first))
    back = await store.search(replace(search, cursor=second.previous))
    counted = await store.search(replace(search, count=0, total="accurate"))

    for page in (first, second, back, counted):
        assert [one.resource_type for one in page.explained] == ["Patient", "Observation"]
    assert back.versions == first.versions
    assert counted.total == 42


async def test_an_explanation_has_no_values(store: Store) -> None:
    """Names and numbers that were asked for are not in it."""
    await _fill(store)
    query = "name=Nguyen&identifier=001099000001&_id=p1&_has:Observation:subject:code=8480-6"

    page = await store.search(asked("Patient", query, explain=True))

    said = str(page.explained).lower()
    assert "identifier" in said
    for value in ("nguyen", "001099000001", "p1", "8480"):
        assert value not in said
