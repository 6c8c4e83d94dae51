"""Search a type.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.interactions.answer import dumps, links, match_entry
from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_search import search_audit_events
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.include import Inclusion
from fhir_server.interactions.narrow import both, narrowed, require_type, where_shown
from fhir_server.interactions.subset import subset
from fhir_server.model import bundle
from fhir_server.model.outcome import UnsupportedParameter
from fhir_server.search.expression import NOTHING, Search
from fhir_server.search.query import Query, parse

if TYPE_CHECKING:
    from fhir_server.store.port import Page, Version


async def search_type(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one page of a type's resources that match and are shown to the caller.

    Raises:
        InvalidValue: A parameter's value cannot be parsed.
        UnsupportedParameter: A parameter is unknown and the client asked for strict handling.
    """
    kind = request.resource_type or ""
    query = query_of(ctx, request)
    require_type(ctx, "search-type", kind)
    if ctx.policy.masks and any(key.kind in {"token", "string"} for key in query.sort):
        # The order of masked codes would say what they are.
        raise UnsupportedParameter(
            "This client may sort by dates and ids alone.",
            text_vi="Ứng dụng này chỉ được sắp xếp theo ngày và id.",
        )
    if kind == AUDIT_EVENT:
        return await search_audit_events(ctx, query)
    shown = where_shown(ctx, "search-type", kind) or NOTHING
    where = both(narrowed(ctx, query.where, kind), shown)
    page = await ctx.store.search(
        Search(
            ((kind, where),),
            query.sort,
            query.count,
            query.total,
            query.cursor,
            asked=query.asked,
            base_url=ctx.base_url,
        )
    )
    growing = Inclusion(ctx, {(v.resource_type, v.resource_id) for v in page.versions})
    await growing.grow(page.versions, query.includes)
    body = dumps(_searchset(ctx, kind, query, page, growing.included))
    shown_versions = (*page.versions, *growing.included)
    patients = frozenset(patient for v in shown_versions for patient in v.patients)
    return FhirResult(body=body, patients=patients)


def query_of(ctx: Context, request: FhirRequest) -> Query:
    """Return the search that a request asks for."""
    return parse(
        request.resource_type or "",
        request.query,
        base_url=ctx.base_url,
        strict=request.handling == "strict",
        now=ctx.now(),
    )


def _searchset(
    ctx: Context, path: str, query: Query, page: Page, included: list[Version]
) -> dict[str, object]:
    entries = [
        match_entry(ctx.base_url, v, "match", subset(v, query.summary, query.elements))
        for v in page.versions
    ]
    entries += [
        match_entry(ctx.base_url, v, "include", subset(v, query.summary, ())) for v in included
    ]
    return bundle.searchset(
        entries, links=links(ctx.base_url, path, query.used, page.next), total=total_of(query, page)
    )


def total_of(query: Query, page: Page) -> int | None:
    """Return how many match, where it was asked for and is known."""
    return None if query.total == "none" else page.total
