"""A CodeSystem resource as its concepts: what each is called, and which are above which.

https://hl7.org/fhir/R4/codesystem.html
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_UPWARD: Final = frozenset({"parent", "subsumedBy"})
_PROPERTIES: Final = "http://hl7.org/fhir/concept-properties#"
_SUBSUMING: Final = frozenset({None, "is-a", "classified-with"})
"""Hierarchies in which what is below is subsumed: of groups and parts that is not said."""
_RETIRED: Final = frozenset({"retired", "inactive"})


@dataclass(slots=True)
class Concept:
    """One concept: its code, its display, the codes right above it, its properties."""

    code: str
    display: str = ""
    parents: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    properties: list[tuple[str, str]] = field(default_factory=list)

    @property
    def is_inactive(self) -> bool:
        """Whether it is no longer to be used."""
        return any(
            (name == "inactive" and value == "true") or (name == "status" and value in _RETIRED)
            for name, value in self.properties
        )


@dataclass(frozen=True, slots=True)
class CodeSystem:
    """The concepts of a code system.

    Attributes:
        complete: The resource has all of them: of a fragment what is absent is not known.
        subsumes: What is below a concept is subsumed by it.
        properties: The names of properties that its concepts may have.
    """

    url: str
    version: str
    complete: bool
    subsumes: bool
    concepts: Mapping[str, Concept]
    properties: frozenset[str]

    @classmethod
    def of(cls, resource: Mapping[str, Any]) -> CodeSystem:
        """Return the code system that a CodeSystem resource holds."""
        defined = [one for one in resource.get("property", ()) if "code" in one]
        upward = {one["code"] for one in defined if _means(one, "parent")} | _UPWARD
        downward = {one["code"] for one in defined if _means(one, "child")} | {"child"}
        concepts: dict[str, Concept] = {}
        for fact, parent in _walk(resource.get("concept", ())):
            concept = concepts.setdefault(fact["code"], Concept(fact["code"]))
            concept.display = fact.get("display", concept.display)
            if parent is not None:
                concept.parents.add(parent)
            for item in fact.get("property", ()):
                name, value = _property(item)
                concept.properties.append((name, value))
                if name in upward:
                    concept.parents.add(value)
                elif name in downward:
                    concept.children.add(value)
        _link(concepts)
        used = {name for one in concepts.values() for name, _ in one.properties}
        return cls(
            resource.get("url", ""),
            resource.get("version", ""),
            resource.get("content") == "complete",
            resource.get("hierarchyMeaning") in _SUBSUMING,
            concepts,
            frozenset(used.union(one["code"] for one in defined)),
        )

    def below(self, code: str) -> set[str]:
        """Return a code and all that are below it."""
        return self._reached(code, lambda one: one.children)

    def above(self, code: str) -> set[str]:
        """Return a code and all that are above it."""
        return self._reached(code, lambda one: one.parents)

    def _reached(self, code: str, step: Any) -> set[str]:
        found = {code}
        waiting = [code]
        while waiting:
            concept = self.concepts.get(waiting.pop())
            new = step(concept) - found if concept is not None else set()
            found |= new
            waiting += new
        return found


def _means(one: Mapping[str, Any], name: str) -> bool:
    return one.get("uri") == _PROPERTIES + name


def _walk(
    concepts: Iterable[Mapping[str, Any]],
) -> Iterator[tuple[Mapping[str, Any], str | None]]:
    """Give each concept with the code of the one that it stands in."""
    waiting: list[tuple[Mapping[str, Any], str | None]] = [(one, None) for one in concepts]
    while waiting:
        concept, parent = waiting.pop()
        yield concept, parent
        waiting += [(inner, concept["code"]) for inner in concept.get("concept", ())]


def _property(item: Mapping[str, Any]) -> tuple[str, str]:
    for name, value in item.items():
        if name.startswith("value"):
            said = value.get("code", "") if isinstance(value, dict) else value  # of a Coding
            return item["code"], str(said).lower() if isinstance(said, bool) else str(said)
    return item["code"], ""


def _link(concepts: Mapping[str, Concept]) -> None:
    """Say of each pair above and below at both of its ends."""
    for concept in concepts.values():
        for parent in concept.parents:
            if parent in concepts:
                concepts[parent].children.add(concept.code)
        for child in concept.children:
            if child in concepts:
                concepts[child].parents.add(concept.code)
