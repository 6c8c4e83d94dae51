"""What is hidden behaves as what never was: contract, section 6."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from auth.principal import Principal
from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.bundle import link
from fhir_server.model.identifiers import CCCD, MA_LK, PAYER
from fhir_server.model.outcome import (
    FhirError,
    Forbidden,
    Gone,
    PreconditionFailed,
    UnknownResource,
)
from tests.conftest import AUDITOR, BASE, FACILITY, OTHER, World, citizen
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient

ANA, BO = citizen("ana"), citizen("bo")


def entries(result: FhirResult) -> list[dict[str, Any]]:
    """Return the resources of a searchset or history."""
    answer = codec.loads(result.body or b"")
    return [one["resource"] for one in answer.get("entry", ())]


def names(result: FhirResult) -> list[str]:
    """Return the names of the resources of a searchset, sorted."""
    return sorted(f"{one['resourceType']}/{one['id']}" for one in entries(result))


@pytest.fixture
async def people(world: World) -> World:
    """Two people, an Observation of each, and one that moved from Bo to Ana."""
    await world.put(patient("1", name=[{"family": "An"}]) | {"id": "ana"})
    await world.put(patient("2", name=[{"family": "Bo"}]) | {"id": "bo"})
    await world.put(observation("Patient/ana") | {"id": "of-ana"})
    await world.put(observation("Patient/bo") | {"id": "of-bo", "note": [{"text": "secret"}]})
    await world.put(observation("Patient/bo") | {"id": "moved", "note": [{"text": "secret"}]})
    await world.put(observation("Patient/ana") | {"id": "moved"})
    return world


async def test_a_citizen_reads_the_own_book_only(people: World) -> None:
    """Own resources are read; those of another are unknown, with the words of a true 404."""
    own = await people.perform("read", ANA, resource_type="Observation", resource_id="of-ana")
    refusals = []
    for identity in ("of-bo", "no-one"):
        with pytest.raises(UnknownResource) as refusal:
            await people.perform("read", ANA, resource_type="Observation", resource_id=identity)
        refusals.append(codec.dumps(refusal.value.outcome()).replace(identity.encode(), b"ID"))

    assert own.status == 200
    assert refusals[0] == refusals[1]


async def test_a_search_shows_the_own_book_only(people: World) -> None:
    """A search over the type shows what is the citizen's, and its total counts no more."""
    found = await people.perform(
        "search-type", ANA, resource_type="Observation", query=(("_total", "accurate"),)
    )

    assert names(found) == ["Observation/moved", "Observation/of-ana"]
    assert codec.loads(found.body or b"")["total"] == 2
    assert names(await people.perform("search-type", ANA, resource_type="Patient")) == [
        "Patient/ana"
    ]


@pytest.mark.parametrize(
    "query",
    [
        ("subject", "Patient/bo"),
        ("subject:Patient.family", "Bo"),
        ("subject:Patient._id", "bo"),
        ("patient.family", "Bo"),
        ("patient:Patient._has:Observation:subject:_id", "of-bo"),
    ],
)
async def test_a_chain_looks_into_nothing_hidden(people: World, query: tuple[str, str]) -> None:
    """Chains and nested `_has` find nothing by what another's resources say."""
    found = await people.perform("search-type", ANA, resource_type="Observation", query=(query,))

    assert names(found) == []


async def test_has_looks_into_nothing_hidden(people: World) -> None:
    """A `_has` on an open type sees no resource of another's book."""
    await people.put({"resourceType": "Practitioner", "id": "doc"})
    performer = {"performer": [{"reference": "Practitioner/doc"}]}
    await people.put(observation("Patient/bo") | {"id": "by-doc"} | performer)
    query = (("_has:Observation:performer:_id", "by-doc"),)

    for caller, expected in ((ANA, []), (BO, ["Practitioner/doc"])):
        found = await people.perform(
            "search-type", caller, resource_type="Practitioner", query=query
        )
        assert names(found) == expected


async def test_includes_bring_nothing_hidden(people: World) -> None:
    """`_include` and `_revinclude` bring along only what a read would show."""
    await people.put({"resourceType": "Practitioner", "id": "doc"})
    performer = {"performer": [{"reference": "Practitioner/doc"}, {"reference": "Patient/bo"}]}
    await people.put(observation("Patient/ana") | {"id": "of-ana"} | performer)
    await people.put(observation("Patient/bo") | {"id": "of-bo"} | performer)

    forward = await people.perform(
        "search-type", ANA, resource_type="Observation",
        query=(("_id", "of-ana"), ("_include", "*")),
    )  # fmt: skip
    backward = await people.perform(
        "search-type", ANA, resource_type="Practitioner",
        query=(("_revinclude", "Observation:performer"), ("_include:iterate", "*")),
    )  # fmt: skip

    assert names(forward) == ["Observation/of-ana", "Patient/ana", "Practitioner/doc"]
    assert names(backward) == ["Observation/of-ana", "Patient/ana", "Practitioner/doc"]
    assert b"secret" not in (backward.body or b"")


@pytest.mark.parametrize("count", [1, 2, 3])
async def test_a_history_is_turned_back_over_what_is_hidden(people: World, count: int) -> None:
    """Forth and back the pages show the own versions, each once, and nothing of another's."""
    for whose in ("bo", "ana", "bo", "ana"):
        await people.put(observation(f"Patient/{whose}") | {"id": "moved"})

    async def page(url: str) -> dict[str, Any]:
        query = tuple(parse_qsl(urlsplit(url).query))
        asked = {"resource_type": "Observation", "resource_id": "moved", "query": query}
        return codec.loads((await people.perform("history-instance", ANA, **asked)).body or b"")

    def versions(answer: dict[str, Any]) -> list[str]:
        return [one["resource"]["meta"]["versionId"] for one in answer.get("entry", ())]

    answer = await page(f"?_count={count}")
    forth = versions(answer)
    last = versions(answer)
    while (url := link(answer, "next")) is not None:
        answer = await page(url)
        last = versions(answer)
        forth += last
    back: list[str] = []
    while (url := link(answer, "previous")) is not None:
        answer = await page(url)
        back = versions(answer) + back

    assert forth == ["6", "4", "2"]
    assert back == forth[: len(forth) - len(last)]


async def test_history_shows_no_version_of_anothers_book(people: World) -> None:
    """What a resource said while it was another's is in no history and no vread."""
    history = await people.perform(
        "history-instance", ANA, resource_type="Observation", resource_id="moved"
    )

    assert [one["meta"]["versionId"] for one in entries(history)] == ["2"]
    with pytest.raises(UnknownResource):
        await people.perform(
            "vread", ANA, resource_type="Observation", resource_id="moved", version_id="1"
        )
    with pytest.raises(UnknownResource):
        await people.perform(
            "history-instance", BO, resource_type="Observation", resource_id="moved"
        )


async def test_a_deleted_resource_is_gone_for_whom_it_was_shown_to(people: World) -> None:
    """410 and a history for whose it was last; for others as what never was, to the byte."""
    for identity in ("of-ana", "of-bo", "moved"):
        await people.perform("delete", resource_type="Observation", resource_id=identity)

    for identity, versions in (("of-ana", ["1"]), ("moved", ["2"])):
        asked = {"resource_type": "Observation", "resource_id": identity}
        with pytest.raises(Gone):
            await people.perform("read", ANA, **asked)
        history = codec.loads((await people.perform("history-instance", ANA, **asked)).body or b"")
        assert history["entry"][0]["request"]["method"] == "DELETE"
        shown = [e["resource"]["meta"]["versionId"] for e in history["entry"] if "resource" in e]
        assert shown == versions
        old = await people.perform("vread", ANA, version_id=versions[0], **asked)
        assert old.status == 200
    with pytest.raises(UnknownResource):
        await people.perform(
            "vread", ANA, resource_type="Observation", resource_id="moved", version_id="1"
        )
    said = set()
    for interaction in ("read", "history-instance", "vread"):
        for caller, identity in ((ANA, "of-bo"), (BO, "of-ana"), (BO, "moved"), (BO, "never")):
            with pytest.raises(UnknownResource) as refusal:
                await people.perform(
                    interaction, caller, resource_type="Observation", resource_id=identity,
                    version_id="1" if interaction == "vread" else None,
                )  # fmt: skip
            words = codec.dumps(refusal.value.outcome()).replace(identity.encode(), b"ID")
            said.add((interaction, words, str(refusal.value.headers)))
    assert len(said) == 3


async def test_a_facility_reads_on_what_was_its_own(world: World) -> None:
    """A deleted resource of its own is 410 with its history, but for what was another's."""
    answer = await visit(world, FACILITY, "01999")
    location = answer["entry"][2]["response"]["location"].split("/")
    identity = location[location.index("Observation") + 1]
    asked = {"resource_type": "Observation", "resource_id": identity}
    read = await world.perform("read", FACILITY, **asked)
    mine = codec.loads(read.version.body if read.version else b"")
    await world.put(mine | {"subject": {"reference": "Patient/else"}})
    await world.put(mine)
    await world.perform("delete", **asked)

    with pytest.raises(Gone):
        await world.perform("read", FACILITY, **asked)
    history = await world.perform("history-instance", FACILITY, **asked)
    listed = codec.loads(history.body or b"")["entry"]

    shown = [e["resource"]["meta"]["versionId"] for e in listed if "resource" in e]
    assert shown == ["3", "1"]
    with pytest.raises(UnknownResource):
        await world.perform("read", OTHER, **asked)


async def test_an_absolute_reference_to_another_hides_a_version_too(people: World) -> None:
    """Whose a version was is known, too, where it referred to its Patient by the whole URL."""
    await people.put(observation(f"{BASE}/Patient/bo") | {"id": "whole"})
    await people.put(observation("Patient/ana") | {"id": "whole"})

    history = await people.perform(
        "history-instance", ANA, resource_type="Observation", resource_id="whole"
    )

    assert [one["meta"]["versionId"] for one in entries(history)] == ["2"]
    with pytest.raises(UnknownResource):
        await people.perform(
            "vread", ANA, resource_type="Observation", resource_id="whole", version_id="1"
        )


@pytest.mark.parametrize("identity", ["ana", "bo", "never"])
@pytest.mark.parametrize("interaction", ["update", "delete", "create"])
async def test_what_is_never_granted_is_forbidden(
    people: World, interaction: str, identity: str
) -> None:
    """An interaction that is never granted is 403, whatever the id."""
    with pytest.raises(Forbidden):
        await people.perform(
            interaction,
            ANA,
            resource_type="Patient",
            resource_id=None if interaction == "create" else identity,
            resource=patient() | {"id": identity},
        )


async def visit(world: World, caller: Principal, code: str) -> dict[str, Any]:
    """Let a facility send a visit over REST, as the contract allows; return the answer."""
    urn = "urn:uuid:11111111-1111-4111-8111-111111111111"
    visit_urn = "urn:uuid:22222222-2222-4222-8222-222222222222"
    person = {
        "resourceType": "Patient",
        "identifier": [{"system": CCCD, "value": "001195012345"}],
        "name": [{"family": "MẪU"}],
    }
    encounter = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {
            "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
            "code": "AMB",
        },
        "identifier": [{"system": MA_LK, "value": f"{code}|1"}],
        "subject": {"reference": urn},
    }
    seen = observation(urn) | {"encounter": {"reference": visit_urn}}
    return await world.transaction(
        bundle(
            entry(
                "POST", "Patient", person, full_url=urn,
                ifNoneExist=f"identifier={CCCD}|001195012345",
            ),
            entry("POST", "Encounter", encounter, full_url=visit_urn),
            entry("POST", "Observation", seen),
        ),
        caller,
    )  # fmt: skip


async def test_a_facility_sends_a_visit_and_reads_it(world: World) -> None:
    """A facility makes Patient, Encounter and Observation of its own, and reads them."""
    answer = await visit(world, FACILITY, "01999")

    assert [one["response"]["status"] for one in answer["entry"]] == ["201 Created"] * 3
    found = await world.perform("search-type", FACILITY, resource_type="Observation")
    assert len(entries(found)) == 1
    assert names(await world.perform("search-type", OTHER, resource_type="Observation")) == []


async def test_a_hidden_match_makes_no_duplicate_and_opens_nothing(world: World) -> None:
    """A second facility's conditional create finds the hidden Patient: Location, no more."""
    first = await visit(world, FACILITY, "01999")

    second = await visit(world, OTHER, "79999")

    assert await world.store.count("Patient") == 1
    response = second["entry"][0]["response"]
    assert response["status"] == "200 OK"
    assert first["entry"][0]["response"]["location"].startswith(response["location"])
    assert response.keys() == {"status", "location"}
    identity = response["location"].rpartition("/")[2]
    with pytest.raises(UnknownResource):
        await world.perform("read", OTHER, resource_type="Patient", resource_id=identity)
    with pytest.raises(UnknownResource):
        await world.perform(
            "update", OTHER, resource_type="Patient", resource_id=identity,
            resource=patient() | {"id": identity},
        )  # fmt: skip


async def test_a_single_hidden_match_has_no_body(world: World) -> None:
    """If-None-Exist outside a Bundle answers a hidden match likewise."""
    await visit(world, FACILITY, "01999")

    result = await world.perform(
        "create", OTHER, resource_type="Patient", resource=patient(),
        if_none_exist=f"identifier={CCCD}|001195012345",
    )  # fmt: skip

    assert (result.status, result.hidden, result.version) == (200, True, None)
    assert result.location == "Patient/" + result.location.rpartition("/")[2]


async def test_other_conditions_see_only_what_is_shown(world: World) -> None:
    """A condition on another identifier does not tell that a hidden resource has it."""
    await world.put(patient("1") | {"id": "a"})

    result = await world.perform(
        "create", FACILITY, resource_type="Patient", resource=patient("1"),
        if_none_exist="identifier=http://example.org/mrn|1",
    )  # fmt: skip

    assert result.status == 201


async def test_a_literal_reference_to_a_hidden_patient_opens_nothing(world: World) -> None:
    """A facility that names a hidden Patient by id does not see it afterwards."""
    await world.put(patient("1") | {"id": "a"})
    visit_of = {
        "resourceType": "Encounter",
        "status": "planned",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "identifier": [{"system": MA_LK, "value": "01999|9"}],
        "subject": {"reference": "Patient/a"},
    }

    await world.perform("create", FACILITY, resource_type="Encounter", resource=visit_of)

    with pytest.raises(UnknownResource):
        await world.perform("read", FACILITY, resource_type="Patient", resource_id="a")


@pytest.mark.parametrize(
    ("resource", "fields"),
    [
        (patient(), {}),
        (observation("Patient/a"), {}),
        (observation("Patient/a", encounter={"reference": "Encounter/of-other"}), {}),
        ({"resourceType": "AuditEvent"}, {}),
        ({"resourceType": "Consent"}, {}),
        ({"resourceType": "RelatedPerson"}, {}),
    ],
    ids=[
        "patient without condition",
        "no visit",
        "another's visit",
        "audit",
        "consent",
        "guardian",
    ],
)
async def test_a_facility_writes_nothing_else(
    world: World, resource: dict[str, Any], fields: dict[str, Any]
) -> None:
    """A facility writes only what belongs to an Encounter of its own, by Bundles too."""
    await visit(world, OTHER, "79999")
    for asked in ("create", "transaction", "batch"):
        if asked == "create":
            with pytest.raises(FhirError) as refusal:
                await world.perform(
                    "create", FACILITY, resource_type=resource["resourceType"],
                    resource=resource, **fields,
                )  # fmt: skip
            assert refusal.value.status == 403
            continue
        made = bundle(entry("POST", resource["resourceType"], resource), kind=asked)
        if asked == "transaction":
            with pytest.raises(Forbidden):
                await world.transaction(made, FACILITY)
        else:
            (one,) = (await world.transaction(made, FACILITY))["entry"]
            assert one["response"]["status"] == "403 Forbidden"


async def test_a_facility_updates_its_own_and_no_others(world: World) -> None:
    """The own visit is updated; a hidden one is 404 (412 with If-Match), its delete 403 or 204."""
    answer = await visit(world, FACILITY, "01999")
    place = answer["entry"][1]["response"]["location"].split("/")
    identity = place[place.index("Encounter") + 1]
    read = await world.perform("read", resource_type="Encounter", resource_id=identity)
    body = codec.loads(read.version.body if read.version else b"") | {"status": "cancelled"}
    asked = {"resource_type": "Encounter", "resource_id": identity, "resource": body}

    with pytest.raises(UnknownResource):
        await world.perform("update", OTHER, **asked)
    with pytest.raises(PreconditionFailed):
        await world.perform("update", OTHER, if_match=1, **asked)
    updated = await world.perform("update", FACILITY, **asked)

    assert (updated.status, updated.version and updated.version.version_id) == (200, 2)


async def test_what_is_seen_and_not_changed_is_forbidden(world: World) -> None:
    """An Organization that others wrote is read by a facility, and its update is 403."""
    body = {"resourceType": "Organization", "id": "org", "name": "X"}
    await world.put(body)

    with pytest.raises(Forbidden):
        await world.put(body | {"name": "Y"}, FACILITY)


async def test_only_system_chooses_ids(world: World) -> None:
    """A facility's update of an id never used is 404."""
    body = {"resourceType": "Organization", "id": "new", "name": "X"}

    with pytest.raises(UnknownResource):
        await world.put(body, FACILITY)


async def test_the_auditor_sees_nothing_clinical(people: World) -> None:
    """The auditor's read of a Patient is 403, and the AuditEvents are seen."""
    with pytest.raises(Forbidden):
        await people.perform("read", AUDITOR, resource_type="Patient", resource_id="ana")

    found = await people.perform("search-type", AUDITOR, resource_type="AuditEvent")
    assert entries(found)


async def test_a_citizen_deletes_the_own_consent_and_not_anothers(people: World) -> None:
    """DELETE of another's Consent is 204 without effect."""
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [
                {
                    "system": "http://terminology.hl7.org/CodeSystem/consentscope",
                    "code": "patient-privacy",
                }
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": "Patient/ana"},
        "policyRule": {"text": "OPTIN"},
    }
    await people.put(consent | {"id": "c"})

    hidden = await people.perform("delete", BO, resource_type="Consent", resource_id="c")
    assert hidden.status == 204
    assert await people.store.count("Consent") == 1
    own = await people.perform("delete", ANA, resource_type="Consent", resource_id="c")
    assert own.status == 204
    assert await people.store.count("Consent") == 0


async def test_a_read_shows_the_version_that_was_judged(people: World) -> None:
    """A resource that comes to be shown while it is read is not shown as it was before."""
    payer = Principal(
        kind="payer", client_id="insurer", code="BHXH", display="BHXH", scopes=("system/*.rs",)
    )
    coverage = {
        "resourceType": "Coverage",
        "id": "card",
        "status": "active",
        "beneficiary": {"reference": "Patient/ana"},
        "payor": [{"identifier": {"system": PAYER, "value": "OTHER"}}],
        "subscriberId": "secret",
    }
    await people.put(coverage)

    class Moving:
        """A store where another writes between the read and the question who may see it."""

        def __getattr__(self, name: str) -> Any:
            return getattr(people.store, name)

        async def visible(self, name: Any, where: Any) -> bool:
            ours = {"identifier": {"system": PAYER, "value": "BHXH"}}
            await people.put(coverage | {"payor": [ours], "subscriberId": "told"})
            return await people.store.visible(name, where)

    ctx = replace(people.context(payer), store=Moving())

    result = await perform(ctx, FhirRequest("read", "Coverage", "card"))

    assert result.version is not None
    assert b"secret" not in result.version.body
    assert b"told" in result.version.body
