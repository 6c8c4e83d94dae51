"""Quantities in other units of UCUM, https://hl7.org/fhir/R4/search.html#quantity."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import ucum
from fhir_server.model.ucum import SYSTEM
from fhir_server.search.expression import Prefix, QuantityIs
from fhir_server.search.match import value_matches
from fhir_server.search.units import base_of, ends_in_base, in_base, in_unit
from fhir_server.search.values import MAX_NUMBER, MIN_NUMBER, QuantityValue

UNITS = {
    "mass": ["kg", "g", "mg", "ug", "t", "[lb_av]", "[oz_av]"],
    "pressure": ["mm[Hg]", "kPa", "Pa", "bar"],
    "concentration": ["mg/dL", "g/L", "ug/mL", "kg/m3"],
    "temperature": ["Cel", "[degF]", "K"],
    "time": ["s", "min", "h", "d", "a"],
}


def _asked(
    value: str, code: str | None, *, prefix: Prefix = Prefix.EQ, system: str | None = SYSTEM
) -> QuantityIs:
    number = Decimal(value)
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return QuantityIs("value", prefix, number, number - half, number + half, system, code)


def _value(number: str, code: str, *, system: str = SYSTEM) -> QuantityValue:
    return QuantityValue("value", Decimal(number), Decimal(number), system, code, code)


@pytest.mark.parametrize(
    ("asked", "unit", "stored", "its", "is_found"),
    [
        ("70.5", "kg", "70500", "g", True),
        ("70500", "g", "70.5", "kg", True),
        ("70500", "g", "70.501", "kg", False),
        ("70.5", "kg", "155.43", "[lb_av]", True),  # 70.502…: within the last digit asked
        ("37.0", "Cel", "98.6", "[degF]", True),
        ("98.6", "[degF]", "37", "Cel", True),
        ("98.6", "[degF]", "310.15", "K", True),
        ("120", "mm[Hg]", "15.9987", "kPa", True),
        ("5.4", "mmol/L", "5400", "umol/L", True),
        ("1.5", "h", "90", "min", True),
        ("1", "kg", "1", "m", False),
        ("1", "kg", "1", "nonsense", False),
        ("1", "nonsense", "1", "nonsense", True),
        ("1", "[iU]", "1", "[IU]", True),
        ("100", "%", "1", "1", True),
    ],
)
def test_a_quantity_is_found_in_another_unit(
    asked: str, unit: str, stored: str, its: str, *, is_found: bool
) -> None:
    """What measures the same is compared by what it is worth."""
    assert value_matches(_asked(asked, unit), _value(stored, its)) is is_found


@pytest.mark.parametrize(
    ("leaf", "value"),
    [
        (_asked("1", "kg", system=None), _value("1000", "g")),
        (_asked("1", "kg", system="http://other"), _value("1000", "g", system="http://other")),
        (_asked("1", "kg"), _value("1000", "g", system="http://other")),
        (_asked("1", "kg"), _value("1000", "g", system="")),
    ],
    ids=["no system asked", "another system", "another system stored", "no system stored"],
)
def test_units_of_no_or_another_system_are_only_compared(
    leaf: QuantityIs, value: QuantityValue
) -> None:
    """What a unit is worth is known of UCUM alone."""
    assert not value_matches(leaf, value)
    assert in_base(leaf) is None or value.system != SYSTEM


@given(
    kind=st.sampled_from(sorted(UNITS)),
    data=st.data(),
    number=st.decimals(-10_000, 10_000, places=3),
    other=st.decimals(-10_000, 10_000, places=3),
    prefix=st.sampled_from(list(Prefix)),
)
def test_what_is_found_in_base_units_is_what_is_found(
    kind: str, data: st.DataObject, number: Decimal, other: Decimal, prefix: Prefix
) -> None:
    """A store that compares in base units finds what the reference evaluator finds."""
    unit, its = (data.draw(st.sampled_from(UNITS[kind])) for _ in range(2))
    leaf = _asked(str(number), unit, prefix=prefix)
    value = _value(str(other), its)
    base, ends = in_base(leaf), ends_in_base(value)

    assert base is not None
    assert ends is not None
    assert base.param == base_of("value", unit) == base_of("value", its)
    in_base_units = QuantityValue(base.param, *ends, "", "")
    assert value_matches(base, in_base_units) is value_matches(leaf, value)


def test_open_ends_stay_open() -> None:
    """Of `<49 kg` the lower end is none in any unit."""
    value = QuantityValue("value", MIN_NUMBER, Decimal(49), SYSTEM, "kg", "kg")
    other = QuantityValue("value", Decimal(49), MAX_NUMBER, SYSTEM, "kg", "kg")

    assert ends_in_base(value) == (MIN_NUMBER, Decimal(49_000))
    assert ends_in_base(other) == (Decimal(49_000), MAX_NUMBER)
    assert value_matches(_asked("1", "g", prefix=Prefix.LT), value)
    assert value_matches(_asked("1", "t", prefix=Prefix.GT), other)


def test_a_number_without_end_is_not_reckoned_with() -> None:
    """An exponent of thousands is only compared in its own unit: nobody waits for its digits."""
    leaf = _asked("1e9999", "kg")

    assert in_unit(leaf, "g") is None
    assert in_base(leaf) is None
    assert in_unit(leaf, "kg") is leaf
    assert ends_in_base(_value("1e9999", "kg")) == (Decimal("1e10002"), Decimal("1e10002"))
    assert ends_in_base(_value("1e9999", "[degF]")) is None
    assert ends_in_base(_value("1e99999", "kg")) is None


@given(
    st.sampled_from([
        *(unit for units in UNITS.values() for unit in units),
        "mmol/L",
        "%",
        "10*9/L",
    ]),
    st.decimals(
        allow_nan=False, allow_infinity=False, places=None, min_value=-(10**35), max_value=10**35
    ),
)
def test_the_short_way_to_the_base_gives_what_fractions_give(code: str, number: Decimal) -> None:
    """Most units are a decimal of their base: then nothing is reckoned in fractions."""
    found = ends_in_base(QuantityValue("value", number, number, SYSTEM, code, code))

    unit = ucum.unit(code)
    assert found is not None
    assert unit is not None
    exact = unit.base(number)
    error = abs(Fraction(found[0]) - exact)
    assert error <= abs(exact) / 10**59
