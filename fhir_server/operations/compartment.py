"""What an operation reads of a Patient's compartment, and beside it, as the caller may see it.

https://hl7.org/fhir/R4/compartmentdefinition-patient.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from auth.policy import policy_for
from auth.principal import SYSTEM
from fhir_server.interactions.narrow import where_shown
from fhir_server.model import reference
from fhir_server.search.expression import And, Expression, Ids, InPatient, Search

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Name, Version

PAGE: Final = 1000


def as_system(ctx: Context) -> Context:
    """Return the Context in which the server itself acts for this request.

    The request's trail stays: what is written commits together with its one AuditEvent.
    """
    return replace(ctx, principal=SYSTEM, policy=policy_for(SYSTEM))


async def in_compartment(ctx: Context, patient_id: str, types: Iterable[str]) -> list[Version]:
    """Return the current resources of these types in a compartment that the caller may see.

    The work is bound by the size of the compartment, not of the store.
    """
    inside = InPatient(frozenset({patient_id}))
    by_type: list[tuple[str, Expression]] = []
    for name in types:
        shown = where_shown(ctx, "search-type", name)
        if shown is not None:
            by_type.append((name, inside if shown == inside else And((inside, shown))))
    return await every_page(ctx, by_type)


async def shown_by_name(ctx: Context, names: Iterable[Name]) -> list[Version]:
    """Return the current resources among these that the caller may see."""
    ids: dict[str, set[str]] = {}
    for resource_type, resource_id in names:
        ids.setdefault(resource_type, set()).add(resource_id)
    by_type: list[tuple[str, Expression]] = []
    for resource_type, wanted in ids.items():
        shown = where_shown(ctx, "search-type", resource_type)
        if shown is not None:
            by_type.append((resource_type, And((Ids(frozenset(wanted)), shown))))
    return await every_page(ctx, by_type)


async def every_page(ctx: Context, by_type: list[tuple[str, Expression]]) -> list[Version]:
    """Return all matches of a search, page by page."""
    if not by_type:
        return []
    found: list[Version] = []
    cursor: str | None = None
    while True:
        page = await ctx.store.search(Search(tuple(by_type), count=PAGE, cursor=cursor))
        found += page.versions
        cursor = page.next
        if cursor is None:
            return found


def names_in(versions: Iterable[Version], base_url: str) -> set[Name]:
    """Return the local resources that resources refer to, from their canonical bytes.

    Stored JSON has no white space between tokens, and a quote inside a string is escaped, so
    what matches is a `reference`; walking the parsed tree costs ten times as much.
    """
    whole = b"\n".join(version.body for version in versions)
    found = set(_references(base_url.encode()).findall(whole))
    return {(kind.decode(), identity.decode()) for kind, identity in found}


@lru_cache(maxsize=8)
def _references(base_url: bytes) -> re.Pattern[bytes]:
    return re.compile(
        rb'"reference":"(?:%s/)?([A-Z][A-Za-z]+)/([A-Za-z0-9.-]{1,64})(?:/_history/[^"]*)?"'
        % re.escape(base_url)
    )


def local_name(element: dict[str, Any] | None, base_url: str = "") -> Name | None:
    """Return the type and id of a literal reference to this server; None of any other."""
    text = (element or {}).get("reference")
    if not isinstance(text, str):
        return None
    parsed = reference.parse(text, base_url or None)
    if parsed.kind != "local" or not parsed.resource_type or not parsed.resource_id:
        return None
    return parsed.resource_type, parsed.resource_id
