"""Identifier systems: the Ministry draft's as ours, and a citizen's number however it is typed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.identifiers import BHYT, CCCD, CMND, DRAFT, identified, meanings

TWELVE, NINE = "032655908430", "123456789"
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in TWELVE)
CARDS = [f"{DRAFT}/citizen_id", f"{DRAFT}/national_id"]


@pytest.mark.parametrize("system", CARDS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (TWELVE, (CCCD, TWELVE)),
        (f" {TWELVE}\u00a0", (CCCD, TWELVE)),
        (WIDE, (CCCD, TWELVE)),
        (NINE, (CMND, NINE)),
    ],
)
def test_the_shape_says_which_card_of_the_draft_it_is(
    system: str, value: str, expected: tuple[str, str]
) -> None:
    """12 digits are the citizen's number and 9 the old card, under both systems of the draft."""
    assert identified({"system": system, "value": value}) == expected
    assert meanings(system, value) == (expected[0],)


@pytest.mark.parametrize(("system", "meant"), [(CARDS[0], (CMND, CCCD)), (CARDS[1], (CCCD, CMND))])
def test_another_shape_may_be_either(system: str, meant: tuple[str, str]) -> None:
    """A value of another shape is first what the draft's name of the system means."""
    assert meanings(system, "B1") == meanings(system) == meant
    assert identified({"system": system, "value": "B1"}) == (meant[0], "B1")


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        ({}, ("", "")),
        ({"system": BHYT}, (BHYT, "")),
        ({"value": f" {TWELVE}"}, ("", f" {TWELVE}")),
        ({"system": BHYT, "value": WIDE}, (BHYT, WIDE)),
        ({"system": CCCD, "value": f"{TWELVE} "}, (CCCD, TWELVE)),
        ({"system": CCCD, "value": 7}, (CCCD, "")),
        ({"system": f"{DRAFT}/insurance_number", "value": "x"}, (BHYT, "x")),
    ],
)
def test_what_an_identifier_says(identifier: dict[str, object], expected: tuple[str, str]) -> None:
    """Systems are ours where they mean ours; only citizens' numbers are normalised."""
    assert identified(identifier) == expected


@given(st.text())
def test_a_number_is_compared_in_one_form(text: str) -> None:
    """What is compared is compared the same when it is normalised again."""
    once = identified({"system": CCCD, "value": text})[1]

    assert identified({"system": CCCD, "value": once})[1] == once
