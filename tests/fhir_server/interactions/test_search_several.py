"""Searches of several types, of the whole system, and within a compartment.

https://hl7.org/fhir/R4/http.html#vsearch
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from auth.principal import Principal
from fhir_server.model import codec
from fhir_server.model.outcome import Forbidden, InvalidValue, UnsupportedParameter
from fhir_server.validation.structure import validate
from tests.conftest import AUDITOR, BASE, FACILITY, SYSTEM, World, citizen
from tests.fhir_server.interactions.test_limits import PAYER_OF_ALL
from tests.fhir_server.interactions.test_search import link
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient

ANA = citizen("ana")
Pair = tuple[str, str]


@pytest.fixture
async def people(world: World) -> World:
    """Two people with an Encounter, an Observation and a Condition each, and who treated them."""
    await world.put({"resourceType": "Practitioner", "id": "doc"})
    await world.put({"resourceType": "Medication", "id": "pill"})
    for name in ("ana", "bo"):
        world.clock.move(seconds=60)
        person = {"reference": f"Patient/{name}"}
        await world.put(patient(name) | {"id": name})
        await world.put({
            "resourceType": "Encounter",
            "id": f"e-{name}",
            "status": "finished",
            "class": {"code": "AMB"},
            "subject": person,
        })
        await world.put(
            observation(f"Patient/{name}")
            | {
                "id": f"o-{name}",
                "effectiveDateTime": "2024-03-01",
                "encounter": {"reference": f"Encounter/e-{name}"},
                "performer": [{"reference": "Practitioner/doc"}],
            }
        )
        await world.put(
            {"resourceType": "Condition", "id": f"c-{name}", "subject": person,
             "encounter": {"reference": f"Encounter/e-{name}"}, "recordedDate": "2024-03-02"}
        )  # fmt: skip
    return world


async def system(world: World, *query: Pair, by: Principal = SYSTEM, **more: Any) -> dict[str, Any]:
    """Return the searchset of a search of the system."""
    result = await world.perform("search-system", by, query=query, **more)
    found: dict[str, Any] = codec.loads(result.body or b"")
    assert validate(found) == []
    return found


async def within(
    world: World, compartment: str, kind: str, *query: Pair, by: Principal = SYSTEM
) -> dict[str, Any]:
    """Return the searchset of a search within a compartment."""
    of, _, identity = compartment.partition("/")
    result = await world.perform(
        "search-type", by, resource_type=kind, compartment=(of, identity), query=query
    )
    found: dict[str, Any] = codec.loads(result.body or b"")
    return found


def names(answer: dict[str, Any]) -> list[str]:
    """Return the names of a searchset's resources, in order."""
    found = [one["resource"] for one in answer.get("entry", ())]
    return [f"{one['resourceType']}/{one['id']}" for one in found]


# --- of the system ---------------------------------------------------------------------------


async def test_types_that_are_named_are_searched_together(people: World) -> None:
    """Newest first over all of them, with what all of them have asked of each."""
    both = await system(people, ("_type", "Observation,Condition"))
    one = await system(
        people, ("_type", "Observation"), ("_type", "Condition"), ("subject", "Patient/ana")
    )

    assert names(both) == [
        "Condition/c-bo",
        "Observation/o-bo",
        "Condition/c-ana",
        "Observation/o-ana",
    ]
    assert names(one) == ["Condition/c-ana", "Observation/o-ana"]
    assert link(one, "self") == (f"{BASE}?_type=Observation&_type=Condition&subject=Patient/ana")


async def test_without_types_every_resource_is_searched(people: World) -> None:
    """By what every resource has."""
    assert names(await system(people, ("_id", "ana,doc,o-bo"))) == [
        "Observation/o-bo", "Patient/ana", "Practitioner/doc"
    ]  # fmt: skip
    last = await system(people, ("_lastUpdated", "ge2024-01-01T00:01:30Z"), ("_total", "accurate"))
    assert names(last) == ["Condition/c-bo", "Observation/o-bo", "Encounter/e-bo", "Patient/bo"]
    assert last["total"] == 4


async def test_pages_of_several_types_visit_each_match_once(people: World) -> None:
    """The next link leads on, in order, to the end."""
    types = "Observation,Condition,Encounter"
    query: list[Pair] = [("_type", types), ("_count", "2"), ("_sort", "-_lastUpdated")]
    found: list[str] = []
    page = await system(people, *query)
    for _ in range(3):
        found += names(page)
        following = link(page, "next")
        if following is None:
            break
        page = await system(people, *parse_qsl(urlsplit(following).query))

    kinds = ("Condition/c", "Encounter/e", "Observation/o")
    assert sorted(found) == [f"{kind}-{name}" for kind in kinds for name in ("ana", "bo")]
    assert found[0].endswith("bo")
    assert following is None


async def test_an_order_is_one_that_all_types_have(people: World) -> None:
    """`date` is a date of an Observation and of an Encounter, and nothing of a Patient."""
    found = await system(people, ("_type", "Observation,Encounter"), ("_sort", "date"))
    assert len(names(found)) == 4
    with pytest.raises(InvalidValue):
        await system(people, ("_type", "Observation,Patient"), ("_sort", "date"))


async def test_what_not_all_types_have_is_unknown(people: World) -> None:
    """It is left out of what is asked and of the self link, or refused under strict handling."""
    query = (("_type", "Observation,Patient"), ("family", "nobody"), ("_id", "ana"))

    found = await system(people, *query)

    assert names(found) == ["Patient/ana"]
    assert link(found, "self") == f"{BASE}?_type=Observation,Patient&_id=ana"
    with pytest.raises(UnsupportedParameter):
        await system(people, *query, handling="strict")
    with pytest.raises(InvalidValue):
        await system(people, ("_type", "Observation,Nothing"))


async def test_includes_go_along(people: World) -> None:
    """As in the search of one type."""
    found = await system(
        people, ("_type", "Observation,Condition"), ("_id", "o-ana"), ("_include", "*")
    )

    modes = {
        name: one["search"]["mode"] for name, one in zip(names(found), found["entry"], strict=True)
    }
    assert modes == {
        "Observation/o-ana": "match",
        "Patient/ana": "include",
        "Encounter/e-ana": "include",
        "Practitioner/doc": "include",
    }


async def test_a_citizen_finds_nothing_of_another(people: World) -> None:
    """Nor is it counted; of types that say nothing of a patient all are shown."""
    found = await system(people, ("_total", "accurate"), by=ANA)
    hidden = await system(people, ("_id", "bo,o-bo,c-bo,e-bo"), by=ANA)
    empty = await system(people, ("_summary", "count"), ("_id", "o-bo"), by=ANA)

    own = ["Condition/c-ana", "Observation/o-ana", "Encounter/e-ana", "Patient/ana"]
    assert names(found) == [*own, "Medication/pill", "Practitioner/doc"]
    assert found["total"] == 6
    assert names(hidden) == []
    assert empty["total"] == 0


async def test_a_type_that_is_never_granted_is_refused_by_name(people: World) -> None:
    """And left out where none is named."""
    with pytest.raises(Forbidden):
        await system(people, ("_type", "Patient,Observation"), by=PAYER_OF_ALL)
    with pytest.raises(Forbidden):
        await system(people, ("_type", "Patient"), by=AUDITOR)

    assert names(await system(people, by=PAYER_OF_ALL)) == []
    assert names(await system(people, by=FACILITY)) == []
    assert names(await system(people, by=AUDITOR)) == []


async def test_who_is_granted_nothing_searches_nothing(people: World) -> None:
    """A token without resource scopes is refused."""
    bare = Principal(kind="system", client_id="bare", code="", scopes=())

    with pytest.raises(Forbidden):
        await system(people, by=bare)


async def test_the_servers_own_audit_events_are_found_where_they_are_named(people: World) -> None:
    """They stand in a chain of their own: in no search that does not name their type."""
    alone = await system(people, ("_type", "AuditEvent"), ("_count", "3"), by=AUDITOR)

    assert [name.partition("/")[0] for name in names(alone)] == ["AuditEvent"] * 3
    assert not any(name.startswith("AuditEvent/") for name in names(await system(people)))
    beside = await system(people, ("_type", "AuditEvent,Patient"), ("_count", "1000"))
    assert {name.partition("/")[0] for name in names(beside)} == {"AuditEvent", "Patient"}
    with pytest.raises(UnsupportedParameter):
        await system(people, ("_type", "AuditEvent,Patient"), ("_sort", "_id"))
    for types in ("AuditEvent", "AuditEvent,Patient"):
        with pytest.raises(Forbidden):
            await system(people, ("_type", types), by=FACILITY)


async def test_a_payer_may_not_sort_by_what_is_masked(people: World) -> None:
    """As in the search of one type."""
    with pytest.raises(UnsupportedParameter):
        await system(people, ("_type", "Condition"), ("_sort", "code"), by=PAYER_OF_ALL)


# --- within a compartment --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compartment", "kind", "expected"),
    [
        ("Patient/ana", "Observation", ["Observation/o-ana"]),
        ("Patient/ana", "Patient", ["Patient/ana"]),
        ("Encounter/e-bo", "Observation", ["Observation/o-bo"]),
        ("Encounter/e-bo", "Encounter", ["Encounter/e-bo"]),
        ("Practitioner/doc", "Observation", ["Observation/o-bo", "Observation/o-ana"]),
        ("Practitioner/doc", "Practitioner", ["Practitioner/doc"]),
        ("Practitioner/nobody", "Observation", []),
        ("Patient/nobody", "Observation", []),
    ],
)
async def test_a_compartment_is_searched_by_type(
    people: World, compartment: str, kind: str, expected: list[str]
) -> None:
    """What is in it, newest first, and the self link says where."""
    found = await within(people, compartment, kind)

    assert names(found) == expected
    assert link(found, "self") == f"{BASE}/{compartment}/{kind}"


async def test_parameters_narrow_what_is_in_a_compartment(people: World) -> None:
    """As in the search of the type."""
    assert names(await within(people, "Patient/ana", "Observation", ("date", "2024-03-01"))) == [
        "Observation/o-ana"
    ]
    assert names(await within(people, "Patient/ana", "Observation", ("date", "2025"))) == []
    assert (
        names(await within(people, "Patient/ana", "Observation", ("subject", "Patient/bo"))) == []
    )


async def test_all_types_of_a_compartment_are_searched(people: World) -> None:
    """`Patient/ana/*`, and of it those of `_type`."""
    every = await system(people, compartment=("Patient", "ana"))
    some = await system(people, ("_type", "Condition,Encounter"), compartment=("Patient", "ana"))

    assert names(every) == [
        "Condition/c-ana",
        "Observation/o-ana",
        "Encounter/e-ana",
        "Patient/ana",
    ]
    assert link(every, "self") == f"{BASE}/Patient/ana/*"
    assert names(some) == ["Condition/c-ana", "Encounter/e-ana"]


async def test_what_cannot_be_in_a_compartment_is_refused(people: World) -> None:
    """It would never find anything."""
    with pytest.raises(InvalidValue):
        await within(people, "Patient/ana", "Medication")
    with pytest.raises(InvalidValue):
        await system(people, ("_type", "Medication"), compartment=("Patient", "ana"))
    with pytest.raises(InvalidValue):
        await within(people, "Encounter/e-ana", "AuditEvent", by=AUDITOR)


async def test_anothers_compartment_is_empty(people: World) -> None:
    """As that of one who never was."""
    for identity in ("bo", "nobody"):
        for kind in ("Observation", "Patient", "Encounter"):
            assert names(await within(people, f"Patient/{identity}", kind, by=ANA)) == []
        assert names(await system(people, compartment=("Patient", identity), by=ANA)) == []
    assert names(await within(people, "Encounter/e-bo", "Observation", by=ANA)) == []
    assert names(await within(people, "Practitioner/doc", "Observation", by=ANA)) == [
        "Observation/o-ana"
    ]


async def test_the_audit_of_a_patient_is_in_the_compartment(people: World) -> None:
    """By the parameter `patient`, for those who may read it."""
    await people.perform("read", resource_type="Patient", resource_id="ana")
    found = await within(people, "Patient/ana", "AuditEvent", by=AUDITOR)

    assert names(found)
    assert all("Patient/ana" in codec.dumps(one).decode() for one in found["entry"])


async def test_a_cursor_is_good_in_its_own_compartment_only(people: World) -> None:
    """It is no key to another."""
    page = await system(people, ("_count", "1"), compartment=("Patient", "ana"))
    cursor = dict(parse_qsl(urlsplit(link(page, "next") or "").query))["_cursor"]

    following = await system(
        people, ("_count", "1"), ("_cursor", cursor), compartment=("Patient", "ana")
    )
    assert names(following) == ["Observation/o-ana"]
    with pytest.raises(InvalidValue):
        await system(people, ("_count", "1"), ("_cursor", cursor), compartment=("Patient", "bo"))


async def test_entries_of_a_bundle_search_so_too(people: World) -> None:
    """Of a batch and a transaction."""
    asked = bundle(
        entry("GET", "Patient/ana/Observation"),
        entry("GET", "?_type=Condition,Encounter&subject=Patient/bo"),
        entry("GET", "Patient/ana/*?_type=Condition"),
    )

    answer = await people.transaction(asked)

    found = [names(one["resource"]) for one in answer["entry"]]
    assert found == [
        ["Observation/o-ana"],
        ["Condition/c-bo", "Encounter/e-bo"],
        ["Condition/c-ana"],
    ]
