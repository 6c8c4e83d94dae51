"""Search a type, several, or the whole system; everywhere or within a compartment.

https://hl7.org/fhir/R4/http.html#search
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fhir_server.interactions.answer import dumps, links, match_entry
from fhir_server.interactions.audit import AUDIT_EVENT, PATIENT
from fhir_server.interactions.audit_search import Asked, search_audit_events
from fhir_server.interactions.compartments import may_hold, within
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.explain import EXPLAIN, explaining, explanation
from fhir_server.interactions.include import Inclusion
from fhir_server.interactions.masked_search import is_sortable
from fhir_server.interactions.narrow import both, narrowed, require_type, where_shown
from fhir_server.interactions.resolving import Resolving, resolved
from fhir_server.interactions.subset import Part
from fhir_server.model import bundle
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import UnsupportedParameter
from fhir_server.search.expression import EVERYTHING, NOTHING, RefersTo, Search
from fhir_server.search.query import Query, parse
from fhir_server.search.several import parse_types
from fhir_server.search.wording import has_words
from fhir_server.store.work import breathe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Page, Version


async def search_type(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one page of a type's resources that match and are shown to the caller.

    Raises:
        InvalidValue: A parameter's value cannot be parsed.
        UnsupportedParameter: A parameter is unknown and the client asked for strict handling.
    """
    kind = request.resource_type or ""
    if kind == AUDIT_EVENT:
        return await _audit_events(ctx, request)
    request, explain = explaining(ctx, request)
    query = query_of(ctx, request)
    require_type(ctx, "search-type", kind)
    return await _page(ctx, request, query, [(kind, query.where)], explain=explain)


async def search_system(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one page of all types, or those of `_type`, that match and are shown to the caller.

    https://hl7.org/fhir/R4/http.html#vsearch. Without `_type` types that the caller is never
    shown are left out, and the server's own AuditEvents, which are searched alone.

    Raises:
        Forbidden: The caller is never shown a type that is named.
        InvalidValue: A parameter's value cannot be parsed.
        UnsupportedParameter: A parameter is unknown and the client asked for strict handling.
    """
    asked = request
    request, explain = explaining(ctx, request)
    query, by_type = parse_types(
        request.query,
        base_url=ctx.base_url,
        strict=request.handling == "strict",
        now=ctx.now(),
        among=_searched(ctx, request),
        known=ctx.searched,
    )
    if query.types == (AUDIT_EVENT,):
        pairs = tuple(pair for pair in asked.query if pair[0] != "_type")
        return await _audit_events(ctx, replace(request, query=pairs))
    for kind in query.types:
        require_type(ctx, "search-system", kind)
    if AUDIT_EVENT in query.types:
        return await _with_audit_events(ctx, request, query, by_type)
    return await _page(ctx, request, query, by_type, explain=explain)


def check_search(ctx: Context, request: FhirRequest) -> None:
    """Refuse what a search would refuse of its parameters, before it is begun.

    Raises:
        Forbidden: The caller is never shown a type that is named.
        InvalidValue: A parameter's value cannot be parsed.
        UnsupportedParameter: A parameter is unknown and the client asked for strict handling.
    """
    if request.resource_type != AUDIT_EVENT:
        request, _ = explaining(ctx, request)
    if request.resource_type is not None:
        query_of(ctx, request)
        return
    query, _ = parse_types(
        request.query,
        base_url=ctx.base_url,
        strict=request.handling == "strict",
        now=ctx.now(),
        among=_searched(ctx, request),
        known=ctx.searched,
    )
    for kind in query.types:
        require_type(ctx, "search-system", kind)


def _searched(ctx: Context, request: FhirRequest) -> list[str]:
    """Return the types of a search that names none."""
    kinds: Iterable[str] = sorted(RESOURCE_TYPES - {AUDIT_EVENT})
    if request.compartment is not None:
        kinds = may_hold(request.compartment[0], kinds)
    return [kind for kind in kinds if ctx.policy.narrow("search-system", kind) is not None]


async def _audit_events(ctx: Context, request: FhirRequest) -> FhirResult:
    inside: Expression = EVERYTHING
    path = AUDIT_EVENT
    if request.compartment is not None:
        kind, identity = request.compartment
        path = f"{kind}/{identity}/{AUDIT_EVENT}"
        inside = _within(ctx, request.compartment, AUDIT_EVENT)
        if kind == PATIENT:
            inside = RefersTo("patient", kind, identity)
    query = query_of(ctx, replace(request, resource_type=AUDIT_EVENT))
    require_type(ctx, "search-type", AUDIT_EVENT)
    _require_sort(ctx, query, (AUDIT_EVENT,))
    where = both(inside, await resolved(ctx, query.where, AUDIT_EVENT))
    return await search_audit_events(ctx, Asked(path, query, ((AUDIT_EVENT, where),)))


async def _with_audit_events(
    ctx: Context, request: FhirRequest, query: Query, asked: Sequence[tuple[str, Expression]]
) -> FhirResult:
    """Return one page of several types, AuditEvent among them.

    Nobody to whom something is masked is granted AuditEvents.
    """
    resolving = Resolving(ctx)
    by_type = []
    for kind, where in asked:
        narrow = await resolving.of(where, kind)
        if request.compartment is not None:
            narrow = both(_within(ctx, request.compartment, kind), narrow)
        by_type.append((kind, narrow))
    return await search_audit_events(ctx, Asked(_path(request), query, tuple(by_type)))


def _require_sort(ctx: Context, query: Query, kinds: Iterable[str]) -> None:
    masks = ctx.policy.masks
    if masks and not all(is_sortable(masks, kind, key) for kind in kinds for key in query.sort):
        # The order of masked codes would say what they are.
        raise UnsupportedParameter(
            "This client may sort by ids, and by dates that it is always shown, alone.",
            text_vi="Ứng dụng này chỉ được sắp xếp theo id và theo ngày mà nó luôn được xem.",
        )


def _require_no_words(ctx: Context, asked: Sequence[tuple[str, Expression]]) -> None:
    if ctx.policy.masks and any(has_words(where) for _, where in asked):
        # A word that is found would say what is masked.
        raise UnsupportedParameter(
            "This client may not search by the words of texts (_text, _content).",
            text_vi="Ứng dụng này không được tìm theo từ trong văn bản (_text, _content).",
        )


async def _page(
    ctx: Context,
    request: FhirRequest,
    query: Query,
    asked: Sequence[tuple[str, Expression]],
    *,
    explain: bool = False,
) -> FhirResult:
    """Return one page of what is asked of each type, as far as it is shown to the caller."""
    _require_sort(ctx, query, (kind for kind, _ in asked))
    _require_no_words(ctx, asked)
    by_type: list[tuple[str, Expression]] = []
    resolving = Resolving(ctx)
    for kind, where in asked:
        shown = where_shown(ctx, request.interaction, kind) or NOTHING
        narrow = both(narrowed(ctx, await resolving.of(where, kind), kind), shown)
        if request.compartment is not None:
            narrow = both(_within(ctx, request.compartment, kind), narrow)
        by_type.append((kind, narrow))
    path = _path(request)
    page = await ctx.store.search(
        Search(
            tuple(by_type),
            query.sort,
            query.count,
            query.total,
            query.cursor,
            asked=query.asked if request.compartment is None else path.encode() + query.asked,
            base_url=ctx.base_url,
            explain=explain,
            known=ctx.known,
        )
    )
    if explain:
        query = replace(query, used=(*query.used, (EXPLAIN, "true")))
    await breathe()
    growing = Inclusion(ctx, {(v.resource_type, v.resource_id) for v in page.versions})
    await growing.grow(page.versions, query.includes)
    await breathe()
    body = dumps(_searchset(ctx, path, query, page, growing.included))
    shown_versions = (*page.versions, *growing.included)
    patients = frozenset(patient for v in shown_versions for patient in v.patients)
    return FhirResult(body=body, patients=patients)


def _within(ctx: Context, compartment: tuple[str, str], kind: str) -> Expression:
    """Return what of a type is in a compartment by what the caller is shown of it."""
    masked = bool(ctx.policy.masks)
    inside = within(compartment, kind, ctx.base_url, is_masked=masked)
    return narrowed(ctx, inside, kind) if masked else inside


def _path(request: FhirRequest) -> str:
    """Return the path below the base that a search by GET has."""
    if request.compartment is None:
        return request.resource_type or ""
    return f"{'/'.join(request.compartment)}/{request.resource_type or '*'}"


def query_of(ctx: Context, request: FhirRequest) -> Query:
    """Return the search that a request asks for."""
    return parse(
        request.resource_type or "",
        request.query,
        base_url=ctx.base_url,
        strict=request.handling == "strict",
        now=ctx.now(),
        known=ctx.searched,
    )


def _searchset(
    ctx: Context, path: str, query: Query, page: Page, included: list[Version]
) -> dict[str, object]:
    part, along = Part(query.summary, query.elements), Part(query.summary)
    entries = [match_entry(ctx.base_url, v, "match", part.of(v.body)) for v in page.versions]
    entries += [match_entry(ctx.base_url, v, "include", along.of(v.body)) for v in included]
    if page.explained:
        entries.append(bundle.outcome_entry(explanation(page.explained)))
    found = links(ctx.base_url, path, query.used, page.around, query.cursor)
    return bundle.searchset(entries, links=found, total=total_of(query, page))


def total_of(query: Query, page: Page) -> int | None:
    """Return how many match, where it was asked for and is known."""
    return None if query.total == "none" else page.total
