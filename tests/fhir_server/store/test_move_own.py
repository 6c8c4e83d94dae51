"""A store's own search parameters go along where it is moved, and find the same there."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.interactions.own_parameters import definitions_of
from fhir_server.model.outcome import UnsupportedParameter
from fhir_server.store.port import Store
from fhir_server.store.sqlite.backup import restore
from fhir_server.stores import embedded
from tests.contracts.test_own_parameters import Process, definition, fill, patient
from tests.fhir_server.store.test_move import WAYS
from tests.fhir_server.store.wholes import Place, moved


@pytest.fixture(params=WAYS, ids="-".join)
def way(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Place, Place]:
    """Where a store is, and where it is to be: both engines, both ways."""
    ours, theirs = request.param
    return Place(ours, tmp_path / "ours"), Place(theirs, tmp_path / "theirs")


async def process(store: Store) -> Process:
    """Return a process that has just opened the store."""
    opened = Process(store, "moved")
    await opened.registry.look()
    return opened


async def test_what_is_ready_is_ready_there(way: tuple[Place, Place]) -> None:
    """Searches find the same at once, and what is written there is found too."""
    ours, theirs = way
    async with ours.opened() as store:
        one = Process(store)
        await fill(one, 9)
        await one.put(definition())
        await one.ready()

    outcome = await moved(ours, theirs)

    assert (outcome.differences, outcome.finished) == ([], True)
    async with theirs.opened() as store:
        there = await process(store)
        assert there.registry.is_settled
        assert sorted(await there.found("Patient", ("eye", "brown"))) == ["p0", "p3", "p6"]
        await there.put(patient("late"))
        assert len(await there.found("Patient", ("eye", "brown"))) == 4
        # A process that knows nothing is told by the store there, too.
        stranger = Process(store, "stranger")
        await stranger.put(patient("later"))
        assert len(await there.found("Patient", ("eye", "brown"))) == 5


async def test_what_is_not_ready_becomes_so_there(way: tuple[Place, Place]) -> None:
    """A job that was not done on the source is done on the target."""
    ours, theirs = way
    async with ours.opened() as store:
        one = Process(store)
        await fill(one, 9)
        await one.put(definition())

    await moved(ours, theirs)

    async with theirs.opened() as store:
        there = await process(store)
        with pytest.raises(UnsupportedParameter, match="being indexed"):
            await there.found("Patient", ("eye", "brown"))
        await there.ready()
        assert sorted(await there.found("Patient", ("eye", "brown"))) == ["p0", "p3", "p6"]


async def test_what_came_while_it_was_moved_is_indexed_there(way: tuple[Place, Place]) -> None:
    """What was copied before the source had it is indexed anew, and refused until then."""
    ours, theirs = way
    async with ours.opened() as store:
        one = Process(store)
        await fill(one, 9)
    await moved(ours, theirs, live=True)
    async with ours.opened() as store:
        one = Process(store)
        await one.put(definition())
        await one.ready()
        await one.put(patient("late"))

    outcome = await moved(ours, theirs)

    assert (outcome.differences, outcome.finished) == ([], True)
    # What was left for the target to do is no difference to whoever moves it again.
    again = await moved(ours, theirs)
    assert (again.differences, again.finished) == ([], True)
    async with theirs.opened() as store:
        there = await process(store)
        with pytest.raises(UnsupportedParameter, match="being indexed"):
            await there.found("Patient", ("eye", "brown"))
        await there.ready()
        assert sorted(await there.found("Patient", ("eye", "brown"))) == ["late", "p0", "p3", "p6"]
        assert (await definitions_of(store))[0].is_settled


async def test_a_copy_has_them(tmp_path: Path) -> None:
    """A backup that is put back searches as the store did."""
    place = Place("sqlite", tmp_path / "ours")
    async with place.opened() as store:
        one = Process(store)
        await fill(one, 9)
        await one.put(definition())
        await one.ready()
        await embedded(store).backup(tmp_path / "copy")
        await one.delete("SearchParameter", "eye")
        await one.ready()

    restore(tmp_path / "copy", tmp_path / "ours" / "fhir.db")

    async with place.opened() as store:
        there = await process(store)
        assert sorted(await there.found("Patient", ("eye", "brown"))) == ["p0", "p3", "p6"]
