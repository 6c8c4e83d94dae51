"""The bench of search forms measures searches that find what they ask for."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_asyncio

from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from tests.bench.search_forms import Row, Side, Wrong, fill, line, percentile
from tests.bench.search_forms_data import Population
from tests.bench.search_forms_table import FORMS_ASKED, Form

SMALL = 2_000


@pytest_asyncio.fixture
async def side(store: Store) -> Side:
    """The smallest store that can be asked."""
    one = Side(Population(SMALL), store)
    await fill(store, one.population)
    return one


async def test_every_form_finds_what_it_asks_for(side: Side) -> None:
    """A bench of refusals and of empty pages would be quick, and worth nothing."""
    side.count(FORMS_ASKED)
    wrong = []
    for form in FORMS_ASKED:
        turned = replace(form, turns=min(form.turns, 2))
        try:
            url = await side.start(turned) or side.url(turned, 3)
            side.check(turned, await side.ask(*url))
        except Wrong as error:
            wrong.append(f"{form.url}: {error}")

    assert wrong == []


WRONG = [
    (Form("token", "Patient?gender=male", lambda r, _: r.get("gender") == "female"), "no match"),
    (Form("token", "Patient?_id=p1", lambda _r, _p: True), "not 100"),
    (Form("token", "Patient?_id=p1", least=2), "not 2 at least"),
    (Form("token", "Patient?birthdate=x"), "400"),
    (Form("include", "Patient?_id=p1", brings=("Encounter",)), "Encounter"),
    (Form("_sort", "Patient?_sort=-_id", key=lambda r: r["id"]), "order"),
    (Form("total", "Patient?_total=none", lambda _r, _p: True, total=True), "no total"),
    (Form("page", "Patient?_id=p1", turns=1), "no next"),
]


async def test_a_wrong_answer_is_seen(side: Side) -> None:
    """Each look at an answer can fail."""
    for form, told in WRONG:
        side.count([form])

        with pytest.raises(Wrong, match=told):
            side.check(form, await side.ask(*(await side.start(form) or side.url(form, 0))))


def test_a_population_is_of_its_size_and_each_resource_once() -> None:
    """A ratio of two sizes says nothing of stores that are of others."""
    made = [(one["resourceType"], one["id"]) for one in Population(SMALL).everything()]

    assert len(made) == len(set(made)) == SMALL


def test_a_row_says_what_is_above_its_limit() -> None:
    """Gates have another limit than pages."""
    side = Side(Population(SMALL), MemoryStore())
    page = Row(Form("date", "Patient"), (5.0, 20.0), (9.0, 60.0), 40, 3.0)
    gate = replace(page, form=Form("date", "Patient", is_gate=True))

    assert (page.is_slow, page.verdict, page.ratio) == (False, "p99 over 50", 4.0)
    assert (gate.is_slow, gate.verdict) == (True, "over 10")
    assert "| 5.0 | 9.0 | 20.0 | 60.0 | 4.00 | 3 |" in line(page, [side, side])


def test_the_99th_percentile_of_few_is_the_slowest() -> None:
    """Nearest rank: no time is told that was not measured."""
    assert percentile([3.0, 1.0, 2.0], 0.99) == 3.0
    assert percentile([float(n) for n in range(200)], 0.99) == 197.0
