"""Conditions: the searches in If-None-Exist, conditional URLs and conditional references.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.narrow import both, is_shown, narrowed, where_shown
from fhir_server.model.identifiers import BHYT, CCCD, MA_CSKCB, MA_LK
from fhir_server.model.outcome import InvalidValue, MultipleMatches, TooCostly
from fhir_server.search import expression as ex
from fhir_server.search.expression import Search
from fhir_server.search.query import parse_criteria
from fhir_server.store.port import Matches

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Version

WHOLE_STORE: Final = frozenset({CCCD, BHYT, MA_LK, MA_CSKCB})
"""Identifier systems whose conditions look at the whole store, so that no duplicate is made."""

MOST_MATCHES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a condition matches now: at most two versions, unless all were asked for."""

    resource_type: str
    where: Expression
    versions: tuple[Version, ...]

    def held(self) -> Matches:
        """Return the precondition that it still matches exactly these when it is committed."""
        return Matches(
            self.resource_type, self.where, frozenset(v.resource_id for v in self.versions)
        )

    def only(self) -> Version | None:
        """Return the one match, or None.

        Raises:
            MultipleMatches: There are several.
        """
        if len(self.versions) > 1:
            raise MultipleMatches(
                f"The condition matches more than one {self.resource_type}.",
                text_vi=f"Điều kiện khớp với nhiều hơn một {self.resource_type}.",
            )
        return self.versions[0] if self.versions else None


def criteria_of(resource_type: str, query: str) -> Expression:
    """Return the expression of a condition.

    Raises:
        InvalidValue: It says nothing, so it would match everything.
    """
    text = query.strip().removeprefix(resource_type).removeprefix("?")
    where = parse_criteria(resource_type, text)
    if where == ex.EVERYTHING:
        raise InvalidValue("A condition must have at least one search criterion.")
    return where


def is_whole_store(where: Expression) -> bool:
    """Return whether a condition is on one of the identifiers that are looked up everywhere."""
    match where:
        case ex.And((only,)) | ex.Or((only,)):
            return is_whole_store(only)
        case ex.TokenIs("identifier", system, code):
            return system in WHOLE_STORE and bool(code)
        case _:
            return False


async def find(
    ctx: Context, resource_type: str, query: str, *, anywhere: bool, every: bool = False
) -> Found:
    """Return what a condition matches, in what the caller may see or, if `anywhere`, in all.

    Args:
        ctx: Who asks.
        resource_type: The type sought.
        query: The condition, as a query string.
        anywhere: Look at the whole store where the condition is on an identifier of WHOLE_STORE.
        every: Find all matches, not only whether there are none, one or several.
    """
    where = criteria_of(resource_type, query)
    if not (anywhere and is_whole_store(where)):
        shown = where_shown(ctx, "read", resource_type)
        if shown is None:
            shown = where_shown(ctx, "search-type", resource_type)
        where = ex.NOTHING if shown is None else both(narrowed(ctx, where, resource_type), shown)
    return Found(resource_type, where, await _versions(ctx, resource_type, where, every=every))


async def _versions(
    ctx: Context, resource_type: str, where: Expression, *, every: bool
) -> tuple[Version, ...]:
    by_type = ((resource_type, where),)
    page = await ctx.store.search(Search(by_type, count=1000 if every else 2))
    versions = list(page.versions)
    while every and page.next:
        if len(versions) >= MOST_MATCHES:
            raise TooCostly(f"The condition matches more than {MOST_MATCHES} resources.")
        page = await ctx.store.search(Search(by_type, count=1000, cursor=page.next))
        versions += page.versions
    return tuple(versions)


async def is_hidden(ctx: Context, version: Version) -> bool:
    """Return whether a match is one that the caller may not read."""
    return not await is_shown(ctx, version)
