"""Keys of the index tables are ordered, and equal, as the values are."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.values import MAX_NUMBER, MAX_TIME, MIN_NUMBER, MIN_TIME
from fhir_server.store.keys import SHORT, code_key, decimal_key, prefix_end, time_key

NUMBERS = st.decimals(allow_nan=False, allow_infinity=False) | st.integers(-1000, 1000).map(
    lambda whole: Decimal(whole) / 100
)


@given(NUMBERS, NUMBERS)
def test_keys_of_numbers_are_ordered_as_the_numbers(one: Decimal, other: Decimal) -> None:
    """Bytes compare as the decimals do, to the last digit; 1.0 and 1.00 are equal."""
    assert (decimal_key(one) < decimal_key(other)) == (one < other)
    assert (decimal_key(one) == decimal_key(other)) == (one == other)


@given(NUMBERS)
def test_open_ends_are_beyond_every_number(number: Decimal) -> None:
    """The ends of an open range are less and greater than any number."""
    assert decimal_key(MIN_NUMBER) < decimal_key(number) < decimal_key(MAX_NUMBER)


def test_the_open_span_fits_in_64_bits() -> None:
    """The length of a range that is open at both ends can be stored."""
    assert time_key(MAX_TIME) - time_key(MIN_TIME) < 2**63


@given(st.text(), st.text())
def test_different_codes_have_different_keys(one: str, other: str) -> None:
    """A code's key is the code, or of a long one a hash that begins as no code does."""
    assert (code_key(one) == code_key(other)) == (one == other)


def test_a_long_code_has_a_short_key() -> None:
    """Megabytes of code do not make megabytes of index."""
    assert len(code_key("x" * 1_000_000)) < SHORT
    assert code_key("x" * 1_000_000) != code_key("x" * 1_000_001)


@given(st.text(max_size=5), st.text(max_size=5).filter(lambda text: "\U0010ffff" not in text))
def test_what_begins_with_a_text_comes_before_its_end(text: str, more: str) -> None:
    """A prefix is a range of the index."""
    bytes_of = (text + more).encode("utf-8", "surrogatepass")
    assert text.encode("utf-8", "surrogatepass") <= bytes_of
    assert bytes_of < prefix_end(text).encode("utf-8", "surrogatepass")
