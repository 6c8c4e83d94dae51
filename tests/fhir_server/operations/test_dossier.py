"""One dossier committed: what becomes of it beside what `/submissions` shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.xml130.parse import parse
from fhir_server.interactions.context import AuditTrail, Context, FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_LK
from fhir_server.model.outcome import UnknownResource
from fhir_server.model.primitives import micros
from fhir_server.operations.dossier import commit_dossier
from fhir_server.operations.settle import settle
from fhir_server.operations.shared import completed
from fhir_server.operations.visit import Outcome, Sending
from fhir_server.operations.withdrawal import withdrawn
from fhir_server.search.expression import EVERYTHING, Search
from fhir_server.store.port import Batch, Put, Store, Tag
from tests.citizens import at_once, holder, stored
from tests.conftest import FACILITY, OTHER, World
from tests.fakes.yielding import YieldingStore
from tests.fhir_server.operations import record
from tests.fhir_server.operations.test_settle import Claims
from tests.xml130 import costs, dossier, envelope, rows, visit


@pytest.fixture
def store(each_store: Store) -> Store:
    """An empty store, once of each kind."""
    return each_store


@pytest.fixture
def world(world: World) -> World:
    """The world on the day of the visits, over each store."""
    world.clock.at = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    return world


@pytest.fixture
def ctx(world: World) -> Context:
    """The hospital's Context."""
    return world.context(FACILITY)


_sent = iter(range(1_000_000))


def sending(
    *, lines: dict[str, list[dict[str, str]]] | None = None, submission: str = "", **fields: str
) -> Sending:
    """Return a dossier as intake hands it over."""
    summary = visit(**{"MA_LK": "LK-1", **fields})
    if summary.get("MA_DOITUONG_KCB") == "8":
        summary = {key: summary[key] for key in ("MA_LK", "MA_CSKCB", "MA_DOITUONG_KCB")}
    (read,) = parse(envelope([dossier(summary, **(lines or {}))])).dossiers
    assert read.record is not None
    received = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    return Sending(
        record=read.record,
        facility=read.record.facility,
        ma_lk=summary["MA_LK"],
        kind="xml",
        received=received,
        micros=micros(received),
        submission=submission or f"s{next(_sent)}/1",
    )


def drugs(count: int, **fields: str) -> Sending:
    """Return a dossier with this many drugs."""
    return sending(lines={"xml2": rows("XML2", count)}, **costs(drugs=count), **fields)


async def every(ctx: Context, kind: str) -> list[dict[str, Any]]:
    """Return all current resources of a type."""
    page = await ctx.store.search(Search(((kind, EVERYTHING),), count=100))
    return [codec.loads(version.body) for version in page.versions]


async def test_the_receipt_is_committed_with_the_resources(ctx: Context) -> None:
    """What the caller brings along is there with the visit, and knows what became of it."""

    def receipt(outcome: Outcome) -> list[Put]:
        return [Put("submission", "s", f"{outcome.status} {outcome.encounter}".encode())]

    outcome = await commit_dossier(ctx, sending(), receipt)

    assert await ctx.store.get("submission", "s") == f"created {outcome.encounter}".encode()


async def test_what_cannot_be_committed_leaves_nothing(ctx: Context) -> None:
    """A receipt whose record is there already refuses all of it: no visit, no Patient."""
    await commit_dossier(ctx, sending(MA_LK="OTHER"), lambda _o: [Put("submission", "s", b"1")])
    before = await ctx.store.count("Encounter")

    taken = Put("submission", "s", b"2", expected=None)
    plain = replace(sending(), submission="s2/1")
    with pytest.raises(Exception, match="changed by others"):
        await _impatient(ctx, plain, taken)

    assert await ctx.store.count("Encounter") == before


async def _impatient(ctx: Context, plain: Sending, put: Put) -> None:
    await commit_dossier(ctx, plain, lambda _outcome: [put])


async def test_the_same_submission_again_gives_its_first_answer(ctx: Context) -> None:
    """A dossier that its own submission had committed before a crash is answered as then."""
    one = sending(submission="s9/1")
    first = await commit_dossier(ctx, one)

    again = await commit_dossier(ctx, one)

    assert first.status == again.status == "created"
    (encounter,) = await every(ctx, "Encounter")
    assert encounter["meta"]["versionId"] == "1"


async def test_only_what_changed_gets_a_version(ctx: Context) -> None:
    """Another reason for the visit makes a version of the Encounter alone."""
    await commit_dossier(ctx, drugs(2))

    outcome = await commit_dossier(ctx, drugs(2, LY_DO_VV="Ho, sốt 3 ngày"))

    assert outcome.status == "updated"
    changed = set()
    for kind in ("Encounter", "Patient", "Coverage", "Condition", "MedicationRequest", "Claim",
                 "Organization", "Practitioner", "Provenance"):  # fmt: skip
        for resource in await every(ctx, kind):
            if resource["meta"]["versionId"] != "1":
                changed.add(kind)
    assert changed == {"Encounter"}


async def test_ids_never_hold_the_visits_key(ctx: Context) -> None:
    """MA_LK may carry anything; no id is made of it."""
    outcome = await commit_dossier(ctx, sending(MA_LK="A/B|c ă\\"))

    (encounter,) = await every(ctx, "Encounter")
    assert outcome.encounter == f"Encounter/{encounter['id']}"
    assert encounter["identifier"][0]["value"] == "01999|A/B|c ă\\"
    assert await ctx.store.holder(f"{MA_LK}|01999|A/B|c ă\\") == ("Encounter", encounter["id"])


async def test_a_gone_row_that_others_refer_to_is_marked_in_error(
    world: World, ctx: Context
) -> None:
    """What another's resource refers to is not deleted; it is entered in error."""
    first, second = rows("XML2", 2)
    second["TEN_THUOC"] = "Amoxicillin"
    await commit_dossier(ctx, sending(lines={"xml2": [first, second]}, **costs(drugs=2)))
    made = await every(ctx, "MedicationRequest")
    (gone,) = (r for r in made if r["medicationCodeableConcept"]["text"] == "Amoxicillin")
    await world.put({
        "resourceType": "MedicationDispense",
        "id": "md1",
        "status": "completed",
        "medicationCodeableConcept": {"text": "x"},
        "authorizingPrescription": [{"reference": f"MedicationRequest/{gone['id']}"}],
    })

    outcome = await commit_dossier(ctx, sending(lines={"xml2": [first]}, **costs(drugs=1)))

    assert outcome.status == "updated"
    statuses = {r["id"]: r["status"] for r in await every(ctx, "MedicationRequest")}
    assert statuses.pop(gone["id"]) == "entered-in-error"
    assert list(statuses.values()) == ["completed"]


async def test_a_visit_made_over_rest_can_be_withdrawn(world: World, ctx: Context) -> None:
    """A withdrawal of an Encounter that no dossier made takes what belongs to it along."""
    await world.put({
        "resourceType": "Encounter",
        "id": "e1",
        "identifier": [{"system": MA_LK, "value": "01999|LK-1"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
    })
    await world.put({
        "resourceType": "Observation",
        "id": "o1",
        "status": "final",
        "code": {"text": "x"},
        "encounter": {"reference": "Encounter/e1"},
    })

    first = await commit_dossier(ctx, sending(MA_DOITUONG_KCB="8"))
    again = await commit_dossier(ctx, sending(MA_DOITUONG_KCB="8"))

    assert (first.status, again.status) == ("withdrawn", "unchanged")
    for kind in ("Encounter", "Observation"):
        assert [r["status"] for r in await every(ctx, kind)] == ["entered-in-error"]


async def test_a_deleted_encounter_is_made_again(world: World, ctx: Context) -> None:
    """The same content is no `unchanged` where the visit was deleted since."""
    first = await commit_dossier(ctx, sending())
    kind, _, identity = first.encounter.partition("/")
    await world.perform(
        "delete", resource_type=kind, resource_id=identity, method="DELETE",
        query=(("_cascade", "delete"),),
    )  # fmt: skip

    again = await commit_dossier(ctx, sending())

    assert (again.status, again.encounter) == ("updated", first.encounter)
    assert await ctx.store.count("Encounter") == 1


async def test_one_card_of_two_persons_is_two_coverages(ctx: Context) -> None:
    """A Coverage is of its card and its beneficiary."""
    await commit_dossier(ctx, sending())
    await commit_dossier(
        ctx, sending(MA_LK="LK-2", SO_CCCD="001195099999", HO_TEN="TRẦN VĂN LẠ", MA_BN="BN-2")
    )

    beneficiaries = {c["beneficiary"]["reference"] for c in await every(ctx, "Coverage")}
    assert len(beneficiaries) == 2


async def test_further_visits_share_card_facility_and_practitioner(world: World) -> None:
    """Ten visits at once share one Patient, Coverage, Organization and Practitioner."""
    ctx = replace(world.context(FACILITY), store=YieldingStore(world.store))

    await at_once(*(commit_dossier(ctx, drugs(1, MA_LK=f"LK-{n}")) for n in range(10)))

    for kind in ("Patient", "Coverage", "Organization", "Practitioner"):
        assert await world.store.count(kind) == 1, kind
    assert await world.store.count("Encounter") == 10


async def test_ten_sendings_of_one_visit_at_once_are_taken_in_turn(world: World) -> None:
    """The ledger record is changed only from what was read: one created, the rest updated."""
    ctx = replace(world.context(FACILITY), store=YieldingStore(world.store))

    outcomes = await at_once(
        *(commit_dossier(ctx, sending(LY_DO_VV=f"Lý do {n}")) for n in range(10))
    )

    assert sorted(o.status for o in outcomes) == ["created", *["updated"] * 9]
    (encounter,) = await every(ctx, "Encounter")
    assert encounter["meta"]["versionId"] == "10"


@pytest.mark.parametrize(
    ("stored", "said", "end"),
    [
        ({"end": "2026-12-31"}, {"end": "2025-12-31"}, "2026-12-31"),
        ({"end": "2025-12-31"}, {"end": "2026-12-31"}, "2026-12-31"),
        ({"end": "2026-12-31"}, {"start": "2026-01-01"}, "2026-12-31"),
        ({"start": "2026-01-01"}, {"end": "2026-12-31"}, "2026-12-31"),
    ],
    ids=["an older card", "a renewed card", "no end said", "no end known"],
)
def test_the_later_period_of_a_card_stands(
    stored: dict[str, str], said: dict[str, str], end: str
) -> None:
    """A dossier of last year does not shorten a card that was renewed."""
    assert completed({"period": stored}, {"period": said})["period"]["end"] == end


@pytest.mark.parametrize(
    ("resource", "changed"),
    [
        ({"resourceType": "Observation", "status": "final"}, "entered-in-error"),
        ({"resourceType": "Claim", "status": "active"}, "cancelled"),
        ({"resourceType": "Claim", "status": "cancelled"}, None),
        ({"resourceType": "Encounter", "status": "entered-in-error"}, None),
        ({"resourceType": "Patient", "active": True}, None),
        ({"resourceType": "Coverage", "status": "active"}, None),
        ({"resourceType": "Provenance"}, None),
    ],
)
def test_what_a_withdrawal_makes_of_a_resource(
    resource: dict[str, Any], changed: str | None
) -> None:
    """Clinical resources are in error, a Claim is cancelled, a person stays as it is."""
    made = withdrawn(resource)

    assert (made or {}).get("status") == changed


# A login and dossiers


async def test_a_login_first_and_then_the_visit(world: World, ctx: Context) -> None:
    """A newcomer logs in, a clinic sends the first visit: it is in that book."""
    login = await settle(world.context(), Claims())

    outcome = await commit_dossier(ctx, sending())

    assert outcome.patient == f"Patient/{login.patient_id}"
    known = await stored(world.context(), login.patient_id)
    assert known["meta"]["versionId"] == "2"
    assert known["name"][0]["text"] == Claims().name


async def test_visits_under_a_false_holder_leave_the_number_to_the_citizen(
    world: World, ctx: Context
) -> None:
    """A false holder's visits stay with it; after the login the right ones are the citizen's."""
    false = await commit_dossier(
        world.context(OTHER), sending(MA_CSKCB="79999", HO_TEN="TRẦN VĂN LẠ")
    )
    kept = await commit_dossier(ctx, sending(MA_LK="LK-2"))

    login = await settle(world.context(), Claims())
    after = await commit_dossier(ctx, sending(MA_LK="LK-3"))

    assert [issue.rule for issue in kept.issues if issue.rule == "IDENTITY"] == ["IDENTITY"]
    assert f"Patient/{login.patient_id}" == kept.patient == after.patient
    assert false.patient != after.patient
    assert login.kept_apart == ("79999",)
    assert after.issues == () or "IDENTITY" not in [i.rule for i in after.issues]


async def test_a_corrected_false_visit_comes_to_the_citizen(world: World, ctx: Context) -> None:
    """The other facility corrects its only visit: it moves, and nothing is told any more."""
    login = await settle(world.context(), Claims())
    other = world.context(OTHER)
    wrong = await commit_dossier(other, sending(MA_CSKCB="79999", HO_TEN="TRẦN VĂN LẠ"))
    told = await settle(world.context(), Claims())

    right = await commit_dossier(other, sending(MA_CSKCB="79999"))
    after = await settle(world.context(), Claims())

    assert wrong.patient != right.patient == f"Patient/{login.patient_id}"
    assert (told.kept_apart, after.kept_apart) == (("79999",), ())
    version = await world.store.read(*right.encounter.split("/"))
    assert version is not None
    assert version.patients == (login.patient_id,)
    assert await holder(world.context()) == login.patient_id


async def _sees(ctx: Context, kind: str, identity: str) -> bool:
    """Return whether a caller reads a resource, over every way to it."""
    ways = [
        FhirRequest("read", kind, identity),
        FhirRequest("vread", kind, identity, "1"),
        FhirRequest("history-instance", kind, identity),
    ]
    seen = []
    for way in ways:
        try:
            await perform(replace(ctx, trail=AuditTrail()), way)
        except UnknownResource:
            seen.append(False)
        else:
            seen.append(True)
    found = await perform(
        replace(ctx, trail=AuditTrail()),
        FhirRequest("search-type", kind, query=(("_id", identity),)),
    )
    seen.append(bool(codec.loads(found.body or b"").get("entry")))
    assert len(set(seen)) == 1
    return seen[0]


async def test_the_grant_ends_with_the_last_visit_that_named_the_patient(
    world: World, ctx: Context
) -> None:
    """A visit corrected to another person shows the first one, and the card, no more."""
    login = await settle(world.context(), Claims())
    wrong = [await commit_dossier(ctx, sending(MA_LK=key)) for key in ("LK-1", "LK-2")]
    cards = [one["id"] for one in await every(ctx, "Coverage")]
    other = {"SO_CCCD": "001095000777", "HO_TEN": "LÊ VĂN LẠ", "MA_THE_BHYT": "DN4010000000777"}

    seen = [await _sees(ctx, "Patient", login.patient_id)]
    for key in ("LK-1", "LK-2"):
        right = await commit_dossier(ctx, sending(MA_LK=key, **other))
        assert right.patient != wrong[0].patient == f"Patient/{login.patient_id}"
        assert await _sees(ctx, "Patient", right.patient.removeprefix("Patient/"))
        seen.append(await _sees(ctx, "Patient", login.patient_id))
        seen += [await _sees(ctx, "Coverage", one) for one in cards]
    again = await commit_dossier(ctx, sending(MA_LK="LK-3"))

    assert cards
    assert seen == [True, True, *[True] * len(cards), False, *[False] * len(cards)]
    assert again.patient == f"Patient/{login.patient_id}"
    assert await _sees(ctx, "Patient", login.patient_id)
    assert await _sees(ctx, "Coverage", cards[0])


async def test_a_visit_that_comes_as_another_leaves_keeps_the_grant(world: World) -> None:
    """A correction and a new visit of the same person at once: the facility still sees it."""
    store = YieldingStore(world.store)
    ctx = replace(world.context(FACILITY), store=store)
    other = {"SO_CCCD": "001095000777", "HO_TEN": "LÊ VĂN LẠ", "MA_THE_BHYT": "DN4010000000777"}
    for turn in range(6):
        first = await commit_dossier(ctx, sending(MA_LK=f"LK-{turn}"))
        patient_id = first.patient.removeprefix("Patient/")

        await at_once(
            commit_dossier(ctx, sending(MA_LK=f"LK-{turn}", **other)),
            commit_dossier(ctx, sending(MA_LK=f"MORE-{turn}")),
        )

        assert await _sees(ctx, "Patient", patient_id)
        assert [await _sees(ctx, "Coverage", one["id"]) for one in await every(ctx, "Coverage")]
        await commit_dossier(ctx, sending(MA_LK=f"MORE-{turn}", **other))
        assert not await _sees(ctx, "Patient", patient_id)


async def test_an_encounter_moved_over_rest_takes_the_grant_along(
    world: World, ctx: Context
) -> None:
    """Given to another Patient by a PUT, the visit shows its first Patient no more."""
    login = await settle(world.context(), Claims())
    there = record.encounter("v1", "2023-11-20T08:15:00+07:00", None, of=login.patient_id)
    del there["serviceProvider"]
    other = record.patient("other", identifier=[{"system": "urn:x", "value": "1"}])
    for one in (there, other):
        await world.put(one)
    names = (("Encounter", "v1"), ("Patient", "other"), ("Patient", login.patient_id))
    own = frozenset({FACILITY.tag})
    await world.store.commit(Batch(tags=tuple(Tag(*name, own) for name in names)))
    moved = there | {"subject": {"reference": "Patient/other"}}
    assert await _sees(ctx, "Patient", login.patient_id)

    await world.put(moved, FACILITY)

    assert not await _sees(ctx, "Patient", login.patient_id)
    assert await _sees(ctx, "Patient", "other")


async def test_dossiers_and_logins_race_to_a_true_end(world: World) -> None:
    """Visits and logins of one number at once: every visit is its citizen's, in one Patient."""
    store = YieldingStore(world.store)
    ctx = replace(world.context(FACILITY), store=store)
    visits = [commit_dossier(ctx, sending(MA_LK=f"LK-{n}")) for n in range(10)]
    logins = [settle(replace(world.context(), store=store), Claims()) for _ in range(5)]

    done = await at_once(*visits, *logins)

    owner = await holder(world.context())
    assert {o.patient for o in done[:10]} == {f"Patient/{owner}"}
    assert {login.patient_id for login in done[10:]} == {owner}


async def test_a_visit_kept_apart_is_looked_at_again_when_it_is_sent_again(
    world: World, ctx: Context
) -> None:
    """Sent again as it was, it stays apart with its warning, until the number's holder agrees."""
    await settle(world.context(), Claims())
    renamed = sending(HO_TEN="NGUYỄN THỊ MỚI")
    first = await commit_dossier(ctx, renamed)

    again = await commit_dossier(ctx, sending(HO_TEN="NGUYỄN THỊ MỚI"))
    login = await settle(world.context(), Claims(name="NGUYỄN THỊ MỚI"))
    moved = await commit_dossier(ctx, sending(HO_TEN="NGUYỄN THỊ MỚI"))

    assert (first.status, again.status, moved.status) == ("created", "unchanged", "updated")
    assert first.patient == again.patient != moved.patient
    assert "IDENTITY" in [issue.rule for issue in again.issues]
    assert moved.patient == f"Patient/{login.patient_id}"
    assert "IDENTITY" not in [issue.rule for issue in moved.issues]


async def test_a_patient_kept_apart_that_was_deleted_is_made_anew(
    world: World, ctx: Context
) -> None:
    """A ledger record that names a deleted Patient stops no dossier."""
    await commit_dossier(ctx, sending())
    apart = await commit_dossier(ctx, sending(MA_LK="LK-2", HO_TEN="TRẦN VĂN LẠ"))
    kind, _, identity = apart.patient.partition("/")
    await world.perform(
        "delete", resource_type=kind, resource_id=identity, method="DELETE",
        query=(("_cascade", "delete"),),
    )  # fmt: skip

    again = await commit_dossier(
        ctx, sending(MA_LK="LK-3", HO_TEN="TRẦN VĂN LẠ", NGAY_SINH="199500000000")
    )

    assert again.status == "created"
    assert again.patient != apart.patient
