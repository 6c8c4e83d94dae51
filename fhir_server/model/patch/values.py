"""What patches do with values of JSON: copy, compare, measure, and clear away what they emptied."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

Container = dict[str, Any] | list[Any]


def fresh(value: Any) -> Any:
    """Return a copy whose objects and arrays are nobody else's."""
    if isinstance(value, dict):
        return {name: fresh(member) for name, member in value.items()}
    if isinstance(value, list):
        return [fresh(item) for item in value]
    return value


def size(value: Any) -> int:
    """Return how large a value is: 1 for each value in it, and 1 for each character."""
    if isinstance(value, dict):
        return 1 + sum(len(name) + size(member) for name, member in value.items())
    if isinstance(value, list):
        return 1 + sum(map(size, value))
    return 1 + len(value) if isinstance(value, str) else 1


def equal(left: Any, right: Any) -> bool:
    """Return whether two values of JSON are equal as RFC 6902, section 4.6, has it: 1.0 is 1."""
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(equal(member, right[name]) for name, member in left.items())
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(equal, left, right))
    if _is_number(left) or _is_number(right):
        return _is_number(left) and _is_number(right) and bool(left == right)
    return type(left) is type(right) and bool(left == right)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | Decimal) and not isinstance(value, bool)


def cleared(value: Any, emptied: list[Container]) -> Any:
    """Return a value without the containers that are empty now because of what a patch removed.

    FHIR has neither empty objects nor empty arrays (https://hl7.org/fhir/R4/json.html#null): who
    removes the last telecom means that there is none. What a patch itself brings empty stays, for
    validation to refuse. The value is changed in place.

    Args:
        value: The document; itself it stays, empty or not.
        emptied: Containers from which something was taken.
    """
    if not any(not container for container in emptied):
        return value
    names = {id(container) for container in emptied}
    _clear(value, names)
    return value


def _clear(value: Any, names: set[int]) -> bool:
    """Clear what is in a value; tell whether the value itself is to go."""
    if isinstance(value, dict):
        gone = [name for name, member in value.items() if _clear_member(name, member, names)]
        for name in gone:
            del value[name]
        is_less = bool(gone)
    elif isinstance(value, list):
        kept = [item for item in value if not _clear(item, names)]
        is_less = len(kept) < len(value)
        value[:] = kept
    else:
        return False
    return not value and (is_less or id(value) in names)


def _clear_member(name: str, value: Any, names: set[int]) -> bool:
    if not (name.startswith("_") and isinstance(value, list)):
        return _clear(value, names)
    # What stands beside the values of an array keeps its place: null where nothing is left.
    left = [None if _clear(item, names) else item for item in value]
    is_less = left != value
    value[:] = left
    return not any(item is not None for item in value) and (is_less or id(value) in names)
