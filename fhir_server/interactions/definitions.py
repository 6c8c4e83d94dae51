"""Definitions by their canonical URLs: what a caller may see of them, and which is the current one.

https://hl7.org/fhir/R4/references.html#canonical: a canonical without a version means the latest.
Of those with a URL that the caller may see, that is the active one, else any, of the highest
version, else the one changed last. One that is hidden is one that is not there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.interactions.narrow import both, narrowed, where_shown
from fhir_server.model.outcome import TooCostly
from fhir_server.search import expression as ex
from fhir_server.search.canonical import named_by, version_key
from fhir_server.search.expression import Expression, RefersTo, Search
from fhir_server.search.values import ReferenceValue, version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.search.values import IndexValues
    from fhir_server.store.port import Name, Version

MOST_DEFINED: Final = 1_000
"""So many definitions are looked at for one chain, `_has` or step of an inclusion."""
MOST_BYTES: Final = 32_000_000
"""They have so many bytes together, in all of one search."""

_PAGE: Final = 100
"""So many are read first, and so many URLs asked for at once."""
_GROWTH: Final = 16
"""The next is no more than so many times as many as were read: each is a search of its own."""
_AT_ONCE: Final = 4_000_000
"""Nor has it more bytes than so many, were its resources as those that were read."""


class _Said(msgspec.Struct):
    """What a definition says of itself."""

    url: str = ""
    version: str = ""
    status: str = ""


_SAID: Final = msgspec.json.Decoder(_Said)


Place = tuple[str, str]
"""A type and a URL."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A current resource with a canonical URL."""

    found: Version
    url: str
    version: str
    is_active: bool

    @property
    def name(self) -> Name:
        """Its type and id."""
        return self.found.resource_type, self.found.resource_id

    def is_among(self, current: Mapping[Place, Definition]) -> bool:
        """Return whether it is what its URL means without a version."""
        meant = current.get((self.name[0], self.url))
        return meant is not None and meant.name == self.name

    @property
    def canonical(self) -> str:
        """Its URL with its version, where it has one."""
        return f"{self.url}|{self.version}" if self.version else self.url


@dataclass(slots=True)
class Definitions:
    """What was read of definitions for one search."""

    ctx: Context
    _bytes: int = 0
    _number: int = 0
    _current: dict[Place, Definition | None] = field(default_factory=dict)

    async def matching(
        self, kinds: Iterable[str], where: Expression, most: int = MOST_DEFINED
    ) -> list[Definition] | None:
        """Return those of some types that match and are shown; None where they are more.

        Raises:
            TooCostly: They are too large to be looked at for one search.
        """
        versions = await self.shown(kinds, where, most)
        if versions is None:
            return None
        return [one for one in map(definition_of, versions) if one.url]

    async def shown(
        self, kinds: Iterable[str], where: Expression, most: int
    ) -> list[Version] | None:
        """Return the resources that match and are shown; None where they are more.

        Raises:
            TooCostly: They are too large to be looked at for one search.
        """
        by_type = []
        for kind in kinds:
            shown = where_shown(self.ctx, "search-type", kind)
            if shown is not None:
                by_type.append((kind, both(narrowed(self.ctx, where, kind), shown)))
        found: list[Version] = []
        cursor: str | None = None
        while by_type:
            count = min(self._fitting(), most + 1 - len(found))
            search = Search(tuple(by_type), count=count, cursor=cursor)
            page = await self.ctx.store.search(search)
            found += page.versions
            self._number += len(page.versions)
            self._bytes += sum(len(one.body) for one in page.versions)
            if len(found) > most:
                return None
            if self._bytes > MOST_BYTES:
                raise too_many()
            cursor = page.next
            if cursor is None:
                break
        return found

    def _fitting(self) -> int:
        """Return how many are read at once: few, until it is seen how large they are."""
        each = self._bytes // max(self._number, 1) + 1
        return max(_PAGE, min(_GROWTH * self._number, _AT_ONCE // each))

    async def with_urls(self, kinds: Sequence[str], urls: Iterable[str]) -> list[Definition]:
        """Return those of some types that have one of these URLs.

        Raises:
            TooCostly: They are more than are looked at, or too large.
        """
        found: list[Definition] = []
        asked = sorted(set(urls))
        for at in range(0, len(asked), _PAGE):
            some = asked[at : at + _PAGE]
            where = ex.Or(tuple(ex.UriIs("url", one) for one in some))
            matching = await self.matching(kinds, where, MOST_DEFINED - len(found))
            if matching is None:
                raise too_many()
            found += matching
            self._keep({(kind, url) for kind in kinds for url in some}, matching)
        return found

    async def current(self, kinds: Sequence[str], urls: Iterable[str]) -> dict[Place, Definition]:
        """Return which of each type a URL without a version means, of those that are there.

        Raises:
            TooCostly: They are more than are looked at, or too large.
        """
        asked = {(kind, url) for url in urls for kind in kinds}
        unknown = {url for kind, url in asked if (kind, url) not in self._current}
        await self.with_urls(kinds, unknown)
        kept = {place: self._current[place] for place in asked}
        return {place: one for place, one in kept.items() if one is not None}

    def _keep(self, places: Iterable[Place], found: Iterable[Definition]) -> None:
        by_place: dict[Place, list[Definition]] = {}
        for one in found:
            by_place.setdefault((one.name[0], one.url), []).append(one)
        for place in places:
            self._current[place] = max(by_place.get(place, ()), key=_order, default=None)

    async def naming(self, param: str, definitions: Sequence[Definition]) -> list[RefersTo]:
        """Return what asks a canonical parameter for any of these definitions.

        Raises:
            TooCostly: There are more with their URLs than are looked at.
        """
        kinds = sorted({one.name[0] for one in definitions})
        current = await self.current(kinds, {one.url for one in definitions})
        leaves: dict[RefersTo, None] = {}
        for one in definitions:
            if one.version:
                leaves[RefersTo(param, None, "", one.canonical)] = None
            if one.is_among(current):
                leaves[RefersTo(version_of(param), None, "", f"{one.url}|")] = None
        return list(leaves)


def canonicals_in(index: IndexValues, params: Collection[str]) -> Iterator[tuple[str, str, str]]:
    """Give the parameter, URL and version ("" is none) of each canonical under these parameters."""
    versions = {version_of(param): param for param in params}
    for value in index.values:
        if not isinstance(value, ReferenceValue):
            continue
        url, bar, version = value.url.rpartition("|")
        if value.param in versions and bar and not version:
            yield versions[value.param], url, ""
        elif value.param in params and bar:
            yield value.param, *named_by(value.url)


def definition_of(version: Version) -> Definition:
    """Return what a current resource of a type with canonical URLs says of itself."""
    said = _SAID.decode(version.body)
    return Definition(version, said.url, said.version, said.status == "active")


def _order(one: Definition) -> tuple[object, ...]:
    found = one.found
    return one.is_active, version_key(one.version), found.last_updated, found.resource_id


def too_many() -> TooCostly:
    """Return the refusal of a search that would look at too many definitions."""
    return TooCostly(
        f"The canonical URLs of a search lead to more than {MOST_DEFINED} resources, or to some "
        "that are too large to be looked at for one search; please ask for fewer.",
        text_vi="Các URL chuẩn (canonical) của một tìm kiếm dẫn đến hơn "
        f"{MOST_DEFINED} tài nguyên, hoặc quá lớn cho một tìm kiếm; hãy thu hẹp điều kiện.",
    )
