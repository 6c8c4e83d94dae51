"""Where else a Patient was is hidden from a facility, and an update does not take it away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.elsewhere import left_as_it_was, without_elsewhere
from fhir_server.interactions.perform import perform_with
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD, MA_BN, MA_CSKCB, extension
from tests.conftest import FACILITY, OTHER, World, citizen
from tests.fhir_server.interactions.test_transaction import bundle, entry

DOCTOR = replace(FACILITY, kind="practitioner", client_id="bs", scopes=("user/*.cruds",))


def number(code: str) -> dict[str, Any]:
    """Return a facility's own number of a Patient, as the mapping makes it."""
    assigner = {"identifier": {"system": MA_CSKCB, "value": code}}
    return {"system": MA_BN + code, "value": f"BN-{code}", "assigner": assigner}


def note(code: str) -> dict[str, Any]:
    """Return an extension that names a facility."""
    named = {"identifier": {"value": code, "system": MA_CSKCB}}
    return {"url": extension("registered-at"), "valueReference": named}


PAPERS = [{"system": CCCD, "value": "001195012345"}, {"system": BHYT, "value": "DN4010123456789"}]
PERSON: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "p",
    "name": [{"text": "NGUYỄN THỊ MẪU"}],
    "birthDate": "1995-03-07",
}
SEEN = PERSON | {"extension": [note("01999")], "identifier": [*PAPERS, number("01999")]}


@pytest.fixture
async def shared(world: World) -> str:
    """A Patient whom 01999 wrote, with what `system` added of 79999, and its visits at both."""
    made = entry("POST", "Patient", SEEN, ifNoneExist=f"identifier={CCCD}|001195012345")
    answered = await world.transaction(bundle(made), FACILITY)
    identity: str = answered["entry"][0]["response"]["location"].split("/")[-3]
    whole = {
        "extension": [note("79999"), note("01999")],
        "identifier": [*PAPERS, number("79999"), number("01999")],
    }
    await world.put(PERSON | whole | {"id": identity})
    return identity


def said(result: FhirResult) -> str:
    """Return all that an answer shows."""
    parts = [result.body or b"", result.version.body if result.version else b""]
    parts.append(codec.dumps(result.resource) if result.resource else b"")
    return b"".join(parts).decode()


@pytest.mark.parametrize(
    ("words", "is_found"),
    [("001195012345", True), ("DN4010123456789", True), ("BN", False), ("79999", False)],
)
async def test_no_word_tells_of_another_facility(
    world: World, shared: str, words: str, *, is_found: bool
) -> None:
    """`_content` finds papers, and no number by which one facility alone knows a Patient."""
    result = await world.perform(
        "search-type", FACILITY, resource_type="Patient", query=(("_content", words),)
    )

    assert (f"Patient/{shared}" in said(result)) is is_found


@pytest.mark.parametrize("caller", [FACILITY, DOCTOR], ids=["facility", "practitioner"])
@pytest.mark.parametrize(
    ("interaction", "fields"),
    [
        ("read", {"resource_id": "p"}),
        ("vread", {"resource_id": "p", "version_id": "2"}),
        ("history-instance", {"resource_id": "p"}),
        ("search-type", {"query": (("birthdate", "1995-03-07"),)}),
    ],
)
async def test_numbers_of_others_are_hidden_on_every_way_out(
    world: World, shared: str, interaction: str, fields: dict[str, Any], caller: Any
) -> None:
    """Read, old version, history, search: own number and papers are there, another's are not."""
    if "resource_id" in fields:
        fields = fields | {"resource_id": shared}

    shown = said(await world.perform(interaction, caller, resource_type="Patient", **fields))

    assert "BN-01999" in shown
    assert "001195012345" in shown
    assert "79999" not in shown


async def test_in_a_bundle_that_is_answered_they_are_hidden(world: World, shared: str) -> None:
    """An entry of a batch, a search in it, and what an operation composes."""
    name = f"Patient/{shared}"
    batch = bundle(entry("GET", name), entry("GET", "Patient?birthdate=1995-03-07"), kind="batch")

    answered = codec.dumps(await world.transaction(batch, FACILITY)).decode()

    async def compose(within: Any, _request: FhirRequest) -> FhirResult:
        version = await within.store.read("Patient", shared)
        inner = {"resourceType": "Bundle", "type": "document", "entry": [
            {"resource": codec.loads(version.body)}
        ]}  # fmt: skip
        return FhirResult(resource=inner)

    request = FhirRequest("submission-read", url="/x")
    composed = said(await perform_with(world.context(FACILITY), request, compose))

    for shown in (answered, composed):
        assert "BN-01999" in shown
        assert "79999" not in shown


async def test_who_is_no_facility_sees_all(world: World, shared: str) -> None:
    """The citizen and `system` see every number."""
    for caller in (citizen(shared), replace(OTHER, kind="system", code="")):
        result = await world.perform("read", caller, resource_type="Patient", resource_id=shared)
        assert "BN-79999" in said(result)


async def test_another_facilitys_number_cannot_be_asked_for(world: World, shared: str) -> None:
    """A search by it finds nothing, by the own number the Patient."""
    found = {}
    for code in ("01999", "79999"):
        query = (("identifier", f"{MA_BN}{code}|BN-{code}"),)
        result = await world.perform("search-type", FACILITY, resource_type="Patient", query=query)
        found[code] = codec.loads(result.body or b"")["total"]

    assert found == {"01999": 1, "79999": 0}


async def test_no_word_tells_where_else_a_patient_was(world: World, shared: str) -> None:
    """Of what may be hidden no word is found, nor missed: of nobody's numbers and extensions."""
    found = {}
    named = note("79999")
    named["valueReference"]["display"] = "Viện Sáu"
    stored = await world.store.read("Patient", shared)
    assert stored is not None
    whole = codec.loads_stored(stored.body)
    await world.put(whole | {"extension": [*whole["extension"], named]})
    for words in ("mẫu", "79999", "01999", "BN", "viện sáu", "NOT 79999"):
        query = (("_content", words),)
        result = await world.perform("search-type", FACILITY, resource_type="Patient", query=query)
        found[words] = codec.loads(result.body or b"")["total"]

    assert found == {"mẫu": 1, "79999": 0, "01999": 0, "BN": 0, "viện sáu": 0, "NOT 79999": 1}


async def test_an_update_does_not_take_away_what_is_hidden(world: World) -> None:
    """What was read and is sent back is no version; what is changed leaves the hidden there."""
    noted = SEEN | {"extension": [note("79999"), note("01999")]}
    made = entry("POST", "Patient", noted, ifNoneExist=f"identifier={CCCD}|001195012345")
    answered = await world.transaction(bundle(made), FACILITY)
    identity = answered["entry"][0]["response"]["location"].split("/")[-3]
    read = await world.perform("read", FACILITY, resource_type="Patient", resource_id=identity)
    seen = codec.loads(read.version.body if read.version else b"")

    back = await world.put(seen, FACILITY)
    phone = {"telecom": [{"system": "phone", "value": "0900000123"}]}
    changed = await world.put({k: seen[k] for k in seen if k != "extension"} | phone, FACILITY)

    version = await world.store.read("Patient", identity)
    assert version is not None
    assert back.version is not None
    assert (back.version.version_id, version.version_id) == (1, 2)
    assert seen["extension"] == [note("01999")]
    assert "79999" not in said(back) + said(changed)
    assert codec.loads(version.body)["extension"] == [note("79999")]
    assert codec.loads(version.body)["telecom"] == phone["telecom"]


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        ([*PAPERS, number("01999")], [*PAPERS, number("79999"), number("01999")]),
        (PAPERS, [*PAPERS, number("79999")]),
        ([], [number("79999")]),
        ([number("79999")], [number("79999")]),
        ("not a list", "not a list"),
    ],
)
def test_hidden_numbers_stay_where_they_are(asked: Any, left: Any) -> None:
    """Equal but for what is hidden is equal; else what is hidden comes last, once."""
    stored = PERSON | {"identifier": [*PAPERS, number("79999"), number("01999")]}

    made = left_as_it_was(PERSON | {"identifier": asked}, codec.dumps(stored), "01999")

    assert made["identifier"] == left


def test_a_paper_given_by_another_facility_is_shown() -> None:
    """A citizen number is nobody's secret; a number of any other system is its giver's."""
    given = {"assigner": {"identifier": {"system": MA_CSKCB, "value": "79999"}}}
    person = PERSON | {"identifier": [PAPERS[0] | given, {"system": "urn:x", "value": "7"} | given]}

    shown = without_elsewhere(FhirResult(resource=person), "01999").resource or {}

    assert [one["system"] for one in shown["identifier"]] == [CCCD]


def test_bytes_without_anothers_name_are_not_touched() -> None:
    """The usual answer goes out as it is stored."""
    body = codec.dumps(PERSON | {"identifier": [*PAPERS, number("01999")]})

    assert without_elsewhere(FhirResult(body=body), "01999").body is body
    assert left_as_it_was(PERSON, body, "01999") is PERSON
