"""Three-valued logic: the tables of N1, and the laws that they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.fhirpath import operators
from tests.fhir_server.model.fhirpath.asking import ask

VALUES = (True, False, None)
TABLES = {
    "and": {(True, True): True, (True, None): None, (None, True): None, (None, None): None},
    "or": {(False, False): False, (False, None): None, (None, False): None, (None, None): None},
}
truths = st.sampled_from(VALUES)


def literal(value: bool | None) -> str:  # noqa: FBT001
    """Return a truth as an expression writes it."""
    return "{}" if value is None else str(value).lower()


def wanted(operator: str, one: bool | None, other: bool | None) -> bool | None:  # noqa: FBT001
    """Return what N1's tables have."""
    match operator:
        case "and" | "or":
            return TABLES[operator].get((one, other), operator == "or")
        case "xor":
            return None if None in {one, other} else one is not other
        case _:
            return TABLES["or"].get((None if one is None else not one, other), True)


@pytest.mark.parametrize("operator", ["and", "or", "xor", "implies"])
@pytest.mark.parametrize("one", VALUES)
@pytest.mark.parametrize("other", VALUES)
def test_the_tables(operator: str, one: bool | None, other: bool | None) -> None:  # noqa: FBT001
    """Each operator gives what its table has, with and without its left operand deciding."""
    expected = wanted(operator, one, other)

    assert ask(f"{literal(one)} {operator} {literal(other)}") == operators.logic(expected)
    assert operators.LOGIC[operator](one, other) is expected


@given(truths, truths, truths)
def test_the_laws(a: bool | None, b: bool | None, c: bool | None) -> None:  # noqa: FBT001
    """`and` and `or` commute, associate, and are each other's image under `not`."""
    both, either = operators.both, operators.either

    def negated(value: bool | None) -> bool | None:  # noqa: FBT001
        return None if value is None else not value

    assert both(a, b) is both(b, a)
    assert either(a, b) is either(b, a)
    assert both(a, both(b, c)) is both(both(a, b), c)
    assert either(a, either(b, c)) is either(either(a, b), c)
    assert negated(both(a, b)) is either(negated(a), negated(b))
    assert operators.implies(a, b) is operators.implies(negated(b), negated(a))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'x' and true", [True]),
        ("name[0] and true", [True]),
        ("(0).not()", [False]),
        ("{}.not()", []),
        ("{} = {}", []),
        ("1 = {}", []),
        ("{} ~ {}", [True]),
        ("1 ~ {}", [False]),
        ("{} in (1 | 2)", []),
        ("1 in {}", [False]),
        ("{} contains 1", [False]),
        ("false and (1/'x').exists()", [False]),
    ],
)
def test_one_item_is_true_and_none_is_unknown(text: str, expected: list[bool]) -> None:
    """A single item that is no Boolean counts as true, an empty collection as neither."""
    assert ask(text) == expected
