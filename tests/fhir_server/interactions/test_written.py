"""Who somebody is and whose something is: what no facility may change, by any path.

Contract, section 6.
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.interactions.context import FhirResult
from fhir_server.model import codec
from fhir_server.model.identifiers import (
    BHYT,
    CCCD,
    DRAFT,
    IDENTITY_TAGS,
    KEPT_APART,
    MA_BN,
    MA_CSKCB,
    MA_LK,
    PAYER,
)
from fhir_server.model.outcome import Conflict, Duplicate, Forbidden, UnknownResource
from fhir_server.operations.settle import settle
from fhir_server.store.port import Batch, Tag
from tests.citizens import stored
from tests.conftest import FACILITY, OTHER, World, citizen
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.operations.test_settle import Claims

A, B = "001195012345", "001093054321"
CARD = "DN4010123456789"


def person(number: str = A, name: str = "NGƯỜI A", birth: str = "1990-01-01", **more: Any) -> Any:
    """Return a Patient with a number."""
    return {
        "resourceType": "Patient",
        "identifier": [{"system": CCCD, "value": number}],
        "name": [{"text": name}],
        "birthDate": birth,
        **more,
    }


def card(of: str, value: str = CARD, **more: Any) -> dict[str, Any]:
    """Return a Coverage."""
    return {
        "resourceType": "Coverage",
        "identifier": [{"system": BHYT, "value": value}],
        "status": "active",
        "beneficiary": {"reference": f"Patient/{of}"},
        "payor": [{"identifier": {"system": PAYER, "value": "BHXH"}}],
        **more,
    }


def encounter(of: str, **more: Any) -> dict[str, Any]:
    """Return an Encounter."""
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    return {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"system": system, "code": "AMB"},
        "subject": {"reference": f"Patient/{of}"},
        **more,
    }


def claim(of: str, coverage: str, at: str, **more: Any) -> dict[str, Any]:
    """Return a Claim of a visit at 01999."""
    return {
        "resourceType": "Claim",
        "identifier": [{"system": MA_LK, "value": "01999|LK"}],
        "status": "active",
        "type": {"text": "BHYT"},
        "use": "claim",
        "patient": {"reference": f"Patient/{of}"},
        "created": "2024-01-01",
        "provider": {"identifier": {"system": MA_CSKCB, "value": "01999"}},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [
            {"sequence": 1, "focal": True, "coverage": {"reference": f"Coverage/{coverage}"}}
        ],
        "item": [
            {
                "sequence": 1,
                "productOrService": {"text": "X"},
                "encounter": [{"reference": f"Encounter/{at}"}],
            }
        ],
        **more,
    }


async def make(world: World, body: dict[str, Any], by: Any = FACILITY, condition: str = "") -> str:
    """Create a resource over REST, of what is shared by its first identifier; return its id."""
    number = (body.get("identifier") or [{}])[0]
    if not condition and body["resourceType"] in {"Patient", "Coverage", "Organization"}:
        condition = f"identifier={number['system']}|{number['value']}"
    made = await world.perform(
        "create", by, resource_type=body["resourceType"], resource=body,
        if_none_exist=condition or None, method="POST",
    )  # fmt: skip
    version = made.version
    return version.resource_id if version else (made.location or "").split("/")[1]


async def change(
    world: World, identity: str, body: dict[str, Any], by: Any = FACILITY
) -> FhirResult:
    """Update a resource over REST."""
    return await world.put(body | {"id": identity}, by)


# A Patient


async def test_no_facility_hands_one_citizens_book_to_another(world: World) -> None:
    """After a login nothing of the Patient is a facility's, though the login made no version."""
    made = await make(world, person())
    settled = await settle(world.context(), Claims(A, "NGƯỜI A", "1990-01-01", None))
    assert settled.patient_id == made
    assert (await stored(world.context(), made))["meta"]["versionId"] == "1"

    for body in (person(B, "NGƯỜI B", "1995-05-05"), person(telecom=[{"value": "1"}])):
        with pytest.raises(Forbidden):
            await change(world, made, body)


@pytest.mark.parametrize(
    "body",
    [
        person(B),
        person(identifier=[{"system": "urn:x", "value": "1"}]),
        person() | {"identifier": [{"system": CCCD, "value": A, "use": "old"}]},
        person(identifier=[{"system": CCCD, "value": A}, {"system": CCCD, "value": B}]),
        person(identifier=[{"system": CCCD, "value": A}, {"system": f"{DRAFT}/cccd", "value": B}]),
        person(active=False),
        person(link=[{"other": {"reference": "Patient/x"}, "type": "seealso"}]),
        person(meta={"tag": [{"system": IDENTITY_TAGS, "code": KEPT_APART}]}),
        person(
            identifier=[{"system": CCCD, "value": A}, {"system": f"{MA_BN}79999", "value": "1"}]
        ),
    ],
    ids=str,
)
async def test_who_a_patient_is_stays(world: World, body: dict[str, Any]) -> None:
    """Number, its use, links, `active` and the server's tags are not a facility's to change."""
    made = await make(world, person())

    with pytest.raises(Forbidden):
        await change(world, made, body)


async def test_a_facility_corrects_its_own_patient_while_nobody_else_speaks_of_it(
    world: World,
) -> None:
    """A name is corrected by who alone wrote it; not once another's visit names the Patient."""
    made = await make(world, person())
    own = person(
        identifier=[{"system": CCCD, "value": A}, {"system": f"{MA_BN}01999", "value": "1"}]
    )

    assert (await change(world, made, own | {"birthDate": "1990-01-02"})).status == 200
    await make(world, encounter(made))
    assert (await change(world, made, own | {"name": [{"text": "NGƯỜI Ạ"}]})).status == 200
    await make(world, encounter(made), OTHER)

    assert (
        await change(world, made, own | {"name": [{"text": "NGƯỜI Ạ"}], "gender": "male"})
    ).status == 200
    for body in (own, own | {"name": [{"text": "NGƯỜI B"}]}, own | {"birthDate": "1995-05-05"}):
        with pytest.raises(Forbidden):
            await change(world, made, body)


async def test_a_patient_without_a_number_takes_none_once_others_speak_of_it(world: World) -> None:
    """Else what others wrote of one person would come into the book of another."""
    plain = person(identifier=[{"system": BHYT, "value": CARD}])
    made = await make(world, plain)
    await make(world, encounter(made), OTHER)

    with pytest.raises(Forbidden):
        await change(
            world, made, plain | {"identifier": [*plain["identifier"], *person(B)["identifier"]]}
        )


async def test_one_kept_apart_stays_who_it_is(world: World) -> None:
    """Its tag and link may be sent back as they are; not left out, nor with another name."""
    apart = person(identifier=[{"system": f"{MA_BN}01999", "value": "1"}])
    made = await make(world, apart)
    tagged = apart | {
        "meta": {"tag": [{"system": IDENTITY_TAGS, "code": KEPT_APART}]},
        "link": [{"other": {"reference": "Patient/x"}, "type": "seealso"}],
    }
    await change(world, made, tagged, by=world.context().principal)
    with pytest.raises(Forbidden):
        await change(world, made, tagged | {"gender": "male"})  # the server wrote it too
    # As where a dossier made it so: the facility is its only author.
    assert "author/system" in await world.store.tags(("Patient", made))
    await world.store.commit(
        Batch(tags=[Tag("Patient", made, without=frozenset({"author/system"}))])
    )

    assert (await change(world, made, tagged | {"gender": "male"})).status == 200
    for body in (
        apart,
        tagged | {"name": [{"text": "NGƯỜI B"}]},
        {k: v for k, v in tagged.items() if k != "link"},
    ):
        with pytest.raises(Forbidden):
            await change(world, made, body)


async def test_a_condition_is_on_what_the_resource_has(world: World) -> None:
    """A facility's If-None-Exist names an identifier of the body, else it says nothing."""
    for condition in (f"identifier={CCCD}|{B}", "name=x", f"identifier={A}", "_id=none"):
        with pytest.raises(Forbidden):
            await make(world, person(), condition=condition)
    asked: dict[str, Any] = {"resource_type": "Patient", "resource": person(), "method": "PUT"}
    with pytest.raises(Forbidden):
        await world.perform("update", FACILITY, query=(("birthdate", "1990-01-01"),), **asked)
    both = f"identifier={CCCD}|{A}&birthdate=1990-01-01"
    assert await make(world, person(), condition=both)
    asked["resource"] = person(gender="male")
    own = await world.perform("update", FACILITY, query=(("birthdate", "1990-01-01"),), **asked)
    assert own.status == 200


async def test_the_holder_is_found_whoever_had_the_number(world: World) -> None:
    """A condition on the number is the active holder's, beside inactive ones and former ones."""
    ctx = world.context()
    made = await make(world, person())
    await world.put(person(active=False) | {"id": "inactive"})
    former = {"system": CCCD, "value": A, "use": "old"}
    await world.put(person(B) | {"id": "former", "identifier": [former]})

    assert await make(world, person(), OTHER) == made
    update = await world.perform(
        "update", ctx.principal, resource_type="Patient", resource=person(gender="male"),
        query=(("identifier", f"{CCCD}|{A}"),), method="PUT",
    )  # fmt: skip
    visit_of = encounter("x", subject={"reference": f"Patient?identifier={CCCD}|{A}"})
    visited = await stored_as(world, "Encounter", await make(world, visit_of))
    assert update.version is not None
    assert update.version.resource_id == made
    assert visited["subject"]["reference"] == f"Patient/{made}"


async def stored_as(world: World, kind: str, identity: str) -> dict[str, Any]:
    """Return a resource as it is stored."""
    version = await world.store.read(kind, identity)
    assert version is not None
    resource: dict[str, Any] = codec.loads(version.body)
    return resource


# Systems of the draft


async def test_the_drafts_names_are_ours(world: World) -> None:
    """What comes in the draft's systems is found, held and read in ours; again it is no version."""
    draft = person()
    draft["identifier"][0]["system"] = f"{DRAFT}/cccd"
    draft["generalPractitioner"] = [
        {"identifier": {"system": f"{DRAFT}/ma-cskcb", "value": "01999"}}
    ]
    made = await make(world, draft, condition=f"identifier={DRAFT}/cccd|{A}")

    read = await stored_as(world, "Patient", made)
    assert read["identifier"] == [{"system": CCCD, "value": A}]
    assert read["generalPractitioner"][0]["identifier"]["system"] == MA_CSKCB
    assert (await change(world, made, draft)).version.version_id == 1
    with pytest.raises(Duplicate):
        await world.put(draft | {"id": "second"})
    assert await make(world, draft, OTHER, f"identifier={CCCD}|{A}") == made


async def test_the_drafts_names_get_around_nothing(world: World) -> None:
    """Another's visit, provider and number are another's in the draft's words too."""
    made = await make(world, person())
    for body in (
        encounter(made, identifier=[{"system": f"{DRAFT}/ma-lk", "value": "79999|LK"}]),
        encounter(
            made, serviceProvider={"identifier": {"system": f"{DRAFT}/ma-cskcb", "value": "79999"}}
        ),
    ):
        with pytest.raises(Forbidden):
            await make(world, body)
    with pytest.raises(Forbidden):
        await change(
            world, made, person(identifier=[{"system": f"{DRAFT}/national_id", "value": B}])
        )


# Cards and payers


async def test_a_card_is_made_once(world: World) -> None:
    """By whatever condition: a second Coverage of a card is a duplicate; the first is found."""
    await world.put(person() | {"id": "a"})
    first = await make(world, card("a"))
    also = [{"system": BHYT, "value": "zz1"}, {"system": f"{DRAFT}/bhyt", "value": CARD}]

    with pytest.raises(Duplicate):
        await make(world, card("b", identifier=also), OTHER)
    with pytest.raises(Forbidden):
        await make(world, card("b"), OTHER, f"identifier={BHYT}|zz1")
    assert await make(world, card("a"), OTHER) == first
    other = await make(world, card("b", "zz1"), OTHER)
    with pytest.raises(Forbidden):
        await change(world, other, card("b", identifier=also), OTHER)


async def test_two_of_one_card_in_one_bundle_are_one_too_many(world: World) -> None:
    """Neither is there yet, and still only one may be made."""
    bodies = [
        card("b", identifier=[{"system": BHYT, "value": v}, {"system": BHYT, "value": CARD}])
        for v in "12"
    ]
    asked = [
        entry(
            "POST",
            "Coverage",
            one,
            ifNoneExist=f"identifier={BHYT}|{one['identifier'][0]['value']}",
        )
        for one in bodies
    ]

    with pytest.raises(Duplicate):
        await world.transaction(bundle(*asked), FACILITY)


async def test_whose_a_card_is_stays(world: World) -> None:
    """A facility renews its card; it gives it to nobody else, nor to another payer."""
    made = await make(world, card("a"))

    assert (await change(world, made, card("a", status="cancelled"))).status == 200
    for body in (
        card("b"),
        card("a", payor=[{"identifier": {"system": PAYER, "value": "PRIVATE-01"}}]),
        card("a", "DN4010000000000"),
        card("a", identifier=[{"system": "urn:x", "value": "1"}]),
    ):
        with pytest.raises(Forbidden):
            await change(world, made, body)


async def test_a_payer_is_made_once(world: World) -> None:
    """An Organization that would be the payer a second time is a duplicate."""
    payer = {
        "resourceType": "Organization",
        "name": "BHXH",
        "identifier": [{"system": PAYER, "value": "BHXH"}],
    }
    await world.put(payer | {"id": "bhxh"})
    also = payer | {"identifier": [{"system": "urn:x", "value": "1"}, *payer["identifier"]]}

    with pytest.raises(Duplicate):
        await make(world, also)


async def test_a_card_of_several_is_the_holders(world: World) -> None:
    """A condition that matches the card of one kept apart too is the other's."""
    apart = {"meta": {"tag": [{"system": IDENTITY_TAGS, "code": KEPT_APART}]}}
    own = {"identifier": [{"system": BHYT, "value": CARD}]}
    for identity, more in (("a", own), ("apart", own | apart)):
        await world.put(person(**more) | {"id": identity})
        await world.put(card(identity) | {"id": f"card-{identity}"})

    assert await make(world, card("a"), OTHER) == "card-a"
    assert await make(world, person(**own), OTHER) == "a"


async def test_a_card_of_many_is_the_oldest(world: World) -> None:
    """Several Coverages of one card are no 412: the oldest is found, whatever was changed since."""
    for identity, number in (("a", A), ("b", B), ("c", "001190000001")):
        await world.put(person(number) | {"id": identity})
        world.clock.move(seconds=1)
        await world.put(card(identity) | {"id": f"card-{identity}"})
    world.clock.move(seconds=1)
    await world.put(card("a", status="cancelled") | {"id": "card-a"})

    assert await make(world, card("a"), OTHER) == "card-a"
    condition = f"identifier={BHYT}|{CARD}"
    account = {
        "resourceType": "Account",
        "status": "active",
        "coverage": [{"coverage": {"reference": f"Coverage?{condition}"}}],
    }
    result = await world.transaction(
        bundle(
            entry("POST", "Coverage", card("a"), ifNoneExist=condition),
            entry("POST", "Account", account),
        )
    )
    made = result["entry"]
    assert "Coverage/card-a/" in made[0]["response"]["location"]
    identity = made[1]["response"]["location"].split("Account/")[-1].split("/")[0]
    version = await world.store.read("Account", identity)
    assert version is not None
    kept = codec.loads(version.body)
    assert kept["coverage"][0]["coverage"]["reference"] == "Coverage/card-a"


async def test_a_card_of_those_kept_apart_alone_is_the_oldest(world: World) -> None:
    """Where all that have the card are kept apart, it is still one."""
    apart = {"meta": {"tag": [{"system": IDENTITY_TAGS, "code": KEPT_APART}]}}
    for identity, number in (("a", A), ("b", B)):
        await world.put(person(number, **apart) | {"id": identity})
        world.clock.move(seconds=1)
        await world.put(card(identity) | {"id": f"card-{identity}"})

    assert await make(world, card("a"), OTHER) == "card-a"


# Visits and claims


@pytest.fixture
async def visited(world: World) -> World:
    """A visit of A at 01999, with a card, and a hidden Condition of a visit at 79999."""
    await world.put(person() | {"id": "a"})
    await world.put(person(B) | {"id": "b"})
    await world.put(card("a") | {"id": "card-a"})
    await world.put(card("b", "GD4010987654321") | {"id": "card-b"})
    await make(world, encounter("a", identifier=[{"system": MA_LK, "value": "01999|LK"}]))
    theirs = await make(world, encounter("a"), OTHER)
    condition = {
        "resourceType": "Condition",
        "subject": {"reference": "Patient/a"},
        "encounter": {"reference": f"Encounter/{theirs}"},
    }
    world.callers["hidden"] = FACILITY
    await make(world, condition, OTHER)
    return world


async def test_a_facilitys_claim_is_its_own(visited: World) -> None:
    """Its key, its provider, its visit, the card of its patient: stored."""
    made = await make(visited, claim("a", "card-a", "id-1"))

    assert (await stored_as(visited, "Claim", made))["patient"]["reference"] == "Patient/a"


@pytest.mark.parametrize(
    "more",
    [
        {"identifier": [{"system": MA_LK, "value": "79999|LK"}]},
        {"identifier": [{"system": f"{DRAFT}/ma-lk", "value": "79999|LK"}]},
        {"provider": {"identifier": {"system": MA_CSKCB, "value": "79999"}}},
        {"provider": {"display": "Bệnh viện khác"}},
        {"provider": {"reference": "Organization/none"}},
        {"patient": {"identifier": {"system": CCCD, "value": A}}},
        {"patient": {"reference": "Patient/b"}},
        {"insurance": claim("a", "card-b", "x")["insurance"]},
        {"insurance": claim("a", "none", "x")["insurance"]},
        {"item": claim("a", "x", "id-2")["item"]},
        {"diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/id-3"}}]},
        {"diagnosis": [{"sequence": 1, "diagnosisReference": {"reference": "Condition/none"}}]},
    ],
    ids=str,
)
async def test_another_facilitys_claim_is_not_made(visited: World, more: dict[str, Any]) -> None:
    """No other's key, provider, visit, patient, card or diagnosis; hidden is as never there."""
    with pytest.raises(Forbidden):
        await make(visited, claim("a", "card-a", "id-1", **more))


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (encounter("a"), {"resourceType": "Condition", "subject": {"reference": "Patient/b"}}),
        (encounter("a"), claim("b", "card-b", "")),
    ],
    ids=["condition", "claim"],
)
async def test_a_bundle_makes_nobody_elses_visit(visited: World, first: Any, then: Any) -> None:
    """What a Bundle itself makes is asked as what is stored: of whom, of which facility."""
    link = {"reference": "urn:uuid:4e1f3c5e-6c1f-4b58-9a8b-0d9f6d1f3a11"}
    then = (
        then | {"item": [then["item"][0] | {"encounter": [link]}]}
        if "item" in then
        else then | {"encounter": link}
    )
    asked = [
        entry("POST", "Encounter", first) | {"fullUrl": link["reference"]},
        entry("POST", then["resourceType"], then),
    ]

    with pytest.raises(Forbidden):
        await visited.transaction(bundle(*asked), FACILITY)


@pytest.mark.parametrize(
    "body",
    [
        {
            "resourceType": "Provenance",
            "agent": [{"who": {"identifier": {"system": MA_CSKCB, "value": "79999"}}}],
        },
        {"resourceType": "Provenance", "agent": [{"who": {"reference": "Organization/theirs"}}]},
        {
            "resourceType": "Procedure",
            "performer": [{"actor": {"reference": "Organization/theirs"}}],
        },
        encounter("a", serviceProvider={"display": "Bệnh viện Mẫu 79999"}),
        encounter("a", serviceProvider={"reference": "Organization/theirs"}),
        encounter("a", meta={"tag": [{"system": IDENTITY_TAGS, "code": KEPT_APART}]}),
    ],
    ids=str,
)
async def test_nobody_writes_in_anothers_name(visited: World, body: dict[str, Any]) -> None:
    """Who performed, provided or states something is not another facility."""
    theirs = {
        "resourceType": "Organization",
        "identifier": [{"system": MA_CSKCB, "value": "79999"}],
    }
    await visited.put(theirs | {"id": "theirs"})
    own = {"reference": "Encounter/id-1"}
    more = {
        "Provenance": {"target": [own], "recorded": "2024-01-01T00:00:00Z"},
        "Procedure": {
            "status": "completed",
            "subject": {"reference": "Patient/a"},
            "encounter": own,
        },
    }

    with pytest.raises(Forbidden):
        await make(visited, body | more.get(body["resourceType"], {}))


async def test_a_resource_is_of_its_encounters_patient(visited: World) -> None:
    """An own Encounter carries nothing into another's book."""
    condition = {"resourceType": "Condition", "encounter": {"reference": "Encounter/id-1"}}

    assert await make(visited, condition | {"subject": {"reference": "Patient/a"}})
    with pytest.raises(Forbidden):
        await make(visited, condition | {"subject": {"reference": "Patient/b"}})


async def test_a_visit_is_not_given_to_a_hidden_patient(visited: World) -> None:
    """A facility's update names no Patient that it does not see; what it does not name stays."""
    with pytest.raises(Forbidden):
        await change(visited, "id-1", encounter("b"))

    assert (await stored_as(visited, "Encounter", "id-1"))["subject"]["reference"] == "Patient/a"
    assert (await change(visited, "id-1", encounter("a", status="cancelled"))).status == 200


async def test_a_visit_is_moved_with_all_that_belongs_to_it(visited: World) -> None:
    """409 while a Condition of the visit stays the former Patient's; one transaction moves both."""
    condition = {
        "resourceType": "Condition",
        "encounter": {"reference": "Encounter/id-1"},
        "subject": {"reference": "Patient/a"},
    }
    made = await make(visited, condition)
    await visited.store.commit(Batch(tags=(Tag("Patient", "b", frozenset({FACILITY.tag})),)))

    for moved in (encounter("b"), encounter("b") | {"subject": {"display": "X"}}):
        with pytest.raises(Conflict):
            await change(visited, "id-1", moved)
    both = bundle(
        entry("PUT", "Encounter/id-1", encounter("b") | {"id": "id-1"}),
        entry(
            "PUT",
            f"Condition/{made}",
            condition | {"id": made, "subject": {"reference": "Patient/b"}},
        ),
    )
    await visited.transaction(both, FACILITY)

    for kind, name in (("Encounter", "id-1"), ("Condition", made)):
        assert (await stored_as(visited, kind, name))["subject"]["reference"] == "Patient/b"


# Consent


async def test_a_citizen_consents_in_the_own_name(visited: World) -> None:
    """By the own reference, also an absolute one; nobody else agrees, nor verified it."""
    own, base = {"reference": "Patient/a"}, visited.context().base_url
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "x"}],
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "patient": own,
    }
    absolute = {"reference": f"{base}/Patient/a"}

    for more in ({}, {"performer": [own]}, {"patient": absolute, "performer": [absolute]}):
        assert await make(visited, consent | more, citizen("a"))
    for more in (
        {"performer": [{"reference": "Patient/b"}]},
        {"performer": [own, {"display": "NGƯỜI B"}]},
        {"performer": [own | {"identifier": {"system": CCCD, "value": B}}]},
        {"patient": {"reference": "http://elsewhere/fhir/Patient/a"}},
        {"verification": [{"verified": True, "verifiedWith": {"reference": "Patient/b"}}]},
    ):
        with pytest.raises(Forbidden):
            await make(visited, consent | more, citizen("a"))


async def test_a_conditional_update_of_what_is_hidden_is_unknown(world: World) -> None:
    """As a PUT to a hidden id; the number is known to be taken, as a create would say too."""
    await world.put(person() | {"id": "a"})

    with pytest.raises(UnknownResource):
        await world.perform(
            "update", FACILITY, resource_type="Patient", resource=person(),
            query=(("identifier", f"{CCCD}|{A}"),), method="PUT",
        )  # fmt: skip
