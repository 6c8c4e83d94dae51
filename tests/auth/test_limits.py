"""How often something may fail in a minute, at all processes together."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from auth.limits import BUCKET, Limit, Limits, address_of
from fhir_server.model.outcome import Throttled, Unavailable
from fhir_server.store.grants import LedgerGrants
from fhir_server.store.memory import MemoryStore
from tests.auth.world import Clock

FEW = Limit("few", 5)
MANY = Limit("many", 1_000)


class Processes:
    """Processes over one store."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore()
        self.one, self.other = (self.process() for _ in range(2))

    def process(self, store: Any = None) -> Limits:
        """Return the limits of a process."""
        return Limits(LedgerGrants(store or self.store, self.clock), self.clock)


@pytest.fixture
def processes() -> Processes:
    """Two of them."""
    return Processes()


def is_refused(limits: Limits, limit: Limit, *who: str) -> bool:
    """Return whether somebody is refused."""
    try:
        limits.check(limit, *who)
    except Throttled:
        return True
    return False


async def test_so_many_and_no_more_until_the_minute_is_over(processes: Processes) -> None:
    """The answer says when the next one begins."""
    processes.clock.pass_by(20)
    for _ in range(FEW.most):
        processes.one.check(FEW, "a")
        await processes.one.count(FEW, "a")

    with pytest.raises(Throttled) as refusal:
        processes.one.check(FEW, "a")
    assert refusal.value.headers == {"Retry-After": "40"}
    processes.clock.pass_by(39)
    assert is_refused(processes.one, FEW, "a")
    processes.clock.pass_by(1)
    assert not is_refused(processes.one, FEW, "a")


async def test_others_are_counted_for_themselves(processes: Processes) -> None:
    """Another limit, another who: none of them is refused for what somebody else does."""
    for _ in range(FEW.most):
        await processes.one.count(FEW, "a", "b")

    assert is_refused(processes.one, FEW, "a", "b")
    for who in (("a",), ("b", "a"), ("a", "c")):
        assert not is_refused(processes.one, FEW, *who)
    assert not is_refused(processes.one, Limit("other", FEW.most), "a", "b")


async def test_it_holds_for_all_processes_together(processes: Processes) -> None:
    """What one has counted the other learns as it counts."""
    for _ in range(FEW.most - 1):
        await processes.one.count(FEW, "a")
    assert not is_refused(processes.other, FEW, "a")

    await processes.other.count(FEW, "a")

    assert is_refused(processes.other, FEW, "a")
    await processes.one.count(FEW, "a")
    assert is_refused(processes.one, FEW, "a")


@pytest.mark.parametrize("limit", [FEW, MANY], ids=lambda limit: limit.name)
async def test_many_at_once_at_many_processes(processes: Processes, limit: Limit) -> None:
    """None is lost: of all that try, little more than the limit get through."""
    many = [processes.process() for _ in range(8)]
    through = 0

    async def guess(limits: Limits) -> None:
        nonlocal through
        while not is_refused(limits, limit, "a"):
            through += 1
            await limits.count(limit, "a")
            await asyncio.sleep(0)

    await asyncio.gather(*(guess(limits) for limits in many for _ in range(3)))

    assert limit.most <= through <= limit.most + len(many) * (limit.step + 3)


async def test_a_large_limit_is_written_seldom(processes: Processes) -> None:
    """A hundredth at a time, and what is not counted is not written at all."""
    before = await processes.store.edition()
    processes.one.check(MANY, "a")
    for _ in range(MANY.step - 1):
        await processes.one.count(MANY, "a")
    assert await processes.store.edition() == before

    await processes.one.count(MANY, "a")

    ((key, value),) = await processes.store.scan(BUCKET)
    assert value == b"10"
    assert key.startswith("many|")


async def test_what_is_kept_says_nothing_of_who_and_ends(processes: Processes) -> None:
    """A hash, and an end: the minute's."""
    await processes.one.count(FEW, "client-1", "192.0.2.7")

    ((key, _),) = await processes.store.scan(BUCKET)
    assert "192.0.2.7" not in key
    assert "client-1" not in key
    micros = int(processes.clock().timestamp() * 1_000_000)
    assert await processes.store.get(BUCKET, key, now=micros) == b"1"
    assert await processes.store.get(BUCKET, key, now=micros + 60_000_000) is None


async def test_a_store_that_is_away_does_not_stop_the_count(processes: Processes) -> None:
    """The brake holds in the process itself, and what it could not write it writes later."""

    class Away(MemoryStore):
        is_away = True

        async def commit(self, batch: Any) -> None:
            if self.is_away:
                raise Unavailable("The database does not answer.")
            await super().commit(batch)

    store = Away()
    limits = processes.process(store)
    for _ in range(FEW.most - 1):
        await limits.count(FEW, "a")
    assert not is_refused(limits, FEW, "a")
    store.is_away = False
    await limits.count(FEW, "a")

    assert is_refused(limits, FEW, "a")
    assert [value for _, value in await store.scan(BUCKET)] == [b"5"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "seen"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        # Whoever comes from outside may write what he likes into the header.
        ("8.8.4.7", "1.2.3.4", "8.8.4.7"),
        # A proxy of ours has appended what it saw, behind what the client has written.
        ("127.0.0.1", "1.2.3.4, 8.8.4.7", "8.8.4.7"),
        ("10.0.0.3", "8.8.4.7", "8.8.4.7"),
        ("127.0.0.1", None, "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("", None, ""),
        # Whoever comes by IPv4 to a socket of both kinds is not one with all the others.
        ("::ffff:8.8.4.7", None, "8.8.4.7"),
        ("::ffff:10.0.0.3", "8.8.4.7", "8.8.4.7"),
        ("::ffff:127.0.0.1", "::ffff:8.8.4.7", "8.8.4.7"),
        # Some proxies write the port, too.
        ("127.0.0.1", "1.2.3.4, 8.8.4.7:51334", "8.8.4.7"),
        ("127.0.0.1", "[2001:db8:1:2:3:4:5:6]:443", "2001:db8:1:2::"),
        # An owner of a network of IPv6 has 2**64 addresses.
        ("2001:db8:1:2:3:4:5:6", None, "2001:db8:1:2::"),
    ],
)
def test_where_a_request_comes_from(peer: str, forwarded: str | None, seen: str) -> None:
    """The other end of the connection, or what a proxy of ours says."""
    assert address_of(peer, forwarded) == seen
