"""What searches over links ask of the database, and bring here: little, whatever the links."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio

from fhir_server.search.expression import (
    MOST_COUNTED,
    Chain,
    Expression,
    Has,
    Ids,
    Not,
    Or,
    RefersTo,
    Search,
    TokenIs,
)
from fhir_server.search.values import IndexValues, ReferenceValue, TokenValue, Value
from fhir_server.store.mongo import backwards
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Page, Write
from tests.contracts.making import ids
from tests.mongo.commands import Commands, open_counted

PEOPLE: Final = 1_500
"""Every third is g0; each has two Observations, of which one has a code that most have."""
HUB: Final = 400
"""Observations of one more person, of a code that nobody else has: more than are asked at once."""

COMMON: Final = Has("Observation", "subject", TokenIs("code", "c", "common"))
THIRD: Final = Chain("subject", "Patient", TokenIs("g", "", "g0"))


def _written(kind: str, name: str, *values: Value) -> Write:
    return Write(kind, name, 1, 1, b"{}", "PUT", IndexValues(values))


def _all() -> Iterable[Write]:
    for n in range(PEOPLE):
        yield _written("Patient", f"p{n}", TokenValue("g", "", f"g{n % 3}"))
        of = ReferenceValue("subject", "Patient", f"p{n}")
        yield _written("Observation", f"a{n}", of, TokenValue("code", "c", "common"))
        yield _written("Observation", f"b{n}", of, TokenValue("code", "c", f"own{n}"))
        part = ReferenceValue("has-member", "Observation", f"a{n}")
        yield _written("Observation", f"c{n}", part)
    yield _written("Patient", "hub")
    for n in range(HUB):
        of = ReferenceValue("subject", "Patient", "hub")
        yield _written("Observation", f"h{n}", of, TokenValue("code", "c", "hub"))


@dataclass
class Asked:
    """A store, what it was sent, and how much it brought here."""

    store: MongoStore
    commands: Commands
    brought: list[int] = field(default_factory=list)

    async def page(
        self,
        kind: str,
        where: Expression,
        total: Literal["none", "estimate", "accurate"] = "none",
        count: int = 20,
    ) -> tuple[Page, int, int]:
        """Return a page, how many questions it took, and how many documents."""
        self.commands.clear()
        self.brought.clear()
        page = await self.store.search(Search(((kind, where),), count=count, total=total))
        return page, len(self.commands.sent), sum(self.brought)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def asked(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Asked]:
    """A store of people and their Observations; read only."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder: Path = tmp_path_factory.mktemp("links")
        store, commands = await open_counted(folder, monkeypatch)
        writes = list(_all())
        for at in range(0, len(writes), 500):
            await store.commit(Batch(writes=writes[at : at + 500]))
        found = Asked(store, commands)
        spend = Reads.spend

        def spied(self: Reads, documents: int) -> None:
            found.brought.append(documents)
            spend(self, documents)

        monkeypatch.setattr(Reads, "spend", spied)
        yield found
        await store.close()


@pytest.mark.asyncio(loop_scope="module")
async def test_a_dense_has_is_asked_for_all_candidates_at_once(asked: Asked) -> None:
    """The head, whether few have it, candidates, what refers to them, and the bodies."""
    page, questions, brought = await asked.page("Patient", COMMON)

    assert ids(page) == [f"p{n}" for n in range(PEOPLE - 1, PEOPLE - 21, -1)]
    assert questions <= 5
    assert brought <= 3 * 21 * 2 + 20


@pytest.mark.asyncio(loop_scope="module")
async def test_one_to_whom_much_refers_hides_nobody(asked: Asked) -> None:
    """Where more refer to candidates than are asked at once, the others are asked one by one."""
    hub = Or((TokenIs("code", "c", "hub"), TokenIs("code", "c", "own1490")))
    anyone = Not(TokenIs("code", "c", "none"))

    page, _, _ = await asked.page("Patient", Has("Observation", "subject", hub))
    assert ids(page) == ["hub", "p1490"]
    page, _, _ = await asked.page("Patient", Has("Observation", "subject", anyone))
    assert ids(page) == ["hub", *(f"p{n}" for n in range(PEOPLE - 1, PEOPLE - 20, -1))]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("kind", "where"),
    [
        ("Observation", THIRD),
        ("Patient", COMMON),
        ("Patient", Has("Observation", "subject", Not(TokenIs("code", "c", "none")))),
    ],
)
async def test_that_they_are_many_is_seen_in_few_questions(
    kind: str, where: Expression, asked: Asked
) -> None:
    """A little of the other end first, then more at once; no cursor is left to be closed."""
    _, alone, _ = await asked.page(kind, where)
    page, questions, brought = await asked.page(kind, where, "estimate")

    matching = 2 * PEOPLE // 3 if kind == "Observation" else PEOPLE
    assert page.total == (matching if matching <= MOST_COUNTED else None)
    assert questions - alone <= 7
    assert brought <= 6 * MOST_COUNTED
    assert "killCursors" not in {name for name, _ in asked.commands.sent}


@pytest.mark.asyncio(loop_scope="module")
async def test_what_a_chain_lets_match_is_counted_where_it_is(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the exact number of all the other end alone is brought here; each is counted once."""
    page, _, brought = await asked.page("Observation", THIRD, "accurate", count=0)
    assert (page.total, brought) == (2 * PEOPLE // 3, PEOPLE // 3)
    two = Chain("has-member", "Observation", THIRD)
    page, _, _ = await asked.page("Observation", two, "accurate", count=0)
    assert page.total == PEOPLE // 3

    monkeypatch.setattr(backwards, "COUNTED", PEOPLE // 3 - 1)
    page, _, brought = await asked.page("Observation", THIRD, "accurate", count=0)
    assert page.total == 2 * PEOPLE // 3
    assert brought >= PEOPLE


@pytest.mark.asyncio(loop_scope="module")
async def test_hundreds_of_references_are_one_question(asked: Asked) -> None:
    """More than an index walks at once, as a hierarchy has: the page takes the head and them."""
    names = [f"p{n}" for n in range(700)]
    where = Or(tuple(RefersTo("subject", "Patient", one) for one in names))

    page, questions, _ = await asked.page("Observation", where)

    assert ids(page)[:4] == ["b699", "a699", "b698", "a698"]
    assert (len(page.versions), questions) == (20, 2), asked.commands.sent


@pytest.mark.asyncio(loop_scope="module")
async def test_what_is_named_is_not_counted_before(asked: Asked) -> None:
    """Of names it is known how many they are at most."""
    page, questions, _ = await asked.page("Patient", Ids(frozenset({"p1", "p9", "nobody"})))

    assert ids(page) == ["p9", "p1"]
    assert questions == 2
