"""What the authorization server keeps, over any store's ledger."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.store.grants import PAGE, LedgerGrants
from fhir_server.store.memory import MemoryStore
from tests.auth.world import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(clock: Clock) -> LedgerGrants:
    return LedgerGrants(MemoryStore(), clock)


async def test_a_record_is_kept_until_its_time(ledger: LedgerGrants, clock: Clock) -> None:
    """And is as if absent afterwards."""
    now = int(clock().timestamp())
    assert await ledger.put("code", "k", b"v", until=now + 10)

    assert await ledger.get("code", "k") == b"v"
    clock.pass_by(10)
    assert await ledger.get("code", "k") is None


async def test_a_change_says_what_it_expects(ledger: LedgerGrants) -> None:
    """False where the record is another; nothing is changed then."""
    assert await ledger.put("code", "k", b"1", expected=None)
    assert not await ledger.put("code", "k", b"2", expected=None)
    assert not await ledger.put("code", "k", b"2", expected=b"0")
    assert await ledger.get("code", "k") == b"1"
    assert await ledger.put("code", "k", b"2", expected=b"1")
    assert await ledger.put("code", "k", None, expected=b"2")
    assert await ledger.get("code", "k") is None


async def test_one_of_many_at_once_succeeds(ledger: LedgerGrants) -> None:
    """The same expectation holds once."""
    done = await asyncio.gather(
        *(ledger.put("jti", "k", str(n).encode(), expected=None) for n in range(10))
    )

    assert sum(done) == 1


async def test_all_records_of_a_bucket_are_given(ledger: LedgerGrants) -> None:
    """More than a page too, by key, and none of another bucket."""
    for number in range(PAGE + 3):
        await ledger.put("client", f"{number:05}", str(number).encode())
    await ledger.put("code", "x", b"x")

    assert await ledger.scan("client") == [str(number).encode() for number in range(PAGE + 3)]


async def test_other_buckets_are_not_touched(ledger: LedgerGrants) -> None:
    """What is not access's is refused."""
    with pytest.raises(ValueError, match="dossier"):
        await ledger.put("dossier", "k", b"v")
    with pytest.raises(ValueError, match="dossier"):
        await ledger.get("dossier", "k")
    with pytest.raises(ValueError, match="dossier"):
        await ledger.scan("dossier")
