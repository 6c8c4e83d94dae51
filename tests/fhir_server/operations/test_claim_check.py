"""`Claim/[id]/$check` over the record."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import NS
from fhir_server.model.outcome import UnknownResource
from fhir_server.operations.table import OPERATIONS
from fhir_server.validation.structure import validate
from tests.conftest import World
from tests.fhir_server.operations import record

Resource = dict[str, Any]
BHXH = Principal(kind="payer", client_id="insurer-bhxh", code="BHXH", scopes=("system/*.cruds",))
PRIVATE = replace(BHXH, client_id="insurer-private-01", code="PRIVATE-01", private=True)


async def check(world: World, claim: str, principal: Principal = SYSTEM) -> Resource:
    """Ask for a check."""
    ctx = replace(world.context(principal), operations=OPERATIONS)
    request = FhirRequest(
        "operation", resource_type="Claim", resource_id=claim, operation="$check", method="POST"
    )
    result = await perform(ctx, request)
    assert result.status == 200
    assert result.version is not None
    return codec.loads(result.version.body)


async def put_all(world: World, *resources: Resource) -> None:
    """Store resources under their own ids."""
    for one in resources:
        await world.put(one)


def findings(response: Resource) -> list[tuple[str, int | None, Decimal]]:
    """Return rule, line and amount of each finding."""
    found = [(None, one) for one in response.get("adjudication", [])]
    for item in response.get("item", []):
        found += [(item["itemSequence"], one) for one in item["adjudication"]]
    return [
        (one["reason"]["coding"][0]["code"], line, Decimal(one["amount"]["value"]))
        for line, one in found
    ]


def change(claim: Resource, name: str, value: str, *, item: bool = False) -> Resource:
    """Change one amount of a claim, or of its line."""
    holder = claim["item"][0] if item else claim
    for extension in holder["extension"]:
        if extension["url"].endswith(f"/{name}"):
            extension["valueMoney"]["value"] = Decimal(value)
    return claim


async def test_a_right_claim_has_no_finding(world: World) -> None:
    """A claim whose card, sums and times are right is complete, with nothing found."""
    await put_all(world, *record.people(), *record.visit(), record.claim())

    response = await check(world, "claim-v1", BHXH)

    assert (response["resourceType"], response["outcome"]) == ("ClaimResponse", "complete")
    assert findings(response) == []
    assert response["request"] == {"reference": "Claim/claim-v1"}
    assert [i for i in validate(response) if i.severity == "error"] == []


async def test_a_line_finding_names_rule_law_words_money_and_evidence(world: World) -> None:
    """G18 stands at its line, with the absolute difference, both languages, law and evidence."""
    claim = change(record.claim(), "t-bhtt", "8500", item=True)
    await put_all(world, *record.people(), *record.visit(), claim)

    response = await check(world, "claim-v1", BHXH)

    assert findings(response) == [("G19", None, Decimal(500)), ("G18", 1, Decimal(500))]
    found = response["item"][0]["adjudication"][0]
    assert found["category"]["coding"] == [
        {"system": f"{NS}/CodeSystem/adjudication", "code": "finding"}
    ]
    assert found["reason"]["coding"] == [{"system": f"{NS}/CodeSystem/rule", "code": "G18"}]
    assert found["amount"]["currency"] == "VND"
    assert "T_BHTT" in found["reason"]["text"]
    translation = found["reason"]["_text"]["extension"][0]["extension"]
    assert {"url": "lang", "valueCode": "en"} in translation
    (detail,) = found["extension"]
    assert detail["url"] == f"{NS}/StructureDefinition/finding"
    parts = {one["url"]: one for one in detail["extension"]}
    assert parts["severity"]["valueCode"] == "error"
    assert "4750" in parts["law"]["valueString"]
    assert parts["evidence"]["valueReference"] == {"reference": "Claim/claim-v1"}
    assert [i for i in validate(response) if i.severity == "error"] == []


async def test_a_claim_has_one_response_and_the_same_again_makes_no_version(world: World) -> None:
    """Checked again it is the same ClaimResponse; only other findings make a new version."""
    await put_all(world, *record.people(), *record.visit(), record.claim())

    first = await check(world, "claim-v1", BHXH)
    world.clock.move(hours=1)
    again = await check(world, "claim-v1")
    await put_all(world, change(record.claim(), "t-bhtt", "9000"))
    changed = await check(world, "claim-v1", BHXH)

    assert first == again
    assert (changed["id"], changed["meta"]["versionId"]) == (first["id"], "2")
    assert findings(changed) == [("G19", None, Decimal(1000))]


async def test_the_card_is_asked_for_the_day_of_the_visit(world: World) -> None:
    """A card that ended before the visit is G04, for the money that the claim asks."""
    card = record.coverage(period={"start": "2022-01-01", "end": "2023-10-31"})
    await put_all(world, *record.people(), card, *record.visit(), record.claim())

    response = await check(world, "claim-v1", BHXH)

    assert findings(response) == [("G04", None, Decimal(8000))]


async def test_the_same_arrival_under_another_key_is_a_duplicate(world: World) -> None:
    """G01 names the other claim and its visit."""
    await put_all(
        world,
        *record.people(),
        *record.visit(),
        record.claim(),
        *record.visit("v2"),
        record.claim("v2"),
    )

    response = await check(world, "claim-v1", BHXH)

    assert findings(response) == [("G01", None, Decimal(8000))]
    evidence = codec.dumps(response).decode()
    assert "Claim/claim-v2" in evidence
    assert "Encounter/v2" in evidence


def stay(of: str = "mother") -> list[Resource]:
    """An in-patient stay at 79999 around the visit v1."""
    return record.visit(
        "stay",
        "2023-11-18T08:00:00+07:00",
        "2023-11-25T10:00:00+07:00",
        facility="79999",
        kind="03",
        of=of,
    )


async def test_two_places_at_once_says_nothing_clinical(world: World) -> None:
    """G07 names the other facility and visit; neither diagnosis nor drug of it."""
    await put_all(
        world, *record.people(), *record.visit(), record.claim(), *stay(), record.claim("stay")
    )

    response = await check(world, "claim-v1", BHXH)

    assert findings(response) == [("G07", None, Decimal(8000))]
    text = codec.dumps(response).decode()
    assert "79999" in text
    assert not {"Viêm", "J02", "Paracetamol"} & set(text.replace('"', " ").split())
    assert "Condition/" not in text


@pytest.mark.parametrize("why", ["no claim", "another payer", "cancelled"])
async def test_of_a_visit_that_is_not_the_payers_business_the_fact_alone_is_told(
    world: World, why: str
) -> None:
    """G07 is true whoever paid; facility, visit and claim of what others paid are not told."""
    other = record.claim("stay")
    if why == "another payer":
        await put_all(
            world, *record.people(), record.coverage("theirs", payor=[record.payer("PRIVATE-01")])
        )
        other = record.claim("stay", "theirs", insurer=record.payer("PRIVATE-01"))
    if why == "cancelled":
        other["status"] = "cancelled"
    await put_all(world, *record.people(), *record.visit(), record.claim(), *stay())
    if why != "no claim":
        await put_all(world, other)

    for principal in (SYSTEM, BHXH):
        response = await check(world, "claim-v1", principal)
        assert findings(response) == [("G07", None, Decimal(8000))]
        text = codec.dumps(response).decode()
        assert evidence(response) == {"Encounter/v1"}
        assert "stay" not in text
        assert "79999" not in text


@pytest.mark.parametrize("status", ["entered-in-error", "cancelled", "planned"])
async def test_a_visit_that_never_was_is_no_evidence(world: World, status: str) -> None:
    """What was withdrawn, called off or only planned puts nobody in two places."""
    there = stay()
    there[0]["status"] = status
    await put_all(
        world, *record.people(), *record.visit(), record.claim(), *there, record.claim("stay")
    )

    assert findings(await check(world, "claim-v1", BHXH)) == []


def evidence(response: Resource) -> set[str]:
    """Return every reference that a finding rests on."""
    return {
        part["valueReference"]["reference"]
        for one in response.get("adjudication", [])
        for part in one["extension"][0]["extension"]
        if part["url"] == "evidence"
    }


async def test_all_evidence_can_be_read_by_the_payer(world: World) -> None:
    """Two cards of two payers: what one of them may not read is not named to both."""
    theirs = record.coverage(
        "theirs",
        payor=[record.payer("PRIVATE-01")],
        period={"start": "2020-01-01", "end": "2020-12-31"},
    )
    ours = record.coverage(period={"start": "2020-01-01", "end": "2020-12-31"})
    both = record.claim()
    both["insurance"].append({
        "sequence": 2,
        "focal": False,
        "coverage": {"reference": "Coverage/theirs"},
    })
    await put_all(world, *record.people(), theirs, ours, *record.visit(), both)
    await put_all(world, *stay(), record.claim("stay"))

    response = await check(world, "claim-v1", BHXH)

    assert [rule for rule, _, _ in findings(response)] == ["G04", "G07"]
    assert evidence(response) == {"Encounter/v1"}


async def test_a_check_in_at_the_same_facility_is_neither_twin_nor_elsewhere(world: World) -> None:
    """A stay that names its facility by the Organization alone is at the same place."""
    checked_in = record.encounter(
        "in",
        "2023-11-20T08:15:00+07:00",
        None,
        status="in-progress",
        identifier=[],
        type=[],
    ) | {"class": {"code": "IMP"}}
    del checked_in["identifier"], checked_in["type"]
    await put_all(world, *record.people(), *record.visit(), record.claim(), checked_in)

    assert findings(await check(world, "claim-v1", BHXH)) == []

    await put_all(world, checked_in | {"serviceProvider": {"reference": "Organization/org-79999"}})
    assert [rule for rule, _, _ in findings(await check(world, "claim-v1", BHXH))] == ["G07"]


async def test_another_payers_claim_is_not_there(world: World) -> None:
    """A claim of another payer's insured is unknown, as one that never was."""
    await put_all(world, *record.people(), *record.visit(), record.claim())

    texts = []
    for identity in ("claim-v1", "never"):
        with pytest.raises(UnknownResource) as refusal:
            await check(world, identity, PRIVATE)
        texts.append(str(refusal.value).replace(identity, "id"))

    assert texts[0] == texts[1]


@pytest.mark.parametrize("withdrawn", [True, False], ids=["visit withdrawn", "claim alone"])
async def test_a_cancelled_claim_has_no_finding_and_says_why(
    world: World, *, withdrawn: bool
) -> None:
    """Withdrawn, there is nothing to find: complete, and a disposition in both languages."""
    claim = change(record.claim(status="cancelled"), "t-bhtt", "9000")
    there = record.visit()
    if withdrawn:
        there[0]["status"] = "entered-in-error"
    twin = (*record.visit("v2"), record.claim("v2"))
    await put_all(world, *record.people(), *there, claim, *twin)

    response = await check(world, "claim-v1")

    assert (response["outcome"], findings(response)) == ("complete", [])
    assert "thu hồi" in response["disposition"]
    assert "đợt khám" in response["disposition"].lower() or not withdrawn
    translation = response["_disposition"]["extension"][0]["extension"]
    assert any("withdrawn" in one.get("valueString", "") for one in translation)
    assert "error" not in response
    assert [i for i in validate(response) if i.severity == "error"] == []


async def test_a_draft_cannot_be_checked(world: World) -> None:
    """A claim that is not made yet has the outcome error, and says why."""
    await put_all(world, *record.people(), *record.visit(), record.claim(status="draft"))

    response = await check(world, "claim-v1")

    assert (response["outcome"], findings(response)) == ("error", [])
    assert response["error"][0]["code"]["coding"][0]["code"] == "not-active"
    assert [i for i in validate(response) if i.severity == "error"] == []


async def test_a_plain_fhir_claim_is_checked_as_far_as_it_says(world: World) -> None:
    """Quantity times unit price against net, and the total, without the decree's extensions."""
    claim = record.claim()
    del claim["extension"], claim["item"][0]["extension"]
    claim["item"][0]["net"]["value"] = Decimal(12000)
    claim["total"] = {"value": Decimal(12000), "currency": "VND"}
    await put_all(world, *record.people(), *record.visit(), claim)

    response = await check(world, "claim-v1")

    assert findings(response) == [("G18", 1, Decimal(2000))]


@pytest.mark.parametrize("value", ["1e300", "1e-300", "123456789012345678", "0.0000000001"])
async def test_absurd_amounts_do_not_stop_a_check(world: World, value: str) -> None:
    """Numbers of any size give an answer, exact or none."""
    claim = change(record.claim(), "thanh-tien-bh", value, item=True)
    claim["item"][0]["quantity"]["value"] = Decimal(value)
    await put_all(world, *record.people(), *record.visit(), claim)

    response = await check(world, "claim-v1")

    assert response["outcome"] == "complete"
    assert [i for i in validate(response) if i.severity == "error"] == []
    assert "E" not in "".join(str(amount) for _, _, amount in findings(response))


async def test_a_payer_is_the_same_by_reference_or_by_identifier(world: World) -> None:
    """A claim that names the payer by identifier is beside one that names the Organization."""
    other = record.claim("v2", insurer={"identifier": record.payer()["identifier"]})
    own = record.claim(insurer={"reference": "Organization/org-BHXH"})
    await put_all(world, *record.people(), *record.visit(), own, *record.visit("v2"), other)

    assert findings(await check(world, "claim-v1", BHXH)) == [("G01", None, Decimal(8000))]


async def test_a_claim_without_items_is_found_by_its_visits_key(world: World) -> None:
    """The Encounter is named in supportingInfo; the other claim by the identifier of the visit."""
    bare = record.claim("v2", identifier=[record.encounter("v2", "2023", None)["identifier"][0]])
    del bare["item"]
    bare["supportingInfo"] = [
        {
            "sequence": 1,
            "category": {"text": "visit"},
            "valueReference": {"reference": "Encounter/v2"},
        }
    ]
    await put_all(
        world, *record.people(), *record.visit(), record.claim(), *record.visit("v2"), bare
    )

    assert ("G01", None, Decimal(8000)) in findings(await check(world, "claim-v1", BHXH))
    assert ("G01", None, Decimal(8000)) in findings(await check(world, "claim-v2", BHXH))


def bare(**more: Any) -> Resource:
    """A claim of FHIR's own elements alone: two lines, 2 at 50,000 and 1 at 20,000 dong."""
    made = record.claim("bare", **more)
    del made["extension"]
    dong = [{"value": Decimal(n), "currency": "VND"} for n in (50000, 100000, 20000, 120000)]
    service = {"productOrService": {"text": "Khám"}}
    made["item"] = [
        {"sequence": 1, **service, "quantity": {"value": Decimal(2)}}
        | {"unitPrice": dong[0], "net": dong[1]},
        {"sequence": 2, **service, "quantity": {"value": Decimal(1)}}
        | {"unitPrice": dong[2], "net": dong[2]},
    ]
    return made | {"total": dong[3]} | more


async def test_a_claim_without_a_visit_is_checked_all_the_same(world: World) -> None:
    """No Encounter and no billable period: complete, with what the rules found."""
    claim = change(record.claim(), "t-bhtt", "9000")
    del claim["item"][0]["encounter"]
    await put_all(world, *record.people(), claim)

    response = await check(world, "claim-v1")

    assert response["outcome"] == "complete"
    assert "error" not in response
    assert findings(response) == [("G19", None, Decimal(1000))]


async def test_a_bare_claim_is_checked_by_its_own_elements(world: World) -> None:
    """G18 from quantity, unitPrice and net; G19 from total and the nets: no extension needed."""
    card = record.coverage(payor=[{"identifier": record.payer()["identifier"]}])
    claim = bare(total={"value": Decimal(150000), "currency": "VND"})
    claim["item"][0]["net"] = {"value": Decimal(130000), "currency": "VND"}
    await put_all(world, *record.people(), card, claim)

    response = await check(world, "claim-bare", BHXH)

    assert response["outcome"] == "complete"
    assert findings(response) == [("G18", 1, Decimal(30000))]

    del claim["item"][0]["net"]
    await put_all(world, claim)
    response = await check(world, "claim-bare", BHXH)
    assert findings(response) == [("G19", None, Decimal(30000))]
    assert [i for i in validate(response) if i.severity == "error"] == []


@pytest.mark.parametrize("change_of", ["none", "factor", "no total", "no price", "no items"])
async def test_a_right_bare_claim_has_no_finding(world: World, change_of: str) -> None:
    """What is consistent, or not stated, is not doubted."""
    claim = bare()
    if change_of == "factor":
        claim["item"][0] |= {"factor": Decimal("0.5")}
        claim["item"][0]["net"] = {"value": Decimal(50000), "currency": "VND"}
        claim["total"] = {"value": Decimal(70000), "currency": "VND"}
    if change_of == "no total":
        del claim["total"]
    if change_of == "no price":
        del claim["item"][0]["unitPrice"], claim["item"][0]["net"]
    if change_of == "no items":
        del claim["item"]
    await put_all(world, *record.people(), claim)

    response = await check(world, "claim-bare", BHXH)

    assert (response["outcome"], findings(response)) == ("complete", [])


@pytest.mark.parametrize("stated", ["total", "nets"])
@pytest.mark.parametrize(
    ("when", "found"),
    [
        ({"billablePeriod": {"start": "2027-02-01", "end": "2027-02-01"}}, True),
        ({"billablePeriod": {"start": "2026-02-01"}, "created": "2027-02-01"}, False),
        ({"servicedDate": "2027-02-01"}, True),
        ({"servicedPeriod": {"start": "2027-02-01", "end": "2027-02-03"}}, True),
        ({"servicedDate": "2026-02-01", "created": "2027-02-01"}, False),
        ({"created": "2027-02-01"}, True),
        ({"created": "2027"}, False),
        ({}, False),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_the_claims_time_is_where_it_is_stated(
    world: World, when: Resource, stated: str, *, found: bool
) -> None:
    """BillablePeriod, serviced[x], created: the card is asked for that day, for all the money."""
    claim = bare()
    for name, value in when.items():
        holder = claim["item"][1] if name.startswith("serviced") else claim
        holder[name] = value
    if stated == "nets":
        del claim["total"]
    await put_all(world, *record.people(), claim)

    response = await check(world, "claim-bare", BHXH)

    assert response["outcome"] == "complete"
    assert findings(response) == ([("G04", None, Decimal(120000))] if found else [])


async def test_a_visit_without_a_time_takes_the_claims(world: World) -> None:
    """An Encounter without a period is the visit, at the time that the Claim states."""
    there = record.visit()
    del there[0]["period"]
    card = record.coverage(period={"start": "2022-01-01", "end": "2023-10-31"})
    claim = record.claim(billablePeriod={"start": "2023-11-20", "end": "2023-11-20"})
    await put_all(world, *record.people(), card, *there, claim)

    response = await check(world, "claim-v1", BHXH)

    assert findings(response) == [("G04", None, Decimal(8000))]
    assert "Encounter/v1" in evidence(response)


async def test_absurd_products_do_not_stop_a_check(world: World) -> None:
    """Amounts whose product has more digits than a Decimal's usual context."""
    claim = bare()
    for name in ("quantity", "unitPrice"):
        claim["item"][0][name] = {"value": Decimal(999999999999999999)}
    claim["item"][0]["factor"] = Decimal(123456789012345678)
    await put_all(world, *record.people(), claim)

    assert (await check(world, "claim-bare", BHXH))["outcome"] == "complete"


async def test_a_claims_own_period_and_card_dates_stand_in(world: World) -> None:
    """BillablePeriod where no Encounter is named; the card's period as the dossier stated it."""
    claim = record.claim(
        billablePeriod={"start": "2023-11-20T08:15:00+07:00", "end": "2023-11-20T09:50:00+07:00"}
    )
    del claim["item"][0]["encounter"]
    claim["insurance"][0]["extension"] = [
        {
            "url": f"{NS}/StructureDefinition/card-period",
            "valuePeriod": {"start": "2020-01-01", "end": "2020-12-31"},
        }
    ]
    await put_all(world, *record.people(), claim)

    response = await check(world, "claim-v1")

    assert (response["outcome"], findings(response)) == ("complete", [("G04", None, Decimal(8000))])


async def test_a_self_pay_claim_needs_no_card_and_has_no_insurer(world: World) -> None:
    """The ClaimResponse's insurer is an Organization, or said to be none."""
    own = {
        "resourceType": "Coverage",
        "id": "self",
        "status": "active",
        "type": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/coverage-selfpay", "code": "pay"}
            ]
        },
        "beneficiary": {"reference": "Patient/mother"},
        "payor": [{"reference": "Patient/mother"}],
        "period": {"start": "2020-01-01", "end": "2020-01-01"},
    }
    claim = record.claim(card="self")
    del claim["insurer"]
    await put_all(world, *record.people(), own, *record.visit(), claim)

    response = await check(world, "claim-v1")

    assert findings(response) == []
    assert response["insurer"]["display"] == "Không có đơn vị bảo hiểm"


async def test_without_an_insurer_the_cards_payor_is_named(world: World) -> None:
    """A claim that names none is answered for the payor of its Coverage."""
    claim = record.claim()
    del claim["insurer"]
    await put_all(world, *record.people(), *record.visit(), claim)

    # The payer's own Organization is named by no Claim, so it is not shown: its number is.
    named = (await check(world, "claim-v1", BHXH))["insurer"]
    assert named == {"identifier": record.payer()["identifier"]}
