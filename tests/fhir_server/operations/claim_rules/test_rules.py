"""The claim rules, each with what it finds and what it must not find."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.primitives import VIETNAM
from fhir_server.operations.claim_rules.card import card
from fhir_server.operations.claim_rules.duplicate import duplicate
from fhir_server.operations.claim_rules.facts import (
    Card,
    ClaimFacts,
    Evidence,
    Line,
    Visit,
    dong,
    plain,
)
from fhir_server.operations.claim_rules.line_arithmetic import figures, line_arithmetic
from fhir_server.operations.claim_rules.sums import sums
from fhir_server.operations.claim_rules.table import RULES, adjudicate
from fhir_server.operations.claim_rules.two_places import two_places
from mappings.xml130.arithmetic import rounded, splits, wrong_in_line


def at(text: str | None) -> datetime | None:
    """A time in Viet Nam: `11-20 08:15` of 2026."""
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=VIETNAM) if text else None


def visit(
    name: str = "v1",
    start: str | None = "11-20 08:15",
    end: str | None = "11-20 09:50",
    facility: str = "01999",
    kind: str = "01",
) -> Visit:
    """A visit."""
    return Visit(
        facility, kind, at(start), at(end), f"LK-{name}", f"Encounter/{name}", f"Claim/{name}"
    )


def amounts(**values: str | int) -> dict[str, Decimal]:
    """Amounts by the decree's names."""
    return {name.upper(): Decimal(value) for name, value in values.items()}


def claim(own: Visit | None = None, **more: Any) -> ClaimFacts:
    """A claim of 8,000 dong."""
    more.setdefault("amounts", amounts(t_bhtt=8000))
    return ClaimFacts("Claim/v1", own or visit(), **more)


def rules(found: list[Any]) -> list[tuple[str, Decimal]]:
    """Return rule and money of each finding."""
    return [(one.rule, one.amount) for one in found]


# G01


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (visit("v2"), True),
        (visit("v2", end="11-20 12:00"), True),
        (visit("v1"), False),
        (visit("v2", start="11-20 08:16"), False),
        (visit("v2", facility="79999"), False),
        (replace(visit("v2"), key=""), False),
    ],
    ids=["same arrival", "other end", "itself", "a minute later", "another facility", "no key"],
)
def test_g01_finds_the_same_arrival_at_the_same_facility(other: Visit, *, found: bool) -> None:
    """Patient, facility and arrival equal under another key is a duplicate."""
    findings = duplicate(claim(), Evidence((other,)))

    assert rules(findings) == ([("G01", Decimal(8000))] if found else [])


# G04


def days(start: str | None, end: str | None) -> Card:
    """A card valid on these days of 2026 (or of the year given)."""
    return Card(
        "Coverage/1",
        "DN4010123456789",
        date.fromisoformat(start) if start else None,
        date.fromisoformat(end) if end else None,
    )


STAY = visit(start="11-01 08:00", end="11-20 10:00", kind="03")
INSIDE = visit(start="11-10 08:00", end="11-10 09:00")


@pytest.mark.parametrize(
    ("cards", "own", "found"),
    [
        ([days("2026-01-01", "2026-12-31")], visit(), False),
        ([days("2026-11-20", "2026-11-20")], visit(), False),
        ([days("2026-11-21", "2026-12-31")], visit(), True),
        ([days("2025-01-01", "2026-11-19")], visit(), False),
        ([days("2025-01-01", "2026-11-05")], visit(), False),
        ([days("2025-01-01", "2026-11-04")], visit(), True),
        ([days(None, None)], visit(), False),
        ([days("2026-01-01", "9999-12-31")], visit(), False),
        ([days("2026-01-01", "2026-11-05")], STAY, False),
        ([days("2026-01-01", "2026-11-04")], STAY, True),
        ([days("2026-01-01", "2026-11-03"), days("2026-11-04", "2026-12-31")], STAY, False),
        ([days("2026-01-01", "2026-11-02"), days("2026-11-10", "2026-12-31")], STAY, True),
        ([days("2020-01-01", "2020-12-31"), days("2026-01-01", "2026-12-31")], STAY, False),
        ([], visit(), False),
    ],
    ids=[
        "the year",
        "that day alone",
        "from tomorrow",
        "to yesterday",
        "to 15 days before",
        "to 16 days before",
        "no dates stated",
        "without end",
        "ends 15 days before discharge",
        "ends 16 days before discharge",
        "renewed during the stay",
        "a gap between two cards",
        "an old and a new card",
        "no card",
    ],
)
def test_g04_asks_the_arrival_and_fifteen_days_more(
    cards: list[Card], own: Visit, *, found: bool
) -> None:
    """GT_THE_TU <= date(NGAY_VAO) and GT_THE_DEN >= date(NGAY_RA) - 15 days."""
    findings = card(claim(own, cards=tuple(cards)), Evidence())

    assert rules(findings) == ([("G04", Decimal(8000))] if found else [])


def test_g04_is_not_for_those_who_pay_themselves() -> None:
    """A claim without insurance needs no card."""
    expired = days("2020-01-01", "2020-12-31")

    assert card(claim(cards=(expired,), insured=False), Evidence()) == []


# G07


@pytest.mark.parametrize(
    ("own", "other", "found"),
    [
        (STAY, visit("o", "11-10 08:00", "11-12 08:00", "79999", "03"), True),
        (STAY, visit("o", "11-20 10:00", "11-25 08:00", "79999", "03"), False),
        (STAY, visit("o", "11-20 09:59", "11-25 08:00", "79999", "09"), True),
        (STAY, visit("o", "11-10 08:00", "11-12 08:00", "", "03"), False),
        (visit(start="11-01 08:00"), visit("o", "11-20 09:50", None, "79999", "04"), False),
        (visit(kind="02"), visit("o", "11-20 08:15", None, "79999", "04"), False),
        (STAY, visit("o", "11-10 08:00", "11-10 09:00", "79999", "01"), True),
        (INSIDE, visit("o", "11-01 08:00", None, "79999", "03"), True),
        (STAY, visit("o", "11-01 07:00", "11-01 08:30", "79999", "01"), False),
        (STAY, visit("o", "11-20 09:30", "11-20 11:00", "79999", "01"), False),
        (STAY, visit("o", "11-10 08:00", "11-30 23:59", "79999", "02"), True),
        (STAY, visit("o", "10-20 08:00", "11-15 23:59", "79999", "05"), False),
        (STAY, visit("o", "11-10 08:00", "11-12 08:00", "01999", "03"), False),
        (visit(), visit("o", "11-20 08:30", "11-20 09:00", "79999", "01"), False),
    ],
    ids=[
        "two stays",
        "a transfer",
        "stays that overlap by a minute",
        "a place that is not known",
        "admitted when the visit ended",
        "drugs fetched at the minute of admission",
        "an out-patient visit inside the stay",
        "inside a stay that still lasts",
        "begun before the stay",
        "ended after the stay",
        "drugs fetched during the stay",
        "drugs that last into the stay",
        "the same facility",
        "two out-patient visits",
    ],
)  # fmt: skip
def test_g07_finds_two_places_at_once(own: Visit, other: Visit, *, found: bool) -> None:
    """Stays at two facilities do not overlap, and no visit lies inside a stay elsewhere."""
    findings = two_places(claim(own), Evidence((other,)))

    assert rules(findings) == ([("G07", Decimal(8000))] if found else [])
    assert all(reference.partition("/")[0] in {"Claim", "Encounter"}
               for one in findings for reference in one.evidence)  # fmt: skip


def test_g07_says_no_more_than_the_fact_of_what_may_not_be_shown() -> None:
    """A visit without a reference is counted; neither its place nor its name is told."""
    hidden = replace(
        visit("o", "11-10 08:00", "11-12 08:00", "79999", "03"), reference="", claim=""
    )

    (finding,) = two_places(claim(STAY), Evidence((hidden,)))

    assert finding.evidence == ("Encounter/v1",)
    assert "79999" not in finding.text_vi + finding.text_en


# G18


def drug(**changed: str | int) -> Line:
    """Ten at 1,000 dong, of which the fund pays 80 per cent."""
    right = amounts(
        so_luong=10, don_gia=1000, tyle_tt_bh=100, muc_huong=80, thanh_tien_bv=10000,
        thanh_tien_bh=10000, t_nguonkhac=0, t_bntt=0, t_bncct=2000, t_bhtt=8000,
    )  # fmt: skip
    return Line(1, "XML2", right | amounts(**changed), {"MA_NHOM": "4", "MA_PTTT": "1"})


def service(group: str = "13", **changed: str | int) -> Line:
    """A second examination at 30 per cent of 100,000 dong, 80 per cent paid."""
    right = amounts(
        so_luong=1, don_gia_bv=120000, don_gia_bh=100000, tyle_tt_dv=30, tyle_tt_bh=100,
        muc_huong=80, thanh_tien_bv=120000, thanh_tien_bh=30000, t_nguonkhac=0, t_bntt=90000,
        t_bncct=6000, t_bhtt=24000,
    )  # fmt: skip
    return Line(2, "XML3", right | amounts(**changed), {"MA_NHOM": group, "MA_PTTT": "1"})


def test_g18_the_annexs_worked_example() -> None:
    """10,000,000 with 3,000,000 of aid (case b), ratio 50, level 80: the annex's own figures."""
    example = Line(
        1,
        "XML2",
        amounts(
            so_luong=1, don_gia=10000000, tyle_tt_bh=50, muc_huong=80, thanh_tien_bv=10000000,
            thanh_tien_bh=3500000, t_nguonkhac_nsnn=3000000, t_nguonkhac=3000000,
            t_bhtt=2800000, t_bncct=700000, t_bntt=3500000,
        ),
    )  # fmt: skip

    assert wrong_in_line(figures(example)) == ()
    (_, case_b) = splits(Decimal(10000000), Decimal(3500000), Decimal(80), Decimal(3000000))
    assert (case_b.fund, case_b.copayment, case_b.patient) == (2800000, 700000, 3500000)


def test_g18_aid_to_one_patient_is_taken_from_the_patients_share_first() -> None:
    """Case a: BNTT, then BNCCT, then BHTT."""
    # 100,000 in all, 80,000 in scope, level 80: fund 64,000, co-payment 16,000, patient 20,000
    for aid, patient, copayment, fund in (
        (10000, 10000, 16000, 64000),
        (25000, 0, 11000, 64000),
        (40000, 0, 0, 60000),
    ):
        (case_a, _) = splits(Decimal(100000), Decimal(80000), Decimal(80), Decimal(aid))
        assert (case_a.patient, case_a.copayment, case_a.fund) == (patient, copayment, fund)


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        (drug(), {}),
        (service(), {}),
        (drug(thanh_tien_bv="10000.01"), {}),
        (drug(thanh_tien_bv="10000.02"), {"THANH_TIEN_BV": "0.02"}),
        (drug(thanh_tien_bv=11000), {"THANH_TIEN_BV": "1000"}),
        (drug(thanh_tien_bh=9000), {"THANH_TIEN_BH": "1000"}),
        (drug(t_bhtt=8500), {"T_BHTT": "500"}),
        (drug(t_bncct=0), {"T_BNCCT": "2000"}),
        (drug(t_bntt=10), {"T_BNTT": "10"}),
        (drug(t_nguonkhac_cl=5), {"T_NGUONKHAC": "5"}),
        (drug(muc_huong=100), {"T_BNCCT": "2000", "T_BHTT": "2000"}),
        (service(tyle_tt_dv=100), {"THANH_TIEN_BH": "70000"}),
        (
            service("10", tyle_tt_dv=0, thanh_tien_bh=100000, t_bntt=20000, t_bncct=20000,
                    t_bhtt=80000),
            {},
        ),
    ],
    ids=[
        "a right drug", "a right service", "a cent off", "two cents off", "total", "in scope",
        "fund", "co-payment", "patient", "sources", "level", "second exam at full price",
        "a supply without ratio",
    ],
)  # fmt: skip
def test_g18_finds_each_wrong_amount_once(line: Line, wrong: dict[str, str]) -> None:
    """Each field is held against its formula; one wrong amount is one finding."""
    findings = line_arithmetic(claim(lines=(line,)), Evidence())

    assert {one.field: one.amount for one in findings} == {
        name: Decimal(amount) for name, amount in wrong.items()
    }
    assert {one.line for one in findings} <= {line.sequence}


MONEY = st.decimals(min_value=0, max_value=10**9, places=3)


@given(
    quantity=st.decimals(min_value=0, max_value=1000, places=3),
    price=MONEY,
    ratio=st.integers(0, 100),
    level=st.sampled_from([0, 32, 40, 80, 95, 100]),
    aid=st.decimals(min_value=0, max_value=10**6, places=2),
)
def test_g18_a_line_reckoned_by_the_formulas_is_right(
    quantity: Decimal, price: Decimal, ratio: int, level: int, aid: Decimal
) -> None:
    """Whatever the figures: amounts made by either lawful split have no finding, and add up."""
    total = rounded(quantity * price)
    scope = rounded(quantity * price * ratio / 100)
    aid = min(aid, total)
    (split, *_) = splits(total, scope, Decimal(level), aid)
    line = Line(
        1,
        "XML2",
        {
            "SO_LUONG": quantity,
            "DON_GIA": price,
            "TYLE_TT_BH": Decimal(ratio),
            "MUC_HUONG": Decimal(level),
            "THANH_TIEN_BV": total,
            "THANH_TIEN_BH": scope,
            "T_NGUONKHAC": aid,
            "T_BNTT": rounded(split.patient),
            "T_BNCCT": rounded(split.copayment),
            "T_BHTT": rounded(split.fund),
        },
    )

    assert wrong_in_line(figures(line)) == ()
    assert split.patient + split.copayment + split.fund + aid == total


# G19


def whole(**changed: str | int) -> ClaimFacts:
    """A claim of the drug and the service, with right sums."""
    right = amounts(
        t_thuoc=10000, t_vtyt=0, t_tongchi_bv=130000, t_tongchi_bh=40000, t_bntt=90000,
        t_bncct=8000, t_bhtt=32000, t_nguonkhac=0, t_bhtt_gdv=32000,
    )  # fmt: skip
    return claim(lines=(drug(), service()), amounts=right | amounts(**changed))


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({}, {}),
        ({"t_bhtt": 32001}, {}),
        ({"t_bhtt": "32001.5"}, {"T_BHTT": "1.5"}),
        ({"t_thuoc": 0}, {"T_THUOC": "10000"}),
        ({"t_vtyt": 500}, {"T_VTYT": "500"}),
        ({"t_tongchi_bv": 130500, "t_bntt": 90500}, {"T_TONGCHI_BV": "500", "T_BNTT": "500"}),
        ({"t_bncct": 6000}, {"T_BNCCT": "2000"}),
        ({"t_bhtt_gdv": 0}, {"T_BHTT_GDV": "32000"}),
    ],
)
def test_g19_finds_each_wrong_sum(changed: dict[str, Any], wrong: dict[str, str]) -> None:
    """Sums are held against the lines, one dong of tolerance, the absolute difference told."""
    findings = sums(whole(**changed), Evidence())

    assert {one.field: one.amount for one in findings} == {
        name: Decimal(amount) for name, amount in wrong.items()
    }


def test_g19_does_not_ask_the_fee_part_of_army_and_police_cards() -> None:
    """T_BHTT_GDV is not for QN, CA and CY cards."""
    wrong = whole(t_bhtt_gdv=0)
    police = ClaimFacts(
        wrong.reference, wrong.visit, (Card("Coverage/1", "CA5010123456789"),), wrong.lines,
        wrong.amounts,
    )  # fmt: skip

    assert sums(police, Evidence()) == []


# all


def test_every_finding_has_law_and_both_languages() -> None:
    """What a rule says names its law, in Vietnamese and in English."""
    own = visit(start="11-10 08:00", end="11-10 09:00")
    everything = ClaimFacts(
        "Claim/v1", own, (days("2020-01-01", "2020-12-31"),), (drug(t_bhtt=1),), amounts(t_bhtt=9)
    )
    beside = Evidence((
        visit("twin", "11-10 08:00", "11-10 09:00"),
        visit("stay", "11-01 08:00", "11-20 08:00", "79999", "03"),
    ))

    findings = adjudicate(everything, beside)

    assert {one.rule for one in findings} == set(RULES)
    for one in findings:
        assert one.law
        assert one.text_vi != one.text_en
        assert one.amount >= 0


@given(MONEY)
def test_money_is_written_plainly(amount: Decimal) -> None:
    """No exponent, no zeros at the end of the decimals, the same value."""
    assert plain(amount) == amount
    assert "E" not in str(plain(amount))
    assert dong(Decimal("1250000.50")) == "1.250.000,5"
    assert dong(Decimal("1250000.50"), "en") == "1,250,000.5"


def test_an_open_stay_has_no_end() -> None:
    """A claim of a visit that still lasts is asked for its arrival."""
    own = visit(end=None)
    held = days("2026-11-20", "2026-11-20")

    assert card(claim(own, cards=(held,)), Evidence()) == []
