"""Questions asked together: few round trips, and no answer that began before it was asked for."""

from __future__ import annotations

import asyncio

import pytest

from fhir_server.store.mongo import together as together_module
from fhir_server.store.mongo.together import MOST, PATIENCE, Together


class Source:
    """Counts how often it is asked; answers when it is let, with how it stood when asked."""

    def __init__(self, *, held: bool = False) -> None:
        self.asked: list[list[int]] = []
        self.state = 0
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        if not held:
            self.go_on.set()

    async def read(self, keys: list[int]) -> dict[int, tuple[int, int]]:
        """Return the state at this moment for each key."""
        self.asked.append(keys)
        found = {key: (key, self.state) for key in keys}
        await asyncio.sleep(0)
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return found


async def turns(count: int = 4) -> None:
    """Let others run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_one_who_asks_alone_is_asked_for_at_once() -> None:
    """And each time anew: nothing is kept."""
    source = Source()
    together = Together(source.read)

    assert await together.ask(1) == (1, 0)
    source.state = 5
    assert await together.ask(1) == (1, 5)
    assert source.asked == [[1], [1]]


async def test_who_come_at_once_are_one_question() -> None:
    """Each gets its own answer; the same key is asked once."""
    source = Source()
    together = Together(source.read)

    found = await asyncio.gather(*(together.ask(n % 7) for n in range(20)))

    assert found == [(n % 7, 0) for n in range(20)]
    assert source.asked == [list(range(7))]


async def test_who_comes_while_a_question_is_out_is_not_told_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was committed before it asked may be missing there."""
    monkeypatch.setattr(together_module, "PATIENCE", 60)  # however slow the machine is
    source = Source(held=True)
    together = Together(source.read)
    early = asyncio.create_task(together.ask(1))
    await turns()
    source.state = 9
    late = [asyncio.create_task(together.ask(key)) for key in (1, 2)]
    await turns()
    assert source.asked == [[1]]

    source.go_on.set()

    assert await early == (1, 0)
    assert await asyncio.gather(*late) == [(1, 9), (2, 9)]
    assert source.asked == [[1], [1, 2]]


async def test_a_slow_answer_does_not_hold_up_the_next() -> None:
    """After a little while they are asked though the first is still out."""
    source = Source(held=True)
    together = Together(source.read)
    first = asyncio.create_task(together.ask(1))
    await turns()
    second = asyncio.create_task(together.ask(2))
    await asyncio.sleep(PATIENCE * 4)
    assert source.asked == [[1], [2]]
    assert not first.done()

    source.go_on.set()
    assert await asyncio.gather(first, second) == [(1, 0), (2, 0)]


async def test_more_than_fit_are_several_questions() -> None:
    """Nobody is left waiting."""
    source = Source()
    together = Together(source.read)

    found = await asyncio.gather(*(together.ask(n) for n in range(2 * MOST + 1)))

    assert found == [(n, 0) for n in range(2 * MOST + 1)]
    assert [len(keys) for keys in source.asked] == [MOST, MOST, 1]


async def test_an_error_is_told_to_all_who_asked_and_to_no_one_after() -> None:
    """The next question is a new one."""
    source = Source()
    source.error = ValueError("away")
    together = Together(source.read)

    found = await asyncio.gather(*(together.ask(n) for n in range(3)), return_exceptions=True)
    assert [str(one) for one in found] == ["away"] * 3
    source.error = None

    assert await together.ask(1) == (1, 0)


async def test_who_is_cancelled_takes_nobody_along() -> None:
    """Others who asked for the same key are answered, and those who come later."""
    source = Source(held=True)
    together = Together(source.read)
    waiting = [asyncio.create_task(together.ask(1)) for _ in range(3)]
    await turns()
    waiting[0].cancel()
    source.go_on.set()

    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    assert await asyncio.gather(*waiting[1:]) == [(1, 0)] * 2
    assert await together.ask(1) == (1, 0)
