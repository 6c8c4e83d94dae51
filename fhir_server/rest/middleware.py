"""The outermost layer, pure ASGI: request id, access log, security headers, metrics."""

from __future__ import annotations

import asyncio
import re
from itertools import count
from secrets import token_hex
from time import perf_counter
from typing import TYPE_CHECKING, Final

from fhir_server.rest.access_log import AccessLog
from fhir_server.rest.draining import Draining
from fhir_server.rest.health import PATHS

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fhir_server.rest.metrics import Metrics

_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9\-._]{1,64}").fullmatch
_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_LAST: Final = (b"connection", b"close")
_LEFT: Final = 499
"""What is counted and logged of a request that was not answered, for its client had left."""
_STOPPED: Final = (_LAST, (b"retry-after", b"1"), (b"content-length", b"0"))
_FAILED: Final = 500


class Outermost:
    """Gives every request an id, every answer its security headers, and the log one line."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        access_log: AccessLog | None = None,
        draining: Draining | None = None,
    ) -> None:
        self.app = app
        self.metrics = metrics
        self.draining = draining or Draining()
        self.access_log = access_log or AccessLog()
        # An id need be unique, not secret: one draw of chance a process, then a count.
        self._prefix = token_hex(5).encode()
        self._numbers = count(1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            self.access_log.flush()
            return
        await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        draining = self.draining
        if scope["path"] not in PATHS:
            draining.asked_at = started
        request_id = sent_id(scope) or b"%s-%x" % (self._prefix, next(self._numbers))
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        own = (b"x-request-id", request_id)
        status, has_begun = _FAILED, False

        async def send_on(message: Message) -> None:
            nonlocal status, has_begun
            if message["type"] == "http.response.start":
                status, has_begun = message["status"], True
                message["headers"] = _with(message.get("headers", ()), own)
                if draining.is_begun and _LAST not in message["headers"]:
                    message["headers"].append(_LAST)
            await send(message)

        self.metrics.in_flight += 1
        try:
            await self.app(scope, receive, send_on)
            if not has_begun:
                status = _LEFT
        except asyncio.CancelledError:
            # The server has waited for it at its stop as long as it could: whether something was
            # stored is not known here.
            if has_begun:
                raise
            await send_on({"type": "http.response.start", "status": 503, "headers": [*_STOPPED]})
            await send_on({"type": "http.response.body"})
        except Exception:
            self.metrics.failures += 1
            raise
        finally:
            seconds = perf_counter() - started
            self.metrics.in_flight -= 1
            self.metrics.observe(scope["method"], status, seconds)
            self.access_log.add(
                scope["method"], scope["path"], status, seconds, scope["state"]["request_id"]
            )


def sent_id(scope: Scope) -> bytes | None:
    """Return the request id that the client chose, if it is plain."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return bytes(value) if _REQUEST_ID(value) else None
    return None


def _with(
    headers: list[tuple[bytes, bytes]] | tuple[()], own: tuple[bytes, bytes]
) -> list[tuple[bytes, bytes]]:
    there = {name for name, _ in headers}
    return [*headers, *(one for one in _SECURITY if one[0] not in there), own]
