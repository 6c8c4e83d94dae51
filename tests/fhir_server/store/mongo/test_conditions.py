"""Conditions of a group: what they ask by keys is read at once, and as right as if asked alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from msgspec.structs import replace as changed

from fhir_server.search.expression import And, Expression, InPatient, Not, Or, Tagged, TokenIs
from fhir_server.store.memory import MemoryStore
from fhir_server.store.mongo import foreseen, writing
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, ConditionChanged, Matches, Tag
from tests.contracts.drawing import IDS, SECOND, Draw
from tests.contracts.making import START, gone, made, observation, patient, put
from tests.contracts.test_store_agree import _batch, _kept
from tests.fhir_server.store.mongo.committing import CCCD, at_once, person
from tests.mongo.commands import Commands, open_counted
from tests.mongo.databases import open_mongo
from tests.sizes import seeds

Counted = tuple[MongoStore, Commands]


@pytest_asyncio.fixture
async def counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Counted]:
    """An empty store, and what it sends."""
    opened, commands = await open_counted(tmp_path, monkeypatch)
    yield opened, commands
    await opened.close()


def _held(number: int) -> TokenIs:
    return TokenIs("identifier", CCCD, f"{number:012}")


def _asked_alone(commands: Commands) -> int:
    """Return how often resources were looked for."""
    return sum(one in {("find", "resource"), ("aggregate", "resource")} for one in commands.sent)


async def test_conditions_by_keys_are_one_question(counted: Counted) -> None:
    """Twenty conditional creates, and a group of many such batches, ask once."""
    store, commands = counted
    await store.commit(person(0))
    group = [
        Batch(
            writes=[made(patient(f"n{at}"))],
            conditions=[Matches("Patient", _held(20 * at + n)) for n in range(1, 21)],
        )
        for at in range(20)
    ]

    commands.clear()
    assert await at_once(store, group[:1]) == [None]
    alone, sent = _asked_alone(commands), len(commands.sent)
    commands.clear()
    before = store.committer.groups
    assert await at_once(store, group[1:]) == [None] * 19

    assert alone == 1
    assert sent < 8
    assert _asked_alone(commands) == store.committer.groups - before < 5


async def test_conditions_with_a_policy_are_judged_here(counted: Counted) -> None:
    """What else a condition asks is told by what the key found."""
    store, commands = counted
    await put(store, patient("p1", identifier=[{"system": CCCD, "value": f"{1:012}"}]))
    tagged = made(patient("p2", identifier=[{"system": CCCD, "value": f"{2:012}"}]), tags=["t"])
    await store.commit(Batch(writes=[tagged]))
    seen = Or((Tagged("t"), InPatient(frozenset({"p9"}))))
    wheres = [And((seen, _held(n))) for n in (1, 2, 3)]
    expected: list[frozenset[str]] = [frozenset(), frozenset({"p2"}), frozenset()]
    right = [Matches("Patient", *one) for one in zip(wheres, expected, strict=True)]
    wrong = [Matches("Patient", wheres[0], frozenset({"p1"})), Matches("Patient", wheres[1])]
    commands.clear()
    before = store.committer.groups

    answers = await at_once(
        store, [Batch(conditions=right), *(Batch(conditions=[w]) for w in wrong)]
    )

    assert [type(one) for one in answers] == [type(None), ConditionChanged, ConditionChanged]
    assert _asked_alone(commands) == store.committer.groups - before


@pytest.mark.parametrize("least", [1, 1000], ids=["in parts", "at once"])
async def test_what_the_group_has_made_is_known(
    counted: Counted, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created, changed, deleted, tagged and refused before a condition of the same group."""
    monkeypatch.setattr(writing, "LEAST", least)
    store, _ = counted
    await at_once(store, [person(1), person(2), person(3)])
    moved = patient("p2", identifier=[{"system": CCCD, "value": f"{4:012}"}])
    none: frozenset[str] = frozenset()

    def holds(number: int, ids: frozenset[str], *also: Expression) -> Batch:
        return Batch(conditions=[Matches("Patient", And((_held(number), *also)), ids)])

    answers = await at_once(
        store,
        [
            holds(1, frozenset({"p1"})),
            Batch(writes=[gone("Patient", "p1", 2)]),
            holds(1, none),
            Batch(writes=[made(moved, 2)]),
            holds(2, none),
            holds(4, frozenset({"p2"})),
            person(5),
            holds(5, frozenset({"p5"})),
            Batch(writes=[made(patient("x"))], conditions=[Matches("Patient", _held(5))]),
            Batch(tags=[Tag("Patient", "p5", frozenset("t"))]),
            holds(5, frozenset({"p5"}), Tagged("t")),
            Batch(tags=[Tag("Patient", "p3", frozenset("t"))]),
            holds(3, none, Not(Tagged("t"))),
            holds(3, frozenset({"p3"}), Tagged("t")),
            Batch(writes=[gone("Patient", "p5", 2)]),
            holds(5, none),
        ],
    )

    refused = {at: type(one) for at, one in enumerate(answers) if one is not None}
    assert refused == {8: ConditionChanged}
    assert await store.read("Patient", "x") is None


async def test_a_condition_that_many_match_takes_nothing_from_the_others(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a limit is reached it is asked alone; those that ask for numbers are not."""
    store, commands = counted
    await put(store, *(observation(f"o{n}", "p") for n in range(6)), patient("p"))
    code = TokenIs("code", "http://loinc.org", "8480-6")
    held = [Matches("Patient", _held(n)) for n in range(10)]
    many = [Matches("Observation", code, frozenset(f"o{n}" for n in range(6)))] * 2
    other = Matches("Observation", code)

    for limit, sent in (("FOUND", 4), ("EACH", 4), ("IN_ALL", 12)):
        with monkeypatch.context() as patched:
            patched.setattr(foreseen, limit, 0 if limit == "IN_ALL" else 5)
            commands.clear()
            (answer,) = await at_once(store, [Batch(conditions=[*held, *many])])
        assert answer is None
        assert _asked_alone(commands) == sent, limit
    (answer,) = await at_once(store, [Batch(conditions=[*held, other])])
    assert isinstance(answer, ConditionChanged)


@pytest.mark.parametrize("keys", [1, 500])
@pytest.mark.parametrize("seed", seeds(6))
async def test_conditions_are_as_in_the_memory_store(
    tmp_path: Path, seed: int, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Groups with many conditions by tokens and references are refused as one by one."""
    monkeypatch.setattr(foreseen, "KEYS", keys)
    monkeypatch.setattr(writing, "LEAST", 3)
    draw, measure, store = Draw(seed), MemoryStore(), await open_mongo(tmp_path)
    number, conditions, refused = 0, 0, 0
    for _ in range(12):
        batches: list[Batch] = []
        expected: list[Any] = []
        for _ in range(draw.random.randint(2, 12)):
            number += 1
            batch = await _batch(draw, measure, START + number * SECOND)
            kind = draw.one(["Patient", "Observation"])
            where = And((_token(draw, kind), draw.expression(kind, draw.one([0, 0, 1]))))
            if draw.random.random() < 0.5:
                where = And((_token(draw, kind),))
            now = [one for one in IDS if await measure.visible((kind, one), where)]
            ids = frozenset(draw.one([now, now, now, ["a"]]))
            tags = [Tag("Patient", "a", frozenset("t"))] if draw.random.random() < 0.05 else []
            batch = changed(
                batch, conditions=[*batch.conditions, Matches(kind, where, ids)], tags=tags
            )
            batches.append(batch)
            expected += await at_once(measure, [batch])

        answers = await at_once(store, batches)

        assert list(map(type, answers)) == list(map(type, expected))
        assert await _kept(store) == await _kept(measure)
        conditions += len(batches)
        refused += sum(isinstance(one, ConditionChanged) for one in answers)
    await store.close()
    assert 0 < refused < conditions


def _token(draw: Draw, kind: str) -> TokenIs:
    """Draw a token that resources of the drawn kind may have."""
    if kind == "Patient":
        return TokenIs("gender", None, draw.one(["male", "female"]))
    return TokenIs("code", draw.one([None, "http://s", "http://t"]), draw.one(["x", "y", "z"]))
