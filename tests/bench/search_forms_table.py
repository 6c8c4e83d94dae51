"""The forms that `search_forms` asks, each with what must be found, said apart from the server.

`is_match` is R4's meaning over the resources as they were made (`search_forms_data`): how many
there are of each size, and that every match on the page is one, is known from it alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tests.bench.search_forms_data import (
    CATEGORY,
    CCCD,
    CHAPTERS,
    CLASS,
    CONFIDENTIAL,
    DIASTOLIC,
    FORMS,
    GLUCOSE,
    HEART,
    ICD,
    LABS,
    LOINC,
    NUMBERS,
    PRESSURE,
    PROFILE,
    SELDOM,
    SELDOM_DRUG,
    SELDOM_ICD,
    SMOKING,
    SYSTOLIC,
    TAGS,
    TYPES,
    UCUM,
    VITALS,
    WEIGHT,
    Population,
    Resource,
)

_EFFECTIVE: Final = "effectiveDateTime"

IsMatch = Callable[[Resource, Population], bool]
Key = Callable[[Resource], Any]

PAGE: Final = 50.0
"""Milliseconds that a page of twenty may take."""
GATE: Final = 10.0
"""Milliseconds that a density gate may take: dates and quantities at both of their extremes."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of search.

    Attributes:
        group: What it is a form of.
        url: Below the base; `{p}` is a person's number and `{s}` that of a person with what is
            rare, another at each call.
        is_match: Which resources of its types match; None where the URL varies, or R4 leaves it
            to the server: then a page has `least` matches at least.
        is_gate: It is one of the density gates.
        total: The total must be there, and is exact.
        brings: Types that must come along with the matches.
        turns: The page that is asked for is so many `next` links away from the first.
        back: And from there one `previous` link.
        key: What the page's matches are in the order of, those without it last.
        descending: They are in the opposite one.
    """

    group: str
    url: str
    is_match: IsMatch | None = None
    is_gate: bool = False
    total: bool = False
    brings: tuple[str, ...] = ()
    turns: int = 0
    back: bool = False
    key: Key | None = None
    descending: bool = False
    least: int = 1

    @property
    def limit(self) -> float:
        """Milliseconds that it may take."""
        return GATE if self.is_gate else PAGE

    @property
    def varies(self) -> bool:
        """Whether each call asks for another one."""
        return "{" in self.url

    @property
    def counts_only(self) -> bool:
        """Whether no resource is sent."""
        return "_summary=count" in self.url

    @property
    def types(self) -> tuple[str, ...]:
        """The types that it searches; none: all."""
        path, _, query = self.url.partition("?")
        if path:
            return (path.rpartition("/")[2],)
        named = [pair[6:] for pair in query.split("&") if pair.startswith("_type=")]
        return tuple(named[0].split(",")) if named else ()


# --- what resources hold -----------------------------------------------------------------------


def _concepts(resource: Resource, *names: str) -> Iterator[Resource]:
    for name in names:
        value = resource.get(name, [])
        yield from value if isinstance(value, list) else [value]


def _codes(resource: Resource, *names: str) -> set[tuple[str, str]]:
    return {
        (one.get("system", ""), one["code"])
        for concept in _concepts(resource, *names)
        for one in concept.get("coding", ())
    }


def _code(system: str, *codes: str, of: str = "code") -> IsMatch:
    wanted = {(system, code) for code in codes}
    return lambda r, _: not wanted.isdisjoint(_codes(r, of))


def _text(words: str, of: str = "code") -> IsMatch:
    return lambda r, _: any(words in one.get("text", "") for one in _concepts(r, of))


def _meta(name: str, *values: str) -> IsMatch:
    def is_match(r: Resource, _: Population) -> bool:
        found = r.get("meta", {}).get(name, [])
        found = [found] if isinstance(found, str) else found
        return any((one["code"] if isinstance(one, dict) else one) in values for one in found)

    return is_match


def _family(name: str) -> IsMatch:
    return lambda r, _: any(one["family"] == name for one in r["name"])


def _given(start: str) -> IsMatch:
    return lambda r, _: any(given.startswith(start) for one in r["name"] for given in one["given"])


def _value(r: Resource, name: str = "valueQuantity") -> Decimal | None:
    found = r.get(name)
    return found["value"] if found else None


def _measures(test: Callable[[Decimal], bool], name: str = "valueQuantity") -> IsMatch:
    def is_match(r: Resource, _: Population) -> bool:
        value = _value(r, name)
        return value is not None and test(value)

    return is_match


_GRAMS: Final = {"g": Decimal(1), "kg": Decimal(1000), "[oz_av]": Decimal("28.349523125")}


def _weighs(test: Callable[[Decimal], bool]) -> IsMatch:
    def is_match(r: Resource, _: Population) -> bool:
        found = r.get("valueQuantity")
        each = _GRAMS.get(found["unit"]) if found else None
        return each is not None and test(r["valueQuantity"]["value"] * each)

    return is_match


def _in_unit(unit: str) -> IsMatch:
    return lambda r, _: r.get("valueQuantity", {}).get("unit") == unit


def _beats(test: Callable[[Decimal], bool]) -> IsMatch:
    return _both(_in_unit("/min"), _measures(test))


def _component(code: str, test: Callable[[Decimal], bool]) -> IsMatch:
    def is_match(r: Resource, _: Population) -> bool:
        return any(
            (LOINC, code) in _codes(one, "code") and test(one["valueQuantity"]["value"])
            for one in r.get("component", ())
        )

    return is_match


def _at(name: str, test: Callable[[str], bool]) -> IsMatch:
    """Return whether the text of a date is so; all dateTimes are of one zone."""
    return lambda r, _: name in r and test(r[name])


def _effective(test: Callable[[str], bool]) -> IsMatch:
    return _at(_EFFECTIVE, test)


def _updated(test: Callable[[str], bool]) -> IsMatch:
    return lambda r, _: test(r["meta"]["lastUpdated"])


def _period(test: Callable[[Resource], bool]) -> IsMatch:
    return lambda r, _: test(r["period"])


def _risks(test: Callable[[Decimal], bool]) -> IsMatch:
    return lambda r, _: test(r["prediction"][0]["probabilityDecimal"])


def _refers(name: str, to: str) -> IsMatch:
    return lambda r, _: any(one.get("reference") == to for one in _concepts(r, name))


def _leads(is_match: IsMatch, *path: str) -> IsMatch:
    """Return whether what is referred to, over several references, is so."""

    def is_one(r: Resource, p: Population) -> bool:
        found = p.of(r, *path)
        return bool(found) and is_match(found, p)

    return is_one


def _has(kind: str, is_match: IsMatch) -> IsMatch:
    """Return whether a person has such a resource."""
    return lambda r, p: any(
        one["resourceType"] == kind and is_match(one, p) for one in p.dossier_of(r)
    )


def _both(*all_of: IsMatch) -> IsMatch:
    return lambda r, p: all(one(r, p) for one in all_of)


def _either(*any_of: IsMatch) -> IsMatch:
    return lambda r, p: any(one(r, p) for one in any_of)


def _no(is_match: IsMatch) -> IsMatch:
    return lambda r, p: not is_match(r, p)


def _is(name: str, value: object) -> IsMatch:
    return lambda r, _: r.get(name) == value


def _all(_r: Resource, _p: Population) -> bool:
    return True


def _none(_r: Resource, _p: Population) -> bool:
    return False


def _near(latitude: float, longitude: float, kilometres: float) -> IsMatch:
    """Return whether a Location is no further away, on a sphere."""

    def is_match(r: Resource, _: Population) -> bool:
        if "position" not in r:
            return False
        there = float(r["position"]["latitude"]), float(r["position"]["longitude"])
        a, b, c, d = map(math.radians, (latitude, longitude, *there))
        half = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
        return 2 * 6371.0088 * math.asin(math.sqrt(half)) <= kilometres

    return is_match


def _city(name: str) -> IsMatch:
    def is_match(r: Resource, _: Population) -> bool:
        found = r["address"]
        return any(one["city"] == name for one in (found if isinstance(found, list) else [found]))

    return is_match


def _named(start: str) -> IsMatch:
    return lambda r, _: r["name"].startswith(start)


def _narrated(*words: str) -> IsMatch:
    return lambda r, _: "text" in r and all(word in r["text"]["div"] for word in words)


def _identified(r: Resource, lab: str) -> bool:
    return any(one.get("identifier", {}).get("value") == lab for one in r["performer"])


_MALE: Final = _is("gender", "male")
_NGUYEN: Final = _family("Nguyễn")
_HEART: Final = _code(LOINC, HEART)
_SELDOM: Final = _code(LOINC, SELDOM)
_HYPERTENSION: Final = _code(ICD, "I10")
_PLAGUE: Final = _code(ICD, SELDOM_ICD)
_MARKED: Final = _meta("tag", "seldom")
_PRESENT: Final = _no(_is("gender", None))


def _day(r: Resource) -> str:
    return str(r[_EFFECTIVE])


# --- the forms ---------------------------------------------------------------------------------


def _gate(group: str, url: str, is_match: IsMatch) -> Form:
    return Form(group, url, is_match, is_gate=True)


def _forms() -> Iterable[Form]:
    yield from _everywhere()
    yield from _tokens()
    yield from _strings()
    yield from _references()
    yield from _dates()
    yield from _numbers()
    yield from _composites()
    yield from _places()
    yield from _chains()
    yield from _reverse()
    yield from _included()
    yield from _sorted()
    yield from _others()
    yield from _whole()
    yield from _totals()
    yield from _pages()


def _everywhere() -> Iterator[Form]:
    group = "every type"
    yield Form(group, "Patient?_id=nobody", _none)
    yield Form(group, "Patient?_id=p{p}")
    yield Form(group, "Patient?_id=p{p},p1,p2,p3", least=3)
    yield Form(group, "Patient", _all)
    yield Form(group, "Observation", _all)
    yield Form(group, "Patient?_tag=insured", _meta("tag", "insured"))
    yield Form(group, f"Patient?_tag={TAGS}|seldom", _MARKED)
    yield Form(group, "Patient?_tag:not=insured", _no(_meta("tag", "insured")))
    yield Form(group, f"Patient?_security={CONFIDENTIAL}|V", _meta("security", "V"))
    yield Form(group, f"Patient?_profile={PROFILE}citizen", _meta("profile", f"{PROFILE}citizen"))
    yield Form(group, f"Patient?_profile={PROFILE}seldom", _meta("profile", f"{PROFILE}seldom"))
    yield Form(
        group,
        "Patient?_source=http://example.org/source/seldom",
        _meta("source", "http://example.org/source/seldom"),
    )
    yield Form(
        group,
        "Patient?_source:below=http://example.org/source",
        lambda r, _: "source" in r.get("meta", {}),
    )


def _tokens() -> Iterator[Form]:
    group = "token"
    yield Form(group, f"Observation?code={LOINC}|{HEART}", _HEART)
    yield Form(group, f"Observation?code={HEART}", _HEART)
    yield Form(group, f"Observation?code={LOINC}|", _all)
    yield Form(group, f"Observation?code=|{HEART}", _none)
    yield Form(group, f"Observation?code={LOINC}|{SELDOM}", _SELDOM)
    yield Form(group, f"Observation?code={LOINC}|0000-0", _none)
    yield Form(
        group,
        f"Observation?code={WEIGHT},{PRESSURE},{SELDOM}",
        _code(LOINC, WEIGHT, PRESSURE, SELDOM),
    )
    yield Form(
        group,
        f"Observation?code={HEART}&status=amended",
        _both(_HEART, _is("status", "amended")),
    )
    yield Form(
        group,
        f"Observation?category={CATEGORY}|laboratory&code={SELDOM}",
        _SELDOM,
    )
    yield Form(group, "Observation?status=amended", _is("status", "amended"))
    yield Form(group, "Patient?gender=male", _MALE)
    yield Form(group, "Patient?active=false", lambda r, _: not r["active"])
    yield Form(group, f"Encounter?class={CLASS}|IMP", lambda r, _: r["class"]["code"] == "IMP")
    yield Form(group, f"Patient?identifier={CCCD}|{{p:012d}}")
    yield Form(group, "Patient?identifier=P{p}")
    yield Form(group, f"Patient?identifier={CCCD}|", _all)
    yield Form(group, f"Patient?identifier:of-type={TYPES}|NI|{{p:012d}}")
    yield Form(group, "Patient?phone=09{s:08d}", least=0)
    yield Form(group, "Patient?gender:not=male", _no(_MALE))
    yield Form(group, f"Observation?code:not={HEART}", _no(_HEART))
    yield Form(group, "Patient?gender:missing=true", _is("gender", None))
    yield Form(group, "Patient?gender:missing=false", _PRESENT)
    yield Form(group, "Observation?code:missing=true", _none)
    yield Form(group, "Patient?deceased:missing=false", least=10)
    yield Form(group, "Observation?code:text=nhịp", _text("Nhịp"))
    yield Form(group, "Observation?code:text=mức lọc", _text("Mức lọc"))
    yield Form(group, "Observation?code:text=không có", _none)
    yield Form(group, f"Observation?code:in={VITALS}", _code(LOINC, WEIGHT, PRESSURE))
    yield Form(group, f"Observation?code:in={VITALS}/seldom", _SELDOM)
    yield Form(group, f"Observation?code:not-in={VITALS}", _no(_code(LOINC, WEIGHT, PRESSURE)))
    yield Form(group, f"Condition?code:below={CHAPTERS}|A", lambda r, _: _chapter(r)[0] == "A")
    yield Form(
        group, f"Condition?code:below={CHAPTERS}|E-3", lambda r, _: _chapter(r).startswith("E-3-")
    )
    yield Form(group, f"Condition?code:above={CHAPTERS}|A-1-3", _code(CHAPTERS, "A-1-3"))


def _chapter(r: Resource) -> str:
    return next(code for system, code in _codes(r, "code") if system == CHAPTERS)


def _strings() -> Iterator[Form]:
    group = "string"
    yield Form(group, "Patient?family=nguyen", _NGUYEN)
    yield Form(group, "Patient?name=nguyen", _NGUYEN)
    yield Form(group, "Patient?given=tổ00000", _given("Tổ00000"))
    yield Form(group, "Patient?given=tổ000001", _given("Tổ000001"))
    yield Form(group, "Patient?family=zzz", _none)
    yield Form(group, "Patient?family=nguyen&given=tổ000002", _both(_NGUYEN, _given("Tổ000002")))
    yield Form(group, "Patient?address-city=ha noi", _city("Hà Nội"))
    yield Form(group, "Patient?family:exact=Nguyễn", _NGUYEN)
    yield Form(group, "Patient?given:exact=Tổ000003c", _given("Tổ000003c"))
    yield Form(group, "Patient?family:contains=guy", _NGUYEN)
    yield Form(
        group,
        "Patient?given:contains=00004d",
        lambda r, _: any("00004d" in given for given in r["name"][0]["given"]),
    )
    yield Form(group, "Patient?name:contains=zzz", _none)
    yield Form(group, "Patient?name:missing=true", _none)
    yield Form(
        group,
        "Observation?value-string=bệnh nhân tỉnh",
        lambda r, _: r.get("valueString", "").startswith("Bệnh nhân tỉnh"),
    )
    yield Form(
        group,
        "Observation?value-string=u tai",
        lambda r, _: r.get("valueString", "").startswith("Ù tai"),
    )


def _references() -> Iterator[Form]:
    group = "reference"
    yield Form(group, "Observation?patient=p{p}", least=10)
    yield Form(group, "Observation?subject=Patient/p{p}", least=10)
    yield Form(group, "Observation?subject:Patient=p{p}", least=10)
    yield Form(group, f"Observation?patient=p{{p}}&code={HEART}", least=5)
    yield Form(group, "Observation?encounter=e{p}-0", least=5)
    yield Form(
        group, "Observation?performer=Practitioner/dr0", _refers("performer", "Practitioner/dr0")
    )
    yield Form(
        group,
        "Patient?general-practitioner=Practitioner/dr1",
        _refers("generalPractitioner", "Practitioner/dr1"),
    )
    yield Form(
        group,
        "Encounter?service-provider=Organization/org0",
        _refers("serviceProvider", "Organization/org0"),
    )
    yield Form(
        group,
        f"DiagnosticReport?performer:identifier={LABS}|lab-7",
        lambda r, _: _identified(r, "lab-7"),
    )
    yield Form(group, "Observation?subject:missing=true", _none)
    yield Form(group, "Observation?has-member:missing=false", lambda r, _: "hasMember" in r)

    yield Form(group, "Encounter?location:below=Location/loc2", _within("loc2"))
    yield Form(group, "Encounter?location:below=Location/loc31", _within("loc31"))
    yield Form(group, "Location?partof:below=Location/loc2", _within("loc2", "partOf"))
    yield Form(group, "Location?partof:above=Location/loc30", _part_of(30, 6, 1, 0))
    answers = "QuestionnaireResponse?questionnaire"
    yield Form(group, f"{answers}={FORMS}/b/5/5", _asks("/b/5/5|"))
    yield Form(group, f"{answers}:below={FORMS}/b/5/5|2", _asks("/b/5/5|2"))
    yield Form(group, f"{answers}.version=1.0", _asks("|1.0"))


def _asks(url: str) -> IsMatch:
    return lambda r, _: url in r["questionnaire"]


def _part_of(*numbers: int) -> IsMatch:
    names = {f"Location/loc{number}" for number in numbers}
    return lambda r, _: "partOf" in r and r["partOf"]["reference"] in names


def _within(identity: str, name: str = "location") -> IsMatch:
    """Return whether what is referred to is this one, or a part of it at any depth."""

    def is_match(r: Resource, p: Population) -> bool:
        found = p.of(r, name)
        while found and found["id"] != identity:
            found = p.of(found, "partOf")
        return bool(found)

    return is_match


def _dates() -> Iterator[Form]:
    group = "date"
    for kind, param, name in (
        ("Observation", "date", _EFFECTIVE),
        ("Condition", "recorded-date", "recordedDate"),
    ):
        yield _gate(group, f"{kind}?{param}=ge2021-11-03", _at(name, lambda d: d >= "2021-11-03"))
        yield _gate(group, f"{kind}?{param}=ge2026-10-30", _at(name, lambda d: d >= "2026-10-30"))
        yield _gate(group, f"{kind}?{param}=ge2027-01-01", _none)
        yield _gate(group, f"{kind}?{param}=le2026-10-28", _at(name, lambda d: d < "2026-10-29"))
        yield _gate(group, f"{kind}?{param}=le2021-12-15", _at(name, lambda d: d < "2021-12-16"))
        yield _gate(group, f"{kind}?{param}=le2020-01-01", _none)
    yield _gate(group, "Encounter?date=ge2021-11-03", _period(lambda p: p["end"] >= "2021-11-03"))
    yield _gate(group, "Encounter?date=ge2026-11-01", _period(lambda p: p["end"] >= "2026-11-01"))
    yield _gate(group, "Encounter?date=le2026-10-28", _period(lambda p: p["start"] < "2026-10-29"))
    yield _gate(group, "Encounter?date=le2022-01-15", _period(lambda p: p["start"] < "2022-01-16"))
    yield _gate(group, "Patient?birthdate=ge1925-01-01", _at("birthDate", lambda d: d >= "1925"))
    yield _gate(
        group, "Patient?birthdate=ge2021-10-25", _at("birthDate", lambda d: d >= "2021-10-25")
    )
    yield _gate(
        group, "Patient?birthdate=le2021-10-20", _at("birthDate", lambda d: d <= "2021-10-20")
    )
    yield _gate(
        group, "Patient?birthdate=le1923-09-01", _at("birthDate", lambda d: d <= "1923-09-01")
    )
    yield _gate(
        group, "Observation?_lastUpdated=ge2023-11-16", _updated(lambda d: d >= "2023-11-16")
    )
    yield _gate(
        group, "Observation?_lastUpdated=ge2025-11-12", _updated(lambda d: d >= "2025-11-12")
    )
    yield _gate(
        group, "Observation?_lastUpdated=le2025-11-01", _updated(lambda d: d < "2025-11-02")
    )
    yield _gate(
        group, "Observation?_lastUpdated=le2023-12-25", _updated(lambda d: d < "2023-12-26")
    )
    yield Form(
        group, "Observation?date=2024-05-14", _effective(lambda d: d.startswith("2024-05-14"))
    )
    yield Form(group, "Observation?date=2024", _effective(lambda d: d.startswith("2024")))
    yield Form(group, "Observation?date=ne2024", _effective(lambda d: not d.startswith("2024")))
    yield Form(group, "Observation?date=gt2024-06-01", _effective(lambda d: d >= "2024-06-02"))
    yield Form(group, "Observation?date=lt2024-06-01", _effective(lambda d: d < "2024-06-01"))
    yield Form(group, "Observation?date=sa2026-10-25", _effective(lambda d: d >= "2026-10-26"))
    yield Form(group, "Observation?date=eb2022-01-01", _effective(lambda d: d < "2022-01-01"))
    yield Form(group, "Observation?date=ap2026-11-01")
    yield Form(group, "Observation?date=gt2021-11-02", _effective(lambda d: d >= "2021-11-03"))
    yield Form(group, "Observation?date=gt2026-10-29", _effective(lambda d: d >= "2026-10-30"))
    yield Form(group, "Observation?date=lt2026-10-29", _effective(lambda d: d < "2026-10-29"))
    yield Form(group, "Observation?date=lt2021-12-15", _effective(lambda d: d < "2021-12-15"))
    yield Form(group, "Observation?date=sa2021-11-02", _effective(lambda d: d >= "2021-11-03"))
    yield Form(group, "Observation?date=eb2026-10-29", _effective(lambda d: d < "2026-10-29"))
    yield Form(group, "Observation?date=ne2000", _all)
    yield Form(
        group,
        "Observation?date=ge2024-05-01&date=lt2024-05-08",
        _effective(lambda d: "2024-05-01" <= d < "2024-05-08"),
    )
    yield Form(
        group,
        f"Observation?code={SELDOM}&date=ge2024-01-01",
        _both(_SELDOM, _effective(lambda d: d >= "2024")),
    )
    yield Form(
        group,
        f"Observation?code={HEART}&date=ge2026-10-25",
        _both(_HEART, _effective(lambda d: d >= "2026-10-25")),
    )
    yield Form(
        group,
        f"Observation?code={HEART}&date=le2021-12-31",
        _both(_HEART, _effective(lambda d: d < "2022")),
    )
    yield Form(
        group,
        "Encounter?date=2024-05-14",
        _period(lambda p: p["start"] >= "2024-05-14" and p["end"] < "2024-05-15"),
    )
    yield Form(group, "Observation?date:missing=true", _none)
    yield Form(group, "Patient?death-date:missing=false", lambda r, _: "deceasedDateTime" in r)


def _numbers() -> Iterator[Form]:
    group = "number"
    risk = "RiskAssessment?probability="
    yield _gate(group, f"{risk}ge0.0001", _risks(lambda v: v >= Decimal("0.0001")))
    yield _gate(group, f"{risk}ge0.995", _risks(lambda v: v >= Decimal("0.995")))
    yield _gate(group, f"{risk}le0.995", _risks(lambda v: v <= Decimal("0.995")))
    yield _gate(group, f"{risk}le0.0001", _risks(lambda v: v <= Decimal("0.0001")))
    yield Form(group, f"{risk}0.25", _risks(lambda v: Decimal("0.245") <= v < Decimal("0.255")))
    group = "quantity"
    value = "Observation?value-quantity="
    yield _gate(group, f"{value}ge0.5", _measures(lambda v: v >= Decimal("0.5")))
    yield _gate(group, f"{value}ge95000", _measures(lambda v: v >= 95000))
    yield _gate(group, f"{value}ge1000000", _none)
    yield _gate(group, f"{value}le1000000", _measures(lambda _: True))
    yield _gate(group, f"{value}le1.2", _measures(lambda v: v <= Decimal("1.2")))
    yield _gate(group, f"{value}le0.0001", _none)
    kilos = f"|{UCUM}|kg"
    yield _gate(group, f"{value}ge1{kilos}", _weighs(lambda g: g >= 1000))
    yield _gate(group, f"{value}ge95{kilos}", _weighs(lambda g: g >= 95000))
    yield _gate(group, f"{value}le500{kilos}", _weighs(lambda g: g <= 500_000))
    yield _gate(group, f"{value}le22{kilos}", _weighs(lambda g: g <= 22000))
    yield _gate(group, f"{value}ge30||/min", _beats(lambda v: v >= 30))
    yield _gate(group, f"{value}le115||/min", _beats(lambda v: v <= 115))
    length = "Encounter?length="
    yield _gate(group, f"{length}ge10||min", _measures(lambda v: v >= 10, "length"))
    yield _gate(group, f"{length}le17280||min", _measures(lambda v: v <= 17280, "length"))
    yield _gate(group, f"{length}ge17000||min", _measures(lambda v: v >= 17000, "length"))
    yield _gate(group, f"{length}le12||min", _measures(lambda v: v <= 12, "length"))
    yield Form(group, f"{value}58.3{kilos}", _weighs(lambda g: 58250 <= g < 58350))
    yield Form(
        group,
        f"{value}58300|{UCUM}|g",
        _weighs(lambda g: Decimal("58299.5") <= g < Decimal("58300.5")),
    )
    yield Form(
        group, f"{value}gt200|{UCUM}|[lb_av]", _weighs(lambda g: g > 200 * Decimal("453.59237"))
    )
    yield Form(group, f"{value}gt0||[oz_av]", _in_unit("[oz_av]"))
    yield Form(
        group,
        f"{value}ne76||/min",
        _beats(lambda v: v != 76),
    )
    beats = "||/min"
    yield Form(group, f"{value}gt30{beats}", _beats(lambda v: v > 30))
    yield Form(group, f"{value}gt115{beats}", _beats(lambda v: v > 115))
    yield Form(group, f"{value}lt115{beats}", _beats(lambda v: v < 115))
    yield Form(group, f"{value}lt40{beats}", _beats(lambda v: v < 40))
    yield Form(group, f"{value}sa30{beats}", least=20)
    yield Form(group, f"{value}eb115{beats}", least=20)
    yield Form(group, f"{value}76{beats}", _beats(lambda v: v == 76))
    yield Form(group, f"{value}ap58{kilos}", least=20)
    yield Form(group, f"{value}sa80{kilos}", least=1)
    yield Form(group, f"{value}eb35{kilos}", least=1)
    yield Form(
        group,
        f"Observation?code={WEIGHT}&value-quantity=gt90{kilos}",
        _both(_code(LOINC, WEIGHT), _weighs(lambda g: g > 90000)),
    )
    yield Form(
        group,
        f"Observation?code={HEART}&value-quantity=gt110",
        _both(_HEART, _measures(lambda v: v > 110)),
    )
    yield Form(
        group,
        "Observation?combo-value-quantity=gt220||mm[Hg]",
        _either(_component(SYSTOLIC, lambda v: v > 220), _component(DIASTOLIC, lambda v: v > 220)),
    )
    yield Form(
        group,
        "Observation?component-value-quantity=lt40||mm[Hg]",
        _either(_component(SYSTOLIC, lambda v: v < 40), _component(DIASTOLIC, lambda v: v < 40)),
    )
    yield Form(group, "Observation?value-quantity:missing=true", _is("valueQuantity", None))


def _composites() -> Iterator[Form]:
    group = "composite"
    value = "Observation?code-value-quantity="
    yield Form(group, f"{value}{LOINC}|{HEART}$gt60", _both(_HEART, _measures(lambda v: v > 60)))
    yield Form(group, f"{value}{LOINC}|{HEART}$gt100", _both(_HEART, _measures(lambda v: v > 100)))
    yield Form(group, f"{value}{LOINC}|{HEART}$gt1000", _none)
    yield Form(group, f"{value}{LOINC}|{WEIGHT}$gt0|{UCUM}|[oz_av]", _code(LOINC, WEIGHT))
    yield Form(group, f"{value}{LOINC}|{WEIGHT}$gt0||[oz_av]", _in_unit("[oz_av]"))
    yield Form(
        group,
        f"{value}{LOINC}|{WEIGHT}$gt100|{UCUM}|kg",
        _both(_code(LOINC, WEIGHT), _weighs(lambda g: g > 100_000)),
    )
    yield Form(
        group,
        f"{value}{LOINC}|{GLUCOSE}$lt2|{UCUM}|mmol/L",
        _both(_code(LOINC, GLUCOSE), _measures(lambda v: v < 2)),
    )
    yield Form(group, f"{value}{LOINC}|{SELDOM}$gt60", _both(_SELDOM, _measures(lambda v: v > 60)))
    part = "Observation?component-code-value-quantity="
    yield Form(group, f"{part}{LOINC}|{SYSTOLIC}$gt140", _component(SYSTOLIC, lambda v: v > 140))
    yield Form(
        group, f"{part}{LOINC}|{SYSTOLIC}$gt190||mm[Hg]", _component(SYSTOLIC, lambda v: v > 190)
    )
    yield Form(group, f"{part}{LOINC}|{DIASTOLIC}$gt200", _none)
    yield Form(
        group,
        f"Observation?combo-code-value-quantity={LOINC}|{SYSTOLIC}$lt70",
        _component(SYSTOLIC, lambda v: v < 70),
    )
    yield Form(
        group,
        f"Observation?code-value-concept={LOINC}|{SMOKING}$8517006",
        _code("http://snomed.info/sct", "8517006", of="valueCodeableConcept"),
    )
    yield Form(
        group,
        "Observation?code-value-string=34109-9$u tai",
        lambda r, _: r.get("valueString", "").startswith("Ù tai"),
    )


def _places() -> Iterator[Form]:
    group = "near"
    yield Form(group, "Location?near=21.028|105.834|3|km", _near(21.028, 105.834, 3))
    yield Form(group, "Location?near=21.028|105.834|50|km", _near(21.028, 105.834, 50))
    yield Form(group, "Location?near=16|107|5000|km", lambda r, _: "position" in r)
    yield Form(group, "Location?near=-16.8|180|50|km", _none)
    yield Form(
        group,
        "Location?near=12.667|108.038|30|km&address-city=buon ma thuot",
        _both(_near(12.667, 108.038, 30), _city("Buôn Ma Thuột")),
    )
    yield Form(group, "Location?near:missing=true", lambda r, _: "position" not in r)


def _chains() -> Iterator[Form]:
    group = "chain"
    yield Form(group, "Observation?patient.gender=male", _leads(_MALE, "subject"))
    yield Form(group, "Observation?subject:Patient.family=nguyen", _leads(_NGUYEN, "subject"))
    yield Form(group, f"Observation?patient.identifier={CCCD}|{{p:012d}}", least=10)
    yield Form(group, "Observation?patient._tag=seldom", _leads(_MARKED, "subject"))
    yield Form(group, "Observation?patient.family=zzz", _none)
    yield Form(
        group,
        "Condition?patient.birthdate=ge2021-06-01",
        _leads(_at("birthDate", lambda d: d >= "2021-06-01"), "subject"),
    )
    yield Form(
        group,
        f"Observation?code={HEART}&patient.gender=female",
        _both(_HEART, _leads(_is("gender", "female"), "subject")),
    )
    yield Form(
        group,
        "Observation?encounter.date=ge2026-10-31",
        _leads(_period(lambda p: p["end"] >= "2026-10-31"), "encounter"),
    )
    yield Form(
        group,
        "Encounter?location.near=21.028|105.834|5|km",
        _leads(_near(21.028, 105.834, 5), "location"),
    )
    yield Form(
        group,
        "Observation?patient.organization.name=benh vien ha noi",
        _leads(_named("Bệnh viện Hà Nội"), "subject", "managingOrganization"),
    )
    yield Form(
        group,
        f"Observation?encounter.service-provider.identifier={NUMBERS}|ORG3",
        _leads(_is("id", "org3"), "encounter", "serviceProvider"),
    )
    yield Form(
        group,
        "DiagnosticReport?result.patient._tag=seldom",
        _leads(_MARKED, "subject"),
    )
    yield Form(
        group,
        "Observation?encounter.service-provider.partof.name=benh vien",
        _leads(_all, "encounter", "serviceProvider", "partOf"),
    )
    yield Form(
        group,
        f"Observation?encounter.service-provider.partof.identifier={NUMBERS}|ORG4",
        _leads(_is("id", "org4"), "encounter", "serviceProvider", "partOf"),
    )
    yield Form(
        group,
        "DiagnosticReport?result.encounter.patient.gender=male",
        _leads(_MALE, "subject"),
    )
    yield Form(
        group,
        "DiagnosticReport?result.encounter.patient._tag=seldom",
        _leads(_MARKED, "subject"),
    )


def _reverse() -> Iterator[Form]:
    group = "_has"
    yield Form(group, f"Patient?_has:Observation:patient:code={HEART}", _all)
    yield Form(
        group,
        f"Patient?_has:Observation:patient:code={GLUCOSE}",
        _has("Observation", _code(LOINC, GLUCOSE)),
    )
    yield Form(group, f"Patient?_has:Observation:patient:code={SELDOM}", _MARKED)
    yield Form(group, "Patient?_has:Observation:patient:code=0000-0", _none)
    yield Form(
        group, f"Patient?_has:Condition:patient:code={ICD}|I10", _has("Condition", _HYPERTENSION)
    )
    yield Form(
        group,
        f"Patient?gender=male&_has:Condition:patient:code={ICD}|I10",
        _both(_MALE, _has("Condition", _HYPERTENSION)),
    )
    yield Form(
        group,
        "Patient?_has:Observation:patient:date=ge2026-10-31",
        _has("Observation", _at(_EFFECTIVE, lambda d: d >= "2026-10-31")),
    )
    nested = "Patient?_has:Encounter:patient:_has:Condition:encounter:code="
    yield Form(group, f"{nested}{ICD}|I10", _has("Condition", _HYPERTENSION))
    yield Form(group, f"{nested}{ICD}|{SELDOM_ICD}", _MARKED)
    yield Form(group, f"{nested}{ICD}|Z99", _none)
    yield Form(
        group,
        f"Organization?_has:Patient:organization:_has:Observation:patient:code={SELDOM}",
        lambda r, p: r["id"] in p.rare_hospitals,
    )
    yield Form(group, "Practitioner?_has:Encounter:practitioner:patient.gender=male", least=5)
    yield Form(
        group,
        "Observation?patient._has:MedicationRequest:patient:code=V03AB",
        _leads(_MARKED, "subject"),
    )


def _included() -> Iterator[Form]:
    group = "include"
    yield Form(
        group, f"Observation?code={HEART}&_include=Observation:patient", _HEART, brings=("Patient",)
    )
    yield Form(
        group,
        f"Observation?code={HEART}&_include=*",
        _HEART,
        brings=("Patient", "Encounter", "Practitioner"),
    )
    yield Form(
        group,
        "Encounter?class=IMP&_include=Encounter:location&_include=Encounter:service-provider"
        "&_include:iterate=Location:partof&_include:iterate=Organization:partof",
        lambda r, _: r["class"]["code"] == "IMP",
        brings=("Location", "Organization"),
    )
    yield Form(
        group,
        "DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:encounter"
        "&_include:iterate=Encounter:location",
        _all,
        brings=("Observation", "Encounter", "Location"),
    )
    yield Form(
        group, "Patient?gender=male&_revinclude=Condition:patient", _MALE, brings=("Condition",)
    )
    yield Form(
        group,
        "Patient?gender=male&_revinclude=Encounter:patient&_revinclude:iterate=Condition:encounter",
        _MALE,
        brings=("Encounter", "Condition"),
    )
    yield Form(
        group,
        "Patient?_id=p{p}&_revinclude=*",
        brings=("Observation", "Encounter", "Condition", "Coverage"),
    )
    yield Form(
        group,
        "Encounter?patient=p{p}&_revinclude=*&_include=*",
        brings=("Observation", "Condition", "Patient"),
    )


def _sorted() -> Iterator[Form]:
    group = "_sort"
    yield Form(group, "Observation?_sort=date", _all, key=_day)
    yield Form(group, "Observation?_sort=-date", _all, key=_day, descending=True)
    yield Form(
        group,
        f"Observation?code={HEART}&_sort=-date",
        _HEART,
        key=_day,
        descending=True,
    )
    yield Form(group, f"Observation?code={SELDOM}&_sort=date", _SELDOM, key=_day)
    yield Form(group, "Observation?patient=p{p}&_sort=-date", key=_day, descending=True, least=10)
    yield Form(
        group,
        "Observation?date=ge2024-01-01&_sort=date",
        _at(_EFFECTIVE, lambda d: d >= "2024"),
        key=_day,
    )
    yield Form(group, "Encounter?_sort=-date", _all)
    yield Form(group, "Patient?_sort=birthdate", _all, key=lambda r: r["birthDate"])
    yield Form(group, "Patient?_sort=family", _all)
    yield Form(group, "Patient?_sort=-name", _all)
    yield Form(group, "Patient?_sort=gender", _all, key=lambda r: r["gender"])
    yield Form(group, "Patient?_sort=-gender", _all)
    yield Form(
        group,
        "Patient?_sort=gender,-birthdate",
        _all,
        key=lambda r: (r["gender"], -int(r["birthDate"].replace("-", ""))),
    )
    yield Form(
        group,
        "Patient?family=nguyen&_sort=gender,birthdate,given",
        _NGUYEN,
        key=lambda r: (r["gender"], r["birthDate"]),
    )
    yield Form(group, "Observation?_sort=code,-date", _all)
    yield Form(group, "Observation?_sort=subject", _all)
    yield Form(group, "Observation?_sort=-patient", _all)
    yield Form(group, f"Observation?code={HEART}&_sort=subject", _HEART)
    yield Form(group, f"Observation?code={SELDOM}&_sort=subject", _SELDOM)
    yield Form(group, "Observation?_sort=value-quantity", _all)
    yield Form(group, f"Observation?code={HEART}&_sort=-value-quantity", _HEART, key=_value,
               descending=True)  # fmt: skip
    yield Form(
        group,
        "RiskAssessment?_sort=-probability",
        _all,
        key=lambda r: r["prediction"][0]["probabilityDecimal"],
        descending=True,
    )
    yield Form(group, "Questionnaire?_sort=url", _all, key=lambda r: r["url"])
    yield Form(
        group, "Observation?_sort=_lastUpdated", _all, key=lambda r: r["meta"]["lastUpdated"]
    )
    yield Form(
        group,
        "Observation?_sort=-_lastUpdated",
        _all,
        key=lambda r: r["meta"]["lastUpdated"],
        descending=True,
    )
    yield Form(group, "Observation?_sort=_id", _all, key=lambda r: r["id"])


def _others() -> Iterator[Form]:
    group = "_filter"
    yield Form(group, "Patient?_filter=gender eq male and family sw nguyen", _both(_MALE, _NGUYEN))
    yield Form(
        group,
        f"Observation?_filter=code eq {SELDOM} or status eq amended",
        _either(_SELDOM, _is("status", "amended")),
    )
    yield Form(
        group,
        f"Observation?_filter=code eq {HEART} and not (status eq final)",
        _both(_HEART, _is("status", "amended")),
    )
    yield Form(
        group,
        'Observation?_filter=patient.family co "guy" and date ge 2026-10-25',
        _both(_leads(_NGUYEN, "subject"), _at(_EFFECTIVE, lambda d: d >= "2026-10-25")),
    )
    yield Form(
        group,
        'Observation?_filter=subject:Patient[gender eq male].family eq "tran"',
        _leads(_both(_MALE, _family("Trần")), "subject"),
    )
    group = "words"
    yield Form(group, "DiagnosticReport?_text=siêu âm", _narrated("Siêu âm"))
    yield Form(group, "DiagnosticReport?_text=phình", _narrated("phình"))
    yield Form(group, 'DiagnosticReport?_text="nhịp xoang"', _narrated("nhịp xoang"))
    yield Form(group, "DiagnosticReport?_content=bất thường -siêu", _no(_narrated("Siêu")))
    yield Form(group, "Observation?_content=nhịp tim", _text("Nhịp tim"))
    yield Form(
        group, "Observation?_content=ù tai", lambda r, _: r.get("valueString", "").startswith("Ù")
    )
    yield Form(group, "Observation?_content=khongco", _none)
    group = "_list"
    yield Form(group, "Patient?_list=list0", lambda r, p: int(r["id"][1:]) % (p.people // 100) == 0
               and int(r["id"][1:]) < 100 * (p.people // 100))  # fmt: skip
    yield Form(group, "Condition?_list=list7", lambda r, _: r["id"] in {"c7-0", "c7-1"})
    yield Form(group, "List?item=Condition/c{l}-0")
    group = "uri"
    yield Form(group, f"Questionnaire?url={FORMS}/b/5/5", _is("url", f"{FORMS}/b/5/5"))
    yield Form(
        group,
        f"Questionnaire?url:below={FORMS}/b",
        lambda r, _: r["url"].startswith(f"{FORMS}/b/"),
    )
    yield Form(group, f"Questionnaire?url:above={FORMS}/b/5/5/x", _is("url", f"{FORMS}/b/5/5"))


def _whole() -> Iterator[Form]:
    group = "system"
    yield Form(group, "?_type=Patient,Practitioner&_lastUpdated=ge2023-11-16", least=20)
    yield Form(group, "?_type=Observation,Condition,Encounter&patient=p{p}", least=14)
    yield Form(
        group, "?_type=Observation,Condition&code=I10,8867-4", _either(_HEART, _HYPERTENSION)
    )
    yield Form(group, "?_tag=seldom", _MARKED)
    yield Form(group, "?_id=p{p}")
    yield Form(group, "?_content=phình", lambda r, _: "phình" in r.get("text", {}).get("div", ""))
    group = "compartment"
    yield Form(group, "Patient/p{p}/Observation", least=10)
    yield Form(group, f"Patient/p{{p}}/Observation?code={HEART}&_sort=-date", least=5, key=_day,
               descending=True)  # fmt: skip
    yield Form(group, "Patient/p{p}/*", least=19)
    yield Form(group, "Encounter/e{p}-0/Observation", least=5)
    yield Form(
        group,
        "Practitioner/dr0/Observation",
        _refers("performer", "Practitioner/dr0"),
    )


def _totals() -> Iterator[Form]:
    group = "total"
    exact = "&_total=accurate"
    yield Form(group, f"Observation?code={HEART}{exact}", _HEART, total=True)
    yield Form(group, f"Observation?code={SELDOM}{exact}", _SELDOM, total=True)
    yield Form(group, f"Observation?code=0000-0{exact}", _none, total=True)
    yield Form(group, "Observation?_total=accurate", _all, total=True)
    yield Form(
        group,
        f"Observation?code={HEART}&status=final{exact}",
        _both(_HEART, _is("status", "final")),
        total=True,
    )
    yield Form(
        group,
        f"Observation?date=ge2024-01-01{exact}",
        _at(_EFFECTIVE, lambda d: d >= "2024"),
        total=True,
    )
    yield Form(
        group,
        f"Observation?code={HEART}&date=ge2024-01-01{exact}",
        _both(_HEART, _at(_EFFECTIVE, lambda d: d >= "2024")),
        total=True,
    )
    yield Form(
        group, f"Observation?value-quantity=gt50||kg{exact}",
        _both(_in_unit("kg"), _measures(lambda v: v > 50)), total=True,
    )  # fmt: skip
    yield Form(group, f"Patient?family=nguyen{exact}", _NGUYEN, total=True)
    yield Form(
        group, f"Patient?gender=male&family=nguyen{exact}", _both(_MALE, _NGUYEN), total=True
    )
    yield Form(
        group, f"Observation?patient.gender=male{exact}", _leads(_MALE, "subject"), total=True
    )
    yield Form(
        group,
        f"Patient?_has:Condition:patient:code={ICD}|I10{exact}",
        _has("Condition", _HYPERTENSION),
        total=True,
    )
    yield Form(group, f"Observation?code={HEART}&_summary=count", _HEART, total=True)
    yield Form(group, f"Condition?code={SELDOM_ICD}&_summary=count", _PLAGUE, total=True)
    yield Form(group, "Patient?gender=male&_summary=count", _MALE, total=True)
    yield Form(
        group,
        f"MedicationRequest?code={SELDOM_DRUG}&_total=none",
        _code("http://example.org/CodeSystem/drugs", SELDOM_DRUG, of="medicationCodeableConcept"),
    )
    group = "part"
    yield Form(group, f"Observation?code={HEART}&_summary=true", _HEART)
    yield Form(group, "Patient?gender=male&_elements=id,name", None, least=20)


def _pages() -> Iterator[Form]:
    group = "page"
    yield Form(group, f"Observation?code={HEART}", _HEART, turns=1)
    yield Form(group, f"Observation?code={HEART}", _HEART, turns=100)
    yield Form(group, f"Observation?code={HEART}", _HEART, turns=100, back=True)
    yield Form(group, "Observation?_sort=-date", _all, turns=100, key=_day, descending=True)
    yield Form(group, "Observation?_sort=date", _all, turns=50, back=True, key=_day)
    yield Form(group, "Patient?_sort=family", _all, turns=20)
    yield Form(group, "Patient?_sort=gender", _all, turns=20)
    yield Form(
        group,
        "Observation?date=ge2024-01-01",
        _at(_EFFECTIVE, lambda d: d >= "2024"),
        turns=50,
    )
    yield Form(group, "Observation?patient.gender=male", _leads(_MALE, "subject"), turns=50)
    yield Form(group, "?_type=Observation,Condition&_lastUpdated=ge2023-11-16", turns=50, least=20)


FORMS_ASKED: Final = tuple(_forms())
