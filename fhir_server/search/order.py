"""The order of matches: what `_sort` compares, and where a page ends in it.

https://hl7.org/fhir/R4/search.html#sort

Of several values the least counts where the order ascends, and the greatest where it descends;
of a range its lower end. Resources without a value come last, whichever way the order goes;
equals stand newest first.
"""

from __future__ import annotations

from decimal import Decimal
from functools import total_ordering
from typing import Any, Final

from fhir_server.search.expression import Sort
from fhir_server.search.match import Current
from fhir_server.search.place import is_versioned
from fhir_server.search.values import (
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)

SortValue = str | int | Decimal


def sort_values(sort: tuple[Sort, ...], resource: Current) -> tuple[SortValue | None, ...]:
    """Return what a resource is sorted by, a value for each key; None where it has none."""
    return tuple(_value(one, resource) for one in sort)


def _value(sort: Sort, resource: Current) -> SortValue | None:
    if sort.kind == "id":
        return resource.name[1]
    if sort.kind == "last":
        return resource.last_updated
    found = [
        comparable
        for value in resource.index.values
        if value.param == sort.param and (comparable := _comparable(value)) is not None
    ]
    if not found:
        return None
    pick: Any = max if sort.descending else min
    best: SortValue = pick(found)
    return best


def _comparable(value: Value) -> Any:
    match value:
        case TokenValue():
            return value.code or None
        case StringValue():
            return value.folded
        case DateValue() | NumberValue() | QuantityValue():
            return value.low
        case ReferenceValue():
            if value.resource_type:
                return f"{value.resource_type}/{value.resource_id}"
            # What refers to a version stands where what refers to the resource does.
            return None if is_versioned(value.url) else value.url
        case UriValue():
            return value.uri
        case _:
            return None


@total_ordering
class _Backwards:
    """A value that compares the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Backwards) and bool(self.value == other.value)

    def __lt__(self, other: _Backwards) -> bool:
        return bool(other.value < self.value)

    def __hash__(self) -> int:
        return hash(self.value)


def position(
    sort: tuple[Sort, ...],
    values: tuple[SortValue | None, ...],
    newness: int,
    *,
    backwards: bool = False,
) -> Any:
    """Return a key that Python's own sort brings into the order asked.

    Args:
        sort: The keys of `_sort`.
        values: What `sort_values` gave.
        newness: A number that is greater for what is newer.
        backwards: The last of the order comes first.
    """
    keys: list[Any] = []
    for one, value in zip(sort, values, strict=True):
        if value is None:
            keys.append((not backwards,))
        else:
            down = one.descending != backwards
            keys.append((backwards, _Backwards(value) if down else value))
    return (*keys, newness if backwards else -newness)


_DECIMAL: Final = frozenset({"number", "quantity"})


def dumped(sort: tuple[Sort, ...], values: tuple[SortValue | None, ...]) -> list[str | int | None]:
    """Return sort values as a cursor can carry them."""
    return [
        str(value) if isinstance(value, Decimal) else value
        for _, value in zip(sort, values, strict=True)
    ]


def loaded(sort: tuple[Sort, ...], values: list[Any]) -> tuple[SortValue | None, ...]:
    """Return sort values as they were before `dumped`."""
    return tuple(
        Decimal(value) if one.kind in _DECIMAL and value is not None else value
        for one, value in zip(sort, values, strict=True)
    )
