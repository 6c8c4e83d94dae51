"""Stopping: it is said first, and who sends requests has time to go elsewhere."""

from __future__ import annotations

import asyncio

import httpx2 as httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from fhir_server.rest.draining import IDLE, MOST, TOLD, Draining
from fhir_server.rest.health import health_app
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.middleware import Outermost


class Seconds:
    """A clock of seconds."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.at


@pytest.fixture
def seconds() -> Seconds:
    """A clock."""
    return Seconds()


@pytest.fixture
def draining(seconds: Seconds) -> Draining:
    """A server that has not been asked anything."""
    return Draining(seconds)


def watched(draining: Draining, seconds: Seconds, every: float = 1.0) -> None:
    """Have somebody look regularly."""
    for _ in range(3):
        draining.looked("balancer", ready=True)
        seconds.at += every


def test_nobody_asks_so_it_stops_at_once(draining: Draining) -> None:
    """Ctrl-C and the end of a demo do not wait for clients that are not there."""
    assert not draining.is_over
    draining.begin()

    assert draining.is_over


def test_one_look_at_the_start_is_nobody_who_looks_regularly(
    draining: Draining, seconds: Seconds
) -> None:
    """Whoever started the server has waited for it to be ready, once."""
    draining.looked("starter", ready=False)
    draining.looked("starter", ready=True)
    seconds.at += 1
    draining.begin()

    assert draining.is_over


def test_it_goes_on_until_no_request_has_come_for_a_while(
    draining: Draining, seconds: Seconds
) -> None:
    """Each request that comes is one more sign that somebody has not heard."""
    draining.asked_at = seconds.at
    draining.begin()
    for _ in range(3):
        assert not draining.is_over
        seconds.at += IDLE * 0.9
        draining.asked_at = seconds.at

    assert not draining.is_over
    seconds.at += IDLE
    assert draining.is_over


def test_it_does_not_go_on_for_ever(draining: Draining, seconds: Seconds) -> None:
    """A client that comes again and again does not keep it alive."""
    draining.begin()
    for _ in range(int(MOST / 0.1) - 1):
        draining.asked_at = seconds.at
        assert not draining.is_over
        seconds.at += 0.1

    seconds.at += 0.1
    draining.asked_at = seconds.at
    assert draining.is_over


def test_who_looks_regularly_is_told_first(draining: Draining, seconds: Seconds) -> None:
    """A balancer that sends nothing now might in a moment, so it must have heard."""
    watched(draining, seconds)
    draining.begin()

    for _ in range(TOLD):
        assert not draining.is_over
        draining.looked("balancer", ready=False)
    assert draining.is_over


def test_who_looks_too_seldom_is_waited_for_so_long_and_no_longer(
    draining: Draining, seconds: Seconds
) -> None:
    """It has an end, whether it was heard or not."""
    watched(draining, seconds, every=4.0)
    draining.begin()

    seconds.at += MOST - 0.1
    assert not draining.is_over
    seconds.at += 0.1
    assert draining.is_over


def test_who_has_stopped_looking_is_not_waited_for(draining: Draining, seconds: Seconds) -> None:
    """A balancer that is gone hears nothing any more."""
    watched(draining, seconds)
    seconds.at += 20
    draining.begin()

    assert draining.is_over


async def test_it_is_said_at_once_and_answers_go_on(draining: Draining) -> None:
    """/readyz is 503, /healthz 200, and every answer closes its connection."""

    async def ready() -> bool:  # noqa: RUF029 - as a store is asked
        return True

    app = Outermost(health_app(ready, Metrics().exposition, draining), Metrics(), draining=draining)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as http:
        before = await http.get("/readyz")
        draining.begin()
        after = [await http.get(path) for path in ("/readyz", "/healthz", "/other")]

    assert (before.status_code, "connection" in before.headers) == (200, False)
    assert [answer.status_code for answer in after] == [503, 200, 404]
    assert after[0].text == "not ready: the server is about to stop\n"
    assert [answer.headers["connection"] for answer in after] == ["close"] * 3
    assert draining.asked_at > 0


@pytest.mark.parametrize("has_begun", [False, True], ids=["before", "within"])
async def test_what_is_ended_at_a_stop_is_answered(*, has_begun: bool) -> None:
    """As when the database is away: 503 where the answer had not begun, no 500 of uvicorn's."""
    waiting = asyncio.Event()
    sent: list[Message] = []

    async def app(_scope: Scope, _receive: Receive, send: Send) -> None:
        if has_begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        waiting.set()
        await asyncio.Event().wait()

    async def receive() -> Message:  # noqa: RUF029 - ASGI's form
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:  # noqa: RUF029 - ASGI's form
        sent.append(message)

    metrics = Metrics()
    scope = {"type": "http", "method": "POST", "path": "/fhir/Patient", "headers": []}
    task = asyncio.create_task(Outermost(app, metrics)(scope, receive, send))
    await waiting.wait()
    task.cancel()
    await asyncio.wait((task,))

    assert task.cancelled() == has_begun
    assert sent[0]["status"] == (200 if has_begun else 503)
    assert metrics.in_flight == 0
    if not has_begun:
        headers = dict(sent[0]["headers"])
        assert (headers[b"retry-after"], headers[b"connection"]) == (b"1", b"close")
        assert sent[1]["type"] == "http.response.body"
        assert metrics.requests["POST", 503] == 1
