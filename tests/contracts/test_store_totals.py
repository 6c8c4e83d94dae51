"""Totals that go along unasked: the same from every store, on every page, whatever the load."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from typing import Any

import pytest
import pytest_asyncio

from fhir_server.search.expression import MOST_COUNTED, Search
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.search import Searcher as MongoSearcher
from fhir_server.store.port import Batch, Store
from fhir_server.store.sqlite.search import Searcher as SqliteSearcher
from tests.contracts.conftest import STORES
from tests.contracts.making import START, asked, made, observation, patient, turned

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATIENTS = 100
OBSERVATIONS = 3_000
CODES = 20
_FIRST = date(2015, 1, 1)


def _coded(code: int) -> dict[str, Any]:
    return {"coding": [{"system": "http://loinc.org", "code": f"{code}-8"}]}


def _observed(number: int) -> dict[str, Any]:
    """Return one of the observations: of each code one in twenty, a day after the one before."""
    return observation(
        f"o{number}",
        f"p{number % 97}",
        status="final" if number % 7 else "amended",
        code=_coded(number % CODES),
        effectiveDateTime=(_FIRST + timedelta(days=number)).isoformat(),
        valueQuantity={"value": number % 3, "unit": "g"},
    )


@pytest_asyncio.fixture(params=STORES, scope="module", loop_scope="module")
async def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Store]:
    """A store of each kind with 3,000 observations; read only."""
    opened = await STORES[request.param](tmp_path_factory.mktemp("totals"))
    resources = [patient(f"p{n}", name=[{"family": f"Nguyen{n}"}]) for n in range(PATIENTS)]
    resources += [_observed(n) for n in range(OBSERVATIONS)]
    for at in range(0, len(resources), 200):
        part = resources[at : at + 200]
        writes = [made(one, at=START + (at + n) * 1_000) for n, one in enumerate(part)]
        await opened.commit(Batch(writes=writes))
    yield opened
    await opened.close()


FINAL = sum(1 for n in range(OBSERVATIONS) if n % 7 and n % CODES == 3)

TOTALS: list[tuple[str, str, int | None]] = [
    ("Observation", "", OBSERVATIONS),
    ("Observation", "date=ge2015&date=lt2017-01", 731),
    ("Observation", "date=ge2015&date=lt2018-01", None),
    ("Observation", "date=ge2016&status=amended&code=3-8", 18),
    ("Observation", "code=3-8", 150),
    ("Observation", "code=3-8&_sort=date", 150),
    ("Observation", "code=3-8&_sort=-date,_id", 150),
    ("Observation", "code=3-8&status=final&_sort=status", FINAL),
    ("Observation", "status=final", None),
    ("Observation", "status:not=final", 429),
    ("Observation", "value-quantity=1", MOST_COUNTED),
    ("Observation", "value-quantity=gt0", None),
    ("Observation", "combo-code-value-quantity=3-8$1", 50),
    ("Observation", "subject:Patient.name=nguyen1", 341),
    ("Observation", "subject:Patient.name=nguyen", None),
    ("Patient", "_has:Observation:patient:code=3-8", 97),
    ("Patient", "_has:Observation:patient:status=amended", 97),
    ("Patient", "name=nguyen", 100),
]


async def _totals(store: Store, kind: str, query: str) -> list[int | None]:
    """Return the totals of the first pages (two at least), of seven each."""
    search = asked(kind, query, count=7, total="estimate")
    found = []
    for _ in range(4):
        page = await store.search(search)
        found.append(page.total)
        if page.next is None:
            break
        search = turned(search, page)
    assert len(found) > 1
    return found


@pytest.mark.parametrize(("kind", "query", "total"), TOTALS)
async def test_every_page_of_every_store_has_the_same_total(
    filled: Store, kind: str, query: str, total: int | None
) -> None:
    """Up to 1,000 matches are counted wherever they lie, on every page; more are on none."""
    assert set(await _totals(filled, kind, query)) == {total}


@pytest.mark.parametrize(("kind", "query", "total"), TOTALS)
async def test_a_total_depends_on_no_clock_and_on_no_page(
    filled: Store, monkeypatch: pytest.MonkeyPatch, kind: str, query: str, total: int | None
) -> None:
    """Where a page has taken all its time and all its work, the total goes along all the same."""
    total_of, estimate = MongoSearcher._total, SqliteSearcher.estimate

    async def late(searcher: MongoSearcher, reads: Reads, *rest: Any) -> int | None:
        until, left = reads._until, reads._left
        reads._until, reads._left = 0.0, 0
        try:
            return await total_of(searcher, reads, *rest)
        finally:
            reads._until, reads._left = until, left

    def spent(searcher: SqliteSearcher, search: Search) -> int | None:
        budget = searcher.budget
        before, budget.spent = budget.spent, budget._limit
        try:
            return estimate(searcher, search)
        finally:
            budget.spent = before

    monkeypatch.setattr(MongoSearcher, "_total", late)
    monkeypatch.setattr(SqliteSearcher, "estimate", spent)

    assert set(await _totals(filled, kind, query)) == {total}
