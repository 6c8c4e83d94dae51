"""When a group of commits begins: with those who were just answered, or without them."""

from __future__ import annotations

import asyncio
import random

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.gather import Gatherer, Job
from fhir_server.store.mongo.pace import LONGEST, Pace
from fhir_server.store.mongo.prepared import Prepared
from fhir_server.store.port import AuditRecord, Batch


def sizes(clients: int, *, each: float, first: float, took: float, more: float) -> list[int]:
    """Return how many were in the last twenty groups, of clients who ask again when answered.

    Args:
        clients: How many; they begin in two halves.
        each: Seconds from one of them who is back to the next.
        first: Seconds until the first is back.
        took: Seconds that a group takes, whatever is in it.
        more: Seconds more for each in it.
    """
    pace, now, waiting = Pace(64), 0.0, clients // 2
    coming = [first + each * number for number in range(clients - waiting)]
    made: list[int] = []
    for _ in range(60):
        while True:
            # They come one after another; between two, the group begins when its time is up.
            while coming and coming[0] <= now:
                pace.came(coming.pop(0))
                waiting += 1
            wait = pace.wait(now, waiting) if waiting else float("inf")
            until = now + wait
            if wait <= 0 or (coming and until <= coming[0]) or not coming:
                now = max(now, until) if waiting else now
                break
            now = coming[0]
        made.append(waiting)
        lasted, group, waiting = took + more * waiting, waiting, 0
        now += lasted
        while coming and coming[0] <= now:
            pace.came(coming.pop(0))
            waiting += 1
        pace.told(now, lasted, group, waiting)
        coming = sorted(coming + [now + first + each * number for number in range(group)])
    return made[-20:]


def test_readers_come_together() -> None:
    """Sixteen that are soon back are one group, though they began as two."""
    made = sizes(16, each=0.0005, first=0.003, took=0.006, more=0.00005)

    assert made == [16] * 20


def test_who_takes_long_takes_turns() -> None:
    """What takes 7 ms each to make ready is made ready while the database is at work on others."""
    made = sizes(16, each=0.007, first=0.01, took=0.006, more=0.007)

    assert max(made) < 16
    assert sum(made) / len(made) >= 5


def test_one_alone_never_waits() -> None:
    """Whoever asks again and again, and nobody else, is not delayed."""
    pace = Pace(64)
    for number in range(50):
        pace.came(number * 1.0)
        assert pace.wait(number * 1.0, 1) == 0
        pace.told(number + 0.006, 0.006, 1, 0)


def test_two_that_are_slow_hardly_wait_for_one_another() -> None:
    """Two who think for 10 ms each wait less than it would take to be made apart."""
    pace = Pace(64)
    for number in range(20):
        now = number * 0.01
        pace.came(now)
        assert pace.wait(now, 1) < 0.003
        pace.told(now + 0.006, 0.006, 1, 1)


def test_who_does_not_come_back_is_not_waited_for_long() -> None:
    """After a burst, the next caller waits a moment at most, and later not at all."""
    pace = Pace(64)
    for _ in range(3):
        for number in range(16):
            pace.came(number * 0.0005)
        pace.told(0.0, 0.006, 16, 0)
    pace.came(0.003)

    assert 0 < pace.wait(0.003, 1) <= LONGEST
    assert pace.wait(1.0, 1) == 0


@pytest.mark.parametrize("seed", range(5))
def test_no_wait_is_longer_than_the_longest(seed: int) -> None:
    """Whatever came and was answered before, a group waits so long at most, and then begins."""
    draw, now = random.Random(seed), 0.0
    pace = Pace(64)
    for _ in range(300):
        now += draw.expovariate(300)
        if draw.random() < 0.7:
            pace.came(now)
        else:
            pace.told(now, draw.expovariate(50), draw.randint(1, 64), draw.randint(0, 64))
        waiting = draw.randint(1, 64)
        wait = pace.wait(now, waiting)
        assert 0 <= wait <= LONGEST
        assert pace.wait(now + LONGEST, waiting) == pytest.approx(0)


# --- the gatherer --------------------------------------------------------------------------


def entry() -> Prepared:
    """Return a batch of one audit entry."""
    return Prepared(Batch(audit=(AuditRecord(1, b"{}", ()),)))


async def test_groups_are_of_all_who_ask_again() -> None:
    """Sixteen who ask as soon as they are answered are all answered, in groups of all of them."""
    made: list[int] = []

    async def make(group: list[Job]) -> None:
        made.append(len(group))
        await asyncio.sleep(0.005)

    gatherer = Gatherer(make)

    async def client() -> None:
        for _ in range(30):
            await gatherer.ask(entry())

    await asyncio.gather(*(client() for _ in range(16)))

    assert sum(made) == 16 * 30
    assert len(made) < 45


async def test_closing_waits_for_nobody() -> None:
    """A group that waits for others is made when the store is closed, and nothing after it."""
    made: list[int] = []

    async def make(group: list[Job]) -> None:  # noqa: RUF029 - as the committer is
        made.append(len(group))

    gatherer = Gatherer(make)
    await asyncio.gather(*(gatherer.ask(entry()) for _ in range(16)))
    last = asyncio.create_task(gatherer.ask(entry()))
    await asyncio.sleep(0)
    await gatherer.close()

    await last
    assert sum(made) == 17
    with pytest.raises(Unavailable):
        await gatherer.ask(entry())
