"""`_include` and `_revinclude`: what goes along with the matches, as far as it is shown.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auth.criteria import Anything
from fhir_server.interactions.narrow import both, expression_of, narrowed, where_shown
from fhir_server.interactions.redact import is_followed
from fhir_server.model import codec
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import TooCostly
from fhir_server.search.expression import Ids, Or, RefersTo, Search
from fhir_server.search.extract import index_values
from fhir_server.search.values import ReferenceValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.search.parameters import Known, Parameter
    from fhir_server.search.query import Include
    from fhir_server.store.port import Name, Version

MOST_INCLUDED: Final = 5000
MOST_ROUNDS: Final = 20


@dataclass(slots=True)
class Inclusion:
    """The resources of a page, grown by what is included."""

    ctx: Context
    seen: set[Name]
    included: list[Version] = field(default_factory=list)

    async def grow(self, versions: Sequence[Version], includes: Sequence[Include]) -> None:
        """Add what these includes bring to these versions, and to what they bring if iterated."""
        await self._apply(versions, includes)
        repeated = [include for include in includes if include.iterate]
        fresh = self.included[:] if repeated else []
        for _ in range(MOST_ROUNDS):
            if not fresh:
                return
            before = len(self.included)
            await self._apply(fresh, repeated)
            fresh = self.included[before:]

    async def _apply(self, versions: Sequence[Version], includes: Sequence[Include]) -> None:
        if not versions:
            return
        forward = [include for include in includes if not include.reverse]
        if forward:
            self._add(await fetch_shown(self.ctx, self._named(versions, forward)))
        for include in includes:
            if include.reverse:
                self._add(await self._referring(versions, include))

    def _add(self, versions: Iterable[Version]) -> None:
        for version in versions:
            name = (version.resource_type, version.resource_id)
            if name not in self.seen:
                self.seen.add(name)
                self.included.append(version)
        if len(self.included) > MOST_INCLUDED:
            raise TooCostly(
                f"The search includes more than {MOST_INCLUDED} resources.",
                text_vi=f"Tìm kiếm kèm theo hơn {MOST_INCLUDED} tài nguyên.",
            )

    def _named(self, versions: Sequence[Version], includes: Sequence[Include]) -> list[Name]:
        names: dict[Name, None] = {}
        for version in versions:
            wanted = [i for i in includes if i.source_type in {"*", version.resource_type}]
            if not wanted:
                continue
            resource = codec.loads_stored(version.body)
            known = self.ctx.searched
            references = set(_references(known, version.resource_type))
            index = index_values(resource, base_url=self.ctx.base_url, known=known, words=False)
            for value in index.values:
                if (
                    isinstance(value, ReferenceValue)
                    and value.resource_id
                    and value.param in references
                    and is_followed(self.ctx.policy.masks, resource, value.param)
                ):
                    name = (value.resource_type, value.resource_id)
                    if name not in self.seen and any(_wants(i, value) for i in wanted):
                        names[name] = None
        return list(names)

    async def _referring(self, versions: Sequence[Version], include: Include) -> list[Version]:
        names: dict[str, list[str]] = {}
        for version in versions:
            names.setdefault(version.resource_type, []).append(version.resource_id)
        by_type = []
        for source in _sources(include):
            where = _refers(self.ctx.searched, source, include.param, names)
            shown = where_shown(self.ctx, "search-type", source)
            if where is not None and shown is not None:
                by_type.append((source, both(narrowed(self.ctx, where, source), shown)))
        if not by_type:
            return []
        found: list[Version] = []
        cursor: str | None = None
        while len(found) <= MOST_INCLUDED:
            page = await self.ctx.store.search(Search(tuple(by_type), count=1000, cursor=cursor))
            found += page.versions
            cursor = page.next
            if cursor is None:
                break
        return found


def _wants(include: Include, value: ReferenceValue) -> bool:
    return include.param in {"*", value.param} and include.target_type in {
        None,
        value.resource_type,
    }


def _sources(include: Include) -> list[str]:
    return sorted(RESOURCE_TYPES) if include.source_type == "*" else [include.source_type]


def _refers(known: Known, source: str, param: str, names: Mapping[str, Sequence[str]]) -> Or | None:
    params = known.of(source)
    operands = tuple(
        RefersTo(code, kind, identity)
        for code in ([param] if param != "*" else _references(known, source))
        for kind, identities in names.items()
        if _may_name(params.get(code), kind)
        for identity in identities
    )
    return Or(operands) if operands else None


def _may_name(parameter: Parameter | None, kind: str) -> bool:
    """Return whether a reference may name this type: of all by which it could, few can.

    R4's lists of what a parameter may name leave out Parameters where any type may be named.
    """
    return parameter is None or kind in parameter.targets or kind == "Parameters"


def _references(known: Known, source: str) -> list[str]:
    """Return the reference parameters of a type by which resources may be brought along now."""
    return [
        one.code
        for one in known.of(source).values()
        if one.type == "reference" and one.is_ready and (one.own is None or not known.is_closed)
    ]


async def fetch_shown(ctx: Context, names: Sequence[Name]) -> list[Version]:
    """Return the current versions of these, of those that are there and shown to the caller."""
    by_type: dict[str, list[str]] = {}
    for kind, identity in names:
        by_type.setdefault(kind, []).append(identity)
    found: list[Version] = []
    for kind, identities in by_type.items():
        criteria = ctx.policy.narrow("read", kind) or ctx.policy.narrow("search-type", kind)
        if criteria is None:
            continue
        if criteria == Anything():
            versions = await ctx.store.read_many([(kind, one) for one in identities])
            found += [v for v in versions if v is not None and not v.deleted]
            continue
        where = both(Ids(frozenset(identities)), expression_of(criteria, kind))
        page = await ctx.store.search(Search(((kind, where),), count=len(identities)))
        found += page.versions
    return found
