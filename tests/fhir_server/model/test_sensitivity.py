"""Which content must carry the label of HIV data (contract section 6)."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.sensitivity import (
    LABEL,
    carries_hiv,
    is_hiv,
    is_labelled,
    labelled,
    may_carry_hiv,
)

ICD = "http://hl7.org/fhir/sid/icd-10"


def coded(code: str, system: str | None = ICD) -> dict[str, Any]:
    """Return a Condition with one code."""
    coding = {"code": code} if system is None else {"system": system, "code": code}
    return {"resourceType": "Condition", "code": {"coding": [coding]}}


@pytest.mark.parametrize("code", ["B20", "B20.0", "b21.9", "B22.7", "B23", "B24", "B24*", "Z21"])
def test_codes_of_hiv(code: str) -> None:
    """B20 to B24 and Z21, with and without more digits, in any case."""
    assert is_hiv(code)
    assert may_carry_hiv(codec.dumps(coded(code)))
    assert carries_hiv(coded(code))


@pytest.mark.parametrize("code", ["B19", "B25", "Z20", "Z22", "AB20", "I10", "B2"])
def test_other_codes(code: str) -> None:
    """Their neighbours are not."""
    assert not carries_hiv(coded(code))


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("http://hl7.org/fhir/sid/icd-10-cm", True),
        ("http://hl7.org/fhir/sid/icd-10-vn", True),
        ("http://fhir.hl7.org.vn/core/CodeSystem/vn-icd10-cs", True),
        ("http://fhir.ehealth.gov.vn/core/CodeSystem/ICD10", True),
        ("urn:oid:2.16.840.1.113883.6.3", True),
        ("urn:oid:2.16.840.1.113883.6.90", True),
        (None, True),
        ("http://hl7.org/fhir/sid/icd-10-pcs", False),
        ("http://www.cms.gov/Medicare/Coding/ICD10", False),
        ("http://loinc.org", False),
        ("https://fhir-server.example/fhir/CodeSystem/ma-nhom", False),
    ],
)
def test_the_code_must_be_of_icd_10(system: str | None, expected: bool) -> None:  # noqa: FBT001 - a case
    """Any system of ICD-10 counts, and a code that names none; other systems do not."""
    assert carries_hiv(coded("B20", system)) is expected


@pytest.mark.parametrize(
    "resource",
    [
        {"diagnosis": [{"diagnosisCodeableConcept": {"coding": [{"system": ICD, "code": "B20"}]}}]},
        {"reasonCode": [{"coding": [{"system": ICD, "code": "Z21"}]}]},
        {"contained": [coded("B24")]},
        {"extension": [{"url": "u", "valueCoding": {"system": ICD, "code": "B20.1"}}]},
    ],
)
def test_a_code_counts_wherever_it_stands(resource: dict[str, Any]) -> None:
    """In a claim's diagnosis, a reason, a contained resource, an extension."""
    assert carries_hiv(resource)


def test_the_label_joins_those_there_are() -> None:
    """It comes once, behind the others; the rest of meta stays."""
    other = {"system": LABEL["system"], "code": "PSY"}
    made = labelled(coded("B20") | {"meta": {"versionId": "1", "security": [other]}})

    assert made["meta"] == {"versionId": "1", "security": [other, LABEL]}
    assert is_labelled(made)
    assert labelled(made) is made
