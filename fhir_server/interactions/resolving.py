"""What a search asks of other resources than those that a store compares, as what it can be asked.

https://hl7.org/fhir/R4/search.html#token: `:in`, `:not-in`, `:above` and `:below`; `_list`; and
`in`, `ss` and `sb` of a `_filter`. #hierarchy: `:above` and `:below` of references. #chaining:
chains and `_has` over canonical URLs. All that is read for it is read as the caller may see it:
what is hidden is not there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_found import candidates, named_by_recorded
from fhir_server.interactions.definitions import (
    Definition,
    Definitions,
    canonicals_in,
    too_many,
)
from fhir_server.interactions.narrow import both, narrowed, where_shown
from fhir_server.interactions.redact import mask
from fhir_server.model import codec
from fhir_server.model.outcome import InvalidValue, TooCostly
from fhir_server.search import expression as ex
from fhir_server.search.canonical import is_definition
from fhir_server.search.expression import Expression, Search
from fhir_server.search.extract import index_values
from fhir_server.search.fold import exact
from fhir_server.search.parameters import name_of, parent_of
from fhir_server.search.place import located
from fhir_server.search.reading import MAX_VALUES
from fhir_server.search.values import ReferenceValue
from fhir_server.terminology.code_system import CodeSystem
from fhir_server.terminology.expansion import Members, expand
from fhir_server.terminology.library import Library, Needed, TooMany, Unexpandable
from fhir_server.terminology.subsumption import subsumed

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, Resource
    from fhir_server.search.values import IndexValues
    from fhir_server.store.port import Version

MOST_READ: Final = 50
"""So many ValueSets, CodeSystems and Lists are read for one search."""
MOST_BYTES: Final = 8_000_000
"""They have so many bytes together."""
MOST_PARTS: Final = 1_000
"""So many resources are above or below another one."""
MOST_LEVELS: Final = 50
"""So many steps are made from it, in all of one search."""
FEW_REFERRING: Final = 99
"""So many resources are read for the definitions that they refer to; of more each is asked for."""

_Answer = TypeVar("_Answer")


async def resolved(ctx: Context, where: Expression, kind: str) -> Expression:
    """Return an expression on a type with nothing left in it that a store cannot be asked.

    Raises:
        InvalidValue: A value set or code system is not known or not shown, or cannot be expanded.
        TooCostly: They have more codes, or name more, than one search may ask for.
    """
    return await Resolving(ctx).of(where, kind)


def is_open(where: Expression) -> bool:
    """Return whether anything in an expression must be resolved."""
    match where:
        case ex.And(operands) | ex.Or(operands) | ex.CompositeIs(_, operands):
            return any(map(is_open, operands))
        case ex.Has(source, _, inner):
            return source == AUDIT_EVENT or is_open(inner)
        case ex.Not(inner) | ex.Chain(_, _, inner):
            return is_open(inner)
        case _:
            return isinstance(where, ex.Open)


@dataclass(slots=True)
class Resolving:
    """What was read for one search.

    Attributes:
        asked: How many values its expression has by now beside those that the client wrote.
    """

    ctx: Context
    library: Library = field(default_factory=Library)
    asked: int = 0
    definitions: Definitions = field(init=False)
    _lists: dict[str, Resource | None] = field(default_factory=dict)
    _kept: dict[ex.InValueSet | ex.Subsumed, Expression] = field(default_factory=dict)
    _linked: dict[tuple[ex.Open, str], Expression] = field(default_factory=dict)
    _read: int = 0
    _bytes: int = 0
    _levels: int = 0

    def __post_init__(self) -> None:
        self.definitions = Definitions(self.ctx)

    async def of(self, where: Expression, kind: str) -> Expression:
        """Return an expression on a type, resolved; raises as `resolved` does."""
        if not is_open(where):
            return where
        self.asked = 0
        return await self._of(where, kind)

    async def _of(self, where: Expression, kind: str) -> Expression:
        match where:
            case ex.And(operands):
                return await self._all(operands, kind)
            case ex.Or(operands):
                return ex.Or(tuple([await self._of(one, kind) for one in operands]))
            case ex.CompositeIs(param, parts):
                return ex.CompositeIs(param, tuple([await self._of(one, kind) for one in parts]))
            case ex.Not(operand):
                return ex.Not(await self._of(operand, kind))
            case ex.Chain(param, target, inner):
                return ex.Chain(param, target, await self._of(inner, target))
            case ex.Has(source, param, inner):
                has = ex.Has(source, param, await self._of(inner, source))
                return await self._recorded(has, kind) if source == AUDIT_EVENT else has
            case _ if isinstance(where, ex.Open):
                return self._counted(await self._leaf(where, kind))
            case _:
                return where

    async def _all(self, operands: Sequence[Expression], kind: str) -> Expression:
        """Return all of these; the audit chain is asked last, of the few that the others leave."""
        is_last = [isinstance(one, ex.Has) and one.source_type == AUDIT_EVENT for one in operands]
        first = [
            one if last else await self._of(one, kind)
            for one, last in zip(operands, is_last, strict=True)
        ]
        if not any(is_last):
            return ex.And(tuple(first))
        others = [one for one, last in zip(first, is_last, strict=True) if not last]
        among = await candidates(self.ctx, kind, ex.And(tuple(others))) if others else None
        found: list[Expression] = []
        for one in first:
            if isinstance(one, ex.Has) and one.source_type == AUDIT_EVENT:
                inner = await self._of(one.where, AUDIT_EVENT)
                has = ex.Has(AUDIT_EVENT, one.param, inner)
                found.append(await self._recorded(has, kind, among))
            else:
                found.append(one)
        return ex.And(tuple(found))

    async def _recorded(
        self, link: ex.Has, kind: str, among: frozenset[str] | None = None
    ) -> Expression:
        """Return a `_has` over AuditEvents, those of the server's own chain too."""
        named = await named_by_recorded(self.ctx, link, kind, among)
        return ex.Or((link, self._counted(ex.Ids(named)))) if named else link

    def _counted(self, found: Expression) -> Expression:
        match found:
            case ex.Or(operands):
                self.asked += len(operands)
            case ex.Ids(ids):
                self.asked += len(ids)
            case _:
                self.asked += 1
        if self.asked > MAX_VALUES:
            raise _too_many()
        return found

    async def _leaf(self, leaf: ex.Open, kind: str) -> Expression:
        match leaf:
            case ex.Listed():
                return await self._listed(leaf, kind)
            case ex.InHierarchy() | ex.CanonicalChain() | ex.CanonicalHas():
                if (leaf, kind) not in self._linked:
                    self._linked[leaf, kind] = await self._link(leaf, kind)
                return self._linked[leaf, kind]
            case _:
                if leaf not in self._kept:
                    self._kept[leaf] = await self._coded(leaf)
                return self._kept[leaf]

    async def _link(
        self, leaf: ex.InHierarchy | ex.CanonicalChain | ex.CanonicalHas, kind: str
    ) -> Expression:
        match leaf:
            case ex.InHierarchy():
                return await self._in_hierarchy(leaf)
            case ex.CanonicalChain():
                return await self._chained(leaf)
            case ex.CanonicalHas():
                return await self._reversed(leaf, kind)

    # --- codes -----------------------------------------------------------------------------

    async def _coded(self, leaf: ex.InValueSet | ex.Subsumed) -> Expression:
        if isinstance(leaf, ex.Subsumed):
            codes = await self._asked(
                lambda: subsumed(self.library, leaf.system, leaf.code, leaf.mode)
            )
            return _tokens(leaf.param, Members({leaf.system: codes}))
        members = await self._asked(lambda: expand(leaf.value_set, self.library, MAX_VALUES))
        return _tokens(leaf.param, members, bare=leaf.bare)

    async def _asked(self, question: Callable[[], _Answer]) -> _Answer:
        """Return what a question of terminology answers, when all that it needs was read."""
        while True:
            try:
                return await asyncio.to_thread(question)
            except Needed as need:
                if need.kind == "ValueSet":
                    self.library.value_sets[need.url] = await self._value_set(need.url)
                else:
                    self.library.code_systems[need.url] = await self._code_system(need.url)
            except Unexpandable as refusal:
                raise InvalidValue(refusal.english, text_vi=refusal.vietnamese) from None
            except TooMany:
                raise _too_many() from None

    async def _value_set(self, url: str) -> Resource | None:
        body = await self._body("ValueSet", url)
        return None if body is None else codec.loads_stored(body)

    async def _code_system(self, url: str) -> CodeSystem | None:
        body = await self._body("CodeSystem", url)
        return None if body is None else await asyncio.to_thread(_code_system, body)

    async def _body(self, kind: str, url: str) -> bytes | None:
        """Return the newest that the caller may see, of active ones first."""
        name, _, resource_id = url.partition("/")
        if name == kind:
            return _only(await self._search(kind, ex.Ids(frozenset({resource_id}))))
        bare, _, version = url.partition("|")
        where: Expression = ex.UriIs("url", bare)
        if version:
            where = ex.And((where, ex.TokenIs("version", None, version)))
        active = ex.And((where, ex.TokenIs("status", None, "active")))
        return _only(await self._search(kind, active)) or _only(await self._search(kind, where))

    # --- Lists -----------------------------------------------------------------------------

    async def _listed(self, leaf: ex.Listed, kind: str) -> Expression:
        if leaf.list_id not in self._lists:
            body = _only(await self._search("List", ex.Ids(frozenset({leaf.list_id}))))
            self._lists[leaf.list_id] = None if body is None else codec.loads_stored(body)
        entries = (self._lists[leaf.list_id] or {}).get("entry", ())
        # What is marked deleted was in the List and is no more.
        items = [one.get("item", {}) for one in entries if not one.get("deleted", False)]
        places = [located(one.get("reference", ""), self.ctx.base_url) for one in items]
        ids = frozenset(identity for type_, identity, _ in places if type_ == kind)
        return ex.Ids(ids) if ids else ex.NOTHING

    # --- hierarchies -----------------------------------------------------------------------

    async def _in_hierarchy(self, leaf: ex.InHierarchy) -> Expression:
        """Return references to the resource and to all that are above or below it.

        Each link is read from the resource that is part of the other one: as far as it is shown.
        """
        kind = leaf.resource_type
        parent = parent_of(kind) or ""
        found = {leaf.resource_id}
        fresh = found
        while fresh:
            self._levels += 1
            if self._levels > MOST_LEVELS:
                raise _too_deep()
            if leaf.mode == "below":
                names = sorted(fresh)
                where: Expression = ex.Or(tuple(ex.RefersTo(parent, kind, one) for one in names))
            else:
                where = ex.Ids(frozenset(fresh))
            versions = await self.definitions.shown([kind], where, MOST_PARTS)
            if versions is None:
                raise _too_deep()
            if leaf.mode == "below":
                reached = {one.resource_id for one in versions}
            else:
                reached = {one for version in versions for one in self._parents(version, parent)}
            fresh = reached - found
            found = found | fresh
            if len(found) > MOST_PARTS:
                raise _too_deep()
        return ex.Or(tuple(ex.RefersTo(leaf.param, kind, one) for one in sorted(found)))

    def _parents(self, version: Version, parent: str) -> set[str]:
        return {
            value.resource_id
            for value in self._index(version).values
            if isinstance(value, ReferenceValue)
            and value.param == parent
            and value.resource_type == version.resource_type
        }

    # --- canonical URLs --------------------------------------------------------------------

    async def _chained(self, leaf: ex.CanonicalChain) -> Expression:
        """Return what refers by their URLs to the definitions that match."""
        where = await self._of(leaf.where, leaf.target_type)
        found = await self.definitions.matching([leaf.target_type], where)
        if found is None:
            raise too_many()
        return ex.Or(tuple(await self.definitions.naming(leaf.param, found)))

    async def _reversed(self, leaf: ex.CanonicalHas, kind: str) -> Expression:
        """Return the definitions of a type whose URLs are referred to by what matches.

        Where little refers to any it is read; else each definition is asked whether anything does.
        """
        known = self.ctx.searched.get(leaf.source_type, name_of(leaf.param))
        if known is None or kind not in known.targets or not is_definition(kind):
            return ex.NOTHING
        where = await self._of(leaf.where, leaf.source_type)
        naming = ex.And((where, ex.Missing(leaf.param, missing=False)))
        sources = await self.definitions.shown([leaf.source_type], naming, FEW_REFERRING)
        if sources is None:
            return await self._asked_each(leaf, where, kind)
        wanted = await asyncio.to_thread(self._canonicals, sources, leaf.param)
        definitions = await self.definitions.with_urls([kind], {url for url, _ in wanted})
        current = await self.definitions.current([kind], {url for url, _ in wanted})
        named = [one for one in definitions if one.version and (one.url, one.version) in wanted]
        named += [one for (_, url), one in current.items() if (url, "") in wanted]
        return _ids(one.name[1] for one in named)

    async def _asked_each(self, leaf: ex.CanonicalHas, where: Expression, kind: str) -> Expression:
        every = await self.definitions.matching([kind], ex.EVERYTHING)
        if every is None:
            raise too_many()
        await self.definitions.current([kind], {one.url for one in every})
        return _ids([one.name[1] for one in every if await self._is_named(leaf, where, one)])

    async def _is_named(
        self, leaf: ex.CanonicalHas, where: Expression, definition: Definition
    ) -> bool:
        named = ex.Or(tuple(await self.definitions.naming(leaf.param, [definition])))
        found = await self.definitions.shown([leaf.source_type], ex.And((where, named)), 0)
        return found is None

    def _canonicals(self, sources: list[Version], param: str) -> set[tuple[str, str]]:
        """Return the URLs and versions that a parameter of these has."""
        found: set[tuple[str, str]] = set()
        for one in sources:
            canonicals = canonicals_in(self._index(one), {param})
            found.update((url, version) for _, url, version in canonicals)
        return found

    def _index(self, version: Version) -> IndexValues:
        """Return what is indexed of what the caller is shown of a version."""
        resource = codec.loads_stored(version.body)
        if self.ctx.policy.masks:
            resource = mask(resource, self.ctx.policy.masks)
        return index_values(
            resource, base_url=self.ctx.base_url, known=self.ctx.searched, words=False
        )

    # --- the store -------------------------------------------------------------------------

    async def _search(self, kind: str, where: Expression) -> tuple[Version, ...]:
        shown = where_shown(self.ctx, "search-type", kind)
        if shown is None:
            return ()
        self._read += 1
        if self._read > MOST_READ:
            raise _too_many()
        narrow = both(narrowed(self.ctx, where, kind), shown)
        page = await self.ctx.store.search(Search(((kind, narrow),), count=1))
        self._bytes += sum(len(one.body) for one in page.versions)
        if self._bytes > MOST_BYTES:
            raise _too_many()
        return page.versions


def _ids(ids: Iterable[str]) -> Expression:
    found = frozenset(ids)
    return ex.Ids(found) if found else ex.NOTHING


def _only(versions: tuple[Version, ...]) -> bytes | None:
    return versions[0].body if versions else None


def _tokens(param: str, members: Members, *, bare: bool = False) -> Expression:
    tokens: list[Expression] = [ex.TokenIs(param, one, None) for one in sorted(members.systems)]
    tokens += [
        ex.TokenIs(param, system, exact(code))
        for system in sorted(members.codes)
        for code in sorted(members.codes[system])
    ]
    if bare:
        codes = {exact(code) for codes in members.codes.values() for code in codes}
        tokens += [ex.TokenIs(param, "", code) for code in sorted(codes)]
    return tokens[0] if len(tokens) == 1 else ex.Or(tuple(tokens))


@lru_cache(maxsize=4)
def _code_system(body: bytes) -> CodeSystem:
    resource: dict[str, Any] = codec.loads_stored(body)
    return CodeSystem.of(resource)


def _too_deep() -> TooCostly:
    return TooCostly(
        f"The hierarchies of a search have more than {MOST_PARTS} resources or {MOST_LEVELS} "
        "levels; please name a resource that has fewer above or below it.",
        text_vi=f"Các cây phân cấp của một tìm kiếm có hơn {MOST_PARTS} tài nguyên hoặc "
        f"{MOST_LEVELS} cấp; hãy nêu một tài nguyên có ít tài nguyên ở trên hoặc ở dưới hơn.",
    )


def _too_many() -> TooCostly:
    return TooCostly(
        f"The value sets, code systems or Lists of a search name more than {MAX_VALUES} codes or "
        "resources, or are too large to be looked at for one search.",
        text_vi="Các tập giá trị, hệ mã hoặc List của một tìm kiếm nêu hơn "
        f"{MAX_VALUES} mã hay tài nguyên, hoặc quá lớn cho một tìm kiếm.",
    )
