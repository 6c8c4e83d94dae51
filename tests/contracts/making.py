"""What the store contract writes and asks: small resources, and batches of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from fhir_server.model import codec
from fhir_server.model.primitives import format_instant, from_micros
from fhir_server.search.expression import Expression, Search
from fhir_server.search.extract import index_values
from fhir_server.search.query import parse
from fhir_server.store.port import Batch, Page, Store, Version, Write

BASE_URL = "http://127.0.0.1:8080/fhir"
START = 1_700_000_000_000_000
"""The first moment of the suite's clock, in microseconds."""

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def made(
    resource: dict[str, Any],
    version_id: int = 1,
    *,
    at: int = START,
    method: str = "PUT",
    tags: Iterable[str] = (),
) -> Write:
    """Return the write of a version of a resource."""
    meta = {
        **resource.get("meta", {}),
        "versionId": str(version_id),
        "lastUpdated": format_instant(from_micros(at)),
    }
    whole = {"resourceType": "", "id": "", **resource, "meta": meta}
    return Write(
        resource_type=resource["resourceType"],
        resource_id=resource["id"],
        version_id=version_id,
        last_updated=at,
        body=codec.dumps(whole),
        method=method,
        index=index_values(whole, base_url=BASE_URL),
        tags=frozenset(tags),
    )


def gone(resource_type: str, resource_id: str, version_id: int, *, at: int = START) -> Write:
    """Return the write of a deletion."""
    return Write(resource_type, resource_id, version_id, at, b"", "DELETE")


def patient(resource_id: str, **elements: Any) -> dict[str, Any]:
    """Return a Patient."""
    return {"resourceType": "Patient", "id": resource_id, **elements}


def observation(resource_id: str, subject: str, **elements: Any) -> dict[str, Any]:
    """Return an Observation of a Patient."""
    return {
        "resourceType": "Observation",
        "id": resource_id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
        "subject": {"reference": f"Patient/{subject}"},
        **elements,
    }


async def put(store: Store, *resources: dict[str, Any]) -> None:
    """Commit first versions of resources, each later than the one before."""
    for number, resource in enumerate(resources):
        await store.commit(Batch(writes=[made(resource, at=START + number * 1_000_000)]))


def asked(resource_type: str, query: str = "", *, count: int = 100, **more: Any) -> Search:
    """Return the search that a query string asks."""
    parsed = parse(
        resource_type,
        parse_qsl(query, keep_blank_values=True),
        base_url=BASE_URL,
        strict=True,
        now=NOW,
    )
    return Search(((resource_type, parsed.where),), sort=parsed.sort, count=count, **more)


def where(resource_type: str, query: str) -> Expression:
    """Return the expression that a query string asks."""
    return asked(resource_type, query).by_type[0][1]


def ids(found: Page | Sequence[Version]) -> list[str]:
    """Return the ids of what was found, in its order."""
    versions = found.versions if isinstance(found, Page) else found
    return [version.resource_id for version in versions]


async def walk(store: Store, search: Search) -> list[Page]:
    """Return all pages of a search."""
    pages = [await store.search(search)]
    while pages[-1].next:
        pages.append(await store.search(turned(search, pages[-1])))
    return pages


async def walk_back(store: Store, search: Search, page: Page) -> list[Page]:
    """Return the pages before one, the nearest first."""
    pages: list[Page] = []
    while page.previous:
        page = await store.search(replace(search, cursor=page.previous))
        pages.append(page)
    return pages


def turned(search: Search, page: Page) -> Search:
    """Return the search of the page after this one."""
    return replace(search, cursor=page.next)
