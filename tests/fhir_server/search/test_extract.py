"""Index values of resources, parameter by parameter, against values worked out by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import BHYT, CCCD, CCHN, CMND, DRAFT, MA_CSKCB, MA_LK
from fhir_server.search.compile import compiled
from fhir_server.search.extract import index_values, unique_keys
from fhir_server.search.parameters import R4, parameters
from fhir_server.search.values import (
    ELSEWHERE,
    MAX_NUMBER,
    MAX_TIME,
    MIN_NUMBER,
    MIN_TIME,
    CompositeValue,
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
)

BASE_URL = "http://127.0.0.1:8080/fhir"
DAY = 86_400_000_000
MAY_DAY = 1714496400000000
"""2024-05-01T00:00:00+07:00."""

N12 = "032655908430"
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in N12)
"""A citizen's number, and the same in full-width digits."""

LINK = [{"other": {"reference": "Patient/q"}, "type": "seealso"}]

T, N, Q, R = TokenValue, NumberValue, QuantityValue, ReferenceValue


def _texts(param: str, *texts: tuple[str, str]) -> list[StringValue]:
    return [StringValue(param, folded, exact) for exact, folded in texts]


def _coding(code: str, display: str | None = None, system: str = "http://s") -> dict[str, Any]:
    shown = {"display": display} if display else {}
    return {"system": system, "code": code, **shown}


EXTRACTED: list[tuple[str, dict[str, Any], str, list[Any]]] = [
    # token
    (
        "Patient",
        {"gender": "male"},
        "gender",
        [T("gender", "http://hl7.org/fhir/administrative-gender", "male")],
    ),
    ("Patient", {"active": False}, "active", [T("active", "", "false")]),
    ("Patient", {}, "deceased", [T("deceased", "", "false")]),
    ("Patient", {"deceasedBoolean": True}, "deceased", [T("deceased", "", "true")]),
    ("Patient", {"deceasedBoolean": False}, "deceased", [T("deceased", "", "false")]),
    ("Patient", {"deceasedDateTime": "2020"}, "deceased", [T("deceased", "", "true")]),
    (
        "Observation",
        {"code": {"coding": [_coding("1", "Cân nặng"), _coding("2", "", "")], "text": "Cân"}},
        "code",
        [T("code", "http://s", "1", "can nang"), T("code", "", "2", "can")],
    ),
    (
        "Observation",
        {"code": {"coding": [_coding("1", "Cân nặng")], "text": "KG"}},
        "code",
        [T("code", "http://s", "1", "can nang"), T("code", "", "", "kg")],
    ),
    ("Observation", {"code": {"text": "Cân"}}, "code", [T("code", "", "", "can")]),
    ("Observation", {"code": {}}, "code", []),
    ("Encounter", {"class": _coding("AMB")}, "class", [T("class", "http://s", "AMB")]),
    (
        "Patient",
        {"identifier": [{"system": CCCD, "value": "001"}, {"value": "x"}, {"system": BHYT}]},
        "identifier",
        [T("identifier", CCCD, "001"), T("identifier", "", "x"), T("identifier", BHYT, "")],
    ),
    (
        "Patient",
        {"identifier": [{"system": f"{DRAFT}/national_id", "value": "001"}]},
        "identifier",
        [T("identifier", CCCD, "001")],
    ),
    (
        "Patient",
        {
            "identifier": [
                {"system": f"{DRAFT}/citizen_id", "value": N12},
                {"system": f"{DRAFT}/national_id", "value": "123456789"},
                {"system": f"{DRAFT}/citizen_id", "value": "B1"},
                {"system": CCCD, "value": f"{WIDE} "},
                {"system": BHYT, "value": f"{N12} "},
            ]
        },
        "identifier",
        [
            T("identifier", CCCD, N12),
            T("identifier", CMND, "123456789"),
            T("identifier", CMND, "B1"),
            T("identifier", CCCD, N12),
            T("identifier", BHYT, f"{N12} "),
        ],
    ),
    (
        "Patient",
        {"identifier": [{"value": "1", "type": {"coding": [_coding("MR")], "text": "Số"}}]},
        "identifier:of-type",
        [T("identifier:of-type", "http://s", "MR|1")],
    ),
    (
        "Patient",
        {"telecom": [{"system": "phone", "value": "09"}, {"system": "email", "value": "a@b"}]},
        "phone",
        [T("phone", "", "09"), T("phone", "phone", "09")],
    ),
    (
        "Patient",
        {"telecom": [{"system": "phone", "value": "09"}, {"system": "email", "value": "a@b"}]},
        "telecom",
        [
            T("telecom", "", "09"),
            T("telecom", "phone", "09"),
            T("telecom", "", "a@b"),
            T("telecom", "email", "a@b"),
        ],
    ),
    (
        "Patient",
        {"communication": [{"language": {"coding": [_coding("vi")]}}]},
        "language",
        [T("language", "http://s", "vi")],
    ),
    ("ValueSet", {"version": "1.0"}, "version", [T("version", "", "1.0")]),
    ("Patient", {"meta": {"tag": [_coding("t")]}}, "_tag", [T("_tag", "http://s", "t")]),
    (
        "Patient",
        {"meta": {"security": [_coding("HIV")]}},
        "_security",
        [T("_security", "http://s", "HIV")],
    ),
    # string
    (
        "Patient",
        {"name": [{"text": "Nguyễn An", "family": "Nguyễn", "given": ["An"], "prefix": ["Ông"]}]},
        "name",
        _texts(
            "name",
            ("Nguyễn An", "nguyen an"),
            ("Nguyễn", "nguyen"),
            ("An", "an"),
            ("Ông", "ong"),
        ),
    ),
    (
        "Patient",
        {"name": [{"given": ["Văn", None, "An"], "_given": [None, {"id": "x"}, None]}]},
        "given",
        _texts("given", ("Văn", "van"), ("An", "an")),
    ),
    (
        "Patient",
        {"name": [{"family": "Đỗ"}]},
        "phonetic",
        _texts("phonetic", ("Đỗ", "do")),
    ),
    (
        "Patient",
        {"address": [{"line": ["Số 1"], "city": "Huế", "use": "home"}]},
        "address",
        _texts("address", ("Số 1", "so 1"), ("Huế", "hue")),
    ),
    (
        "Observation",
        {"valueCodeableConcept": {"text": "Tốt"}},
        "value-string",
        _texts("value-string", ("Tốt", "tot")),
    ),
    # uri
    ("ValueSet", {"url": "http://x"}, "url", [UriValue("url", "http://x")]),
    (
        "Patient",
        {"meta": {"profile": ["http://p|1"]}},
        "_profile",
        [UriValue("_profile", "http://p|1"), UriValue("_profile", "http://p")],
    ),
    ("Patient", {"meta": {"source": "urn:x"}}, "_source", [UriValue("_source", "urn:x")]),
    # date
    (
        "Patient",
        {"birthDate": "2024-05-01"},
        "birthdate",
        [DateValue("birthdate", MAY_DAY, MAY_DAY + DAY - 1)],
    ),
    (
        "Observation",
        {"effectiveDateTime": "2024-05-01T00:00:00.5+07:00"},
        "date",
        [DateValue("date", MAY_DAY + 500_000, MAY_DAY + 599_999)],
    ),
    (
        "Observation",
        {"effectiveInstant": "2024-04-30T17:00:00Z"},
        "date",
        [DateValue("date", MAY_DAY, MAY_DAY + 999_999)],
    ),
    (
        "Observation",
        {"effectivePeriod": {"start": "2024-05-01", "end": "2024-05-02"}},
        "date",
        [DateValue("date", MAY_DAY, MAY_DAY + 2 * DAY - 1)],
    ),
    (
        "Observation",
        {"effectivePeriod": {"start": "2024-05-01"}},
        "date",
        [DateValue("date", MAY_DAY, MAX_TIME)],
    ),
    (
        "Observation",
        {"effectivePeriod": {"end": "2024-05-01"}},
        "date",
        [DateValue("date", MIN_TIME, MAY_DAY + DAY - 1)],
    ),
    ("Observation", {"effectivePeriod": {}}, "date", []),
    (
        "Observation",
        {"effectivePeriod": {"start": "2024-05-02", "end": "2024-05-01"}},
        "date",
        [DateValue("date", MAY_DAY + DAY - 1, MAY_DAY + DAY)],
    ),
    (
        "Observation",
        {"effectiveTiming": {"event": ["2024-05-03", "2024-05-01"]}},
        "date",
        [DateValue("date", MAY_DAY, MAY_DAY + 3 * DAY - 1)],
    ),
    (
        "Observation",
        {"effectiveTiming": {"repeat": {"boundsPeriod": {"start": "2024-05-01"}}}},
        "date",
        [DateValue("date", MAY_DAY, MAX_TIME)],
    ),
    ("Observation", {"effectiveTiming": {"repeat": {"frequency": 1}}}, "date", []),
    # number, quantity
    (
        "RiskAssessment",
        {"prediction": [{"probabilityDecimal": Decimal("0.10")}, {"probabilityDecimal": 1}]},
        "probability",
        [
            N("probability", Decimal("0.10"), Decimal("0.10")),
            N("probability", Decimal(1), Decimal(1)),
        ],
    ),
    (
        "RiskAssessment",
        {"prediction": [{"probabilityRange": {"high": {"value": Decimal("0.5")}}}]},
        "probability",
        [N("probability", MIN_NUMBER, Decimal("0.5"))],
    ),
    (
        "Observation",
        {"valueQuantity": {"value": Decimal("1.50"), "unit": "kí", "system": "u", "code": "kg"}},
        "value-quantity",
        [Q("value-quantity", Decimal("1.50"), Decimal("1.50"), "u", "kg", "kí")],
    ),
    (
        "Observation",
        {"valueQuantity": {"value": 5, "comparator": ">="}},
        "value-quantity",
        [Q("value-quantity", Decimal(5), MAX_NUMBER, "", "")],
    ),
    (
        "Observation",
        {"valueQuantity": {"value": 5, "comparator": "<"}},
        "value-quantity",
        [Q("value-quantity", MIN_NUMBER, Decimal(5), "", "")],
    ),
    ("Observation", {"valueQuantity": {"unit": "kg"}}, "value-quantity", []),
    (
        "ChargeItem",
        {"priceOverride": {"value": 1000, "currency": "VND"}},
        "price-override",
        [Q("price-override", *[Decimal(1000)] * 2, "urn:iso:std:iso:4217", "VND", "VND")],
    ),
    (
        "Condition",
        {"onsetRange": {"low": {"value": 1, "code": "a"}, "high": {"value": 2, "code": "a"}}},
        "onset-age",
        [Q("onset-age", Decimal(1), Decimal(2), "", "a")],
    ),
    # reference
    (
        "Observation",
        {"subject": {"reference": "Patient/1"}},
        "subject",
        [R("subject", "Patient", "1")],
    ),
    (
        "Observation",
        {"subject": {"reference": "Patient/1"}},
        "patient",
        [R("patient", "Patient", "1")],
    ),
    ("Observation", {"subject": {"reference": "Group/1"}}, "patient", []),
    (
        "Observation",
        {"subject": {"reference": f"{BASE_URL}/Patient/1"}},
        "patient",
        [R("patient", "Patient", "1")],
    ),
    (
        "Observation",
        {"subject": {"reference": "http://other/Patient/1"}},
        "patient",
        [R("patient", "", "", "http://other/Patient/1")],
    ),
    ("Observation", {"subject": {"reference": "http://other/Group/1"}}, "patient", []),
    ("Observation", {"subject": {"reference": "#inside"}}, "subject", []),
    ("Observation", {"subject": {"display": "ai đó"}}, "subject", []),
    (
        "Observation",
        {"subject": {"reference": "urn:uuid:1"}},
        "subject",
        [R("subject", "", "", "urn:uuid:1")],
    ),
    (
        "Observation",
        {"subject": {"reference": "Patient/1/_history/2"}},
        "subject",
        [R("subject", "Patient", "1"), R("subject", "", "", "Patient/1/_history/2")],
    ),
    (
        "Coverage",
        {"payor": [{"identifier": {"system": "http://s", "value": "BHXH"}}]},
        "payor:identifier",
        [T("payor:identifier", "http://s", "BHXH")],
    ),
    (
        "Observation",
        {"subject": {"reference": "Group/1", "identifier": {"value": "x"}}},
        "patient:identifier",
        [],
    ),
    (
        "Observation",
        {"subject": {"type": "Group", "identifier": {"value": "x"}}},
        "patient:identifier",
        [],
    ),
    (
        "Observation",
        {"subject": {"type": "Patient", "identifier": {"value": "x"}}},
        "patient:identifier",
        [T("patient:identifier", "", "x")],
    ),
    (
        "QuestionnaireResponse",
        {"questionnaire": "http://q|1"},
        "questionnaire",
        [R("questionnaire", "", "", "http://q|1"), R("questionnaire", "", "", "http://q")],
    ),
    (
        "QuestionnaireResponse",
        {"questionnaire": "http://q|1.2#part"},
        "questionnaire",
        [R("questionnaire", "", "", one) for one in ("http://q|1.2", "http://q")],
    ),
    (
        "ConceptMap",
        {"sourceCanonical": "http://snomed.info/sct?fhir_vs"},
        "source",
        [R("source", "", "", "http://snomed.info/sct?fhir_vs")],
    ),
    (
        "QuestionnaireResponse",
        {"questionnaire": "http://q|1.2-a"},
        "questionnaire:version",
        [R("questionnaire:version", "", "", f"http://q|{one}") for one in ("1", "1.2", "1.2-a")],
    ),
    (
        "QuestionnaireResponse",
        {"questionnaire": "http://q"},
        "questionnaire:version",
        [R("questionnaire:version", "", "", "http://q|")],
    ),
    ("ActivityDefinition", {"library": ["#inside"]}, "depends-on", []),
    (
        "Bundle",
        {"entry": [{"resource": {"resourceType": "Composition", "id": "c"}}, {}]},
        "composition",
        [R("composition", "Composition", "c")],
    ),
    (
        "Bundle",
        {"entry": [{}, {"resource": {"resourceType": "Composition", "id": "c"}}]},
        "composition",
        [],
    ),
    (
        "Claim",
        {"insurance": [{"coverage": {"reference": "Coverage/c"}}]},
        "coverage",
        [R("coverage", "Coverage", "c")],
    ),
    (
        "Claim",
        {
            "patient": {"reference": "Patient/p"},
            "item": [{"encounter": [{"reference": "Encounter/e"}]}],
            "diagnosis": [{"diagnosisReference": {"reference": "Condition/d"}}],
            "supportingInfo": [{"valueReference": {"reference": "MedicationRequest/m"}}],
            "extension": [{"url": "u", "valueReference": {"reference": "Patient/other"}}],
        },
        "names",
        [
            R("names", "Patient", "p"),
            R("names", "Encounter", "e"),
            R("names", "Condition", "d"),
            R("names", "MedicationRequest", "m"),
        ],
    ),
    # composite: a value for each repetition that has every part
    (
        "Observation",
        {
            "component": [
                {"code": {"coding": [_coding("a")]}, "valueQuantity": {"value": 1}},
                {"code": {"coding": [_coding("b")]}},
            ]
        },
        "component-code-value-quantity",
        [
            CompositeValue(
                "component-code-value-quantity",
                (
                    (T("component-code", "http://s", "a"),),
                    (Q("component-value-quantity", Decimal(1), Decimal(1), "", ""),),
                ),
            )
        ],
    ),
    (
        "MolecularSequence",
        {
            "referenceSeq": {"chromosome": {"coding": [_coding("1")]}},
            "variant": [{"start": 5, "end": 6}],
        },
        "chromosome-variant-coordinate",
        [
            CompositeValue(
                "chromosome-variant-coordinate",
                (
                    (T("chromosome", "http://s", "1"),),
                    (N("variant-start", Decimal(5), Decimal(5)),),
                    (N("variant-end", Decimal(6), Decimal(6)),),
                ),
            )
        ],
    ),
]


@pytest.mark.parametrize(("resource_type", "elements", "param", "expected"), EXTRACTED)
def test_values_of_a_parameter(
    resource_type: str, elements: dict[str, Any], param: str, expected: list[Any]
) -> None:
    """A resource has these values of a parameter and no other."""
    index = index_values({"resourceType": resource_type, **elements}, base_url=BASE_URL)

    assert [value for value in index.values if value.param == param] == expected


@pytest.mark.parametrize(
    ("resource_type", "elements"),
    [
        ("Basic", {"created": "2024-02-30", "meta": {"profile": [None, 5], "source": 5}}),
        ("Group", {"actual": "true", "type": 7}),
        ("ValueSet", {"version": 1, "description": 2, "url": 3}),
        ("Person", {"name": [{"family": 4}], "birthDate": 1980}),
        ("RiskAssessment", {"prediction": [{"probabilityDecimal": "1"}, {"probabilityRange": {}}]}),
        ("QuestionnaireResponse", {"questionnaire": 5}),
        ("ChargeItem", {"priceOverride": {"currency": "VND"}, "subject": {"reference": 5}}),
        ("Organization", {"telecom": [{"system": "phone"}], "identifier": [{"use": "usual"}]}),
        ("Condition", {"onsetRange": {}, "onsetString": None}),
        ("Bundle", {"entry": []}),
    ],
)
def test_elements_of_another_shape_have_no_values(
    resource_type: str, elements: dict[str, Any]
) -> None:
    """What validation would refuse is not indexed, and is no error either."""
    assert index_values({"resourceType": resource_type, **elements}).values == ()


@pytest.mark.parametrize(
    ("resource", "names"),
    [
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p"}}, []),
        (
            {
                "resourceType": "Observation",
                "subject": {
                    "reference": "Patient/p",
                    "extension": [{"url": "u", "valueReference": {"reference": "Patient/q"}}],
                },
            },
            ["Patient/q"],
        ),
        (
            {
                "resourceType": "Basic",
                "extension": [
                    {"url": "u", "valueReference": {"reference": one}}
                    for one in ("Patient/p", f"{BASE_URL}/Group/g", "Patient/p", "#x", "urn:x:y")
                ],
            },
            ["Patient/p", "Group/g"],
        ),
        (
            {
                "resourceType": "Bundle",
                "type": "document",
                "entry": [
                    {"resource": {"resourceType": "Basic", "author": {"reference": "Patient/p"}}}
                ],
            },
            [],
        ),
        (
            {
                "resourceType": "Basic",
                "contained": [
                    {"resourceType": "List", "entry": [{"item": {"reference": "Patient/p"}}]}
                ],
            },
            ["Patient/p"],
        ),
    ],
)  # fmt: skip
def test_references_that_no_parameter_covers(resource: dict[str, Any], names: list[str]) -> None:
    """They are indexed once under a name of their own, which no search parameter has."""
    index = index_values(resource, base_url=BASE_URL)

    found = [value for value in index.values if value.param == ELSEWHERE]
    assert [f"{value.resource_type}/{value.resource_id}" for value in found] == names
    assert not any(ELSEWHERE in parameters(name) for name in RESOURCE_TYPES)


def test_id_and_time_are_not_indexed() -> None:
    """`_id` and `_lastUpdated` are what the store itself knows."""
    index = index_values({"resourceType": "Basic", "id": "x", "meta": {"lastUpdated": "2024"}})

    assert index.values == ()


@pytest.mark.parametrize(
    ("resource", "patients"),
    [
        ({"resourceType": "Patient", "id": "p"}, ("p",)),
        ({"resourceType": "Patient", "id": "p", "link": LINK}, ("p",)),
        ({"resourceType": "Observation", "subject": {"reference": "Patient/p"}}, ("p",)),
        ({"resourceType": "Basic", "subject": {"reference": f"{BASE_URL}/Patient/p"}}, ("p",)),
        ({"resourceType": "Observation", "subject": {"reference": "http://x/Patient/p"}}, ()),
        ({"resourceType": "Observation", "subject": {"reference": "Group/p"}}, ()),
        ({"resourceType": "Observation", "focus": [{"reference": "Patient/p"}]}, ()),
        (
            {
                "resourceType": "Observation",
                "subject": {"reference": "Patient/p"},
                "performer": [{"reference": "Patient/q"}, {"reference": "Patient/p"}],
            },
            ("p", "q"),
        ),
        ({"resourceType": "RelatedPerson", "patient": {"reference": "Patient/p"}}, ("p",)),
        ({"resourceType": "Coverage", "beneficiary": {"reference": "Patient/p"}}, ("p",)),
        ({"resourceType": "Claim", "patient": {"reference": "Patient/p"}}, ("p",)),
        ({"resourceType": "Provenance", "target": [{"reference": "Patient/p"}]}, ("p",)),
        ({"resourceType": "Organization", "id": "o"}, ()),
        ({"resourceType": "Medication", "id": "m"}, ()),
    ],
)  # fmt: skip
def test_in_whose_compartment_a_resource_is(
    resource: dict[str, Any], patients: tuple[str, ...]
) -> None:
    """The Patient compartment is R4's, but that a Patient is in no compartment but its own."""
    found = index_values(resource, base_url=BASE_URL).patients

    assert sorted(found) == sorted(patients)


def _holding(resource_type: str, *identifiers: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"resourceType": resource_type, "identifier": list(identifiers), **more}


@pytest.mark.parametrize(
    ("resource", "keys"),
    [
        (_holding("Patient", {"system": CCCD, "value": "1"}), [f"{CCCD}|1"]),
        (_holding("Patient", {"system": CCCD, "value": "1"}, active=True), [f"{CCCD}|1"]),
        (_holding("Patient", {"system": CCCD, "value": "1"}, active=False), []),
        (_holding("Patient", {"system": CCCD, "value": "1", "use": "old"}), []),
        (_holding("Patient", {"system": CCCD}), []),
        (_holding("Patient", {"system": BHYT, "value": "1"}), []),
        (_holding("Patient", {"system": f"{DRAFT}/national_id", "value": "1"}), [f"{CCCD}|1"]),
        (_holding("Patient", {"system": f"{DRAFT}/citizen_id", "value": "1"}), []),
        (_holding("Patient", {"system": f"{DRAFT}/citizen_id", "value": N12}), [f"{CCCD}|{N12}"]),
        (_holding("Patient", {"system": f"{DRAFT}/national_id", "value": "123456789"}), []),
        (_holding("Patient", {"system": CCCD, "value": f" {N12} "}), [f"{CCCD}|{N12}"]),
        (_holding("Patient", {"system": CCCD, "value": WIDE}), [f"{CCCD}|{N12}"]),
        (_holding("Patient", {"system": CCCD, "value": " "}), []),
        (_holding("Organization", {"system": MA_CSKCB, "value": WIDE}), [f"{MA_CSKCB}|{WIDE}"]),
        (
            _holding("Patient", *[{"system": CCCD, "value": one} for one in "112"]),
            [f"{CCCD}|1", f"{CCCD}|2"],
        ),
        (_holding("Encounter", {"system": MA_LK, "value": "01|1"}), [f"{MA_LK}|01|1"]),
        (
            _holding("Encounter", {"system": MA_LK, "value": "01|1"}, status="entered-in-error"),
            [f"{MA_LK}|01|1"],
        ),
        (_holding("Organization", {"system": MA_CSKCB, "value": "01999"}), [f"{MA_CSKCB}|01999"]),
        (_holding("Practitioner", {"system": CCHN, "value": "7"}), [f"{CCHN}|7"]),
        (_holding("Practitioner", {"system": CCCD, "value": "7"}), []),
        (_holding("RelatedPerson", {"system": CCCD, "value": "7"}), []),
    ],
)  # fmt: skip
def test_what_only_one_may_hold(resource: dict[str, Any], keys: list[str]) -> None:
    """Numbers of persons, visits, facilities and licences are unique; nothing else is."""
    assert list(index_values(resource).unique) == keys
    assert list(unique_keys(resource)) == keys


def test_every_type_compiles() -> None:
    """Each of R4's types has an extractor, and a resource of it with nothing has no values."""
    for resource_type in RESOURCE_TYPES - {"Patient"}:
        compiled(resource_type, R4)

        assert index_values({"resourceType": resource_type}).values == ()
