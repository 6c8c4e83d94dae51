"""A store's own search parameters: what one may say, what it indexes, how it is asked."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fhir_server.model.identifiers import MA_BN, MA_CSKCB
from fhir_server.model.outcome import (
    BusinessRule,
    Duplicate,
    FhirError,
    InvalidValue,
    UnsupportedParameter,
)
from fhir_server.search.expression import Chain, Has, RefersTo, Sort, TokenIs
from fhir_server.search.extract import index_values
from fhir_server.search.own import is_same, own_of
from fhir_server.search.parameters import R4, Known, Own, known_of
from fhir_server.search.query import parse, parse_criteria
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
)

NOW = datetime(2026, 11, 26, tzinfo=UTC)
URL = "http://example.vn/fhir/StructureDefinition"


def definition(**fields: Any) -> dict[str, Any]:
    """Return a SearchParameter: an extension of Patient, unless it is said otherwise."""
    return {
        "resourceType": "SearchParameter",
        "id": "eye",
        "url": "http://example.vn/fhir/SearchParameter/eye",
        "name": "Eye",
        "status": "active",
        "description": "Colour of the eyes",
        "code": "eye-colour",
        "base": ["Patient"],
        "type": "token",
        "expression": f"Patient.extension.where(url='{URL}/eye').value.as(CodeableConcept)",
    } | fields


def known(*resources: dict[str, Any], ready: bool = True) -> Known:
    """Return what a store knows that was given these."""
    own: tuple[Own, ...] = ()
    for number, resource in enumerate(resources, 1):
        made = own_of(resource, known_of(own, number))
        assert made is not None
        own = (*own, msgspec.structs.replace(made, made=number, ready=ready))
    return known_of(own, len(own))


def brown(url: str = f"{URL}/eye", **more: Any) -> dict[str, Any]:
    """Return a Patient with brown eyes."""
    coding = {"system": "http://example.vn/colours", "code": "brown"}
    eye = {"url": url, "valueCodeableConcept": {"coding": [coding]}}
    return {"resourceType": "Patient", "id": "p", "extension": [eye], **more}


def read(
    resource_type: str, query: list[tuple[str, str]], by: Known, *, strict: bool = True
) -> Any:
    """Return a search as it is read."""
    return parse(resource_type, query, base_url="http://h/fhir", strict=strict, now=NOW, known=by)


# --- what is indexed -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        f"Patient.extension.where(url='{URL}/eye').value",
        f"Patient.extension.where(url = '{URL}/eye').value.as(CodeableConcept)",
        f"Patient.extension.where(url='{URL}/eye').value.ofType(CodeableConcept)",
        f"(Patient.extension.where(url='{URL}/eye').value as CodeableConcept)",
        f"Patient.extension('{URL}/eye').value",
        f"Patient.extension('{URL}/eye').value as CodeableConcept",
        f"extension('{URL}/eye').value",
        f"DomainResource.extension('{URL}/eye').value",
        f"Patient.extension('{URL}/hair').value | Patient.extension('{URL}/eye').value",
    ],
)
def test_what_an_extension_says_is_indexed(expression: str) -> None:
    """Each way of writing the path to an extension finds its value, and no other extension's."""
    by = known(definition(expression=expression))

    found = index_values(brown(), known=by).values

    assert TokenValue("eye-colour~1", "http://example.vn/colours", "brown") in found
    assert (
        index_values(brown(f"{URL}/other"), known=by).values
        == index_values(brown(f"{URL}/other")).values
    )


@pytest.mark.parametrize(
    ("fields", "resource", "value"),
    [
        (
            {
                "type": "date",
                "expression": f"Patient.birthDate.extension.where(url='{URL}/time').value",
            },
            {"birthDate": "2000-01-01",
             "_birthDate": {"extension": [{"url": f"{URL}/time", "valueDate": "2000-01-02"}]}},
            DateValue,
        ),
        (
            {"type": "string", "expression": "Patient.contact.name.text"},
            {"contact": [{"name": {"text": "Nguyễn Thị Mẫu"}}]},
            StringValue("x~1", "nguyen thi mau", "Nguyễn Thị Mẫu"),
        ),
        (
            {"type": "reference", "expression": f"Patient.extension('{URL}/r').value",
             "target": ["Encounter"]},
            {"extension": [{"url": f"{URL}/r", "valueReference": {"reference": "Encounter/e"}}]},
            ReferenceValue("x~1", "Encounter", "e"),
        ),
        (
            {"type": "quantity", "expression": f"Patient.extension('{URL}/q').value"},
            {"extension": [{"url": f"{URL}/q", "valueQuantity": {"value": 7, "unit": "cm"}}]},
            QuantityValue,
        ),
        (
            {"type": "token",
             "expression": f"Patient.extension('{URL}/a').extension('{URL}/b').value"},
            {"extension": [{"url": f"{URL}/a", "extension": [
                {"url": f"{URL}/b", "valueBoolean": True}]}]},
            TokenValue("x~1", "", "true"),
        ),
        (
            {"type": "token", "base": ["Resource"], "expression": "Resource.language"},
            {"language": "vi"},
            TokenValue("x~1", "", "vi"),
        ),
    ],
    ids=["primitive", "plain", "reference", "quantity", "nested", "resource"],
)  # fmt: skip
def test_each_type_of_parameter(
    fields: dict[str, Any], resource: dict[str, Any], value: Any
) -> None:
    """What stands at the end of the path is indexed as the parameter's type says."""
    by = known(definition(code="x") | fields)

    found = index_values({"resourceType": "Patient", "id": "p", **resource}, known=by).values

    own = [one for one in found if one.param == "x~1"]
    assert len(own) == 1
    assert isinstance(own[0], value) if isinstance(value, type) else own == [value]


def test_a_composite_of_known_parameters() -> None:
    """Its components are R4's or the store's own, and stand together in one element."""
    part = definition(
        id="method", url="http://example.vn/method", code="how", base=["Observation"],
        expression="Observation.component.code",
    )  # fmt: skip
    both = definition(
        id="both", url="http://example.vn/both", code="code-and-text", base=["Observation"],
        type="composite", expression="Observation.component",
        component=[
            {"definition": part["url"], "expression": "code"},
            {
                "definition": "http://hl7.org/fhir/SearchParameter/Observation-value-string",
                "expression": "value.as(string)",
            },
        ],
    )  # fmt: skip
    by = known(part, both)
    codes = ({"coding": [{"code": code}]} for code in ("a", "b"))
    first, second = ({"code": one, "valueString": f"t{n}"} for n, one in enumerate(codes))

    found = index_values(
        {"resourceType": "Observation", "id": "o", "component": [first, second]}, known=by
    ).values

    own = [one for one in found if one.param == "code-and-text~2"]
    assert len(own) == 2
    assert all(isinstance(one, CompositeValue) for one in own)
    query = read("Observation", [("code-and-text", "a$t0")], by)
    assert query.own == ("code-and-text~2",)


def test_what_names_a_facility_of_a_patient_is_not_indexed() -> None:
    """Where else a Patient was is hidden from facilities: no parameter of anybody's may tell."""
    by = known(
        definition(code="any", expression="Patient.extension.value | Patient.identifier"),
    )
    hidden = [
        {"url": f"{URL}/x", "valueIdentifier": {"system": MA_CSKCB, "value": "01999"}},
        {"url": f"{URL}/x", "valueCoding": {"system": f"{MA_BN}01999", "code": "7"}},
    ]
    numbers = [
        {"system": f"{MA_BN}01999", "value": "77"},
        {"system": "http://x", "value": "78",
         "assigner": {"identifier": {"system": MA_CSKCB, "value": "01999"}}},
        {"system": "http://x", "value": "79"},
    ]  # fmt: skip
    patient = brown(identifier=numbers)
    patient["extension"] += hidden

    own = [one for one in index_values(patient, known=by).values if one.param == "any~1"]

    assert [one.code for one in own if isinstance(one, TokenValue)] == ["brown", "79"]


def test_a_store_s_own_parameter_puts_nothing_into_a_compartment() -> None:
    """Whose a resource is, R4's compartments alone say."""
    by = known(
        definition(
            code="of", type="reference", base=["Basic"], target=["Patient"],
            expression=f"Basic.extension('{URL}/of').value",
        )
    )  # fmt: skip
    said = {"url": f"{URL}/of", "valueReference": {"reference": "Patient/p"}}

    index = index_values({"resourceType": "Basic", "id": "b", "extension": [said]}, known=by)

    assert ReferenceValue("of~1", "Patient", "p") in index.values
    assert index.patients == ()


# --- what is refused of a SearchParameter ----------------------------------------------------


@pytest.mark.parametrize("status", ["draft", "retired", "unknown"])
def test_what_is_not_active_makes_no_parameter(status: str) -> None:
    """It is kept as any resource, however little of it could be indexed."""
    assert own_of(definition(status=status, expression="nonsense("), R4) is None


def test_r4_s_own_definitions_make_none() -> None:
    """They are there anyway, and may be kept for whoever looks them up."""
    url = "http://hl7.org/fhir/SearchParameter/individual-gender"

    assert own_of(definition(code="gender", url=url, expression="Patient.gender"), R4) is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"type": "special"}, "by its type"),
        ({"xpathUsage": "phonetic"}, "by its type"),
        ({"code": "eye colour"}, "by its code"),
        ({"code": "_eye"}, "by its code"),
        ({"code": "eye.colour"}, "by its code"),
        ({"base": ["Dragon"]}, "Dragon is no resource type"),
        ({"expression": ""}, "there must be a FHIRPath expression"),
        ({"expression": "Patient.name.exists()"}, "not understood from 'exists()' on"),
        ({"expression": "Patient.extension.where(url='a' and value='b').value"}, "'where(url"),
        ({"expression": "Patient.nme"}, "leads nowhere: Patient has no nme"),
        ({"expression": "Observation.code"}, "begins at Patient"),
        ({"expression": "Patient.name | Observation.code", "type": "string"}, "Observation is not"),
        ({"expression": "Patient.birthDate", "type": "quantity"}, "finds nothing in a date"),
        ({"expression": "Patient.contained.id"}, "contained"),
        ({"expression": "Patient." + "contact." * 600 + "name"}, "at most"),
        ({"type": "composite", "expression": "Patient"}, "2 to 5 components"),
        (
            {"type": "composite", "expression": "Patient", "component": [
                {"definition": "http://x", "expression": "name"}] * 2},
            "no search parameter http://x",
        ),
        (
            {"type": "composite", "expression": "Patient", "component": [
                {"definition": "http://hl7.org/fhir/SearchParameter/individual-gender",
                 "expression": "gendr"}] * 2},
            "'gendr' finds nothing in Patient",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_indexed_is_refused(fields: dict[str, Any], said: str) -> None:
    """The refusal is a sentence that says which part of it, and that a draft would be kept."""
    with pytest.raises(BusinessRule, match="status draft") as refused:
        own_of(definition(**fields), R4)

    assert said in str(refused.value)
    assert refused.value.status == 422


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"code": "gender"}, "Patient has a search parameter of the code gender already"),
        ({"code": "coverage", "base": ["Claim"], "expression": "Claim.id"}, "code coverage"),
        ({"code": "near", "base": ["Location"], "expression": "Location.name"}, "code near"),
        ({"code": "name", "base": ["Resource"], "expression": "Resource.id"}, "code name"),
        ({"id": "two", "url": "http://other"}, "code eye-colour"),
        ({"id": "two", "code": "iris"}, "the same url"),
    ],
)
def test_what_is_there_already_is_refused(fields: dict[str, Any], said: str) -> None:
    """A code means one thing of a type, and a URL one parameter."""
    with pytest.raises(Duplicate, match=said):
        own_of(definition(**fields), known(definition()))


def test_whether_a_definition_is_the_same() -> None:
    """What says otherwise what it is for, but indexes the same, is no other parameter."""
    one, other = own_of(definition(), R4), own_of(definition(description="Iris"), R4)
    third = own_of(definition(expression="Patient.maritalStatus"), R4)
    assert one
    assert other
    assert third

    assert is_same(msgspec.structs.replace(one, made=7, ready=True), other)
    assert not is_same(one, third)


# --- how they are asked --------------------------------------------------------------------


def test_they_are_read_wherever_a_parameter_is() -> None:
    """In searches, chains, `_has`, order, includes and conditions; by the name alone."""
    by = known(
        definition(),
        definition(
            id="r", url="http://r", code="of", type="reference", base=["Basic"],
            target=["Patient"], expression="Basic.subject",
        ),
    )  # fmt: skip
    eye = TokenIs("eye-colour~1", None, "brown")

    assert read("Patient", [("eye-colour", "brown")], by).where == eye
    assert parse_criteria("Patient", "eye-colour=brown", known=by) == eye
    chain = read("Basic", [("of.eye-colour", "brown")], by).where
    assert chain == Chain("of~2", "Patient", eye)
    has = read("Patient", [("_has:Basic:of:_id", "b")], by).where
    assert isinstance(has, Has)
    assert has.param == "of~2"
    assert read("Patient", [("_sort", "-eye-colour")], by).sort == (
        Sort("eye-colour~1", "token", descending=True),
    )
    assert read("Patient", [("_revinclude", "Basic:of")], by).includes[0].param == "of~2"
    assert isinstance(read("Basic", [("of", "Patient/p")], by).where, RefersTo)
    with pytest.raises(UnsupportedParameter):
        read("Patient", [("eye-colour~1", "brown")], by)


QUERIES = [
    ("Patient", [("eye-colour", "brown")]),
    ("Patient", [("eye-colour:missing", "true")]),
    ("Patient", [("_sort", "eye-colour")]),
    ("Observation", [("subject:Patient.eye-colour", "brown")]),
    ("Observation", [("subject.eye-colour", "brown")]),
    ("Practitioner", [("_has:Patient:general-practitioner:eye-colour", "brown")]),
]


@pytest.mark.parametrize(("kind", "query"), QUERIES, ids=[query[0][0] for _, query in QUERIES])
def test_one_that_is_not_ready_is_refused(kind: str, query: list[tuple[str, str]]) -> None:
    """Left out, the search would be wider: lenient or not, it is refused with how far it is."""
    by = known(definition(), ready=False).at("40 %")

    for strict in (False, True):
        with pytest.raises(UnsupportedParameter, match=r"being indexed \(40 % done\)") as refused:
            read(kind, query, by, strict=strict)
    assert refused.value.issues[0].code == "not-supported"
    assert "40 %" in (refused.value.issues[0].text_vi or "")


@pytest.mark.parametrize(("kind", "query"), QUERIES, ids=[query[0][0] for _, query in QUERIES])
def test_one_that_is_closed_is_refused(kind: str, query: list[tuple[str, str]]) -> None:
    """Of who does not see all of a resource none is asked, nor left out."""
    by = known(definition()).closed()

    for strict in (False, True):
        with pytest.raises(UnsupportedParameter, match="not open to this client"):
            read(kind, query, by, strict=strict)


@pytest.mark.parametrize(
    ("fields", "query", "refusal"),
    [
        ({"multipleOr": False}, [("x", "a,b")], "one value"),
        ({"multipleOr": False}, [("x", "a\\,b")], None),
        ({"multipleAnd": False}, [("x", "a"), ("x", "b")], "given once"),
        ({"multipleAnd": False}, [("x", "a")], None),
        ({"modifier": ["not"]}, [("x:not", "a")], None),
        ({"modifier": ["not"]}, [("x:text", "a")], "does not list"),
        ({"modifier": ["not"]}, [("x:missing", "true")], "does not list"),
        ({"type": "date", "expression": "Patient.birthDate", "comparator": ["ge"]},
         [("x", "ge2020"), ("x", "2020")], None),
        ({"type": "date", "expression": "Patient.birthDate", "comparator": ["ge"]},
         [("x", "lt2020")], "prefix"),
        ({"type": "date", "expression": "Patient.birthDate", "comparator": ["ge"]},
         [("x:missing", "true")], None),
    ],
)  # fmt: skip
def test_they_are_asked_as_the_definition_lets_them_be(
    fields: dict[str, Any], query: list[tuple[str, str]], refusal: str | None
) -> None:
    """multipleOr, multipleAnd, modifier and comparator hold where they are given."""
    by = known(definition(code="x") | fields)

    if refusal is None:
        read("Patient", query, by)
        return
    with pytest.raises(InvalidValue, match=refusal):
        read("Patient", query, by)


def test_a_cursor_belongs_to_the_definition() -> None:
    """Of another definition under the same name the next page would be of another search."""
    one = known(definition())
    other = known_of(tuple(msgspec.structs.replace(own, made=9) for own in one.own), 2)
    query = [("eye-colour", "brown")]

    assert read("Patient", query, one).asked != read("Patient", query, other).asked
    assert (
        read("Patient", [("gender", "male")], one).asked
        == read("Patient", [("gender", "male")], R4).asked
    )


def test_what_is_known_can_be_sent_to_another_process() -> None:
    """It comes out there as the one object that has what was compiled for it."""
    by = known(definition())

    assert pickle.loads(pickle.dumps(by)) is by  # noqa: S301 - our own bytes


def test_errors_say_nothing_of_values() -> None:
    """What is asked may be a patient's."""
    by = known(definition(code="x", multipleOr=False))

    with pytest.raises(FhirError) as refused:
        read("Patient", [("x", "secret,other")], by)
    assert "secret" not in str(refused.value)
