"""The insurance cards as Coverage, one each; and the self-pay Coverage of an uninsured visit."""

from __future__ import annotations

from datetime import date
from typing import Final

from fhir_server.model.identifiers import BHYT, PAYER
from mappings.xml130.draft import (
    Draft,
    Element,
    dated,
    extensions,
    facility_reference,
    own,
    prune,
    search_for,
)
from mappings.xml130.record import Summary
from mappings.xml130.rules_person import NOT_INSURED, cards_of

SOCIAL_INSURER: Final = "BHXH"
SELF_PAY_KEY: Final = "Coverage/self-pay"
_SELF_PAY: Final = "http://terminology.hl7.org/CodeSystem/coverage-selfpay"
_ACT: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_CARD_LENGTHS: Final = frozenset({10, 15})
_NUMBER_LENGTH: Final = 10


def payer() -> Element:
    """Return the logical reference to the social insurer."""
    return {
        "type": "Organization",
        "identifier": {"system": PAYER, "value": SOCIAL_INSURER},
        "display": "Bảo hiểm xã hội Việt Nam",
    }


def card_keys(xml1: Summary) -> list[str]:
    """Return the keys of the cards' Coverages, in their order."""
    return [f"Coverage/{card}" for card in dict.fromkeys(cards_of(xml1)) if card]


def card_periods(xml1: Summary) -> dict[str, Element]:
    """Return the period of each card that has one, by the key of its Coverage."""
    periods: dict[str, Element] = {}
    for n, card in enumerate(cards_of(xml1)):
        start, end = _nth(xml1.gt_the_tu, n), _nth(xml1.gt_the_den, n)
        if card and (start or end):
            # per-1: an end before its start is no Period; the Coverage says it in words instead.
            turned = start is not None and end is not None and end < start
            period = prune({"start": dated(start), "end": None if turned else dated(end)})
            periods.setdefault(f"Coverage/{card}", period)
    return periods


def stated_periods(xml1: Summary) -> dict[str, list[Element]]:
    """Return every period that a card is stated with, as extensions, by the key of its Coverage.

    A card renewed during the stay may stand twice under one code.
    """
    stated: dict[str, list[Element]] = {}
    for n, card in enumerate(cards_of(xml1)):
        start, end = _nth(xml1.gt_the_tu, n), _nth(xml1.gt_the_den, n)
        turned = _turned(xml1, n)
        period = None if turned else prune({"start": dated(start), "end": dated(end)})
        stated.setdefault(f"Coverage/{card}", []).extend(
            extensions(own("card-period", "Period", period), own("card-dates", "String", turned))
        )
    return stated


def is_insured(xml1: Summary) -> bool:
    """Whether the visit is one that a card pays for."""
    return bool(card_keys(xml1)) and xml1.ma_doituong_kcb != NOT_INSURED


def coverages(draft: Draft) -> None:
    """Add one Coverage a card."""
    xml1 = draft.record.xml1
    done: set[str] = set()
    periods = card_periods(xml1)
    for n, card in enumerate(cards_of(xml1)):
        if not card or card in done:
            continue
        done.add(card)
        facility = xml1.ma_dkbd[n] if n < len(xml1.ma_dkbd) else ""
        registered = facility_reference(facility) if facility else None
        resource = prune({
            "resourceType": "Coverage",
            "extension": extensions(
                own("primary-care-facility", "Reference", registered),
                own("card-dates", "String", _turned(xml1, n)),
            ),
            "identifier": [{"system": BHYT, "value": card}],
            "status": "active",
            "type": {
                "coding": [{"system": _ACT, "code": "PUBLICPOL"}],
                "text": "Bảo hiểm y tế",
            },
            "subscriberId": card[-_NUMBER_LENGTH:] if len(card) in _CARD_LENGTHS else None,
            "beneficiary": draft.patient,
            "period": periods.get(f"Coverage/{card}"),
            "payor": [payer()],
        })
        draft.add(f"Coverage/{card}", resource, search_for(BHYT, card))


def self_pay(draft: Draft) -> None:
    """Add the Coverage that says the patient pays, for a Claim without a card."""
    xml1 = draft.record.xml1
    draft.add(
        SELF_PAY_KEY,
        prune({
            "resourceType": "Coverage",
            "status": "active",
            "type": {
                "coding": [{"system": _SELF_PAY, "code": "pay"}],
                "text": "Người bệnh tự chi trả",
            },
            "beneficiary": draft.patient,
            "period": prune({"start": dated(xml1.ngay_vao), "end": dated(xml1.ngay_ra)}),
            "payor": [draft.patient],
        }),
    )


def _turned(xml1: Summary, n: int) -> str | None:
    start, end = _nth(xml1.gt_the_tu, n), _nth(xml1.gt_the_den, n)
    return f"{start}/{end}" if start and end and end < start else None


def _nth(days: tuple[date | None, ...], n: int) -> date | None:
    return days[n] if n < len(days) else None
