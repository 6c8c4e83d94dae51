"""One AuditEvent a request, durable before the answer: contract, section 6."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import replace
from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions import audit_found
from fhir_server.interactions.audit import named_by_entry
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import bundle, codec
from fhir_server.model.identifiers import CCCD, MA_CSKCB
from fhir_server.model.outcome import (
    Conflict,
    Forbidden,
    InvalidValue,
    TooCostly,
    Unavailable,
    UnknownResource,
)
from fhir_server.validation.structure import validate
from tests.conftest import AUDITOR, FACILITY, World, citizen
from tests.fhir_server.interactions.test_hidden import ANA, BO, entries
from tests.fhir_server.interactions.test_writes import observation, patient


async def events(world: World, caller: Principal = AUDITOR, *query: tuple[str, str]) -> list[Any]:
    """Return the AuditEvents that a caller finds."""
    result = await world.perform("search-type", caller, resource_type="AuditEvent", query=query)
    return entries(result)


@pytest.fixture
async def people(world: World) -> World:
    """Two people and what was seen of them, before anybody looked."""
    await world.put(patient("1") | {"id": "ana"})
    await world.put(patient("2") | {"id": "bo"})
    await world.put(observation("Patient/ana") | {"id": "of-ana"})
    await world.put(observation("Patient/bo") | {"id": "of-bo"})
    world.clock.move(hours=1)
    return world


async def test_a_read_leaves_who_when_why_and_whose(people: World) -> None:
    """The AuditEvent of a read says who, when, why, that it was allowed, and the Patient."""
    await people.perform(
        "read", ANA, resource_type="Observation", resource_id="of-ana", url="Observation/of-ana"
    )

    (event, *_) = await events(people)

    assert validate(event) == []
    assert event["recorded"] == "2024-01-01T08:00:00.000+07:00"
    assert event["agent"][0]["who"] == {"display": "citizen"}
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "PATRQT"
    assert event["outcome"] == "0"
    assert event["subtype"][0]["code"] == "read"
    assert [one["what"]["reference"] for one in event["entity"]] == ["Patient/ana"]
    assert event["entity"][0]["role"]["code"] == "1"


async def test_a_facility_is_named_with_its_code(people: World) -> None:
    """`agent[0].who` of a facility has its display and its code."""
    await people.perform("search-type", FACILITY, resource_type="Observation")

    (event, *_) = await events(people)

    assert event["agent"][0]["who"]["display"] == "Hospital 01999"
    assert event["agent"][0]["who"]["identifier"]["value"] == "01999"
    assert "entity" not in event


async def test_a_refusal_is_recorded_with_the_patient_of_the_path(people: World) -> None:
    """A refused read leaves outcome 4 and the Patient that the path names."""
    with pytest.raises(UnknownResource):
        await people.perform("read", ANA, resource_type="Patient", resource_id="bo")
    with pytest.raises(Forbidden):
        await people.perform("delete", ANA, resource_type="Patient", resource_id="bo")

    forbidden, unknown, *_ = await events(people)

    for event in (forbidden, unknown):
        assert event["outcome"] == "4"
        assert [one["what"]["reference"] for one in event["entity"]] == ["Patient/bo"]


async def test_a_search_names_all_patients_shown(people: World) -> None:
    """One entity a Patient shown, those of included resources too."""
    await people.perform("search-type", resource_type="Observation")

    (event, *_) = await events(people)

    named = sorted(one["what"]["reference"] for one in event["entity"])
    assert named == ["Patient/ana", "Patient/bo"]


async def test_a_citizen_sees_who_saw_the_own_book(people: World) -> None:
    """A citizen finds the own book's events, and no other Patient is named in them."""
    await people.perform("search-type", resource_type="Observation")

    own = await events(people, ANA, ("patient", "Patient/ana"))
    anothers = await events(people, ANA, ("patient", "Patient/bo"))

    assert own
    assert all(one["what"]["reference"] == "Patient/ana" for e in own for one in e["entity"])
    assert anothers == []


async def test_a_citizen_reads_the_own_events_by_id_only(people: World) -> None:
    """An event of the own book is read by its id; one of another's is unknown."""
    (own, *_) = await events(people, ANA, ("patient", "ana"))

    found = await people.perform("read", ANA, resource_type="AuditEvent", resource_id=own["id"])
    assert found.version is not None
    assert codec.loads(found.version.body) == own
    for identity in (own["id"], "audit-999999", "other"):
        with pytest.raises(UnknownResource):
            await people.perform("read", BO, resource_type="AuditEvent", resource_id=identity)


async def test_audit_events_are_paged_and_narrowed(people: World) -> None:
    """Pages go from the newest on and each event is visited once; dates narrow them."""
    for _ in range(5):
        people.clock.move(minutes=1)
        await people.perform("read", resource_type="Observation", resource_id="of-ana")
    query: tuple[tuple[str, str], ...] = (("patient", "ana"), ("_count", "2"))
    first = await people.perform("search-type", AUDITOR, resource_type="AuditEvent", query=query)
    seen = [one["id"] for one in entries(first)]
    page = codec.loads(first.body or b"")
    while (more := bundle.link(page, "next")) is not None:
        cursor = more.rpartition("_cursor=")[2]
        following = await people.perform(
            "search-type", AUDITOR, resource_type="AuditEvent",
            query=(*query, ("_cursor", cursor)),
        )  # fmt: skip
        page = codec.loads(following.body or b"")
        seen += [one["id"] for one in entries(following)]

    assert len(seen) == len(set(seen)) == 7
    late = await events(
        people, AUDITOR, ("date", "ge2024-01-01T08:04:00+07:00"), ("patient", "ana")
    )
    assert len([one for one in late if one["subtype"][0]["code"] == "read"]) == 2


async def total(world: World, caller: Principal, *query: tuple[str, str]) -> int | None:
    """Return the total that a search of AuditEvents tells a caller."""
    result = await world.perform("search-type", caller, resource_type="AuditEvent", query=query)
    found: int | None = codec.loads(result.body or b"").get("total")
    return found


@pytest.mark.parametrize("asked", [(), (("_total", "accurate"),), (("_total", "estimate"),)])
@pytest.mark.parametrize(
    ("caller", "query"),
    [
        (AUDITOR, ()),
        (AUDITOR, (("patient", "Patient/ana"),)),
        (AUDITOR, (("action", "R"),)),
        (AUDITOR, (("patient", "bo"), ("date", "ge2024-01-01"))),
        (ANA, ()),
        (ANA, (("patient", "ana"),)),
        (ANA, (("patient", "bo"),)),
    ],
)
async def test_a_page_of_audit_events_has_the_total(
    people: World,
    caller: Principal,
    query: tuple[tuple[str, str], ...],
    asked: tuple[tuple[str, str], ...],
) -> None:
    """The total is the number of what all pages show the caller, of the chain and reported."""
    (known, *_) = await events(people)
    reported = {k: v for k, v in known.items() if k not in {"id", "meta"}}
    await people.perform("create", resource_type="AuditEvent", resource=reported)
    for name in ("of-ana", "of-bo", "of-ana"):
        await people.perform("read", resource_type="Observation", resource_id=name)
    shown = await events(people, caller, *query, ("_count", "1000"))
    # A search is an event itself, of nobody's book where it shows nobody.
    own = await events(people, caller, *query, ("_count", "1000"))

    told = await total(people, caller, *query, ("_count", "1"), *asked)

    assert told == len(own) + (len(own) - len(shown) if shown else 0)


async def test_no_total_of_audit_events_where_none_is_wanted(people: World) -> None:
    """`_total=none` asks for no total."""
    assert await total(people, AUDITOR, ("_count", "1"), ("_total", "none")) is None


async def test_reported_events_stand_among_the_own(people: World) -> None:
    """An AuditEvent that system wrote is found too, in order, and is no entry of the chain."""
    (known, *_) = await events(people)
    reported = {k: v for k, v in known.items() if k not in {"id", "meta"}}
    people.clock.move(minutes=1)
    await people.perform("create", resource_type="AuditEvent", resource=reported)
    people.clock.move(minutes=1)
    await people.perform("read", resource_type="Patient", resource_id="ana")

    found = await events(people, AUDITOR, ("_count", "3"))

    kinds = [one["id"].startswith("audit-") for one in found]
    assert kinds.count(False) == 1
    times = [one["meta"]["lastUpdated"] for one in found]
    assert times == sorted(times, reverse=True)


@pytest.mark.parametrize(
    "query",
    [
        ("_sort", "action"),
        ("_cursor", "x"),
        ("_cursor", urlsafe_b64encode(b"[1%s,null,[]]" % (b"0" * 30)).decode()),
        ("date", "soon"),
    ],
    ids=["order", "no cursor", "a number past all", "no date"],
)
async def test_a_search_that_cannot_be_done_is_refused(
    people: World, query: tuple[str, str]
) -> None:
    """Another order, a forged cursor (no 500 either) and a date that is none are 400."""
    with pytest.raises(Exception) as refusal:  # noqa: PT011 - three classes, one status
        await events(people, AUDITOR, query)

    assert getattr(refusal.value, "status", 0) == 400


async def test_the_answer_waits_for_the_record(people: World) -> None:
    """Where the record cannot be made durable the request is 503."""

    class Broken:
        def __getattr__(self, name: str) -> Any:
            return getattr(people.store, name)

        async def commit(self, _batch: object) -> None:
            raise OSError

    ctx = replace(people.context(), store=Broken())

    with pytest.raises(Unavailable):
        await perform(ctx, FhirRequest("read", "Patient", "ana"))


async def test_no_query_and_no_name_is_recorded(people: World) -> None:
    """The record holds the path, never the query."""
    await people.perform(
        "search-type", resource_type="Patient", query=(("name", "Bo"),),
        url="Patient?name=B%E1%BB%91",
    )  # fmt: skip

    (record,) = await people.store.audit(limit=1)
    assert b"name" not in record.body
    assert b"Patient" in record.body


async def test_break_glass_is_recorded_with_its_reason(people: World) -> None:
    """The reason of X-Break-Glass is the purpose that the citizen reads."""
    await people.perform(
        "read", resource_type="Patient", resource_id="ana", purpose="bất tỉnh, cấp cứu"
    )

    (event, *_) = await events(people)
    assert event["purposeOfEvent"][0]["text"] == "bất tỉnh, cấp cứu"
    assert event["purposeOfEvent"][0]["coding"][0]["code"] == "BTG"


async def test_a_page_out_of_reach_is_refused() -> None:
    """A citizen of level 1 is refused everything, and that is recorded too."""
    world = World()
    low = replace(citizen("ana"), level=1)

    with pytest.raises(Forbidden):
        await world.perform("read", low, resource_type="Patient", resource_id="ana")
    with pytest.raises(InvalidValue):
        await world.perform("search-type", resource_type="Patient", query=(("_count", "x"),))

    assert [e["outcome"] for e in await events(world)] == ["4", "4"]


async def test_the_servers_own_audit_events_are_not_changed(people: World) -> None:
    """What is seen and not changed is 403; an id of the chain never used is reserved."""
    await people.perform("read", resource_type="Patient", resource_id="ana")
    event = {
        "resourceType": "AuditEvent",
        "type": {"code": "rest"},
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"requestor": True}],
        "source": {"observer": {"display": "x"}},
    }
    (record,) = await people.store.audit(limit=1)
    own, never = f"audit-{record.seq}", "audit-99999999"

    with pytest.raises(Forbidden):
        await people.put(event | {"id": own})
    with pytest.raises(Forbidden):
        await people.perform("delete", resource_type="AuditEvent", resource_id=own)
    with pytest.raises(Conflict, match="reserved"):
        await people.put(event | {"id": never})
    result = await people.perform("delete", resource_type="AuditEvent", resource_id=never)
    assert result.status == 204
    assert await people.store.audit_entry(record.seq) == record


def asked_for(*patients: str, kind: str = "batch") -> dict[str, Any]:
    """Return a Bundle that reads Patients."""
    reads = [{"request": {"method": "GET", "url": f"Patient/{one}"}} for one in patients]
    return {"resourceType": "Bundle", "type": kind, "entry": reads}


async def test_a_batch_says_what_of_it_was_refused(people: World) -> None:
    """The one event of a batch names whom a refused entry named; each sees the own outcome."""
    await people.perform("transaction", ANA, resource=asked_for("ana", "bo"), method="POST")

    (event, *_) = await events(people)
    (anas,) = await events(people, ANA, ("_id", event["id"]))
    (bos,) = await events(people, BO, ("_id", event["id"]))

    assert event["subtype"][0]["code"] == "batch"
    assert event["outcome"] == "4"
    refused = [one["what"]["reference"] for one in event["entity"] if "detail" in one]
    assert refused == ["Patient/bo"]
    assert len(event["entity"]) == 2
    assert (anas["outcome"], bos["outcome"]) == ("0", "4")
    assert [one["what"]["reference"] for one in bos["entity"]] == ["Patient/bo"]
    assert all(validate(one) == [] for one in (event, anas, bos))


async def test_a_refused_transaction_names_whom_its_entries_name(people: World) -> None:
    """A look at a hidden Patient by way of a transaction is in that Patient's history."""
    with pytest.raises(UnknownResource):
        await people.perform(
            "transaction", ANA, resource=asked_for("bo", kind="transaction"), method="POST"
        )

    (event, *_) = await events(people, BO, ("patient", "Patient/bo"))

    assert (event["outcome"], event["subtype"][0]["code"]) == ("4", "transaction")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("Patient/a", ("a",)),
        ("http://testserver/fhir/Patient/a?_summary=true", ("a",)),
        ("Patient/a/_history/1", ("a",)),
        ("Patient?_id=a", ()),
        ("Patient/a_b", ()),
        ("Observation/a", ()),
        (None, ()),
    ],
)
def test_an_entry_names_the_patient_of_its_path(url: object, named: tuple[str, ...]) -> None:
    """Whatever form the path has; what cannot be read names nobody."""
    assert named_by_entry({"request": {"url": url}}) == named
    assert named_by_entry({"request": url}) == named_by_entry(url) == ()


async def test_a_hidden_match_names_its_patient(people: World) -> None:
    """Whoever asks for a person by a number that others brought leaves a trace there."""
    number = [{"system": CCCD, "value": "001195012345"}]
    await people.put(patient("1", identifier=number) | {"id": "ana"})

    await people.perform(
        "create", FACILITY, resource_type="Patient", method="POST",
        resource={"resourceType": "Patient", "identifier": number},
        if_none_exist=f"identifier={CCCD}|001195012345",
    )  # fmt: skip

    (event, *_) = await events(people, ANA, ("patient", "Patient/ana"))
    assert event["subtype"][0]["code"] == "create"
    assert event["agent"][0]["who"]["identifier"]["value"] == "01999"


async def test_a_person_is_named_and_the_app_beside(people: World) -> None:
    """`agent[0].who` is the citizen by name; the app is a second agent."""
    mother = replace(ANA, display="NGUYỄN THỊ MẪU", app="Ứng dụng VNeID (mẫu)")

    await people.perform("read", mother, resource_type="Patient", resource_id="ana")

    (event, *_) = await events(people)
    person, app = event["agent"]
    assert person["who"] == {"display": "NGUYỄN THỊ MẪU"}
    assert person["requestor"]
    assert app["who"] == {"display": "Ứng dụng VNeID (mẫu)"}
    assert (app["altId"], app["requestor"]) == ("vneid-app", False)
    assert validate(event) == []


async def test_a_facility_has_the_name_of_its_organization(people: World) -> None:
    """Where an Organization has the facility's code, the history names it as the book does."""
    organization = {
        "resourceType": "Organization",
        "id": "o",
        "identifier": [{"system": MA_CSKCB, "value": "01999"}],
        "name": "Bệnh viện Đa khoa Mẫu Hà Nội",
    }
    await people.put(organization)
    await people.perform("search-type", FACILITY, resource_type="Observation")

    (event, *_) = await events(people)
    read = await people.perform(
        "read", AUDITOR, resource_type="AuditEvent", resource_id=event["id"]
    )
    await people.perform("delete", resource_type="Organization", resource_id="o")
    (after,) = await events(people, AUDITOR, ("_id", event["id"]))

    assert event["agent"][0]["who"]["display"] == "Bệnh viện Đa khoa Mẫu Hà Nội"
    assert read.version is not None
    assert codec.loads(read.version.body) == event
    assert after["agent"][0]["who"]["display"] == "Hospital 01999"


async def test_what_is_said_where_the_store_is_away_is_of_the_request(
    people: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who reads is not told that something may be stored; who writes is."""
    unknown = "It is not known whether this was stored: look before you send it again."

    async def away(_batch: object) -> None:  # noqa: RUF029 - as a store's
        raise Unavailable(unknown)

    monkeypatch.setattr(people.store, "commit", away)

    with pytest.raises(Unavailable, match="could not be recorded"):
        await people.perform("search-type", resource_type="Patient")
    with pytest.raises(Unavailable, match="could not be recorded"):
        await people.perform("read", resource_type="Patient", resource_id="nobody")
    with pytest.raises(Unavailable, match="not known whether this was stored"):
        await people.put({"resourceType": "Patient", "id": "new"})


@pytest.mark.parametrize("caller", [AUDITOR, ANA])
async def test_an_audit_event_has_one_version_and_a_history(
    people: World, caller: Principal
) -> None:
    """What the metadata says of every type holds of the chain: vread, history, 304."""
    own = (await events(people, caller, ("patient", "ana")))[0]
    asked: dict[str, Any] = {"resource_type": "AuditEvent", "resource_id": own["id"]}

    read = await people.perform("read", caller, **asked)
    vread = await people.perform("vread", caller, **asked, version_id="1")
    found = codec.loads((await people.perform("history-instance", caller, **asked)).body or b"")

    assert read.version is not None
    assert vread.version is not None
    assert read.version.body == vread.version.body
    assert codec.loads(read.version.body) == own
    assert [one["resource"] for one in found["entry"]] == [own]
    assert (found["total"], found["entry"][0]["request"]["method"]) == (1, "POST")
    assert (await people.perform("read", caller, **asked, if_none_match="1")).status == 304
    late = await people.perform(
        "history-instance", caller, **asked, query=(("_since", "2030-01-01"),)
    )
    assert codec.loads(late.body or b"").get("entry", []) == []
    listed = await people.perform("history-instance", caller, **asked, query=(("_list", "none"),))
    assert codec.loads(listed.body or b"").get("entry", []) == []
    with pytest.raises(UnknownResource):
        await people.perform("vread", caller, **asked, version_id="2")


@pytest.mark.parametrize("interaction", ["read", "vread", "history-instance"])
async def test_another_s_audit_event_has_no_version_either(people: World, interaction: str) -> None:
    """Whoever is not shown an entry is told that there is none, in each way."""
    own = (await events(people, AUDITOR, ("patient", "ana")))[0]

    with pytest.raises(UnknownResource):
        await people.perform(
            interaction, BO, resource_type="AuditEvent", resource_id=own["id"],
            version_id="1" if interaction == "vread" else None,
        )  # fmt: skip


async def test_chains_reach_the_chain_s_own_events(people: World) -> None:
    """By what is said of a Patient its events are found, both the chain's and reported ones."""
    await people.perform("read", resource_type="Observation", resource_id="of-ana")
    (known, *_) = await events(people, AUDITOR, ("patient", "ana"))
    reported = {k: v for k, v in known.items() if k not in {"id", "meta"}}
    await people.perform("create", resource_type="AuditEvent", resource=reported)

    for query in (
        ("patient._id", "ana"),
        ("patient:Patient._id", "ana,nobody"),
        ("patient._has:Observation:patient:_id", "of-ana"),
        ("_filter", "patient._id eq ana"),
    ):
        of_ana = [one["id"] for one in await events(people, AUDITOR, ("patient", "ana"))]
        # The search before is an event of hers too.
        assert [one["id"] for one in await events(people, SYSTEM, query)][1:] == of_ana
    assert await events(people, SYSTEM, ("patient._id", "nobody")) == []
    assert await events(people, AUDITOR, ("patient._id", "ana")) == []  # is shown no Patient
    assert await events(people, BO, ("patient._id", "ana")) == []


async def test_a_chain_to_too_many_is_refused(
    people: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so, and answers nothing wrong."""
    monkeypatch.setattr(audit_found, "_MOST_ENDS", 1)

    with pytest.raises(TooCostly):
        await events(people, SYSTEM, ("patient.active:missing", "true"))
