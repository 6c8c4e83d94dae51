"""UCUM: units are read as it has them, and converted exactly."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import ucum

KNOWN = ["g", "mg", "kg", "L", "mL", "mmol", "m", "cm", "[in_i]", "min", "h", "d", "Pa", "mm[Hg]"]


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        ("1", "kg", "g", "1000"),
        ("1", "[lb_av]", "g", "453.59237"),
        ("1", "[in_i]", "cm", "2.54"),
        ("1", "wk", "h", "168"),
        ("1", "a", "d", "365.25"),
        ("1", "m[H2O]", "Pa", "9806.65"),
        ("120", "mm[Hg]", "Pa", "15998.64"),
        ("5.5", "mmol/L", "umol/mL", "5.5"),
        ("1", "10*3/uL", "10*9/L", "1"),
        ("1", "10^3", "10*3", "1"),
        ("1", "m2", "cm2", "10000"),
        ("1", "/m", "m-1", "1"),
        ("1", "kg.m/s2", "N", "1"),
        ("1", "J/(kg.K)", "m2.s-2.K-1", "1"),
        ("1", "m/s/s", "m/s2", "1"),
        ("50", "%", "1", "0.5"),
        ("1", "U", "umol/min", "1"),
        ("1", "dg", "mg", "100"),
        ("1", "dag", "g", "10"),
        ("1", "[iU]/L", "[IU]/L", "1"),
        ("1", "k[IU]", "[iU]", "1000"),
        ("2", "{tablet}", "1", "2"),
        ("1", "mg{total}/dL", "mg/dL", "1"),
        ("1", "/{count}", "1", "1"),
        ("1", "10.mg", "mg", "10"),
        ("1", "KiBy", "By", "1024"),
        ("0", "Cel", "K", "273.15"),
        ("37", "Cel", "[degF]", "98.6"),
        ("0", "[degRe]", "Cel", "0"),
        ("1000", "mCel", "Cel", "1"),
    ],
)
def test_a_value_in_another_unit(value: str, source: str, target: str, expected: str) -> None:
    """The value is exact, and back again it is what it was."""
    found = ucum.convert(Decimal(value), source, target)

    assert found == Fraction(expected)
    back = ucum.convert(Decimal(expected), target, source)
    assert back == Fraction(value)


@pytest.mark.parametrize(
    ("source", "target"),
    [("kg", "m"), ("mol", "g"), ("[iU]", "1"), ("[pH]", "1"), ("kg", "Kg"), ("L", "")],
)
def test_what_measures_another_thing_is_not_converted(source: str, target: str) -> None:
    """Units of other dimensions, arbitrary ones and unknown ones have no value in each other."""
    assert ucum.convert(Decimal(1), source, target) is None


@pytest.mark.parametrize(
    "code",
    [
        "", "viên", "Kg", "mg/", "mg//dL", "(mg", "mg)", "mg dL", "m-", "0", "m2x", "k[in_i]", "[",
        "m+", "kmin", ".", "/", "m999", "m9999", "g99", "Cel2", "Cel.m", "m.Cel", "1000*Cel", "{",
        "10*24" + ".10*24" * 20, "m" * 201, "(" * 90 + "m" + ")" * 89,
    ],
)  # fmt: skip
def test_what_is_no_unit(code: str) -> None:
    """A code that UCUM does not have, or that no quantity has, is no unit."""
    assert ucum.unit(code) is None


def test_every_unit_of_the_table_is_one() -> None:
    """Each row's definition is made of units, and comes down to base units."""
    rows = ucum._table()

    assert len(rows) > 200
    for code, (_, value, _) in rows.items():
        unit = ucum.unit(code)
        assert unit is not None, code
        assert unit.factor > 0 < value, code


@given(st.sampled_from(KNOWN), st.sampled_from(KNOWN), st.decimals(0, 10**6, places=3))
def test_a_product_is_divided_to_what_it_was(one: str, other: str, value: Decimal) -> None:
    """`a.b/b` is worth what `a` is."""
    assert ucum.convert(value, f"{one}.{other}/{other}", one) == Fraction(value)


@given(st.text(max_size=30))
def test_any_text_is_a_unit_or_none(text: str) -> None:
    """No text makes it fail."""
    found = ucum.unit(text)

    assert found is None or found.factor > 0
