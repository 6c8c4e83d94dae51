"""Bundles: the ones that answers are, and the entries of the ones we are given.

https://hl7.org/fhir/R4/bundle.html

A `resource` may be a parsed resource or `msgspec.Raw` of stored bytes: `codec.dumps` writes both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

SearchMode = Literal["match", "include", "outcome"]


def make(
    type_: str,
    entries: Iterable[Mapping[str, Any]] = (),
    *,
    links: Iterable[tuple[str, str]] = (),
    total: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a Bundle; an empty list of entries or links is left out, as FHIR has no empty arrays.

    Args:
        type_: A code of https://hl7.org/fhir/R4/valueset-bundle-type.html.
        entries: Its entries, in their order.
        links: Pairs of relation and URL, `self` first.
        total: The number of all matches, where it is known.
        **fields: Other elements, such as `id`, `meta`, `timestamp`, `identifier`.
    """
    bundle: dict[str, Any] = {"resourceType": "Bundle"}
    bundle.update({name: value for name, value in fields.items() if value is not None})
    bundle["type"] = type_
    if total is not None:
        bundle["total"] = total
    link = [{"relation": relation, "url": url} for relation, url in links]
    if link:
        bundle["link"] = link
    entry = list(entries)
    if entry:
        bundle["entry"] = entry
    return bundle


def search_entry(full_url: str, resource: Any, mode: SearchMode = "match") -> dict[str, Any]:
    """Return an entry of a searchset."""
    return {"fullUrl": full_url, "resource": resource, "search": {"mode": mode}}


def outcome_entry(outcome: Any) -> dict[str, Any]:
    """Return an entry of a searchset that tells of the search itself: an OperationOutcome."""
    return {"resource": outcome, "search": {"mode": "outcome"}}


def searchset(
    entries: Iterable[Mapping[str, Any]],
    *,
    links: Iterable[tuple[str, str]],
    total: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a searchset Bundle."""
    return make("searchset", entries, links=links, total=total, **fields)


def history_entry(
    full_url: str, method: str, url: str, status: str, resource: Any = None, **response: str
) -> dict[str, Any]:
    """Return an entry of a history: the resource, unless it was deleted, and how it came.

    Args:
        full_url: The resource's absolute URL.
        method: POST, PUT, PATCH or DELETE.
        url: The URL of the request, relative to the base.
        status: Such as `201` or `200 OK`.
        resource: The version, or None for a deletion (bdl-8 allows an entry without).
        **response: Other elements of `response`: `etag`, `lastModified`, `location`.
    """
    entry: dict[str, Any] = {"fullUrl": full_url}
    if resource is not None:
        entry["resource"] = resource
    entry["request"] = {"method": method, "url": url}
    entry["response"] = {"status": status, **response}
    return entry


def history(
    entries: Iterable[Mapping[str, Any]],
    *,
    links: Iterable[tuple[str, str]],
    total: int | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """Return a history Bundle."""
    return make("history", entries, links=links, total=total, **fields)


def response_entry(
    status: str, *, resource: Any = None, outcome: Any = None, **response: str
) -> dict[str, Any]:
    """Return an entry of a transaction-response or batch-response.

    Args:
        status: Such as `201 Created`.
        resource: The resource, where the client asked for it or it was read.
        outcome: The OperationOutcome, where there is one.
        **response: Other elements of `response`: `location`, `etag`, `lastModified`.
    """
    entry: dict[str, Any] = {} if resource is None else {"resource": resource}
    entry["response"] = {"status": status, **response}
    if outcome is not None:
        entry["response"]["outcome"] = outcome
    return entry


def transaction_response(entries: Iterable[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
    """Return a transaction-response Bundle."""
    return make("transaction-response", entries, **fields)


def batch_response(entries: Iterable[Mapping[str, Any]], **fields: Any) -> dict[str, Any]:
    """Return a batch-response Bundle."""
    return make("batch-response", entries, **fields)


def entries(bundle: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Give the entries of a Bundle that are objects; anything else is validation's to refuse."""
    found = bundle.get("entry")
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, dict):
            yield entry


def resources(
    bundle: Mapping[str, Any], resource_type: str | None = None
) -> Iterator[dict[str, Any]]:
    """Give the resources in a Bundle's entries, of one type or of all."""
    for entry in entries(bundle):
        resource = entry.get("resource")
        if isinstance(resource, dict) and resource_type in {None, resource.get("resourceType")}:
            yield resource


def link(bundle: Mapping[str, Any], relation: str) -> str | None:
    """Return the URL of a Bundle's link, such as `next`."""
    for one in bundle.get("link") or ():
        if one.get("relation") == relation:
            return str(one.get("url"))
    return None
