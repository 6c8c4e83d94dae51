"""Queries parsed: every parameter type, prefix and modifier, chains, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.identifiers import BHYT, CCCD, CMND, DRAFT, MA_LK, PAYER
from fhir_server.model.outcome import FhirError, InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import date_range, micros
from fhir_server.search.expression import (
    EVERYTHING,
    NOTHING,
    And,
    Chain,
    CompositeIs,
    DateIs,
    Expression,
    Has,
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
    Sort,
    StringIs,
    Subsumed,
    TokenIs,
    TokenText,
    UriIs,
)
from fhir_server.search.parameters import parameters
from fhir_server.search.query import Include, Query, parse, parse_criteria

NINE, TWELVE = "123456789", "032655908430"
WIDE = "".join(chr(ord(digit) + 0xFEE0) for digit in TWELVE)
"""The same number in full-width digits."""

BASE_URL = "http://127.0.0.1:8080/fhir"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
D = Decimal


def read(resource_type: str, query: str, *, strict: bool = True) -> Query:
    """Return a query string parsed."""
    pairs = [tuple(pair.split("=", 1)) for pair in query.split("&") if pair]
    return parse(resource_type, pairs, base_url=BASE_URL, strict=strict, now=NOW)  # type: ignore[arg-type]


def _token(param: str, code: str | None, system: str | None = None) -> TokenIs:
    return TokenIs(param, system, code)


def _missing(param: str, *, missing: bool = True) -> Missing:
    return Missing(param, missing)


def _date(param: str, prefix: Prefix, text: str) -> DateIs:
    return DateIs(param, prefix, *date_range(text))


def _number(prefix: Prefix, value: str, low: str, high: str) -> NumberIs:
    return NumberIs("probability", prefix, D(value), D(low), D(high))


ASKED: list[tuple[str, str, Expression]] = [
    ("Patient", "", EVERYTHING),
    ("Patient", "_id=a", Ids(frozenset("a"))),
    ("Patient", "_id=a,b", Or((Ids(frozenset("a")), Ids(frozenset("b"))))),
    ("Patient", "_id:not=a", Not(Ids(frozenset("a")))),
    ("Patient", "_id:missing=true", NOTHING),
    ("Patient", "_lastUpdated:missing=false", EVERYTHING),
    ("Patient", "_lastUpdated=gt2024", LastUpdated(Prefix.GT, *date_range("2024"))),
    # token
    ("Patient", "gender=male", _token("gender", "male")),
    ("Patient", "gender=http://s|male", _token("gender", "male", "http://s")),
    ("Patient", "gender=|male", _token("gender", "male", "")),
    ("Patient", "gender=http://s|", _token("gender", None, "http://s")),
    ("Patient", "gender:not=male", Not(_token("gender", "male"))),
    ("Patient", "gender=a\\,b", _token("gender", "a,b")),
    ("Patient", "gender=a\\|b", _token("gender", "a|b")),
    ("Patient", "gender=a\\\\b\\$", _token("gender", "a\\b$")),
    ("Patient", "gender=male,", _token("gender", "male")),
    ("Patient", "gender=a,b", Or((_token("gender", "a"), _token("gender", "b")))),
    ("Patient", "gender=a&gender=b", And((_token("gender", "a"), _token("gender", "b")))),
    ("Patient", "gender:missing=true", _missing("gender")),
    ("Patient", "active=true", _token("active", "true")),
    ("Patient", f"identifier={DRAFT}/national_id|{NINE}", _token("identifier", NINE, CMND)),
    ("Patient", f"identifier={DRAFT}/citizen_id|{NINE}", _token("identifier", NINE, CMND)),
    ("Patient", f"identifier={DRAFT}/national_id|{TWELVE}", _token("identifier", TWELVE, CCCD)),
    ("Patient", f"identifier={DRAFT}/citizen_id|{TWELVE}", _token("identifier", TWELVE, CCCD)),
    (
        "Patient",
        f"identifier={DRAFT}/citizen_id|1",
        Or((_token("identifier", "1", CMND), _token("identifier", "1", CCCD))),
    ),
    (
        "Patient",
        f"identifier={DRAFT}/national_id|",
        Or((_token("identifier", None, CCCD), _token("identifier", None, CMND))),
    ),
    ("Patient", f"identifier={CCCD}| {TWELVE} ", _token("identifier", TWELVE, CCCD)),
    ("Patient", f"identifier={CCCD}|{WIDE}", _token("identifier", TWELVE, CCCD)),
    ("Patient", f"identifier={DRAFT}/citizen_id|{WIDE}", _token("identifier", TWELVE, CCCD)),
    ("Patient", f"identifier={BHYT}|{WIDE}", _token("identifier", WIDE, BHYT)),
    ("Patient", "identifier=Nguye\u0302\u0303n", _token("identifier", "Nguyễn")),
    ("Patient", "identifier:of-type=s|MR|1", _token("identifier:of-type", "MR|1", "s")),
    ("Encounter", f"identifier={MA_LK}|01|L|1", _token("identifier", "01|L|1", MA_LK)),
    ("Encounter", f"identifier={MA_LK}|01\\|L1", _token("identifier", "01|L1", MA_LK)),
    ("Encounter", f"identifier={MA_LK}|", _token("identifier", None, MA_LK)),
    ("Observation", "code:text=Cân  NẶNG", TokenText("code", "can nang")),
    ("Patient", "_tag=http://t|x", _token("_tag", "x", "http://t")),
    ("Patient", "_security=x", _token("_security", "x")),
    # string
    ("Patient", "name=Nguyễn  An", StringIs("name", "nguyen an")),
    ("Patient", "name:contains=ĐỖ", StringIs("name", "do", "contains")),
    ("Patient", "name:exact=Nguye\u0302\u0303n ", StringIs("name", "Nguyễn ", "exact")),
    # uri
    ("ValueSet", "url=http://x", UriIs("url", "http://x")),
    ("ValueSet", "url:below=http://x", UriIs("url", "http://x", "below")),
    ("ValueSet", "url:above=http://x", UriIs("url", "http://x", "above")),
    ("Patient", "_profile=http://p", UriIs("_profile", "http://p")),
    ("Patient", "_profile:below=http://p", UriIs("_profile", "http://p", "below")),
    (
        "Patient",
        "_profile:above=http://p|1.2",
        Or((UriIs("_profile", "http://p|1"), UriIs("_profile", "http://p|1.2"))),
    ),
    (
        "Patient",
        "active=http://terminology.hl7.org/CodeSystem/special-values|true",
        TokenIs("active", "", "true"),
    ),
    ("Patient", "_source=urn:x", UriIs("_source", "urn:x")),
    # date
    ("Patient", "birthdate=2024", _date("birthdate", Prefix.EQ, "2024")),
    *[
        ("Patient", f"birthdate={prefix}2024-05", _date("birthdate", prefix, "2024-05"))
        for prefix in Prefix
        if prefix is not Prefix.AP
    ],
    (
        "Observation",
        "date=2024-05-01T10:00",
        DateIs("date", Prefix.EQ, 1714532400000000, 1714532459999999),
    ),
    (
        "Observation",
        "date=2024-05-01T10:00:00",
        DateIs("date", Prefix.EQ, 1714532400000000, 1714532400999999),
    ),
    (
        "Observation",
        "date=2024-05-01T10:00:00+07:00",
        _date("date", Prefix.EQ, "2024-05-01T10:00:00"),
    ),
    (
        "Observation",
        "date=2024-05-01T10:00:00 07:00",
        _date("date", Prefix.EQ, "2024-05-01T10:00:00"),
    ),
    (
        "Observation",
        "date=2024-05-01T03:00:00Z",
        _date("date", Prefix.EQ, "2024-05-01T10:00:00"),
    ),
    # number: the range that the precision stands for
    ("RiskAssessment", "probability=100", _number(Prefix.EQ, "100", "99.5", "100.5")),
    ("RiskAssessment", "probability=100.00", _number(Prefix.EQ, "100", "99.995", "100.005")),
    ("RiskAssessment", "probability=1e2", _number(Prefix.EQ, "1e2", "95", "105")),
    ("RiskAssessment", "probability=1.0e2", _number(Prefix.EQ, "1e2", "95", "105")),
    ("RiskAssessment", "probability=1.00e2", _number(Prefix.EQ, "1e2", "99.5", "100.5")),
    ("RiskAssessment", "probability=5e-1", _number(Prefix.EQ, "0.5", "0.495", "0.505")),
    ("RiskAssessment", "probability=-1", _number(Prefix.EQ, "-1", "-1.5", "-0.5")),
    ("RiskAssessment", "probability=lt0.5", _number(Prefix.LT, "0.5", "0.45", "0.55")),
    ("RiskAssessment", "probability=ap100", _number(Prefix.AP, "100", "90", "110")),
    ("RiskAssessment", "probability=ap0", _number(Prefix.AP, "0", "-0.5", "0.5")),
    # quantity
    (
        "Observation",
        "value-quantity=5.4",
        QuantityIs("value-quantity", Prefix.EQ, D("5.4"), D("5.35"), D("5.45"), None, None),
    ),
    (
        "Observation",
        "value-quantity=ge5|http://u|mg",
        QuantityIs("value-quantity", Prefix.GE, D(5), D("4.5"), D("5.5"), "http://u", "mg"),
    ),
    (
        "Observation",
        "value-quantity=5||mg",
        QuantityIs("value-quantity", Prefix.EQ, D(5), D("4.5"), D("5.5"), None, "mg"),
    ),
    # reference
    ("Observation", "subject=Patient/1", RefersTo("subject", "Patient", "1")),
    ("Observation", "subject=1", RefersTo("subject", None, "1")),
    ("Observation", "patient=1", RefersTo("patient", "Patient", "1")),
    ("Observation", "subject:Patient=1", RefersTo("subject", "Patient", "1")),
    ("Observation", "subject:Patient=Patient/1", RefersTo("subject", "Patient", "1")),
    ("Observation", f"subject={BASE_URL}/Patient/1", RefersTo("subject", "Patient", "1")),
    (
        "Observation",
        "subject=http://x/Patient/1",
        RefersTo("subject", None, "", "http://x/Patient/1"),
    ),
    (
        "Observation",
        "subject=Patient/1/_history/2",
        RefersTo("subject", None, "", "Patient/1/_history/2"),
    ),
    ("Observation", "subject=urn:uuid:1", RefersTo("subject", None, "", "urn:uuid:1")),
    ("Coverage", f"payor:identifier={PAYER}|BHXH", _token("payor:identifier", "BHXH", PAYER)),
    (
        "Observation",
        "subject:missing=true",
        And((_missing("subject"), _missing("subject:identifier"))),
    ),
    (
        "Observation",
        "subject:missing=false",
        Or((
            _missing("subject", missing=False),
            _missing("subject:identifier", missing=False),
        )),
    ),
    # composite
    (
        "Observation",
        "code-value-quantity=http://l|1$gt5|http://u|mg",
        CompositeIs(
            "code-value-quantity",
            (
                _token("code", "1", "http://l"),
                QuantityIs(
                    "value-quantity", Prefix.GT, D(5), D("4.5"), D("5.5"), "http://u", "mg"
                ),
            ),
        ),
    ),
    (
        "Observation",
        "code-value-string=a\\$b$c",
        CompositeIs(
            "code-value-string", (_token("code", "a$b"), StringIs("value-string", "c"))
        ),
    ),
    # chains and _has
    (
        "Observation",
        "subject:Patient.name=x",
        Chain("subject", "Patient", StringIs("name", "x")),
    ),
    (
        "Observation",
        "patient.name:exact=x",
        Chain("patient", "Patient", StringIs("name", "x", "exact")),
    ),
    (
        "Observation",
        "subject.name=x",
        Or((
            Chain("subject", "Location", StringIs("name", "x")),
            Chain("subject", "Patient", StringIs("name", "x")),
        )),
    ),
    (
        "Observation",
        "subject.birthdate=2024",
        Chain("subject", "Patient", _date("birthdate", Prefix.EQ, "2024")),
    ),
    (
        "Observation",
        "patient.organization.name=x",
        Chain("patient", "Patient", Chain("organization", "Organization", StringIs("name", "x"))),
    ),
    (
        "Claim",
        f"coverage.payor:identifier={PAYER}|BHXH",
        Chain("coverage", "Coverage", _token("payor:identifier", "BHXH", PAYER)),
    ),
    (
        "ClaimResponse",
        f"request:Claim.coverage.payor:identifier={PAYER}|BHXH",
        Chain(
            "request",
            "Claim",
            Chain("coverage", "Coverage", _token("payor:identifier", "BHXH", PAYER)),
        ),
    ),
    (
        "Patient",
        "_has:Observation:patient:code=1",
        Has("Observation", "patient", _token("code", "1")),
    ),
    (
        "Patient",
        "_has:Observation:patient:_has:AuditEvent:entity:agent-name=x",
        Has("Observation", "patient", Has("AuditEvent", "entity", StringIs("agent-name", "x"))),
    ),
    (
        "Encounter",
        "patient._has:Group:member:_id=g",
        Chain("patient", "Patient", Has("Group", "member", Ids(frozenset("g")))),
    ),
    (
        "Condition",
        f"_has:Claim:names:coverage.payor:identifier={PAYER}|BHXH",
        Has(
            "Claim",
            "names",
            Chain("coverage", "Coverage", _token("payor:identifier", "BHXH", PAYER)),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resource_type", "query", "expected"), ASKED)
def test_what_a_query_asks(resource_type: str, query: str, expected: Expression) -> None:
    """A query string is this expression, and all of its parameters were used."""
    parsed = read(resource_type, query)

    assert parsed.where == expected
    assert len(parsed.used) == len([pair for pair in query.split("&") if pair])
    assert parsed.ignored == ()


INVALID = [
    ("Patient", "birthdate=x"),
    ("Patient", "birthdate=zz2024"),
    ("Patient", "birthdate=2024-13"),
    ("Patient", "birthdate=2023-02-29"),
    ("Patient", "birthdate=ge"),
    ("Patient", "birthdate=GE2024"),
    ("Patient", "birthdate=２０２４"),
    ("Patient", "birthdate=2024,x"),
    ("Patient", "birthdate:exact=2024"),
    ("Patient", "_lastUpdated=yesterday"),
    ("Patient", "_id=a b"),
    ("Patient", "_id=a/b"),
    ("Patient", "_id=" + "a" * 65),
    ("Patient", "active=maybe"),
    ("Patient", "active=True"),
    ("Patient", "gender:exact=male"),
    ("Patient", "gender:missing=maybe"),
    ("Patient", "gender=|"),
    ("Patient", "identifier=a|b|c"),
    ("Patient", "identifier:of-type=a|b"),
    ("Patient", "identifier:of-type=a||c"),
    ("Patient", "name:foo=x"),
    ("Patient", "name:not=x"),
    ("Patient", "name=%20".replace("%20", " ")),
    ("Patient", "name=\u0301"),
    ("Patient", "name:contains=\u0301"),
    ("Observation", "code:text=\u0301"),
    ("ValueSet", "url=http://x y"),
    ("ValueSet", "url:contains=x"),
    ("RiskAssessment", "probability=x"),
    ("RiskAssessment", "probability=1,5x"),
    ("RiskAssessment", "probability=0x10"),
    ("RiskAssessment", "probability=NaN"),
    ("RiskAssessment", "probability=Infinity"),
    ("RiskAssessment", "probability=1e9999"),
    ("RiskAssessment", "probability=" + "1" * 100),
    ("RiskAssessment", "probability=1_000"),
    ("RiskAssessment", "probability=١"),
    ("Observation", "value-quantity=1|mg"),
    ("Observation", "value-quantity=|http://u|mg"),
    ("Observation", "value-quantity:exact=1"),
    ("Observation", "subject=a b"),
    ("Observation", "subject=Nothing/1"),
    ("Observation", "subject=Patient/"),
    ("Observation", "subject=Patient/1/2"),
    ("Observation", "subject:Patient=Group/1"),
    ("Observation", "subject:Nothing=1"),
    ("Observation", "subject:exact=1"),
    ("Observation", "subject:Nothing.name=x"),
    ("Observation", "code-value-quantity=1"),
    ("Observation", "code-value-quantity=1$2$3"),
    ("Observation", "code-value-quantity=1$x"),
    ("Observation", "code-value-quantity=$1"),
    ("Observation", "code-value-quantity:exact=1$2"),
    ("Observation", "subject.birthdate=x"),
    ("Provenance", "target.identifier=1"),
    ("Patient", "_has:Observation=x"),
    ("Patient", "_has:Observation:patient=x"),
    ("Patient", "_has:Observation:encounter:code=x"),
    ("Patient", "_has:Observation:patient:date=x"),
    ("Patient", "_count=-1"),
    ("Patient", "_count=x"),
    ("Patient", "_count=1.5"),
    ("Patient", "_count=1&_count=2"),
    ("Patient", "_total=some"),
    ("Patient", "_summary=maybe"),
    ("Patient", "_elements=a b"),
    ("Patient", "_sort=nothing"),
    ("Patient", "_sort=-"),
    ("Observation", "_sort=code-value-quantity"),
    ("Patient", "_sort=_content"),
    ("Location", "_sort=near"),
    ("Patient", "_content=???"),
    ("Patient", "_content=(nguyen"),
    ("Patient", "_content=nguyen)"),
    ("Patient", "_content=()"),
    ("Patient", '_content=van "nguyen'),
    ("Patient", '_content="van, an"'),
    ("Patient", "_content=nguyen OR"),
    ("Patient", "_content=AND nguyen"),
    ("Patient", "_content=nguyen OR AND van"),
    ("Patient", "_content=nguyen NOT"),
    ("Patient", "_content=nguyen - van"),
    ("Patient", "_content=nguy*"),
    ("Patient", "_content=" + "(" * 30 + "nguyen" + ")" * 30),
    ("Patient", "_content:exact=nguyen"),
    ("Patient", "_content:missing=true"),
    ("Patient", "_text:contains=nguyen"),
    ("Location", "near=21.0"),
    ("Location", "near=21.0|105.8|1|km|x"),
    ("Location", "near=90.01|105.8|1"),
    ("Location", "near=21.0|180.5|1"),
    ("Location", "near=-91|0"),
    ("Location", "near=x|105.8"),
    ("Location", "near=nan|105.8"),
    ("Location", "near=21.0|105.8|-1"),
    ("Location", "near=21.0|105.8|far"),
    ("Location", "near=21.0|105.8|1|kg"),
    ("Location", "near=21.0|105.8|1|Km"),
    ("Location", "near:exact=21.0|105.8|1"),
    ("Patient", "_include=Patient"),
    ("Patient", "_include=Patient:nothing"),
    ("Patient", "_include=Patient:name"),
    ("Patient", "_include=Patient:organization:Nothing"),
    ("Patient", "_include=Patient:organization:Organization:x"),
    ("Patient", "_include=Nothing:*"),
    ("Patient", "_revinclude=*:subject"),
    ("Patient", "_type=Observation"),
    ("Resource", "_type=Nothing"),
]


@pytest.mark.parametrize(("resource_type", "query"), INVALID)
@pytest.mark.parametrize("strict", [True, False])
def test_what_cannot_be_parsed_is_refused(
    resource_type: str,
    query: str,
    strict: bool,  # noqa: FBT001 - a table
) -> None:
    """A value, prefix or modifier that cannot be parsed is a 400, lenient or strict."""
    with pytest.raises(InvalidValue) as refused:
        read(resource_type, query, strict=strict)

    value = query.partition("=")[2]
    (issue,) = refused.value.issues
    assert issue.text_vi
    assert len(value) < 4 or value not in issue.text + issue.text_vi


@pytest.mark.parametrize(
    ("query", "meaning"),
    [
        ("code:in=http://v", InValueSet("code", "http://v")),
        ("code:in=http://v|1.0", InValueSet("code", "http://v|1.0")),
        ("code:in=ValueSet/a", InValueSet("code", "ValueSet/a")),
        (f"code:in={BASE_URL}/ValueSet/a", InValueSet("code", "ValueSet/a")),
        ("code:not-in=http://v", Not(InValueSet("code", "http://v"))),
        (
            "code:not-in=http://v,http://w",
            Not(Or((InValueSet("code", "http://v"), InValueSet("code", "http://w")))),
        ),
        ("code:below=http://x|a", Subsumed("code", "http://x", "a", "below")),
        ("code:above=http://x|a", Subsumed("code", "http://x", "a", "above")),
        ("_list=a", Listed("a")),
        ("_list=List/a,b", Or((Listed("a"), Listed("b")))),
        (f"_list={BASE_URL}/List/a", Listed("a")),
        ("subject:Patient._list=a", Chain("subject", "Patient", Listed("a"))),
    ],
)
def test_what_others_say_is_resolved_later(query: str, meaning: Expression) -> None:
    """Value sets, hierarchies and Lists are named in the expression, for whoever may read them."""
    assert read("Observation", query).where == meaning


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("kind", ["Patient", "Resource"])
def test_a_named_query_is_never_left_out(kind: str, *, strict: bool) -> None:
    """R4: servers refuse to process a search whose `_query` they do not know."""
    with pytest.raises(UnsupportedParameter, match="_query is not supported"):
        read(kind, "_query=recent&_id=a", strict=strict)


@pytest.mark.parametrize(
    ("resource_type", "query"),
    [
        ("Patient", "_list=$current-problems"),
        ("Observation", "_list=$current-allergies"),
    ],
)
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_not_supported_yet_says_so(
    resource_type: str,
    query: str,
    strict: bool,  # noqa: FBT001 - a table
) -> None:
    """What is R4's and this server does not know yet is refused, never left out."""
    with pytest.raises(UnsupportedParameter, match="not supported"):
        read(resource_type, query, strict=strict)


@pytest.mark.parametrize(
    "query",
    [
        "nothing=1", "nothing.name=1",
        "_contained=true", "name:=x", "", ".=1", ":=1", "Nguyễn Văn An=1",
    ],
)  # fmt: skip
def test_unknown_parameters(query: str) -> None:
    """An unknown parameter is ignored and left out of the link, or under strict refused."""
    name, _, value = query.partition("=")
    asked = [("gender", "male"), (name, value or "x")]

    lenient = parse("Patient", asked, base_url=BASE_URL, strict=False, now=NOW)
    with pytest.raises(UnsupportedParameter) as refused:
        parse("Patient", asked, base_url=BASE_URL, strict=True, now=NOW)

    assert lenient.where == _token("gender", "male")
    assert lenient.used == (("gender", "male"),)
    assert lenient.ignored == (name,)
    assert "Nguyễn" not in str(refused.value)
    assert refused.value.issues[0].text_vi


@pytest.mark.parametrize(
    "query",
    [
        "name.nothing=1", "organization.nothing=1", "link:Patient.nothing=1",
        "organization.partof.nothing=1", "_has:Observation:nothing:code=1",
        "_has:Observation:patient:nothing=1", "_has:Nothing:patient:code=1",
        "_has:Observation:patient:encounter.nothing=1",
        "organization._has:Patient:nothing:name=1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("strict", [True, False])
def test_what_is_unknown_within_a_link_is_refused(
    query: str,
    strict: bool,  # noqa: FBT001 - a table
) -> None:
    """A chain or `_has` that leads nowhere is never left out: the search would be wider."""
    with pytest.raises(UnsupportedParameter) as refused:
        read("Patient", query, strict=strict)

    assert refused.value.issues[0].text_vi


def test_a_type_of_one_types_search_says_what_it_belongs_to() -> None:
    """`_type` is of the whole system's search; that there is no such type would be untrue."""
    with pytest.raises(InvalidValue, match="of Observation alone"):
        read("Observation", "_type=Patient", strict=False)


@pytest.mark.parametrize("query", ["name=", "name=,", "_id=", "birthdate=,,", "_count=", "_sort="])
def test_a_parameter_without_a_value_is_ignored(query: str) -> None:
    """An empty parameter asks nothing, and is refused under strict."""
    lenient = read("Patient", query, strict=False)

    assert (lenient.where, lenient.used, lenient.count) == (EVERYTHING, (), 20)
    with pytest.raises(InvalidValue):
        read("Patient", query, strict=True)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("", 20),
        ("_count=5", 5),
        ("_count=0", 0),
        ("_count=1000", 1000),
        ("_count=1001", 1000),
        ("_count=999999999999", 1000),
        ("_count=5&_count=5", 5),
    ],
)
def test_the_size_of_a_page(query: str, count: int) -> None:
    """A page has 20 resources, or as many as asked up to 1000."""
    assert read("Patient", query).count == count


@pytest.mark.parametrize("query", ["_count=0", "_summary=count", "_summary=count&_count=5"])
def test_a_page_of_none_asks_for_the_total(query: str) -> None:
    """No resources asked for is the same as the count asked for."""
    parsed = read("Patient", query)

    assert (parsed.count, parsed.total) == (0, "accurate")


def test_result_parameters() -> None:
    """Total, summary, elements, cursor and format are kept beside what is asked."""
    parsed = read(
        "Patient",
        "_total=accurate&_summary=text&_elements=name,birthDate&_elements=id&_cursor=c&_format=json",
    )

    assert parsed.where == EVERYTHING
    assert (parsed.total, parsed.summary, parsed.cursor) == ("accurate", "text", "c")
    assert parsed.elements == ("name", "birthDate", "id")
    assert [name for name, _ in parsed.used] == [
        "_total", "_summary", "_elements", "_elements", "_format",
    ]  # fmt: skip


def test_order() -> None:
    """_sort takes any parameter and several, each in its own direction."""
    parsed = read("Patient", "_sort=-birthdate,name,_id,-_lastUpdated,organization,gender,_source")

    assert parsed.sort == (
        Sort("birthdate", "date", descending=True),
        Sort("name", "string"),
        Sort("_id", "id"),
        Sort("_lastUpdated", "last", descending=True),
        Sort("organization", "reference"),
        Sort("gender", "token"),
        Sort("_source", "uri"),
    )


def test_includes() -> None:
    """_include and _revinclude take a parameter, all of them, a target type, and iterate."""
    parsed = read(
        "Patient",
        "_include=Patient:organization&_include:iterate=Organization:partof:Organization"
        "&_revinclude=Observation:subject&_include=Patient:*&_include=*&_revinclude=*"
        "&_revinclude:recurse=Provenance:target",
    )

    assert parsed.includes == (
        Include("Patient", "organization"),
        Include("Organization", "partof", "Organization", iterate=True),
        Include("Observation", "subject", reverse=True),
        Include("Patient", "*"),
        Include("*", "*"),
        Include("*", "*", reverse=True),
        Include("Provenance", "target", iterate=True, reverse=True),
    )


def test_a_system_search() -> None:
    """A search of the whole system knows the parameters of every type, and `_type`."""
    parsed = read("Resource", "_type=Patient,Observation&_id=a&_lastUpdated=gt2024&_tag=x")

    assert parsed.types == ("Patient", "Observation")
    assert isinstance(parsed.where, And)
    assert len(parsed.where.operands) == 3
    with pytest.raises(UnsupportedParameter):
        read("Resource", "name=x")


def test_ap_widens_by_a_tenth_of_the_time_since() -> None:
    """`ap` of a date reaches a tenth of the way to now, on both sides."""
    asked = read("Patient", "birthdate=ap2014-01-01").where

    low, high = date_range("2014-01-01")
    wide = (micros(NOW) - low) // 10
    assert asked == DateIs("birthdate", Prefix.AP, low - wide, high + wide)
    assert timedelta(microseconds=wide) > timedelta(days=365)


# --- bounds ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "gender=" + ",".join("x" * 5001),
        "&".join(["gender=x"] * 5001),
        "organization." + "partof." * 12 + "name=x",
        "name=" + "x" * 1_000_001,
        "_content=" + " ".join(["x"] * 201),
        "_text=" + "x," * 201,
        "_content=" + ".".join(["x"] * 201),
        "general-practitioner._content=" + " ".join(["x"] * 101),
        "_sort=" + ",".join(["name"] * 9),
        "&".join(["_include=Patient:organization"] * 41),
    ],
)
def test_what_is_too_much_is_refused(query: str) -> None:
    """More values, links, keys or characters than one query may have are too costly."""
    with pytest.raises(TooCostly):
        read("Patient", query)


def test_a_chain_cannot_explode() -> None:
    """An untyped chain through references to any type ends in a refusal, at once."""
    with pytest.raises((TooCostly, InvalidValue)):
        read("Observation", "focus." * 9 + "_id=x")
    with pytest.raises((TooCostly, InvalidValue)):
        read("Provenance", "target." * 9 + "patient=x")


def test_escapes_in_a_long_value_cost_no_more_than_its_length() -> None:
    """A long value full of backslashes is split in one pass."""
    parsed = read("Patient", "name:exact=" + "\\\\,a" * 2000)

    assert isinstance(parsed.where, Or)
    assert len(parsed.where.operands) == 2001


# --- criteria ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resource_type", "query", "expected"),
    [
        ("Patient", f"identifier={CCCD}|001", _token("identifier", "001", CCCD)),
        (
            "Patient",
            f"?identifier={CCCD.replace(':', '%3A')}%7C001",
            _token("identifier", "001", CCCD),
        ),
        ("Coverage", f"payor:identifier={PAYER}|BHXH", _token("payor:identifier", "BHXH", PAYER)),
        (
            "Patient",
            "name=Nguy%E1%BB%85n+An&gender=female",
            And((StringIs("name", "nguyen an"), _token("gender", "female"))),
        ),
        ("Encounter", f"identifier={MA_LK}|01999|L1", _token("identifier", "01999|L1", MA_LK)),
    ],
)
def test_criteria(resource_type: str, query: str, expected: Expression) -> None:
    """The query string of a condition or policy is its expression."""
    assert parse_criteria(resource_type, query) == expected


@pytest.mark.parametrize(
    "query",
    [
        "", "?", "nothing=1", "identifier=", "identifier=1&nothing=1", "_sort=name",
        "identifier=1&_count=1", "_include=Patient:organization", "identifier", "_format=json",
        "birthdate=ap2024", "birthdate=x", "identifier=1&birthdate=", "identifier=,",
    ],
)  # fmt: skip
def test_criteria_that_do_not_select_are_refused(query: str) -> None:
    """Nothing is ignored in criteria: what is unknown, empty or no selection is refused."""
    with pytest.raises((InvalidValue, UnsupportedParameter)):
        parse_criteria("Patient", query)


def test_long_criteria_are_not_kept() -> None:
    """Criteria of any length are parsed; the long ones are forgotten again."""
    query = "identifier=" + ",".join(str(number) for number in range(300))

    assert isinstance(parse_criteria("Patient", query), Or)


def _refusal(resource_type: str, query: list[tuple[str, str]], *, strict: bool) -> FhirError | None:
    try:
        parse(resource_type, query, base_url=BASE_URL, strict=strict, now=NOW)
    except FhirError as refusal:
        return refusal
    return None


# --- laws --------------------------------------------------------------------------------


@given(
    st.sampled_from(sorted(RESOURCE_TYPES)),
    st.lists(st.tuples(st.text(max_size=40), st.text(max_size=40)), max_size=4),
    st.booleans(),
)
def test_any_query_is_parsed_or_refused(
    resource_type: str,
    query: list[tuple[str, str]],
    strict: bool,  # noqa: FBT001 - a strategy
) -> None:
    """Whatever is sent, the answer is a Query or a refusal with a sentence."""
    refusal = _refusal(resource_type, query, strict=strict)

    assert refusal is None or str(refusal).endswith(".")


@given(st.data())
def test_any_value_of_a_known_parameter_is_parsed_or_refused(data: st.DataObject) -> None:
    """Whatever the value of whatever parameter, the answer is a Query or a refusal."""
    resource_type = data.draw(st.sampled_from(["Patient", "Observation", "RiskAssessment"]))
    code = data.draw(st.sampled_from(sorted(parameters(resource_type))))
    modifier = data.draw(
        st.sampled_from(["", "", ":not", ":text", ":exact", ":Patient", ":of-type"])
    )
    value = data.draw(st.text("1a|$,\\.-e+:/gN é\x00", max_size=12) | st.text(max_size=12))

    refusal = _refusal(resource_type, [(code + modifier, value)], strict=True)

    assert refusal is None or refusal.status == 400


@given(
    st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-9999, max_value=9999)
)
def test_a_number_is_within_its_own_range(number: Decimal) -> None:
    """A number lies in the range of its precision, whose half is half of its last digit."""
    found = read("RiskAssessment", f"probability={number}").where

    assert isinstance(found, NumberIs)
    assert found.low <= number < found.high
    assert found.high - found.low == Decimal("0.001")


@given(st.text(max_size=30))
def test_escaping_a_value_gives_the_value(text: str) -> None:
    """A value with its separators escaped is found as it was."""
    escaped = text
    for char in "\\,$|":
        escaped = escaped.replace(char, "\\" + char)
    query = [("identifier", escaped)]

    if text:
        found = parse("Patient", query, base_url=BASE_URL, strict=True, now=NOW).where
        assert isinstance(found, TokenIs)
        assert found.system is None


def test_a_form_decoded_query_is_the_same() -> None:
    """Parse takes the pairs that the edge decodes."""
    pairs = parse_qsl("name=Nguy%E1%BB%85n&birthdate=ge2024-05-01T10%3A00%3A00%2B07%3A00")

    parsed = parse("Patient", pairs, base_url=BASE_URL, strict=True, now=NOW)

    assert isinstance(parsed.where, And)
