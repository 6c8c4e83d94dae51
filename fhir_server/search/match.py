"""The reference evaluator: whether a resource's index values match an expression.

It says what an expression means; every store must agree with it (`tests/contracts`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from fhir_server.search.earth import is_near
from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Near,
    Not,
    NumberIs,
    Open,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    Says,
    StringIs,
    Tagged,
    TokenIs,
    TokenText,
    UriIs,
    is_version,
    unresolved,
)
from fhir_server.search.units import in_unit
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    NumberValue,
    PositionValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TextValue,
    TokenValue,
    UriValue,
    Value,
)
from fhir_server.search.words import says

Name = tuple[str, str]

_Bound = TypeVar("_Bound", int, Decimal)


@dataclass(frozen=True, slots=True)
class Current:
    """What the evaluator needs to know of one current resource."""

    name: Name
    last_updated: int
    index: IndexValues
    tags: frozenset[str] = frozenset()


Resolve = Callable[[str, str, Name], Iterable[Current] | None]
"""Other current resources, for chains.

`resolve("", "", name)` gives the current resource of that name, if there is one;
`resolve(source_type, param, name)` gives those of the type whose parameter refers to the name.
"""


def matches(
    expression: Expression,
    name: Name,
    last_updated: int,
    index: IndexValues,
    tags: frozenset[str],
    resolve: Resolve,
) -> bool:
    """Return whether a current resource matches.

    Args:
        expression: What is asked.
        name: The resource's type and id.
        last_updated: Microseconds since 1970.
        index: Its index values.
        tags: Its access tags.
        resolve: Finds other resources, for Chain and Has.
    """
    return _matches(expression, Current(name, last_updated, index, tags), resolve)


def _matches(expression: Expression, resource: Current, resolve: Resolve) -> bool:
    match expression:
        case And(operands):
            return all(_matches(one, resource, resolve) for one in operands)
        case Or(operands):
            return any(_matches(one, resource, resolve) for one in operands)
        case Not(operand):
            return not _matches(operand, resource, resolve)
        case Ids(ids):
            return resource.name[1] in ids
        case LastUpdated(prefix, low, high):
            moment = resource.last_updated
            return in_time(prefix, moment, moment, low, high)
        case InPatient(patients):
            return not patients.isdisjoint(resource.index.patients)
        case Tagged(tag):
            return tag in resource.tags
        case Missing(param, missing):
            return missing is not any(value.param == param for value in resource.index.values)
        case Chain() | Has():
            return _linked(expression, resource, resolve)
        case _ if isinstance(expression, Open):
            raise unresolved(expression)
        case _:
            return any(
                value.param == expression.param and value_matches(expression, value)
                for value in resource.index.values
            )


def _linked(link: Chain | Has, resource: Current, resolve: Resolve) -> bool:
    found: Iterable[Current]
    if isinstance(link, Has):
        found = resolve(link.source_type, link.param, resource.name) or ()
        return any(_matches(link.where, one, resolve) for one in found)
    return any(
        _matches(link.where, one, resolve)
        for value in resource.index.values
        if isinstance(value, ReferenceValue)
        and value.param == link.param
        and value.resource_type == link.target_type
        for one in resolve("", "", (value.resource_type, value.resource_id)) or ()
    )


def value_matches(leaf: Expression, value: Value) -> bool:
    """Return whether one index value is what a leaf asks; their parameter is not compared."""
    match leaf, value:
        case TokenIs(_, system, code), TokenValue():
            return (
                (system is None or value.system == system)
                and (code is None or value.code == code)
                and bool(value.system or value.code)
            )
        case TokenText(_, folded), TokenValue():
            return value.text.startswith(folded) or f" {folded}" in value.text
        case StringIs(), StringValue():
            return _string(leaf, value)
        case UriIs(), UriValue():
            return _uri(leaf, value.uri)
        case DateIs(_, prefix, low, high), DateValue():
            return in_time(prefix, value.low, value.high, low, high)
        case NumberIs(), NumberValue():
            return _in_number(leaf, value)
        case QuantityIs(), QuantityValue():
            return _quantity(leaf, value)
        case RefersTo(), ReferenceValue():
            return _refers(leaf, value)
        case Says(_, words), TextValue():
            return says(value.text, words)
        case Near(), PositionValue():
            return is_near(leaf, value.latitude, value.longitude)
        case Differs(), _:
            return _differs(leaf, value)
        case _ if isinstance(leaf, Open):
            raise unresolved(leaf)
        case CompositeIs(_, parts), CompositeValue():
            return len(parts) == len(value.parts) and all(
                any(_part_matches(part, one) for one in found)
                for part, found in zip(parts, value.parts, strict=True)
            )
        case _:
            return False


def _differs(leaf: Differs, value: Value) -> bool:
    match value:
        case TokenValue() if not (value.system or value.code):
            return False
        case UriValue() if leaf.plain and is_version(value.uri):
            return False
        case ReferenceValue() if leaf.plain and is_version(value.url):
            return False
        case _:
            return not _part_matches(leaf.leaf, value)


def _part_matches(part: Expression, value: Value) -> bool:
    match part:
        case And(operands):
            return all(_part_matches(one, value) for one in operands)
        case Or(operands):
            return any(_part_matches(one, value) for one in operands)
        case Not(operand):
            return not _part_matches(operand, value)
        case _:
            return value_matches(part, value)


def _quantity(leaf: QuantityIs, value: QuantityValue) -> bool:
    system, code = leaf.system, leaf.code
    if system is not None and value.system != system:
        return False
    # By R4, search.html#quantity, a code without a system may be the printed unit.
    if code is None or value.code == code or (system is None and value.unit == code):
        return _in_number(leaf, value)
    converted = in_unit(leaf, value.code)
    return converted is not None and _in_number(converted, value)


def _string(leaf: StringIs, value: StringValue) -> bool:
    match leaf.mode:
        case "exact":
            return value.exact == leaf.value
        case "equal":
            return value.folded == leaf.value
        case "contains":
            return leaf.value in value.folded
        case "ends":
            return value.folded.endswith(leaf.value)
        case "starts":
            return value.folded.startswith(leaf.value)


def _uri(leaf: UriIs, uri: str) -> bool:
    if leaf.mode == "below":
        return uri.startswith(leaf.uri)
    return leaf.uri.startswith(uri) if leaf.mode == "above" else uri == leaf.uri


def _refers(leaf: RefersTo, value: ReferenceValue) -> bool:
    if leaf.url:
        return value.url == leaf.url
    return value.resource_id == leaf.resource_id and (
        value.resource_type == leaf.resource_type
        if leaf.resource_type
        else bool(value.resource_type)
    )


def in_time(prefix: Prefix, start: int, end: int, low: int, high: int) -> bool:
    """Return whether the time range [start, end] is what a prefix and [low, high] ask."""
    match prefix:
        case Prefix.EQ:
            return low <= start and end <= high
        case Prefix.NE:
            return start < low or end > high
        case Prefix.AP:
            return start <= high and end >= low
        case _:
            return _beside(prefix, (start, end), (low, high))


def _in_number(leaf: NumberIs | QuantityIs, value: NumberValue | QuantityValue) -> bool:
    match leaf.prefix:
        case Prefix.EQ:
            return leaf.low <= value.low and value.high < leaf.high
        case Prefix.NE:
            return value.low < leaf.low or value.high >= leaf.high
        case Prefix.AP:
            return value.low < leaf.high and value.high >= leaf.low
        case _:
            return _beside(leaf.prefix, (value.low, value.high), (leaf.value, leaf.value))


def _beside(prefix: Prefix, value: tuple[_Bound, _Bound], asked: tuple[_Bound, _Bound]) -> bool:
    (start, end), (low, high) = value, asked
    match prefix:
        case Prefix.GT:
            return end > high
        case Prefix.GE:
            return end >= low
        case Prefix.LT:
            return start < low
        case Prefix.LE:
            return start <= high
        case Prefix.SA:
            return start > high
        case _:
            return end < low
