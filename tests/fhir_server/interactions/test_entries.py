"""What an entry of a Bundle may ask for, and what it is answered.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import InvalidValue, UnsupportedParameter
from fhir_server.operations.table import OPERATIONS
from tests.conftest import BASE, FACILITY, World
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import patient

KINDS = pytest.mark.parametrize("kind", ["transaction", "batch"])


async def done(world: World, asked: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
    """Do a Bundle where there are operations; return the entries of the answer."""
    caller = fields.pop("caller", None)
    who = () if caller is None else (caller,)
    ctx = world.context(*who, operations=OPERATIONS)
    request = FhirRequest("transaction", resource=asked, method="POST", **fields)
    result = await perform(ctx, request)
    entries: list[dict[str, Any]] = codec.loads(result.body or b"")["entry"]
    return entries


@KINDS
@pytest.mark.parametrize("url", ["Patient/a", "Patient", "Patient/a/_history/1", "metadata"])
async def test_head_answers_what_get_does_without_the_resource(
    world: World, kind: str, url: str
) -> None:
    """HEAD in a Bundle has the status and the headers of GET, and no resource."""
    await world.put(patient() | {"id": "a"})

    got, headed = await done(world, bundle(entry("GET", url), entry("HEAD", url), kind=kind))

    assert headed == {"response": got["response"]}
    assert got["resource"]["resourceType"] in {"Patient", "Bundle", "CapabilityStatement"}


@KINDS
async def test_metadata_is_read_in_a_bundle(world: World, kind: str) -> None:
    """GET metadata as an entry gives the CapabilityStatement, to whom nothing else is granted."""
    (answer,) = await done(world, bundle(entry("GET", "metadata"), kind=kind), caller=FACILITY)

    assert answer["response"]["status"] == "200 OK"
    assert answer["resource"]["resourceType"] == "CapabilityStatement"
    named = next(one for one in answer["resource"]["rest"][0]["resource"] if one["type"] == "Claim")
    assert {one["name"] for one in named["operation"]} == {"check", "validate"}


@KINDS
async def test_a_slash_around_the_path_is_no_part_of_it(world: World, kind: str) -> None:
    """As over HTTP; R4 itself writes `DELETE [base]/[type]/?[search parameters]`."""
    await world.put(patient("gone") | {"id": "a"})
    value = patient("gone")["identifier"][0]["value"]

    deleted, made = await done(
        world,
        bundle(
            entry("DELETE", f"/Patient/?identifier={value}"),
            entry("POST", f"{BASE}/Patient/", patient("new")),
            kind=kind,
        ),
    )

    assert deleted["response"]["status"][:3] == "204"
    assert made["response"]["status"][:3] == "201"
    assert await world.store.count("Patient") == 1


@KINDS
async def test_what_only_reads_is_called_in_a_bundle(world: World, kind: str) -> None:
    """Operations by GET and by POST, $validate too, which has no other method than POST."""
    await world.put(patient() | {"id": "a"})
    wrong = {"resourceType": "Patient", "active": "perhaps"}

    everything, posted, found, stored = await done(
        world,
        bundle(
            entry("GET", "Patient/a/$everything"),
            entry("POST", "Patient/a/$everything", {"resourceType": "Parameters"}),
            entry("POST", "Patient/$validate", wrong),
            entry("POST", "Patient/a/$validate"),
            kind=kind,
        ),
    )

    assert everything["resource"]["entry"][0]["resource"]["id"] == "a"
    assert posted["resource"]["entry"] == everything["resource"]["entry"]
    assert found["resource"]["issue"][0]["severity"] == "error"
    assert stored["resource"]["issue"][0]["severity"] == "information"
    assert await world.store.count("Patient") == 1


async def test_what_changes_something_is_no_part_of_a_transaction(world: World) -> None:
    """$check and $submit store what they answer: a transaction that asks for one does nothing."""
    for url in ("Claim/c/$check", "CoverageEligibilityRequest/$submit"):
        with pytest.raises(InvalidValue) as refusal:
            await done(world, bundle(entry("POST", "Patient", patient()), entry("POST", url)))

        assert refusal.value.issues[0].expression == ("Bundle.entry[1]",)
    assert await world.store.count("Patient") == 0


@KINDS
async def test_strict_handling_is_meant_of_every_entry(world: World, kind: str) -> None:
    """`Prefer: handling=strict` of the request: an unknown parameter of an entry is refused."""
    asked = bundle(entry("GET", "Patient?nothing=1"), kind=kind)

    (lenient,) = await done(world, asked)
    assert lenient["response"]["status"] == "200 OK"

    if kind == "transaction":
        with pytest.raises(UnsupportedParameter):
            await done(world, asked, handling="strict")
    else:
        (strict,) = await done(world, asked, handling="strict")
        assert strict["response"]["status"] == "400 Bad Request"


@pytest.mark.parametrize("handling", ["lenient", "strict"])
async def test_criteria_in_the_url_of_a_create(world: World, handling: str) -> None:
    """They are no condition: ignored, as unknown parameters are, and refused if strict."""
    fields: dict[str, Any] = {
        "resource_type": "Patient",
        "resource": patient("7"),
        "query": (("identifier", "7"), ("_format", "json")),
        "handling": handling,
        "method": "POST",
    }

    if handling == "strict":
        with pytest.raises(UnsupportedParameter):
            await world.perform("create", **fields)
    else:
        assert (await world.perform("create", **fields)).status == 201
        assert (await world.perform("create", **fields)).status == 201
    plain = fields | {"query": (("_format", "json"), ("_pretty", "true"))}
    assert (await world.perform("create", **plain)).status == 201
