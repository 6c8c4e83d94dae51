"""How growth is measured: stores are filled whole, and every try is told."""

from __future__ import annotations

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Batch
from tests.contracts.making import asked
from tests.fhir_server.store import growing
from tests.fhir_server.store.growing import EACH, FLAT, ROWS, Grown, Measured, fill, table

PEOPLE = 50


class Busy(MemoryStore):
    """A store that refuses batches of more than `most`; `lied`: of one it says so, and has it."""

    def __init__(self, most: int, *, lied: bool = False) -> None:
        super().__init__()
        self.most = most
        self.lied = lied

    async def commit(self, batch: Batch) -> int:
        """Commit, or refuse."""
        if len(batch.writes) > self.most:
            raise Unavailable("The database is busy: try again.")
        done = await super().commit(batch)
        if self.lied:
            self.lied = False
            raise Unavailable("It is not known whether this was stored.")
        return done


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for a store that is not busy."""
    monkeypatch.setattr(growing, "_PAUSE", 0)


@pytest.mark.parametrize(("most", "lied"), [(10_000, False), (30, False), (10_000, True)])
async def test_a_busy_store_is_filled_whole(most: int, *, lied: bool) -> None:
    """What is refused is sent again in smaller parts, once, and is said and counted."""
    store, said = Busy(most, lied=lied), list[str]()
    grown = Grown(store, PEOPLE)

    await fill(grown, said.append)

    for kind, expected in (("Patient", PEOPLE), ("Observation", PEOPLE * (EACH - 1))):
        page = await store.search(asked(kind, count=0, total="accurate"))
        assert page.total == expected
    assert len((await store.history("Patient", "p25")).versions) == growing.VERSIONS
    assert (grown.refused > 0) is (most < EACH * PEOPLE or lied)
    assert len([line for line in said if "refused" in line]) == grown.refused
    assert said[-1].startswith("1,000 resources in ")


async def test_what_is_refused_always_is_a_failure() -> None:
    """A store that takes nothing is not waited for without end."""
    with pytest.raises(Unavailable):
        await fill(Grown(Busy(0), PEOPLE))


@pytest.mark.parametrize(
    ("tries", "is_flat", "told"),
    [
        ((1.2,), True, "| 1.20 | yes | once |"),
        ((1.3, 1.1, 1.2), True, "| 1.20 | yes | 3 times, 1.30, 1.10, 1.20 |"),
        ((1.3, 1.0, 1.4), False, "| 1.30 | NO | 3 times, 1.30, 1.00, 1.40 |"),
    ],
)
async def test_the_median_of_all_tries_decides(
    tries: tuple[float, ...], told: str, *, is_flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One good try of three makes no row flat, and the table tells each."""
    taken = iter(tries)

    async def measured(_work: growing.Work, _grown: list[Grown]) -> Measured:  # noqa: RUF029
        ratio = next(taken)
        return Measured((100.0, 100.0 * ratio), (50.0,), (1.0, ratio), (1.0, ratio))

    monkeypatch.setattr(growing, "measured", measured)
    grown = [Grown(MemoryStore(), people) for people in (1, 10)]

    row = await growing.row_of(ROWS[0], grown)

    assert row.is_flat is is_flat is (row.worst <= FLAT)
    assert next(taken, None) is None
    assert told in table("memory", grown, [row])


async def test_what_is_not_judged_is_told_with_its_reason() -> None:
    """A row that is flat from the greatest size on has nothing that it is compared with."""
    work = growing.Work("a row", ROWS[0].ask, 1, flat_from=200, why="it levels off there")
    grown = [Grown(MemoryStore(), people) for people in (1, 10)]
    for one in grown:
        await fill(one)

    row = await growing.row_of(work, grown)

    assert "not judged; from 200 on: it levels off there" in table("memory", grown, [row])
