"""The forms of primitive types, and times as ranges of microseconds."""

# ruff: noqa: E501 - a row of a table reads best in one line
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model import definitions, primitives
from fhir_server.model.primitives import date_range, format_instant, from_micros, is_id, micros

VALID: dict[str, list[object]] = {
    "base64Binary": ["QQ==", "QUJD", "Q U J D\n"],
    "boolean": [True, False],
    "canonical": ["http://a/b|1.0", "#x", "urn:oid:1.2"],
    "code": ["a", "a b", "final", "đ"],
    "date": ["2020", "2020-02", "2020-02-29", "0001-01-01", "9999-12-31"],
    "dateTime": [
        "2020",
        "2020-02-29",
        "2020-01-01T00:00:00Z",
        "2020-01-01T23:59:60.123456789+14:00",
    ],
    "decimal": [0, -5, Decimal("1.10"), Decimal("1E-7")],
    "id": ["a", "A-1.b", "x" * 64],
    "instant": ["2020-01-01T00:00:00Z", "2020-02-29T23:59:59.999+07:00"],
    "integer": [0, -(2**31), 2**31 - 1],
    "markdown": ["# a\n\tb"],
    "oid": ["urn:oid:1.2.3", "urn:oid:2.0"],
    "positiveInt": [1, 2**31 - 1],
    "string": ["a", " a\u00a0\r\n\t", "Nguyễn Thị Mẫu", "\U0001f600"],
    "time": ["00:00:00", "23:59:60.5"],
    "unsignedInt": [0],
    "uri": ["http://x", "urn:uuid:x", "a"],
    "url": ["http://x", "mailto:a@b"],
    "uuid": ["urn:uuid:c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ["<div/>"],
}
INVALID: dict[str, list[object]] = {
    "base64Binary": ["", "A", "@@@@", "QQ=", 1, " "],
    "boolean": ["true", 1, 0, None],
    "canonical": ["", "a b", 1],
    "code": ["", " a", "a ", "a  b", "a\tb", 1, "a\n"],
    "date": ["1974-02-30", "2021-02-29", "2020-13", "2020-1-1", "0000", "20200101", "2020-01-01T00:00:00Z", "2020-", 2020, "٢٠٢٠"],
    "dateTime": ["2020-01-01T00:00:00", "2020-01-01T24:00:00Z", "2020-01-01T00:00Z", "2020-01-01 00:00:00Z", "2020-02-30T00:00:00Z", "2020-01-01T00:00:00+15:00", "2020-01-01T00:00:00z"],
    "decimal": ["1.0", True, Decimal("NaN"), Decimal("Infinity"), 1.5, None],
    "id": ["", "a_b", "x" * 65, "a/b", 1, "a\n"],
    "instant": ["2020", "2020-01-01", "2020-01-01T00:00:00"],
    "integer": [2**31, -(2**31) - 1, True, "1", Decimal("1.0")],
    "markdown": ["", "\x00"],
    "oid": ["1.2.3", "urn:oid:3.1", "urn:oid:1.02"],
    "positiveInt": [0, -1, True],
    "string": ["", "a\x00", "\x1b", 1, None, "a" * (2**20 + 1)],
    "time": ["24:00:00", "10:00", "10:00:00Z"],
    "unsignedInt": [-1, "0"],
    "uri": ["", "a b", "a\n", 5, "x" * (2**20 + 1)],
    "url": ["", " "],
    "uuid": ["urn:uuid:C757873D-EC9A-4326-A141-556F43239520", "c757873d-ec9a-4326-a141-556f43239520"],
    "xhtml": ["", 1],
}  # fmt: skip


def test_every_primitive_type_of_r4_has_a_check() -> None:
    """No primitive type is unchecked, and none is invented."""
    known = {name for name in definitions.type_names() if definitions.kind(name) == "primitive"}
    assert set(primitives.CHECKS) == known == set(VALID) == set(INVALID)


@pytest.mark.parametrize(("type_", "value"), [(t, v) for t, vs in VALID.items() for v in vs])
def test_a_value_of_the_form_is_valid(type_: str, value: object) -> None:
    """What the specification's form allows is allowed."""
    assert primitives.is_valid(type_, value)


@pytest.mark.parametrize(
    ("type_", "value"),
    [(t, v) for t, vs in INVALID.items() for v in vs],
    ids=lambda value: repr(value)[:24],
)
def test_a_value_without_the_form_is_not(type_: str, value: object) -> None:
    """Another form, another JSON kind and a day that no calendar has are refused."""
    assert not primitives.is_valid(type_, value)


def test_ids() -> None:
    """is_id takes any object."""
    assert is_id("a-1.B")
    assert not is_id(None)
    assert not is_id("a b")


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2020", "2020-01-01T00:00:00.000000+07:00", "2020-12-31T23:59:59.999999+07:00"),
        ("2021", "2021-01-01T00:00:00.000000+07:00", "2021-12-31T23:59:59.999999+07:00"),
        ("2020-02", "2020-02-01T00:00:00.000000+07:00", "2020-02-29T23:59:59.999999+07:00"),
        ("2020-12", "2020-12-01T00:00:00.000000+07:00", "2020-12-31T23:59:59.999999+07:00"),
        ("2020-02-29", "2020-02-29T00:00:00.000000+07:00", "2020-02-29T23:59:59.999999+07:00"),
        ("2020-02-29T10:30", "2020-02-29T10:30:00.000000+07:00", "2020-02-29T10:30:59.999999+07:00"),
        ("2020-02-29T10:30Z", "2020-02-29T10:30:00.000000+00:00", "2020-02-29T10:30:59.999999+00:00"),
        ("2020-02-29T10:30:05", "2020-02-29T10:30:05.000000+07:00", "2020-02-29T10:30:05.999999+07:00"),
        ("2020-02-29T10:30:05-03:30", "2020-02-29T10:30:05.000000-03:30", "2020-02-29T10:30:05.999999-03:30"),
        ("2020-02-29T10:30:05.1Z", "2020-02-29T10:30:05.100000+00:00", "2020-02-29T10:30:05.199999+00:00"),
        ("2020-02-29T10:30:05.123Z", "2020-02-29T10:30:05.123000+00:00", "2020-02-29T10:30:05.123999+00:00"),
        ("2020-02-29T10:30:05.1234567Z", "2020-02-29T10:30:05.123456+00:00", "2020-02-29T10:30:05.123456+00:00"),
        ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.000000+00:00", "2016-12-31T23:59:59.999999+00:00"),
        ("0001", "0001-01-01T00:00:00.000000+07:00", "0001-12-31T23:59:59.999999+07:00"),
        ("9999", "9999-01-01T00:00:00.000000+07:00", "9999-12-31T23:59:59.999999+07:00"),
    ],
)  # fmt: skip
def test_a_date_is_the_range_it_covers(text: str, low: str, high: str) -> None:
    """A date covers all its microseconds; without a zone it is at +07:00."""
    assert date_range(text) == (
        micros(datetime.fromisoformat(low)),
        micros(datetime.fromisoformat(high)),
    )


@pytest.mark.parametrize(
    "text", ["", "20", "2020-13", "2020-02-30", "2020-1", "0000", "now", "2020-01-01T", "2020-01-01T10",
             "2020-01-01T25:00", "2020T10:00", " 2020", "2020\n", "2020-01-01T10:00:00+7"],
)  # fmt: skip
def test_what_is_no_date_is_an_error(text: str) -> None:
    """Anything else is a ValueError, never another range."""
    with pytest.raises(ValueError, match=r"."):
        date_range(text)


moments = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.just(UTC),
)


@given(moments)
def test_micros_and_back(moment: datetime) -> None:
    """A time and its microseconds are one to one."""
    assert from_micros(micros(moment)) == moment
    assert from_micros(micros(moment)).utcoffset() == timedelta(hours=7)


@given(moments)
def test_an_instant_that_we_write_is_one_that_we_read(moment: datetime) -> None:
    """format_instant gives a valid instant whose range begins at its millisecond."""
    text = format_instant(moment)

    assert primitives.is_valid("instant", text)
    low, high = date_range(text)
    assert low <= micros(moment) <= high


def test_instants_are_at_seven_hours_with_milliseconds() -> None:
    """The form of the contract."""
    moment = datetime(2026, 11, 25, 3, 0, 0, 123999, tzinfo=timezone(timedelta(0)))
    assert format_instant(moment) == "2026-11-25T10:00:00.123+07:00"
