"""Patch: versions, preconditions, who may, Bundles, races; http.html#patch of R4."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from auth.criteria import Anything
from auth.policy import AccessPolicy
from auth.principal import SYSTEM, Principal
from fhir_server.interactions.audit_event import is_recorded
from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD, MA_BN, extension
from fhir_server.model.outcome import (
    Duplicate,
    FhirError,
    Forbidden,
    Gone,
    Invalid,
    InvalidValue,
    Malformed,
    MultipleMatches,
    PreconditionFailed,
    UnknownResource,
    UnsupportedMediaType,
)
from fhir_server.model.patch.refusal import Allowance
from fhir_server.model.sensitivity import LABEL
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from tests.conftest import FACILITY, OTHER, World, citizen
from tests.fakes.yielding import YieldingStore
from tests.fhir_server.interactions.test_elsewhere import SEEN, number
from tests.fhir_server.interactions.test_elsewhere import note as named_facility
from tests.fhir_server.interactions.test_races import CLIENTS
from tests.fhir_server.interactions.test_transaction import URN, bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient
from tests.fhir_server.model.patch.test_fhirpath_patch import operation

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"


def op(kind: str, path: str, value: Any = None) -> dict[str, Any]:
    """Return an operation of JSON Patch."""
    return {"op": kind, "path": path} | ({} if kind == "remove" else {"value": value})


async def patch(
    world: World,
    name: str,
    change: Any,
    principal: Principal = SYSTEM,
    **fields: Any,
) -> FhirResult:
    """Patch `Type/id`, or `Type?criteria`: a list as JSON Patch, an object as a merge patch."""
    path, _, criteria = name.partition("?")
    kind, _, identity = path.partition("/")
    query = tuple(tuple(one.split("=", 1)) for one in criteria.split("&") if one)
    return await world.perform(
        "patch", principal, resource_type=kind, resource_id=identity or None, query=query,
        raw=codec.dumps(change), content_type=JSON_PATCH if isinstance(change, list) else MERGE,
        method="PATCH", url=name, **fields,
    )  # fmt: skip


def shown(result: FhirResult) -> dict[str, Any]:
    """Return the resource that a result shows."""
    assert result.version is not None
    return codec.loads(result.version.body)


ACTIVE = [op("add", "/active", value=True)]


async def test_a_patch_makes_the_next_version(world: World) -> None:
    """200, the new version, made by PATCH, at the time of the patch; all else as it was."""
    await world.put(patient(active=False) | {"id": "a", "meta": {"tag": [{"code": "t"}]}})
    world.clock.move(seconds=1)

    result = await patch(world, "Patient/a", ACTIVE)

    assert (result.status, result.location) == (200, None)
    meta = {"versionId": "2", "lastUpdated": "2024-01-01T07:00:01.000+07:00"}
    expected = patient(active=True) | {"id": "a", "meta": meta | {"tag": [{"code": "t"}]}}
    assert shown(result) == expected
    history = await world.store.history("Patient", "a")
    assert [version.method for version in history.versions] == ["PATCH", "PUT"]


async def test_the_history_says_patch(world: World) -> None:
    """The entry's request is the PATCH of the resource, its response 200."""
    await world.put(patient() | {"id": "a"})
    await patch(world, "Patient/a", ACTIVE)

    result = await world.perform("history-instance", resource_type="Patient", resource_id="a")

    newest = codec.loads(result.body or b"")["entry"][0]
    assert newest["request"] == {"method": "PATCH", "url": "Patient/a"}
    assert newest["response"]["status"] == "200"
    assert newest["resource"]["active"] is True


@pytest.mark.parametrize(
    "change",
    [
        [],
        [op("test", "/active", value=True)],
        ACTIVE,
        {},
        {"active": True},
        {"meta": {"versionId": "9", "lastUpdated": "1999-01-01T00:00:00Z"}},
        [op("add", "/meta/versionId", "7")],
        [op("add", "/active", value=False), *ACTIVE],
    ],
)
async def test_a_patch_that_changes_nothing_makes_no_version(world: World, change: Any) -> None:
    """200 with the version that is there; versionId is the server's alone."""
    await world.put(patient(active=True) | {"id": "a"})

    result = await patch(world, "Patient/a", change)

    assert result.status == 200
    assert shown(result)["meta"]["versionId"] == "1"
    assert len((await world.store.history("Patient", "a")).versions) == 1


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ([op("test", "/active", value=False)], Invalid),
        ([op("remove", "/gender")], Invalid),
        ([op("replace", "/id", "b")], Invalid),
        ([op("replace", "/active", "yes")], Invalid),
        ([op("add", "/colour", "red")], Invalid),
        ([op("add", "/__proto__", {"active": False})], Invalid),
        ([op("add", "/constructor", {})], Invalid),
        ([op("add", "/name", [])], Invalid),
        ([op("add", "/contained", [{"resourceType": "Patient", "active": 1}])], Invalid),
        ({"birthDate": "yesterday"}, Invalid),
        ({"meta": "x"}, Invalid),
        ({"identifier": None, "colour": {"x": None}}, None),
        ([{"op": "add"}], Malformed),
    ],
)
async def test_a_patch_that_cannot_be_changes_nothing(
    world: World, change: Any, refusal: type[Exception] | None
) -> None:
    """400 what is no patch, 422 what cannot be applied or makes what is not valid."""
    await world.put(patient(active=True) | {"id": "a"})

    if refusal is None:
        assert "identifier" not in shown(await patch(world, "Patient/a", change))
        return
    with pytest.raises(refusal):
        await patch(world, "Patient/a", [*ACTIVE, *change] if isinstance(change, list) else change)

    assert len((await world.store.history("Patient", "a")).versions) == 1


async def test_primitives_keep_what_stands_beside_them(world: World) -> None:
    """Extensions of `_birthDate` are patched under their own name."""
    beside = {"extension": [{"url": "http://example.org/x", "valueString": "y"}]}
    await world.put(patient(birthDate="1990-01-01", _birthDate=beside) | {"id": "a"})

    changed = await patch(world, "Patient/a", [
        op("replace", "/birthDate", "1991-01-01"),
        op("replace", "/_birthDate/extension/0/valueString", "z"),
    ])  # fmt: skip
    taken = await patch(world, "Patient/a", [op("remove", "/_birthDate/extension/0")])

    assert shown(changed)["birthDate"] == "1991-01-01"
    assert shown(changed)["_birthDate"]["extension"][0]["valueString"] == "z"
    assert "_birthDate" not in shown(taken)


async def test_the_index_is_that_of_the_patched(world: World) -> None:
    """What a patch changes is found by what it says now, and no longer by what it said."""
    await world.put(patient("1") | {"id": "a"})

    await patch(world, "Patient/a", [op("replace", "/identifier/0/value", "2")])

    for value, total in (("1", 0), ("2", 1)):
        query = (("identifier", f"http://example.org/mrn|{value}"),)
        result = await world.perform("search-type", resource_type="Patient", query=query)
        assert codec.loads(result.body or b"")["total"] == total


# What is not there


async def test_what_was_never_there_is_not_made(world: World) -> None:
    """404, also for who may choose ids; with If-Match 412."""
    with pytest.raises(UnknownResource):
        await patch(world, "Patient/a", ACTIVE)
    with pytest.raises(UnknownResource):
        await patch(world, "Patient/a", {"resourceType": "Patient", "id": "a"})
    with pytest.raises(PreconditionFailed):
        await patch(world, "Patient/a", ACTIVE, if_match=1)

    assert await world.store.read("Patient", "a") is None


async def test_what_is_deleted_is_gone(world: World) -> None:
    """410 with the deletion's ETag; with If-Match 412."""
    await world.put(patient() | {"id": "a"})
    await world.perform("delete", resource_type="Patient", resource_id="a")

    with pytest.raises(Gone) as refusal:
        await patch(world, "Patient/a", ACTIVE)
    with pytest.raises(PreconditionFailed):
        await patch(world, "Patient/a", ACTIVE, if_match=2)

    assert refusal.value.headers["ETag"] == 'W/"2"'


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [(2, True), (1, False), (3, False), (0, True), ((1, 2), True), (-1, False)],
)
async def test_if_match(world: World, wanted: Any, passes: bool) -> None:  # noqa: FBT001 - a case
    """412 unless the current version is named, whatever the patch."""
    await world.put(patient() | {"id": "a"})
    await world.put(patient(active=False) | {"id": "a"})

    if passes:
        assert shown(await patch(world, "Patient/a", ACTIVE, if_match=wanted))["active"] is True
        return
    with pytest.raises(PreconditionFailed):
        await patch(world, "Patient/a", [op("test", "/active", value=True)], if_match=wanted)


async def test_an_entry_of_the_audit_chain_is_not_patched(world: World) -> None:
    """403 for what is recorded, 404 for an id of the chain that is not."""
    await world.put(patient() | {"id": "a"})
    entries = await world.store.audit(limit=1)
    identity = f"audit-{entries[0].seq}"
    assert await is_recorded(world.context(), identity)

    with pytest.raises(Forbidden):
        await patch(world, f"AuditEvent/{identity}", [op("remove", "/outcome")])
    with pytest.raises(UnknownResource):
        await patch(world, "AuditEvent/audit-999999", [op("remove", "/outcome")])


async def test_the_same_again_makes_no_version(each_store: Store) -> None:
    """Over every engine: by update, conditional update, patch, and each in a transaction."""
    world = World(store=each_store)
    same = patient("1", active=True, multipleBirthInteger=2)
    await world.put(same | {"id": "a"})
    found = "identifier=http://example.org/mrn|1"
    meta = {"meta": {"versionId": "9", "lastUpdated": "1999-01-01T00:00:00Z"}}

    statuses = [
        (await world.put(same | meta | {"id": "a"})).status,
        (await patch(world, "Patient/a", ACTIVE)).status,
        (await patch(world, f"Patient?{found}", {"active": True})).status,
        (
            await world.perform(
                "update", resource_type="Patient", resource=same,
                query=(("identifier", "http://example.org/mrn|1"),),
            )
        ).status,
    ]  # fmt: skip
    for url in ("Patient/a", f"Patient?{found}"):
        for asked in (entry("PUT", url, same | {"id": "a"}), entry("PATCH", url, binary(ACTIVE))):
            for kind in ("transaction", "batch"):
                answer = await world.transaction(bundle(asked, kind=kind))
                response = answer["entry"][0]["response"]
                assert response["etag"] == 'W/"1"'
                statuses.append(int(response["status"][:3]))

    assert set(statuses) == {200}
    history = await world.store.history("Patient", "a")
    assert [version.version_id for version in history.versions] == [1]


# Conditions


async def test_a_conditional_patch_patches_the_one_match(world: World) -> None:
    """200 with its Location; no match is 404, several are 412, no criteria 400."""
    await world.put(patient("1") | {"id": "a"})
    await world.put(patient("2") | {"id": "b"})
    await world.put(patient("2") | {"id": "c"})

    done = await patch(world, "Patient?identifier=http://example.org/mrn|1", ACTIVE)

    assert (done.status, done.location) == (200, "Patient/a/_history/2")
    with pytest.raises(UnknownResource):
        await patch(world, "Patient?identifier=http://example.org/mrn|3", ACTIVE)
    with pytest.raises(MultipleMatches):
        await patch(world, "Patient?identifier=http://example.org/mrn|2", ACTIVE)
    with pytest.raises(InvalidValue):
        await patch(world, "Patient", ACTIVE)
    with pytest.raises(PreconditionFailed, match=r"^Patient is not at"):
        await patch(world, "Patient?identifier=http://example.org/mrn|3", ACTIVE, if_match=1)
    with pytest.raises(PreconditionFailed):
        await patch(world, "Patient?identifier=http://example.org/mrn|1", ACTIVE, if_match=1)


# Who may


async def visit(world: World, principal: Principal, code: str, **more: Any) -> tuple[str, str]:
    """Send a Patient and an Encounter as a facility does; return their ids."""
    urn = URN.replace("0a", code[:2])
    person = {
        "resourceType": "Patient",
        "identifier": [{"system": CCCD, "value": "001195012345"}],
        "name": [{"text": "NGUYỄN THỊ MẪU"}],
        **more,
    }
    encounter = {
        "resourceType": "Encounter",
        "status": "in-progress",
        "class": {"code": "AMB"},
        "subject": {"reference": URN},
    }
    found = f"identifier={CCCD}|001195012345"
    answer = await world.transaction(
        bundle(
            entry("POST", "Patient", person, full_url=URN, ifNoneExist=found),
            entry("POST", "Encounter", encounter, full_url=urn),
        ),
        principal,
    )
    places = [one["response"]["location"].split("/fhir/")[1] for one in answer["entry"]]
    return tuple(place.split("/")[1] for place in places)  # type: ignore[return-value] # two


@pytest.mark.parametrize(
    "change",
    [
        ACTIVE,
        [op("test", "/status", "in-progress")],
        [op("test", "/status", "finished")],
        [op("remove", "/nothing")],
        [op("replace", "/id", "x")],
    ],
)
async def test_the_hidden_is_as_never_there(world: World, change: Any) -> None:
    """Another facility learns nothing by a patch, whatever it tests: the words of an unused id."""
    _, identity = await visit(world, FACILITY, "01999")
    said = []

    for name in (f"Encounter/{identity}", "Encounter/id-99"):
        with pytest.raises(UnknownResource) as refusal:
            await patch(world, name, change, OTHER)
        said.append(str(refusal.value).replace(name, ""))
        with pytest.raises(PreconditionFailed):
            await patch(world, name, change, OTHER, if_match=1)

    assert said[0] == said[1]
    assert len((await world.store.history("Encounter", identity)).versions) == 1


async def test_a_hidden_match_is_as_none(world: World) -> None:
    """A condition on the citizen number finds the whole store's, and a patch says nothing of it."""
    identity, _ = await visit(world, FACILITY, "01999")
    said = []

    for value in ("001195012345", "001195099999"):
        with pytest.raises(UnknownResource) as refusal:
            await patch(world, f"Patient?identifier={CCCD}|{value}", ACTIVE, OTHER)
        said.append(refusal.value.outcome())

    assert said[0] == said[1]
    assert len((await world.store.history("Patient", identity)).versions) == 1


async def test_several_hidden_matches_are_as_none(world: World) -> None:
    """Where several Patients of others have a number, it is 404 as where none has."""
    for identity in ("x", "y"):
        await world.put(patient(identifier=[{"system": BHYT, "value": "DN1"}]) | {"id": identity})
    asked = f"Patient?identifier={BHYT}|DN1"

    with pytest.raises(UnknownResource):
        await patch(world, asked, ACTIVE, OTHER)
    with pytest.raises(MultipleMatches):
        await patch(world, asked, ACTIVE)
    await patch(world, "Patient/y", [op("remove", "/identifier")])
    with pytest.raises(UnknownResource):
        await patch(world, asked, ACTIVE, OTHER)
    assert (await patch(world, asked, ACTIVE)).location == "Patient/x/_history/2"


async def test_what_is_shown_and_not_ones_own_is_forbidden(world: World) -> None:
    """A Patient that two facilities wrote is changed by none; nothing is applied before that."""
    identity, _ = await visit(world, FACILITY, "01999")
    await world.put(patient() | {"id": identity})

    for change in (ACTIVE, [op("test", "/active", value=7)]):
        with pytest.raises(Forbidden, match="may not be changed"):
            await patch(world, f"Patient/{identity}", change, FACILITY)


@pytest.mark.parametrize("kind", ["Patient", "Observation", "Coverage"])
async def test_a_citizen_is_never_granted_it(world: World, kind: str) -> None:
    """403, whatever the id."""
    with pytest.raises(Forbidden):
        await patch(world, f"{kind}/x", ACTIVE, citizen("p"))


async def test_a_citizen_patches_the_own_consent_and_gives_it_to_nobody(world: World) -> None:
    """Its status may change; whose it is and who gave it may not."""
    await world.put(patient() | {"id": "p"})
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"coding": [{"code": "x"}]}],
        "policyRule": {"coding": [{"code": "OPTIN"}]},
        "patient": {"reference": "Patient/p"},
        "performer": [{"reference": "Patient/p"}],
    }
    mother = citizen("p")
    made = await world.perform("create", mother, resource_type="Consent", resource=consent)
    name = (made.location or "").partition("/_history")[0]

    ended = await patch(world, name, [op("replace", "/status", "inactive")], mother)

    assert shown(ended)["status"] == "inactive"
    for path in ("/patient/reference", "/performer/0/reference"):
        with pytest.raises(Forbidden):
            await patch(world, name, [op("replace", path, "Patient/q")], mother)
    with pytest.raises(UnknownResource):
        await patch(world, name, [op("replace", "/status", "active")], citizen("q"))


async def observed(world: World) -> tuple[str, str, str]:
    """Return the ids of a Patient, an Encounter of 01999 and an Observation of that."""
    person, encounter = await visit(world, FACILITY, "01999")
    body = observation(f"Patient/{person}", encounter={"reference": f"Encounter/{encounter}"})
    made = await world.perform("create", FACILITY, resource_type="Observation", resource=body)
    return person, encounter, (made.location or "").split("/")[1]


@pytest.mark.parametrize(
    "change",
    [
        [op("replace", "/subject/reference", "Patient/q")],
        [op("add", "/subject", {"reference": "Patient/q"})],
        [op("add", "/performer", [{"reference": "Patient/q"}])],
        [op("add", "/focus", [{"reference": "Patient/q"}])],
        [op("add", "/extension", [
            {"url": "http://example.org/x", "valueReference": {"reference": "Patient/q"}}
        ])],
        [op("replace", "/encounter/reference", "Encounter/q")],
        [op("remove", "/encounter")],
        {"subject": {"reference": "Patient/q"}},
        {"encounter": None},
    ],
)  # fmt: skip
async def test_nothing_is_patched_into_anothers_book(world: World, change: Any) -> None:
    """A facility's Observation stays of its own visit and of that visit's Patient."""
    _, _, identity = await observed(world)
    await world.put(patient("2") | {"id": "q"})
    await world.put({
        "resourceType": "Encounter", "id": "q", "status": "planned", "class": {"code": "AMB"},
        "subject": {"reference": "Patient/q"},
    })  # fmt: skip

    with pytest.raises(Forbidden):
        await patch(world, f"Observation/{identity}", change, FACILITY)

    version = await world.store.read("Observation", identity)
    assert version is not None
    assert (version.version_id, "q" in version.patients) == (1, False)


async def test_a_facility_patches_its_own(world: World) -> None:
    """What its visit holds, with any of the forms."""
    _, _, identity = await observed(world)

    done = await patch(
        world, f"Observation/{identity}", [op("replace", "/status", "amended")], FACILITY
    )

    assert shown(done)["status"] == "amended"


async def test_a_verification_is_not_patched_in(world: World) -> None:
    """The extension that states a verification is the server's, by any path."""
    person, _, _ = await observed(world)
    verified = {"url": extension("verified-by"), "valueString": "me"}

    with pytest.raises(Forbidden):
        await patch(world, f"Patient/{person}", {"extension": [verified]}, FACILITY)


async def test_what_a_facility_does_not_see_it_neither_tests_nor_removes(world: World) -> None:
    """A patch is of what the caller sees: indexes count that, and the hidden stays."""
    noted = SEEN | {"extension": [named_facility("79999"), named_facility("01999")]}
    hidden = number("79999")
    made = entry("POST", "Patient", noted, ifNoneExist=f"identifier={CCCD}|001195012345")
    answered = await world.transaction(bundle(made), FACILITY)
    name = "/".join(answered["entry"][0]["response"]["location"].split("/")[-4:-2])

    for change in (
        [op("test", "/extension/1/url", named_facility("79999")["url"])],
        [op("test", "/extension/0/valueReference/identifier/value", "79999")],
        [op("remove", "/extension/1")],
    ):
        with pytest.raises(Invalid):
            await patch(world, name, change, FACILITY)
    done = await patch(world, name, [
        op("test", "/extension/0", named_facility("01999")), op("remove", "/extension")
    ], FACILITY)  # fmt: skip

    assert "79999" not in codec.dumps(shown(done)).decode()
    version = await world.store.read("Patient", name.partition("/")[2])
    assert version is not None
    assert codec.loads(version.body)["extension"] == [named_facility("79999")]
    with pytest.raises(Forbidden):
        await patch(world, name, [op("add", "/identifier/-", hidden)], FACILITY)
    assert MA_BN in hidden["system"]


async def test_the_label_of_hiv_data_is_not_patched_away(world: World) -> None:
    """It is set again at every write, and set where a patch brings such a code."""
    _, _, identity = await observed(world)
    coded = [
        op("add", "/code/coding", [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}])
    ]

    labelled = await patch(world, f"Observation/{identity}", coded, FACILITY)
    again = await patch(
        world, f"Observation/{identity}", [op("remove", "/meta/security")], FACILITY
    )

    assert shown(labelled)["meta"]["security"][0]["code"] == LABEL["code"]
    assert shown(again)["meta"] == shown(labelled)["meta"]


@dataclass(frozen=True, slots=True)
class Masked(AccessPolicy):
    """Sees and changes everything, with what a mask hides hidden: no caller of ours has it."""

    def narrow(self, interaction: str, resource_type: str | None) -> Any:
        """Show all."""
        del interaction, resource_type
        return Anything()

    @property
    def masks(self) -> frozenset[str]:
        """Hide what payers do not see of HIV data."""
        return frozenset({"hiv"})


@pytest.mark.parametrize("change", [[op("test", "/code/coding/0/code", "B20")], ACTIVE, []])
async def test_what_is_masked_is_not_patched(world: World, change: Any) -> None:
    """403: a patch would take away what the mask hides, and a test would tell of it."""
    coding = [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "B20"}]
    condition = {
        "resourceType": "Condition", "id": "c", "code": {"coding": coding},
        "subject": {"reference": "Patient/p"},
    }  # fmt: skip
    await world.put(condition)
    masked = world.context(SYSTEM, policy=Masked(SYSTEM))

    with pytest.raises(Forbidden):
        await perform(
            masked,
            FhirRequest(
                "patch", "Condition", "c", raw=codec.dumps(change), content_type=JSON_PATCH
            ),
        )


async def test_only_who_reads_and_updates_patches(world: World) -> None:
    """A token for update alone sees nothing, so it is 404; one for reading is 403."""
    await world.put(patient() | {"id": "a"})
    blind = replace(FACILITY, scopes=("system/Observation.u",))
    reader = replace(FACILITY, scopes=("system/Observation.rs",))
    _, _, identity = await observed(world)

    with pytest.raises(UnknownResource):
        await patch(world, f"Observation/{identity}", [], blind)
    with pytest.raises(Forbidden):
        await patch(world, f"Observation/{identity}", [], reader)


# Bundles


def binary(change: Any, content_type: str = JSON_PATCH) -> dict[str, Any]:
    """Return the Binary that holds a patch, its base64 broken into lines as some send it."""
    return binary_of(codec.dumps(change), content_type)


def binary_of(body: bytes, content_type: str) -> dict[str, Any]:
    """Return the Binary that holds these bytes."""
    text = base64.b64encode(body).decode()
    data = "\n".join(text[at : at + 20] for at in range(0, len(text), 20))
    return {"resourceType": "Binary", "contentType": content_type, "data": data}


XML_PATCH = b"""<diff xmlns:f="http://hl7.org/fhir" xmlns="http://hl7.org/fhir">
  <add sel="f:Patient/f:identifier" pos="after"><active value="true"/></add></diff>"""
FHIRPATH = {
    "resourceType": "Parameters",
    "parameter": [operation("add", "Patient", {"valueBoolean": True}, name="active")],
}


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    "body",
    [
        binary(ACTIVE),
        binary({"active": True}, MERGE),
        binary_of(XML_PATCH, "application/xml-patch+xml"),
        binary(FHIRPATH, "application/json"),
        binary_of(codec.to_xml(FHIRPATH), "application/fhir+xml; charset=UTF-8"),
        FHIRPATH,
    ],
    ids=["json", "merge", "xml", "fhirpath in a Binary", "fhirpath as XML", "fhirpath"],
)
async def test_a_patch_in_a_bundle(world: World, kind: str, body: dict[str, Any]) -> None:
    """By id, by criteria, and with ifMatch; the answer has the version."""
    await world.put(patient("1") | {"id": "a"})
    await world.put(patient("2") | {"id": "b"})
    await world.put(patient("3") | {"id": "c"})

    answer = await world.transaction(
        bundle(
            entry("PATCH", "Patient/a", body),
            entry("PATCH", "Patient?identifier=http://example.org/mrn|2", body),
            entry("PATCH", "Patient/c", body, ifMatch='W/"1"'),
            kind=kind,
        ),
        prefer="representation",
    )

    for one, name in zip(answer["entry"], "abc", strict=True):
        assert one["response"]["status"] == "200 OK"
        assert one["response"]["etag"] == 'W/"2"'
        assert (one["resource"]["id"], one["resource"]["active"]) == (name, True)
    methods = {(await world.store.history("Patient", n)).versions[0].method for n in "abc"}
    assert methods == {"PATCH"}


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (entry("PATCH", "Patient/a", binary([op("remove", "/gender")])), Invalid),
        (entry("PATCH", "Patient/a", binary(ACTIVE), ifMatch='W/"2"'), PreconditionFailed),
        (entry("PATCH", "Patient/z", binary(ACTIVE)), UnknownResource),
        (entry("PATCH", "Patient?identifier=none", binary(ACTIVE)), UnknownResource),
        (entry("PATCH", "Patient", binary(ACTIVE)), InvalidValue),
        (entry("PATCH", "Patient/a", binary(ACTIVE, "text/plain")), UnsupportedMediaType),
        (entry("PATCH", "Patient/a", binary(ACTIVE) | {"data": "!!"}), Malformed),
        (entry("PATCH", "Patient/a", {"resourceType": "Binary", "data": "W10="}), Malformed),
        (entry("PATCH", "Patient/a", binary({}, "application/fhir+json")), Malformed),
        (entry("PATCH", "Patient/a", patient(active=True)), Malformed),
        (entry("PATCH", "Patient/a"), Malformed),
        (entry("PATCH", "metadata", binary(ACTIVE)), FhirError),
    ],
)
async def test_a_transaction_with_a_bad_patch_does_nothing(
    world: World, asked: dict[str, Any], refusal: type[FhirError]
) -> None:
    """The refusal names the entry; a batch does the others."""
    await world.put(patient() | {"id": "a"})
    other = entry("PUT", "Patient/b", patient("2") | {"id": "b"})

    with pytest.raises(refusal) as refused:
        await world.transaction(bundle(other, asked))
    assert all(issue.expression[0].startswith("Bundle.entry[1]") for issue in refused.value.issues)
    assert await world.store.read("Patient", "b") is None

    answer = await world.transaction(bundle(other, asked, kind="batch"))
    statuses = [one["response"]["status"][:3] for one in answer["entry"]]
    assert statuses == ["201", str(refused.value.status)]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    ("body", "allowed"),
    [
        (binary([op("add", "/name/0/given/0", "b")]), 0.01),
        (
            binary_of(
                b'<diff xmlns="http://hl7.org/fhir"><remove sel="//f:given[@value=\'b\']"/></diff>',
                "application/xml-patch+xml",
            ),
            0.03,
        ),
        (
            {
                "resourceType": "Parameters",
                "parameter": [operation("delete", "Patient.name.given.where($this = 'b')")],
            },
            0.25,
        ),
        (
            {
                "resourceType": "Parameters",
                "parameter": [operation("delete", "Patient.photo" + ".where(true)" * 500)],
            },
            0.2,
        ),
    ],
    ids=["json", "xml", "fhirpath", "a long path"],
)
async def test_the_patches_of_a_bundle_share_their_work(
    world: World, kind: str, body: dict[str, Any], allowed: float
) -> None:
    """Each is not too costly, all together are: thousands of entries cannot hang the server."""
    names = "abcdef"
    for name in names:
        wide = patient(name=[{"given": ["x"] * 3000 + ["b"]}])
        await world.put(wide | {"id": name})
    asked = bundle(*(entry("PATCH", f"Patient/{name}", body) for name in names), kind=kind)
    ctx = replace(world.context(SYSTEM), patching=Allowance(allowed))
    request = FhirRequest("transaction", resource=asked, method="POST")

    if kind == "transaction":
        with pytest.raises(Invalid) as refusal:
            await perform(ctx, request)
        assert refusal.value.issues[0].code == "too-costly"
        return
    answer = codec.loads((await perform(ctx, request)).body or b"")
    first, last = (answer["entry"][at]["response"] for at in (0, -1))
    assert first["status"] == "200 OK"
    assert last["status"] == "422 Unprocessable Entity"
    assert last["outcome"]["issue"][0]["code"] == "too-costly"


async def test_a_patch_and_what_else_the_bundle_does(world: World) -> None:
    """It may refer to an entry of the Bundle; a read after it sees it; none is patched twice."""
    await world.put(observation("Patient/x") | {"id": "o"})
    change = [op("replace", "/subject/reference", URN)]

    answer = await world.transaction(
        bundle(
            entry("GET", "Observation/o"),
            entry("PATCH", "Observation/o", binary(change)),
            entry("POST", "Patient", patient(), full_url=URN),
        )
    )

    made = answer["entry"][2]["response"]["location"].split("/")[-3]
    assert answer["entry"][0]["resource"]["subject"] == {"reference": f"Patient/{made}"}
    for second in (binary(ACTIVE), observation("Patient/x") | {"id": "o"}):
        method = "PATCH" if second["resourceType"] == "Binary" else "PUT"
        with pytest.raises(InvalidValue, match="same resource"):
            await world.transaction(
                bundle(
                    entry("PATCH", "Observation/o", binary(change)),
                    entry(method, "Observation/o", second),
                )
            )


async def test_a_conditional_reference_in_a_patch(world: World) -> None:
    """It becomes the resource that it finds, in FHIRPath Patch as in JSON Patch."""
    await world.put(patient("1") | {"id": "p"})
    await world.put(observation("Patient/x") | {"id": "o"})
    where = {"reference": "Patient?identifier=http://example.org/mrn|1"}
    parameters = {
        "resourceType": "Parameters",
        "parameter": [operation("replace", "Observation.subject", {"valueReference": where})],
    }

    await world.transaction(bundle(entry("PATCH", "Observation/o", parameters)))

    version = await world.store.read("Observation", "o")
    assert version is not None
    assert codec.loads(version.body)["subject"] == {"reference": "Patient/p"}


# Races


def given(n: int) -> list[dict[str, Any]]:
    """Return the patch that adds a given name."""
    return [op("add", "/name/0/given/-", f"n{n}")]


async def race(world: World, **fields: Any) -> list[FhirResult | BaseException]:
    """Let fifty clients add a given name each to one Patient."""
    await world.put(patient(name=[{"given": ["first"]}]) | {"id": "a"})
    return await asyncio.gather(
        *(patch(world, "Patient/a", given(n), **fields) for n in range(CLIENTS)),
        return_exceptions=True,
    )


def slow() -> World:
    """Return a world whose store takes a turn of the loop before each answer."""
    return World(store=cast("Store", YieldingStore(MemoryStore())))


async def test_fifty_patches_at_once_all_land(each_store: Store) -> None:
    """Each is made again of what is there: no name is lost, no version skipped."""
    world = World(store=each_store)

    results = await race(world)

    assert [r for r in results if isinstance(r, BaseException)] == []
    version = await world.store.read("Patient", "a")
    assert version is not None
    assert version.version_id == CLIENTS + 1
    names = codec.loads(version.body)["name"][0]["given"]
    assert sorted(names) == sorted(["first", *(f"n{n}" for n in range(CLIENTS))])


async def test_fifty_patches_of_one_version_make_one() -> None:
    """With If-Match one wins, the others are 412."""
    results = await race(slow(), if_match=1)

    refused = [r for r in results if isinstance(r, BaseException)]
    assert len(refused) == CLIENTS - 1
    assert all(isinstance(r, PreconditionFailed) for r in refused)


async def test_fifty_slow_clients_lose_nothing() -> None:
    """Where each reads before another has written, too."""
    world = slow()

    results = await race(world)

    assert [r for r in results if isinstance(r, BaseException)] == []
    version = await world.store.read("Patient", "a")
    assert version is not None
    assert len(codec.loads(version.body)["name"][0]["given"]) == CLIENTS + 1


async def test_a_unique_number_is_held_by_one(world: World) -> None:
    """A patch that would give a citizen number to a second Patient is 409."""
    await world.put(patient(identifier=[{"system": CCCD, "value": "001195012345"}]) | {"id": "a"})
    await world.put(patient() | {"id": "b"})

    with pytest.raises(Duplicate) as refusal:
        await patch(world, "Patient/b", [
            op("add", "/identifier/-", {"system": CCCD, "value": "001195012345"})
        ])  # fmt: skip

    assert (refusal.value.status, refusal.value.issues[0].code) == (409, "duplicate")
