"""Questions that a resource's packed entry answers: what no index table tells by resource.

A function of SQL, `leaf(number, packing, packed)`, calls the tests that are made here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Protocol

from fhir_server.search.earth import is_near
from fhir_server.search.expression import (
    And,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Missing,
    Near,
    Not,
    NumberIs,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    Says,
    StringIs,
    TokenIs,
    TokenText,
    UriIs,
    is_version,
)
from fhir_server.search.units import in_unit
from fhir_server.search.words import says as says_words
from fhir_server.store.keys import decimal_key, time_key
from fhir_server.store.sqlite.entry import Entry
from fhir_server.store.sqlite.names import Kind, Names, unit_parts
from fhir_server.store.sqlite.wide import all_of, any_of, references_together

ValueTest = Callable[[list[Any]], bool]
EntryTest = Callable[[Entry], bool]


class Lookup(Protocol):
    """What a test needs to know of the store."""

    names: Names

    def params(self, resource_type: str, code: str) -> tuple[int, ...]:
        """Return the numbers of a parameter, and of narrower ones."""

    def resource_numbers(self, leaves: Sequence[RefersTo]) -> list[int]:
        """Return the numbers of the resources that references to one type may mean."""


def entry_test(leaf: Expression, resource_type: str, lookup: Lookup) -> EntryTest:
    """Return the test of an expression on a whole entry, which is enough to answer it."""
    match leaf:
        case And(operands):
            every = [entry_test(one, resource_type, lookup) for one in all_of(operands)]
            return lambda entry: all(test(entry) for test in every)
        case Or(operands):
            some = _any_test(any_of(operands), resource_type, lookup)
            return lambda entry: any(test(entry) for test in some)
        case Not(operand):
            denied = entry_test(operand, resource_type, lookup)
            return lambda entry: not denied(entry)
        case _:
            return _leaf_test(leaf, resource_type, lookup)


def _any_test(operands: list[Expression], resource_type: str, lookup: Lookup) -> list[EntryTest]:
    """Return tests of which one must pass; all tokens of a parameter are looked up at once.

    So are long lists of references.
    """
    tests: list[EntryTest] = []
    tokens: dict[str, set[tuple[int | None, str]]] = {}
    lists, others = references_together(operands)
    for leaves in lists:
        targets = set(lookup.resource_numbers(leaves))
        tests.append(_targets_test(lookup.params(resource_type, leaves[0].param)[:1], targets))
    for one in others:
        if isinstance(one, TokenIs) and one.code:
            system = None
            if one.system is not None:
                system = lookup.names.find(Kind.SYSTEM, one.system)
                if system is None:
                    continue
            tokens.setdefault(one.param, set()).add((system, one.code))
        else:
            tests.append(entry_test(one, resource_type, lookup))
    tests += [_tokens_test(lookup.params(resource_type, p)[:1], t) for p, t in tokens.items()]
    return tests


def _tokens_test(params: tuple[int, ...], tokens: set[tuple[int | None, str]]) -> EntryTest:
    return lambda entry: any(
        v[0] == "t" and ((v[1], v[2]) in tokens or (None, v[2]) in tokens)
        for p in params
        for v in entry.values.get(p, ())
    )


def _targets_test(params: tuple[int, ...], targets: set[int]) -> EntryTest:
    return lambda entry: any(
        v[0] == "r" and v[1] in targets for p in params for v in entry.values.get(p, ())
    )


def _leaf_test(leaf: Expression, resource_type: str, lookup: Lookup) -> EntryTest:
    if isinstance(leaf, Missing):
        params = lookup.params(resource_type, leaf.param)[:1]
        return lambda entry: any(p in entry.values for p in params) is not leaf.missing
    code: str = leaf.param  # type: ignore[union-attr]
    params = lookup.params(resource_type, code)[:1]
    test = value_test(leaf, lookup)
    return lambda entry: any(test(v) for p in params for v in entry.values.get(p, ()))


def value_test(leaf: Expression, lookup: Lookup) -> ValueTest:
    """Return the test of a leaf on one packed value."""
    match leaf:
        case TokenIs():
            return _token(leaf, lookup.names)
        case TokenText():
            return lambda v: v[0] == "t" and says(v[3] if len(v) > 3 else "", leaf.folded)  # noqa: PLR2004
        case StringIs():
            return _string(leaf)
        case UriIs():
            return _uri(leaf)
        case DateIs():
            return _date(leaf)
        case NumberIs():
            plain = number_test(leaf.prefix, leaf.value, leaf.low, leaf.high)
            return lambda v: v[0] == "q" and v[1] == 0 and plain(v)
        case QuantityIs():
            return _quantity(leaf, lookup.names)
        case RefersTo():
            return _reference(leaf, lookup)
        case Says():
            return lambda v: v[0] == "w" and says_words(v[1], leaf.words)
        case Near():
            return lambda v: v[0] == "p" and is_near(leaf, v[1], v[2])
        case Differs(_, inner, plain):
            same = value_test(inner, lookup)
            return lambda v: (
                not (v[0] == "t" and not (v[1] or v[2]))
                and not (plain and v[0] == "u" and is_version(v[1]))
                and not same(v)
            )
        case CompositeIs():
            tests = [value_test(part, lookup) for part in leaf.parts]
            return lambda v: (
                v[0] == "c"
                and len(v[1]) == len(tests)
                and all(
                    any(test(one) for one in part) for test, part in zip(tests, v[1], strict=True)
                )
            )
        case _:
            return _combined(leaf, lookup)


def _combined(leaf: Expression, lookup: Lookup) -> ValueTest:
    match leaf:
        case And(operands):
            every = [value_test(one, lookup) for one in operands]
            return lambda v: all(test(v) for test in every)
        case Or(operands):
            some = [value_test(one, lookup) for one in operands]
            return lambda v: any(test(v) for test in some)
        case Not(operand):
            test = value_test(operand, lookup)
            return lambda v: not test(v)
        case _:
            raise TypeError(f"{type(leaf).__name__} does not speak of a value")


def says(text: str, folded: str) -> bool:
    """Return whether a folded text begins with this, or holds it at a word's start."""
    return text.startswith(folded) or f" {folded}" in text


def _token(leaf: TokenIs, names: Names) -> ValueTest:
    system = None if leaf.system is None else names.find(Kind.SYSTEM, leaf.system)
    if leaf.system is not None and system is None:
        return lambda _: False
    return lambda v: (
        v[0] == "t"
        and (leaf.system is None or v[1] == system)
        and (leaf.code is None or v[2] == leaf.code)
        and bool(v[1] or v[2])
    )


def _string(leaf: StringIs) -> ValueTest:
    value = leaf.value
    match leaf.mode:
        case "starts":
            return lambda v: v[0] == "s" and v[1].startswith(value)
        case "contains":
            return lambda v: v[0] == "s" and value in v[1]
        case "ends":
            return lambda v: v[0] == "s" and v[1].endswith(value)
        case "equal":
            return lambda v: v[0] == "s" and v[1] == value
        case "exact":
            return lambda v: v[0] == "s" and v[-1] == value


def _uri(leaf: UriIs) -> ValueTest:
    uri = leaf.uri
    match leaf.mode:
        case "exact":
            return lambda v: v[0] == "u" and v[1] == uri
        case "below":
            return lambda v: v[0] == "u" and v[1].startswith(uri)
        case "above":
            return lambda v: v[0] == "u" and uri.startswith(v[1])


def _date(leaf: DateIs) -> ValueTest:
    test = range_test(leaf.prefix, time_key(leaf.low), time_key(leaf.high))
    return lambda v: v[0] == "d" and test(v[1], v[2])


def range_test(prefix: Prefix, low: int, high: int) -> Callable[[int, int], bool]:
    """Return the comparison of a time range with the range asked."""
    match prefix:
        case Prefix.EQ:
            return lambda a, b: low <= a and b <= high
        case Prefix.NE:
            return lambda a, b: a < low or b > high
        case Prefix.GT:
            return lambda _, b: b > high
        case Prefix.GE:
            return lambda _, b: b >= low
        case Prefix.LT:
            return lambda a, _: a < low
        case Prefix.LE:
            return lambda a, _: a <= high
        case Prefix.SA:
            return lambda a, _: a > high
        case Prefix.EB:
            return lambda _, b: b < low
        case Prefix.AP:
            return lambda a, b: a <= high and b >= low


def _quantity(leaf: QuantityIs, names: Names) -> ValueTest:
    tests = {
        unit: number_test(one.prefix, one.value, one.low, one.high)
        for unit, one in units_of(leaf, names)
    }
    return lambda v: v[0] == "q" and v[1] in tests and tests[v[1]](v)


def number_test(prefix: Prefix, value: Decimal, low: Decimal, high: Decimal) -> ValueTest:
    """Return the comparison of a packed number or quantity with the number asked."""
    at, first, end = decimal_key(value), decimal_key(low), decimal_key(high)
    match prefix:
        case Prefix.EQ:
            return lambda v: v[0] == "q" and first <= v[2] and v[-1] < end
        case Prefix.NE:
            return lambda v: v[0] == "q" and (v[2] < first or v[-1] >= end)
        case Prefix.GT:
            return lambda v: v[0] == "q" and v[-1] > at
        case Prefix.GE:
            return lambda v: v[0] == "q" and v[-1] >= at
        case Prefix.LT:
            return lambda v: v[0] == "q" and v[2] < at
        case Prefix.LE:
            return lambda v: v[0] == "q" and v[2] <= at
        case Prefix.SA:
            return lambda v: v[0] == "q" and v[2] > at
        case Prefix.EB:
            return lambda v: v[0] == "q" and v[-1] < at
        case Prefix.AP:
            return lambda v: v[0] == "q" and v[2] < end and v[-1] >= first


def units_of(
    leaf: QuantityIs, names: Names, among: list[int] | None = None
) -> list[tuple[int, QuantityIs]]:
    """Return the numbers of the units that a quantity asked may have, and what it is in each."""
    every = names.units() if among is None else [(nr, names.text(Kind.UNIT, nr)) for nr in among]
    found = []
    for nr, text in every:
        system, code, unit = unit_parts(text)
        if leaf.system is not None and system != leaf.system:
            continue
        if leaf.code is None or leaf.code == code or (leaf.system is None and unit == leaf.code):
            found.append((nr, leaf))
        elif (converted := in_unit(leaf, code)) is not None:
            found.append((nr, converted))
    return found


def _reference(leaf: RefersTo, lookup: Lookup) -> ValueTest:
    if leaf.url:
        return lambda v: v[0] == "u" and v[1] == leaf.url
    numbers = set(lookup.resource_numbers((leaf,)))
    return lambda v: v[0] == "r" and v[1] in numbers
