"""What a collection holds: elements of a resource, and values of FHIRPath's own.

https://hl7.org/fhir/R4/fhirpath.html#polymorphism
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any, Final

from fhir_server.model import definitions
from fhir_server.model.fhirpath import temporal
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import Value

Keys = tuple[str | int, ...]
"""The JSON names and indexes that lead from the resource to an element."""

ANY_RESOURCE: Final = frozenset({"Resource", "DomainResource"})
QUANTITIES: Final = frozenset({
    "Quantity", "SimpleQuantity", "MoneyQuantity", "Age", "Count", "Distance", "Duration",
})  # fmt: skip

# https://hl7.org/fhir/R4/fhirpath.html#types: what each primitive is to FHIRPath.
_SYSTEM_TYPES: Final = {
    "boolean": "Boolean", "decimal": "Decimal", "integer": "Integer", "positiveInt": "Integer",
    "unsignedInt": "Integer", "date": "Date", "dateTime": "DateTime", "instant": "DateTime",
    "time": "Time",
}  # fmt: skip


# https://hl7.org/fhir/R4/fhirpath.html: a year and a month of FHIR's are the calendar's.
_CALENDAR: Final = {"a": "year", "mo": "month"}


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """An element of a resource.

    Attributes:
        type: Its FHIR type; of a backbone the path (`Patient.contact`); "" where no definition
            knows it.
        value: The object, or the value of a primitive; None where it has only an id or extensions.
        beside: What stands under `_name`: the id and extensions of a primitive.
        keys: Where it is in the resource; None for what is not in it.
    """

    type: str
    value: Any
    beside: Any = None
    keys: Keys | None = None

    @property
    def is_primitive(self) -> bool:
        """Whether it has a value of its own and not elements."""
        return not isinstance(self.value, dict)


@dataclass(frozen=True, slots=True)
class TypeInfo:
    """What `type()` gives: the namespace and name of a type, and what it is derived from."""

    namespace: str
    name: str
    base: str


Item = Node | Value | TypeInfo


@dataclass(frozen=True, slots=True)
class _Slot:
    """One JSON property in which an element of some name may stand."""

    key: str
    type: str
    is_primitive: bool


@cache
def _slots(type_: str) -> dict[str, tuple[_Slot, ...]] | None:
    """Return a type's JSON properties by element name; None where the type is not known."""
    found: dict[str, list[_Slot]] = {}
    for property_ in definitions.properties(type_).values():
        slot = _Slot(property_.name, property_.type, property_.is_primitive)
        found.setdefault(property_.element.name, []).append(slot)
    return {name: tuple(slots) for name, slots in found.items()} or None


@cache
def _by_key(type_: str) -> dict[str, _Slot]:
    return {slot.key: slot for slots in (_slots(type_) or {}).values() for slot in slots}


def root(resource: dict[str, Any], keys: Keys | None = ()) -> Node:
    """Return a resource as a node."""
    return Node(str(resource.get("resourceType", "")), resource, None, keys)


def knows(type_: str, name: str) -> bool:
    """Tell whether a type has an element of this name; True where the type is not known."""
    slots = _slots(type_)
    return slots is None or name in slots


def child_types(type_: str, name: str) -> tuple[str, ...]:
    """Return the types that an element of a type may be of."""
    return tuple(slot.type for slot in (_slots(type_) or {}).get(name, ()))


def child(node: Node, name: str) -> Iterator[Node]:
    """Give the elements of a node that have this name (`value` for each `value[x]`)."""
    holder, keys = _holder(node)
    if holder is None:
        return
    slots = _slots(node.type)
    if slots is None:
        if name in holder or f"_{name}" in holder:
            yield from _elements(holder, keys, _guessed(holder, name))
        return
    for slot in slots.get(name, ()):
        if slot.key in holder or (slot.is_primitive and f"_{slot.key}" in holder):
            yield from _elements(holder, keys, slot)


def children(node: Node) -> Iterator[Node]:
    """Give all elements of a node, in the order in which they stand."""
    for _, element in named_children(node):
        yield element


def named_children(node: Node) -> Iterator[tuple[str, Node]]:
    """Give all elements of a node with their JSON names, in the order in which they stand."""
    holder, keys = _holder(node)
    if holder is None:
        return
    known = _by_key(node.type)
    for key in holder:
        name = key.removeprefix("_")
        if name != key and name in holder:
            continue  # it is given with its value
        if name == "resourceType":
            continue
        for element in _elements(holder, keys, known.get(name) or _guessed(holder, name)):
            yield name, element


def _holder(node: Node) -> tuple[dict[str, Any] | None, Keys | None]:
    """Return the object that has a node's elements, and the keys to it."""
    if isinstance(node.value, dict):
        return node.value, node.keys
    if not isinstance(node.beside, dict):
        return None, None
    return node.beside, beside_keys(node.keys)


def beside_keys(keys: Keys | None) -> Keys | None:
    """Return where the id and extensions of a primitive stand: under `_name`."""
    if not keys:
        return None
    at = len(keys) - 1 - isinstance(keys[-1], int)
    return (*keys[:at], f"_{keys[at]}", *keys[at + 1 :])


def _guessed(holder: dict[str, Any], name: str) -> _Slot:
    """Return the property of a name that no definition knows, by what it holds."""
    value = holder.get(name)
    first = value[0] if isinstance(value, list) and value else value
    return _Slot(name, "", not isinstance(first, dict))


def _elements(holder: dict[str, Any], keys: Keys | None, slot: _Slot) -> Iterator[Node]:
    value = holder.get(slot.key)
    beside = holder.get(f"_{slot.key}") if slot.is_primitive else None
    at = None if keys is None else (*keys, slot.key)
    if not isinstance(value, list) and not isinstance(beside, list):
        yield _node(slot.type, value, beside, at)
        return
    values = value if isinstance(value, list) else []
    others = beside if isinstance(beside, list) else []
    for index in range(max(len(values), len(others))):
        one = values[index] if index < len(values) else None
        other = others[index] if index < len(others) else None
        if one is not None or other is not None:
            yield _node(slot.type, one, other, None if at is None else (*at, index))


def _node(type_: str, value: Any, beside: Any, keys: Keys | None) -> Node:
    if isinstance(value, dict):
        inside = value.get("resourceType")
        if isinstance(inside, str) and (type_ in ANY_RESOURCE or not type_):
            type_ = inside
    return Node(type_, value, beside, keys)


def at(resource: dict[str, Any], keys: Keys) -> tuple[Node, ...]:
    """Return the nodes from a resource to the element at keys, both among them.

    Raises:
        KeyError: Nothing is there.
    """
    found = [root(resource)]
    end = 0
    while end < len(keys):
        # An element of a list is two keys from what holds it.
        begin, end = end, end + 1
        index = keys[end] if end < len(keys) and isinstance(keys[end], int) else None
        end += index is not None
        node = _step(found[-1], str(keys[begin]), index)
        if node is None:
            raise KeyError(keys)
        found.append(node)
    return tuple(found)


def _step(node: Node, key: str, index: str | int | None) -> Node | None:
    """Return the element under a key, of a list at an index; a primitive under `_name`, too."""
    holder, keys = _holder(node)
    name = key.removeprefix("_")
    if holder is None or key not in holder:
        return None
    slot = _by_key(node.type).get(name) or _guessed(holder, name)
    value, beside = _item(holder.get(name), index), _item(holder.get(f"_{name}"), index)
    if value is None and beside is None:
        return None
    at_ = (*(keys or ()), name)
    return _node(slot.type, value, beside, at_ if index is None else (*at_, index))


def _item(value: Any, index: str | int | None) -> Any:
    if index is None:
        return None if isinstance(value, list) else value
    is_there = isinstance(value, list) and isinstance(index, int) and 0 <= index < len(value)
    return value[index] if is_there else None


@cache
def lineage(type_: str) -> tuple[str, ...]:
    """Return a type and what it is derived from, the nearest first; of a path the backbone's."""
    if definitions.is_type(type_):
        return definitions.ancestors(type_)
    element = definitions.element(type_) if "." in type_ else None
    if element is not None and len(element.types) == 1:
        return (type_, *definitions.ancestors(element.types[0]))
    return (type_,)


def system_type(value: Value) -> str:
    """Return the name of the System type of a value."""
    match value:
        case bool():
            return "Boolean"
        case int():
            return "Integer"
        case Decimal():
            return "Decimal"
        case str():
            return "String"
        case Moment():
            return value.kind
        case _:
            return "Quantity"


def type_info(item: Item) -> TypeInfo:
    """Return what `type()` says of an item."""
    match item:
        case Node():
            above = lineage(item.type)[1:]
            return TypeInfo("FHIR", item.type, f"FHIR.{above[0]}" if above else "System.Any")
        case TypeInfo():
            return TypeInfo("System", "SimpleTypeInfo", "System.Any")
        case _:
            return TypeInfo("System", system_type(item), "System.Any")


def plain(item: Item) -> Item | None:
    """Return an item as a value of FHIRPath's own, where it can be one.

    A primitive is its value, None where it has none; a Quantity of UCUM is a Quantity. Any other
    element stays a Node.
    """
    if not isinstance(item, Node):
        return item
    if isinstance(item.value, dict):
        return _quantity(item) if item.type in QUANTITIES else item
    return _primitive(item.type, item.value)


def _primitive(type_: str, value: Any) -> Value | None:
    kind = _SYSTEM_TYPES.get(type_, "String") if type_ else None
    if isinstance(value, str):
        if kind in {"Date", "DateTime", "Time"}:
            return temporal.parse(value, kind) or value  # type: ignore[arg-type] # one of the three
        return value
    if isinstance(value, bool) or value is None:
        return value
    if kind == "Decimal" and isinstance(value, int):
        return Decimal(value)
    if kind == "Integer" and isinstance(value, Decimal) and value == value.to_integral_value():
        return int(value)
    return value if isinstance(value, (int, Decimal)) else None


def _quantity(node: Node) -> Item:
    """Return a Quantity of FHIR's as FHIRPath's: it has a value, UCUM's system and code.

    https://hl7.org/fhir/R4/fhirpath.html#quantity
    """
    value, code = node.value.get("value"), node.value.get("code")
    is_number = isinstance(value, (int, Decimal)) and not isinstance(value, bool)
    is_ucum = node.value.get("system") == "http://unitsofmeasure.org" and isinstance(code, str)
    if not is_number or not is_ucum or "comparator" in node.value:
        return node
    return Quantity(Decimal(value), _CALENDAR.get(code, code))
