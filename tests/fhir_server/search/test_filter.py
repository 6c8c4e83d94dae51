"""`_filter`: its grammar, every operator, where it leads, and what is refused, with the place."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.outcome import FhirError, InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import date_range
from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Ids,
    InValueSet,
    LastUpdated,
    Listed,
    Missing,
    Not,
    NumberIs,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    StringIs,
    Subsumed,
    TokenIs,
    UriIs,
)
from fhir_server.search.filter_syntax import MAX_HEIGHT, parse_filter
from fhir_server.search.query import parse, parse_criteria

BASE_URL = "http://127.0.0.1:8080/fhir"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
D = Decimal


def asked(resource_type: str, text: str) -> Expression:
    """Return what a filter asks of a type."""
    query = [("_filter", text)]
    return parse(resource_type, query, base_url=BASE_URL, strict=False, now=NOW).where


def _day(param: str, prefix: str, text: str) -> DateIs:
    return DateIs(param, Prefix(prefix), *date_range(text))


def _status(code: str) -> TokenIs:
    return TokenIs("status", None, code)


A, B, C = _status("a"), _status("b"), _status("c")

# R4, search_filter.html: "Examples of filters", and the operators of its table.
MEANING: list[tuple[str, str, Expression]] = [
    ("Patient", 'name co "pet"', StringIs("name", "pet", "contains")),
    (
        "Patient",
        'given eq "peter" and birthdate ge 2014-10-10',
        And((StringIs("given", "peter", "equal"), _day("birthdate", "ge", "2014-10-10"))),
    ),
    ("Observation", "code eq http://x|1234-5", TokenIs("code", "http://x", "1234-5")),
    (
        "Observation",
        'subject:Patient.name co "pet"',
        Chain("subject", "Patient", StringIs("name", "pet", "contains")),
    ),
    # strings: folded; JSON's escapes and no others
    ("Patient", 'name ne "Nguyễn"', Differs("name", StringIs("name", "nguyen", "equal"))),
    ("Patient", "name sw Ngu", StringIs("name", "ngu", "starts")),
    ("Patient", 'name ew "Văn An"', StringIs("name", "van an", "ends")),
    ("Patient", r'name eq "a \"b\" \\, c|d$"', StringIs("name", 'a "b" \\, c|d$', "equal")),
    ("Patient", r'name eq "Đ\u1ED7"', StringIs("name", "do", "equal")),
    ("Patient", 'name eq "a) or b]"', StringIs("name", "a) or b]", "equal")),
    ("Patient", r"name eq a\,b", StringIs("name", r"a\,b", "equal")),
    ("Patient", "name pr true", Missing("name", missing=False)),
    ("Patient", "name pr false", Missing("name", missing=True)),
    # tokens
    ("Observation", "status eq a", A),
    ("Observation", 'status eq "a"', A),
    ("Observation", "status ne a", Differs("status", A)),
    ("Observation", r"code eq http://x|a\|b", TokenIs("code", "http://x", "a|b")),
    ("Observation", "code eq |a", TokenIs("code", "", "a")),
    ("Observation", "code eq http://x|", TokenIs("code", "http://x", None)),
    ("Observation", "code in http://x/vs", InValueSet("code", "http://x/vs")),
    ("Observation", "code in ValueSet/v", InValueSet("code", "ValueSet/v")),
    ("Observation", "code ss http://x|a", Subsumed("code", "http://x", "a", "below")),
    ("Observation", "code sb http://x|a", Subsumed("code", "http://x", "a", "above")),
    # dates
    *(
        ("Observation", f"date {one} 2024-05", _day("date", one, "2024-05"))
        for one in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
    ),
    ("Observation", "date po 2024-05", _day("date", "ap", "2024-05")),
    (
        "Observation",
        "date po 2024-05-01T10:00:00 07:00",
        _day("date", "ap", "2024-05-01T10:00:00+07:00"),
    ),
    (
        "Observation",
        '(date eq "2024-05-01T10:00:00+07:00")',
        _day("date", "eq", "2024-05-01T10:00:00+07:00"),
    ),
    ("Patient", "_lastUpdated po 2024", LastUpdated(Prefix.AP, *date_range("2024"))),
    ("Patient", "_lastUpdated ne 2024", LastUpdated(Prefix.NE, *date_range("2024"))),
    # numbers and quantities
    (
        "RiskAssessment",
        "probability sa 0.5",
        NumberIs("probability", Prefix.SA, D("0.5"), D("0.45"), D("0.55")),
    ),
    (
        "Observation",
        "value-quantity ap 100|http://u|kg",
        QuantityIs("value-quantity", Prefix.AP, D(100), D(90), D(110), "http://u", "kg"),
    ),
    # references, URIs, ids, Lists
    ("Observation", "subject re Patient/1", RefersTo("subject", "Patient", "1")),
    ("Observation", f"subject eq {BASE_URL}/Patient/1", RefersTo("subject", "Patient", "1")),
    ("Observation", "subject re http://o/P/1", RefersTo("subject", None, "", "http://o/P/1")),
    ("Observation", "subject:Group re 1", RefersTo("subject", "Group", "1")),
    (
        "Observation",
        "subject ne Patient/1",
        Differs("subject", RefersTo("subject", "Patient", "1"), plain=True),
    ),
    ("ValueSet", "url eq http://x", UriIs("url", "http://x")),
    ("ValueSet", "url ne http://x", Differs("url", UriIs("url", "http://x"))),
    (
        "QuestionnaireResponse",
        "questionnaire ne http://x",
        Differs("questionnaire", RefersTo("questionnaire", None, "", "http://x"), plain=True),
    ),
    ("Patient", "telecom ne 1", Differs("telecom", TokenIs("telecom", None, "1"))),
    ("Patient", "telecom ne |1", Differs("telecom", TokenIs("telecom", None, "1"))),
    ("ValueSet", "url sw http://x", UriIs("url", "http://x", "below")),
    ("Patient", "_id eq a", Ids(frozenset({"a"}))),
    ("Patient", "_id ne a", Not(Ids(frozenset({"a"})))),
    ("Patient", "_list eq List/a", Listed("a")),
    # logic: from left to right, whatever joins them
    ("Observation", "status eq a and status eq b and status eq c", And((A, B, C))),
    ("Observation", "status eq a or status eq b and status eq c", And((Or((A, B)), C))),
    ("Observation", "status eq a and status eq b or status eq c", Or((And((A, B)), C))),
    ("Observation", "status eq a or (status eq b and status eq c)", Or((A, And((B, C))))),
    ("Observation", "(status eq a or status eq b) or status eq c", Or((Or((A, B)), C))),
    ("Observation", "not (status eq a)", Not(A)),
    ("Observation", "not(status eq a or status eq b)and status eq c", And((Not(Or((A, B))), C))),
    ("Observation", " ( ( status  eq\ta ) ) ", A),
    ("Observation", "NOT (status EQ a) AND status eq b", And((Not(A), B))),
    # brackets: the same target, the same repetition
    (
        "Observation",
        'subject:Patient[gender eq male or gender eq female].name sw "a"',
        Chain(
            "subject",
            "Patient",
            And((
                Or((TokenIs("gender", None, "male"), TokenIs("gender", None, "female"))),
                StringIs("name", "a", "starts"),
            )),
        ),
    ),
    (
        "Observation",
        "code-value-quantity[code eq x].value-quantity gt 5",
        CompositeIs(
            "code-value-quantity",
            (
                TokenIs("code", None, "x"),
                QuantityIs("value-quantity", Prefix.GT, D(5), D("4.5"), D("5.5"), None, None),
            ),
        ),
    ),
    (
        "Observation",
        "code-value-quantity[code eq x and not (code eq y)].value-quantity pr true",
        CompositeIs(
            "code-value-quantity",
            (And((TokenIs("code", None, "x"), Not(TokenIs("code", None, "y")))), And(())),
        ),
    ),
    (
        "Group",
        "characteristic[code eq x and not (code eq y)].value pr true",
        CompositeIs(
            "characteristic-value",
            (
                And((
                    TokenIs("characteristic", None, "x"),
                    Not(TokenIs("characteristic", None, "y")),
                )),
                And(()),
            ),
        ),
    ),
    (
        "Observation",
        "code-value-concept eq x$y",
        CompositeIs(
            "code-value-concept",
            (TokenIs("code", None, "x"), TokenIs("value-concept", None, "y")),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource_type", "text", "meaning"), MEANING)
def test_a_filter_means(resource_type: str, text: str, meaning: Expression) -> None:
    """A filter is the expression that its words say."""
    assert asked(resource_type, text) == meaning


def test_a_chain_leads_to_the_types_that_know_what_is_asked() -> None:
    """Of the types that a reference may name, those without the parameter are left out."""
    assert asked("Observation", 'subject.name co "pet"') == Or((
        Chain("subject", "Location", StringIs("name", "pet", "contains")),
        Chain("subject", "Patient", StringIs("name", "pet", "contains")),
    ))
    assert asked("Observation", "subject[gender eq male].name pr true") == Chain(
        "subject", "Patient", And((TokenIs("gender", None, "male"), Missing("name", missing=False)))
    )


def test_a_filter_narrows_beside_other_parameters_and_within_chains() -> None:
    """Filters and other parameters are all asked; a chain or `_has` may end in one."""
    query = [("status", "a"), ("_filter", "status eq b"), ("_filter", "status eq c")]
    assert parse("Observation", query, base_url="", strict=True, now=NOW).where == And((A, B, C))
    assert parse_criteria("Observation", "has-member:Observation._filter=status eq a") == Chain(
        "has-member", "Observation", A
    )


REFUSED: list[tuple[str, str, type[FhirError], int]] = [
    ("Observation", "nope eq 1", UnsupportedParameter, 1),
    ("Observation", "status eq a and nope eq 1", UnsupportedParameter, 17),
    ("Observation", "subject.nope eq 1", UnsupportedParameter, 1),
    ("Observation", 'subject[nope eq 1].name eq "a"', InvalidValue, 9),
    ("Observation", "related[type eq has-component].target pr true", UnsupportedParameter, 1),
    ("Observation", 'subject[Patient].name eq "a"', InvalidValue, 9),
    ("Observation", "subject[ Patient ].name pr true", InvalidValue, 9),
    ("DocumentReference", "relatesTo[type eq a].target pr true", UnsupportedParameter, 11),
    ("Group", "characteristic[nope eq x].value eq y", UnsupportedParameter, 16),
    ("Group", "characteristic[code eq x].nope eq y", UnsupportedParameter, 1),
    ("Group", "characteristic[code eq x].value.a eq y", UnsupportedParameter, 1),
    ("Group", "characteristic[code eq x or value eq y].value eq y", UnsupportedParameter, 16),
    ("Group", "characteristic.value eq y", UnsupportedParameter, 1),
    ("Observation", "status.name eq a", UnsupportedParameter, 1),
    ("Observation", "status[code eq a].name eq a", UnsupportedParameter, 1),
    ("Observation", "code-value-quantity[status eq a].code eq b", UnsupportedParameter, 21),
    ("Observation", "code-value-quantity[code eq a].nope eq b", UnsupportedParameter, 1),
    (
        "Observation",
        "code-value-quantity[code eq a or value-quantity gt 5].code eq b",
        UnsupportedParameter,
        21,
    ),
    ("Observation", "code-value-quantity[code pr false].code eq b", UnsupportedParameter, 21),
    ("Observation", "status co a", UnsupportedParameter, 1),
    ("Observation", "status gt a", UnsupportedParameter, 1),
    ("Observation", "date sw 2024", UnsupportedParameter, 1),
    ("Patient", "name gt a", UnsupportedParameter, 1),
    ("Patient", "telecom ne phone|1", UnsupportedParameter, 12),
    ("Observation", "subject ne Patient/1/_history/2", UnsupportedParameter, 12),
    ("QuestionnaireResponse", "questionnaire ne http://x|1", UnsupportedParameter, 18),
    ("Patient", "_id in ValueSet/a", UnsupportedParameter, 1),
    ("Patient", "_id ni ValueSet/a", UnsupportedParameter, 1),
    ("Observation", "subject ni ValueSet/a", UnsupportedParameter, 1),
    ("Observation", "code ni 5", InvalidValue, 9),
    ("Patient", "_list pr true", UnsupportedParameter, 1),
    ("Patient", "_list eq $current-problems", UnsupportedParameter, 10),
    ("Observation", "status:x eq a", UnsupportedParameter, 1),
    ("Observation", "subject:Nope.name eq a", InvalidValue, 0),
    ("Observation", "date gt abc", InvalidValue, 9),
    ("Observation", "date gt gt2024", InvalidValue, 9),
    ("Observation", "value-quantity eq 5|kg", InvalidValue, 19),
    ("Observation", "status pr maybe", InvalidValue, 11),
    ("Observation", "code in 5", InvalidValue, 9),
    ("Observation", "code ss a", InvalidValue, 9),
    ("Patient", 'name eq ""', InvalidValue, 9),
    ("Patient", 'name eq "--', InvalidValue, 9),
    ("Patient", r'name eq "\x"', InvalidValue, 9),
    ("Patient", 'name eq "a"b', InvalidValue, 12),
    ("Patient", "name", InvalidValue, 5),
    ("Patient", "name eq", InvalidValue, 8),
    ("Patient", "name eq ", InvalidValue, 9),
    ("Patient", "name is a", InvalidValue, 6),
    ("Patient", "name eq a b", InvalidValue, 11),
    ("Patient", "name eq a and", InvalidValue, 14),
    ("Patient", "(name eq a", InvalidValue, 11),
    ("Patient", "name eq a)", InvalidValue, 10),
    ("Patient", "not name eq a", InvalidValue, 5),
    ("Patient", "general-practitioner[name eq a", InvalidValue, 31),
    ("Patient", "general-practitioner[name eq a] eq b", InvalidValue, 32),
    ("Patient", "1name eq a", InvalidValue, 1),
]


@pytest.mark.parametrize(("resource_type", "text", "kind", "at"), REFUSED)
def test_what_cannot_be_read_is_refused_with_its_place(
    resource_type: str, text: str, kind: type[FhirError], at: int
) -> None:
    """Nothing of a filter is ever left out, not leniently either: that were a wider search."""
    with pytest.raises(kind) as refusal:
        asked(resource_type, text)

    issue = refusal.value.issues[0]
    assert refusal.value.status == 400
    assert f"(_filter, character {at})" in issue.text or not at
    assert f"ký tự thứ {at}" in (issue.text_vi or "") or not at


def test_no_refusal_repeats_a_value() -> None:
    """What a client wrote as a value may be a person's name or number."""
    for text in ("birthdate gt secret", "gender in secret", "identifier ss secret"):
        with pytest.raises(InvalidValue) as refusal:
            asked("Patient", text)
        assert "secret" not in str(refusal.value.issues)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1_000 + "status eq a" + ")" * 1_000,
        "not (" * (MAX_HEIGHT + 1) + "status eq a" + ")" * (MAX_HEIGHT + 1),
        " ".join(["status eq a and status eq b or"] * MAX_HEIGHT) + " status eq c",
        "has-member[" * 30 + "status eq a" + "].status eq a" * 30,
        " or ".join(["status eq a"] * 5_001),
        " or ".join([".".join(["has-member"] * 5) + ".status eq a"] * 1_000),
        ".".join(["has-member"] * 12) + ".status eq a",
    ],
    ids=["brackets", "nots", "turns", "filters", "tests", "links", "chain"],
)
def test_a_filter_is_bounded(text: str) -> None:
    """Depth, tests and links are bounded as those of other queries."""
    with pytest.raises(TooCostly):
        asked("Observation", text)


def test_a_long_filter_of_one_kind_is_one_expression() -> None:
    """So many tests joined by one word are not nested in one another."""
    found = asked("Observation", " or ".join(["status eq a"] * 5_000))

    assert found == Or((A,) * 5_000)


@given(st.text(alphabet='ab "\\()[].:|$,01-nodreq', max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes anything but a tree or a refusal."""
    try:
        tree = parse_filter(text)
    except (InvalidValue, TooCostly):
        return

    assert 1 <= tree.height <= MAX_HEIGHT
