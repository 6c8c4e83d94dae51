"""Conditions: the searches in If-None-Exist, conditional URLs and conditional references.

https://hl7.org/fhir/R4/http.html#ccreate
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.narrow import both, narrowed, where_shown
from fhir_server.interactions.resolving import resolved
from fhir_server.model.identifiers import (
    BHYT,
    CCCD,
    IDENTITY_TAGS,
    KEPT_APART,
    MA_CSKCB,
    MA_LK,
)
from fhir_server.model.outcome import InvalidValue, MultipleMatches, TooCostly
from fhir_server.search import expression as ex
from fhir_server.search.expression import Expression, Search
from fhir_server.search.parameters import R4, Known
from fhir_server.search.query import parse_criteria
from fhir_server.store.port import Matches, Unchanged

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Condition, Version

WHOLE_STORE: Final = frozenset({CCCD, BHYT, MA_LK, MA_CSKCB})
"""Identifier systems whose conditions look at the whole store, so that no duplicate is made."""

MOST_MATCHES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """What a condition matches now: at most two versions, unless all were asked for.

    Attributes:
        is_holder: The one version is what a number stands for, however many more match: the holder
            of one that only one may hold, the one Coverage of a card.
    """

    resource_type: str
    where: Expression
    versions: tuple[Version, ...]
    is_holder: bool = False

    def held(self) -> Condition:
        """Return the precondition that it still matches exactly these when it is committed."""
        if self.is_holder:
            (holder,) = self.versions
            return Unchanged(self.resource_type, holder.resource_id, holder.version_id)
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


def criteria_of(
    resource_type: str, query: str, base_url: str = "", *, known: Known = R4
) -> Expression:
    """Return the expression of a condition; `base_url` is the FHIR base, as in `index_values`.

    Raises:
        InvalidValue: It says nothing, so it would match everything.
    """
    text = query.strip().removeprefix(resource_type).removeprefix("?")
    where = parse_criteria(resource_type, text, base_url=base_url, known=known)
    if where == ex.EVERYTHING:
        raise InvalidValue(
            "A condition must have at least one search criterion.",
            text_vi="Điều kiện phải có ít nhất một tiêu chí tìm kiếm.",
        )
    return where


def _number(where: Expression) -> ex.TokenIs | None:
    """Return the one identifier that a condition asks for, if it is of WHOLE_STORE."""
    match where:
        case ex.And((only,)) | ex.Or((only,)):
            return _number(only)
        case ex.TokenIs("identifier", system, code) if system in WHOLE_STORE and code:
            return where
        case _:
            return None


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
    where = criteria_of(resource_type, query, ctx.base_url, known=ctx.searched)
    number = _number(where) if anywhere else None
    if number is not None:
        return await _everywhere(ctx, resource_type, where, number)
    where = await resolved(ctx, where, resource_type)
    shown = where_shown(ctx, "read", resource_type)
    if shown is None:
        shown = where_shown(ctx, "search-type", resource_type)
    where = ex.NOTHING if shown is None else both(narrowed(ctx, where, resource_type), shown)
    return Found(resource_type, where, await _versions(ctx, resource_type, where, every=every))


async def _everywhere(
    ctx: Context, resource_type: str, where: Expression, number: ex.TokenIs
) -> Found:
    """Return what an identifier of WHOLE_STORE names in the whole store."""
    if (resource_type, number.system) == ("Patient", CCCD):
        # Contract 6: at most one active Patient holds a number, whoever had it before.
        name = await ctx.store.holder(f"{CCCD}|{number.code}")
        holder = await ctx.store.read(*name) if name else None
        if holder is not None and not holder.deleted:
            return Found(resource_type, where, (holder,), is_holder=True)
    found = Found(resource_type, where, await _versions(ctx, resource_type, where, every=False))
    if len(found.versions) > 1 and (resource_type, number.system) == ("Coverage", BHYT):
        return Found(resource_type, where, (await _of_card(ctx, where),), is_holder=True)
    of_whom = _KEPT_APART.get(resource_type) if number.system == BHYT else None
    if of_whom is None or len(found.versions) < 2:  # noqa: PLR2004 - several
        return found
    # A card that came under another's number too is the card of the one it agrees with.
    where = both(where, ex.Not(of_whom))
    versions = await _versions(ctx, resource_type, where, every=False)
    return Found(resource_type, where, versions) if versions else found


async def _of_card(ctx: Context, where: Expression) -> Version:
    """Return which of several Coverages a card's number stands for.

    Contract, section 6, never answers 412 for a card: it is the oldest, of nobody kept apart first.
    """
    by_age = (ex.Sort("_lastUpdated", "last"),)
    not_apart = both(where, ex.Not(_KEPT_APART["Coverage"]))
    for one in (not_apart, where):
        search = Search((("Coverage", one),), by_age, count=_MOST_OF_CARD)
        if versions := (await ctx.store.search(search)).versions:
            break
    made = [(await _made(ctx, version), version.resource_id, version) for version in versions]
    return min(made, key=lambda one: one[:2])[2]


async def _made(ctx: Context, version: Version) -> int:
    first = await ctx.store.vread(version.resource_type, version.resource_id, 1)
    return version.last_updated if first is None else first.last_updated


_MOST_OF_CARD: Final = 100
_IS_APART: Final = ex.TokenIs("_tag", IDENTITY_TAGS, KEPT_APART)
_KEPT_APART: Final[dict[str, Expression]] = {
    "Coverage": ex.Chain("beneficiary", "Patient", _IS_APART),
    "Patient": _IS_APART,
}
"""What says that a card came with a Patient who is kept apart."""


async def _versions(
    ctx: Context, resource_type: str, where: Expression, *, every: bool
) -> tuple[Version, ...]:
    by_type = ((resource_type, where),)
    page = await ctx.store.search(Search(by_type, count=1000 if every else 2))
    versions = list(page.versions)
    while every and page.next:
        if len(versions) >= MOST_MATCHES:
            raise TooCostly(
                f"The condition matches more than {MOST_MATCHES} resources.",
                text_vi=f"Điều kiện khớp với hơn {MOST_MATCHES} tài nguyên.",
            )
        page = await ctx.store.search(Search(by_type, count=1000, cursor=page.next))
        versions += page.versions
    return tuple(versions)
