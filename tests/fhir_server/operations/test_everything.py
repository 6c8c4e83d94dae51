"""`$everything`, `$access-history` and `$validate`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import (
    Forbidden,
    InvalidValue,
    MissingRequired,
    UnknownResource,
)
from fhir_server.operations.table import OPERATIONS
from tests.conftest import FACILITY, World, citizen
from tests.fhir_server.operations import record

Resource = dict[str, Any]


async def call(
    world: World, operation: str, principal: Principal = SYSTEM, **fields: Any
) -> Resource:
    """Call an operation on the mother, or as `fields` say."""
    ctx = replace(world.context(principal), operations=OPERATIONS)
    fields = {"resource_type": "Patient", "resource_id": "mother"} | fields
    result = await perform(ctx, FhirRequest("operation", operation=operation, **fields))
    return result.resource or codec.loads(result.body or b"")


@pytest.fixture
async def filled(world: World) -> World:
    """The mother with two visits, and a stranger."""
    old = record.visit("old", "2022-05-01T08:00:00+07:00", "2022-05-01T09:00:00+07:00")
    stranger = record.patient("stranger", identifier=[{"system": "urn:x", "value": "3"}])
    theirs = record.encounter("theirs", "2023-01-01T08:00:00+07:00", None, of="stranger")
    for one in (*record.people(), stranger, theirs, *record.visit("new"), *old):
        await world.put(one)
    return world


def names(answer: Resource, mode: str = "match") -> list[str]:
    """Return `Type/id` of the entries of a mode."""
    return [
        f"{e['resource']['resourceType']}/{e['resource']['id']}"
        for e in answer.get("entry", [])
        if e["search"]["mode"] == mode
    ]


async def test_everything_is_the_compartment_and_what_it_names(filled: World) -> None:
    """The Patient first, all of the compartment, facilities and doctors as included."""
    answer = await call(filled, "$everything")

    assert names(answer)[0] == "Patient/mother"
    assert set(names(answer)) == {
        "Patient/mother", "Coverage/card", "Encounter/new", "Encounter/old",
        "Condition/new-J029", "Condition/old-J029", "MedicationRequest/new-drug",
        "MedicationRequest/old-drug", "Observation/new-glucose", "Observation/old-glucose",
    }  # fmt: skip
    assert set(names(answer, "include")) == {
        "Organization/org-01999", "Organization/org-BHXH", "Practitioner/doctor",
    }  # fmt: skip


async def pages(world: World, *query: tuple[str, str]) -> list[Resource]:
    """Return all pages of `$everything`, by their next links."""
    found: list[Resource] = []
    more: tuple[tuple[str, str], ...] = ()
    for _ in range(30):
        found.append(await call(world, "$everything", query=(*query, *more)))
        following = [one["url"] for one in found[-1]["link"] if one["relation"] == "next"]
        if not following:
            return found
        assert following[0].startswith("http://testserver/fhir/Patient/mother/$everything?")
        more = (("_cursor", unquote(following[0].rpartition("_cursor=")[2])),)
    raise AssertionError("The pages have no end.")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 9, 10, 11, 12, 13, 14])
async def test_everything_comes_in_pages_each_resource_once(filled: World, count: int) -> None:
    """At most `_count` on a page; nothing twice, nothing left out, what goes along at the end."""
    (whole,) = await pages(filled)

    found = await pages(filled, ("_count", str(count)))

    assert all(len(page["entry"]) <= count for page in found)
    matches = [name for page in found for name in names(page)]
    along = [name for page in found for name in names(page, "include")]
    assert len(matches) == len(set(matches))
    assert set(matches) == set(names(whole))
    assert matches[0] == "Patient/mother"
    assert along == names(whole, "include")
    first = next(n for n, page in enumerate(found) if names(page, "include"))
    assert not any(names(page) for page in found[first + 1 :])
    assert not any("total" in page for page in found[1:])


async def test_a_page_that_holds_the_record_says_its_total(filled: World) -> None:
    """The total counts the record's own resources; `_count=0` asks for it alone."""
    (whole,) = await pages(filled)
    (enough,) = await pages(filled, ("_count", "13"))
    first, *_ = await pages(filled, ("_count", "9"))
    nothing = await call(filled, "$everything", query=(("_count", "0"),))

    assert whole["total"] == enough["total"] == len(names(whole)) == 10
    assert "total" not in first
    assert (nothing["total"], nothing.get("entry")) == (10, None)


@pytest.mark.parametrize(
    ("types", "matches", "along"),
    [
        ("Observation", {"Observation/new-glucose", "Observation/old-glucose"}, set()),
        ("Organization", set(), {"Organization/org-01999", "Organization/org-BHXH"}),
        (
            "Observation,Practitioner",
            {"Observation/new-glucose", "Observation/old-glucose"},
            {"Practitioner/doctor"},
        ),
        ("Patient", {"Patient/mother"}, set()),
        ("ValueSet", set(), set()),
    ],
)
@pytest.mark.parametrize("count", ["1", "1000"])
async def test_types_are_meant_strictly(
    filled: World, types: str, matches: set[str], along: set[str], count: str
) -> None:
    """`_type` gives these types of the whole answer, and nothing beside them."""
    found = await pages(filled, ("_type", types), ("_count", count))

    assert {name for page in found for name in names(page)} == matches
    assert {name for page in found for name in names(page, "include")} == along


async def test_a_patient_without_a_record_is_one_page(filled: World) -> None:
    """`_count=1` and nothing but the Patient: no next link."""
    await filled.put(record.patient("alone", identifier=[{"system": "urn:x", "value": "4"}]))

    answer = await call(filled, "$everything", resource_id="alone", query=(("_count", "1"),))

    assert names(answer) == ["Patient/alone"]
    assert answer["total"] == 1
    assert [one["relation"] for one in answer["link"]] == ["self", "first"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ((("_type", "Encounter"),), {"Encounter/new", "Encounter/old"}),
        ((("_type", "Encounter"), ("start", "2023-01-01")), {"Encounter/new"}),
        ((("_type", "Encounter"), ("end", "2022-12-31")), {"Encounter/old"}),
        ((("_type", "Encounter,Patient"), ("_since", "2030-01-01")), {"Patient/mother"}),
        ((("_type", "Organization"),), set()),
    ],
    ids=["type", "start", "end", "since", "a type outside"],
)
async def test_everything_can_be_narrowed(
    filled: World, query: tuple[tuple[str, str], ...], expected: set[str]
) -> None:
    """`_type`, `_since`, `start` and `end` narrow, in the URL and in Parameters."""
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": name, "valueString": value} for name, value in query],
    }

    by_url = await call(filled, "$everything", query=query)
    by_body = await call(filled, "$everything", resource=body, method="POST")

    assert set(names(by_url)) == set(names(by_body)) == expected


@pytest.mark.parametrize(
    "query", [("_count", "-1"), ("_count", "x"), ("_since", "soon"), ("_type", "Nothing"),
              ("start", "2023-13-01"), ("_cursor", "made-up"),
              ("_cursor", "beside.x.y"), ("_cursor", "patient."), ("_cursor", "alone.x"),
              ("_cursor", "beside."), ("_cursor", "beside.W10")],
)  # fmt: skip
async def test_what_cannot_be_parsed_is_refused(filled: World, query: tuple[str, str]) -> None:
    """A wrong value is never a wider answer."""
    with pytest.raises(InvalidValue):
        await call(filled, "$everything", query=(query,))


@pytest.mark.parametrize("operation", ["$everything", "$access-history"])
async def test_a_citizen_asks_for_the_own_alone(filled: World, operation: str) -> None:
    """Another's id is unknown; the own answers."""
    assert (await call(filled, operation, citizen("mother")))["type"] == "searchset"
    with pytest.raises(UnknownResource):
        await call(filled, operation, citizen("mother"), resource_id="stranger")


@pytest.mark.parametrize("operation", ["$everything", "$access-history"])
async def test_a_facility_may_not_ask(filled: World, operation: str) -> None:
    """The operation is not granted."""
    with pytest.raises(Forbidden):
        await call(filled, operation, FACILITY)


async def test_the_history_names_who_read_the_book_newest_first(filled: World) -> None:
    """Each look is an AuditEvent with its time and caller; another's looks are not there."""
    filled.clock.move(hours=1)
    await call(filled, "$health-book", citizen("mother"))
    filled.clock.move(hours=1)
    await call(filled, "$everything")
    await call(filled, "$everything", resource_id="stranger")

    answer = await call(filled, "$access-history", citizen("mother"), query=(("_count", "2"),))

    events = [entry["resource"] for entry in answer["entry"]]
    assert [one["resourceType"] for one in events] == ["AuditEvent"] * 2
    times = [one["recorded"] for one in events]
    assert times == sorted(times, reverse=True)
    assert [one["agent"][0]["who"]["display"] for one in events] == ["system", "citizen"]
    assert "stranger" not in codec.dumps(answer).decode()
    assert any(one["relation"] == "next" for one in answer["link"])


async def test_validate_says_what_is_wrong_and_stores_nothing(world: World) -> None:
    """A wrong resource gets its findings, a right one the information that there are none."""
    wrong = {"resourceType": "Patient", "gender": "x", "birthDate": "1995-13-01"}

    found = await call(world, "$validate", resource_id=None, resource=wrong, method="POST")
    right = await call(
        world,
        "$validate",
        resource_id=None,
        resource={
            "resourceType": "Parameters",
            "parameter": [{"name": "resource", "resource": {"resourceType": "Patient"}}],
        },
        method="POST",
    )

    assert {tuple(one["expression"]) for one in found["issue"]} >= {
        ("Patient.gender",),
        ("Patient.birthDate",),
    }
    assert [one["severity"] for one in right["issue"]] == ["information"]
    assert await world.store.count("Patient") == 0


async def test_validate_of_another_type_or_of_nothing_is_refused(world: World) -> None:
    """The path says the type; without a body at the type there is nothing to look at."""
    with pytest.raises(InvalidValue):
        await call(
            world, "$validate", resource_id=None, resource={"resourceType": "Group"}, method="POST"
        )
    with pytest.raises(MissingRequired):
        await call(world, "$validate", resource_id=None, method="POST")


async def test_validate_looks_at_the_stored_one(filled: World) -> None:
    """At an instance without a body, the stored resource is looked at."""
    answer = await call(filled, "$validate", method="POST")

    assert [one["severity"] for one in answer["issue"]] == ["information"]
