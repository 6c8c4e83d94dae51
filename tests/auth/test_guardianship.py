"""Who may act for whom."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from auth.guardianship import VERIFIED, acts_for, today
from fhir_server.model.identifiers import CCCD

NUMBER = "001195012345"
ON = date(2026, 11, 20)
LINK: dict[str, Any] = {
    "resourceType": "RelatedPerson",
    "extension": [{"url": VERIFIED, "valueBoolean": True}],
    "identifier": [{"system": CCCD, "value": NUMBER}],
    "patient": {"reference": "Patient/bao"},
}


def test_a_verified_link_names_the_child() -> None:
    """A link that is verified, active and without an end names the child."""
    assert acts_for(LINK, NUMBER, ON) == "bao"


@pytest.mark.parametrize(
    "change",
    [
        {"extension": []},
        {"extension": [{"url": VERIFIED, "valueBoolean": False}]},
        {"extension": [{"url": VERIFIED, "valueString": "true"}]},
        {"extension": [{"url": VERIFIED, "valueBoolean": 1}]},
        {
            "extension": [
                {"url": VERIFIED, "valueBoolean": True},
                {"url": VERIFIED, "valueBoolean": False},
            ]
        },
        {"extension": [{"url": VERIFIED + "x", "valueBoolean": True}]},
        {"active": False},
        {"identifier": []},
        {"identifier": [{"system": CCCD, "value": "001195012346"}]},
        {"identifier": [{"system": "urn:x", "value": NUMBER}]},
        {"identifier": [{"system": CCCD, "value": NUMBER, "use": "old"}]},
        {"period": {"end": "2026-11-19"}},
        {"period": {"start": "2026-11-21"}},
        {"period": {"end": "2026-10"}},
        {"period": {"end": "2025"}},
        {"period": {"end": "rubbish"}},
        {"period": {"end": "2026-11-19T16:59:59Z"}},
        {"patient": {}},
        {"patient": {"reference": "Patient/bao/_history/1"}},
        {"patient": {"reference": "http://elsewhere/Patient/bao"}},
        {"patient": {"reference": "Group/bao"}},
        {"resourceType": "Patient"},
    ],
    ids=str,
)
def test_anything_less_is_no_link(change: dict[str, Any]) -> None:
    """One thing missing or wrong, and nobody may act."""
    assert acts_for(LINK | change, NUMBER, ON) is None


@pytest.mark.parametrize(
    "period",
    [
        {"end": "2026-11-20"},
        {"end": "2026-11"},
        {"end": "2026"},
        {"start": "2026-11-20"},
        {"start": "2026", "end": "2026"},
        {"end": "2026-11-19T17:00:00Z"},
        {"end": "2026-11-20T00:00:00+07:00"},
        {"end": "2026-12"},
    ],
    ids=str,
)
def test_both_ends_of_a_period_count(period: dict[str, str]) -> None:
    """The day of the start and of the end are in it; a year or month is in it whole."""
    assert acts_for(LINK | {"period": period}, NUMBER, ON) == "bao"


def test_no_number_is_nobody() -> None:
    """An empty number matches no link, also not one with an empty value."""
    link = LINK | {"identifier": [{"system": CCCD, "value": ""}]}

    assert acts_for(link, "", ON) is None


def test_the_drafts_system_is_the_number_too() -> None:
    """The Ministry draft's system of the number is read as ours."""
    draft = "http://fhir.ehealth.gov.vn/core/sid/national_id"

    assert (
        acts_for(LINK | {"identifier": [{"system": draft, "value": NUMBER}]}, NUMBER, ON) == "bao"
    )


def test_the_day_is_viet_nams() -> None:
    """After 17:00 UTC it is the next day in Viet Nam."""
    assert today(datetime(2026, 11, 19, 17, 0, tzinfo=UTC)) == ON
