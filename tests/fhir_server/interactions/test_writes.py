"""Create, update and delete, https://hl7.org/fhir/R4/http.html."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD
from fhir_server.model.outcome import (
    Conflict,
    Duplicate,
    FhirError,
    Gone,
    Invalid,
    InvalidValue,
    Malformed,
    MultipleMatches,
    PreconditionFailed,
    UnknownResource,
)
from tests.conftest import BASE, World


def patient(value: str = "1", **more: Any) -> dict[str, Any]:
    """Return a synthetic Patient with an identifier."""
    identifier = [{"system": "http://example.org/mrn", "value": value}]
    return {"resourceType": "Patient", "identifier": identifier, **more}


def observation(of: str, **more: Any) -> dict[str, Any]:
    """Return an Observation of a Patient."""
    return {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "temperature"},
        "subject": {"reference": of},
        **more,
    }


async def test_create_assigns_id_version_and_time(world: World) -> None:
    """A create answers 201, the new id, version 1, the server's time, and keeps the tags sent."""
    meta = {"versionId": "7", "lastUpdated": "1999-01-01T00:00:00Z", "tag": [{"code": "t"}]}

    result = await world.perform(
        "create", resource_type="Patient", resource=patient() | {"id": "mine", "meta": meta}
    )

    assert result.status == 201
    assert result.location == "Patient/id-1/_history/1"
    assert result.version is not None
    stored = codec.loads(result.version.body)
    assert list(stored)[:3] == ["resourceType", "id", "meta"]
    assert stored["id"] == "id-1"
    assert stored["meta"] == {
        "versionId": "1",
        "lastUpdated": "2024-01-01T07:00:00.000+07:00",
        "tag": [{"code": "t"}],
    }


async def test_conditional_create_finds_what_is_there(world: World) -> None:
    """A conditional create that matches one resource answers 200 and makes none."""
    request = {
        "resource_type": "Patient",
        "resource": patient(),
        "if_none_exist": "identifier=http://example.org/mrn|1",
    }
    first = await world.perform("create", **request)

    second = await world.perform("create", **request)

    assert (first.status, second.status) == (201, 200)
    assert second.location == first.location
    assert await world.store.count("Patient") == 1


async def test_conditional_create_with_several_matches_is_refused(world: World) -> None:
    """A conditional create that matches two resources is 412 multiple-matches."""
    for _ in range(2):
        await world.perform("create", resource_type="Patient", resource=patient())

    with pytest.raises(MultipleMatches):
        await world.perform(
            "create",
            resource_type="Patient",
            resource=patient(),
            if_none_exist="identifier=http://example.org/mrn|1",
        )


async def test_a_condition_without_criteria_is_refused(world: World) -> None:
    """If-None-Exist that would match everything is 400."""
    with pytest.raises(FhirError, match="not known") as refusal:
        await world.perform(
            "create", resource_type="Patient", resource=patient(), if_none_exist="_count=1"
        )

    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"resource": {"resourceType": "Patient", "birthDate": "yesterday"}}, Invalid),
        ({"resource": {"resourceType": "Patient", "colour": "red"}}, Invalid),
        ({"resource": {"resourceType": "Observation"}}, Malformed),
        ({"resource": None}, Malformed),
    ],
    ids=["bad date", "unknown element", "another type", "no body"],
)
async def test_a_wrong_body_is_refused(
    world: World, fields: dict[str, Any], refusal: type[Exception]
) -> None:
    """What is no resource of the URL's type is 400, an invalid one 422; nothing is stored."""
    with pytest.raises(refusal):
        await world.perform("create", resource_type="Patient", **fields)

    assert await world.store.count("Patient") == 0


async def test_update_makes_versions_and_the_same_content_none(world: World) -> None:
    """A changed update makes version 2; the same content again is 200 and makes no version."""
    await world.put(patient() | {"id": "a"})

    changed = await world.put(patient() | {"id": "a", "active": True})
    again = await world.put(patient() | {"active": True, "id": "a", "meta": {"versionId": "1"}})

    assert (changed.status, changed.version and changed.version.version_id) == (200, 2)
    assert (again.status, again.version and again.version.version_id) == (200, 2)


async def test_another_precision_is_another_content(world: World) -> None:
    """1.10 is not 1.1: the update makes a version."""
    body = observation("Patient/a", id="o")
    await world.put(body | {"valueQuantity": {"value": codec.loads(b"1.1")}})

    result = await world.put(body | {"valueQuantity": {"value": codec.loads(b"1.10")}})

    assert result.version is not None
    assert result.version.version_id == 2
    assert b"1.10" in result.version.body


@pytest.mark.parametrize("if_match", [2, -1])
async def test_update_of_another_version_is_refused(world: World, if_match: int) -> None:
    """If-Match that is not the current version is 412."""
    await world.put(patient() | {"id": "a"})

    with pytest.raises(PreconditionFailed):
        await world.perform(
            "update",
            resource_type="Patient",
            resource_id="a",
            resource=patient("2") | {"id": "a"},
            if_match=if_match,
        )


@pytest.mark.parametrize("interaction", ["update", "delete"])
async def test_if_match_on_what_is_not_there_is_refused(world: World, interaction: str) -> None:
    """If-Match on a resource that is not there is 412."""
    with pytest.raises(PreconditionFailed):
        await world.perform(
            interaction,
            resource_type="Patient",
            resource_id="a",
            resource=patient() | {"id": "a"},
            if_match=1,
        )


@pytest.mark.parametrize("identity", [None, "b"])
async def test_update_with_another_id_is_refused(world: World, identity: str | None) -> None:
    """A body whose id is absent or not the URL's is 400."""
    body = patient() if identity is None else patient() | {"id": identity}

    with pytest.raises(InvalidValue):
        await world.perform("update", resource_type="Patient", resource_id="a", resource=body)


async def test_a_deleted_resource_is_gone_and_can_come_back(world: World) -> None:
    """After a delete the read is 410; an update by system makes the next version, 201."""
    await world.put(patient() | {"id": "a"})

    deleted = await world.perform("delete", resource_type="Patient", resource_id="a")

    assert deleted.status == 204
    with pytest.raises(Gone) as refusal:
        await world.perform("read", resource_type="Patient", resource_id="a")
    assert refusal.value.headers["ETag"] == 'W/"2"'
    back = await world.put(patient() | {"id": "a"})
    assert (back.status, back.version and back.version.version_id) == (201, 3)


async def test_delete_of_what_never_was_is_no_error(world: World) -> None:
    """Deleting an id never used is 204, twice, and makes nothing."""
    for _ in range(2):
        result = await world.perform("delete", resource_type="Patient", resource_id="never")
        assert result.status == 204

    assert await world.store.read("Patient", "never") is None


async def test_delete_of_what_is_referenced_is_refused(world: World) -> None:
    """Deleting what another resource refers to is 409, and nothing is deleted."""
    await world.put(patient() | {"id": "a"})
    await world.put(observation("Patient/a") | {"id": "o"})

    with pytest.raises(Conflict):
        await world.perform("delete", resource_type="Patient", resource_id="a")

    assert (await world.perform("read", resource_type="Patient", resource_id="a")).status == 200


DEEP: dict[str, dict[str, Any]] = {
    "extension": observation("Patient/b")
    | {"extension": [{"url": "http://x", "valueReference": {"reference": "Patient/a"}}]},
    "contained": {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "contained": [observation("Patient/a") | {"id": "c"}],
        "author": {"reference": "#c"},
    },
    "absolute": {
        "resourceType": "Basic",
        "code": {"text": "x"},
        "modifierExtension": [
            {"url": "http://x", "valueReference": {"reference": f"{BASE}/Patient/a"}}
        ],
    },
}


@pytest.mark.parametrize("referrer", DEEP.values(), ids=DEEP)
async def test_a_reference_from_anywhere_counts(world: World, referrer: dict[str, Any]) -> None:
    """What an extension or a contained resource refers to is not deleted, but by a cascade."""
    await world.put(patient() | {"id": "a"})
    await world.put(referrer | {"id": "o"})

    with pytest.raises(Conflict):
        await world.perform("delete", resource_type="Patient", resource_id="a")
    await world.perform(
        "delete", resource_type="Patient", resource_id="a", query=(("_cascade", "delete"),)
    )

    assert await world.store.count(referrer["resourceType"]) == 0
    assert await world.store.count("Patient") == 0


@pytest.mark.parametrize("asked", ["Patient/a", f"{BASE}/Patient/a"])
@pytest.mark.parametrize("stored", ["Patient/a", f"{BASE}/Patient/a"])
async def test_a_condition_on_a_reference_knows_our_own_base(
    world: World, stored: str, asked: str
) -> None:
    """A conditional create finds what refers to a resource, by its name or its whole URL."""
    await world.put(observation(stored) | {"id": "o"})

    result = await world.perform(
        "create",
        resource_type="Observation",
        resource=observation(stored),
        method="POST",
        if_none_exist=f"subject={asked}",
    )

    assert result.status == 200
    assert await world.store.count("Observation") == 1


async def test_a_conditional_reference_knows_our_own_base(world: World) -> None:
    """A conditional reference finds an entry of its Bundle that refers by the whole URL."""
    await world.put(patient() | {"id": "a"})
    answer = await world.transaction({
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "resource": observation(f"{BASE}/Patient/a"),
                "request": {"method": "POST", "url": "Observation"},
            },
            {
                "resource": observation("Patient/b")
                | {"hasMember": [{"reference": "Observation?subject=Patient/a"}]},
                "request": {"method": "POST", "url": "Observation"},
            },
        ],
    })

    assert [one["response"]["status"][:3] for one in answer["entry"]] == ["201", "201"]


async def test_cascade_deletes_the_referrers_too(world: World) -> None:
    """`_cascade=delete` deletes what refers to the resource, and what refers to that."""
    await world.put(patient() | {"id": "a"})
    await world.put(observation("Patient/a") | {"id": "o"})
    await world.put(
        observation("Patient/a") | {"id": "p", "hasMember": [{"reference": "Observation/o"}]}
    )

    await world.perform(
        "delete", resource_type="Patient", resource_id="a", query=(("_cascade", "delete"),)
    )

    assert await world.store.count("Observation") == 0
    assert await world.store.count("Patient") == 0


async def test_conditional_delete_deletes_every_match(world: World) -> None:
    """A conditional delete deletes all that match and nothing else; without criteria it is 400."""
    for number, value in enumerate("1112"):
        await world.put(patient(value) | {"id": f"p{number}"})
    query = (("identifier", "http://example.org/mrn|1"),)

    result = await world.perform("delete", resource_type="Patient", query=query)

    assert result.status == 204
    assert await world.store.count("Patient") == 1
    with pytest.raises(InvalidValue):
        await world.perform("delete", resource_type="Patient", query=(("_format", "json"),))


async def test_conditional_update_creates_updates_or_refuses(world: World) -> None:
    """A conditional update makes a resource, then updates it; two matches are 412."""
    query = (("identifier", "http://example.org/mrn|1"),)

    made = await world.perform("update", resource_type="Patient", query=query, resource=patient())
    changed = await world.perform(
        "update", resource_type="Patient", query=query, resource=patient(active=True)
    )

    assert (made.status, changed.status) == (201, 200)
    assert changed.location == "Patient/id-1/_history/2"
    await world.perform("create", resource_type="Patient", resource=patient())
    with pytest.raises(MultipleMatches):
        await world.perform("update", resource_type="Patient", query=query, resource=patient())


async def test_a_citizens_number_has_one_holder(world: World) -> None:
    """A second active Patient with the same number is 409 duplicate; no number is in the text."""
    number = [{"system": CCCD, "value": "001195012345"}]
    await world.put({"resourceType": "Patient", "id": "a", "identifier": number})

    with pytest.raises(Duplicate) as refusal:
        await world.put({"resourceType": "Patient", "id": "b", "identifier": number})

    assert "001195012345" not in refusal.value.issues[0].text


async def test_if_none_match_star_only_creates(world: World) -> None:
    """An update with `If-None-Match: *` of what is there is 412."""
    await world.put(patient() | {"id": "a"})

    with pytest.raises(PreconditionFailed):
        await world.perform(
            "update",
            resource_type="Patient",
            resource_id="a",
            resource=patient() | {"id": "a"},
            if_none_match="*",
        )


async def test_the_servers_own_audit_entries_cannot_be_written(world: World) -> None:
    """Not even system writes an AuditEvent under an id of the chain."""
    body = {"resourceType": "AuditEvent", "id": "audit-1"}

    with pytest.raises(Conflict):
        await world.put(body)


async def test_a_read_of_an_unknown_id_is_not_found(world: World) -> None:
    """An id never used is 404."""
    with pytest.raises(UnknownResource, match="Patient/never is not known"):
        await world.perform("read", resource_type="Patient", resource_id="never")


async def test_a_write_and_its_audit_event_are_one_commit(world: World) -> None:
    """The record of a create is in the same Batch as the resource."""
    commits: list[Any] = []
    original = world.store.commit

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(world.store, name)

        async def commit(self, batch: Any) -> None:
            commits.append(batch)
            await original(batch)

    ctx = replace(world.context(), store=Watched())
    await perform(ctx, FhirRequest("create", "Patient", resource=patient(), method="POST"))

    assert [(len(b.writes), len(b.audit)) for b in commits] == [(1, 1)]


async def test_a_conditional_update_that_matches_nothing_takes_no_id_in_use(world: World) -> None:
    """409 says that the id is another's; an id that was deleted may be taken up again."""
    await world.put(patient("1") | {"id": "a"})
    asked: dict[str, Any] = {
        "resource_type": "Patient",
        "resource": patient("2") | {"id": "a"},
        "query": (("identifier", "http://example.org/mrn|2"),),
        "method": "PUT",
    }

    with pytest.raises(Conflict, match="another resource"):
        await world.perform("update", **asked)
    await world.perform("delete", resource_type="Patient", resource_id="a")
    result = await world.perform("update", **asked)

    assert (result.status, result.version and result.version.version_id) == (201, 3)
