"""Whether an expression can be right for a type: only what cannot be is refused."""

from __future__ import annotations

import pytest

from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath.errors import FhirPathError


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Patient", "name.given1"),
        ("Patient", "Encounter.status"),
        ("Patient", "name.where(given1 = 'a')"),
        ("Patient", "name.select(given).family"),
        ("Patient", "name.first().all(giver = 1)"),
        ("Patient", "contact.name[nothing]"),
        ("Patient", "-nothing"),
        ("Patient", "id & nothing"),
        ("Patient", "id in nothing"),
        ("Patient", "name.union(nothing)"),
        ("Patient", "(name | address).nothing"),
        ("Patient", "name.aggregate($this.nothing)"),
        ("Patient", "extension('u').nothing"),
        ("Patient", "1.type().nothing"),
        ("Patient", "birthDate.nothing"),
        ("Patient", "children().first()"),
        ("Patient", "descendants().name[0]"),
        ("Patient", "identifier.startsWith('a')"),
        ("Patient", "Patient.matches('a')"),
        ("Patient", "iif('a', 1, 2)"),
        ("Patient", "nothing()"),
        ("Patient", "name.empty(1)"),
        ("Patient", "name is Nothing"),
        ("Patient", "name.ofType(FHIR.Nothing)"),
        ("Patient", "name.ofType(1)"),
        ("Observation", "valueQuantity.unit"),
        ("Observation", "(value as Period).unit"),
        ("Observation", "value.ofType(Quantity).start"),
        ("Observation.component", "status"),
        ("Questionnaire", "repeat(item).nothing"),
        ("Patient", "repeat(contact | nothing)"),
    ],
)
def test_what_cannot_be_right_is_refused(type_: str, text: str) -> None:
    """The refusal is semantic and says where."""
    read = fhirpath.compile(text)

    with pytest.raises(FhirPathError) as refusal:
        read.check(type_)

    assert refusal.value.kind == "semantic"
    assert 0 <= refusal.value.position < len(text)


@pytest.mark.parametrize(
    ("type_", "text"),
    [
        ("Patient", "Patient.name.given | Resource.id | DomainResource.text.`div`"),
        ("Patient", "contained.name.family or contained.ofType(Group).code.exists()"),
        ("Patient", "generalPractitioner.resolve().anything"),
        ("Patient", "children().anything.where(more)"),
        ("Patient", "children().sort().first()"),
        ("Patient", "%resource.anything | %own.anything"),
        ("Patient", "name.select($index + 1)"),
        ("Patient", "name.aggregate(iif($total.empty(), $this, $total)).anything"),
        ("Patient", "iif(active, name, contact.name).family"),
        ("Patient", "{}.anything"),
        ("Patient", "4 'mg'.value + name.type().name.length()"),
        ("Patient", "birthDate.extension.id | birthDate.toString().substring(1)"),
        ("Patient", "name.$this.given.startsWith('a') and (1 is Quantity)"),
        ("Observation", "value.unit | value.start | value.text"),
        ("Observation", "value.startsWith('a')"),
        ("Observation.component", "%context.code.coding.code"),
        ("Bundle", "entry.resource.name.family"),
        ("Resource", "Patient.name.family"),
        ("Questionnaire", "repeat(item).repeat(item | item.item).linkId"),
        ("Patient", "repeat(extension | name).family"),
        ("Patient", "repeat(extension | id).anything"),
        ("", "anything.else"),
        ("NoSuchType", "anything.else"),
    ],
)
def test_what_may_be_right_is_let_through(type_: str, text: str) -> None:
    """What cannot be told before there is a resource is no error."""
    assert fhirpath.compile(text).check(type_) is None
