"""VNeID's claims in our words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.vneid.claims import BadClaims, Claims, birth_date, from_claims

GOOD = {
    "SoDinhDanh": "001195012345",
    "HoVaTen": "  NGUYỄN  THỊ MẪU ",
    "NgayThangNamSinh": "19950307",
    "GioiTinh": "Nữ",
}


def test_claims_become_a_person() -> None:
    """Number, name, birth date and sex."""
    assert from_claims(GOOD) == Claims("001195012345", "NGUYỄN THỊ MẪU", "1995-03-07", "female")


def test_the_claim_of_the_number_is_a_setting() -> None:
    """FHIR_SERVER_VNEID_CLAIM_ID names it."""
    claims = GOOD | {"SoDinhDanh": "1", "citizen_id": "001195012345"}

    assert from_claims(claims, number_claim="citizen_id").number == "001195012345"


def test_openids_own_names_are_read_too() -> None:
    """`name`, `birthdate` and `gender`, where VNeID's are absent."""
    claims = {
        "SoDinhDanh": "001195012345",
        "name": "A",
        "birthdate": "1995-03-07",
        "gender": "male",
    }

    assert from_claims(claims) == Claims("001195012345", "A", "1995-03-07", "male")


def test_a_decomposed_name_is_composed() -> None:
    """NFC: the name is the same however its marks came."""
    assert from_claims(GOOD | {"HoVaTen": "NGUYÊ\u0303N"}).name == "NGUYỄN"


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("19950307", "1995-03-07"),
        ("1995-03-07", "1995-03-07"),
        ("07/03/1995", "1995-03-07"),
        ("07-03-1995", "1995-03-07"),
        ("1995", "1995"),
        ("199503", "1995-03"),
        ("1995-03", "1995-03"),
        ("20000229", "2000-02-29"),
    ],
)
def test_birth_dates_are_read(text: str, read: str) -> None:
    """As VNeID writes it (yyyyMMdd), and other ways; a year alone stays a year."""
    assert birth_date(text) == read


@pytest.mark.parametrize(
    "text", ["", "19951307", "19950230", "95", "1995030", "19950307x", "٢٠٠٠", "00000101"]
)
def test_what_is_no_date_is_refused(text: str) -> None:
    """Never a guess."""
    with pytest.raises(BadClaims):
        birth_date(text)


@pytest.mark.parametrize(
    "change",
    [
        {"SoDinhDanh": "00119501234"},
        {"SoDinhDanh": "0011950123456"},
        {"SoDinhDanh": None},
        {"SoDinhDanh": "٠٠١١٩٥٠١٢٣٤٥"},
        {"SoDinhDanh": ["001195012345"]},
        {"SoDinhDanh": True},
        {"HoVaTen": ""},
        {"HoVaTen": None},
        {"HoVaTen": {"x": 1}},
        {"NgayThangNamSinh": None},
    ],
    ids=str,
)
def test_a_missing_or_wrong_claim_is_refused(change: dict[str, Any]) -> None:
    """The text says which claim, never its value."""
    with pytest.raises(BadClaims) as caught:
        from_claims(GOOD | change)

    assert "001195012345" not in str(caught.value)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("Nam", "male"),
        ("nữ", "female"),
        (1, "male"),
        ("2", "female"),
        ("Khác", None),
        (None, None),
        ("", None),
    ],
)
def test_a_sex_that_is_not_known_is_not_said(said: Any, read: str | None) -> None:
    """Only what is known is mapped."""
    assert from_claims(GOOD | {"GioiTinh": said}).gender == read


TEXTS = st.text("019 -/NỮữêU\u0303٠\n", max_size=14)


@given(st.dictionaries(st.sampled_from([*GOOD, "name"]), TEXTS | st.integers() | st.none()))
def test_whatever_comes_is_read_or_refused(claims: dict[str, Any]) -> None:
    """Nothing but BadClaims is raised."""
    try:
        person = from_claims(claims)
    except BadClaims:
        return
    assert len(person.number) == 12
