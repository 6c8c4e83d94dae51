"""Bundles that answers are: made of stored bytes, which are not parsed again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from fhir_server.model import bundle, codec
from fhir_server.model.outcome import Issue
from fhir_server.model.primitives import format_instant, from_micros

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fhir_server.search.paging import Around
    from fhir_server.store.port import Version

STORED: Final = Issue(
    "informational",
    "The resource is stored.",
    severity="information",
    text_vi="Tài nguyên đã được lưu.",
)
"""What `Prefer: return=OperationOutcome` is told where there is nothing else to say."""

_LARGE: Final = 100_000
"""Bytes of JSON that take about 10 ms to be gone through, in Python."""

_Made = TypeVar("_Made")

Parameters = tuple[tuple[str, str], ...]


def full_url(base_url: str, version: Version) -> str:
    """Return the absolute URL of a resource."""
    return f"{base_url}/{version.resource_type}/{version.resource_id}"


def etag(version_id: int) -> str:
    """Return the weak ETag of a version."""
    return f'W/"{version_id}"'


def match_entry(
    base_url: str, version: Version, mode: bundle.SearchMode, body: bytes | None = None
) -> dict[str, Any]:
    """Return a searchset's entry of stored bytes."""
    raw = msgspec.Raw(version.body if body is None else body)
    return bundle.search_entry(full_url(base_url, version), raw, mode)


def history_entry(base_url: str, version: Version, body: bytes | None = None) -> dict[str, Any]:
    """Return a history's entry: the version, or a part of it, and the request that made it."""
    kind, identity = version.resource_type, version.resource_id
    created = version.version_id == 1 and not version.deleted
    return bundle.history_entry(
        full_url(base_url, version),
        version.method,
        kind if version.method == "POST" else f"{kind}/{identity}",
        "204" if version.deleted else "201" if created else "200",
        None if version.deleted else msgspec.Raw(version.body if body is None else body),
        etag=etag(version.version_id),
        lastModified=format_instant(from_micros(version.last_updated)),
    )


def link_url(base_url: str, path: str, parameters: Iterable[tuple[str, str]]) -> str:
    """Return the URL of a search or history, its parameters percent-encoded."""
    query = urlencode(list(parameters), safe="/:,$@*", quote_via=quote)
    url = f"{base_url}/{path}" if path else base_url
    return f"{url}?{query}" if query else url


def links(
    base_url: str,
    path: str,
    parameters: Sequence[tuple[str, str]],
    around: Around,
    cursor: str | None = None,
) -> list[tuple[str, str]]:
    """Return the links of a page: itself, the first, and those before and after it.

    https://hl7.org/fhir/R4/http.html#paging; no `last`: it is optional, and would have to be found.

    Args:
        base_url: The FHIR base.
        path: Of the search or history, below it.
        parameters: What was asked.
        around: The cursors of the other pages.
        cursor: That of this page; None is the first.
    """

    def url(at: str | None) -> str:
        more = [] if at is None else [("_cursor", at)]
        return link_url(base_url, path, [*parameters, *more])

    found = [("self", url(cursor)), ("first", url(around.first))]
    others = (("previous", around.previous), ("next", around.next))
    return found + [(relation, url(at)) for relation, at in others if at is not None]


async def made(size: int, make: Callable[[], _Made]) -> _Made:
    """Return what is made of so many bytes; of many in a thread, so that others are answered."""
    return make() if size < _LARGE else await asyncio.to_thread(make)


def dumps(answer: dict[str, Any]) -> bytes:
    """Return the answer's JSON bytes."""
    return codec.dumps(answer)
