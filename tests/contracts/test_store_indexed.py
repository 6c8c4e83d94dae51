"""Every store refuses what was indexed by other search parameters than those it has by now."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.search.values import IndexValues, TokenValue
from fhir_server.store.port import (
    INDEXED_BY,
    AuditRecord,
    Batch,
    Condition,
    IndexedOtherwise,
    Matches,
    Put,
    Store,
    Tag,
    Unchanged,
)
from fhir_server.stores import walkable
from tests.contracts.making import START, asked, gone, ids, made, patient, put, where


def indexed_by(generation: int) -> Put:
    """Return the record that says by which search parameters resources are indexed."""
    return Put(*INDEXED_BY, str(generation).encode())


async def test_a_version_that_is_indexed_otherwise_is_refused(store: Store) -> None:
    """Made by former search parameters, or by those still to come, nothing of a batch is made."""
    await put(store, patient("p"))
    await store.commit(Batch(puts=[indexed_by(2)]))

    for generation in (0, 1, 3):
        batch = Batch(
            writes=[made(patient("p"), 2)], puts=[Put("work", "w", b"1")], indexed=generation
        )
        with pytest.raises(IndexedOtherwise):
            await store.commit(batch)
        with pytest.raises(IndexedOtherwise):
            await store.commit(Batch(writes=[gone("Patient", "p", 2)], indexed=generation))
    assert await store.get("work", "w") is None

    await store.commit(Batch(writes=[made(patient("p"), 2)], indexed=2))
    version = await store.read("Patient", "p")
    assert version is not None
    assert version.version_id == 2


@pytest.mark.parametrize(
    "condition",
    [Unchanged("Patient", "p", 1), Matches("Patient", where("Patient", "active=true"))],
    ids=["unchanged", "matches"],
)
async def test_conditions_are_refused_as_writes_are(store: Store, condition: Condition) -> None:
    """A condition was read by search parameters, too."""
    await put(store, patient("p"))
    await store.commit(Batch(puts=[indexed_by(1)]))

    with pytest.raises(IndexedOtherwise):
        await store.commit(Batch(conditions=[condition], puts=[Put("work", "w", b"1")]))
    await store.commit(Batch(conditions=[condition], puts=[Put("work", "w", b"1")], indexed=1))

    assert await store.get("work", "w") == b"1"


async def test_what_depends_on_no_parameter_is_never_refused(store: Store) -> None:
    """Records, access tags and audit entries go on."""
    await put(store, patient("p"))
    await store.commit(Batch(puts=[indexed_by(1)]))

    audit = AuditRecord(START, b"a")
    await store.commit(
        Batch(puts=[Put("work", "w", b"1")], tags=[Tag("Patient", "p", frozenset({"t"}))])
    )
    await store.commit(Batch(audit=[audit]))

    assert await store.get("work", "w") == b"1"
    assert await store.tags(("Patient", "p")) == {"t"}


async def test_the_batch_that_changes_them_is_made_by_the_former(store: Store) -> None:
    """What comes with the change was indexed before it; what comes after it by the new ones."""
    await store.commit(Batch(writes=[made(patient("a"))], puts=[indexed_by(1)]))
    with pytest.raises(IndexedOtherwise):
        await store.commit(Batch(writes=[made(patient("b"))]))
    await store.commit(Batch(writes=[made(patient("b"))], puts=[indexed_by(2)], indexed=1))
    with pytest.raises(IndexedOtherwise):
        await store.commit(Batch(writes=[made(patient("c"))], indexed=1))

    assert sorted(ids(await store.search(asked("Patient")))) == ["a", "b"]


async def test_a_change_that_is_refused_changes_nothing(store: Store) -> None:
    """Where the batch with the change is not made, the former parameters stay."""
    await put(store, patient("a"))
    with pytest.raises(Exception, match="at version 1"):
        await store.commit(Batch(writes=[made(patient("a"))], puts=[indexed_by(1)]))

    await store.commit(Batch(writes=[made(patient("b"))]))

    assert sorted(ids(await store.search(asked("Patient")))) == ["a", "b"]


async def test_many_at_once_are_refused_from_the_change_on(store: Store) -> None:
    """Of writes that come at once with a change, in whichever order, none comes in behind it."""
    writes = [Batch(writes=[made(patient(f"p{number}"))]) for number in range(40)]
    change = Batch(puts=[indexed_by(1)])
    answers = await asyncio.gather(
        *map(store.commit, [*writes[:20], change, *writes[20:]]), return_exceptions=True
    )

    refused = [isinstance(one, IndexedOtherwise) for one in answers]
    assert all(one is None or isinstance(one, IndexedOtherwise) for one in answers)
    assert not refused[20]
    kept = set(ids(await store.search(asked("Patient"))))
    assert len(kept) == 40 - sum(refused)
    with pytest.raises(IndexedOtherwise):
        await store.commit(Batch(writes=[made(patient("late"))]))


async def test_resources_are_indexed_anew(store: Store) -> None:
    """Values made anew are found, those before are not, and a newer version keeps its own."""
    await put(store, patient("a", gender="male"), patient("b", gender="male"))
    await store.commit(Batch(writes=[made(patient("b", gender="other"), 2)]))
    walked = walkable(store)
    found = await walked.walk("Patient")
    index = IndexValues((TokenValue("gender", "", "female"),), ("a",))

    done = await walked.reindex([
        (("Patient", "a"), 1, index),
        (("Patient", "b"), 1, index),
        (("Patient", "x"), 1, index),
    ])

    assert [version.resource_id for _, version in found] == ["a", "b"]
    assert await walked.walk("Patient", after=found[1][0]) == []
    assert (await walked.walk("Patient", after=found[0][0]))[0][1].resource_id == "b"
    assert done == 1
    assert ids(await store.search(asked("Patient", "gender=female"))) == ["a"]
    assert ids(await store.search(asked("Patient", "gender=male"))) == []
    assert ids(await store.search(asked("Patient", "gender=other"))) == ["b"]


async def test_indexing_anew_is_refused_as_writes_are(store: Store) -> None:
    """Values made by former search parameters do not take the place of others."""
    await put(store, patient("a", gender="male"))
    await store.commit(Batch(puts=[indexed_by(1)]))
    index = IndexValues((TokenValue("gender", "", "female"),), ("a",))

    with pytest.raises(IndexedOtherwise):
        await walkable(store).reindex([(("Patient", "a"), 1, index)])
    assert ids(await store.search(asked("Patient", "gender=female"))) == []

    assert await walkable(store).reindex([(("Patient", "a"), 1, index)], indexed=1) == 1
    assert ids(await store.search(asked("Patient", "gender=female"))) == ["a"]
