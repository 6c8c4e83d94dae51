"""FhirResult to HTTP: status, ETag, Last-Modified, Location, media type, bytes."""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.answer import STORED, made
from fhir_server.model import codec
from fhir_server.model.outcome import operation_outcome
from fhir_server.rest.media import CONTENT_TYPES, Wanted

if TYPE_CHECKING:
    from starlette.types import Send

    from fhir_server.interactions.context import FhirRequest, FhirResult, Resource
    from fhir_server.store.port import Version

Header = tuple[bytes, bytes]

_READ: Final = (
    b"ETag", b"Location", b"Content-Location", b"Last-Modified", b"X-Request-Id",
    b"WWW-Authenticate", b"Accept-Patch", b"X-Progress", b"Retry-After", b"Expires",
    b"Preference-Applied",
)  # fmt: skip
# Any origin, no cookies: contract section 4. What is personal is kept by no cache on the way.
ALWAYS: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b", ".join(_READ)),
    (b"x-content-type-options", b"nosniff"),
    (b"vary", b"Accept, Accept-Encoding"),
)
_SENT: Final = (
    b"Authorization", b"Content-Type", b"Accept", b"Prefer", b"If-Match", b"If-None-Match",
    b"If-None-Exist", b"If-Modified-Since", b"X-Request-Id", b"X-Break-Glass",
    b"X-Security-Context",
)  # fmt: skip
PREFLIGHT: Final[tuple[Header, ...]] = (
    *ALWAYS,
    (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b", ".join(_SENT),
    ),
    (b"access-control-max-age", b"86400"),
)
_WORTH_GZIP: Final = 1024
_WRITES: Final = frozenset({"create", "update", "patch"})
_BODILESS: Final = frozenset({204, 304})


@dataclass(slots=True)
class Response:
    """A status, headers and ready bytes; `zipped` are the same under gzip, where they are kept."""

    status: int
    body: bytes = b""
    headers: list[Header] = field(default_factory=list)
    zipped: bytes | None = None

    async def send(self, send: Send, *, gzip_accepted: bool, is_head: bool) -> None:
        """Send it."""
        body, headers = self.body, [*ALWAYS, *self.headers]
        if gzip_accepted and len(body) >= _WORTH_GZIP:
            zipped = self.zipped
            if zipped is None:
                zipped = await made(len(body), partial(gzip.compress, body, 4, mtime=0))
            body = zipped
            headers.append((b"content-encoding", b"gzip"))
        if self.status not in _BODILESS:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if is_head else body})


def composed(
    status: int, resource: Resource, wanted: Wanted, headers: list[Header] | None = None
) -> Response:
    """Return the response of a resource that is no stored version."""
    body = written(codec.dumps(resource), wanted)
    kind = (b"content-type", CONTENT_TYPES[wanted.format])
    return Response(status, body, [kind, *(headers or [])])


def rendered(result: FhirResult, request: FhirRequest, wanted: Wanted, base_url: str) -> Response:
    """Return the response of what an interaction gave back."""
    headers: list[Header] = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in result.headers
    ]
    if result.location:
        headers.append((b"location", f"{base_url}/{result.location}".encode("ascii")))
    if result.hidden:
        return Response(result.status, b"", headers)
    if result.media:
        headers.append((b"content-type", result.media.encode("ascii")))
        return Response(result.status, result.body or b"", headers)
    if result.version is not None:
        headers += version_headers(result.version)
    if result.status in _BODILESS:
        return Response(result.status, b"", headers)
    body = _body(result, request)
    if body:
        headers.append((b"content-type", CONTENT_TYPES[wanted.format]))
        body = _commented(result, request, wanted) or written(body, wanted)
    return Response(result.status, body, headers)


def _commented(result: FhirResult, request: FhirRequest, wanted: Wanted) -> bytes | None:
    """Return XML with its comments, where the answer is one that may have any."""
    if result.xml is None or _is_only_told(request):
        return None
    answer, comments = result.xml
    return codec.to_xml(answer, pretty=wanted.pretty, comments=comments)


def version_headers(version: Version) -> list[Header]:
    """Return ETag and Last-Modified."""
    return [
        (b"etag", b'W/"%d"' % version.version_id),
        (b"last-modified", http_date(version.last_updated // 1_000_000)),
    ]


@lru_cache(maxsize=4096)
def http_date(seconds: int) -> bytes:
    """Return a time as HTTP writes it."""
    return formatdate(seconds, usegmt=True).encode("ascii")


def _body(result: FhirResult, request: FhirRequest) -> bytes:
    if _is_only_told(request):
        return b"" if request.prefer == "minimal" else codec.dumps(_outcome(result))
    if result.body is not None:
        return result.body
    if result.resource is not None:
        return codec.dumps(result.resource)
    return result.version.body if result.version is not None else b""


def _is_only_told(request: FhirRequest) -> bool:
    """Return whether of what was written nothing is to be shown."""
    return request.interaction in _WRITES and request.prefer in {"minimal", "OperationOutcome"}


def _outcome(result: FhirResult) -> dict[str, Any]:
    if result.issues:
        return operation_outcome(result.issues)
    return operation_outcome([STORED])


def written(body: bytes, wanted: Wanted) -> bytes:
    """Return JSON bytes in the format that is wanted."""
    if wanted.format == "xml":
        return codec.to_xml(codec.loads_stored(body), pretty=wanted.pretty)
    return codec.dumps(codec.loads_stored(body), pretty=True) if wanted.pretty else body
