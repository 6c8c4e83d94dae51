"""What a search takes: which indexes are asked, how often, and what is brought here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from fhir_server.search.expression import (
    And,
    CompositeIs,
    DateIs,
    Expression,
    LastUpdated,
    Missing,
    Not,
    Prefix,
    QuantityIs,
    Search,
    TokenIs,
)
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    QuantityValue,
    TokenValue,
    Value,
)
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Page, Write
from tests.contracts.drawing import SECOND
from tests.contracts.making import START, ids
from tests.mongo.databases import give_back, open_mongo

pytestmark = pytest.mark.asyncio(loop_scope="module")

NUMBER = 5_000
BATCH = 500


def _written(number: int) -> Write:
    """Return an Observation: one in two is odd, its value is its number, one in 20 is amended."""
    moment = START + number * SECOND
    code = TokenValue("code", "c", "odd" if number % 2 else "even")
    value = QuantityValue("value-quantity", Decimal(number), Decimal(number), "", "", "")
    values: tuple[Value, ...] = (
        code,
        value,
        TokenValue("status", "s", "amended" if number % 20 == 1 else "final"),
        DateValue("date", moment, moment),
        CompositeValue("code-value-quantity", ((code,), (value,))),
    )
    return Write("Observation", f"o{number}", 1, moment, b"{}", "PUT", IndexValues(values))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def store(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MongoStore]:
    """A store of 5,000 Observations; read only."""
    folder: Path = tmp_path_factory.mktemp("costs")
    opened = await open_mongo(folder)
    for at in range(0, NUMBER, BATCH):
        await opened.commit(Batch(writes=[_written(n) for n in range(at, at + BATCH)]))
    yield opened
    await opened.close()
    give_back(folder)


@dataclass
class Asked:
    """The questions of one search: the index of each, and what it was asked."""

    hints: list[str] = field(default_factory=list)
    stages: list[list[Document]] = field(default_factory=list)

    @property
    def levels(self) -> list[int]:
        """Up to how many indexes were counted, to see which gives the fewest."""
        counted = (one for one in self.stages if any("$group" in stage for stage in one))
        return [one[1]["$limit"] for one in counted]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The questions that are asked while a test runs."""
    found = Asked()
    aggregate, batches = Reads.aggregate, Reads.batches

    async def counted(self: Reads, stages: list[Document], hint: str) -> list[Document]:
        found.hints.append(hint)
        found.stages.append(stages)
        return await aggregate(self, stages, hint)

    def read(self: Reads, where: Document, hint: str, **how: Any) -> Any:
        found.hints.append(hint)
        return batches(self, where, hint, **how)

    monkeypatch.setattr(Reads, "aggregate", counted)
    monkeypatch.setattr(Reads, "batches", read)
    return found


def _more_than(number: int) -> QuantityIs:
    value = Decimal(number)
    return QuantityIs("value-quantity", Prefix.GT, value, value, value, None, None)


async def _page(store: MongoStore, where: Expression, **how: Any) -> Page:
    return await store.search(Search((("Observation", where),), **{"total": "estimate", **how}))


ODD = TokenIs("code", "c", "odd")


async def test_what_was_begun_is_not_begun_again_along_the_type(
    store: MongoStore, asked: Asked
) -> None:
    """Where the newest of a key hold no match, those that a range gives are gathered at once."""
    old = START + 1_500 * SECOND
    page = await _page(store, And((ODD, DateIs("date", Prefix.LT, old, old))))

    assert ids(page) == [f"o{n}" for n in range(1_499, 1_459, -2)]
    assert "types" not in asked.hints


async def test_a_walk_that_finds_some_goes_on_where_it_was(store: MongoStore, asked: Asked) -> None:
    """What lies a little behind the first few of a key is found along that key."""
    old = START + 3_600 * SECOND
    page = await _page(store, And((ODD, DateIs("date", Prefix.LT, old, old))))

    assert ids(page) == [f"o{n}" for n in range(3_599, 3_559, -2)]
    assert "types" not in asked.hints


async def test_the_oldest_few_of_many_are_not_looked_for_among_the_newest(
    store: MongoStore, asked: Asked
) -> None:
    """Of 1,000 that were updated long ago a page is what the index gives, after one look."""
    until = START + 999 * SECOND
    page = await _page(store, LastUpdated(Prefix.LE, until, until), total="none")

    assert ids(page) == [f"o{n}" for n in range(999, 979, -1)]
    assert asked.hints == ["updated", "types", "updated", "updated"]


async def test_what_one_index_gives_is_not_counted_to_see_which_gives_the_fewest(
    store: MongoStore, asked: Asked
) -> None:
    """Where nothing else may drive, no level is counted: neither for a page nor for a total."""
    amended = And((ODD, Not(TokenIs("status", "s", "final"))))

    assert (await _page(store, amended)).total == NUMBER // 20
    assert (await _page(store, amended, total="accurate")).total == NUMBER // 20
    assert asked.levels == []


async def test_indexes_of_what_is_dense_are_counted_a_little(
    store: MongoStore, asked: Asked
) -> None:
    """A page that was among the first few tells that a thousand matches are soon counted."""
    page = await _page(store, And((ODD, _more_than(10))))

    assert (len(page.versions), page.total) == (20, None)
    assert asked.levels == [500, 2_000, 6_000]


async def test_a_composite_is_counted_once_where_its_parts_tell_all(
    store: MongoStore, asked: Asked
) -> None:
    """That no resource has parts of several values the index says: no match is read for it."""
    where = CompositeIs("code-value-quantity", (ODD, _more_than(4_800)))
    page = await _page(store, where, total="accurate")

    assert (len(page.versions), page.total) == (20, 100)
    reads = [hint for hint in asked.hints if hint in {"keys", "ordered"}]
    assert len(reads) - len(asked.stages) <= 1  # the page alone is read


async def test_how_many_lack_a_value_is_counted_once(store: MongoStore, asked: Asked) -> None:
    """The index tells at once that nothing lacks it, for the page and for the total."""
    page = await _page(store, Missing("code", missing=True), total="accurate")

    assert (ids(page), page.total) == ([], 0)
    assert asked.hints == ["types", "keys"]
