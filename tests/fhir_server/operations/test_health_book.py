"""`Patient/[id]/$health-book`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec, reference
from fhir_server.model.identifiers import NS
from fhir_server.model.outcome import Forbidden, UnknownResource
from fhir_server.operations.table import OPERATIONS
from fhir_server.validation.structure import validate
from tests.conftest import World, citizen
from tests.fhir_server.operations import record

Resource = dict[str, Any]


async def book(world: World, identity: str = "mother", principal: Principal = SYSTEM) -> Resource:
    """Ask for a book."""
    ctx = replace(world.context(principal), operations=OPERATIONS)
    request = FhirRequest(
        "operation", resource_type="Patient", resource_id=identity, operation="$health-book"
    )
    return codec.loads((await perform(ctx, request)).body or b"")


async def put_all(world: World, *resources: Resource) -> None:
    """Store resources under their own ids."""
    for one in resources:
        await world.put(one)


def sections(document: Resource) -> dict[str, Resource]:
    """Return the Composition's sections by code."""
    return {
        one["code"]["coding"][0]["code"]: one for one in document["entry"][0]["resource"]["section"]
    }


def names(document: Resource) -> set[str]:
    """Return `Type/id` of everything in the document."""
    return {f"{e['resource']['resourceType']}/{e['resource']['id']}" for e in document["entry"]}


async def test_the_book_has_four_sections_in_order_in_two_languages(world: World) -> None:
    """The Composition comes first; its sections have the official order, titles and codes."""
    await put_all(world, *record.people(), *record.visit())

    document = await book(world)

    composition = document["entry"][0]["resource"]
    assert (document["type"], composition["resourceType"]) == ("document", "Composition")
    assert [one["title"] for one in composition["section"]] == [
        "Hành chính",
        "Tiền sử",
        "Từng đợt khám chữa bệnh",
        "Tóm tắt",
    ]
    assert list(sections(document)) == ["admin", "history", "visits", "summary"]
    assert composition["section"][0]["code"]["coding"][0]["system"] == (
        f"{NS}/CodeSystem/book-section"
    )
    for one in composition["section"]:
        translation = one["_title"]["extension"][0]
        assert translation["url"] == "http://hl7.org/fhir/StructureDefinition/translation"
        assert {"url": "lang", "valueCode": "en"} in translation["extension"]


async def test_the_book_is_a_valid_document_and_whole(world: World) -> None:
    """It has identifier, timestamp and fullUrls, is valid, and every reference resolves in it."""
    await put_all(world, *record.people(), *record.visit())

    document = await book(world)

    errors = [issue for issue in validate(document) if issue.severity == "error"]
    assert errors == []
    assert document["identifier"]["value"]
    assert document["timestamp"].endswith("+07:00")
    urls = {entry["fullUrl"] for entry in document["entry"]}
    base = "http://testserver/fhir"
    for entry in document["entry"]:
        for element in reference.walk(entry["resource"]):
            assert f"{base}/{element['reference']}" in urls


async def test_visits_come_newest_first_with_what_belongs_to_them(world: World) -> None:
    """Each visit is a sub-section that refers to its Encounter, diagnosis, drug and result."""
    old = record.visit("old", "2022-05-01T08:00:00+07:00", "2022-05-01T09:00:00+07:00")
    await put_all(world, *record.people(), *record.visit("new"), *old)

    document = await book(world)

    visits = sections(document)["visits"]["section"]
    assert [one["entry"][0]["reference"] for one in visits] == ["Encounter/new", "Encounter/old"]
    assert [e["reference"] for e in visits[0]["entry"]] == [
        "Encounter/new",
        "Condition/new-J029",
        "MedicationRequest/new-drug",
        "Observation/new-glucose",
    ]
    assert "Viêm họng cấp (J02.9)" in visits[0]["text"]["div"]
    assert "Bệnh viện Đa khoa Mẫu Hà Nội" in visits[0]["title"]
    assert "5.40 mmol/L" in visits[0]["text"]["div"]


async def test_an_empty_book_says_why_its_sections_are_empty(world: World) -> None:
    """A person without visits has a book; history, visits and summary have an emptyReason."""
    await put_all(world, record.patient())

    document = await book(world)

    assert [code for code, section in sections(document).items() if "emptyReason" in section] == [
        "history",
        "visits",
        "summary",
    ]
    assert names(document) - {f"Composition/{document['entry'][0]['resource']['id']}"} == {
        "Patient/mother"
    }
    assert [issue for issue in validate(document) if issue.severity == "error"] == []


async def test_a_withdrawn_visit_is_left_out_with_all_of_it(world: World) -> None:
    """What is entered in error, and what belongs to such a visit, is not in the book."""
    withdrawn = record.visit("gone", "2023-01-01T08:00:00+07:00", "2023-01-01T09:00:00+07:00")
    withdrawn[0]["status"] = "entered-in-error"
    await put_all(world, *record.people(), *record.visit(), *withdrawn)

    document = await book(world)

    assert not [name for name in names(document) if "gone" in name]


async def test_nothing_of_another_is_in_the_book(world: World) -> None:
    """What is about another Patient is left out for every caller, though a visit names it."""
    theirs = [
        record.condition("v1", "B20", "X", of="other"),
        record.condition("v2", "A01", "Y", of="other"),
        record.result("v1", "Secret", of="other")
        | {"performer": [{"reference": "Patient/mother"}]},
    ]
    named = [{"condition": {"reference": f"Condition/{one}"}} for one in ("v1-B20", "v1-J029")]
    await put_all(
        world,
        *record.people(),
        record.patient("other", identifier=[{"system": "urn:x", "value": "2"}]),
        record.encounter("v2", "2023-01-01T08:00:00+07:00", None, of="other"),
        *record.visit(),
        *theirs,
    )
    await world.put(record.visit(diagnosis=named)[0])
    await world.put(record.drug("v1") | {"encounter": {"reference": "Encounter/v2"}})

    document = await book(world)

    assert {"Encounter/v1", "Condition/v1-J029", "MedicationRequest/v1-drug"} <= names(document)
    assert names(document).isdisjoint({
        "Condition/v1-B20", "Condition/v2-A01", "Encounter/v2", "Observation/v1-secret",
    })  # fmt: skip
    assert "B20" not in str(sections(document))


async def test_the_summary_is_marked_as_derived(world: World) -> None:
    """A summary that nobody wrote says so."""
    await put_all(world, *record.people(), *record.visit())

    summary = sections(await book(world))["summary"]

    assert {"url": f"{NS}/StructureDefinition/derived", "valueBoolean": True} in summary[
        "extension"
    ]


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "]]>&lt;b&gt;"]
)
async def test_no_markup_from_the_record_reaches_the_narrative(world: World, hostile: str) -> None:
    """Names and notes are escaped in the narrative."""
    person = record.patient(name=[{"text": hostile}])
    visit = record.encounter(
        "v1", "2023-11-20T08:15:00+07:00", None, reasonCode=[{"text": hostile}]
    )
    await put_all(world, *record.people()[1:], person, visit, record.drug("v1", f"Thuốc {hostile}"))

    document = await book(world)

    divs = codec.dumps(document["entry"][0]["resource"]).decode()
    assert "<script" not in divs
    assert "<img" not in divs
    assert "<b>alert" not in divs
    assert [issue for issue in validate(document) if issue.severity == "error"] == []


async def test_a_citizen_reads_the_own_book_only(world: World) -> None:
    """The citizen's own token opens the own book; another's is unknown, as a missing one is."""
    await put_all(
        world,
        *record.people(),
        *record.visit(),
        record.patient("other", identifier=[{"system": "urn:x", "value": "2"}]),
    )

    own = await book(world, principal=citizen("mother"))

    assert "Encounter/v1" in names(own)
    assert "Organization/org-01999" in names(own)
    texts = []
    for identity in ("other", "never"):
        with pytest.raises(UnknownResource) as refusal:
            await book(world, identity, citizen("mother"))
        texts.append(str(refusal.value).replace(identity, "id"))
    assert texts[0] == texts[1]


async def test_nobody_elses_person_comes_in_by_a_link(world: World) -> None:
    """A Patient that the person's Patient links to is not in the book."""
    apart = record.patient("apart", identifier=[{"system": "urn:x", "value": "2"}])
    person = record.patient(link=[{"other": {"reference": "Patient/apart"}, "type": "seealso"}])
    await put_all(world, apart, person)

    assert "Patient/apart" not in names(await book(world))


async def test_a_payer_may_not_read_a_book(world: World) -> None:
    """The operation is not granted to an insurer."""
    await put_all(world, *record.people())
    payer = Principal(
        kind="payer", client_id="insurer-bhxh", code="BHXH", scopes=("system/*.cruds",)
    )

    with pytest.raises(Forbidden):
        await book(world, principal=payer)
