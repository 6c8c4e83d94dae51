"""When two descriptions are one person, and what one may change of a Patient: laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.identifiers import CCCD
from fhir_server.operations.identity import (
    agree,
    are_the_same,
    as_claimed,
    identity_of,
    merged,
    numbers_of,
    same_birth,
    set_apart,
    set_free,
    with_number,
    without_number,
)
from tests.citizens import patient

NUMBERS = st.sampled_from(["", "001195012345", "001093054321"])
NAMES = st.sampled_from(["NGUYỄN THỊ MẪU", "Nguyen Thi Mau", "TRẦN VĂN LẠ", "LÊ"])
BIRTHS = st.sampled_from(["", "1995", "1995-03", "1995-03-07", "1995-03-08", "1996"])
CARDS = st.sampled_from(["", "DN4010123456789", "HS4010000000025"])
GENDERS = st.sampled_from(["male", "female", "unknown"])
PATIENTS = st.builds(
    lambda number, name, birth, gender, card: patient(number, name, birth, gender, card=card),
    NUMBERS, NAMES, BIRTHS, GENDERS, CARDS,
)  # fmt: skip


@given(PATIENTS, PATIENTS)
def test_agreeing_is_mutual(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Whoever agrees with another, the other agrees with; and everybody with themselves."""
    left, right = identity_of(one), identity_of(other)

    assert agree(left, right) == agree(right, left)
    assert are_the_same(left, right) == are_the_same(right, left)
    assert agree(left, left)
    assert agree(left, right) or not are_the_same(left, right)


@given(one=PATIENTS, other=PATIENTS, settled=st.booleans())
def test_merging_loses_nothing_and_again_changes_nothing(
    one: dict[str, Any], other: dict[str, Any], *, settled: bool
) -> None:
    """Every identifier stays, and the same dossier a second time says nothing new."""
    once = merged(one, other, settled=settled)

    assert merged(once, other, settled=settled) == once
    known = [(i["system"], i["value"]) for i in once.get("identifier", ())]
    for identifier in (*one.get("identifier", ()), *other.get("identifier", ())):
        assert (identifier["system"], identifier["value"]) in known
    assert len(known) == len(set(known))


@given(PATIENTS, PATIENTS)
def test_what_was_settled_stays(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Of a settled person a dossier changes neither name, birth date nor sex."""
    once = merged(one, other, settled=True)

    for element in ("name", "birthDate", "gender"):
        assert once.get(element) == one.get(element)


@given(PATIENTS)
def test_setting_apart_and_free_is_undone(one: dict[str, Any]) -> None:
    """Kept apart a Patient has no number, a tag and a link; freed it is as before without it."""
    number = (*numbers_of(one), "001195012345")[0]

    apart = set_apart(one, number, "h1")

    assert number not in numbers_of(apart)
    assert [link["type"] for link in apart["link"]] == ["seealso"]
    assert len(apart["meta"]["tag"]) == 1
    assert set_apart(apart, number, "h1") == apart
    assert set_free(apart) == without_number(one, number)
    assert numbers_of(with_number(apart, number))[0] == number


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1995", "1995-03-07", True),
        ("1995-03", "1995-03-07", True),
        ("1995-03-07", "1995-03-07", True),
        ("1995-03-08", "1995-03-07", False),
        ("1996", "1995-03-07", False),
        ("", "1995-03-07", True),
    ],
)
def test_a_birth_year_equals_any_date_in_it(one: str, other: str, *, same: bool) -> None:
    """A partial date agrees with every date it can be."""
    assert same_birth(one, other) is same


def test_a_name_may_be_in_parts() -> None:
    """A name over REST without a text is its family and given names."""
    parts = {"resourceType": "Patient", "name": [{"family": "Nguyễn", "given": ["Thị", "Mẫu"]}]}

    assert agree(identity_of(parts), identity_of(patient()))


def test_claims_say_the_person_again() -> None:
    """Name, birth date and sex are as VNeID says; a known birth time of that day stays."""
    timed = patient(birth="1995-03-07") | {
        "_birthDate": {"extension": [{"url": "x", "valueDateTime": "1995-03-07T08:00:00+07:00"}]}
    }

    same = as_claimed(timed, "Nguyễn Thị Mẫu", "1995-03-07", "female")
    other = as_claimed(timed, "Nguyễn Thị Mẫu", "1995-03-08", "")

    assert same["name"][0]["text"] == "Nguyễn Thị Mẫu"
    assert "_birthDate" in same
    assert "_birthDate" not in other
    assert other["gender"] == "female"
    assert [i["system"] for i in same["identifier"]] == [CCCD]
