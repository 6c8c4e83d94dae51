"""Contained resources: the ids that `#id` may name, and the rules dom-3 to dom-5.

https://hl7.org/fhir/R4/references.html#contained
"""

from __future__ import annotations

from typing import Any, Final

_TEXTS: Final = frozenset({"div", "display", "text", "title", "description"})
_WRITTEN_BY_US: Final = ("versionId", "lastUpdated")


def ids(resource: Any) -> frozenset[str]:
    """Return the ids of a resource's contained resources."""
    found = resource.get("contained") if isinstance(resource, dict) else None
    if not isinstance(found, list):
        return frozenset()
    return frozenset(
        one["id"] for one in found if isinstance(one, dict) and isinstance(one.get("id"), str)
    )


def rules(resource: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rules that contained resources break, and where below the resource."""
    found = resource.get("contained")
    broken: list[tuple[str, str]] = []
    if not isinstance(found, list):
        return broken
    named = _fragments({key: value for key, value in resource.items() if key != "contained"})
    inside = [_fragments(one) for one in found]
    for index, one in enumerate(found):
        if not isinstance(one, dict):
            continue
        place = f"contained[{index}]"
        others = named.union(*(inside[i] for i in range(len(found)) if i != index))
        if f"#{one.get('id')}" not in others and "#" not in inside[index]:
            broken.append(("dom-3", place))
        meta = one.get("meta")
        if isinstance(meta, dict):
            if any(name in meta for name in _WRITTEN_BY_US):
                broken.append(("dom-4", f"{place}.meta"))
            if "security" in meta:
                broken.append(("dom-5", f"{place}.meta.security"))
    return broken


def names_all(resource: dict[str, Any]) -> bool:
    """Tell whether every `#id` in a resource surely names one of its contained resources."""
    known = {f"#{id_}" for id_ in ids(resource)} | {"#"}
    return _fragments(resource) <= known


def _fragments(node: Any) -> set[str]:
    """Return every text that could be a reference to a contained resource."""
    found: set[str] = set()
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(value for key, value in one.items() if key not in _TEXTS)
        elif isinstance(one, list):
            waiting.extend(one)
        elif isinstance(one, str) and one.startswith("#"):
            found.add(one)
    return found
