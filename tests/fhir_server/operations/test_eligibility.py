"""`CoverageEligibilityRequest/$submit`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD, DRAFT, PAYER
from fhir_server.model.outcome import FhirError, Invalid, InvalidValue, MissingRequired
from fhir_server.operations.table import OPERATIONS
from fhir_server.validation.structure import validate
from tests.conftest import World
from tests.fhir_server.operations import record

Resource = dict[str, Any]
BHXH = Principal(kind="payer", client_id="insurer-bhxh", code="BHXH", scopes=("system/*.cruds",))
PRIVATE = replace(BHXH, client_id="insurer-private-01", code="PRIVATE-01", private=True)


def asked(coverage: Resource | None = None, **more: Any) -> Resource:
    """A question about the mother's card."""
    return {
        "resourceType": "CoverageEligibilityRequest",
        "status": "active",
        "purpose": ["validation", "benefits"],
        "patient": {"reference": "Patient/mother"},
        "servicedDate": "2023-11-20",
        "created": "2023-11-20",
        "insurer": {"identifier": {"system": PAYER, "value": "BHXH"}},
        "insurance": [{"coverage": coverage or {"reference": "Coverage/card"}}],
        **more,
    }


async def submit(world: World, body: Resource | None, principal: Principal = BHXH) -> Resource:
    """Ask, and return the stored answer."""
    ctx = replace(world.context(principal), operations=OPERATIONS)
    request = FhirRequest(
        "operation",
        resource_type="CoverageEligibilityRequest",
        operation="$submit",
        resource=body,
        method="POST",
    )
    result = await perform(ctx, request)
    assert (result.status, result.version is not None) == (200, True)
    return codec.loads(result.version.body if result.version else b"")


@pytest.fixture
async def insured(world: World) -> World:
    """A world with the mother and her card."""
    for one in record.people():
        await world.put(one)
    return world


def card(code: str) -> Resource:
    """A reference to a card by its code."""
    return {"identifier": {"system": BHYT, "value": code}}


@pytest.mark.parametrize(
    ("digit", "copayment"), [("1", 0), ("2", 0), ("3", 5), ("4", 20), ("5", 0)]
)
async def test_the_third_character_tells_the_copayment(
    insured: World, digit: str, copayment: int
) -> None:
    """A card of level 100 pays all, 95 leaves 5 per cent, 80 leaves 20."""
    code = f"DN{digit}010123456789"
    await insured.put(record.coverage(identifier=[{"system": BHYT, "value": code}]))

    response = await submit(insured, asked(card(code)))

    (insurance,) = response["insurance"]
    benefit = insurance["item"][0]["benefit"][0]
    assert (response["outcome"], insurance["inforce"]) == ("complete", True)
    assert insurance["benefitPeriod"] == {"start": "2023-01-01", "end": "2026-12-31"}
    assert benefit["type"]["coding"][0]["code"] == "copay-percent"
    assert benefit["allowedUnsignedInt"] == copayment


@pytest.mark.parametrize(
    ("day", "inforce"),
    [
        ("2022-12-31", False),
        ("2023-01-01", True),
        ("2026-12-31", True),
        ("2027-01-01", False),
        (None, True),
    ],
)
async def test_the_card_holds_from_its_first_to_its_last_day(
    insured: World, day: str | None, *, inforce: bool
) -> None:
    """Both ends of the period count; without a day it is today's (2024-01-01)."""
    question = asked()
    if day is None:
        del question["servicedDate"]
    else:
        question["servicedDate"] = day

    response = await submit(insured, question)

    assert response["insurance"][0]["inforce"] is inforce
    assert ("item" in response["insurance"][0]) is inforce


async def test_question_and_answer_are_stored_and_valid(insured: World) -> None:
    """The answer refers to the stored question; the insurer can read both again."""
    response = await submit(insured, asked())

    assert [i for i in validate(response) if i.severity == "error"] == []
    kind, _, identity = response["request"]["reference"].partition("/")
    question = await insured.perform("read", BHXH, resource_type=kind, resource_id=identity)
    assert question.version is not None
    again = await insured.perform(
        "read", BHXH, resource_type=response["resourceType"], resource_id=response["id"]
    )
    assert again.version is not None


async def test_parameters_may_carry_the_question(insured: World) -> None:
    """The operation's own form, Parameters with `resource`, gives the same."""
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "resource", "resource": asked()}],
    }

    response = await submit(insured, body)

    assert response["insurance"][0]["inforce"] is True


async def test_unknown_and_foreign_cards_are_told_in_the_same_words(
    insured: World,
) -> None:
    """Nobody learns whether a card exists elsewhere, nor whose it is."""
    foreign = record.coverage(
        "foreign",
        identifier=[{"system": BHYT, "value": "GD4010987654321"}],
        payor=[record.payer("PRIVATE-01")],
    )
    await insured.put(foreign)
    questions = [
        asked(card("XX4010000000000")),
        asked(card("GD4010987654321")),
        asked({"reference": "Coverage/foreign"}),
        asked({"reference": "Coverage/never"}),
        asked({"reference": "Coverage/foreign"}, patient={"reference": "Patient/other"}),
    ]

    answers = [await submit(insured, one) for one in questions]

    assert {one["outcome"] for one in answers} == {"error"}
    assert {one["insurance"][0]["inforce"] for one in answers} == {False}
    assert len({one["disposition"] for one in answers}) == 1
    assert not any("benefitPeriod" in one["insurance"][0] for one in answers)


@pytest.mark.parametrize(
    "who",
    [
        {"reference": "Patient/other"},
        {"reference": "Patient/never"},
        {"identifier": {"system": CCCD, "value": "001195099999"}},
    ],
    ids=str,
)
async def test_anothers_card_is_said_to_be_not_this_patients(insured: World, who: Resource) -> None:
    """The payer of the card learns that it is another's, not whose; nobody else learns anything."""
    await insured.put(record.patient("other", identifier=[{"system": "urn:x", "value": "2"}]))

    answer = await submit(insured, asked(patient=who))
    hidden = await submit(insured, asked(patient=who), PRIVATE)

    (error,) = answer["error"]
    assert error["code"]["coding"][0]["code"] == "other-patient"
    assert "không phải của người bệnh" in error["code"]["text"]
    assert "not that of the patient" in str(error["code"]["_text"])
    assert answer["insurance"][0]["inforce"] is False
    assert answer["patient"] == who
    assert "mother" not in str(answer)
    assert hidden["error"][0]["code"]["coding"][0]["code"] == "unknown-coverage"


async def test_a_new_card_of_ten_digits_tells_no_level(insured: World) -> None:
    """Cards since 2021 print ten digits: in force, without a benefit."""
    await insured.put(record.coverage(identifier=[{"system": BHYT, "value": "0123456789"}]))

    response = await submit(insured, asked(card("0123456789")))

    assert response["insurance"][0]["inforce"] is True
    assert "item" not in response["insurance"][0]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        (None, MissingRequired),
        ({"resourceType": "Patient"}, MissingRequired),
        ({"resourceType": "Parameters"}, MissingRequired),
        (asked(insurance=[]), Invalid),
        (asked(servicedDate="2023-13-45"), Invalid),
        ({**asked(), "purpose": []}, Invalid),
    ],
    ids=["no body", "a Patient", "empty Parameters", "no coverage", "no date", "no purpose"],
)
async def test_what_is_no_question_is_refused(
    insured: World, body: Resource | None, refusal: type[FhirError]
) -> None:
    """A body that is not a valid request gets a sentence, and stores nothing."""
    with pytest.raises(refusal):
        await submit(insured, body)

    assert await insured.store.count("CoverageEligibilityRequest") == 0


async def test_system_may_ask_about_any_card(insured: World) -> None:
    """The administrator's client gets the same answer."""
    assert (await submit(insured, asked(), SYSTEM))["insurance"][0]["inforce"] is True


@pytest.mark.parametrize(
    ("system", "value", "known"),
    [
        (CCCD, "001195012345", True),
        (f"{DRAFT}/national_id", "001195012345", True),
        (CCCD, "079080099999", False),
        ("urn:x", "whatever", True),
    ],
    ids=["the holder's number", "in the draft's system", "another's number", "no number"],
)
async def test_the_person_may_be_named_by_number(
    insured: World, system: str, value: str, *, known: bool
) -> None:
    """A number that is not the holder's makes the card unknown; the draft's system counts."""
    question = asked(patient={"identifier": {"system": system, "value": value}})

    response = await submit(insured, question)

    assert (response["outcome"] == "complete") is known
    assert response["insurance"][0]["inforce"] is known


async def test_a_card_may_be_named_in_the_drafts_system_and_small_letters(insured: World) -> None:
    """Synonyms of the Ministry's draft are accepted, blanks and case do not count."""
    named = {"identifier": {"system": f"{DRAFT}/insurance_number", "value": " dn4010123456789 "}}

    assert (await submit(insured, asked(named)))["insurance"][0]["inforce"] is True


@pytest.mark.parametrize(
    "coverage",
    [
        {"display": "the blue card"},
        {"identifier": {"system": "urn:x", "value": "1"}},
        {"reference": "https://elsewhere.example/fhir/Coverage/card"},
    ],
)
async def test_what_names_no_card_here_is_unknown(insured: World, coverage: Resource) -> None:
    """A Coverage that is named in no way we know is answered as unknown."""
    response = await submit(insured, asked(coverage))

    assert (response["outcome"], response["insurance"][0]["inforce"]) == ("error", False)


async def test_several_cards_are_answered_each(insured: World) -> None:
    """The answers stand in the order of the question; one unknown makes the outcome error."""
    question = asked()
    question["insurance"].append({"coverage": card("XX4010000000000")})

    response = await submit(insured, question)

    assert [one["inforce"] for one in response["insurance"]] == [True, False]
    assert response["outcome"] == "error"
    assert len(response["error"]) == 1


async def test_too_many_cards_are_refused(insured: World) -> None:
    """A question is about at most ten."""
    question = asked()
    question["insurance"] = question["insurance"] * 11

    with pytest.raises(InvalidValue):
        await submit(insured, question)


async def test_a_period_of_service_is_asked_for_its_first_day(insured: World) -> None:
    """ServicedPeriod stands for servicedDate."""
    question = asked(servicedPeriod={"start": "2022-06-01", "end": "2022-06-02"})
    del question["servicedDate"]

    response = await submit(insured, question)

    assert (response["servicedDate"], response["insurance"][0]["inforce"]) == ("2022-06-01", False)


async def test_of_two_coverages_of_one_card_the_valid_one_answers(insured: World) -> None:
    """A renewed card that is kept as a Coverage of its own is found."""
    await insured.put(record.coverage(period={"start": "2020-01-01", "end": "2020-12-31"}))
    await insured.put(record.coverage("renewed"))

    response = await submit(insured, asked(card("DN4010123456789")))

    assert response["insurance"][0]["coverage"]["reference"] == "Coverage/renewed"
    assert response["insurance"][0]["inforce"] is True
