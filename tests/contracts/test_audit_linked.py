"""The server's own AuditEvents beside what refers to and from them, over every store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions import audit_found
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError, Forbidden, TooCostly
from fhir_server.store.port import Store
from tests.conftest import AUDITOR, FACILITY, World, citizen
from tests.contracts.test_audit_pages import Page, page_of
from tests.fhir_server.interactions.test_writes import observation, patient

Query = tuple[tuple[str, str], ...]
ANA = citizen("ana")


@pytest.fixture
async def world(store: Store) -> World:
    """Two people, of whom one was looked at, an hour ago and now; and the staff who did."""
    found = World(store=store)
    await found.put(patient("1") | {"id": "ana"})
    await found.put(patient("2") | {"id": "bo"})
    await found.put(observation("Patient/ana") | {"id": "of-ana"})
    await found.put({"resourceType": "Practitioner", "id": "doc"})
    found.clock.move(hours=1)
    staff = replace(
        FACILITY, kind="practitioner", fhir_user="Practitioner/doc", scopes=("user/*.cruds",)
    )
    with pytest.raises(FhirError):
        await found.perform("read", staff, resource_type="Patient", resource_id="ana")
    found.clock.move(minutes=1)
    return found


async def answer(
    world: World, kind: str | None, query: Query, caller: Principal = SYSTEM, **asked: Any
) -> dict[str, Any]:
    """Return the searchset of a search of a type, or of the whole system."""
    interaction = "search-type" if kind else "search-system"
    result = await world.perform(interaction, caller, resource_type=kind, query=query, **asked)
    found: dict[str, Any] = codec.loads(result.body or b"")
    return found


def names(found: dict[str, Any], mode: str) -> list[str]:
    """Return what of a searchset was found in a way."""
    return [
        f"{one['resource']['resourceType']}/{one['resource']['id']}"
        for one in found.get("entry", [])
        if one["search"]["mode"] == mode
    ]


async def told(world: World, identity: str, recorded: str, about: str = "") -> None:
    """Let system report an event that another saw at a time."""
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        "id": identity,
        "type": {
            "system": "http://terminology.hl7.org/CodeSystem/audit-event-type",
            "code": "rest",
        },
        "recorded": recorded,
        "agent": [{"requestor": True, "who": {"display": "a partner"}}],
        "source": {"observer": {"display": "a partner"}},
    }
    if about:
        event["entity"] = [{"what": {"reference": about}}]
    await world.put(event)


# --- _has ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        (("_has:AuditEvent:patient:outcome", "4"),),
        (("_has:AuditEvent:entity:outcome", "4"),),
        (("_has:AuditEvent:patient:date", "ge2024-01-01T07:30:00+07:00"),),
        (("active:missing", "true"), ("_has:AuditEvent:patient:outcome", "4")),
        (("_id", "ana,bo"), ("_has:AuditEvent:patient:agent._id", "doc")),
        (("_has:AuditEvent:patient:outcome:not", "0"),),
    ],
)
async def test_has_finds_whom_the_chain_names(world: World, query: Query) -> None:
    """`_has` over AuditEvents sees the server's own too."""
    assert names(await answer(world, "Patient", query), "match") == ["Patient/ana"]


async def test_staff_are_found_by_what_they_did(world: World) -> None:
    """`agent` leads to the Practitioner who asked."""
    query = (("_has:AuditEvent:agent:outcome", "4"),)

    assert names(await answer(world, "Practitioner", query), "match") == ["Practitioner/doc"]


async def test_has_shows_nobody_else_s_events(world: World) -> None:
    """A citizen finds oneself by the own events; nobody by those that are not shown."""
    refused = (("_has:AuditEvent:patient:outcome", "4"),)
    with pytest.raises(FhirError):
        await world.perform("read", FACILITY, resource_type="Patient", resource_id="bo")

    assert names(await answer(world, "Patient", refused, ANA), "match") == ["Patient/ana"]
    assert names(await answer(world, "Patient", refused, citizen("bo")), "match") == ["Patient/bo"]
    of_bo = (("_has:AuditEvent:patient:date", "lt2024-01-01T07:00:00+07:00"),)
    assert names(await answer(world, "Patient", of_bo, ANA), "match") == []
    assert names(await answer(world, "Patient", refused, FACILITY), "match") == []


async def test_has_past_its_bound_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It looks at so many entries and says so; of few candidates each is asked for."""
    monkeypatch.setattr(audit_found, "_STEP", 1)
    monkeypatch.setattr(audit_found.chained, "__defaults__", (audit_found.Range(), 2))

    with pytest.raises(TooCostly):
        await answer(world, "Patient", (("_has:AuditEvent:patient:action", "D"),))


# --- _revinclude and _include ----------------------------------------------------------------


@pytest.mark.parametrize("param", ["patient", "entity", "*", "patient:Patient"])
async def test_events_go_along_with_whom_they_name(world: World, param: str) -> None:
    """`_revinclude` brings the chain's entries and those that others report, of these alone."""
    await told(world, "told", "2024-01-01T00:00:00Z", "Patient/ana")
    await world.perform("read", resource_type="Patient", resource_id="bo")
    every = await answer(world, "AuditEvent", (("entity", "Patient/ana"), ("_count", "100")))

    query = (("_id", "ana"), ("_revinclude", f"AuditEvent:{param}"))
    found = await answer(world, "Patient", query)

    assert names(found, "match") == ["Patient/ana"]
    # The search for `every` shows ana's events, and is one of hers itself.
    brought = names(found, "include")
    assert set(names(every, "match")) < set(brought)
    assert len(brought) == len(names(every, "match")) + 1
    assert "AuditEvent/told" in brought


async def test_events_go_along_with_the_staff_who_asked(world: World) -> None:
    """`_revinclude=AuditEvent:agent` of a Practitioner."""
    query = (("_id", "doc"), ("_revinclude", "AuditEvent:agent"))

    (one,) = names(await answer(world, "Practitioner", query), "include")

    assert one.startswith("AuditEvent/audit-")


async def test_no_hidden_event_goes_along(world: World) -> None:
    """A facility is brought none, a citizen the own ones, naming nobody else."""
    await world.perform("search-type", resource_type="Patient")
    query = (("_revinclude", "AuditEvent:patient"), ("_revinclude", "AuditEvent:*"))

    hospital = await answer(world, "Patient", query, FACILITY)
    own = await answer(world, "Patient", query, ANA)

    assert names(hospital, "include") == []
    assert names(own, "match") == ["Patient/ana"]
    assert names(own, "include")
    assert "Patient/bo" not in str(own)


async def test_a_star_leaves_the_chain_out(world: World) -> None:
    """`_revinclude=*` brings no more of it than a search of all types does."""
    found = await answer(world, "Patient", (("_id", "ana"), ("_revinclude", "*")))

    assert names(found, "include") == ["Observation/of-ana"]


@pytest.mark.parametrize("param", ["patient", "entity", "*", "agent"])
async def test_whom_events_name_goes_along(world: World, param: str) -> None:
    """`_include` from the chain's entries, of what the caller may see."""
    query = (("outcome", "4"), ("_include", f"AuditEvent:{param}"))
    expected = {"agent": {"Practitioner/doc"}, "*": {"Patient/ana", "Practitioner/doc"}}

    found = await answer(world, "AuditEvent", query)

    assert set(names(found, "include")) == expected.get(param, {"Patient/ana"})
    assert names(await answer(world, "AuditEvent", query, AUDITOR), "include") == []
    assert "Patient/bo" not in names(await answer(world, "AuditEvent", query, ANA), "include")


async def test_an_event_that_is_referred_to_goes_along(world: World) -> None:
    """What names an entry of the chain brings it, and is found by `_has` from it."""
    event = names(await answer(world, "AuditEvent", (("outcome", "4"),)), "match")[0]
    await world.put({
        "resourceType": "List", "id": "seen", "status": "current", "mode": "working",
        "entry": [{"item": {"reference": event}}],
    })  # fmt: skip

    brought = await answer(world, "List", (("_include", "List:item"),))
    found = await answer(world, "AuditEvent", (("_has:List:item:_id", "seen"),))

    assert names(brought, "include") == [event]
    assert names(found, "match") == [event]
    back = (("outcome", "4"), ("_revinclude", "List:item"))
    assert names(await answer(world, "AuditEvent", back), "include") == ["List/seen"]


# --- order -----------------------------------------------------------------------------------


@pytest.fixture
async def reported(world: World) -> World:
    """Events that are told late, in another order than that in which they were seen."""
    for name, at in (("b", "2024-01-01T00:30:00Z"), ("d", "2025-06-01T00:00:00Z"),
                     ("a", "2020-01-01T00:00:00Z"), ("c", "2024-01-01T00:30:00Z")):  # fmt: skip
        await told(world, name, at, "Patient/ana")
    world.clock.move(minutes=1)
    return world


async def walk(world: World, query: Query) -> tuple[list[Page], list[Page]]:
    """Return the pages of AuditEvents there and back."""
    there = [page_of(await answer(world, "AuditEvent", query))]
    while "next" in there[-1].links:
        there.append(page_of(await answer(world, "AuditEvent", there[-1].links["next"])))
    back = [there[-1]]
    while "previous" in back[-1].links:
        back.append(page_of(await answer(world, "AuditEvent", back[-1].links["previous"])))
    return there, back


@pytest.mark.parametrize("count", ["1", "2", "3", "100"])
@pytest.mark.parametrize("sort", ["date", "-date", "_lastUpdated", "-_lastUpdated"])
async def test_events_stand_by_the_time_that_is_asked_for(
    reported: World, sort: str, count: str
) -> None:
    """`date` is when it was seen, `_lastUpdated` when it was told; there and back, each once."""
    there, back = await walk(
        reported, (("entity", "Patient/ana"), ("_sort", sort), ("_count", count))
    )

    every = [identity for one in there for identity in one.ids]
    assert [one.ids for one in reversed(back)] == [one.ids for one in there]
    assert len(every) == len(set(every))
    assert {"a", "b", "c", "d"} < set(every)
    whole = await answer(reported, "AuditEvent", (("_id", ",".join(every)), ("_count", "100")))
    times = {
        one["resource"]["id"]: one["resource"]["recorded"]
        if sort.endswith("date")
        else one["resource"]["meta"]["lastUpdated"]
        for one in whole["entry"]
    }
    stamps = [_instant(times[one]) for one in every]
    assert stamps == sorted(stamps, reverse=sort.startswith("-"))


def _instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_pages_oldest_first_end(reported: World) -> None:
    """Each page is an event by itself, and is on none of them."""
    there, _ = await walk(reported, (("_sort", "date"), ("_count", "2")))
    every = [identity for one in there for identity in one.ids]

    again, _ = await walk(reported, (("_sort", "date"), ("_count", "3")))

    assert len([one for page in again for one in page.ids]) > len(every)


# --- with other types, and cursors -----------------------------------------------------------


@pytest.mark.parametrize("count", ["1", "2", "3", "100"])
@pytest.mark.parametrize("sort", [(), (("_sort", "_lastUpdated"),)])
async def test_events_are_found_beside_other_types(world: World, count: str, sort: Query) -> None:
    """`_type` may name AuditEvent beside others; pages lead through all of them once."""
    await told(world, "told", "2024-01-01T00:00:00Z", "Patient/ana")
    query = (("_type", "AuditEvent,Patient,Observation"), *sort, ("_count", count))
    world.clock.move(minutes=1)
    pages = [page_of(await answer(world, None, query))]
    while "next" in pages[-1].links:
        pages.append(page_of(await answer(world, None, pages[-1].links["next"])))

    every = [identity for one in pages for identity in one.ids]
    own = [one for one in every if one.startswith("audit-")]
    assert sorted(set(every) - set(own)) == ["ana", "bo", "of-ana", "told"]
    assert len(every) == len(set(every))
    assert len(own) == 6
    whole = await answer(world, None, (*query, ("_total", "accurate")))
    assert whole["total"] == len(every) + len(pages)


async def test_what_is_hidden_is_not_found_beside_other_types(world: World) -> None:
    """A citizen finds the own; a facility is refused AuditEvents whatever stands beside."""
    query = (("_type", "AuditEvent,Patient"), ("_count", "100"))
    with pytest.raises(FhirError):
        await world.perform("read", FACILITY, resource_type="Patient", resource_id="bo")

    found = await answer(world, None, query, ANA)

    assert "Patient/ana" in names(found, "match")
    assert "Patient/bo" not in str(found)
    with pytest.raises(Forbidden):
        await answer(world, None, query, FACILITY)


async def test_events_are_found_in_compartments(world: World) -> None:
    """Those of a Patient, beside others too, and of the Practitioner who asked."""
    beside = await answer(
        world, None, (("_type", "AuditEvent,Observation"),), compartment=("Patient", "ana")
    )
    staff = await answer(world, "AuditEvent", (), compartment=("Practitioner", "doc"))

    assert "Observation/of-ana" in names(beside, "match")
    assert len([one for one in names(beside, "match") if "audit-" in one]) == 3
    assert len(names(staff, "match")) == 1


async def test_a_cursor_is_good_for_its_own_search(world: World) -> None:
    """It is sealed, and bound to what was asked, as every other one is."""
    first = page_of(await answer(world, "AuditEvent", (("_count", "1"),)))
    cursor = dict(first.links["next"])["_cursor"]

    for query in ((("action", "R"),), (("_sort", "date"),)):
        with pytest.raises(FhirError) as refusal:
            await answer(world, "AuditEvent", (*query, ("_cursor", cursor)))
        assert refusal.value.status == 400
    changed = cursor[:-3] + ("AAA" if not cursor.endswith("AAA") else "BBB")
    with pytest.raises(FhirError):
        await answer(world, "AuditEvent", (("_count", "1"), ("_cursor", changed)))
    assert page_of(await answer(world, "AuditEvent", (("_count", "1"), ("_cursor", cursor)))).ids
