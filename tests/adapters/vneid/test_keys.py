"""Key sets at URLs."""

from __future__ import annotations

import asyncio

import httpx2
import msgspec
import pytest

from adapters.vneid import keys
from adapters.vneid.keys import JwksCache
from auth.ports import ProviderUnreachable
from tests.auth.world import Clock


class Publisher:
    """Publishes one key, or nothing."""

    def __init__(self) -> None:
        self.kid = "1"
        self.asked = 0
        self.down = False

    def __call__(self, _request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if self.down:
            return httpx2.Response(503)
        return httpx2.Response(200, content=msgspec.json.encode({"keys": [{"kid": self.kid}]}))


def cache_of(publisher: Publisher, clock: Clock) -> JwksCache:
    return JwksCache(httpx2.AsyncClient(transport=httpx2.MockTransport(publisher)), clock)


async def test_many_at_once_ask_once() -> None:
    """Requests that wait for the same keys share one look."""
    publisher = Publisher()
    cache = cache_of(publisher, Clock())

    await asyncio.gather(*(cache.keys("https://x/", "1") for _ in range(10)))

    assert publisher.asked == 1


async def test_old_keys_serve_while_the_publisher_is_down() -> None:
    """What was read an hour ago is better than nobody being able to log in."""
    publisher, clock = Publisher(), Clock()
    cache = cache_of(publisher, clock)
    await cache.keys("https://x/", "1")
    publisher.down = True
    clock.pass_by(keys.LIFETIME + 1)

    assert (await cache.keys("https://x/", "1"))["keys"] == [{"kid": "1"}]
    assert publisher.asked == 2
    assert (await cache.keys("https://x/", "2"))["keys"] == [{"kid": "1"}]
    assert publisher.asked == 2


async def test_keys_that_were_never_read_are_unreachable() -> None:
    """And are not asked for again at once."""
    publisher, clock = Publisher(), Clock()
    publisher.down = True
    cache = cache_of(publisher, clock)
    for _ in range(3):
        with pytest.raises(ProviderUnreachable):
            await cache.keys("https://x/", "1")
    assert publisher.asked == 1

    publisher.down = False
    clock.pass_by(keys.COOLDOWN)
    assert await cache.keys("https://x/", "1")


async def test_no_more_sets_are_kept_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten."""
    monkeypatch.setattr(keys, "MAX_SETS", 2)
    publisher = Publisher()
    cache = cache_of(publisher, Clock())
    for number in range(3):
        await cache.keys(f"https://x/{number}", "1")
    await cache.keys("https://x/0", "1")

    assert publisher.asked == 4


async def test_whose_url_is_slow_keeps_nobody_else_waiting() -> None:
    """Each URL has its own turn."""
    go_on = asyncio.Event()

    async def publish(request: httpx2.Request) -> httpx2.Response:
        if request.url.host == "slow":
            await go_on.wait()
        return httpx2.Response(200, json={"keys": [{"kid": "1"}]})

    cache = JwksCache(httpx2.AsyncClient(transport=httpx2.MockTransport(publish)), Clock())
    slow = asyncio.create_task(cache.keys("https://slow/", "1"))
    await asyncio.sleep(0)

    async with asyncio.timeout(5):
        assert (await cache.keys("https://quick/", "1"))["keys"] == [{"kid": "1"}]
    assert not slow.done()
    go_on.set()
    assert (await slow)["keys"] == [{"kid": "1"}]
