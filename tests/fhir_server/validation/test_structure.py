"""What base R4 allows and what it does not, with the place of each error."""

# ruff: noqa: E501 - a row of a table reads best in one line

from __future__ import annotations

import copy
import re
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model.outcome import ISSUE_TYPES, Invalid, Malformed
from fhir_server.validation.findings import MAX_ISSUES
from fhir_server.validation.structure import check, validate

Resource = dict[str, Any]
LOINC = {"coding": [{"system": "http://loinc.org", "code": "1-8"}]}
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'
EXT = {"url": "http://example.org/e", "valueString": "x"}


def patient(**fields: Any) -> Resource:
    """Return a Patient."""
    return {"resourceType": "Patient", **fields}


def observation(**fields: Any) -> Resource:
    """Return an Observation that is valid but for the fields given."""
    return {"resourceType": "Observation", "status": "final", "code": LOINC, **fields}


def bundle(type_: str, *entries: Resource, **fields: Any) -> Resource:
    """Return a Bundle."""
    return {"resourceType": "Bundle", "type": type_, "entry": list(entries), **fields}


VALID: dict[str, Resource] = {
    "an empty patient": patient(),
    "a birth year": patient(birthDate="1974"),
    "a leap day": patient(birthDate="2000-02-29"),
    "a birth date with an extension": patient(birthDate="1974-12-25", _birthDate={"extension": [EXT]}),
    "an extension instead of a value": patient(_birthDate={"extension": [EXT]}),
    "an id beside a value": patient(birthDate="1974", _birthDate={"id": "b"}),
    "null in an array where the other has content": patient(name=[{"given": ["a", None], "_given": [None, {"extension": [EXT]}]}]),
    "only extensions in an array": patient(name=[{"_given": [{"extension": [EXT]}]}]),
    "a required element that is only extended": {**observation(), "status": "final", "_status": {"extension": [EXT]}},
    "a required element without a value": {"resourceType": "Observation", "_status": {"extension": [EXT]}, "code": LOINC},
    "a choice with an extension beside it": observation(valueString="x", _valueString={"id": "a"}),
    "a decimal with zeros": observation(valueQuantity={"value": Decimal("0.010")}),
    "a whole number for a decimal": observation(valueQuantity={"value": 5}),
    "a nested extension": patient(extension=[{"url": "u", "extension": [{"url": "v", "valueCode": "c"}]}]),
    "an extension with an id": patient(extension=[{"id": "e", **EXT}]),
    "an extension whose value is only extended": patient(extension=[{"url": "u", "_valueCode": {"extension": [EXT]}}]),
    "a narrative": patient(text={"status": "generated", "div": DIV.format("<p class='a'>Mẫu<br/></p>")}),
    "a contained resource": patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O"}], managingOrganization={"reference": "#o"}),
    "a contained resource that refers to its container": patient(contained=[{"resourceType": "Observation", "id": "o", "status": "final", "code": LOINC, "subject": {"reference": "#"}}]),
    "a reference to a version": observation(subject={"reference": "Patient/1/_history/2"}),
    "a reference elsewhere": observation(subject={"reference": "http://example.org/fhir/Patient/1"}),
    "a reference in a bundle": observation(subject={"reference": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"}),
    "a conditional reference": observation(subject={"reference": "Patient?identifier=a|b"}),
    "a logical reference": observation(subject={"type": "Patient", "identifier": {"value": "1"}}),
    "a reference of unknown form": observation(subject={"reference": "http://example.org/someone"}),
    "any code of an extensible binding": patient(maritalStatus={"coding": [{"system": "http://x", "code": "?"}]}),
    "a required concept": {"resourceType": "AllergyIntolerance", "patient": {"reference": "Patient/1"}, "clinicalStatus": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical", "code": "active"}]}},
    "an open value set": {"resourceType": "Binary", "contentType": "application/x-anything"},
    "base64 with white space": {"resourceType": "Binary", "contentType": "a/b", "data": "QU JD\nQQ=="},
    "a transaction": bundle("transaction", {"fullUrl": "urn:uuid:1", "resource": patient(), "request": {"method": "POST", "url": "Patient"}}),
    "a bundle without entries": {"resourceType": "Bundle", "type": "collection"},
    "parameters": {"resourceType": "Parameters", "parameter": [{"name": "a", "resource": patient()}, {"name": "b", "part": [{"name": "c", "valueCode": "d"}]}]},
    "a currency": {"resourceType": "Invoice", "status": "draft", "totalNet": {"value": 1, "currency": "VND"}},
}  # fmt: skip


@pytest.mark.parametrize("resource", VALID.values(), ids=VALID.keys())
def test_what_r4_allows_is_valid(resource: Resource) -> None:
    """Legal forms, rare ones too, have no issue; validating changes nothing."""
    before = copy.deepcopy(resource)

    assert validate(resource) == []
    assert resource == before


INVALID: dict[str, tuple[Resource, str, str]] = {
    "an unknown element": (patient(foo=1), "structure", "Patient.foo"),
    "an unknown element inside": (patient(name=[{"given": ["a"]}, {"first": "x"}]), "structure", "Patient.name[1].first"),
    "an unknown element whose name is no name": (patient(**{"a b<script>": 1}), "structure", "Patient"),
    "fhir_comments": (patient(fhir_comments=["x"]), "structure", "Patient.fhir_comments"),
    "resourceType in a datatype": (patient(name=[{"resourceType": "HumanName", "text": "x"}]), "structure", "Patient.name[0].resourceType"),
    "an element of another version": (patient(animal={}), "structure", "Patient.animal"),
    "a missing status": ({"resourceType": "Observation", "code": LOINC}, "required", "Observation.status"),
    "a missing element inside": (patient(link=[{"type": "refer"}]), "required", "Patient.link[0].other"),
    "a missing choice": ({"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {"reference": "Patient/1"}}, "required", "MedicationRequest.medication"),
    "an extension without url": (patient(extension=[{"valueCode": "x"}]), "required", "Patient.extension[0].url"),
    "a value outside a required list": (patient(gender="foo"), "code-invalid", "Patient.gender"),
    "a status outside its list": (observation(status="done"), "code-invalid", "Observation.status"),
    "a required concept of another system": ({"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "clinicalStatus": {"coding": [{"system": "http://x", "code": "active"}]}}, "code-invalid", "Condition.clinicalStatus"),
    "a required concept in text": ({"resourceType": "Condition", "subject": {"reference": "Patient/1"}, "clinicalStatus": {"text": "active"}}, "code-invalid", "Condition.clinicalStatus"),
    "a currency in small letters": ({"resourceType": "Invoice", "status": "draft", "totalNet": {"value": 1, "currency": "vnd"}}, "code-invalid", "Invoice.totalNet.currency"),
    "a day that no calendar has": (patient(birthDate="1974-02-30"), "value", "Patient.birthDate"),
    "a date with a time": (patient(birthDate="1974-12-25T00:00:00Z"), "value", "Patient.birthDate"),
    "a time without a zone": (observation(effectiveDateTime="2020-01-01T10:00:00"), "value", "Observation.effective"),
    "a boolean in quotes": (patient(active="true"), "value", "Patient.active"),
    "a boolean as a number": (patient(active=1), "value", "Patient.active"),
    "an integer in quotes": (patient(multipleBirthInteger="2"), "value", "Patient.multipleBirth"),
    "an integer with a point": (patient(multipleBirthInteger=Decimal("2.0")), "value", "Patient.multipleBirth"),
    "an integer over 32 bits": (patient(multipleBirthInteger=2**31), "value", "Patient.multipleBirth"),
    "a decimal in quotes": (observation(valueQuantity={"value": "1.0"}), "value", "Observation.value.value"),
    "a positive number that is zero": (patient(telecom=[{"rank": 0}]), "value", "Patient.telecom[0].rank"),
    "a number for a string": (patient(name=[{"family": 1}]), "value", "Patient.name[0].family"),
    "a control character": (patient(name=[{"family": "a\x00"}]), "value", "Patient.name[0].family"),
    "a uri with a space": (patient(identifier=[{"system": "http://a b"}]), "value", "Patient.identifier[0].system"),
    "an id of 65": (patient(id="x" * 65), "value", "Patient.id"),
    "an id with a slash": (patient(id="a/b"), "value", "Patient.id"),
    "a code with a stray space": (observation(code={"coding": [{"code": "a "}]}), "value", "Observation.code.coding[0].code"),
    "bad base64": ({"resourceType": "Binary", "contentType": "a/b", "data": "@"}, "value", "Binary.data"),
    "an instant without a time": (observation(issued="2020-01-01"), "value", "Observation.issued"),
    "null": (patient(birthDate=None), "structure", "Patient.birthDate"),
    "an empty string": (patient(birthDate=""), "structure", "Patient.birthDate"),
    "an empty array": (patient(name=[]), "structure", "Patient.name"),
    "an empty array of codes": (patient(name=[{"given": []}]), "structure", "Patient.name[0].given"),
    "an empty object": (patient(name=[{}]), "structure", "Patient.name[0]"),
    "an object with only an id": (patient(name=[{"id": "a"}]), "structure", "Patient.name[0]"),
    "an object where an array belongs": (patient(name={"family": "x"}), "structure", "Patient.name"),
    "an array where one belongs": (patient(birthDate=["1974"]), "structure", "Patient.birthDate"),
    "an array where one object belongs": (patient(maritalStatus=[{"text": "x"}]), "structure", "Patient.maritalStatus"),
    "a string where an object belongs": (patient(maritalStatus="x"), "structure", "Patient.maritalStatus"),
    "an object where a string belongs": (patient(birthDate={"x": 1}), "structure", "Patient.birthDate"),
    "a string where an array belongs": (patient(name=[{"given": "x"}]), "structure", "Patient.name[0].given"),
    "null without content beside it": (patient(name=[{"given": ["a", None]}]), "structure", "Patient.name[0].given[1]"),
    "nulls on both sides": (patient(name=[{"given": ["a", None], "_given": [None, None]}]), "structure", "Patient.name[0].given[1]"),
    "arrays of two lengths": (patient(name=[{"given": ["a"], "_given": [None, {"extension": [EXT]}]}]), "structure", "Patient.name[0].given"),
    "an array beside one value": (patient(birthDate="1974", _birthDate=[{"extension": [EXT]}]), "structure", "Patient.birthDate"),
    "one object beside an array": (patient(name=[{"given": ["a"], "_given": {"extension": [EXT]}}]), "structure", "Patient.name[0].given"),
    "an unknown name beside a value": (patient(_birthDate={"value": "x"}), "structure", "Patient.birthDate.value"),
    "a null in an array of objects": (patient(name=[None]), "structure", "Patient.name[0]"),
    "something beside an object": (patient(_name=[{"id": "x"}]), "structure", "Patient._name"),
    "two types of a choice": (observation(valueString="x", valueInteger=1), "structure", "Observation.value"),
    "two types, one only extended": (observation(valueString="x", _valueInteger={"extension": [EXT]}), "structure", "Observation.value"),
    "a choice without a type": (observation(value="x"), "structure", "Observation.value"),
    "a type that a choice has not": (observation(valueMoney={"value": 1}), "structure", "Observation.valueMoney"),
    "an extension with value and extensions": (patient(extension=[{**EXT, "extension": [EXT]}]), "invariant", "Patient.extension[0]"),
    "an extension with nothing": (patient(extension=[{"url": "u"}]), "invariant", "Patient.extension[0]"),
    "a reference to a wrong type": (observation(subject={"reference": "Practitioner/1"}), "value", "Observation.subject"),
    "a reference elsewhere to a wrong type": (observation(subject={"reference": "http://x/fhir/Practitioner/1"}), "value", "Observation.subject"),
    "a conditional reference to a wrong type": (observation(subject={"reference": "Practitioner?identifier=1"}), "value", "Observation.subject"),
    "a logical reference to a wrong type": (observation(subject={"type": "Practitioner", "display": "x"}), "value", "Observation.subject"),
    "a reference of two types": (observation(subject={"type": "Group", "reference": "Patient/1"}), "value", "Observation.subject.type"),
    "a reference to an unknown type": (observation(subject={"reference": "Foo/1"}), "value", "Observation.subject.reference"),
    "a reference in small letters": (observation(subject={"reference": "patient/1"}), "value", "Observation.subject.reference"),
    "a reference without an id": (observation(subject={"reference": "Patient/"}), "value", "Observation.subject.reference"),
    "a reference with a space": (observation(subject={"reference": "Patient/a b"}), "value", "Observation.subject.reference"),
    "a url with a space as a reference": (observation(subject={"reference": "http://x y"}), "value", "Observation.subject.reference"),
    "a reference with more parts": (observation(performer=[{"reference": "Patient/1/2"}]), "value", "Observation.performer[0].reference"),
    "a reference in an extension of a wrong form": (patient(extension=[{"url": "u", "valueReference": {"reference": "Foo/1"}}]), "value", "Patient.extension[0].value.reference"),
    "a text beyond the limit": (patient(name=[{"family": "a" * 1_048_577}]), "too-long", "Patient.name[0].family"),
    "a string beside a value": (patient(_gender="x"), "structure", "Patient.gender"),
    "a reference to nothing contained": (observation(subject={"reference": "#p"}), "invariant", "Observation.subject"),
    "a contained resource that nobody names": (patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O"}]), "invariant", "Patient.contained[0]"),
    "a contained resource in a contained one": (patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O", "partOf": {"reference": "#"}, "contained": [{"resourceType": "Basic"}]}]), "invariant", "Patient.contained[0].contained"),
    "a contained resource with a version": (patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O", "meta": {"versionId": "1"}}], managingOrganization={"reference": "#o"}), "invariant", "Patient.contained[0].meta"),
    "a contained resource with a label": (patient(contained=[{"resourceType": "Organization", "id": "o", "name": "O", "meta": {"security": [{"code": "R"}]}}], managingOrganization={"reference": "#o"}), "invariant", "Patient.contained[0].meta.security"),
    "an error in a contained resource": (patient(contained=[{"resourceType": "Patient", "id": "o", "gender": "x"}], link=[{"type": "refer", "other": {"reference": "#o"}}]), "code-invalid", "Patient.contained[0].gender"),
    "a contained resource of no type": (patient(contained=[{"id": "a"}], managingOrganization={"reference": "#a"}), "structure", "Patient.contained[0]"),
    "an error in an entry": (bundle("collection", {"resource": patient()}, {"resource": patient(gender="x")}), "code-invalid", "Bundle.entry[1].resource.gender"),
    "an entry of no type": (bundle("collection", {"resource": {"id": "x"}}), "structure", "Bundle.entry[0].resource"),
    "an entry's resource that is no object": (bundle("collection", {"resource": "x"}), "structure", "Bundle.entry[0].resource"),
    "an error in a parameter's resource": ({"resourceType": "Parameters", "parameter": [{"name": "a", "resource": patient(foo=1)}]}, "structure", "Parameters.parameter[0].resource.foo"),
    "a reference into another entry's contained": (bundle("collection", {"resource": observation(subject={"reference": "#p"})}), "invariant", "Bundle.entry[0].resource.subject"),
    "a script in the narrative": (patient(text={"status": "generated", "div": DIV.format("<script>x</script>")}), "invariant", "Patient.text.div"),
    "a narrative without its div": (patient(text={"status": "generated", "div": "x"}), "invariant", "Patient.text.div"),
    "a narrative of no status": (patient(text={"div": DIV.format("x")}), "required", "Patient.text.status"),
    "a bad id beside a value": (patient(birthDate="1974", _birthDate={"id": ""}), "structure", "Patient.birthDate.id"),
}  # fmt: skip


@pytest.mark.parametrize(("resource", "code", "place"), INVALID.values(), ids=INVALID.keys())
def test_what_r4_does_not_allow_is_one_issue_with_its_place(
    resource: Resource, code: str, place: str
) -> None:
    """Each error is one issue: code, FHIRPath, a sentence in English and in Vietnamese."""
    (issue,) = validate(resource)

    assert (issue.severity, issue.code, issue.expression) == ("error", code, (place,))
    assert re.fullmatch(r"[A-Z][^\n]+[.)]", issue.text)
    assert issue.text_vi
    assert issue.text_vi != issue.text
    assert code in ISSUE_TYPES


def test_each_error_is_an_issue() -> None:
    """All errors of a resource are found at once, in its order."""
    wrong = patient(
        gender="x", birthDate="1974-02-30", name=[{"family": ""}, {"foo": 1, "use": "y"}]
    )

    assert [issue.expression[0] for issue in validate(wrong)] == [
        "Patient.gender", "Patient.birthDate", "Patient.name[0].family", "Patient.name[1].foo",
        "Patient.name[1].use",
    ]  # fmt: skip


def test_no_value_of_the_resource_is_told() -> None:
    """A sentence names places and rules, never what stands there."""
    secret = "NGUYEN-SECRET"
    wrong = patient(gender=secret, birthDate=secret, id=f"{secret}/", name=[{"family": {secret: secret}}],
                    managingOrganization={"reference": f"Patient/{secret}"}, **{f"{secret} x": 1})  # fmt: skip

    issues = validate(wrong)

    assert len(issues) == 6
    assert secret not in repr(issues)


def test_the_list_of_issues_ends() -> None:
    """Thousands of errors do not make an answer of megabytes."""
    issues = validate(
        bundle("collection", *({"resource": patient(gender="x")} for _ in range(5000)))
    )

    assert len(issues) == MAX_ISSUES + 1
    assert issues[-1].code == "too-long"


def test_one_doubtful_entry_does_not_hide_another() -> None:
    """Entries that are surely valid are spared, the others are walked."""
    rare = patient(name=[{"given": ["a", None], "_given": [None, {"extension": [EXT]}]}])
    entries = [{"resource": one} for one in (patient(), rare, patient(gender="x"), patient())]

    (issue,) = validate(bundle("collection", *entries))

    assert issue.expression == ("Bundle.entry[2].resource.gender",)


def test_nesting_without_end_is_an_issue() -> None:
    """A resource that is nested beyond all measure is refused, and nothing crashes."""
    deep: Resource = {"url": "u", "valueString": "x"}
    for _ in range(5000):
        deep = {"url": "u", "extension": [deep]}
    wrong = patient(extension=[deep])

    issues = validate(wrong)

    assert [(issue.code, issue.expression) for issue in issues] == [("structure", ("Patient",))]
    assert "nested" in issues[0].text
    while "extension" in deep:
        deep = deep["extension"][0]


@pytest.mark.parametrize(
    "value", [{}, {"resourceType": "Foo"}, {"resourceType": None}, [], "x", None]
)
def test_what_is_no_resource_is_malformed(value: Any) -> None:
    """Not even a resource is 400, not 422."""
    with pytest.raises(Malformed):
        validate(value)


def test_check_refuses_with_every_issue() -> None:
    """check() raises Invalid with the issues, and lets the valid pass."""
    check(patient())

    with pytest.raises(Invalid) as refusal:
        check(patient(gender="x", foo=1))
    assert len(refusal.value.issues) == 2
    assert refusal.value.status == 422


def test_what_stands_beside_a_value_is_named_as_json_has_it() -> None:
    """The sentence says `_gender`, the expression is FHIRPath."""
    (issue,) = validate(patient(_gender="x"))

    assert issue.text == "Patient._gender must be an object."
    assert issue.expression == ("Patient.gender",)


def test_a_text_that_is_too_long_is_told_so() -> None:
    """The sentence names the limit, not control characters."""
    (issue,) = validate(patient(name=[{"family": "a" * 1_048_577}]))

    assert "1,048,576" in issue.text
