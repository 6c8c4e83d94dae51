"""Turns: who would change the same waits, and nobody else does."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.operations.turns import Turns


async def test_those_who_share_a_key_come_one_after_the_other() -> None:
    """Whoever holds a key is alone with it, in whatever order the keys are named."""
    turns = Turns()
    inside: dict[str, int] = dict.fromkeys("abc", 0)

    async def work(keys: str) -> None:
        async with turns.of(keys):
            for key in keys:
                inside[key] += 1
            await asyncio.sleep(0.001)
            assert all(inside[key] == 1 for key in keys)
            for key in keys:
                inside[key] -= 1

    asked = ("ab", "ba", "bc", "cb", "ca", "a")
    await asyncio.wait_for(asyncio.gather(*(work(keys) for keys in asked * 5)), 5)

    assert len(turns) == 0


async def test_those_who_share_none_do_not_wait() -> None:
    """Different keys are held at once."""
    turns = Turns()
    together = asyncio.Barrier(2)

    async def work(key: str) -> None:
        async with turns.of((key,)):
            await asyncio.wait_for(together.wait(), 5)

    await asyncio.gather(work("a"), work("b"))


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """A failure or a cancelled wait lets the next one in, and no lock is kept for ever."""
    turns = Turns()
    with pytest.raises(ValueError, match="x"):
        async with turns.of("a"):
            raise ValueError("x")
    async with turns.of("a"):
        waiting = asyncio.ensure_future(turns.of("ab").__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    assert len(turns) == 0
    async with turns.of("ab"):
        assert len(turns) == 2
