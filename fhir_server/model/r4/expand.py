"""Expand a value set of HL7's definitions into its codes, where it is a list.

https://hl7.org/fhir/R4/valueset.html#expansion
"""

from __future__ import annotations

from typing import Any


class Terminology:
    """The code systems and value sets of the definitions, and expansions out of them."""

    def __init__(self) -> None:
        self._systems: dict[str, dict[str, Any]] = {}
        self._value_sets: dict[str, dict[str, Any]] = {}

    def add_code_system(self, system: dict[str, Any]) -> None:
        """Know a CodeSystem."""
        self._systems[system["url"]] = system

    def add_value_set(self, value_set: dict[str, Any]) -> None:
        """Know a ValueSet."""
        self._value_sets[value_set["url"]] = value_set

    def expand(self, url: str) -> dict[str, list[str]] | None:
        """Return the codes of a value set by code system, or None where they are no list."""
        value_set = self._value_sets.get(url.split("|", maxsplit=1)[0])
        if value_set is None:
            return None
        members: dict[str, set[str]] = {}
        for include in value_set.get("compose", {}).get("include", ()):
            part = self._include(include)
            if part is None:
                return None
            for system, codes in part.items():
                members.setdefault(system, set()).update(codes)
        for exclude in value_set.get("compose", {}).get("exclude", ()):
            for system, codes in (self._include(exclude) or {}).items():
                members.get(system, set()).difference_update(codes)
        return {system: sorted(codes) for system, codes in sorted(members.items())} or None

    def _include(self, include: dict[str, Any]) -> dict[str, set[str]] | None:
        members: dict[str, set[str]] | None = None
        if "system" in include:
            codes = self._codes(include)
            if codes is None:
                return None
            members = {include["system"]: codes}
        for url in include.get("valueSet", ()):
            inner = self.expand(url)
            if inner is None:
                return None
            other = {system: set(codes) for system, codes in inner.items()}
            members = (
                other
                if members is None
                else {s: members[s] & other[s] for s in members.keys() & other.keys()}
            )
        return members

    def _codes(self, include: dict[str, Any]) -> set[str] | None:
        if "concept" in include:
            return {concept["code"] for concept in include["concept"]}
        system = self._systems.get(include["system"])
        if system is None or system.get("content") != "complete":
            return None
        parents = _parents(system)
        codes = set(parents)
        for rule in include.get("filter", ()):
            if rule["op"] not in {"is-a", "descendent-of"} or rule["property"] != "concept":
                return None
            below = _below(rule["value"], parents)
            codes &= below | ({rule["value"]} if rule["op"] == "is-a" else set())
        return codes


def _parents(system: dict[str, Any]) -> dict[str, set[str]]:
    """Return each code of a system with its parents, by nesting and by `subsumedBy`."""
    found: dict[str, set[str]] = {}
    waiting: list[tuple[dict[str, Any], str | None]] = [
        (concept, None) for concept in system.get("concept", ())
    ]
    while waiting:
        concept, parent = waiting.pop()
        parents = found.setdefault(concept["code"], set())
        if parent is not None:
            parents.add(parent)
        for item in concept.get("property", ()):
            if item["code"] in {"subsumedBy", "parent"}:
                parents.add(item["valueCode"])
        waiting.extend((inner, concept["code"]) for inner in concept.get("concept", ()))
    return found


def _below(code: str, parents: dict[str, set[str]]) -> set[str]:
    """Return the codes that have `code` among their ancestors."""
    below: set[str] = set()
    grown = True
    while grown:
        more = {
            child
            for child, above in parents.items()
            if child not in below and (code in above or above & below)
        }
        below |= more
        grown = bool(more)
    return below
