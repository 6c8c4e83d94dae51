"""Whose a dossier is."""

from __future__ import annotations

import pytest

from fhir_server.interactions.context import Context
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model.identifiers import BHYT, CCCD, DRAFT
from fhir_server.operations.identity import KEPT_APART, identity_of
from fhir_server.operations.person import find_or_make, kept_apart, moved_away
from tests.citizens import NAME, NUMBER, at_once, holder, patient, stored, take, visit

CARD = "DN4010123456789"


async def test_a_number_never_seen_makes_a_patient_that_holds_it(ctx: Context) -> None:
    """The first dossier of a number makes the Patient that holds it."""
    plan = await take(ctx, patient())

    assert plan.is_new
    assert await holder(ctx) == plan.patient_id
    assert plan.findings == ()


@pytest.mark.parametrize(
    ("name", "birth"),
    [
        (NAME, "1995-03-07"),
        ("nguyễn thị mẫu", "1995-03-07"),
        ("NGUYEN  THI MAU", "1995-03-07"),
        (NAME, "1995"),
    ],
    ids=["the same", "lower case", "no marks", "birth year"],
)
async def test_the_holder_is_found_by_number_with_equal_name_and_birth_date(
    ctx: Context, name: str, birth: str
) -> None:
    """Case and marks do not count in a name, and a birth year equals any date in it."""
    first = await take(ctx, patient())

    second = await take(ctx, patient(name=name, birth=birth), "79999")

    assert second.patient_id == first.patient_id
    assert not second.is_new
    assert (await stored(ctx, first.patient_id))["birthDate"] == "1995-03-07"


async def test_a_birth_year_on_record_is_completed_by_a_date(ctx: Context) -> None:
    """A holder known by birth year takes the date in that year."""
    first = await take(ctx, patient(birth="1995"))

    second = await take(ctx, patient())

    assert second.patient_id == first.patient_id
    assert (await stored(ctx, first.patient_id))["birthDate"] == "1995-03-07"


async def test_a_name_without_marks_takes_its_marks(ctx: Context) -> None:
    """The same name written with its marks replaces the one without; not the other way."""
    first = await take(ctx, patient(name="NGUYEN THI MAU"))

    await take(ctx, patient())
    await take(ctx, patient(name="NGUYEN THI MAU"))

    assert (await stored(ctx, first.patient_id))["name"][0]["text"] == NAME


@pytest.mark.parametrize(
    ("name", "birth"),
    [("TRẦN VĂN LẠ", "1995-03-07"), (NAME, "1995-03-08"), (NAME, "1996")],
    ids=["another name", "another birth date", "another birth year"],
)
async def test_a_known_number_of_another_person_is_kept_apart(
    ctx: Context, name: str, birth: str
) -> None:
    """The Patient is made without the number, flagged, linked, and the receipt warns IDENTITY."""
    first = await take(ctx, patient())

    apart = await take(ctx, patient(name=name, birth=birth, card=CARD), "79999")

    kept = await stored(ctx, apart.patient_id)
    assert apart.patient_id != first.patient_id
    assert [(issue.rule, issue.severity) for issue in apart.findings] == [("IDENTITY", "warning")]
    assert [i["system"] for i in kept["identifier"]] == [BHYT]
    assert KEPT_APART in kept["meta"]["tag"]
    assert kept["link"] == [
        {"other": {"reference": f"Patient/{first.patient_id}"}, "type": "seealso"}
    ]
    assert await holder(ctx) == first.patient_id
    assert await kept_apart(ctx.store, NUMBER) == ("79999",)


async def test_the_holders_own_patient_shows_nothing_of_one_kept_apart(ctx: Context) -> None:
    """A mistyped number changes nothing of its holder, and joins no compartment of the holder's."""
    first = await take(ctx, patient())
    before = await stored(ctx, first.patient_id)

    apart = await take(ctx, patient(name="TRẦN VĂN LẠ"))

    version = await ctx.store.read("Patient", apart.patient_id)
    assert await stored(ctx, first.patient_id) == before
    assert version is not None
    assert version.patients == (apart.patient_id,)


async def test_further_dossiers_of_the_same_three_go_to_the_same_patient(ctx: Context) -> None:
    """Number, name and birth date the same: one Patient kept apart, whoever sends."""
    await take(ctx, patient())
    first = await take(ctx, patient(name="TRẦN VĂN LẠ"), "01999")

    again = await take(ctx, patient(name="tran van la"), "79999")
    by_year = await take(ctx, patient(name="Trần Văn Lạ", birth="1995"), "79999")
    other = await take(ctx, patient(name="TRẦN VĂN LẠ", birth="1990-01-01"))

    assert first.patient_id == again.patient_id == by_year.patient_id
    assert other.patient_id != first.patient_id
    assert await kept_apart(ctx.store, NUMBER) == ("01999", "79999")
    assert [issue.rule for issue in again.findings] == ["IDENTITY"]


async def test_a_corrected_visit_goes_to_the_holder_and_is_no_longer_told(ctx: Context) -> None:
    """Corrected, the visit is the holder's; with its last one the sender is forgotten."""
    first = await take(ctx, patient())
    apart = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await visit(ctx, apart.patient_id, "79999", "LK-1")

    corrected = await take(ctx, patient(), "79999", current=apart.patient_id)
    puts = await moved_away(ctx, apart.patient_id, facility="79999", encounter_id="79999-LK-1")

    assert corrected.patient_id == first.patient_id
    assert [put.value for put in puts] == [None]


async def test_a_sender_with_another_visit_there_is_still_told(ctx: Context) -> None:
    """While another visit of the sender is kept apart, the sender stays on the list."""
    await take(ctx, patient())
    apart = await take(ctx, patient(name="TRẦN VĂN LẠ"), "79999")
    await visit(ctx, apart.patient_id, "79999", "LK-1")
    await visit(ctx, apart.patient_id, "79999", "LK-2")

    puts = await moved_away(ctx, apart.patient_id, facility="79999", encounter_id="79999-LK-1")

    assert puts == ()


async def test_another_sex_is_only_a_warning(ctx: Context) -> None:
    """Sex alone makes nobody another person; the record keeps its own."""
    first = await take(ctx, patient())

    second = await take(ctx, patient(gender="male"))

    assert second.patient_id == first.patient_id
    assert [(i.rule, i.severity, i.field) for i in second.findings] == [
        ("IDENTITY", "warning", "XML1.GIOI_TINH")
    ]
    assert (await stored(ctx, first.patient_id))["gender"] == "female"


async def test_an_inactive_patient_holds_no_number(ctx: Context) -> None:
    """A number goes to an active Patient; one that was set inactive does not keep it."""
    first = await take(ctx, patient() | {"active": False})

    second = await take(ctx, patient())

    assert second.patient_id != first.patient_id
    assert await holder(ctx) == second.patient_id


async def test_the_drafts_system_names_the_same_number(ctx: Context) -> None:
    """A Patient whose number stands under the Ministry draft's system is its holder."""
    drafted = patient()
    drafted["identifier"][0]["system"] = f"{DRAFT}/national_id"
    first = await take(ctx, drafted)

    second = await take(ctx, patient())

    assert second.patient_id == first.patient_id
    assert identity_of(drafted).number == NUMBER


# Without a number


async def test_a_card_on_file_finds_a_person_with_the_same_name_and_birth_date(
    ctx: Context,
) -> None:
    """Without a number the card finds its person, also at another facility."""
    first = await take(ctx, patient(card=CARD))

    second = await take(ctx, patient(number="", card=CARD), "79999")

    assert second.patient_id == first.patient_id


@pytest.mark.parametrize(
    ("name", "birth"), [("TRẦN VĂN LẠ", "1995-03-07"), (NAME, "2001-01-01")], ids=["name", "birth"]
)
async def test_a_card_alone_finds_nobody(ctx: Context, name: str, birth: str) -> None:
    """A card of another name or birth date is another person's."""
    first = await take(ctx, patient(card=CARD))

    second = await take(ctx, patient(number="", name=name, birth=birth, card=CARD))

    assert second.patient_id != first.patient_id
    assert second.is_new


async def test_a_card_of_a_coverage_finds_its_beneficiary(ctx: Context) -> None:
    """A card on file may stand on the Coverage alone."""
    first = await take(ctx, patient())
    coverage = {
        "resourceType": "Coverage",
        "id": "c1",
        "identifier": [{"system": BHYT, "value": CARD}],
        "status": "active",
        "beneficiary": {"reference": f"Patient/{first.patient_id}"},
        "payor": [{"display": "BHXH"}],
    }
    request = {"method": "PUT", "url": "Coverage/c1"}
    entry = {"resource": coverage, "request": request}
    await run_transaction(ctx, {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})

    second = await take(ctx, patient(number="", card=CARD))

    assert second.patient_id == first.patient_id


async def test_the_facilitys_own_number_finds_a_person(ctx: Context) -> None:
    """MA_BN finds a person of the same name and birth date, at that facility alone."""
    first = await take(ctx, patient(number="", own=("01999", "BN-1")))

    same = await take(ctx, patient(number="", own=("01999", "BN-1")))
    elsewhere = await take(ctx, patient(number="", own=("79999", "BN-1")), "79999")
    renamed = await take(ctx, patient(number="", name="TRẦN VĂN LẠ", own=("01999", "BN-1")))

    assert same.patient_id == first.patient_id
    assert len({first.patient_id, elsewhere.patient_id, renamed.patient_id}) == 3


async def test_a_name_alone_finds_nobody(ctx: Context) -> None:
    """Name and birth date without a paper make a new Patient each time."""
    first = await take(ctx, patient(number=""))

    second = await take(ctx, patient(number=""))

    assert second.patient_id != first.patient_id


async def test_a_visit_sent_again_stays_with_its_patient(ctx: Context) -> None:
    """A corrected sending of the same visit, without any paper, makes no new Patient."""
    first = await take(ctx, patient(number=""))

    second = await take(ctx, patient(number=""), current=first.patient_id)

    assert second.patient_id == first.patient_id


async def test_a_number_comes_to_the_person_known_by_the_card(ctx: Context) -> None:
    """A number that nobody holds goes to the Patient of the same card, name and birth date."""
    first = await take(ctx, patient(number="", card=CARD))

    second = await take(ctx, patient(card=CARD))

    assert second.patient_id == first.patient_id
    assert await holder(ctx) == first.patient_id


async def test_a_card_never_joins_two_numbers(ctx: Context) -> None:
    """Two numbers with one card, name and birth date are two persons."""
    first = await take(ctx, patient(card=CARD))

    second = await take(ctx, patient(number="001195999999", card=CARD))

    assert second.patient_id != first.patient_id
    assert await holder(ctx, "001195999999") == second.patient_id


async def test_a_patient_kept_apart_takes_no_number(ctx: Context) -> None:
    """A right number that nobody holds makes its own holder, not of one who is kept apart."""
    await take(ctx, patient())
    apart = await take(ctx, patient(name="TRẦN VĂN LẠ", card=CARD))

    right = await take(ctx, patient(number="001195777777", name="TRẦN VĂN LẠ", card=CARD))

    assert right.patient_id != apart.patient_id
    assert await holder(ctx, "001195777777") == right.patient_id


# Races


async def test_twenty_dossiers_of_one_new_person_make_one_patient(ctx: Context) -> None:
    """Whoever is first makes the Patient; all the others find it."""
    plans = await at_once(*(take(ctx, patient(), f"{n:05d}") for n in range(20)))

    assert len({plan.patient_id for plan in plans}) == 1
    assert await holder(ctx) == plans[0].patient_id


async def test_twenty_dossiers_of_one_card_make_one_patient(ctx: Context) -> None:
    """The same without a number, by the card."""
    said = patient(number="", card=CARD)

    plans = await at_once(*(take(ctx, said, f"{n:05d}") for n in range(20)))

    assert len({plan.patient_id for plan in plans}) == 1


async def test_racing_mistyped_dossiers_are_kept_apart_together(ctx: Context) -> None:
    """Dossiers of the same wrong three at once make one Patient kept apart."""
    await take(ctx, patient())

    said = patient(name="TRẦN VĂN LẠ")
    plans = await at_once(*(take(ctx, said, f"{n:05d}") for n in range(20)))

    assert len({plan.patient_id for plan in plans}) == 1
    assert len(await kept_apart(ctx.store, NUMBER)) == 20


async def test_nothing_is_written_while_a_person_is_only_looked_for(ctx: Context) -> None:
    """find_or_make plans; the store is as before."""
    await find_or_make(ctx, patient(), facility="01999")

    assert await holder(ctx) is None
    assert await ctx.store.count("Patient") == 0


async def test_a_dossier_adds_and_never_takes_away(ctx: Context) -> None:
    """Cards and addresses come together; what a poorer dossier does not say stays."""
    first = await take(ctx, patient(card=CARD, address=[{"text": "1 Phố Mẫu"}]))

    await take(ctx, patient(card="GD4010123456780"))

    kept = await stored(ctx, first.patient_id)
    assert {i["value"] for i in kept["identifier"]} == {NUMBER, CARD, "GD4010123456780"}
    assert kept["address"] == [{"text": "1 Phố Mẫu"}]
    assert kept["identifier"][0]["system"] == CCCD


async def test_the_same_person_again_makes_no_version(ctx: Context) -> None:
    """A dossier that says nothing new of its person leaves the Patient as it is."""
    first = await take(ctx, patient(card=CARD))

    second = await take(ctx, patient(card=CARD), "79999")

    assert second.entries == ()
    assert (await stored(ctx, first.patient_id))["meta"]["versionId"] == "1"
