"""The outermost layer and the health paths."""

from __future__ import annotations

from contextlib import suppress

import httpx2 as httpx
import pytest
import structlog
from starlette.types import Receive, Scope, Send

from fhir_server.model import codec
from fhir_server.rest.access_log import AccessLog, logged
from fhir_server.rest.draining import Draining
from fhir_server.rest.health import health_app
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.middleware import Outermost


async def hello(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer the request id that the app was given."""
    body = scope["state"]["request_id"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def fail(_scope: Scope, _receive: Receive, _send: Send) -> None:  # noqa: RUF029 - an ASGI app
    """Fail before answering."""
    raise RuntimeError


@pytest.mark.parametrize(
    ("sent", "kept"), [("abc-1", True), ("", False), ("x" * 65, False), ("a b", False)]
)
async def test_each_answer_has_a_request_id(sent: str, kept: bool) -> None:  # noqa: FBT001 - a case
    """The client's X-Request-Id is kept if it is plain, else a new one is made."""
    app = Outermost(hello, Metrics())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
        response = await client.get("/", headers={"X-Request-Id": sent})

    answered = response.headers["X-Request-Id"]
    assert (answered == sent) == kept
    assert response.text == answered
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_the_access_log_has_no_query_and_no_person() -> None:
    """One line a request: method, path without numbers of people, status, time, id."""
    app = Outermost(hello, Metrics())
    with structlog.testing.capture_logs() as lines:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x"
        ) as client:
            await client.get("/fhir/Patient/001195012345?name=M%E1%BA%ABu")

    (line,) = [one for one in lines if one["event"] == "request"]
    assert line["path"] == "/fhir/Patient/#"
    assert line["status"] == 200
    assert "001195012345" not in str(line)
    assert "name" not in str(line)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/fhir/Patient/a-1", "/fhir/Patient/a-1"),
        ("/fhir/Patient/DN4010123456789", "/fhir/Patient/#"),
        ("/fhir/Nguyễn", "-"),
        ("/fhir/x y", "-"),
    ],
)
def test_a_path_is_logged_without_persons(path: str, expected: str) -> None:
    """Numbers and strange characters do not reach the log."""
    assert logged(path) == expected


async def test_requests_are_counted() -> None:
    """Answers and failures are counted by method and status."""
    metrics = Metrics()
    for app in (hello, fail):
        transport = httpx.ASGITransport(Outermost(app, metrics), raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            await client.get("/")

    text = metrics.exposition().decode()
    assert 'http_requests_total{method="GET",status="200"} 1' in text
    assert "http_failures_total 1" in text
    assert "http_requests_in_flight 0" in text
    assert "http_request_duration_seconds_count 2" in text


async def test_a_client_that_left_is_no_failure_of_ours() -> None:
    """It got no answer, and is counted and logged as one that left, not as a 500."""

    async def leave(_scope: Scope, _receive: Receive, _send: Send) -> None:
        """Answer nothing: nobody is there."""

    metrics = Metrics()
    transport = httpx.ASGITransport(Outermost(leave, metrics), raise_app_exceptions=False)
    with structlog.testing.capture_logs() as lines, suppress(AssertionError):
        async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
            await client.get("/")

    assert [one["status"] for one in lines if one["event"] == "request"] == [499]
    assert 'http_requests_total{method="GET",status="499"} 1' in metrics.exposition().decode()
    assert "http_failures_total 0" in metrics.exposition().decode()


def probe(
    *, is_ready: bool = True, client: tuple[str, int] = ("127.0.0.1", 1)
) -> httpx.AsyncClient:
    """Return a client of the health paths."""

    async def ready() -> bool:  # noqa: RUF029 - a port
        if not is_ready:
            raise OSError
        return True

    transport = httpx.ASGITransport(
        health_app(ready, Metrics().exposition, Draining()), client=client
    )
    return httpx.AsyncClient(transport=transport, base_url="http://x")


async def test_liveness_and_readiness() -> None:
    """/healthz is 200 while the process lives, /readyz only while the store takes commits.

    It says why not.
    """
    async with probe() as good, probe(is_ready=False) as bad:
        assert (await good.get("/healthz")).status_code == 200
        assert (await bad.get("/healthz")).status_code == 200
        assert (await good.get("/readyz")).status_code == 200
        refused = await bad.get("/readyz")
        assert refused.status_code == 503
        assert refused.text.startswith("not ready: the store takes no writes now")
        assert (await good.post("/healthz")).status_code == 405


@pytest.mark.parametrize("header", ["Forwarded", "X-Forwarded-For"])
async def test_metrics_answer_this_machine_alone(header: str) -> None:
    """/metrics answers loopback, and no request that came through a proxy."""
    async with probe() as local, probe(client=("192.0.2.1", 1)) as remote:
        assert (await local.get("/metrics")).status_code == 200
        assert (await remote.get("/metrics")).status_code == 404
        assert (await local.get("/metrics", headers={header: "for=1"})).status_code == 404


async def test_json_lines_are_written_together() -> None:  # noqa: RUF029 - it needs a loop
    """Where the log is JSON the lines wait for one another, and each is a JSON object."""
    written: list[str] = []
    access_log = AccessLog(written.append)
    before = structlog.get_config()
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    try:
        for _ in range(3):
            access_log.add('BREW "', '/fhir/Patient/a"b', 200, 0.0123, "abc-1")
        assert written == []
        access_log.flush()
    finally:
        structlog.configure(**before)

    (text,) = written
    lines = [codec.loads(line.encode()) for line in text.splitlines()]
    assert len(lines) == 3
    assert lines[0]["method"] == "other"
    assert lines[0]["path"] == "-"
    assert str(lines[0]["ms"]) == "12.3"
