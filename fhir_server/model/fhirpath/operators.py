"""The operators of FHIRPath between two collections.

http://hl7.org/fhirpath/N1/#operations
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import ROUND_DOWN, Decimal
from typing import Final

from fhir_server.model.fhirpath import equality, number, quantity, temporal
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import Item, Node, TypeInfo, plain
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import Value
from fhir_server.model.fhirpath.work import Work

Items = Sequence[Item]


def single(items: Items) -> Value | Node | TypeInfo | None:
    """Return the one value of a collection; None where it has none.

    Raises:
        FhirPathError: It has several.
    """
    if len(items) > 1:
        raise FhirPathError("The expression needs one item where there are several.")
    return plain(items[0]) if items else None


def truth(items: Items) -> bool | None:
    """Return a collection as a Boolean: one item that is none counts as true; None if empty.

    Raises:
        FhirPathError: It has several items.
    """
    if not items:
        return None
    value = single(items)
    return value if isinstance(value, bool) else True


def logic(value: bool | None) -> list[Item]:  # noqa: FBT001 - it is the value itself
    """Return a value of three-valued logic as a collection."""
    return [] if value is None else [value]


def both(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001
    """Return `and`."""
    if one is False or other is False:
        return False
    return None if one is None or other is None else True


def either(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001
    """Return `or`."""
    if one is True or other is True:
        return True
    return None if one is None or other is None else False


def one_of(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001
    """Return `xor`."""
    return None if one is None or other is None else one != other


def implies(one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001
    """Return `implies`."""
    return either(None if one is None else not one, other)


LOGIC: Final[dict[str, Callable[[bool | None, bool | None], bool | None]]] = {
    "and": both,
    "or": either,
    "xor": one_of,
    "implies": implies,
}

DECIDED: Final[dict[str, bool]] = {"and": False, "or": True, "implies": False}
"""What the left operand must be for the right one not to matter."""


def apply(operator: str, left: Items, right: Items, work: Work) -> list[Item]:
    """Return what an operator gives for two collections.

    Raises:
        FhirPathError: The operands are not such as the operator takes.
    """
    work.spend(1 + len(left) + len(right))
    if operator in LOGIC:
        return logic(LOGIC[operator](truth(left), truth(right)))
    if operator in _ON_COLLECTIONS:
        return _ON_COLLECTIONS[operator](left, right, work)
    if operator in _ORDERS:
        if not left or not right:
            return []
        single(left), single(right)
        found = equality.compare(left[0], right[0], work)
        return [] if found is None else [_ORDERS[operator](found)]
    if operator == "&":
        return _joined(left, right, work)
    one, other = single(left), single(right)
    if one is None or other is None:
        return []
    result = _calculated(operator, one, other, work)
    return [] if result is None else [result]


def _equal(left: Items, right: Items, work: Work) -> list[Item]:
    return logic(equality.equals(left, right, work))


def _not_equal(left: Items, right: Items, work: Work) -> list[Item]:
    found = equality.equals(left, right, work)
    return logic(None if found is None else not found)


def _equivalent(left: Items, right: Items, work: Work) -> list[Item]:
    return [equality.equivalents(left, right, work)]


def _not_equivalent(left: Items, right: Items, work: Work) -> list[Item]:
    return [not equality.equivalents(left, right, work)]


def union(left: Items, right: Items, work: Work) -> list[Item]:
    """Return the items of both, none twice."""
    return equality.distinct([*left, *right], work)


def _in(left: Items, right: Items, work: Work) -> list[Item]:
    if not left:
        return []
    single(left)
    sought = equality.key(left[0], work)
    return [any(equality.key(item, work) == sought for item in right)]


def _contains(left: Items, right: Items, work: Work) -> list[Item]:
    return _in(right, left, work)


_ON_COLLECTIONS: Final[dict[str, Callable[[Items, Items, Work], list[Item]]]] = {
    "=": _equal,
    "!=": _not_equal,
    "~": _equivalent,
    "!~": _not_equivalent,
    "|": union,
    "in": _in,
    "contains": _contains,
}

_ORDERS: Final[dict[str, Callable[[int], bool]]] = {
    "<": lambda found: found < 0,
    "<=": lambda found: found <= 0,
    ">": lambda found: found > 0,
    ">=": lambda found: found >= 0,
}


def _joined(left: Items, right: Items, work: Work) -> list[Item]:
    """Return `&`: what is empty is the empty string."""
    texts = ["" if value is None else value for value in (single(left), single(right))]
    if not all(isinstance(text, str) for text in texts):
        raise FhirPathError("“&” joins strings alone.")
    work.spend_text(sum(map(len, texts)))  # type: ignore[arg-type] # strings, as just seen
    return ["".join(texts)]  # type: ignore[arg-type]


def is_number(value: object) -> bool:
    """Tell whether a value is an Integer or a Decimal."""
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _calculated(
    operator: str, one: Value | Node | TypeInfo, other: Value | Node | TypeInfo, work: Work
) -> Value | None:
    match one, other:
        case int(), int() if is_number(one) and is_number(other):
            return _integers(operator, one, other)
        case str(), str() if operator == "+":
            work.spend_text(len(one) + len(other))
            return one + other
        case Moment(), Quantity() if operator in {"+", "-"}:
            return moved(one, other, -1 if operator == "-" else 1)
        case ((int() | Decimal()), (int() | Decimal())) if is_number(one) and is_number(other):
            return _decimals(operator, Decimal(one), Decimal(other))
        case Quantity(), Quantity():
            return _quantities(operator, one, other)
        case Quantity(), (int() | Decimal()) if is_number(other):
            return _quantities(operator, one, Quantity(Decimal(other)))
        case ((int() | Decimal()), Quantity()) if is_number(one):
            return _quantities(operator, Quantity(Decimal(one)), other)
    raise _unfit(operator)


def _unfit(operator: str) -> FhirPathError:
    return FhirPathError(f"“{operator}” does not take values of these types.")


def _integers(operator: str, one: int, other: int) -> int | Decimal | None:
    match operator:
        case "+":
            result = one + other
        case "-":
            result = one - other
        case "*":
            result = one * other
        case _:
            found = _decimals(operator, Decimal(one), Decimal(other))
            is_whole = operator in {"div", "mod"} and found is not None
            return int(found) if is_whole and found is not None else found
    return result if number.is_integer(result) else None


def _decimals(operator: str, one: Decimal, other: Decimal) -> int | Decimal | None:
    context = number.CONTEXT
    match operator:
        case "+":
            return number.add(one, other)
        case "-":
            return number.guarded(lambda: context.subtract(one, other))
        case "*":
            return number.multiply(one, other)
        case "/":
            return number.divide(one, other)
        case "div":
            found = number.guarded(lambda: context.divide_int(one, other))
            is_whole = found is not None and number.is_integer(int(found))
            return int(found) if is_whole and found is not None else None
        case _:
            return number.guarded(lambda: context.remainder(one, other))


def _quantities(operator: str, one: Quantity, other: Quantity) -> Quantity | None:
    match operator:
        case "+":
            return quantity.plus(one, other)
        case "-":
            return quantity.plus(one, Quantity(other.value.copy_negate(), other.unit))
        case "*":
            return quantity.times(one, other)
        case "/":
            return quantity.over(one, other)
    raise _unfit(operator)


def moved(moment: Moment, by: Quantity, sign: int) -> Moment | None:
    """Return a moment later or earlier by a quantity of time.

    Raises:
        FhirPathError: The quantity is none of time, or a year or month of UCUM's, which has no
            calendar.
    """
    step = by.step()
    if step is None:
        raise FhirPathError("Only a quantity of the calendar's time is added to a date or time.")
    amount, level = step
    if moment.kind == "Time" and level < temporal.HOUR:
        raise FhirPathError("Only hours and less are added to a time of day.")
    return temporal.add(moment, amount * sign, level)


def negated(items: Items) -> list[Item]:
    """Return a number or quantity with the other sign.

    Raises:
        FhirPathError: It is neither.
    """
    match single(items):
        case None:
            return []
        case bool():
            raise FhirPathError("A sign stands before what is no number.")
        case int() as value:
            return [-value]
        case Decimal() as value:
            return [value.copy_negate()]
        case Quantity(value, unit):
            return [Quantity(value.copy_negate(), unit)]
        case _:
            raise FhirPathError("A sign stands before what is no number.")


def signed(items: Items) -> list[Item]:
    """Return a number or quantity as it is.

    Raises:
        FhirPathError: It is neither.
    """
    negated(items)
    return list(items)


def whole(value: Decimal, rounding: str = ROUND_DOWN) -> int | None:
    """Return a decimal as an Integer; None where it is too large for one."""
    if abs(value) > number.MAX_INTEGER + 1:
        return None
    result = int(value.to_integral_value(rounding))
    return result if number.is_integer(result) else None
