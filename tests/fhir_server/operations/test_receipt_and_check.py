"""A dossier's receipt and the check of its Claim say the same of G01, G04, G07, G18 and G19."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from auth.principal import SYSTEM
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.operations.dossier import commit_dossier
from fhir_server.operations.table import OPERATIONS
from fhir_server.operations.visit import Sending
from fhir_server.search.expression import EVERYTHING, Search
from fhir_server.validation.structure import validate
from mappings.xml130.rules import check as check_record
from tests.conftest import FACILITY, OTHER, World
from tests.fhir_server.operations.test_claim_check import BHXH
from tests.fhir_server.operations.test_dossier import sending
from tests.xml130 import costs, rows

FAMILIES = frozenset({"G01", "G04", "G07", "G18", "G19"})
NO_CARD = dict.fromkeys(("MA_THE_BHYT", "MA_DKBD", "GT_THE_TU", "GT_THE_DEN"), "")
IN_PATIENT = {"MA_LOAI_KCB": "03", "NGAY_VAO_NOI_TRU": ""}
NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)

Said = set[tuple[str, str]]
Fields = dict[str, str]


@pytest.fixture(autouse=True)
def today(world: World) -> None:
    """The day after the visits."""
    world.clock.at = NOW


async def receipt(world: World, sent: Sending) -> Said:
    """Send a dossier, and return what of the five families its receipt says."""
    principal = FACILITY if sent.facility == FACILITY.code else OTHER
    found = [*check_record(sent.record, now=NOW)]
    assert not [one for one in found if one.severity == "error"]
    outcome = await commit_dossier(world.context(principal), sent)
    return {
        (one.rule, one.field.rpartition(".")[2])
        for one in (*found, *outcome.issues)
        if one.rule in FAMILIES
    }


async def checked(world: World, ma_lk: str) -> dict[str, Any]:
    """Return the ClaimResponse of a dossier's Claim; it is valid."""
    page = await world.store.search(Search((("Claim", EVERYTHING),), count=100))
    claims = [codec.loads(version.body) for version in page.versions]
    (claim,) = [one for one in claims if one["identifier"][0]["value"].endswith(f"|{ma_lk}")]
    ctx = replace(world.context(SYSTEM), operations=OPERATIONS)
    request = FhirRequest(
        "operation",
        resource_type="Claim",
        resource_id=claim["id"],
        operation="$check",
        method="POST",
    )
    result = await perform(ctx, request)
    assert result.version is not None
    response: dict[str, Any] = codec.loads(result.version.body)
    assert [one for one in validate(response) if one.severity == "error"] == []
    return response


def said(response: dict[str, Any]) -> Said:
    """Return rule and field of each finding; of G01 and G07 the receipt's field."""
    found = [*response.get("adjudication", ())]
    for item in response.get("item", ()):
        found += item["adjudication"]
    named: Said = set()
    for one in found:
        parts = {part["url"]: part for part in one["extension"][0]["extension"]}
        rule = one["reason"]["coding"][0]["code"]
        named.add((rule, parts.get("field", {}).get("valueCode", "NGAY_VAO")))
    return named


def dossier(*, line: Fields | None = None, table: str = "XML2", **fields: str) -> Sending:
    """Return a dossier with one line that costs money, and right sums unless `fields` say else."""
    drugs = table == "XML2"
    lines = {table.lower(): rows(table, 1, **(line or {}))}
    return sending(lines=lines, **{**costs(int(drugs), int(not drugs)), **fields})


DAY = {"NGAY_VAO": "202611100800", "NGAY_RA": "202611100900"}
LONG = {"NGAY_VAO": "202611010800", "NGAY_RA": "202611200900", "SO_NGAY_DTRI": "20"}


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (dossier(), set()),
        (dossier(**DAY, GT_THE_DEN="20261109"), set()),
        (dossier(**DAY, GT_THE_DEN="20261026"), set()),
        (dossier(**DAY, GT_THE_DEN="20261025"), {("G04", "GT_THE_DEN")}),
        (dossier(**DAY, GT_THE_TU="20261110"), set()),
        (dossier(**DAY, GT_THE_TU="20261111"), {("G04", "GT_THE_TU")}),
        (dossier(**DAY, GT_THE_TU="20260601", GT_THE_DEN="20260101"), {("G04", "GT_THE_DEN")}),
        (
            dossier(
                **LONG,
                **IN_PATIENT,
                MA_THE_BHYT="DN4010123456789;DN4010123456789",
                MA_DKBD="01999;01999",
                GT_THE_TU="20260101;20261103",
                GT_THE_DEN="20261102;20261231",
            ),
            set(),
        ),
        (
            dossier(
                **LONG,
                **IN_PATIENT,
                MA_THE_BHYT="DN4010123456789;GD4010987654321",
                MA_DKBD="01999;01999",
                GT_THE_TU="20260101;20261110",
                GT_THE_DEN="20261102;20261231",
            ),
            {("G04", "GT_THE_DEN")},
        ),
    ],
    ids=[
        "right", "ended the day before", "ended 15 days before", "ended 16 days before",
        "from that day", "from the next day", "dates turned", "renewed under its code",
        "a gap between two cards",
    ],
)  # fmt: skip
async def test_g04_is_one_formula(world: World, sent: Sending, expected: Said) -> None:
    """GT_THE_TU <= date(NGAY_VAO) and GT_THE_DEN >= date(NGAY_RA) - 15 days, in both."""
    assert await receipt(world, sent) == expected
    assert said(await checked(world, "LK-1")) == expected


PRICED = {"SO_LUONG": "10", "DON_GIA": "3000", "T_BHTT": "24000", "T_BNCCT": "6000"}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"THANH_TIEN_BV": "31000", "THANH_TIEN_BH": "30000"}, {"THANH_TIEN_BV"}),
        ({"THANH_TIEN_BV": "30000", "THANH_TIEN_BH": "31000"}, {"THANH_TIEN_BH"}),
        (
            {"THANH_TIEN_BV": "30000.02", "THANH_TIEN_BH": "30000.02"},
            {"THANH_TIEN_BV", "THANH_TIEN_BH"},
        ),
        (
            {"THANH_TIEN_BV": "30000", "THANH_TIEN_BH": "30000", "T_BHTT": "24500"},
            {"T_BHTT"},
        ),
        (
            {"THANH_TIEN_BV": "30000", "THANH_TIEN_BH": "30000", "T_NGUONKHAC_CL": "100"},
            {"T_NGUONKHAC"},
        ),
    ],
)
async def test_g18_is_one_arithmetic(world: World, line: Fields, expected: set[str]) -> None:
    """One wrong amount is one finding, at its field, with the absolute difference."""
    full = {**PRICED, **line}
    totals = {
        "T_THUOC": full["THANH_TIEN_BV"], "T_TONGCHI_BV": full["THANH_TIEN_BV"],
        "T_TONGCHI_BH": full["THANH_TIEN_BH"], "T_BNCCT": full["T_BNCCT"],
        "T_BHTT": str(float(full["THANH_TIEN_BH"]) - 6000), "T_BHTT_GDV": full["T_BHTT"],
    }  # fmt: skip
    wanted = {("G18", name) for name in expected}

    assert await receipt(world, dossier(line=full, **totals)) == wanted
    assert said(await checked(world, "LK-1")) == wanted


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"TYLE_TT_DV": "50"}, {"THANH_TIEN_BH"}),
        (
            {"TYLE_TT_DV": "50", "THANH_TIEN_BH": "5000", "T_BHTT": "4000", "T_BNCCT": "1000",
             "T_BNTT": "5000"},
            set(),
        ),
        ({"MA_NHOM": "10", "TYLE_TT_DV": "0", "MA_VAT_TU": "N01", "TT_THAU": "x"}, set()),
    ],
    ids=["full price at half ratio", "half price", "a supply without ratio"],
)  # fmt: skip
async def test_g18_of_services_is_one_arithmetic(
    world: World, line: Fields, expected: set[str]
) -> None:
    """TYLE_TT_DV counts where it is given."""
    full = {"SO_LUONG": "1", **line}
    bh, copay = full.get("THANH_TIEN_BH", "10000"), full.get("T_BNCCT", "2000")
    totals = {
        "T_TONGCHI_BH": bh, "T_BNCCT": copay, "T_BNTT": full.get("T_BNTT", "0"),
        "T_BHTT": str(int(bh) - int(copay)), "T_BHTT_GDV": full.get("T_BHTT", "8000"),
        "T_VTYT": "10000" if full.get("MA_NHOM") == "10" else "0",
    }  # fmt: skip
    wanted = {("G18", name) for name in expected}

    assert await receipt(world, dossier(table="XML3", line=full, **totals)) == wanted
    assert said(await checked(world, "LK-1")) == wanted


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"T_BHTT": "8002"}, {"T_BHTT"}),
        ({"T_TONGCHI_BV": "9000"}, {"T_TONGCHI_BV"}),
        ({"T_BHTT_GDV": "0"}, {"T_BHTT_GDV"}),
        ({"T_BHTT_GDV": "0", "MA_THE_BHYT": "CA4010123456789"}, set()),
    ],
    ids=["fund", "total", "fee for service", "a police card has none"],
)
async def test_g19_is_one_arithmetic(world: World, fields: Fields, expected: set[str]) -> None:
    """The sums of table 1 in both."""
    wanted = {("G19", name) for name in expected}

    assert await receipt(world, dossier(**fields)) == wanted
    assert said(await checked(world, "LK-1")) == wanted


async def test_an_uninsured_summary_alone_has_no_sums_to_hold(world: World) -> None:
    """Letter 4395/BYT-KCB: a self-pay claim without lines is right as it is."""
    sent = sending(MA_DOITUONG_KCB="9", T_TONGCHI_BV="150000", T_BNTT="150000", **NO_CARD)

    assert await receipt(world, sent) == set()
    response = await checked(world, "LK-1")

    assert (said(response), response["outcome"]) == (set(), "complete")
    assert response["insurer"]["display"] == "Không có đơn vị bảo hiểm"


def elsewhere(start: str, end: str, kind: str, **fields: str) -> Sending:
    """Return a dossier at 79999."""
    times = {"NGAY_VAO": start, "NGAY_RA": end, "NGAY_VAO_NOI_TRU": ""}
    return dossier(
        line={"NGAY_YL": start, "NGAY_TH_YL": ""},
        MA_LK="LK-2",
        MA_CSKCB="79999",
        MA_LOAI_KCB=kind,
        **times,
        **fields,
    )


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (elsewhere("202611200900", "202611220900", "03"), set()),
        (elsewhere("202611200859", "202611220900", "03"), {("G07", "NGAY_VAO")}),
        (elsewhere("202611200859", "202611220900", "04"), {("G07", "NGAY_VAO")}),
        (elsewhere("202611200859", "202611220900", "09"), {("G07", "NGAY_VAO")}),
        (
            elsewhere("202611200859", "202611220900", "09", MA_DOITUONG_KCB="2"),
            {("G07", "NGAY_VAO")},
        ),
        (elsewhere("202611200859", "202611220900", "06"), set()),
        (elsewhere("202611100800", "202611100900", "01"), {("G07", "NGAY_VAO")}),
        (elsewhere("202611100800", "202611220900", "02"), {("G07", "NGAY_VAO")}),
        (
            elsewhere("202611100800", "202611100900", "01", MA_DOITUONG_KCB="9", **NO_CARD),
            {("G07", "NGAY_VAO")},
        ),
    ],
    ids=[
        "a transfer", "a minute too early", "short stay", "days under 4 hours",
        "an emergency of form 09", "treated as a day patient", "an out-patient's visit inside",
        "drugs fetched during the stay", "nobody's card",
    ],
)  # fmt: skip
async def test_g07_is_one_predicate(world: World, other: Sending, expected: Said) -> None:
    """Stays that overlap, or a visit inside a stay elsewhere; whoever comes second hears of it."""
    first = dossier(line={"NGAY_YL": "202611020800", "NGAY_TH_YL": ""}, **{**LONG, **IN_PATIENT})

    assert await receipt(world, first) == set()
    assert await receipt(world, other) == expected
    assert said(await checked(world, "LK-2")) == expected
    assert said(await checked(world, "LK-1")) == expected


@pytest.mark.parametrize("paid", ["card", "nobody's card"])
async def test_g01_is_one_predicate(world: World, paid: str) -> None:
    """The same facility and NGAY_VAO under another MA_LK, whoever was to pay."""
    again = {"MA_DOITUONG_KCB": "9", "T_BHTT": "0", **NO_CARD} if paid != "card" else {}
    await receipt(world, dossier())
    twin = await receipt(world, dossier(MA_LK="LK-2", **again))

    assert ("G01", "NGAY_VAO") in twin
    assert ("G01", "NGAY_VAO") in said(await checked(world, "LK-1"))
    assert ("G01", "NGAY_VAO") in said(await checked(world, "LK-2"))


async def test_a_withdrawn_dossier_has_nothing_to_find(world: World) -> None:
    """MA_DOITUONG_KCB 8: no finding of it, none through it, and the disposition says so."""
    await receipt(world, dossier(**DAY, GT_THE_DEN="20261025"))
    await receipt(world, dossier(MA_LK="LK-2", **DAY))
    await commit_dossier(world.context(FACILITY), sending(MA_DOITUONG_KCB="8"))

    response = await checked(world, "LK-1")

    assert said(response) == said(await checked(world, "LK-2")) == set()
    assert response["outcome"] == "complete"
    assert "thu hồi" in response["disposition"]


async def test_the_payer_can_read_all_that_a_finding_rests_on(world: World) -> None:
    """Claims, visits and cards that are named answer the social insurer's read; no other visit."""
    ended = {"GT_THE_DEN": "20261001"}
    await receipt(
        world, dossier(line={"NGAY_YL": "202611020800"}, **ended, **{**LONG, **IN_PATIENT})
    )
    await receipt(world, elsewhere("202611100800", "202611100900", "01"))
    private = {"MA_DOITUONG_KCB": "9", "T_BHTT": "0", "MA_LK": "LK-3", **NO_CARD}
    await receipt(world, dossier(**{**LONG, **IN_PATIENT, **private}))

    response = await checked(world, "LK-1")

    named = {
        part["valueReference"]["reference"]
        for one in response["adjudication"]
        for part in one["extension"][0]["extension"]
        if part["url"] == "evidence"
    }
    assert {name.partition("/")[0] for name in named} == {"Claim", "Coverage", "Encounter"}
    assert {rule for rule, _ in said(response)} >= {"G01", "G04", "G07"}
    for name in named:
        kind, _, identity = name.partition("/")
        read = FhirRequest("read", resource_type=kind, resource_id=identity)
        assert (await perform(world.context(BHXH), read)).status == 200


@pytest.mark.parametrize("kind", ["01", "03"])
async def test_the_money_in_doubt_of_a_whole_claim_is_its_t_bhtt(world: World, kind: str) -> None:
    """In-patient or out-patient: G04 puts all that is asked of the fund in doubt."""
    await receipt(world, dossier(GT_THE_DEN="20261001", MA_LOAI_KCB=kind, T_BHTT="8001"))

    (found,) = (await checked(world, "LK-1"))["adjudication"]

    assert found["amount"] == {"value": 8001, "currency": "VND"}
