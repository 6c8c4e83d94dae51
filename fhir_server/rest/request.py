"""HTTP to FhirRequest: headers, `_format`, Prefer, preconditions, the body.

https://hl7.org/fhir/R4/http.html
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl, unquote_to_bytes

from fhir_server.interactions.context import FhirRequest, Resource
from fhir_server.interactions.entry import if_match_of, if_none_match_of
from fhir_server.model import codec
from fhir_server.model.outcome import (
    Invalid,
    InvalidValue,
    MissingRequired,
    UnsupportedMediaType,
)
from fhir_server.model.primitives import micros
from fhir_server.model.xml_order import misplaced
from fhir_server.rest.binary import is_sent_raw, of_raw
from fhir_server.rest.body import read_body
from fhir_server.rest.media import Wanted, accepted, by_parameter, require_form, require_utf8, sent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope

    from fhir_server.interactions.table import Place
    from fhir_server.model.comments import Comments

Query = tuple[tuple[str, str], ...]

SEARCHES: Final = frozenset({"search-type", "search-system"})
"""Interactions whose body is a form."""

_MOST_PARAMETERS: Final = 2000
_BOM: Final = b"\xef\xbb\xbf"
_WITH_BODY: Final = frozenset({"create", "update", "patch", "transaction", "operation"})
_RETURNS: Final[dict[str, Literal["minimal", "representation", "OperationOutcome"]]] = {
    "minimal": "minimal",
    "representation": "representation",
    "operationoutcome": "OperationOutcome",
}


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as it arrives, its body not yet read."""

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    query_string: bytes

    @classmethod
    def of(cls, scope: Scope, prefix: str) -> Arrival:
        """Return the arrival of an ASGI scope; the path is the one below the FHIR base."""
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(root):
            path = path[len(root) :]
        elif path.startswith(prefix):
            path = path[len(prefix) :]
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers[name] = headers[name] + b", " + value if name in headers else value
        return cls(scope["method"], path.strip("/"), headers, scope["query_string"])

    def header(self, name: bytes) -> str | None:
        """Return a header as text, or None where it is not sent."""
        value = self.headers.get(name)
        if value is None:
            return None
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.decode("latin-1")

    @property
    def url(self) -> str:
        """Path and query below the base."""
        query = self.query_string.decode("latin-1")
        return f"{self.path}?{query}" if query else self.path

    def bare(self, interaction: str, place: Place | None = None) -> FhirRequest:
        """Return what is known of the request before its headers and body are read."""
        if place is None:
            return FhirRequest(interaction, method=self.method, url=self.url)
        return FhirRequest(
            interaction,
            place.resource_type,
            place.resource_id,
            place.version_id,
            place.operation,
            compartment=place.compartment,
            method=self.method,
            url=self.url,
        )


def query_of(query_string: bytes) -> Query:
    """Return the parameters of a query or form, in order, repeats and blanks kept.

    Raises:
        InvalidValue: They are not percent-encoded UTF-8, or too many.
    """
    if not query_string:
        return ()
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=_MOST_PARAMETERS,
        )
    except ValueError:
        raise InvalidValue("The parameters must be percent-encoded UTF-8, and not so many.") from (
            None
        )
    return tuple(pairs)


def wanted(arrival: Arrival, query: Query) -> Wanted:
    """Return how the answer is to be written; `_format` wins over Accept.

    Raises:
        NotAcceptable: The client wants a format that is not ours.
        InvalidValue: `_pretty` is neither true nor false.
    """
    form, pretty = None, False
    for name, value in query:
        if name == "_format":
            form = by_parameter(value)
        elif name == "_pretty":
            if value not in {"true", "false"}:
                raise InvalidValue("The parameter _pretty must be true or false.")
            pretty = value == "true"
    if form is None:
        accept = arrival.headers.get(b"accept")
        form = accepted(accept.decode("latin-1")) if accept else "json"
    return Wanted(form, pretty)


def with_headers(arrival: Arrival, request: FhirRequest, query: Query) -> FhirRequest:
    """Return the request with what its query and headers say.

    Raises:
        InvalidValue: A header has a value that cannot be read.
    """
    if not query and not _TELLING & arrival.headers.keys():
        return request
    fields: dict[str, Any] = {"query": query}
    if (prefer := arrival.header(b"prefer")) is not None:
        fields |= preferred(prefer)
    if (if_match := arrival.header(b"if-match")) is not None:
        fields["if_match"] = if_match_of(if_match)
    if (none_match := arrival.header(b"if-none-match")) is not None:
        fields["if_none_match"] = if_none_match_of(none_match)
    if (since := arrival.header(b"if-modified-since")) is not None:
        fields["if_modified_since"] = _date(since)
    if (none_exist := arrival.header(b"if-none-exist")) is not None:
        if not none_exist.strip(" ?"):
            raise InvalidValue("The header If-None-Exist must be a search.")
        fields["if_none_exist"] = none_exist
    if (purpose := arrival.header(b"x-break-glass")) is not None:
        fields["purpose"] = break_glass(purpose)
    return replace(request, **fields)


_TELLING: Final = frozenset({
    b"prefer", b"if-match", b"if-none-match", b"if-modified-since", b"if-none-exist",
    b"x-break-glass",
})  # fmt: skip


def names_tag(if_none_match: str | None, tag: str) -> bool:
    """Return whether If-None-Match names an ETag, weak or not: RFC 9110, 13.1.2."""
    if if_none_match is None:
        return False
    named = {one.strip().removeprefix("W/") for one in if_none_match.split(",")}
    return not named.isdisjoint({"*", tag.removeprefix("W/")})


def break_glass(text: str) -> str:
    """Return the reason that X-Break-Glass gives: percent-encoded UTF-8, not empty.

    Raises:
        InvalidValue: It is none.
    """
    try:
        reason = unquote_to_bytes(text).decode().strip()
    except UnicodeDecodeError:
        reason = ""
    if not reason:
        raise InvalidValue("The header X-Break-Glass must be a reason, percent-encoded UTF-8.")
    return reason


def _date(text: str) -> int | None:
    # RFC 9110, 13.1.3: a recipient ignores the field where its value is no HTTP date.
    try:
        return micros(parsedate_to_datetime(text))
    except (ValueError, TypeError):
        return None


def preferred(text: str) -> dict[str, Any]:
    """Return the fields of a FhirRequest that a Prefer header says."""
    found: dict[str, Any] = {}
    for part in text.replace(";", ",").split(","):
        name, _, value = part.strip().partition("=")
        match name.strip().lower():
            case "return":
                known = _RETURNS.get(value.strip().strip('"').lower())
                if known is not None:
                    found.setdefault("prefer", known)
            case "handling" if value.strip().lower() in {"strict", "lenient"}:
                found.setdefault("handling", value.strip().lower())
            case "respond-async":
                found["asynchronous"] = True
            case _:
                pass
    return found


def has_body(arrival: Arrival, interaction: str) -> bool:
    """Return whether the interaction reads a body."""
    if arrival.method == "POST":
        return True
    return interaction in _WITH_BODY and arrival.method not in {"GET", "HEAD"}


async def with_body(
    arrival: Arrival, request: FhirRequest, receive: Receive, limit: int
) -> FhirRequest:
    """Return the request with its body read.

    Raises:
        TooLarge: The body is longer than the limit.
        UnsupportedMediaType: It is not of a media type that we read.
        Malformed: It is no resource.
        MissingRequired: There is none where there must be one.
    """
    data = await read_body(receive, arrival.headers, limit)
    content_type = arrival.header(b"content-type") or ""
    if request.interaction in SEARCHES:
        if not data:
            return request
        require_form(content_type)
        return replace(request, query=request.query + query_of(data.strip()))
    if data and is_sent_raw(request, content_type):
        resource = of_raw(request, data, content_type, arrival.headers)
        return replace(request, resource=resource, raw=data, content_type=content_type)
    if not data.strip():
        if request.interaction == "operation":
            return request
        raise MissingRequired("The request must have a body.")
    if "xml" in content_type.lower():
        require_utf8(data)
    if request.interaction == "patch":
        # What it says depends on its media type alone: interactions.patched reads it.
        return replace(request, raw=data, content_type=content_type)
    resource, comments = parsed(data, content_type)
    is_strict = request.handling == "strict" and sent(content_type) == "xml"
    # R4's XML has its elements in the order of its schemas; who asks for strictness is told.
    if is_strict and (out_of_order := misplaced(data)):
        raise Invalid(out_of_order)
    return replace(
        request, resource=resource, comments=comments, raw=data, content_type=content_type
    )


def parsed(data: bytes, content_type: str) -> tuple[Resource, Comments | None]:
    """Return the resource in a body, and the comments of XML.

    Raises:
        UnsupportedMediaType: It is not of a media type that we read.
        Malformed: It is no resource.
    """
    if not content_type:
        raise UnsupportedMediaType("The body's Content-Type must be said.")
    if sent(content_type) == "xml":
        return codec.from_commented_xml(data)
    # RFC 8259, 8.1: a parser may ignore a byte order mark.
    return codec.parse_resource(data.removeprefix(_BOM)), None
