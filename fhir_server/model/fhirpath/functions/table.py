"""Every function by its name, and those that are about types and the clock.

http://hl7.org/fhirpath/N1/#functions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.model.fhirpath import temporal, types
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.functions import arithmetic, collection, conversion, fhir, text
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item, TypeInfo, type_info
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.types import TypeName

if TYPE_CHECKING:
    from fhir_server.model.fhirpath.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Row:
    """A function: the fewest and the most arguments that it takes, and what it does."""

    least: int
    most: int
    run: Function


def type_operation(
    evaluation: Evaluation, operator: str, items: Sequence[Item], type_name: TypeName
) -> list[Item]:
    """Return what `is` or `as` gives.

    Raises:
        FhirPathError: There are several items (for `as` unless the environment allows it).
    """
    if len(items) > 1 and (operator == "is" or not evaluation.environment.many_as):
        raise FhirPathError(f"“{operator}” takes one item, and there are several.")
    if operator == "as":
        return [item for item in items if types.is_of(item, type_name, cast=True)]
    return [types.is_of(item, type_name) for item in items]


def _type_function(operator: str) -> Function:
    def run(call: Invocation) -> list[Item]:
        type_name = types.resolve(types.named(call.arguments[0]))
        return type_operation(call.evaluation, operator, call.focus, type_name)

    return run


def of_type(call: Invocation) -> list[Item]:
    """`ofType(type) : collection`."""
    type_name = types.resolve(types.named(call.arguments[0]))
    return [item for item in call.focus if types.is_of(item, type_name, cast=True)]


def type_(call: Invocation) -> list[Item]:
    """`type() : collection`."""
    return [type_info(item) for item in call.focus]


def part(item: Item, name: str) -> list[Item]:
    """Return an element of what `type()` gives, or of a quantity; nothing else has any."""
    if isinstance(item, TypeInfo):
        found = {"namespace": item.namespace, "name": item.name, "baseType": item.base}.get(name)
        return [] if found is None else [found]
    if isinstance(item, Quantity):
        return [item.value] if name == "value" else [item.unit] if name == "unit" else []
    return []


def _now(call: Invocation) -> Moment:
    now = call.evaluation.environment.now
    if now is None:
        raise FhirPathError(f"“{call.name}” has no clock in this evaluation.", kind="not-supported")
    return temporal.of_datetime(now)


def today(call: Invocation) -> list[Item]:
    """`today() : Date`."""
    return [_now(call).as_kind("Date")]


def time_of_day(call: Invocation) -> list[Item]:
    """`timeOfDay() : Time`."""
    now = _now(call)
    return [Moment("Time", now.parts[temporal.HOUR :], now.second)]


_OWN: Final[dict[str, tuple[int, int, Function]]] = {
    "is": (1, 1, _type_function("is")),
    "as": (1, 1, _type_function("as")),
    "ofType": (1, 1, of_type),
    "type": (0, 0, type_),
    "now": (0, 0, lambda call: [_now(call)]),
    "today": (0, 0, today),
    "timeOfDay": (0, 0, time_of_day),
}

FUNCTIONS: Final[dict[str, Row]] = {
    name: Row(*row)
    for functions in (
        collection.FUNCTIONS,
        conversion.FUNCTIONS,
        text.FUNCTIONS,
        arithmetic.FUNCTIONS,
        fhir.FUNCTIONS,
        _OWN,
    )
    for name, row in functions.items()
}
