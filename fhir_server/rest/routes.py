"""FHIR's REST interface: one ASGI app over the tables of interactions and operations.

https://hl7.org/fhir/R4/http.html

No framework stands between the socket and an interaction: a read's bytes go out as stored.
"""

from __future__ import annotations

import gzip
import logging
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from auth.policy import ASYNCHRONOUS
from fhir_server.interactions.answer import made
from fhir_server.interactions.capabilities import part_of_statement, stated
from fhir_server.interactions.context import STANDARD
from fhir_server.interactions.narrow import require_granted
from fhir_server.interactions.operation import operation_of
from fhir_server.interactions.perform import is_left, perform, refused
from fhir_server.interactions.subset import Part
from fhir_server.interactions.table import Place, locate, require_id_form
from fhir_server.model.outcome import (
    FhirError,
    InvalidValue,
    NotAcceptable,
    UnknownResource,
    UnsupportedMethod,
)
from fhir_server.model.patch.document import ACCEPT_PATCH
from fhir_server.rest.authenticate import authenticated
from fhir_server.rest.binary import is_read_raw, raw
from fhir_server.rest.body import ClientGone
from fhir_server.rest.errors import failure, refusal
from fhir_server.rest.leaving import given_up_if_left
from fhir_server.rest.media import CONTENT_TYPES, Wanted, takes_gzip
from fhir_server.rest.request import (
    SEARCHES,
    Arrival,
    has_body,
    names_tag,
    preferred,
    query_of,
    wanted,
    with_body,
    with_headers,
)
from fhir_server.rest.response import PREFLIGHT, Response, rendered, written
from fhir_server.search.parameters import R4, Known
from fhir_server.store.soon import soon
from fhir_server.store.work import GivenUp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from fhir_server.interactions.context import (
        Context,
        ContextOf,
        FhirRequest,
        Operation,
        Registry,
    )
    from fhir_server.store.port import Name

log = logging.getLogger(__name__)

PREFIX: Final = "/fhir"
_METADATA: Final = "metadata"
_SOON_DONE: Final = frozenset({"read", "vread"})
_PLAIN: Final = Wanted()
_LARGE: Final = 1_000_000
"""Bytes that the statement has about."""
_MOST_KEPT: Final = 32
"""So many forms and parts of it are kept; anybody may ask for any."""
_TAG: Final = 16
"""Digits of the statement's digest that its ETag has."""


def fhir_app(
    context_of: ContextOf,
    *,
    base_url: str,
    operations: tuple[Operation, ...] = (),
    max_body: int = 52_428_800,
    public: Mapping[str, ASGIApp] | None = None,
    registry: Registry = STANDARD,
) -> ASGIApp:
    """Return the ASGI app of the FHIR base.

    Args:
        context_of: Makes a Context of a request's credentials.
        base_url: The FHIR base, without a slash at its end.
        operations: The rows of `operations.table`.
        max_body: The longest body in bytes, decoded.
        public: Apps for paths below the base that need no token, such as
            `.well-known/smart-configuration`.
        registry: What knows the store's search parameters.
    """
    return FhirApp(context_of, base_url, operations, max_body, public or {}, registry)


@dataclass(slots=True)
class _Asked:
    """A request on its way: how it is answered, and what was refused before it was clear who asks.

    Attributes:
        problem: A refusal that must wait until the caller is known.
    """

    arrival: Arrival
    query: tuple[tuple[str, str], ...] = ()
    wanted: Wanted = _PLAIN
    problem: FhirError | None = None


@dataclass(slots=True)
class FhirApp:
    """The ASGI app: routing by the table, formats, refusals; `perform` does the rest."""

    context_of: ContextOf
    base_url: str
    operations: tuple[Operation, ...]
    max_body: int
    public: Mapping[str, ASGIApp]
    registry: Registry
    stated: Known = R4
    statements: dict[tuple[Wanted, Part], tuple[bytes, bytes, bytes]] = field(default_factory=dict)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        arrival = Arrival.of(scope, PREFIX)
        open_app = self.public.get(arrival.path)
        if open_app is not None:
            await open_app(scope, receive, send)
            return
        asked = _read(arrival)
        try:
            response = await self._answer(asked, scope, receive)
        except FhirError as error:
            response = refusal(error, asked.wanted)
        except (ClientGone, GivenUp):
            return
        except Exception:
            log.exception("request.failed", extra={"request_id": _request_id(scope)})
            response = failure(asked.wanted)
        await response.send(
            send,
            gzip_accepted=takes_gzip(arrival.headers.get(b"accept-encoding", b"")),
            is_head=arrival.method == "HEAD",
        )

    async def _answer(self, asked: _Asked, scope: Scope, receive: Receive) -> Response:
        arrival = asked.arrival
        if arrival.method == "OPTIONS":
            return _options(arrival)
        if arrival.path == _METADATA and arrival.method in {"GET", "HEAD"}:
            return await self._metadata(asked)
        with soon(_read_by(arrival)):
            return await self._performed(asked, scope, receive)

    async def _performed(self, asked: _Asked, scope: Scope, receive: Receive) -> Response:
        arrival = asked.arrival
        ctx = await authenticated(self.context_of, arrival, scope, _request_id(scope))
        request = await self._request(ctx, asked, receive)
        if request.interaction not in _SOON_DONE and is_left(ctx, request):
            with given_up_if_left(receive):
                result = await perform(ctx, request)
        else:
            result = await perform(ctx, request)
        if is_read_raw(request, asked.query, arrival.header(b"accept") or ""):
            return raw(result)
        is_kept = asked.wanted.format == "json" and not asked.wanted.pretty
        return await made(
            0 if is_kept else len(result.body or b""),
            lambda: rendered(result, request, asked.wanted, self.base_url),
        )

    async def _request(self, ctx: Context, asked: _Asked, receive: Receive) -> FhirRequest:
        """Return the request, whole; a refusal on the way leaves its AuditEvent."""
        arrival = asked.arrival
        place = locate(arrival.path)
        bare = arrival.bare(_interaction(arrival, place) or arrival.method.lower(), place)
        try:
            _require_place(arrival, place)
            if asked.problem is not None and not _has_its_own_type(asked, bare):
                raise asked.problem
            request = with_headers(arrival, bare, asked.query)
            if has_body(arrival, request.interaction):
                if request.interaction == "operation":
                    operation_of(ctx, request)
                require_granted(ctx, request)
                request = await with_body(arrival, request, receive, self.max_body)
                if request.interaction in SEARCHES:
                    # `_format` may stand in the form of a _search, as any parameter may.
                    asked.wanted = wanted(arrival, request.query)
        except FhirError as error:
            await refused(ctx, bare, error)
            raise
        return replace(request, as_xml=True) if asked.wanted.format == "xml" else request

    async def _metadata(self, asked: _Asked) -> Response:
        if asked.problem is not None:
            raise asked.problem
        prefer = preferred(asked.arrival.header(b"prefer") or "")
        part = part_of_statement(asked.query, strict=prefer.get("handling") == "strict")
        known = await self.registry.refreshed()
        if known is not self.stated:
            self.stated, self.statements = known, {}
        kept = self.statements
        ready = kept.get((asked.wanted, part))
        if ready is None:
            ready = await made(_LARGE, lambda: self._stated(known, asked.wanted, part))
            if len(kept) < _MOST_KEPT:
                kept[asked.wanted, part] = ready
        body, zipped, tag = ready
        # R4 wants an ETag here that changes if the statement does.
        if names_tag(asked.arrival.header(b"if-none-match"), tag.decode()):
            return Response(304, b"", [(b"etag", tag)])
        kind = (b"content-type", CONTENT_TYPES[asked.wanted.format])
        return Response(200, body, [kind, (b"etag", tag)], zipped)

    def _stated(self, known: Known, wanted: Wanted, part: Part) -> tuple[bytes, bytes, bytes]:
        """Return the statement, the same zipped, and its ETag."""
        body = written(stated(self.base_url, self.operations, known, part), wanted)
        tag = b'W/"%b"' % sha256(body).hexdigest()[:_TAG].encode()
        return body, gzip.compress(body, mtime=0), tag


def _read(arrival: Arrival) -> _Asked:
    asked = _Asked(arrival)
    try:
        asked.query = query_of(arrival.query_string)
        asked.wanted = wanted(arrival, asked.query)
    except (InvalidValue, NotAcceptable) as error:
        asked.problem = error
    return asked


def _read_by(arrival: Arrival) -> Name | None:
    """Return the resource that a request reads, if it reads one."""
    if arrival.method != "GET":
        return None
    place = locate(arrival.path)
    if place is None or _interaction(arrival, place) != "read":
        return None
    return place.resource_type or "", place.resource_id or ""


def _interaction(arrival: Arrival, place: Place | None) -> str | None:
    if place is None:
        return None
    return place.methods.get("GET" if arrival.method == "HEAD" else arrival.method)


def _has_its_own_type(asked: _Asked, request: FhirRequest) -> bool:
    """Return whether what is asked for has a type of its own, so that Accept chooses nothing."""
    if not isinstance(asked.problem, NotAcceptable):
        return False
    accept = asked.arrival.header(b"accept") or ""
    return request.interaction in ASYNCHRONOUS or is_read_raw(request, asked.query, accept)


def _require_place(arrival: Arrival, place: Place | None) -> None:
    if place is None:
        if arrival.method == "PUT":
            require_id_form(arrival.path)
        raise nothing_here()
    if _interaction(arrival, place) is None:
        raise UnsupportedMethod(
            f"This path does not know {arrival.method}.",
            text_vi=f"Đường dẫn này không nhận phương thức {arrival.method}.",
            headers={"Allow": place.allow},
        )


def nothing_here() -> UnknownResource:
    """Return the refusal of a path that names nothing."""
    return UnknownResource("There is nothing at this path.", text_vi="Không có gì ở đường dẫn này.")


def _options(arrival: Arrival) -> Response:
    place = locate(arrival.path)
    # A browser's question comes before the request itself, which then says that nothing is here.
    if place is None and b"access-control-request-method" not in arrival.headers:
        raise nothing_here()
    always = {name for name, _ in PREFLIGHT[:5]}
    headers = [header for header in PREFLIGHT if header[0] not in always]
    if place is not None:
        headers.append((b"allow", place.allow.encode()))
        if "PATCH" in place.methods:
            headers.append((b"accept-patch", ACCEPT_PATCH.encode()))
    return Response(204, b"", headers)


def _request_id(scope: Scope) -> str:
    state = scope.get("state")
    return state.get("request_id", "") if state else ""
