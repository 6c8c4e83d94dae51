"""The FHIRPath of search parameters."""

from __future__ import annotations

import pytest

from fhir_server.model.definitions import parameters_by_url
from fhir_server.search.parameters import DECEASED
from fhir_server.search.path import Field, First, Path, Resolves, UnknownForm, Where, parse


@pytest.mark.parametrize(
    ("expression", "paths"),
    [
        ("Patient.name", [Path("Patient", (Field("name"),))]),
        ("name", [Path("", (Field("name"),))]),
        ("Observation", [Path("Observation", ())]),
        (
            "Patient.name.family | Person.name",
            [
                Path("Patient", (Field("name"), Field("family"))),
                Path("Person", (Field("name"),)),
            ],
        ),
        ("(Observation.value as Quantity)", [Path("Observation", (Field("value", "Quantity"),))]),
        ("Condition.onset.as(Age)", [Path("Condition", (Field("onset", "Age"),))]),
        ("Condition.onset.ofType(Age)", [Path("Condition", (Field("onset", "Age"),))]),
        (
            "(Observation.value as CodeableConcept).text",
            [Path("Observation", (Field("value", "CodeableConcept"), Field("text")))],
        ),
        (
            "Account.subject.where(resolve() is Patient)",
            [Path("Account", (Field("subject"), Resolves("Patient")))],
        ),
        (
            "Patient.telecom.where(system='phone')",
            [Path("Patient", (Field("telecom"), Where("system", "phone")))],
        ),
        (
            "A.b.where(type='composed-of').resource",
            [Path("A", (Field("b"), Where("type", "composed-of"), Field("resource")))],
        ),
        (
            "Bundle.entry[0].resource",
            [Path("Bundle", (Field("entry"), First(), Field("resource")))],
        ),
        (
            "%resource.referenceSeq.chromosome",
            [Path("%resource", (Field("referenceSeq"), Field("chromosome")))],
        ),
    ],
)
def test_the_forms_of_expression(expression: str, paths: list[Path]) -> None:
    """Each form that R4's list uses is parsed to its steps."""
    assert list(parse(expression)) == paths


@pytest.mark.parametrize(
    "expression",
    ["Patient.name.exists()", "Patient..name", "Patient.name + 1", "as(Age)", DECEASED, "a.b[1]"],
)
def test_other_forms_are_refused(expression: str) -> None:
    """What is of no known form is never half understood."""
    with pytest.raises(UnknownForm):
        parse(expression)


def test_every_expression_of_r4_is_understood() -> None:
    """All of HL7's search parameters are of these forms, but the one condition."""
    for parameter in parameters_by_url().values():
        if parameter.expression != DECEASED:
            parse(parameter.expression)
        for component in parameter.components:
            assert parse(component.expression)
