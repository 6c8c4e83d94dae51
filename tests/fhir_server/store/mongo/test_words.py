"""`:text` and `:missing` where an index has the words, and where an older server left them out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.search.expression import And, Expression, Missing, Not, Or, Search, TokenText
from fhir_server.search.values import IndexValues, ReferenceValue, TokenValue, Value
from fhir_server.store.mongo import keys, reads
from fhir_server.store.mongo.schema import HEAD
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Write
from tests.contracts.making import ids
from tests.mongo.databases import open_mongo

NUMBER = 2_000
RARE = 700


def _written(number: int) -> Write:
    """Return an Observation; one has a text of its own, and a logical reference."""
    text = "muc loc cau than" if number == RARE else "nhip tim"
    values: tuple[Value, ...] = (
        TokenValue("code", "c", "x", text),
        TokenValue("category", "c", "y", "loc"),
    )
    if number == RARE:
        values += (TokenValue("performer:identifier", "s", "lab"),)
        values += (TokenValue("code:of-type", "s", "lab"),)
    if number % 2:
        values += (ReferenceValue("performer", "Practitioner", "dr"),)
    return Write("Observation", f"o{number}", 1, number, b"{}", "PUT", IndexValues(values))


@pytest_asyncio.fixture
async def store(tmp_path: Path) -> AsyncIterator[MongoStore]:
    """A store of 2,000 Observations."""
    opened = await open_mongo(tmp_path)
    for at in range(0, NUMBER, 500):
        await opened.commit(Batch(writes=[_written(n) for n in range(at, at + 500)]))
    yield opened
    await opened.close()


async def _found(store: MongoStore, where: Expression) -> list[str]:
    return ids(await store.search(Search((("Observation", where),), count=10)))


def _text(folded: str) -> TokenText:
    return TokenText("code", folded)


async def _is_older(store: MongoStore) -> None:
    """Take the store to what an older server leaves: without the words, and said to be so."""
    names = [keys.path("Observation", keys.said_by(one)) for one in ("code", "category")]
    pattern = {"$regex": f"^({'|'.join(names)})"}
    there = [keys.present("Observation", "performer:identifier")]
    change = {"$pull": {"s": pattern, "x": {"$in": there}}}
    await store._collections.resource.update_many({}, change)
    await store._collections.meta.update_one(
        {"_id": HEAD}, {"$set": {"unordered": ["Observation"]}, "$inc": {"edition": 1}}
    )


ASKED = {
    _text("muc"): [f"o{RARE}"],
    _text("lo"): [f"o{RARE}"],
    _text("loc cau"): [f"o{RARE}"],
    _text("muc loc cau than"): [f"o{RARE}"],
    _text("loc muc"): [],
    _text("oc"): [],
    _text("nhip khong"): [],
    Not(_text("nhip")): [f"o{RARE}"],
    Or((_text("than"), _text("khong"))): [f"o{RARE}"],
    Missing("performer:identifier", missing=False): [f"o{RARE}"],
    And((_text("muc"), Missing("code:of-type", missing=False))): [f"o{RARE}"],
    TokenText("code:none", "muc"): [],
}


@pytest.mark.parametrize("where", ASKED, ids=str)
async def test_a_rare_word_is_found_by_an_index(
    where: Expression, store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of words that few texts have no more is brought here than matches; nothing where none do."""
    monkeypatch.setattr(reads, "DOCUMENTS", 25)

    assert await _found(store, where) == ASKED[where]


async def test_a_word_that_most_texts_have_is_found_among_the_newest(
    store: MongoStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page of many is as soon found; that none of it was cut the index tells."""
    monkeypatch.setattr(reads, "DOCUMENTS", 25)

    expected = [f"o{n}" for n in range(NUMBER - 1, NUMBER - 11, -1)]
    assert await _found(store, _text("tim")) == expected
    assert await _found(store, _text("nhip ti")) == expected


async def test_what_an_older_server_stored_is_looked_at_one_by_one(store: MongoStore) -> None:
    """Until all of a type is indexed anew, what its index lacks is no reason to miss a match."""
    await _is_older(store)

    for where, expected in ASKED.items():
        assert await _found(store, where) == expected
    assert await store.count("Observation", _text("muc")) == 1
