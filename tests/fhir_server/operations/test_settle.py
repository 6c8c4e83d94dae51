"""A level-2 login settles whose a number is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from fhir_server.interactions.audit import access_of
from fhir_server.interactions.audit_event import Sight, audit_event
from fhir_server.interactions.context import Context
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model.identifiers import CCCD
from fhir_server.model.outcome import InvalidValue
from fhir_server.operations.identity import KEPT_APART
from fhir_server.operations.person import kept_apart, put_entry
from fhir_server.operations.settle import Directory, settle
from tests.citizens import NAME, NUMBER, at_once, holder, patient, stored, take, visit
from tests.conftest import World
from tests.fakes.yielding import YieldingStore


@dataclass(frozen=True)
class Claims:
    number: str = NUMBER
    name: str = NAME
    birth_date: str = "1995-03-07"
    gender: str | None = "female"


async def test_a_login_nobody_has_heard_of_makes_the_patient(ctx: Context) -> None:
    """Where nobody holds the number the login makes its Patient, from its claims."""
    settled = await settle(ctx, Claims())

    made = await stored(ctx, settled.patient_id)
    assert await holder(ctx) == settled.patient_id
    assert made["name"][0]["text"] == NAME
    assert (made["birthDate"], made["gender"]) == ("1995-03-07", "female")
    assert made["active"] is True
    assert settled.kept_apart == ()


async def test_a_login_again_changes_nothing(ctx: Context) -> None:
    """The second login of the same person makes no version."""
    first = await settle(ctx, Claims())

    second = await settle(ctx, Claims())

    assert second == first
    assert (await stored(ctx, first.patient_id))["meta"]["versionId"] == "1"


async def test_a_holder_who_agrees_stays_and_is_verified(ctx: Context) -> None:
    """A Patient made by a dossier is the book of the citizen who agrees with it."""
    made = await take(ctx, patient(name="NGUYEN THI MAU", birth="1995"))

    settled = await settle(ctx, Claims())

    known = await stored(ctx, made.patient_id)
    assert settled.patient_id == made.patient_id
    assert (known["name"][0]["text"], known["birthDate"]) == (NAME, "1995-03-07")


async def test_what_vneid_said_is_not_changed_by_a_dossier(ctx: Context) -> None:
    """After a login a dossier changes neither name, birth date nor sex; the difference is said."""
    settled = await settle(ctx, Claims(name="Nguyễn Thị Mẫu"))

    plan = await take(ctx, patient(name="NGUYỄN THỊ MẪU", gender="male"))

    known = await stored(ctx, settled.patient_id)
    assert plan.patient_id == settled.patient_id
    assert known["name"][0]["text"] == "Nguyễn Thị Mẫu"
    assert known["gender"] == "female"
    assert [issue.rule for issue in plan.findings] == ["IDENTITY"]


async def test_the_number_goes_to_the_patient_kept_apart_that_agrees(ctx: Context) -> None:
    """A facility's false holder loses the number to the one who is kept apart and right."""
    false = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await visit(ctx, false.patient_id, "79999", "LK-FALSE")
    apart = await take(ctx, patient(), "01999")

    settled = await settle(ctx, Claims())

    right, former = await stored(ctx, apart.patient_id), await stored(ctx, false.patient_id)
    assert settled.patient_id == apart.patient_id == await holder(ctx)
    assert "link" not in right
    assert "tag" not in right["meta"]
    assert KEPT_APART in former["meta"]["tag"]
    assert former["link"][0]["other"]["reference"] == f"Patient/{apart.patient_id}"
    assert CCCD not in [i["system"] for i in former.get("identifier", ())]
    assert settled.kept_apart == ("79999",)


async def test_else_the_number_goes_to_a_new_patient(ctx: Context) -> None:
    """Where none that is kept apart agrees, the login makes a new Patient with an empty book."""
    false = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await visit(ctx, false.patient_id, "79999", "LK-1")

    settled = await settle(ctx, Claims())

    assert settled.patient_id != false.patient_id
    assert await holder(ctx) == settled.patient_id
    assert settled.kept_apart == ("79999",)


async def test_further_dossiers_of_the_former_holder_stay_with_it(ctx: Context) -> None:
    """After the login the same wrong three go to the former holder, with the warning."""
    false = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await settle(ctx, Claims())

    again = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    right = await take(ctx, patient(), "01999")

    assert again.patient_id == false.patient_id
    assert [issue.rule for issue in again.findings] == ["IDENTITY"]
    assert right.patient_id == await holder(ctx)


async def test_a_holder_settled_before_stays_and_takes_the_new_name(ctx: Context) -> None:
    """Someone whom a login settled keeps the number through a change of name."""
    first = await settle(ctx, Claims())

    second = await settle(ctx, Claims(name="NGUYỄN THỊ MỚI", birth_date="1995-03-08"))

    known = await stored(ctx, first.patient_id)
    assert second.patient_id == first.patient_id
    assert (known["name"][0]["text"], known["birthDate"]) == ("NGUYỄN THỊ MỚI", "1995-03-08")


async def test_another_sex_moves_no_number(ctx: Context) -> None:
    """VNeID's sex is taken over; the holder stays."""
    made = await take(ctx, patient(gender="male"))

    settled = await settle(ctx, Claims())

    assert settled.patient_id == made.patient_id
    assert (await stored(ctx, made.patient_id))["gender"] == "female"


async def test_the_one_who_was_kept_apart_sends_no_more_warnings(ctx: Context) -> None:
    """Once the number is theirs, their facility's visits are no longer told as kept apart."""
    await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await take(ctx, patient(), "01999")
    await settle(ctx, Claims())

    plan = await take(ctx, patient(), "01999")

    assert plan.findings == ()
    assert await kept_apart(ctx.store, NUMBER) == ()


async def test_a_number_that_is_none_is_refused(ctx: Context) -> None:
    """A login without twelve digits settles nothing."""
    with pytest.raises(InvalidValue):
        await settle(ctx, Claims(number="12345678901A"))


@pytest.mark.parametrize(
    ("born", "is_refused"),
    [
        ("2024-01-02", True), ("2024-02", True), ("2025", True), ("9999-12-31", True),
        ("2024-01-01", False), ("2024-01", False), ("2024", False),
    ],
)  # fmt: skip
async def test_nobody_is_born_tomorrow(ctx: Context, born: str, is_refused) -> None:
    """A birth date that is yet to come settles nothing; today's child has a book."""
    if not is_refused:
        assert (await settle(ctx, Claims(birth_date=born))).patient_id
        return
    with pytest.raises(InvalidValue):
        await settle(ctx, Claims(birth_date=born))
    assert await ctx.store.count("Patient") == 0


async def test_any_number_of_twelve_digits_has_a_book(ctx: Context) -> None:
    """The stand-in's person of a number that says a year to come is settled as any other."""
    assert (await settle(ctx, Claims("123456789012", "TRẦN MẪU", "2156-01-01"))).patient_id
    with pytest.raises(InvalidValue):
        await settle(ctx, Claims("123456789013", "TRẦN MẪU", "2157-01-01"))


@pytest.mark.parametrize("order", ["login first", "dossier first"])
async def test_login_and_dossier_in_either_order_make_one_patient(ctx: Context, order: str) -> None:
    """Whoever comes first makes the Patient, the other finds it."""
    if order == "login first":
        login, plan = await settle(ctx, Claims()), await take(ctx, patient())
    else:
        plan, login = await take(ctx, patient()), await settle(ctx, Claims())

    assert login.patient_id == plan.patient_id


async def test_logins_and_dossiers_at_once_make_one_patient(world: World) -> None:
    """Ten logins and ten dossiers of one new person race; one Patient holds the number."""
    ctx = replace(world.context(), store=YieldingStore(world.store))

    logins = [settle(replace(ctx), Claims()) for _ in range(10)]
    dossiers = [take(ctx, patient(), f"{n:05d}") for n in range(10)]
    done = await at_once(*logins, *dossiers)

    assert {one.patient_id for one in done} == {await holder(world.context())}


async def test_racing_logins_move_a_number_once(world: World) -> None:
    """Ten logins against a false holder: one right holder, one former, nobody besides."""
    ctx = replace(world.context(), store=YieldingStore(world.store))
    await take(ctx, patient(name="TRẦN VĂN LẠ"))

    done = await at_once(*(settle(ctx, Claims()) for _ in range(10)))

    assert len({one.patient_id for one in done}) == 1
    assert await world.store.count("Patient") == 2


async def test_twenty_dossiers_race_to_one_patient_with_and_without_number(world: World) -> None:
    """Dossiers of one new person from twenty facilities at once make one Patient each time."""
    ctx = replace(world.context(), store=YieldingStore(world.store))
    card = "DN4010123456789"

    by_number = await at_once(*(take(ctx, patient(card=card), f"{n:05d}") for n in range(20)))
    by_card = await at_once(
        *(take(ctx, patient(number="", name="TRẦN A", card="HS4010000000025"), f"{n:05d}")
          for n in range(20))
    )  # fmt: skip

    assert len({plan.patient_id for plan in by_number}) == 1
    assert len({plan.patient_id for plan in by_card}) == 1
    assert await world.store.count("Patient") == 2


async def test_a_login_leaves_one_audit_event(ctx: Context) -> None:
    """Settling is an access, and says whose, and that the server did it for a log-in."""
    settled = await settle(ctx, Claims())

    entries = await ctx.store.audit(patient=settled.patient_id)
    assert len(entries) == 1
    assert "VNeID" in access_of(entries[0].body).display


async def test_a_login_that_changes_nothing_is_no_update(ctx: Context) -> None:
    """The AuditEvent of the first says update, that of the next says login; all are in the book."""
    logins = (Claims(), Claims(), Claims(name="Nguyễn Thị Mới"))
    (settled, *_) = [(await settle(ctx, one)).patient_id for one in logins]

    entries = await ctx.store.audit(patient=settled)
    events = [audit_event(one, Sight(None)) for one in sorted(entries, key=lambda e: e.seq)]

    assert [event["subtype"][0]["code"] for event in events] == ["update", "login", "update"]
    assert [event["action"] for event in events] == ["U", "E", "U"]
    assert [event["outcome"] for event in events] == ["0", "0", "0"]


async def test_children_are_those_of_verified_links(world: World) -> None:
    """A verified RelatedPerson makes a child the guardian's; an unproved one does not."""
    ctx = world.context()
    child = await take(ctx, patient(number="", name="TRẦN BẢO MẪU", birth="2024-05-01"))
    for link, verified in (("link-1", True), ("link-2", False)):
        related = {
            "resourceType": "RelatedPerson",
            "extension": [
                {
                    "url": "https://fhir-server.example/fhir/StructureDefinition/verified",
                    "valueBoolean": verified,
                }
            ],
            "identifier": [{"system": CCCD, "value": NUMBER if verified else "001093054321"}],
            "active": True,
            "patient": {"reference": f"Patient/{child.patient_id}"},
        }
        entry = put_entry("RelatedPerson", link, related, 0)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
        await run_transaction(ctx, bundle)
    directory = Directory(world.context)

    (own,) = await directory.children(NUMBER)
    none = await directory.children("001093054321")

    assert (own.patient_id, own.link_id, own.name) == (child.patient_id, "link-1", "TRẦN BẢO MẪU")
    assert none == ()
