"""What people read of a record: values out of resources of many shapes."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from fhir_server.model.identifiers import MA_CSKCB, extension
from fhir_server.operations.book.read import book_of
from tests.fhir_server.operations import record

Resource = dict[str, Any]


def one_visit(*more: Resource, **changed: Any) -> Any:
    """Read a book of one visit with these beside it."""
    visit = record.encounter(
        "v1", "2023-11-20T08:15:00+07:00", "2023-11-20T09:50:00+07:00", **changed
    )
    return book_of(record.patient(), [*record.people()[1:], visit, *more]).visits[0]


def test_diagnoses_come_in_the_encounters_ranks() -> None:
    """The main one is the first in rank, whatever the order of the Conditions."""
    ranked = [
        {"condition": {"reference": "Condition/v1-I10"}, "rank": 2},
        {"condition": {"reference": "Condition/v1-J029"}, "rank": 1},
    ]

    visit = one_visit(
        record.condition("v1", "I10", "Tăng huyết áp"),
        record.condition("v1", "J02.9"),
        record.condition("v1", "E78.5", "Rối loạn mỡ máu"),
        diagnosis=ranked,
    )

    assert [one.code for one in visit.diagnoses] == ["J02.9", "I10", "E78.5"]
    assert visit.main.text == "Viêm họng cấp"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"valueQuantity": {"value": 5, "unit": "g/L", "comparator": "<"}}, "<5 g/L"),
        ({"valueQuantity": {"value": 5, "code": "mg"}}, "5 mg"),
        ({"valueString": "Âm tính"}, "Âm tính"),
        ({"valueCodeableConcept": {"text": "O+"}}, "O+"),
        ({"valueCodeableConcept": {"coding": [{"code": "x", "display": "Có"}]}}, "Có"),
        ({"valueInteger": 3}, "3"),
        ({"valueQuantity": {}}, ""),
        ({}, ""),
        (
            {
                "component": [
                    {"code": {"text": "Tâm thu"}, "valueQuantity": {"value": 120}},
                    {"code": {"text": "Tâm trương"}, "valueQuantity": {"value": 80}},
                ]
            },
            "Tâm thu 120; Tâm trương 80",
        ),
    ],
)
def test_every_kind_of_value_is_read(value: Resource, text: str) -> None:
    """Quantities with unit and comparator, texts, codes, components; none is empty."""
    observation = record.result("v1")
    del observation["valueQuantity"]

    assert one_visit(observation | value).results[0].value == text


def test_a_drugs_instruction_is_not_said_twice() -> None:
    """Dosage.text holds the whole; the strength is added where the name lacks it."""
    drug = record.drug("v1", "Paracetamol")
    drug["extension"] = [{"url": extension("strength"), "valueString": "500mg"}]
    drug["dosageInstruction"] = [
        {"text": "1 viên/lần; Uống sau ăn", "patientInstruction": "Uống sau ăn"}
    ]

    (read,) = one_visit(drug).drugs

    assert (read.name, read.dose, read.instruction, read.quantity) == (
        "Paracetamol 500mg",
        "1 viên/lần",
        "Uống sau ăn",
        "15 Viên",
    )


def test_a_drug_by_reference_is_named_by_its_medication() -> None:
    """MedicationReference leads to the Medication's code."""
    drug = record.drug("v1")
    del drug["medicationCodeableConcept"]
    drug["medicationReference"] = {"reference": "Medication/m"}
    medication = {"resourceType": "Medication", "id": "m", "code": {"text": "Amoxicilin"}}

    assert one_visit(drug, medication).drugs[0].name == "Amoxicilin"


def test_a_facility_named_by_its_code_alone_is_found_among_those_known() -> None:
    """A logical reference takes the name that the book knows, else the code."""
    known = one_visit(serviceProvider={"identifier": {"system": MA_CSKCB, "value": "79999"}})
    unknown = one_visit(serviceProvider={"identifier": {"system": MA_CSKCB, "value": "01001"}})

    assert known.facility == "Bệnh viện Mẫu Thành phố Hồ Chí Minh"
    assert (unknown.facility, unknown.facility_code) == ("01001", "01001")


def test_cards_tell_level_period_and_facility() -> None:
    """The benefit digit gives the level; the facility of registration is named."""
    registered = {
        "url": extension("primary-care-facility"),
        "valueReference": {"identifier": {"system": MA_CSKCB, "value": "01999"}},
    }
    card = record.coverage(extension=[registered])

    (read,) = book_of(record.patient(), [card, record.organization("01999", "BV Mẫu")]).cards

    assert (read.level, read.facility) == (80, "BV Mẫu")
    assert read.holds(date(2026, 12, 31))
    assert not read.holds(date(2027, 1, 1))


def test_appointments_tell_where_they_come_from() -> None:
    """An Appointment without a place is at the facility of the visit that asked for it."""
    appointment = {
        "resourceType": "Appointment",
        "id": "a",
        "status": "proposed",
        "appointmentType": {"text": "Tái khám"},
        "reasonReference": [{"reference": "Condition/v1-J029"}],
        "participant": [{"actor": {"reference": "Patient/mother"}, "status": "needs-action"}],
        "requestedPeriod": [{"start": "2023-12-01", "end": "2023-12-01"}],
    }
    cancelled = appointment | {"id": "b", "status": "cancelled"}

    book = book_of(
        record.patient(), [*record.people()[1:], *record.visit(), appointment, cancelled]
    )

    (planned,) = book.planned
    assert planned.at is not None
    assert planned.at.date() == date(2023, 12, 1)
    assert (planned.text, planned.facility) == ("Tái khám", "Bệnh viện Đa khoa Mẫu Hà Nội")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ([{"text": "A B"}], "A B"),
        ([{"family": "LÊ", "given": ["VĂN", "LẠ"]}], "LÊ VĂN LẠ"),
        ([{"text": "Cũ", "use": "old"}, {"text": "Mới", "use": "official"}], "Mới"),
        ([], ""),
    ],
)
def test_a_name_is_read_in_any_form(name: list[Resource], text: str) -> None:
    """As text, or from its parts; the official one first."""
    assert book_of(record.patient(name=name), []).person.name == text


def test_odd_shapes_are_as_if_absent() -> None:
    """Elements of an unexpected shape do not stop a book."""
    visit = {
        "resourceType": "Encounter",
        "id": "v1",
        "status": "finished",
        "class": {"code": "AMB"},
        "period": {"start": "2023"},
        "diagnosis": [{"condition": {"reference": "Condition/gone"}}],
        "participant": [{}],
    }

    book = book_of({"resourceType": "Patient", "id": "p"}, [visit])

    assert (book.person.name, book.person.born) == ("", None)
    assert book.visits[0].main is None
    assert book.visits[0].start is not None


def test_drugs_of_one_time_come_in_the_dossiers_lines() -> None:
    """By STT, 2 before 10; rows that share one STT as they came; what has no line is last."""
    lines = {"A": None, "B": "XML2/10", "C": "XML2/2.2", "D": "XML2/2", "E": "XML2/1"}
    drugs = [
        record.drug("v1", name)
        | {"id": name}
        | ({"extension": [{"url": extension("line"), "valueString": line}]} if line else {})
        for name, line in lines.items()
    ]

    assert [one.name for one in one_visit(*drugs).drugs] == ["E", "D", "C", "B", "A"]
