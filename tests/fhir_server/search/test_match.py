"""The reference evaluator where no store can ask it: prefixes as laws, and parts of composites."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.expression import (
    And,
    CompositeIs,
    DateIs,
    Expression,
    Not,
    NumberIs,
    Or,
    Prefix,
    RefersTo,
    Sort,
    StringIs,
    TokenIs,
)
from fhir_server.search.match import Current, in_time, matches, value_matches
from fhir_server.search.order import dumped, loaded, position, sort_values
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
)

times = st.integers(-5, 5)
ranges = st.tuples(times, times).map(lambda pair: (min(pair), max(pair)))


@given(ranges, ranges)
def test_prefixes_of_ranges(value: tuple[int, int], asked: tuple[int, int]) -> None:
    """The laws of the prefixes hold for any two ranges, contract section 8 among them."""

    def holds(prefix: Prefix) -> bool:
        return in_time(prefix, *value, *asked)

    overlaps = value[0] <= asked[1] and value[1] >= asked[0]
    assert holds(Prefix.NE) is not holds(Prefix.EQ)
    assert holds(Prefix.AP) is overlaps
    assert holds(Prefix.GE) is (holds(Prefix.GT) or overlaps)
    assert holds(Prefix.LE) is (holds(Prefix.LT) or overlaps)
    assert holds(Prefix.SA) is (holds(Prefix.GT) and not overlaps)
    assert holds(Prefix.EB) is (holds(Prefix.LT) and not overlaps)
    if holds(Prefix.EQ):
        assert holds(Prefix.GE)
        assert holds(Prefix.LE)


@given(st.integers(-9, 9), st.integers(-9, 9))
def test_prefixes_of_numbers(value: int, asked: int) -> None:
    """A number compares with a whole number as numbers do."""
    number = NumberValue("n", Decimal(value), Decimal(value))
    half = Decimal("0.5")

    def holds(prefix: Prefix) -> bool:
        leaf = NumberIs("n", prefix, Decimal(asked), asked - half, asked + half)
        return value_matches(leaf, number)

    assert holds(Prefix.EQ) is (value == asked)
    assert holds(Prefix.NE) is (value != asked)
    assert holds(Prefix.GT) is holds(Prefix.SA) is (value > asked)
    assert holds(Prefix.LT) is holds(Prefix.EB) is (value < asked)
    assert holds(Prefix.GE) is (value >= asked)
    assert holds(Prefix.LE) is (value <= asked)


def _nobody(*_: object) -> None:
    """Know of no other resource."""


def _is(expression: Expression, *values: object) -> bool:
    index = IndexValues(values)  # type: ignore[arg-type]
    return matches(expression, ("Basic", "b"), 0, index, frozenset(), _nobody)


COMPOSITE = CompositeValue(
    "c", ((TokenValue("code", "", "a"), TokenValue("code", "", "b")), (StringValue("s", "x", "X"),))
)
A, B, X = TokenIs("code", None, "a"), TokenIs("code", None, "b"), StringIs("s", "x")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((A, X), True),
        ((B, X), True),
        ((Or((B, TokenIs("code", None, "z"))), X), True),
        ((And((A, B)), X), False),
        ((Not(A), X), True),
        ((Not(Or((A, B))), X), False),
        ((A, StringIs("s", "y")), False),
        ((A,), False),
        ((A, X, X), False),
    ],
)
def test_parts_of_a_composite(parts: tuple[Expression, ...], expected: bool) -> None:  # noqa: FBT001
    """Each part asks of the values of its own place in one repetition."""
    assert _is(CompositeIs("c", parts), COMPOSITE) is expected


def test_kinds_do_not_mix() -> None:
    """A leaf asks of values of its own kind only, whatever the parameter's name."""
    date = DateValue("p", 0, 1)

    assert not _is(TokenIs("p", None, "x"), StringValue("p", "x", "x"), UriValue("p", "x"))
    assert not _is(StringIs("p", "x"), TokenValue("p", "", "x"), date)
    assert not _is(DateIs("p", Prefix.EQ, 0, 1), TokenValue("p", "", "0"))
    assert not _is(RefersTo("p", None, "", "u"), UriValue("p", "u"))
    assert not _is(TokenIs("q", None, "x"), TokenValue("p", "", "x"))


def test_a_url_is_not_an_id() -> None:
    """An absolute reference is found by its URL alone, and a local one by its name alone."""
    away, local = (
        ReferenceValue("p", "", "", "http://x/Patient/1"),
        ReferenceValue("p", "Patient", "1"),
    )

    assert _is(RefersTo("p", None, "", "http://x/Patient/1"), away)
    assert not _is(RefersTo("p", None, "1"), away)
    assert _is(RefersTo("p", None, "1"), local)
    assert not _is(RefersTo("p", "Group", "1"), local)
    assert not _is(RefersTo("p", None, "", ""), away)


numbers = st.decimals(allow_nan=False, allow_infinity=False)


@given(st.lists(st.one_of(st.none(), numbers), min_size=1), st.booleans())
def test_order_by_a_number(values: list[Decimal | None], descending: bool) -> None:  # noqa: FBT001
    """Missing values come last both ways, equals newest first, and a cursor keeps the place."""
    sort = (Sort("n", "number", descending),)
    rows = [
        (number, sort_values(sort, Current(("Basic", str(number)), 0, IndexValues(index))))
        for number, value in enumerate(values)
        for index in [() if value is None else (NumberValue("n", value, value),)]
    ]

    ordered = sorted(rows, key=lambda row: position(sort, row[1], row[0]))

    present = [row for row in ordered if row[1][0] is not None]
    assert ordered[: len(present)] == present
    given_back = [loaded(sort, list(dumped(sort, row[1]))) for row in ordered]
    assert given_back == [row[1] for row in ordered]
    for one, two in pairwise(present):
        first, second = one[1][0], two[1][0]
        assert first == second or (first > second) is descending  # type: ignore[operator]
        assert first != second or one[0] > two[0]


def test_of_several_values_the_outer_one_counts() -> None:
    """Ascending goes by the least value, descending by the greatest; ranges by their lower end."""
    index = IndexValues((
        QuantityValue("q", Decimal(1), Decimal(9), "", ""),
        QuantityValue("q", Decimal(5), Decimal(5), "", ""),
        TokenValue("t", "", ""),
        CompositeValue("c", ()),
    ))  # fmt: skip
    current = Current(("Basic", "b"), 7, index)

    def by(param: str, kind: str, *, down: bool) -> object:
        return sort_values((Sort(param, kind, down),), current)[0]  # type: ignore[arg-type]

    assert by("q", "quantity", down=False) == 1
    assert by("q", "quantity", down=True) == 5
    assert by("t", "token", down=False) is None
    assert by("c", "token", down=False) is None
    assert by("_id", "id", down=False) == "b"
    assert by("_lastUpdated", "last", down=True) == 7
