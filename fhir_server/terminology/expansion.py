"""Which codes are in a value set, by its definition or its stored expansion.

https://hl7.org/fhir/R4/valueset.html#compositions
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fhir_server.terminology.code_system import CodeSystem, Concept
from fhir_server.terminology.library import (
    Library,
    Needed,
    Resource,
    TooMany,
    Unexpandable,
    built_in,
    unknown,
)

_DEEPEST: Final = 20
"""So many value sets include one another at most."""


@dataclass(slots=True)
class Members:
    """The codes of a value set by system, and the systems of which every code is in it."""

    codes: dict[str, set[str]] = field(default_factory=dict)
    systems: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return sum(map(len, self.codes.values())) + len(self.systems)

    def add(self, other: Members) -> None:
        """Let it have the members of another as well."""
        self.systems |= other.systems
        for system, codes in other.codes.items():
            self.codes.setdefault(system, set()).update(codes)


def expand(url: str, library: Library, most: int) -> Members:
    """Return the members of the value set of a URL.

    Args:
        url: Its URL; `url|version` is that version.
        library: What is known of other resources.
        most: So many codes are told at most.

    Raises:
        Needed: A resource is to be looked for first; then this is asked again.
        Unexpandable: It, or what it includes, is not here, or says what cannot be told.
        TooMany: It has more codes.
    """
    return _Expander(library, most).of_url(url, ())


def expand_resource(resource: Resource, library: Library, most: int) -> Members:
    """Return the members of a ValueSet; raises as `expand` does."""
    return _Expander(library, most).of_resource(resource, ())


@dataclass(slots=True)
class _Expander:
    library: Library
    most: int
    kept: dict[str, Members] = field(default_factory=dict)

    def of_url(self, url: str, path: tuple[str, ...]) -> Members:
        # Sets that include the same ones are no longer than what they include.
        if url not in self.kept:
            self.kept[url] = self._of_url(url, path)
        return self.kept[url]

    def _of_url(self, url: str, path: tuple[str, ...]) -> Members:
        if url in path or len(path) >= _DEEPEST:
            raise Unexpandable(
                "The value set includes itself.", "Tập giá trị này tự bao gồm chính nó."
            )
        resource = self.library.value_set(url)
        if resource is not None:
            return self.of_resource(resource, (*path, url))
        members = built_in(url)
        if members is None:
            raise unknown("value set", "tập giá trị")
        return self._bounded(Members({system: set(codes) for system, codes in members.items()}))

    def of_resource(self, resource: Resource, path: tuple[str, ...]) -> Members:
        compose, stored = resource.get("compose"), resource.get("expansion")
        if compose is not None:
            try:
                return self._bounded(self._composed(compose, path))
            except Unexpandable:
                if stored is None:
                    raise
        if stored is not None:
            return self._bounded(_stored(stored))
        raise Unexpandable(
            "The value set does not say which codes it has.",
            "Tập giá trị này không nêu các mã của nó.",
        )

    def _bounded(self, members: Members) -> Members:
        if len(members) > self.most:
            raise TooMany
        return members

    def _composed(self, compose: Mapping[str, Any], path: tuple[str, ...]) -> Members:
        active_only = compose.get("inactive") is False
        members = Members()
        for include in compose.get("include", ()):
            included = self._included(include, path, active_only=active_only)
            self.library.spend(1 + len(included))
            members.add(included)
        for exclude in compose.get("exclude", ()):
            excluded = self._included(exclude, path, active_only=False)
            self.library.spend(1 + len(excluded))
            self._take_away(members, excluded)
        return members

    def _included(
        self, include: Mapping[str, Any], path: tuple[str, ...], *, active_only: bool
    ) -> Members:
        parts: list[Members] = []
        if "system" in include:
            parts.append(self._of_system(include, active_only=active_only))
        parts += [self.of_url(url, path) for url in include.get("valueSet", ())]
        if not parts:
            raise Unexpandable(
                "A part of the value set names neither a system nor a value set.",
                "Một phần của tập giá trị không nêu hệ mã hay tập giá trị nào.",
            )
        found, *others = parts
        for other in others:
            self.library.spend(1 + len(other))
            found = _in_both(found, other)
        return found

    def _of_system(self, include: Mapping[str, Any], *, active_only: bool) -> Members:
        system: str = include["system"]
        url = f"{system}|{include['version']}" if "version" in include else system
        filters = include.get("filter", ())
        if "concept" in include:
            codes = {one["code"] for one in include["concept"]}
        elif not filters and not active_only:
            return Members(systems={system})
        else:
            codes = self._every(url)
        for rule in filters:
            self.library.spend(len(self._complete(url).concepts))
            codes &= _chosen(self._complete(url), rule)
        if active_only:
            known = self.library.code_system(url)
            concepts = known.concepts if known is not None else {}
            codes = {one for one in codes if one not in concepts or not concepts[one].is_inactive}
        return Members({system: codes})

    def _complete(self, url: str) -> CodeSystem:
        found = self.library.code_system(url)
        if found is None:
            raise unknown("code system", "hệ mã")
        return found

    def _every(self, url: str) -> set[str]:
        concepts = self._complete(url).concepts
        self.library.spend(len(concepts))
        return set(concepts)

    def _take_away(self, members: Members, excluded: Members) -> None:
        for system in members.systems & excluded.codes.keys():
            members.systems.remove(system)
            members.codes[system] = self._every(system)
        members.systems -= excluded.systems
        for system in excluded.systems:
            members.codes.pop(system, None)
        for system, codes in excluded.codes.items():
            members.codes.get(system, set()).difference_update(codes)


def _in_both(one: Members, other: Members) -> Members:
    found = Members(systems=one.systems & other.systems)
    for system in one.codes.keys() | other.codes.keys():
        mine = None if system in one.systems else one.codes.get(system, set())
        theirs = None if system in other.systems else other.codes.get(system, set())
        if mine is None or theirs is None:
            both = mine if mine is not None else theirs
        else:
            both = mine & theirs
        if both and system not in found.systems:
            found.codes[system] = both
    return found


def _stored(expansion: Mapping[str, Any]) -> Members:
    """Return what a stored expansion lists, if it is whole."""
    members = Members()
    count = 0
    for one in _contained(expansion.get("contains", ())):
        count += 1
        if "code" in one and "system" in one and not one.get("abstract", False):
            members.codes.setdefault(one["system"], set()).add(one["code"])
    total = expansion.get("total")
    if (total is not None and total > count) or expansion.get("offset", 0):
        raise Unexpandable(
            "The stored expansion of the value set is only a part of it.",
            "Bản liệt kê lưu sẵn của tập giá trị chỉ là một phần.",
        )
    return members


def _contained(contains: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    waiting = list(contains)
    while waiting:
        one = waiting.pop()
        yield one
        waiting += one.get("contains", ())


# --- filters -----------------------------------------------------------------------------

_CONCEPT: Final = frozenset({"concept", "code"})


def _chosen(system: CodeSystem, rule: Mapping[str, Any]) -> set[str]:
    """Return the codes that a filter of a composition chooses."""
    name, operator, value = rule.get("property", ""), rule.get("op", ""), rule.get("value", "")
    if name in _CONCEPT and operator in _OF_CODES:
        if operator in _HIERARCHICAL and not system.subsumes:
            raise Unexpandable(
                "The code system does not say that what is below a concept is subsumed by it.",
                "Hệ mã này không nêu rằng mã dưới thuộc về mã trên.",
            )
        return _OF_CODES[operator](system, value)
    if operator in _OF_VALUES and (name == "display" or name in system.properties):
        holds = _OF_VALUES[operator]
        return {
            code
            for code, one in system.concepts.items()
            if holds(value, [one.display] if name == "display" else _values(one, name))
        }
    raise Unexpandable(
        "The value set has a filter that this server does not know.",
        "Tập giá trị có bộ lọc mà máy chủ này không biết.",
    )


def _values(concept: Concept, name: str) -> list[str]:
    return [value for one, value in concept.properties if one == name]


def _listed(value: str) -> set[str]:
    return {one.strip() for one in value.split(",")}


_HIERARCHICAL: Final = frozenset({"is-a", "descendent-of", "is-not-a", "generalizes"})
_OF_CODES: Final[Mapping[str, Callable[[CodeSystem, str], set[str]]]] = {
    "=": lambda system, value: {value} & system.concepts.keys(),
    "in": lambda system, value: _listed(value) & system.concepts.keys(),
    "not-in": lambda system, value: system.concepts.keys() - _listed(value),
    "is-a": lambda system, value: system.below(value) & system.concepts.keys(),
    "descendent-of": lambda system, value: system.below(value) - {value},
    "is-not-a": lambda system, value: system.concepts.keys() - system.below(value),
    "generalizes": lambda system, value: system.above(value) & system.concepts.keys(),
}
_OF_VALUES: Final[Mapping[str, Callable[[str, list[str]], bool]]] = {
    "=": lambda value, held: value in held,
    "in": lambda value, held: not _listed(value).isdisjoint(held),
    "not-in": lambda value, held: _listed(value).isdisjoint(held),
    "exists": lambda value, held: bool(held) is (value == "true"),
}


__all__ = ["Members", "Needed", "TooMany", "Unexpandable", "expand", "expand_resource"]
