"""When items and collections are equal, equivalent, or before one another.

http://hl7.org/fhirpath/N1/#equality
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import Any, TypeGuard

from fhir_server.model.fhirpath import number, quantity, temporal
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import QUANTITIES, Item, Node, named_children, plain
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.work import Work


def key(item: Item, work: Work) -> Hashable:
    """Return what two items have alike if they are equal, and only then.

    So whole collections are compared in one walk. Of moments: those that are surely equal.
    """
    value = plain(item)
    match value:
        case bool():
            return ("Boolean", value)
        case int() | Decimal():
            return ("Number", value)
        case str():
            work.spend_text(len(value))
            return value
        case Moment():
            return _moment_key(value)
        case Quantity():
            return ("Quantity", *quantity.key(value))
        case Node():
            return ("Node", frozen(value.value, work))
        case None:
            return ("Node", frozen(item.beside if isinstance(item, Node) else None, work))
        case _:
            return value


def _moment_key(moment: Moment) -> Hashable:
    utc = temporal.in_utc(moment)
    kind = "Time" if moment.kind == "Time" else "Date"
    return (kind, utc.parts, utc.second, utc.offset is None)


def frozen(value: Any, work: Work) -> Hashable:
    """Return JSON as something that can be looked up: objects without the order of their names."""
    work.spend()
    if isinstance(value, dict):
        return frozenset((name, frozen(inner, work)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(frozen(inner, work) for inner in value)
    if isinstance(value, str):
        work.spend_text(len(value))
    return (type(value) is bool, value)


def equal(one: Item, other: Item, work: Work) -> bool | None:
    """Tell whether two items are equal; None where the precision of a moment cannot tell."""
    left, right = plain(one), plain(other)
    if isinstance(left, Moment) and isinstance(right, Moment):
        if (left.kind == "Time") != (right.kind == "Time"):
            return False
        found = temporal.compare(left, right)
        return None if found is None else found == 0
    numbers = _quantities(left, right)
    if numbers is not None:
        return quantity.is_like(*numbers)
    return key(one, work) == key(other, work)


def equals(left: Sequence[Item], right: Sequence[Item], work: Work) -> bool | None:
    """Tell whether two collections are equal, in their order; None where it cannot be told."""
    if not left or not right:
        return None
    if len(left) != len(right):
        return False
    is_sure = True
    for one, other in zip(left, right, strict=True):
        work.spend()
        found = equal(one, other, work)
        if found is False:
            return False
        is_sure = is_sure and found is True
    return True if is_sure else None


def equivalents(left: Sequence[Item], right: Sequence[Item], work: Work) -> bool:
    """Tell whether two collections are equivalent, in whatever order."""
    if len(left) != len(right):
        return False
    rest = list(right)
    for one in left:
        for at, other in enumerate(rest):
            if equivalent(one, other, work):
                del rest[at]
                break
        else:
            return False
    return True


def equivalent(one: Item, other: Item, work: Work) -> bool:
    """Tell whether two items are equivalent."""
    work.spend()
    left, right = plain(one), plain(other)
    match left, right:
        case bool(), bool():
            return left == right
        case str(), str():
            work.spend_text(len(left) + len(right))
            return " ".join(left.casefold().split()) == " ".join(right.casefold().split())
        case Moment(), Moment():
            same_kind = (left.kind == "Time") == (right.kind == "Time")
            return same_kind and temporal.compare(left, right) == 0
        case Node(), Node():
            return _nodes_equivalent(left, right, work)
    if _is_number(left) and _is_number(right):
        return number.is_equivalent(_decimal(left), _decimal(right))
    quantities = _quantities(left, right)
    if quantities is not None:
        return quantity.is_equivalent(*quantities)
    return key(one, work) == key(other, work)


def _nodes_equivalent(one: Node, other: Node, work: Work) -> bool:
    left, right = _by_name(one), _by_name(other)
    return left.keys() == right.keys() and all(
        equivalents(nodes, right[name], work) for name, nodes in left.items()
    )


def _by_name(node: Node) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for name, element in named_children(node):
        found.setdefault(name, []).append(element)
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _decimal(value: Any) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(value)


def _quantities(left: Item | None, right: Item | None) -> tuple[Quantity, Quantity] | None:
    """Return two operands as quantities where one is, and the other can be one."""
    if isinstance(left, Quantity) and isinstance(right, Quantity):
        return left, right
    if isinstance(left, Quantity) and _is_number(right):
        return left, Quantity(_decimal(right))
    if isinstance(right, Quantity) and _is_number(left):
        return Quantity(_decimal(left)), right
    return None


def compare(left: Item, right: Item, work: Work) -> int | None:
    """Return -1, 0 or 1 for two single values; None where it cannot be told.

    Raises:
        FhirPathError: They are of types that have no order, or none with one another.
    """
    one, other = plain(left), plain(right)
    if one is None or other is None:
        return None
    match one, other:
        case str(), str():
            work.spend_text(len(one) + len(other))
            return (one > other) - (one < other)
        case Moment(), Moment() if (one.kind == "Time") == (other.kind == "Time"):
            return temporal.compare(one, other)
    if _is_number(one) and _is_number(other):
        first, second = _decimal(one), _decimal(other)
        return (first > second) - (first < second)
    quantities = _quantities(one, other)
    if quantities is not None:
        return quantity.compare(*quantities)
    if _is_quantity(one) and _is_quantity(other):
        return _compare_loosely(one, other)
    raise FhirPathError("The expression compares values that have no order with one another.")


def _is_quantity(value: object) -> TypeGuard[Node | Quantity]:
    return isinstance(value, Quantity) or (isinstance(value, Node) and value.type in QUANTITIES)


def _compare_loosely(one: Node | Quantity, other: Node | Quantity) -> int | None:
    """Return the order of two quantities of FHIR's that are not UCUM's, if they are of one unit."""
    if isinstance(one, Quantity) or isinstance(other, Quantity):
        return None
    names = ("system", "code", "unit")
    if "comparator" in one.value or "comparator" in other.value:
        return None
    if any(one.value.get(name) != other.value.get(name) for name in names):
        return None
    left, right = one.value.get("value"), other.value.get("value")
    if not _is_number(left) or not _is_number(right):
        return None
    first, second = _decimal(left), _decimal(right)
    return (first > second) - (first < second)


def distinct(items: Sequence[Item], work: Work) -> list[Item]:
    """Return the items without those that are equal to an earlier one."""
    found: dict[Hashable, Item] = {}
    for item in items:
        work.spend()
        found.setdefault(key(item, work), item)
    return list(found.values())
