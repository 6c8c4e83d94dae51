"""What a `_filter` finds in every Store, and the leaves that it alone asks."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.search.expression import (
    Differs,
    Expression,
    InValueSet,
    Listed,
    Not,
    Search,
    StringIs,
    Subsumed,
)
from fhir_server.store.port import Batch, Store
from tests.contracts.making import asked, ids, made
from tests.contracts.population import UCUM, S

shared = pytest.mark.asyncio(loop_scope="module")

PAIR, CODE = "component-code-value-quantity", "component-code"
VALUE = "component-value-quantity"

FOUND: list[tuple[str, str, str]] = [
    ("Patient", 'name co "guyễ"', "an binh"),
    ("Patient", 'name eq "nguyễn"', "an binh"),
    ("Patient", 'name eq "Nguyễn Văn"', ""),
    ("Patient", 'name eq "nguyen van an"', "an"),
    ("Patient", 'name sw "nguyen v"', "an"),
    ("Patient", "name ew an", "an"),
    ("Patient", 'name ew "văn an"', "an"),
    ("Patient", "name ew ng", ""),
    ("Patient", "name ew h", "binh"),
    ("Patient", "name ew i", "chi"),
    ("Patient", "family ne nguyen", "chi"),
    ("Patient", "name ne nguyen", "an binh chi"),
    ("Patient", "name pr true", "an binh chi"),
    ("Patient", "name pr false", "dung"),
    ("Patient", "gender eq male", "an dung"),
    ("Patient", "gender ne male", "binh"),
    ("Patient", "not (gender eq male)", "binh chi"),
    ("Patient", "gender ne http://other|male", "an binh dung"),
    ("Patient", f"identifier eq {S}/cccd|001", "an"),
    ("Patient", f"identifier ne {S}/cccd|001", "an binh chi"),
    ("Patient", "identifier ne 2", "an chi"),
    ("Patient", "telecom ne 0901", "an"),
    ("Patient", "phone ne 0901", ""),
    ("Observation", "code ne 1", "weight-an weight-binh pressure-an pressure-binh smoking-an"),
    ("Observation", "value-concept ne 266919005", ""),
    ("Observation", "performer ne Practitioner/doc", ""),
    ("Observation", "performer ne Practitioner/other", "foreign"),
    ("QuestionnaireResponse", "questionnaire ne http://x/Questionnaire/sixteen", ""),
    ("QuestionnaireResponse", "questionnaire ne http://x/Questionnaire/other", "answers"),
    ("Patient", "_profile ne http://x/StructureDefinition/a", ""),
    ("Patient", "_profile ne http://x/StructureDefinition/b", "an"),
    ("Patient", "general-practitioner re Practitioner/doc", "an"),
    ("Patient", "general-practitioner ne Practitioner/doc", ""),
    ("Patient", "organization ne Organization/ministry", "binh"),
    ("Patient", "birthdate ge 1980-04 and gender eq male", "dung"),
    ("Patient", "birthdate po 1980-03", "an binh"),
    ("Patient", "birthdate eq 1980-03", "an"),
    ("Patient", "birthdate po 2000", ""),
    ("Patient", "birthdate ne 1980", "dung"),
    ("Patient", "_id eq an or _id eq chi", "an chi"),
    ("Patient", "_id ne an", "binh chi dung"),
    ("Patient", "_lastUpdated po 2023-11-15T05:13:21+07:00", "binh"),
    ("Patient", "_tag eq vip or gender eq female and birthdate lt 1980-03-07", "binh"),
    ("Patient", "_tag eq vip or (gender eq female and birthdate lt 1980-03-07)", "an binh"),
    ("Patient", "not (not (gender eq male or gender eq female))", "an binh dung"),
    ("Observation", "subject:Patient.name ew h", "weight-binh pressure-binh"),
    ("Observation", 'subject.name eq "van" and date po 2024-05-01', "weight-an pressure-an"),
    (
        "Observation",
        "subject:Patient[gender eq male].active eq true and date gt 2024",
        "smoking-an",
    ),
    ("Observation", "has-member.subject:Patient[_id eq an].gender eq male", "smoking-an"),
    ("Observation", "subject ne Patient/an", "weight-binh pressure-binh note foreign stray"),
    ("Observation", "subject re http://other.example/fhir/Patient/an", "foreign"),
    ("Observation", "value-quantity lt 70|http://unitsofmeasure.org|kg", "weight-binh"),
    ("Observation", "value-quantity ge 70.5||kg", "weight-an"),
    (
        "Observation",
        f"{PAIR}[{CODE} eq 8480-6].{VALUE} gt 100",
        "pressure-an",
    ),
    (
        "Observation",
        f'{PAIR}[{VALUE} gt "100|{UCUM}|mm[Hg]"].{CODE} eq 8462-4',
        "pressure-binh",
    ),
    (
        "Observation",
        f"{PAIR}[{VALUE} gt 100].{CODE} eq 8462-4",
        "pressure-binh",
    ),
    (
        "Observation",
        f"{PAIR}[{CODE} eq 8480-6 or {CODE} eq 8462-4].{VALUE} gt 110",
        "pressure-an pressure-binh",
    ),
    (
        "Observation",
        f"{PAIR}[not ({CODE} eq 8480-6)].{VALUE} gt 110",
        "pressure-binh",
    ),
    (
        "Observation",
        f"{PAIR}[{CODE} eq 8480-6].{VALUE} pr true",
        "pressure-an pressure-binh",
    ),
    ("Observation", "code-value-quantity ne 29463-7$lt50", "weight-an"),
    ("RiskAssessment", "probability gt 4", "risk hundred"),
    ("RiskAssessment", "probability ne 100", "risk"),
    ("ValueSet", "url eq http://x/ValueSet/colours", "colours"),
    ("ValueSet", "url ne http://x/ValueSet/colours", "shades"),
    ("ValueSet", "url sw http://x/ValueSet/colours", "colours shades"),
]  # fmt: skip


@shared
@pytest.mark.parametrize(("resource_type", "text", "expected"), FOUND)
async def test_a_filter_finds(library: Store, resource_type: str, text: str, expected: str) -> None:
    """A filter finds these resources and no other, and as many are counted."""
    search = asked(resource_type, _query(text), total="accurate")

    page = await library.search(search)

    assert sorted(ids(page)) == sorted(expected.split())
    assert page.total == len(expected.split())


def _query(text: str) -> str:
    return "_filter=" + text.replace("+", "%2B")


OPEN: list[Expression] = [
    InValueSet("gender", "http://x"),
    Subsumed("gender", "http://x", "a", "below"),
    Listed("a"),
]


@shared
@pytest.mark.parametrize("leaf", OPEN)
@pytest.mark.parametrize("denied", [False, True])
async def test_what_was_not_resolved_is_never_answered(
    library: Store,
    leaf: Expression,
    denied: bool,  # noqa: FBT001 - a table
) -> None:
    """A store that is asked what it cannot know refuses: it neither finds nor leaves out."""
    where = Not(leaf) if denied else leaf

    with pytest.raises(TypeError, match="was not resolved"):
        await library.search(Search((("Patient", where),)))


@pytest.mark.parametrize(
    ("text", "mode", "expected"),
    [
        ("x" * 150 + "y", "equal", "long"),
        ("x" * 150, "equal", ""),
        ("x" * 120, "equal", "cut"),
        ("x" * 119, "equal", "short"),
        ("xxy", "ends", "long"),
        ("x" * 150 + "y", "ends", "long"),
        ("x" * 100, "ends", "cut short"),
        ("x" * 120, "ends", "cut"),
        ("y", "ends", "long"),
        ("%", "ends", "sign"),
        ("x_", "ends", ""),
        ("a.c", "ends", ""),
        ("b\\c", "ends", "sign"),
    ],
)
async def test_long_and_strange_texts_are_told_apart(
    store: Store, text: str, mode: str, expected: str
) -> None:
    """However long a text is, and whatever signs are in it, the whole of it is compared."""
    texts = {
        "long": ["x" * 150 + "y"],
        "cut": ["x" * 120],
        "short": ["x" * 119],
        "sign": ["100%", "ab\\c"],
    }
    for name, lines in texts.items():
        patient = {"resourceType": "Patient", "id": name, "name": [{"given": lines}]}
        await store.commit(Batch(writes=[made(patient)]))
    leaf = StringIs("given", text, mode)  # type: ignore[arg-type]

    for where, found in (
        (leaf, expected.split()),
        (Not(leaf), [one for one in texts if one not in expected.split()]),
        (Differs("given", leaf), [one for one in texts if one == "sign" or one not in expected]),
    ):
        page = await store.search(Search((("Patient", where),), count=100, total="accurate"))
        assert sorted(ids(page)) == sorted(found)
        assert page.total == await store.count("Patient", where) == len(found)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("characteristic[code eq blood].value eq a", ["one"]),
        ("characteristic[code eq blood].value eq b", ["two"]),
        ("characteristic[code eq blood].value pr true", ["one", "two"]),
        ("not (characteristic[code eq kind].value eq b)", ["two"]),
    ],
)
async def test_brackets_of_a_name_that_filters_alone_have_ask_of_one_repetition(
    store: Store, query: str, expected: list[str]
) -> None:
    """`characteristic` of a Group: its code and value are of the same characteristic."""

    def group(identity: str, **characteristics: str) -> dict[str, Any]:
        return {
            "resourceType": "Group",
            "id": identity,
            "characteristic": [
                {
                    "code": {"coding": [{"system": S, "code": code}]},
                    "valueCodeableConcept": {"coding": [{"system": S, "code": value}]},
                }
                for code, value in characteristics.items()
            ],
        }

    one, two = group("one", blood="a", kind="b"), group("two", blood="b", kind="a")
    await store.commit(Batch(writes=[made(one), made(two)]))

    found = await store.search(asked("Group", f"_filter={query}"))

    assert sorted(ids(found)) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("relationship=DocumentReference/1$replaces", ["one"]),
        ("relationship=DocumentReference/1$appends", ["two"]),
        ("relationship=1$replaces", ["one"]),
        ("relationship=DocumentReference/9$replaces", []),
        ('_filter=relatesTo[code eq appends].target eq "DocumentReference/1"', ["two"]),
        ('_filter=relatesTo[code eq replaces].target eq "DocumentReference/2"', ["two"]),
        ("_filter=relatesTo[code eq replaces].target pr true", ["one", "two"]),
    ],
)
async def test_how_documents_relate_is_of_one_repetition(
    store: Store, query: str, expected: list[str]
) -> None:
    """R4's `relationship`, of which the definition has the expressions the wrong way round."""

    def document(identity: str, **related: str) -> dict[str, Any]:
        return {
            "resourceType": "DocumentReference",
            "id": identity,
            "status": "current",
            "relatesTo": [
                {"code": code, "target": {"reference": f"DocumentReference/{target}"}}
                for code, target in related.items()
            ],
        }

    one = document("one", replaces="1", appends="2")
    two = document("two", replaces="2", appends="1")
    await store.commit(Batch(writes=[made(one), made(two)]))

    found = await store.search(asked("DocumentReference", query))

    assert sorted(ids(found)) == expected
