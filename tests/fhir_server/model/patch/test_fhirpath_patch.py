"""FHIRPath Patch where HL7's cases say nothing: https://hl7.org/fhir/R4/fhirpatch.html."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Malformed
from fhir_server.model.patch import fhirpath_patch
from fhir_server.model.patch.fhirpath_patch import MOST_OPERATIONS

EXTENSION = {"url": "http://example.org/y", "valueString": "e"}
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "identifier": [
        {"use": "official", "system": "urn:a", "value": "1"},
        {"use": "usual", "system": "urn:b", "value": "2"},
    ],
    "active": True,
    "name": [{"family": "A", "given": ["B", "C"], "_given": [None, {"id": "c"}]}],
    "birthDate": "1990-01-01",
    "_birthDate": {"extension": [EXTENSION]},
    "deceasedBoolean": False,
    "contact": [{"name": {"text": "X"}}],
    "managingOrganization": {"reference": "#o"},
}


def operation(kind: str, path: str | None, value: Any = None, **more: Any) -> dict[str, Any]:
    """Return an operation's parameter; `value` is what the part `value` holds besides its name."""
    parts = [{"name": "type", "valueCode": kind}]
    if path is not None:
        parts.append({"name": "path", "valueString": path})
    if value is not None:
        parts.append({"name": "value", **value})
    for name, content in more.items():
        key = "valueString" if isinstance(content, str) else "valueInteger"
        parts.append({"name": name, key: content})
    return {"name": "operation", "part": parts}


def patch_of(*operations: dict[str, Any]) -> fhirpath_patch.FhirPathPatch:
    """Return a patch of these operations."""
    return fhirpath_patch.parse({"resourceType": "Parameters", "parameter": list(operations)})


def patched(*operations: dict[str, Any]) -> dict[str, Any]:
    """Return the Patient patched."""
    return patch_of(*operations).apply(codec.loads(codec.dumps(PATIENT)))


def named(given: list[str], beside: list[Any]) -> dict[str, Any]:
    """Return the Patient's name with other given names."""
    return {"name": [{"family": "A", "given": given, "_given": beside}]}


@pytest.mark.parametrize(
    ("asked", "change"),
    [
        # A primitive and what stands beside it are one element.
        (operation("delete", "Patient.birthDate"), {"birthDate": None, "_birthDate": None}),
        (
            operation("replace", "Patient.birthDate", {"valueDate": "1991"}),
            {"birthDate": "1991", "_birthDate": None},
        ),
        (
            operation("replace", "birthDate", {"valueDate": "1991", "_valueDate": {"id": "i"}}),
            {"birthDate": "1991", "_birthDate": {"id": "i"}},
        ),
        (
            operation("replace", "Patient.birthDate", {"_valueDate": {"id": "i"}}),
            {"birthDate": None, "_birthDate": {"id": "i"}},
        ),
        (
            operation("delete", "Patient.name.given[0]"),
            {"name": [{"family": "A", "given": ["C"], "_given": [{"id": "c"}]}]},
        ),
        (
            operation("delete", "Patient.name.given.where($this = 'C')"),
            {"name": [{"family": "A", "given": ["B"]}]},
        ),
        (
            operation("add", "Patient.name", {"valueString": "D"}, name="given"),
            named(["B", "C", "D"], [None, {"id": "c"}, None]),
        ),
        (
            operation("insert", "Patient.name.given", {"valueString": "D"}, index=0),
            named(["D", "B", "C"], [None, None, {"id": "c"}]),
        ),
        (
            operation("move", "Patient.name.given", source=1, destination=0),
            {"name": [{"family": "A", "given": ["C", "B"], "_given": [{"id": "c"}, None]}]},
        ),
        # Extensions, of primitives and in parts, as Parameters have no valueExtension.
        (operation("delete", "Patient.birthDate.extension"), {"_birthDate": None}),
        (
            operation("replace", "Patient.birthDate.extension.value", {"valueInteger": 3}),
            {"_birthDate": {"extension": [{"url": EXTENSION["url"], "valueInteger": 3}]}},
        ),
        (
            operation(
                "add",
                "Patient.active",
                {"part": [
                    {"name": "url", "valueUri": "http://example.org/z"},
                    {"name": "value", "valueDecimal": Decimal("1.10")},
                ]},
                name="extension",
            ),
            {"_active": {"extension": [
                {"url": "http://example.org/z", "valueDecimal": Decimal("1.10")}
            ]}},
        ),
        (
            operation("add", "Patient.name.given[0]", {"valueString": "b"}, name="id"),
            {"name": [{"family": "A", "given": ["B", "C"], "_given": [{"id": "b"}, {"id": "c"}]}]},
        ),
        # A choice is one element, whatever its type.
        (
            operation("replace", "Patient.deceased", {"valueDateTime": "2020"}),
            {"deceasedBoolean": None, "deceasedDateTime": "2020"},
        ),
        (
            operation("add", "Patient", {"valueInteger": 2}, name="multipleBirth[x]"),
            {"multipleBirthInteger": 2},
        ),
        (
            operation("add", "Patient", {"valueBoolean": True}, name="multipleBirthBoolean"),
            {"multipleBirthBoolean": True},
        ),
        # Lists that are not there, the end of a list, and paths without the type.
        (
            operation("insert", "Patient.telecom", {"valueContactPoint": {"value": "1"}}, index=0),
            {"telecom": [{"value": "1"}]},
        ),
        (
            operation("insert", "identifier", {"valueIdentifier": {"value": "3"}}, index=2),
            {"identifier": [*PATIENT["identifier"], {"value": "3"}]},
        ),
        (
            operation("move", "identifier", source=0, destination=1),
            {"identifier": PATIENT["identifier"][::-1]},
        ),
        (
            operation("replace", "identifier.where(use='usual').value", {"valueString": "9"}),
            {"identifier": [PATIENT["identifier"][0], PATIENT["identifier"][1] | {"value": "9"}]},
        ),
        # Backbones, in one another and in lists.
        (
            operation(
                "add",
                "Patient.contact",
                {"part": [{"name": "text", "valueString": "family"}]},
                name="relationship",
            ),
            {"contact": [{"name": {"text": "X"}, "relationship": [{"text": "family"}]}]},
        ),
        (
            operation(
                "replace",
                "Patient.contact[0]",
                {"part": [
                    {"name": "telecom", "valueContactPoint": {"value": "1"}},
                    {"name": "telecom", "part": [{"name": "value", "valueString": "2"}]},
                ]},
            ),
            {"contact": [{"telecom": [{"value": "1"}, {"value": "2"}]}]},
        ),
        (operation("delete", "Patient.contact.name.text"), {"contact": None}),
        # Contained resources are part of the resource.
        (
            operation("replace", "Patient.contained.where(id='o').name", {"valueString": "P"}),
            {"contained": [{"resourceType": "Organization", "id": "o", "name": "P"}]},
        ),
        (
            operation(
                "add", "Patient", {"resource": {"resourceType": "Basic"}}, name="contained"
            ),
            {"contained": [*PATIENT["contained"], {"resourceType": "Basic"}]},
        ),
        (
            operation("add", "Patient", {"valueCode": "vi"}, name="language"),
            {"language": "vi"},
        ),
        # "Path of the element to delete (if found)".
        (operation("delete", "Patient.telecom[0]"), {}),
        (operation("delete", "Patient.identifier.where(use='old')"), {}),
    ],
)  # fmt: skip
def test_what_an_operation_makes(asked: dict[str, Any], change: dict[str, Any]) -> None:
    """All else is as it was."""
    expected = {k: v for k, v in (PATIENT | change).items() if v is not None}

    assert patched(asked) == expected


@pytest.mark.parametrize(
    "asked",
    [
        operation("add", "Patient", {"valueBoolean": False}, name="active"),
        operation("add", "Patient", {"valueDateTime": "2020"}, name="deceased"),
        operation("add", "Patient", {"valueString": "x"}, name="colour"),
        operation("add", "Patient.identifier", {"valueString": "x"}, name="value"),
        operation("add", "Patient.telecom", {"valueString": "x"}, name="value"),
        operation("add", "Patient.birthDate", {"valueString": "x"}, name="value"),
        operation("add", "Patient", {"valueString": "female"}, name="gender[0]"),
        operation("add", "Patient", {"valueBoolean": True}, name="gender"),
        operation("add", "Patient", {"valueHumanName": {"text": "x"}}, name="identifier"),
        operation("add", "Patient", {"valueQuantity": {"value": 1}}, name="multipleBirth"),
        operation("add", "Patient", {"part": []}, name="gender"),
        operation("add", "Patient", {"part": [{"name": "text"}]}, name="name"),
        operation("add", "Patient", {"part": [{"valueString": "x"}]}, name="name"),
        operation("add", "Patient", {"part": [{"name": "x", "valueString": "x"}]}, name="name"),
        operation(
            "add", "Patient", {"part": [{"name": "text", "valueString": "x"}] * 2}, name="name"
        ),
        operation("add", "Patient", {"valueString": "x", "valueCode": "x"}, name="gender"),
        operation("add", "Patient", {"resource": {"resourceType": "Basic"}}, name="name"),
        operation("insert", "Patient.identifier", {"valueIdentifier": {}}, index=3),
        operation("insert", "Patient.active", {"valueBoolean": True}, index=0),
        operation("insert", "Patient.telecom.value", {"valueString": "x"}, index=0),
        operation("insert", "Patient", {"valueString": "x"}, index=0),
        operation("delete", "Patient"),
        operation("delete", "Patient.identifier"),
        operation("delete", "Patient.colour"),
        operation("delete", "'x'"),
        operation("delete", "Patient.managingOrganization.resolve().name.first() + 'x'"),
        operation("replace", "Patient.telecom", {"valueContactPoint": {}}),
        operation("replace", "Patient.identifier", {"valueIdentifier": {}}),
        operation("replace", "Patient", {"resource": {"resourceType": "Patient"}}),
        operation("replace", "Observation.status", {"valueCode": "final"}),
        operation("replace", "Patient.active.nope(1)", {"valueBoolean": True}),
        operation("replace", "Patient.birthDate", {"valueBoolean": True}),
        operation("move", "Patient.identifier", source=2, destination=0),
        operation("move", "Patient.identifier", source=0, destination=2),
        operation("move", "Patient.telecom", source=0, destination=0),
    ],
)
def test_what_cannot_be_applied(asked: dict[str, Any]) -> None:
    """422, naming the operation."""
    with pytest.raises(Invalid, match=r"^Operation 2 of the patch: ") as refusal:
        patched(operation("delete", "Patient.gender"), asked)

    assert refusal.value.status == 422
    assert "urn:a" not in str(refusal.value)


def without(name: str) -> dict[str, Any]:
    """Return a good insert without one of its parts."""
    good = operation("insert", "Patient.identifier", {"valueIdentifier": {}}, index=0)
    return good | {"part": [part for part in good["part"] if part["name"] != name]}


@pytest.mark.parametrize(
    "parameter",
    [
        {"name": "operation"},
        {"name": "op", "part": []},
        {"name": "operation", "part": "x"},
        {"name": "operation", "part": [{}]},
        without("type"),
        without("path"),
        without("value"),
        without("index"),
        operation("upsert", "Patient.active"),
        operation("add", "Patient", {"valueString": "x"}),
        operation("replace", "Patient.active"),
        operation("move", "Patient.identifier", source=0),
        operation("move", "Patient.identifier", source=-1, destination=0),
        operation("move", "Patient.identifier", source="0", destination=0),
        operation("move", "Patient.identifier[0]", source=0, destination=0),
        operation("insert", "Patient.identifier.where(true)", {"valueIdentifier": {}}, index=0),
        operation("delete", "Patient..name"),
        operation("delete", ""),
        operation("delete", "Patient.active", colour="red"),
        without("index") | {"part": without("index")["part"] * 2},
        {"name": "operation", "part": [
            {"name": "type", "valueCode": "move"},
            {"name": "path", "valueString": "Patient.name"},
            {"name": "source", "valueBoolean": True},
            {"name": "destination", "valueInteger": 0},
        ]},
    ],
)  # fmt: skip
def test_what_is_no_fhirpath_patch(parameter: dict[str, Any]) -> None:
    """400, whatever the resource is."""
    with pytest.raises(Malformed):
        patch_of(parameter)


def test_a_parameter_that_is_no_object() -> None:
    """400, too."""
    with pytest.raises(Malformed):
        fhirpath_patch.parse({"resourceType": "Parameters", "parameter": ["x"]})


def test_contained_resources_are_found_by_reference() -> None:
    """resolve() finds what the resource contains, and that is part of the resource."""
    path = "Patient.managingOrganization.resolve().name"

    made = patched(operation("replace", path, {"valueString": "P"}))

    assert made["contained"] == [{"resourceType": "Organization", "id": "o", "name": "P"}]


@pytest.mark.parametrize("reference", ["Practitioner/p", "http://example.org/Practitioner/p"])
def test_no_other_resource_is_reached(reference: str) -> None:
    """Nothing is known of what a reference names elsewhere: the path names nothing."""
    patient = PATIENT | {"generalPractitioner": [{"reference": reference}]}
    path = "Patient.generalPractitioner.resolve().active"

    with pytest.raises(Invalid, match="names nothing"):
        patch_of(operation("replace", path, {"valueBoolean": True})).apply(patient)


@pytest.mark.parametrize("times", [1, 1000])
def test_expensive_paths_are_refused(times: int) -> None:
    """The operations of one patch share the work that it may do."""
    costly = operation("delete", "Patient.name.given.where($this in %resource.name.given)")
    wide = PATIENT | {"name": [{"given": ["x"] * 20_000}]}

    with pytest.raises(Invalid) as refusal:
        patch_of(*[costly] * times).apply(wide)

    assert refusal.value.issues[0].code == "too-costly"


def test_a_long_value_in_parts_takes_time_in_its_length() -> None:
    """Each part is put behind the last once: 50,000 took minutes where each was put anew."""
    part = {"name": "given", "valueString": "x"}
    named = operation("add", "Patient", {"part": [part] * 50_000}, name="name")
    begun = time.process_time()

    made = patched(named)

    assert len(made["name"][-1]["given"]) == 50_000
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("kind", ["add", "insert", "delete"])
def test_a_long_list_is_not_gone_through_too_often(kind: str) -> None:
    """A thousand changes of a list of 100,000 are refused, soon."""
    wide = PATIENT | {"name": [{"given": ["x"] * 100_000}]}
    change = {
        "add": operation("add", "Patient.name", {"valueString": "y"}, name="given"),
        "insert": operation("insert", "Patient.name.given", {"valueString": "y"}, index=0),
        "delete": operation("delete", "Patient.name.given[0]"),
    }[kind]
    begun = time.process_time()

    with pytest.raises(Invalid) as refusal:
        patch_of(*[change] * MOST_OPERATIONS).apply(wide)

    assert refusal.value.issues[0].code == "too-costly"
    assert time.process_time() - begun < 5


def test_paths_are_so_long_together() -> None:
    """A thousand of 10,000 characters took half a minute to be read."""
    long = operation("delete", "Patient.name" + ".where(true)" * 800)

    with pytest.raises(Invalid, match="too long") as refusal:
        patch_of(*[long] * 100)

    assert refusal.value.issues[0].code == "too-costly"
    assert 0.9 < patch_of(*[long] * 10).cost <= 1


def test_a_patch_has_so_many_operations() -> None:
    """One more than MOST_OPERATIONS is refused; so many do their work."""
    grow = operation("add", "Patient.name[0]", {"valueString": "x"}, name="given")

    made = patched(*[grow] * MOST_OPERATIONS)

    assert len(made["name"][0]["given"]) == MOST_OPERATIONS + 2
    with pytest.raises(Invalid, match="at most"):
        patch_of(*[grow] * (MOST_OPERATIONS + 1))


def test_a_patch_may_be_applied_again() -> None:
    """A value of the patch is copied: another attempt finds it as it was."""
    patch = patch_of(
        operation("add", "Patient", {"valueHumanName": {"family": "A"}}, name="name"),
        operation("add", "Patient.name", {"valueString": "B"}, name="given"),
    )

    made = [patch.apply({"resourceType": "Patient"}) for _ in range(2)]

    assert made == [{"resourceType": "Patient", "name": [{"family": "A", "given": ["B"]}]}] * 2
