"""Whether the server lives, is ready, and what it has done: /healthz, /readyz, /metrics."""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from fhir_server.rest.draining import Draining

PATHS: Final = ("/healthz", "/readyz", "/metrics")
STOPPING: Final = b"the server is about to stop"
NO_STORE: Final = b"the store takes no writes now; `fhir-server doctor` and the log say more"
"""Why a server is not ready: who asks need not be known, so no more is told here."""
_PROXIED: Final = frozenset({b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"via"})
_TEXT: Final = b"text/plain; charset=utf-8"
_PROMETHEUS: Final = b"text/plain; version=0.0.4; charset=utf-8"
_PROBLEM: Final = b"application/problem+json"


def health_app(
    ready: Callable[[], Awaitable[bool]], exposition: Callable[[], bytes], draining: Draining
) -> ASGIApp:
    """Return the ASGI app of these three paths.

    Args:
        ready: Whether the store can take a commit now.
        exposition: What /metrics tells.
        draining: Whether the server is about to stop; it is told who looks.
    """

    async def app(scope: Scope, _receive: Receive, send: Send) -> None:
        path = scope["path"]
        if scope["method"] not in {"GET", "HEAD"}:
            await _send(send, 405, _PROBLEM, b'{"title":"Method Not Allowed","status":405}')
        elif path == "/healthz":
            await _send(send, 200, _TEXT, b"ok\n")
        elif path == "/readyz":
            reason = STOPPING if draining.is_begun else b"" if await _is_ready(ready) else NO_STORE
            draining.looked((scope.get("client") or ("",))[0], ready=not reason)
            told = b"not ready: %b\n" % reason if reason else b"ready\n"
            await _send(send, 503 if reason else 200, _TEXT, told)
        elif path == "/metrics" and is_local(scope):
            await _send(send, 200, _PROMETHEUS, exposition())
        else:
            await _send(send, 404, _PROBLEM, b'{"title":"Not Found","status":404}')

    return app


async def _is_ready(ready: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await ready()
    except Exception:  # noqa: BLE001 - a store that fails is not ready, however it fails
        return False


def is_local(scope: Scope) -> bool:
    """Return whether a request comes from this machine itself, and through no proxy."""
    client = scope.get("client")
    try:
        is_loopback = client is not None and ip_address(client[0]).is_loopback
    except ValueError:
        return False
    return is_loopback and not any(name in _PROXIED for name, _ in scope["headers"])


async def _send(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [
        (b"content-type", kind),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    if status == 405:  # noqa: PLR2004 - Method Not Allowed
        headers.append((b"allow", b"GET, HEAD"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
