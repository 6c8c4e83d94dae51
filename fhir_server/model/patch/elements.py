"""Elements of a resource, as FHIRPath Patch changes them: by the definitions, over JSON's shape.

In JSON an element of a choice is under its type's name, and a primitive has its id and extensions
beside it, under `_name`: https://hl7.org/fhir/R4/json.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.model import definitions
from fhir_server.model.fhirpath import item
from fhir_server.model.fhirpath.item import Keys
from fhir_server.model.patch.refusal import Budget, Unfit
from fhir_server.model.patch.values import fresh

Content = tuple[Any, Any]
"""A value, and what stands beside it where it is a primitive; None where there is none."""

_FAMILIES: Final = (
    frozenset({"string", "code", "id", "markdown", "xhtml"}),
    frozenset({"uri", "url", "canonical", "oid", "uuid"}),
    frozenset({"integer", "positiveInt", "unsignedInt"}),
    frozenset({"date", "dateTime", "instant"}),
    item.QUANTITIES,
)
"""Types whose values may stand for one another; validation looks at the value itself. HL7's own
cases give a narrative's xhtml as a string, as Parameters know no xhtml."""

_MOST_DEEP: Final = 100


@dataclass(frozen=True, slots=True)
class Slot:
    """One JSON property in which an element may stand.

    Attributes:
        owner: The type, or a backbone's path, that has it.
        element: The element's name: `value` of `valueQuantity`.
        key: The JSON property.
    """

    owner: str
    element: str
    key: str
    type: str
    is_primitive: bool
    is_many: bool


class Items:
    """The elements that stand in one slot of an object; they are written back at each change."""

    def __init__(self, holder: dict[str, Any], slot: Slot, budget: Budget) -> None:
        self.holder, self.slot = holder, slot
        values = _listed(holder.get(slot.key))
        beside = _listed(holder.get(f"_{slot.key}")) if slot.is_primitive else []
        many = max(len(values), len(beside))
        budget.spend(1 + many)
        # A list of each, not of pairs: these are copied and written back at each change.
        self._values = values + [None] * (many - len(values))
        self._beside = beside + [None] * (many - len(beside))

    def __len__(self) -> int:
        return len(self._values)

    def insert(self, at: int, content: Content) -> None:
        """Put an element before another, or behind the last."""
        self._values.insert(at, content[0])
        self._beside.insert(at, content[1])
        self._write()

    def extend(self, contents: Iterable[Content]) -> None:
        """Put elements behind the last."""
        for value, beside in contents:
            self._values.append(value)
            self._beside.append(beside)
        self._write()

    def replace(self, at: int, content: Content) -> None:
        """Put an element in another's place."""
        self._values[at], self._beside[at] = content
        self._write()

    def delete(self, at: int) -> Content:
        """Take an element away, and return it."""
        found = (self._values.pop(at), self._beside.pop(at))
        self._write()
        return found

    def _write(self) -> None:
        key = self.slot.key
        self._put(key, self._values)
        if self.slot.is_primitive:
            self._put(f"_{key}", self._beside)

    def _put(self, key: str, values: list[Any]) -> None:
        if values.count(None) == len(values):
            self.holder.pop(key, None)
        else:
            self.holder[key] = values if self.slot.is_many else values[0]


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, list) else [value]


# Where


def slots(owner: str, name: str) -> tuple[Slot, ...]:
    """Return the properties in which an element of a type may stand; `value` is any `value[x]`.

    Raises:
        Unfit: The type has no element of this name.
    """
    plain = name.removesuffix("[x]")
    found = tuple(
        Slot(owner, one.element.name, one.name, one.type, one.is_primitive, one.element.is_many)
        for one in definitions.properties(owner).values()
        if plain in {one.element.name, one.name}
    )
    if not found:
        raise Unfit(
            "there is no element of this name at this place.",
            "không có phần tử mang tên này ở vị trí này.",
        )
    return found


def holder(resource: dict[str, Any], keys: Keys, budget: Budget) -> dict[str, Any]:
    """Return the object that has the elements of the one at a place, made if need be.

    Of a primitive it is what stands beside it.
    """
    found = _at(resource, keys)
    if isinstance(found, dict):
        return found
    items, at = items_at(resource, keys, budget)
    value, beside = items.delete(at)
    beside = beside if isinstance(beside, dict) else {}
    items.insert(at, (value, beside))
    return beside


def items_at(resource: dict[str, Any], keys: Keys, budget: Budget) -> tuple[Items, int]:
    """Return the elements among which is the one at a place, and which of them it is.

    Raises:
        Unfit: It is the resource itself.
    """
    if not keys:
        raise Unfit("its path names the resource itself.", "path chỉ đến chính tài nguyên.")
    last = keys[-1]
    at, name = (last, keys[-2]) if isinstance(last, int) else (0, last)
    above = item.at(resource, keys)[-2]
    holder_keys = keys[: -2 if isinstance(last, int) else -1]
    for slot in slots(above.type, str(name)):
        if slot.key == name:
            return Items(_at(resource, holder_keys), slot, budget), at
    raise KeyError(keys)


def _at(resource: dict[str, Any], keys: Keys) -> Any:
    found: Any = resource
    for key in keys:
        if isinstance(found, list):
            found = found[key] if isinstance(key, int) and key < len(found) else None
        else:
            found = found.get(key) if isinstance(found, dict) else None
    return found


# What


def made(some: tuple[Slot, ...], part: Mapping[str, Any], depth: int = 0) -> tuple[Slot, Content]:
    """Return the slot that a part's value is for, and the value.

    A part has a `value[x]`, a resource, or parts: the elements of what has no name as a type.

    Raises:
        Unfit: The value's type is none that the element may have.
    """
    if depth > _MOST_DEEP:
        raise Unfit("its value is nested too deeply.", "value lồng nhau quá sâu.")
    keys = {name.removeprefix("_") for name in part if name.lstrip("_").startswith("value")}
    kinds = [*keys, *(name for name in ("part", "resource") if name in part)]
    if len(kinds) != 1:
        raise Unfit(
            "its value must be one value[x], resource or part.",
            "value phải là một value[x], resource hoặc part.",
        )
    (kind,) = kinds
    if kind == "part":
        slot = _only([one for one in some if not one.is_primitive and one.type != "Resource"])
        return slot, (_of_parts(slot.type, part["part"], depth), None)
    if kind == "resource":
        return _only([one for one in some if one.type == "Resource"]), (fresh(part[kind]), None)
    slot = _only(_of_type(some, kind.removeprefix("value")))
    return slot, (fresh(part.get(kind)), fresh(part.get(f"_{kind}")) if slot.is_primitive else None)


def _only(some: list[Slot]) -> Slot:
    if len(some) != 1:
        raise Unfit(
            "its value is not of a type that the element may have.",
            "value không thuộc kiểu mà phần tử nhận.",
        )
    return some[0]


def _of_type(some: tuple[Slot, ...], name: str) -> list[Slot]:
    """Return the slot of a type, which is written with a capital; or one that is near to it."""
    exact = [one for one in some if _capital(one.type) == name]
    if exact:
        return exact
    near = next((some_ for some_ in _FAMILIES if name in map(_capital, some_)), frozenset())
    return [one for one in some if one.type in near]


def _capital(type_: str) -> str:
    return type_[:1].upper() + type_[1:]


def _of_parts(owner: str, parts: Any, depth: int) -> dict[str, Any]:
    found: dict[Slot, list[Content]] = {}
    for part in parts if isinstance(parts, list) else [parts]:
        name = part.get("name") if isinstance(part, dict) else None
        if not isinstance(name, str):
            raise Unfit("a part of its value has no name.", "một part của value không có name.")
        some = slots(owner, name)
        slot, content = made(some, part, depth + 1)
        if not slot.is_many and any(one in found for one in some):
            raise Unfit(
                "a part of its value stands twice.", "một part của value xuất hiện hai lần."
            )
        found.setdefault(slot, []).append(content)
    element: dict[str, Any] = {}
    for slot, contents in found.items():
        Items(element, slot, Budget(1)).extend(contents)
    return element
