"""What a write needs besides its content, and how its content is read for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from auth.criteria import Criteria
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import identified

MAX_DEPTH: Final = 200
"""How deep a resource is looked through; what is deeper is refused."""


@dataclass(frozen=True, slots=True)
class Needs:
    """A resource that a write names, and what it must match for the write to be the caller's."""

    name: tuple[str, str]
    criteria: Criteria


def references(value: object, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield type and id of every literal reference; of one to another server too, by its end."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        text = value.get("reference")
        if isinstance(text, str):
            parts = text.partition("/_history/")[0].split("/")
            if len(parts) > 1 and parts[-2] in RESOURCE_TYPES:
                yield parts[-2], parts[-1]
        for item in value.values():
            yield from references(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from references(item, depth + 1)


def elements(value: object, path: str) -> Iterator[Mapping[str, Any]]:
    """Yield the elements at a path of names such as `agent.who`, whatever repeats."""
    if isinstance(value, list):
        for item in value:
            yield from elements(item, path)
    elif isinstance(value, Mapping):
        if not path:
            yield value
            return
        name, _, rest = path.partition(".")
        if name in value:
            yield from elements(value[name], rest)


def system_of(identifier: Mapping[str, Any]) -> str:
    """Return an identifier's system, a Ministry draft's as the one it means."""
    return identified(identifier)[0]


def numbers(resource: Mapping[str, Any] | None, *systems: str) -> list[tuple[str, str, str]]:
    """Return system, value and use of a resource's identifiers of these systems, sorted."""
    found = []
    for one in elements(resource, "identifier"):
        system, value = identified(one)
        if system in systems:
            found.append((system, value, str(one.get("use", ""))))
    return sorted(found)
