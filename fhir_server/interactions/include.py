"""`_include` and `_revinclude`: what goes along with the matches, as far as it is shown.

https://hl7.org/fhir/R4/search.html#revinclude
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.audit import AUDIT_EVENT, is_chained
from fhir_server.interactions.audit_found import fetch_recorded, recorded_of
from fhir_server.interactions.definitions import (
    Definition,
    Definitions,
    canonicals_in,
    definition_of,
)
from fhir_server.interactions.masked_search import is_followed
from fhir_server.interactions.narrow import both, fetch_shown, narrowed, where_shown
from fhir_server.interactions.redact import mask
from fhir_server.model import codec
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import TooCostly
from fhir_server.search.canonical import is_canonical, is_definition
from fhir_server.search.expression import Or, RefersTo, Search
from fhir_server.search.extract import index_values
from fhir_server.search.values import ReferenceValue
from fhir_server.store.work import breathe

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
    definitions: Definitions = field(init=False)

    def __post_init__(self) -> None:
        self.definitions = Definitions(self.ctx)

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
            named = await self._named(versions, forward)
            self._add(await fetch_shown(self.ctx, list(named.names)))
            own = [name for name in named.names if is_chained(*name)]
            self._add(await fetch_recorded(self.ctx, own))
            self._add(await self._defined(named.canonicals))
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

    async def _named(self, versions: Sequence[Version], includes: Sequence[Include]) -> _Named:
        found = _Named()
        for version in versions:
            await breathe()
            wanted = [i for i in includes if i.source_type in {"*", version.resource_type}]
            if not wanted:
                continue
            resource = codec.loads_stored(version.body)
            if self.ctx.policy.masks:
                # What is brought by what is not shown would say what that is.
                resource = mask(resource, self.ctx.policy.masks)
            known = self.ctx.searched
            params = _references(known, version.resource_type)
            index = index_values(resource, base_url=self.ctx.base_url, known=known, words=False)
            for value in index.values:
                if (
                    isinstance(value, ReferenceValue)
                    and value.resource_id
                    and value.param in params
                ):
                    name = (value.resource_type, value.resource_id)
                    if name not in self.seen and any(
                        _wants(i, value.param, value.resource_type) for i in wanted
                    ):
                        found.names[name] = None
            canonical = {code for code, one in params.items() if is_canonical(one)}
            for code, url, business_version in canonicals_in(index, canonical):
                if is_followed(self.ctx.policy.masks, resource, code):
                    for kind in _defining(params[code]):
                        if any(_wants(i, code, kind) for i in wanted):
                            found.canonicals[kind].add((url, business_version))
        return found

    async def _defined(self, canonicals: Mapping[str, set[tuple[str, str]]]) -> list[Version]:
        """Return the definitions that these URLs and versions of each type mean."""
        if not canonicals:
            return []
        kinds = sorted(canonicals)
        urls = {url for some in canonicals.values() for url, _ in some}
        every = await self.definitions.with_urls(kinds, urls)
        current = await self.definitions.current(kinds, urls)
        return [
            one.found
            for one in every
            if (one.version and (one.url, one.version) in canonicals[one.name[0]])
            or ((one.url, "") in canonicals[one.name[0]] and one.is_among(current))
        ]

    async def _naming(
        self, source: str, param: str, definitions: Sequence[Definition]
    ) -> list[RefersTo]:
        """Return what asks a type for canonicals that mean some of these."""
        found: list[RefersTo] = []
        if definitions:
            for code, one in _references(self.ctx.searched, source).items():
                if param in {"*", code} and is_canonical(one):
                    meant = [each for each in definitions if each.name[0] in one.targets]
                    found += await self.definitions.naming(code, meant)
        return found

    async def _referring(self, versions: Sequence[Version], include: Include) -> list[Version]:
        wanted = [one for one in versions if include.target_type in {None, one.resource_type}]
        names: dict[str, list[str]] = {}
        for version in wanted:
            names.setdefault(version.resource_type, []).append(version.resource_id)
        defined = (definition_of(one) for one in wanted if is_definition(one.resource_type))
        definitions = [one for one in defined if one.url]
        by_type = []
        for source in _sources(include):
            await breathe()
            shown = where_shown(self.ctx, "search-type", source)
            if shown is None:
                continue
            asked = _refers(self.ctx.searched, source, include.param, names)
            asked += await self._naming(source, include.param, definitions)
            if include.source_type == AUDIT_EVENT:
                # By a star alone the chain goes along as little as it is searched with all types.
                self._add(await recorded_of(self.ctx, include.param, names, MOST_INCLUDED))
            if asked:
                where = Or(tuple(asked))
                # What nothing is masked of may be asked by any reference: there are thousands.
                asking = narrowed(self.ctx, where, source) if self.ctx.policy.masks else where
                by_type.append((source, both(asking, shown)))
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


@dataclass(slots=True)
class _Named:
    """What some resources refer to: by name, and by type the URLs and versions of definitions."""

    names: dict[Name, None] = field(default_factory=dict)
    canonicals: dict[str, set[tuple[str, str]]] = field(default_factory=lambda: defaultdict(set))


def _wants(include: Include, param: str, kind: str) -> bool:
    return include.param in {"*", param} and include.target_type in {None, kind}


def _sources(include: Include) -> list[str]:
    return sorted(RESOURCE_TYPES) if include.source_type == "*" else [include.source_type]


def _refers(
    known: Known, source: str, param: str, names: Mapping[str, Sequence[str]]
) -> list[RefersTo]:
    params = known.of(source)
    return [
        RefersTo(code, kind, identity)
        for code in ([param] if param != "*" else _references(known, source))
        for kind, identities in names.items()
        if _may_name(params.get(code), kind)
        for identity in identities
    ]


def _may_name(parameter: Parameter | None, kind: str) -> bool:
    """Return whether a reference may name this type: of all by which it could, few can.

    R4's lists of what a parameter may name leave out Parameters where any type may be named.
    """
    return parameter is None or kind in parameter.targets or kind == "Parameters"


def _references(known: Known, source: str) -> dict[str, Parameter]:
    """Return the reference parameters of a type by which resources may be brought along now."""
    return {
        one.code: one
        for one in known.of(source).values()
        if one.type == "reference" and one.is_ready and (one.own is None or not known.is_closed)
    }


def _defining(parameter: Parameter) -> list[str]:
    """Return the types whose URLs a canonical parameter may hold."""
    return sorted(filter(is_definition, parameter.targets))
