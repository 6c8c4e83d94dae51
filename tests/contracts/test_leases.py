"""Leases over every store: one alone has one, and who has lost it commits nothing with it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.store import leases
from fhir_server.store.leases import BUCKET, SECONDS, SKEW, Lease, Leases, hold_of
from fhir_server.store.port import Batch, Put, RecordChanged, Store
from tests.conftest import Clock

WORK = Put("work", "w", b"done")


class Two:
    """Two processes over one store, each with its own clock."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock, self.other_clock = Clock(), Clock()
        self.one = Leases(store, self.clock, by="one")
        self.other = Leases(store, self.other_clock, by="other")

    def pass_by(self, seconds: int) -> None:
        """Let time pass for both."""
        self.clock.move(seconds=seconds)
        self.other_clock.move(seconds=seconds)


@pytest.fixture
def two(store: Store) -> Two:
    """Two processes."""
    return Two(store)


async def taken(by: Leases) -> Lease:
    """Return the lease, which is free."""
    lease = await by.take("k")
    assert lease is not None
    return lease


async def test_one_alone_has_a_lease(two: Two) -> None:
    """Who comes second does not get it, nor does the holder a second time."""
    await taken(two.one)

    assert await two.other.take("k") is None
    assert await two.one.take("k") is None
    assert await two.other.take("another") is not None


async def test_of_many_at_once_one_gets_it(store: Store) -> None:
    """Twenty ask at the same moment, twice: first nobody has it, then it has ended."""
    clock = Clock()
    asking = [Leases(store, clock, by=f"p{number}") for number in range(20)]

    for _ in range(2):
        got = await asyncio.gather(*(one.take("k") for one in asking))
        assert sum(lease is not None for lease in got) == 1
        clock.move(seconds=SECONDS + SKEW)


async def test_it_ends_by_itself_where_it_is_not_renewed(two: Two) -> None:
    """A holder that has died is followed, but not before clocks that differ would agree."""
    first = await taken(two.one)

    two.pass_by(SECONDS + SKEW - 1)
    assert await two.other.take("k") is None
    two.pass_by(1)
    second = await taken(two.other)

    assert second.token > first.token


async def test_clocks_that_differ_do_not_make_two_holders(two: Two) -> None:
    """A clock that is ahead by what is allowed for does not take what is still held."""
    two.other_clock.move(seconds=SKEW)
    first = await taken(two.one)

    for _ in range(10):
        two.pass_by(SECONDS - 1)
        assert await two.other.take("k") is None
        await first.renew()
    assert not first.is_lost


async def test_a_token_grows_also_where_clocks_go_back(two: Two) -> None:
    """Each taking has a greater token than the one before."""
    first = await taken(two.one)
    await first.give_back()
    two.other_clock.move(seconds=-SKEW)

    two.pass_by(SKEW)
    second = await taken(two.other)

    assert second.token > first.token


async def test_what_is_given_back_may_be_taken_at_once(two: Two) -> None:
    """Nobody waits for the end of a lease whose work is done."""
    async with await taken(two.one):
        assert await two.other.take("k") is None

    await taken(two.other)


async def test_work_that_failed_gives_it_back_too(two: Two) -> None:
    """An error does not keep the lease."""
    with pytest.raises(LookupError):
        async with await taken(two.one):
            raise LookupError

    await taken(two.other)


async def test_who_has_lost_it_commits_nothing_with_it(two: Two) -> None:
    """A holder that was asleep past its end, and overtaken, is refused by the store itself."""
    sleeper = await taken(two.one)
    two.pass_by(SECONDS + SKEW)
    other = await taken(two.other)

    for put in (sleeper.fence(), sleeper.ended()):
        with pytest.raises(RecordChanged):
            await two.store.commit(Batch(puts=(put, WORK)))
    await sleeper.renew()

    assert await two.store.get("work", "w") is None
    assert sleeper.is_lost
    assert await other.is_ours()
    await two.store.commit(Batch(puts=(other.fence(), WORK)))
    assert await two.store.get("work", "w") == b"done"


async def test_who_was_asleep_and_not_overtaken_goes_on(two: Two) -> None:
    """An end that nobody has used does no harm: it is renewed."""
    lease = await taken(two.one)
    two.pass_by(10 * SECONDS)

    await lease.renew()
    await two.store.commit(Batch(puts=(lease.fence(), WORK)))

    assert not lease.is_lost
    assert await two.other.take("k") is None


async def test_it_ends_with_the_work(two: Two) -> None:
    """The record goes in the same commit as the last of the work, and nothing is left."""
    async with await taken(two.one) as lease:
        await two.store.commit(Batch(puts=(lease.ended(), WORK)))
        lease.done()

    assert await two.store.scan(BUCKET) == []
    await taken(two.other)


async def test_one_that_is_made_with_other_work_is_held_from_that_commit_on(two: Two) -> None:
    """A mark in a bucket of its own is a lease; it stays until it is ended."""
    lease = two.one.made("k", bucket="mark")
    await two.store.commit(Batch(puts=(lease.taken(), WORK)))

    seen = await two.store.get("mark", "k")
    assert await two.other.take_over("k", seen, bucket="mark") is None
    await lease.give_back()
    seen = await two.store.get("mark", "k")
    assert await two.other.take_over("k", seen, bucket="mark") is not None


async def test_work_that_cannot_be_done_waits_longer_each_time(two: Two) -> None:
    """It is not tried again and again by everyone."""
    waits = []
    for _ in range(7):
        lease = await taken(two.one)
        await lease.give_back(failed=True)
        waits.append(0)
        while (lease := await two.other.take("k")) is None:
            two.pass_by(SECONDS)
            waits[-1] += SECONDS
        # Taken by the other, it dies: who fails next goes on counting.
        two.pass_by(SECONDS + SKEW)

    assert waits == [30, 60, 120, 240, 480, 480, 480]


async def test_work_that_kills_who_does_it_does_not_kill_all_in_turn(two: Two) -> None:
    """The fourth in a row that has died is not followed at once, also where it is known dead."""
    many = [Leases(two.store, two.clock, by=f"p{number}") for number in range(6)]
    for dying in many[:4]:
        assert await dying.take("k") is not None
        two.pass_by(SECONDS + SKEW)

    assert await many[4].take("k") is None
    two.pass_by(SECONDS * 8 - SKEW - 1)
    assert await many[4].take("k") is None
    two.pass_by(1)
    last = await many[4].take("k")
    assert last is not None
    await last.give_back()

    # Who has done it ends the row.
    assert await many[5].take("k") is not None
    two.pass_by(SECONDS + SKEW)
    assert await many[0].take("k") is not None


async def test_a_renewal_whose_end_was_not_known_is_looked_after(two: Two) -> None:
    """It was made, the holder was told that nobody knows: it still holds the lease."""

    class Unknowing:
        def __init__(self, store: Store) -> None:
            self._store = store
            self.fails = False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def commit(self, batch: Batch) -> None:
            await self._store.commit(batch)
            if self.fails:
                raise Unavailable("It is not known whether this was stored.")

    store = Unknowing(two.store)
    lease = await taken(Leases(store, two.clock, by="one"))  # type: ignore[arg-type]
    two.pass_by(SECONDS // 2)
    store.fails = True
    with pytest.raises(Unavailable):
        await lease.renew()
    store.fails = False

    two.pass_by(SECONDS // 2)
    await lease.renew()

    assert not lease.is_lost
    until = hold_of(await two.store.get(BUCKET, "k")).until
    assert until == two.clock().timestamp() * 1_000_000 + SECONDS * 1_000_000


async def test_it_is_renewed_while_it_is_held(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its holder need not think of it: its end moves on by itself, and stops with the work."""
    monkeypatch.setattr(leases, "RENEWED", 0.01)

    async with await taken(two.one):
        for _ in range(3):
            two.pass_by(SECONDS // 2)
            wanted = two.clock().timestamp() * 1_000_000 + SECONDS * 1_000_000
            async with asyncio.timeout(20):
                while hold_of(await two.store.get(BUCKET, "k")).until != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
            assert await two.other.take("k") is None

    assert hold_of(await two.store.get(BUCKET, "k")).by == ""


async def test_who_waits_gets_it_when_it_is_given_back(two: Two) -> None:
    """`held` waits for the one before, and not for ever."""
    order: list[str] = []

    async def work(of: Leases, name: str) -> None:
        async with of.held("k", patience=60):
            order.append(f"{name} begins")
            await two.store.commit(Batch(puts=(WORK,)))
            order.append(f"{name} ends")

    await asyncio.gather(*(work(Leases(two.store, two.clock, by=name), name) for name in "abc"))

    assert all(
        (begins.split()[0], ends.split()[0]) == (begins[0], begins[0])
        for begins, ends in zip(order[::2], order[1::2], strict=True)
    )
    await taken(two.one)
    with pytest.raises(Unavailable, match=r"^Another process is at this work"):
        async with two.other.held("k"):
            pass


@pytest.fixture
def neighbour() -> Iterator[subprocess.Popen[str]]:
    """Another process of this machine, which says its name."""
    code = (
        "import sys; from fhir_server.store.leases import this_process; "
        "print(this_process(), flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


async def test_a_holder_of_this_machine_that_has_died_is_not_waited_for(
    two: Two, neighbour: subprocess.Popen[str]
) -> None:
    """A server that was killed and is started again goes on at once."""
    assert neighbour.stdout is not None
    name = (await asyncio.to_thread(neighbour.stdout.readline)).strip()
    if "/" not in name:  # elsewhere than on Linux nobody knows of it
        assert not leases.is_gone(name)
        return
    assert await Leases(two.store, two.clock, by=name).take("k") is not None
    assert await two.other.take("k") is None

    neighbour.kill()
    # It is dead before anybody has heard of its end (a zombie), and after.
    async with asyncio.timeout(20):
        while (lease := await two.other.take("k")) is None:  # noqa: ASYNC110 - the kernel's
            await asyncio.sleep(0.005)
    await lease.give_back()
    assert await Leases(two.store, two.clock, by=name).take("k") is not None
    await asyncio.to_thread(neighbour.wait)

    assert await two.other.take("k") is not None


async def test_a_process_of_another_machine_is_waited_for(two: Two) -> None:
    """Of a name that the kernel here does not know nothing is said."""
    here, _, rest = leases.this_process().partition("/")
    elsewhere = f"{here[::-1]}/{rest}"
    assert await Leases(two.store, two.clock, by=elsewhere).take("k") is not None

    assert not leases.is_gone(elsewhere)
    assert not leases.is_gone(leases.this_process())
    assert await two.other.take("k") is None
