"""FHIRPath Patch: a Parameters resource of operations on places that FHIRPath names.

https://hl7.org/fhir/R4/fhirpatch.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeGuard

from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath.environment import Environment
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.expression import Expression, Place
from fhir_server.model.fhirpath.work import Work
from fhir_server.model.patch import elements
from fhir_server.model.patch.elements import Items
from fhir_server.model.patch.refusal import (
    Allowance,
    Budget,
    Unfit,
    malformed,
    require_few,
    too_long,
)
from fhir_server.model.patch.values import Container, cleared

Kind = Literal["add", "insert", "delete", "replace", "move"]

MOST_OPERATIONS: Final = 1000
"""Of one patch."""

STEPS: Final = 250_000
"""What all paths of one patch may cost together (fhirpath.work): measured, half a second."""

MOST_CHARACTERS: Final = 100_000
"""Of all paths of one patch: to read them takes up to 0.4 s."""

MOST_MOVED: Final = 10_000_000
"""Elements of the lists that the operations change, of each list at each of them: measured, half a
second."""

_STEP: Final = MOST_MOVED // STEPS

_NUMBERS: Final = {"insert": ("index",), "move": ("source", "destination")}
_PARTS: Final = frozenset({"type", "path", "name", "value", "index", "source", "destination"})
_WITH_VALUE: Final = frozenset({"add", "insert", "replace"})
_DIV: Final = re.compile(r"\.div\s*$")
"""N1 has `div` as a word of its own, so that the element's name is quoted; HL7's cases do not."""

_OF_LIST: Final = frozenset({"insert", "move"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        path: The element; of insert and move what holds the list, None: the resource.
        name: Of add the element that is added, of insert and move the list.
        value: The parameter `value`.
        numbers: Of insert the index, of move source and destination.
    """

    kind: Kind
    path: Expression | None
    name: str = ""
    value: dict[str, Any] | None = None
    numbers: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class FhirPathPatch:
    """Operations, to be done in their order, all or none."""

    operations: tuple[Operation, ...]
    cost: float = 0.0

    def apply(self, resource: dict[str, Any], allowance: Allowance | None = None) -> dict[str, Any]:
        """Return the resource with the operations done in it; it is the one that was given.

        What a deletion leaves empty is taken away too.

        Raises:
            Invalid: An operation cannot be done.
        """
        emptied: list[Container] = []
        with (allowance or Allowance()).budget(MOST_MOVED) as budget:
            for number, operation in enumerate(self.operations, start=1):
                try:
                    _do(operation, resource, budget, emptied)
                except FhirPathError as error:
                    raise _failed(error).at(number) from None
                except Unfit as unfit:
                    raise unfit.at(number) from None
        made: dict[str, Any] = cleared(resource, emptied)
        return made


# Reading


def parse(resource: dict[str, Any]) -> FhirPathPatch:
    """Return the patch that a Parameters resource is.

    Raises:
        Malformed: It is none.
        Invalid: It has too many operations.
    """
    parameters = resource.get("parameter", [])
    if not _is_objects(parameters):
        raise malformed(
            "A FHIRPath Patch has parameters, each an operation.",
            "FHIRPath Patch gồm các parameter, mỗi parameter là một thao tác.",
        )
    require_few(len(parameters), MOST_OPERATIONS)
    length = sum(len(_simple(part, str) or "") for part in _all_paths(parameters))
    if length > MOST_CHARACTERS:
        raise too_long()
    operations = tuple(_operation(one, n) for n, one in enumerate(parameters, start=1))
    return FhirPathPatch(operations, length / MOST_CHARACTERS)


def _all_paths(parameters: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in parameters:
        parts = one.get("part")
        if _is_objects(parts):
            yield from (part for part in parts if part.get("name") == "path")


def _operation(parameter: dict[str, Any], number: int) -> Operation:
    parts = _parts(parameter, number)
    kind = _simple(parts.get("type"), str)
    if kind not in {"add", "insert", "delete", "replace", "move"}:
        raise malformed(
            "its type must be add, insert, delete, replace or move.",
            "type phải là add, insert, delete, replace hoặc move.",
            number,
        )
    value = parts.get("value")
    if kind in _WITH_VALUE and value is None:
        raise malformed("it must have a value.", "phải có value.", number)
    numbers = tuple(_number(parts, name, number) for name in _NUMBERS.get(kind, ()))
    path: Expression | None = _path(parts, number)
    name = _simple(parts.get("name"), str) or ""
    if kind == "add" and not name:
        raise malformed("it must have a name.", "phải có name.", number)
    if kind in _OF_LIST and path is not None:
        list_ = path.parent()
        if list_ is None:
            raise malformed(
                "its path must end with the name of a list.",
                "path phải kết thúc bằng tên của một danh sách.",
                number,
            )
        path, name = list_
    return Operation(kind, path, name, value, numbers)


def _parts(parameter: dict[str, Any], number: int) -> dict[str, dict[str, Any]]:
    parts = parameter.get("part")
    if parameter.get("name") != "operation" or not _is_objects(parts):
        raise malformed(
            "it must be a parameter operation with parts.",
            "phải là một parameter operation có các part.",
            number,
        )
    found: dict[str, dict[str, Any]] = {}
    for part in parts:
        name = part.get("name")
        if name not in _PARTS or name in found:
            raise malformed(
                "its parts are type, path, name, value, index, source and destination, each once.",
                "các part là type, path, name, value, index, source, destination, mỗi loại một.",
                number,
            )
        found[name] = part
    return found


def _is_objects(value: Any) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _simple(part: dict[str, Any] | None, type_: type) -> Any:
    """Return the value of a part if it is of this Python type, else None."""
    values = [value for name, value in (part or {}).items() if name.startswith("value")]
    # True is an int to Python, and is none here.
    return values[0] if len(values) == 1 and type(values[0]) is type_ else None


def _number(parts: dict[str, dict[str, Any]], name: str, number: int) -> int:
    value: int | None = _simple(parts.get(name), int)
    if value is None or value < 0:
        raise malformed(
            f"its {name} must be an integer from 0.", f"{name} phải là số nguyên từ 0.", number
        )
    return value


def _path(parts: dict[str, dict[str, Any]], number: int) -> Expression:
    text = _simple(parts.get("path"), str)
    if text is None:
        raise malformed("it must have a path.", "phải có path.", number)
    try:
        return fhirpath.compile(_DIV.sub(".`div`", text))
    except FhirPathError:
        # The error's own text may quote the expression.
        raise malformed("its path is not FHIRPath.", "path không phải là FHIRPath.", number) from (
            None
        )


# Doing


def _failed(error: FhirPathError) -> Unfit:
    if error.kind == "too-costly":
        return Unfit(
            "its path takes more work than it may.",
            "path đòi hỏi nhiều công việc hơn mức cho phép.",
            code="too-costly",
        )
    return Unfit(
        "its path cannot be evaluated on the resource.",
        "không tính được path trên tài nguyên.",
    )


def _do(
    operation: Operation,
    resource: dict[str, Any],
    budget: Budget,
    emptied: list[Container],
) -> None:
    places = _places(operation, resource, budget)
    if operation.kind == "delete" and not places:
        # "Path of the element to delete (if found)"; of an element that may be.
        if operation.path is not None:
            operation.path.check(str(resource.get("resourceType")))
        return
    if len(places) != 1:
        raise _not_one(places)
    (place,) = places
    match operation.kind:
        case "add":
            _add(operation, resource, place, budget)
        case "delete":
            items, at = elements.items_at(resource, place.keys, budget)
            items.delete(at)
            emptied.append(items.holder)
        case "replace":
            _replace(operation, resource, place, budget)
        case _:
            _rearrange(operation, resource, place, budget)


def _places(operation: Operation, resource: dict[str, Any], budget: Budget) -> list[Place]:
    if operation.path is None:
        return [Place((), str(resource.get("resourceType")))]
    work = Work(budget.left // _STEP)
    given = work.left
    try:
        return operation.path.locate(resource, Environment(work=work))
    finally:
        budget.left -= _STEP * (given - max(work.left, 0))


def _not_one(places: list[Place]) -> Unfit:
    if places:
        return Unfit("its path names more than one element.", "path chỉ đến nhiều hơn một phần tử.")
    return Unfit(
        "its path names nothing in the resource.", "path không chỉ đến gì trong tài nguyên."
    )


def _add(operation: Operation, resource: dict[str, Any], place: Place, budget: Budget) -> None:
    slots = elements.slots(place.type, operation.name)
    slot, content = elements.made(slots, operation.value or {})
    holder = elements.holder(resource, place.keys, budget)
    if not slot.is_many and any(Items(holder, one, budget) for one in slots):
        raise Unfit("the element is there already: replace it.", "phần tử đã có: hãy dùng replace.")
    items = Items(holder, slot, budget)
    items.insert(len(items), content)


def _replace(operation: Operation, resource: dict[str, Any], place: Place, budget: Budget) -> None:
    items, at = elements.items_at(resource, place.keys, budget)
    slot, content = elements.made(
        elements.slots(items.slot.owner, items.slot.element), operation.value or {}
    )
    if slot == items.slot:
        items.replace(at, content)
    else:
        # A choice that is of another type now.
        items.delete(at)
        Items(items.holder, slot, budget).insert(0, content)


def _rearrange(
    operation: Operation, resource: dict[str, Any], place: Place, budget: Budget
) -> None:
    slots = elements.slots(place.type, operation.name)
    if len(slots) != 1 or not slots[0].is_many:
        raise Unfit("its path names no list.", "path không chỉ đến một danh sách.")
    items = Items(elements.holder(resource, place.keys, budget), slots[0], budget)
    if operation.kind == "insert":
        _, content = elements.made(slots, operation.value or {})
        (index,) = operation.numbers
        _require_within(index, len(items))
        items.insert(index, content)
        return
    source, destination = operation.numbers
    _require_within(max(source, destination), len(items) - 1)
    items.insert(destination, items.delete(source))


def _require_within(index: int, last: int) -> None:
    if index > last:
        raise Unfit("its index is behind the end of the list.", "chỉ số nằm ngoài danh sách.")
