"""The index of R4's definitions, and the script that makes its facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fhir_server.model import definitions as d
from fhir_server.model.r4 import extract

FACTS = Path(extract.__file__).parent


@pytest.mark.data
def test_the_facts_are_what_the_script_makes(definitions_folder: Path, tmp_path: Path) -> None:
    """Running the script again changes nothing, and the facts are about a megabyte."""
    extract.extract(definitions_folder, tmp_path)

    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in FACTS.glob("*.json")}
    assert made == kept
    assert sum(map(len, kept.values())) < 1_100_000
    assert all(b"CC0" in body and b"HL7 FHIR R4 (4.0.1)" in body for body in kept.values())


def test_r4_has_146_resource_types() -> None:
    """Abstract types are none, nor is MetadataResource."""
    assert len(d.RESOURCE_TYPES) == 146
    assert not {"Resource", "DomainResource", "MetadataResource", "HumanName"} & d.RESOURCE_TYPES


def test_children_come_in_the_order_of_the_definition() -> None:
    """Inherited elements first; a backbone and a content reference have theirs."""
    assert list(d.children("Patient"))[:9] == [
        "id", "meta", "implicitRules", "language", "text", "contained", "extension",
        "modifierExtension", "identifier",
    ]  # fmt: skip
    assert list(d.children("Observation.component"))[:5] == [
        "id", "extension", "modifierExtension", "code", "value",
    ]  # fmt: skip
    assert d.children("Bundle.entry.link") == d.children("Bundle.link")
    assert list(d.children("string")) == ["id", "extension"]
    for unknown in ("Foo", "Patient.foo", "Foo.bar", "Observation.value", "string.x"):
        assert d.children(unknown) == {}


def test_properties_name_each_type_of_a_choice() -> None:
    """A choice is one property a type; a profile of Quantity is named Quantity."""
    known = d.properties("Observation")

    assert known["valueQuantity"].type == "Quantity"
    assert known["valueQuantity"].element is known["valueString"].element
    assert known["valueString"].is_primitive
    assert known["component"].type == "Observation.component"
    assert "value" not in known
    assert d.properties("Dosage.doseAndRate")["doseQuantity"].type == "SimpleQuantity"
    assert "comparator" not in d.properties("SimpleQuantity")
    assert d.properties("Bundle.entry")["resource"].type == "Resource"
    assert d.properties("Questionnaire.item")["item"].type == "Questionnaire.item"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("Patient.name.family", "HumanName.family"),
        ("Observation.value[x]", "Observation.value[x]"),
        ("Observation.value", "Observation.value[x]"),
        ("Observation.valueQuantity.code", "Quantity.code"),
        ("Questionnaire.item.item.linkId", "Questionnaire.item.linkId"),
        ("Timing.repeat.bounds[x]", "Timing.repeat.bounds[x]"),
        ("Patient.id", "Resource.id"),
        ("Patient.foo", None),
        ("Patient.foo.bar", None),
        ("Foo", None),
        ("Patient", None),
    ],
)
def test_an_element_is_found_by_its_path(path: str, found: str | None) -> None:
    """Paths go on through types."""
    element = d.element(path)
    assert (element and element.path) == found


def test_facts_of_an_element() -> None:
    """Cardinality, targets, binding, summary and modifier are HL7's."""
    status, subject = d.children("Observation")["status"], d.children("Observation")["subject"]

    assert (status.min, status.max, status.is_many) == (1, 1, False)
    assert status.is_modifier
    assert status.is_summary
    assert status.binding == "http://hl7.org/fhir/ValueSet/observation-status"
    assert subject.targets == ("Device", "Group", "Location", "Patient")
    assert d.children("Patient")["name"].max is None
    assert d.children("Extension")["url"].is_attribute
    assert d.children("Resource")["id"].types == ("id",)
    assert d.children("CarePlan")["instantiatesCanonical"].canonical


def test_kinds_and_ancestors() -> None:
    """A type says what it is and what it specializes."""
    assert [d.kind(name) for name in ("string", "HumanName", "Patient", "Foo")] == [
        "primitive", "type", "resource", None,
    ]  # fmt: skip
    assert d.ancestors("Patient") == ("Patient", "DomainResource", "Resource")
    assert d.ancestors("Age") == ("Age", "Quantity", "Element")
    assert d.is_type("Age")
    assert not d.is_type("Foo")
    assert d.regex("id") == r"[A-Za-z0-9\-\.]{1,64}"


def test_invariants_are_inherited() -> None:
    """A type has its own and its base's; a key used twice has its path."""
    assert d.type_invariants("Observation") == (
        "dom-2",
        "dom-3",
        "dom-4",
        "dom-5",
        "obs-6",
        "obs-7",
    )
    assert d.type_invariants("SimpleQuantity") == ("qty-3", "sqty-1")
    assert "SHALL" in d.invariants()["pat-1"].human
    assert d.invariants()["inv-1@Task"].expression != d.invariants()["inv-1"].expression


def test_value_sets_are_expanded() -> None:
    """A list of codes by system; None where there is no list."""
    genders = d.value_set("http://hl7.org/fhir/ValueSet/administrative-gender")
    assert genders == {
        "http://hl7.org/fhir/administrative-gender": {"male", "female", "other", "unknown"}
    }
    assert d.value_set("http://hl7.org/fhir/ValueSet/mimetypes") is None
    assert d.value_set("http://example.org") is None


def test_search_parameters_of_a_type_include_those_of_its_bases() -> None:
    """Resource's parameters are every type's."""
    known = d.search_parameters("Observation")

    assert {"_id", "_lastUpdated", "_tag", "code", "patient", "subject"} <= known.keys()
    assert known["subject"].target == ("Group", "Device", "Patient", "Location")
    assert known["patient"].url == "http://hl7.org/fhir/SearchParameter/clinical-patient"
    components = known["code-value-quantity"].components
    assert [(part.code, part.type) for part in components] == [
        ("code", "token"), ("value-quantity", "quantity"),
    ]  # fmt: skip
    assert not known["code-value-quantity"].multiple_or
    assert known["date"].comparators
    assert d.search_parameters("Foo") == {}
    assert len(d.parameters_by_url()) == 1375


def test_compartments() -> None:
    """The Patient compartment is as its definition says."""
    assert d.compartment_parameters("Patient", "Observation") == ("subject", "performer")
    assert d.compartment_parameters("Patient", "Medication") == ()
    assert d.compartment_parameters("Foo", "Observation") == ()
    assert "Encounter" in d.compartment_types("Patient")
    assert all(d.compartment_types(name) for name in d.COMPARTMENTS)
