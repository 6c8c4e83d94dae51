"""Random resources that are valid, and random searches as URLs: from small pools, so they meet.

Names are Vietnamese, composed and decomposed; times have every precision and several zones.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeVar
from urllib.parse import quote

from tests.naive.table import EVERYWHERE, PARAMS, PARENTS, Param

T = TypeVar("T")
Resource = dict[str, Any]
Tree = tuple[Any, ...]

BASE: Final = "http://testserver/fhir"
IDS: Final = ("a", "b", "c", "d", "e", "f", "g")
WORDS: Final = (
    "Nguyễn",
    "Nguyen",
    "nguyễn văn",
    "Đỗ Văn Án",
    "ngô",
    "AN",
    "Trần-Lê",
    "do",
    "Ánh, $5|x",
)
CODES: Final = ("x", "y", "z", "XY")
SYSTEMS: Final = ("http://s.example", "http://s.example/t", None, None)
UCUM: Final = "http://unitsofmeasure.org"
UNITS: Final = (
    {"system": UCUM, "code": "kg", "unit": "kg"},
    {"system": UCUM, "code": "mm[Hg]", "unit": "mmHg"},
    {"system": "http://s.example", "code": "kg"},
    {"unit": "kg"},
    {},
)
NUMBERS: Final = (
    "0", "-1", "1", "1.0", "1.00", "5.4", "5.40", "5.45", "99.5", "100", "100.4", "100.5", "1e2",
    "0.1", "-0.05", "12345678.901", "2.5e-3",
)  # fmt: skip
MOMENTS: Final = (
    "2023", "2023-12", "2023-12-31", "2023-12-31T16:59:59Z", "2023-12-31T17:00:00Z",
    "2024-01-01", "2024-01-01T00:00:00+07:00", "2024-01-01T00:00:00.5+07:00",
    "2024-02-29", "2024-02-29T23:59:59-05:00", "2024-03", "2024", "2025-06-01T10:00:00.123456Z",
)  # fmt: skip
"""In the order of their beginnings, but that a year and a month stand behind their days."""
URLS: Final = (
    "http://a.example/q", "http://a.example/q/1", "http://a.example/q1", "http://a.example",
    "urn:oid:1.2.3", "urn:oid:1.2.3.4",
)  # fmt: skip
VERSIONS: Final = ("", "", "1", "1.2", "1.2.0", "1.10", "1.10-x")
PREFIXES: Final = ("", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
CHAINS: Final = {
    "Patient": ("general-practitioner:Practitioner", "organization", "link:Patient"),
    "Observation": ("subject:Patient", "patient", "encounter", "has-member:Observation", "subject"),
    "Encounter": ("subject:Patient", "patient", "location", "part-of", "service-provider"),
    "Condition": ("subject", "encounter"),
    "MedicationRequest": ("patient", "encounter"),
    "RiskAssessment": ("subject:Patient", "encounter"),
    "Location": ("partof", "organization"),
    "Organization": ("partof",),
    "Practitioner": (),
    "Questionnaire": (),
    "QuestionnaireResponse": (
        "questionnaire:Questionnaire", "questionnaire", "subject:Patient", "encounter",
    ),
}  # fmt: skip
REVERSED: Final = {
    "Patient": ("Observation:subject", "Encounter:patient", "Condition:subject", "Patient:link"),
    "Observation": ("Observation:has-member",),
    "Encounter": ("Observation:encounter", "Condition:encounter", "Encounter:part-of"),
    "Location": ("Encounter:location", "Location:partof"),
    "Organization": ("Encounter:service-provider", "Location:organization"),
    "Practitioner": ("Patient:general-practitioner", "Observation:performer"),
    "Questionnaire": ("QuestionnaireResponse:questionnaire",),
}
_COMPARED: Final = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
OPERATORS: Final = {
    "string": ("eq", "ne", "co", "sw", "ew"),
    "token": ("eq", "ne"),
    "uri": ("eq", "ne", "sw"),
    "reference": ("eq", "ne", "re"),
    "date": (*_COMPARED, "po"),
    "number": _COMPARED,
    "quantity": _COMPARED,
}
"""The operators of a filter, by the type of the parameter."""
DEGREES: Final = ("0", "10.7574", "21.0287", "-16.8", "89.9", "-90")
EAST: Final = ("0", "105.84", "106.6595", "179.99", "-179.99", "180")
UNSORTED: Final = frozenset({"composite", "special"})
STATUSES: Final = {
    "Observation": ("final", "amended"),
    "Encounter": ("finished", "planned"),
    "MedicationRequest": ("active", "draft"),
    "RiskAssessment": ("final", "amended"),
    "Location": ("active", "inactive"),
    "Questionnaire": ("draft", "active"),
    "QuestionnaireResponse": ("completed", "amended"),
}


class Drawing:
    """What one seed draws."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def one(self, pool: Sequence[T]) -> T:
        """Draw one of a pool."""
        return self.random.choice(pool)

    def chance(self, share: float) -> bool:
        """Draw whether something is so."""
        return self.random.random() < share

    def maybe(self, **elements: Callable[[], Any]) -> Resource:
        """Draw some of these elements; what is empty is left out."""
        drawn = {name: draw() for name, draw in elements.items() if self.chance(0.65)}
        return {name: value for name, value in drawn.items() if value not in ([], {}, None)}

    def some(self, draw: Callable[[], T], most: int = 2) -> list[T]:
        """Draw up to so many; what is empty is left out."""
        drawn = [draw() for _ in range(self.random.randint(0, most))]
        return [one for one in drawn if one]

    # --- resources ------------------------------------------------------------------------

    def resource(self) -> Resource:
        """Draw a resource of any type."""
        kind = self.kind()
        elements = _MADE[kind](self)
        if kind in STATUSES:
            elements["status"] = self.one(STATUSES[kind])
        meta = self.maybe(
            tag=lambda: self.some(self.coding),
            security=lambda: self.some(self.coding, 1),
            profile=lambda: self.some(
                lambda: self.one(URLS) + self.one(("", "|1.0", "|1.0.2", "|1.01")), 1
            ),
            source=lambda: self.one(URLS),
        )
        made = {"resourceType": kind, "id": self.one(IDS), **elements}
        return made | ({"meta": meta} if meta and self.chance(0.5) else {})

    def kind(self) -> str:
        """Draw a type: mostly those with the most parameters."""
        return self.one(("Observation", "Observation", "Patient", "Encounter", *_MADE))

    def word(self) -> str:
        """Draw a text, composed or not."""
        return unicodedata.normalize(self.one(("NFC", "NFC", "NFD")), self.one(WORDS))

    def coding(self) -> Resource:
        """Draw a Coding that has a code or a display."""
        system = self.one(SYSTEMS)
        coded = {"code": self.one(CODES)} if self.chance(0.9) else {"display": self.word()}
        shown = {"display": self.word()} if self.chance(0.4) else {}
        return ({"system": system} if system else {}) | coded | shown

    def concept(self) -> Resource:
        """Draw a CodeableConcept; it may be empty."""
        return self.maybe(coding=lambda: self.some(self.coding), text=self.word)

    def full_concept(self) -> Resource:
        """Draw a CodeableConcept with something in it."""
        return self.concept() or {"text": self.word()}

    def identifier(self) -> Resource:
        """Draw an Identifier with a value."""
        system = self.one(SYSTEMS)
        value: Resource = {"value": self.one((*CODES, "1", "2", "Án"))}
        return ({"system": system} if system else {}) | value | self.maybe(type=self.concept)

    def number(self) -> Decimal:
        """Draw a number."""
        return Decimal(self.one(NUMBERS))

    def quantity(self) -> Resource:
        """Draw a Quantity."""
        comparator = {"comparator": self.one(("<", "<=", ">", ">="))} if self.chance(0.2) else {}
        return {"value": self.number(), **self.one(UNITS), **comparator}

    def range(self) -> Resource:
        """Draw a Range that has an end."""
        low, high = sorted([self.number(), self.number()])
        ends = {"low": {"value": low, "unit": "kg"}, "high": {"value": high, "unit": "kg"}}
        for name in self.one(((), (), ("low",), ("high",))):
            ends.pop(name)
        return ends

    def moment(self) -> str:
        """Draw a date or time."""
        return self.one(MOMENTS)

    def time(self) -> str:
        """Draw a time to the second."""
        return self.one([one for one in MOMENTS if "T" in one])

    def period(self) -> Resource:
        """Draw a Period; either end may be open, and it may be empty."""
        days = [one for one in MOMENTS if len(one) >= 10]
        start = self.random.randrange(len(days))
        end = self.random.randrange(start, len(days))
        if days[start][:10] == days[end][:10]:
            end = start
        return self.maybe(start=lambda: days[start], end=lambda: days[end])

    def reference(self, *kinds: str) -> Resource:
        """Draw a Reference: relative, below the base, a version, another server's, logical."""
        name = f"{self.one(kinds)}/{self.one(IDS)}"
        return self.one([
            *[{"reference": name}] * 6,
            {"reference": f"{BASE}/{name}"},
            {"reference": f"{name}/_history/1"},
            {"reference": f"http://other.example/fhir/{name}"},
            {"identifier": self.identifier()},
            {"reference": name, "identifier": self.identifier()},
        ])  # fmt: skip

    def name(self) -> Resource:
        """Draw a HumanName; it may be empty."""
        return self.maybe(
            text=self.word, family=self.word, given=lambda: self.some(self.word),
        )  # fmt: skip

    def address(self) -> Resource:
        """Draw an Address; it may be empty."""
        return self.maybe(city=self.word, line=lambda: self.some(self.word), text=self.word)

    def _patient(self) -> Resource:
        return self.maybe(
            active=lambda: self.one((True, False)),
            address=lambda: self.some(self.address),
            birthDate=lambda: self.one([one for one in MOMENTS if "T" not in one]),
            communication=lambda: self.some(lambda: {"language": self.full_concept()}),
            deceasedDateTime=self.moment,
            gender=lambda: self.one(("male", "female", "other")),
            generalPractitioner=lambda: self.some(
                lambda: self.reference("Practitioner", "Organization")
            ),
            identifier=lambda: self.some(self.identifier),
            link=lambda: self.some(
                lambda: {"other": self.reference("Patient"), "type": "seealso"}, 1
            ),
            managingOrganization=lambda: self.reference("Organization"),
            name=lambda: self.some(self.name),
            telecom=lambda: self.some(
                lambda: {"system": self.one(("phone", "email")), "value": self.one(CODES)}
            ),
        )

    def _observation(self) -> Resource:
        # R4, obs-7: a component of the same code as the whole leaves it without a value.
        value = self.one((
            {},
            {"valueQuantity": self.quantity},
            {"valueCodeableConcept": self.full_concept},
            {"valueString": self.word},
            {"valueDateTime": self.moment},
            {"valuePeriod": self.period},
        ))
        when = self.one((
            {"effectiveDateTime": self.moment},
            {"effectivePeriod": self.period},
            {"effectiveInstant": self.time},
            {"effectiveTiming": self._timing},
        ))
        component = {} if value else {"component": lambda: self.some(self._component)}
        if self.chance(0.3):
            component = {"component": lambda: self.some(self._odd_component)}
        return {"code": self.full_concept()} | self.maybe(
            category=lambda: self.some(self.concept),
            encounter=lambda: self.reference("Encounter"),
            hasMember=lambda: self.some(lambda: self.reference("Observation")),
            identifier=lambda: self.some(self.identifier, 1),
            performer=lambda: self.some(lambda: self.reference("Practitioner", "Patient")),
            subject=lambda: self.reference("Patient", "Patient", "Group", "Location"),
            **value,
            **when,
            **component,
        )

    def _timing(self) -> Resource:
        return self.maybe(
            event=lambda: self.some(self.moment),
            repeat=lambda: self.maybe(boundsPeriod=self.period),
        )

    def _component(self) -> Resource:
        value = self.one((
            {"valueQuantity": self.quantity},
            {"valueCodeableConcept": self.full_concept},
        ))
        return {"code": self.full_concept()} | self.maybe(**value)

    def _odd_component(self) -> Resource:
        code = {"coding": [{"system": "http://s.example", "code": self.one(("p", "q"))}]}
        return {"code": code} | self.maybe(valueQuantity=self.quantity)

    def _encounter(self) -> Resource:
        return {"class": self.coding()} | self.maybe(
            identifier=lambda: self.some(self.identifier, 1),
            length=lambda: {"value": self.number(), "system": UCUM, "code": "h"},
            location=lambda: self.some(
                lambda: {"location": self.reference("Location")} | self.maybe(period=self.period)
            ),
            partOf=lambda: self.reference("Encounter"),
            period=self.period,
            reasonCode=lambda: self.some(self.concept),
            serviceProvider=lambda: self.reference("Organization"),
            subject=lambda: self.reference("Patient", "Patient", "Group"),
            type=lambda: self.some(self.concept),
        )

    def _condition(self) -> Resource:
        onset = self.one((
            {"onsetAge": lambda: {"value": self.one((1, 44, 45)), "system": UCUM, "code": "a"}},
            {"onsetRange": self.range},
            {"onsetDateTime": self.moment},
            {"onsetPeriod": self.period},
            {"onsetString": self.word},
        ))
        return {"subject": self.reference("Patient", "Group")} | self.maybe(
            code=self.concept,
            encounter=lambda: self.reference("Encounter"),
            identifier=lambda: self.some(self.identifier, 1),
            recordedDate=self.moment,
            severity=self.concept,
            **onset,
        )

    def _prescription(self) -> Resource:
        drug = self.one((
            {"medicationCodeableConcept": self.full_concept()},
            {"medicationReference": self.reference("Medication")},
        ))
        needed = {"intent": self.one(("order", "plan")), "subject": self.reference("Patient")}
        return (
            needed
            | drug
            | self.maybe(
                authoredOn=self.moment,
                encounter=lambda: self.reference("Encounter"),
                identifier=lambda: self.some(self.identifier, 1),
            )
        )

    def _risk(self) -> Resource:
        when = self.one(({"occurrenceDateTime": self.moment}, {"occurrencePeriod": self.period}))
        return {"subject": self.reference("Patient", "Group")} | self.maybe(
            encounter=lambda: self.reference("Encounter"),
            prediction=lambda: self.some(self._prediction),
            **when,
        )

    def _prediction(self) -> Resource:
        chance = self.one((
            {"probabilityDecimal": lambda: Decimal(self.one(("0.1", "1.0", "5.4", "100", "99.5")))},
            {"probabilityRange": self._chances},
        ))
        return self.maybe(qualitativeRisk=self.concept, **chance)

    def _chances(self) -> Resource:
        low, high = sorted(Decimal(self.one(("1", "5.4", "99.5"))) for _ in range(2))
        unit = {"system": UCUM, "code": "%"}
        return {"low": {"value": low, **unit}, "high": {"value": high, **unit}}

    def _location(self) -> Resource:
        return self.maybe(
            address=self.address,
            alias=lambda: self.some(self.word),
            identifier=lambda: self.some(self.identifier, 1),
            managingOrganization=lambda: self.reference("Organization"),
            name=self.word,
            partOf=lambda: self.reference("Location"),
            position=lambda: {
                "latitude": Decimal(self.one(DEGREES)), "longitude": Decimal(self.one(EAST))
            },
        )  # fmt: skip

    def _organization(self) -> Resource:
        return {"name": self.word()} | self.maybe(
            active=lambda: self.one((True, False)),
            alias=lambda: self.some(self.word),
            identifier=lambda: self.some(self.identifier, 1),
            partOf=lambda: self.reference("Organization"),
        )

    def _practitioner(self) -> Resource:
        return self.maybe(
            identifier=lambda: self.some(self.identifier), name=lambda: self.some(self.name)
        )

    def _questionnaire(self) -> Resource:
        return self.maybe(
            date=self.moment,
            effectivePeriod=self.period,
            item=lambda: self.some(
                lambda: {
                    "linkId": "1", "type": "display", "text": "?", "definition": self.one(URLS)
                },
                1,
            ),
            title=self.word,
            url=lambda: self.one(URLS),
            version=lambda: self.one(VERSIONS[2:]),
        )  # fmt: skip

    def _answers(self) -> Resource:
        return self.maybe(
            authored=self.moment,
            encounter=lambda: self.reference("Encounter"),
            identifier=self.identifier,
            questionnaire=self.one((*[self.canonical] * 5, self._local)),
            subject=lambda: self.reference("Patient", "Patient", "Group"),
        )

    def canonical(self) -> str:
        """Draw a canonical URL, with a version and a fragment or without."""
        version = self.one(VERSIONS)
        return self.one(URLS) + (f"|{version}" if version else "") + self.one(("", "", "#part"))

    def _local(self) -> str:
        return self.one(("", f"{BASE}/")) + f"Questionnaire/{self.one(IDS)}"

    # --- searches -------------------------------------------------------------------------

    def search(self, kind: str) -> str:
        """Draw the query of a search of a type."""
        asked = [self.criterion(kind) for _ in range(self.one((1, 1, 1, 1, 2, 3)))]
        if self.chance(0.5):
            codes = [code for code, param in PARAMS[kind].items() if param.kind not in UNSORTED]
            keys = self.random.sample(codes, self.random.randint(1, 3))
            asked.append(("_sort", ",".join(self.one(("", "-")) + key for key in keys)))
        return "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in asked)

    def criterion(self, kind: str, depth: int = 0) -> tuple[str, str]:
        """Draw a parameter with its value: plain, chained or reversed."""
        way = self.random.random()
        if depth < 3 and way < 0.15 and CHAINS[kind]:
            link = self.one(CHAINS[kind])
            code, _, target = link.partition(":")
            target = target or self.one([t for t in PARAMS[kind][code].targets if t in PARAMS])
            name, value = self.criterion(target, depth + 1)
            return f"{link}.{name}", value
        if depth < 3 and way < 0.3 and kind in REVERSED:
            link = self.one(REVERSED[kind])
            name, value = self.criterion(link.partition(":")[0], depth + 1)
            return f"_has:{link}:{name}", value
        codes = [code for code in PARAMS[kind] if code not in EVERYWHERE]
        code = self.one(tuple(EVERYWHERE)) if self.chance(0.15) else self.one(codes)
        param = PARAMS[kind][code]
        if code not in {"_id", "_lastUpdated"} and self.chance(0.08):
            return f"{code}:missing", self.one(("true", "false"))
        modifier = self.modifier(param, code)
        count = self.one((1, 1, 1, 2, 3))
        values = [self.value(param, code, modifier) for _ in range(count)]
        return code + (f":{modifier}" if modifier else ""), ",".join(values)

    # --- _filter --------------------------------------------------------------------------

    def filter(self, kind: str, depth: int = 2) -> tuple[str, Tree]:
        """Draw a filter: its text, and what it asks."""
        way = self.random.random()
        if depth and way < 0.35:
            (one, left), (other, right) = self.filter(kind, depth - 1), self.filter(kind, depth - 1)
            word = self.one(("and", "or"))
            return f"({one}) {word} ({other})", (word, left, right)
        if depth and way < 0.5:
            text, tree = self.filter(kind, depth - 1)
            return f"not ({text})", ("not", tree)
        links = [link for link in CHAINS[kind] if ":" in link]
        if depth and way < 0.65 and links:
            code, _, target = self.one(links).partition(":")
            text, test = self._filtered(target)
            return f"{code}:{target}.{text}", ("chain", code, target, test)
        return self._filtered(kind)

    def _filtered(self, kind: str) -> tuple[str, Tree]:
        params = {c: p for c, p in PARAMS[kind].items() if p.kind in OPERATORS and c != "_id"}
        code = self.one(tuple(params))
        param = params[code]
        operator = self.one((*OPERATORS[param.kind], "pr"))
        if operator == "pr":
            value = self.one(("true", "false"))
            if param.kind == "reference":
                operator, value = "eq", self.one(IDS)
        elif param.kind == "string":
            value = self._text()
        elif param.kind == "date":
            value = self._moment(code)
        elif param.kind == "number":
            value = self.one(NUMBERS)
        elif param.kind == "quantity":
            value = self._quantity().lstrip("abeglnpqst")
        else:
            value = self.value(param, code, "")
            if operator == "ne":
                value = value.removesuffix("/_history/1").replace("|1.0", "")
                value = value.partition("\\|")[0] if param.kind == "reference" else value
        shown = '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{code} {operator} {shown}", ("test", code, operator, value)

    def modifier(self, param: Param, code: str) -> str:
        """Draw a modifier of a parameter, or none."""
        if self.chance(0.5) or code == "_lastUpdated":
            return ""
        match param.kind:
            case "string":
                return self.one(("exact", "contains"))
            case "uri":
                return self.one(("above", "below"))
            case "reference" if param.elements[0][1] == "canonical":
                return self.one(("above", "below", "below", *param.targets))
            case "reference":
                partly = ("above", "below") if self._wholes(param) else ()
                return self.one(("identifier", *partly, *param.targets))
            case "token" if code == "_id" or param.elements[0][1] in {"boolean", "code"}:
                return "not"
            case "token" if param.elements[0][1] == "Identifier":
                return self.one(("not", "text", "of-type"))
            case "token" if param.elements[0][1] in {"Coding", "CodeableConcept"}:
                return self.one(("not", "text"))
            case "token":
                return "not"
            case _:
                return ""

    def value(self, param: Param, code: str, modifier: str) -> str:
        """Draw a value, with a prefix where there are any."""
        match param.kind:
            case "token":
                return self._token(param, code, modifier)
            case "string":
                return _escaped(self._text())
            case "uri":
                return _escaped(self.one(URLS) + self.one(("", "", "/2", "|1.0", "|1", "|1.0.2")))
            case "reference" if modifier == "identifier":
                return self._coded((*CODES, "1", "2"))
            case "reference" if modifier in {"above", "below"}:
                return self._part(param)
            case "reference" if param.elements[0][1] == "canonical":
                drawn = (self.canonical, self.canonical, self._local, lambda: self.one(IDS))
                return _escaped(self._local() if modifier else self.one(drawn)())
            case "reference":
                return self._reference(param, modifier)
            case "date":
                return self.one(PREFIXES) + self._moment(code)
            case "number":
                return self.one(PREFIXES) + self.one(NUMBERS)
            case "quantity":
                return self._quantity()
            case "special":
                far = self.one(("", "|1|km", "|3000|m", "|1200|km", "|5000|km", "|13000|km"))
                return f"{self.one(DEGREES)}|{self.one(EAST)}{far}"
            case _:
                return "$".join(self.value(part, "", "") for part in param.parts)

    def _text(self) -> str:
        whole = self.word()
        start = self.random.randrange(3) if self.chance(0.3) else 0
        text = whole[start:][: self.random.randint(1, 9)] if self.chance(0.5) else whole
        return text if any(one.isalnum() for one in text) else whole

    def _token(self, param: Param, code: str, modifier: str) -> str:
        found = param.elements[0][1]
        if code == "_id":
            return self.one((*IDS, "never"))
        if modifier == "text":
            return _escaped(self._text())
        if modifier == "of-type":
            system = self.one(SYSTEMS[:2])
            return f"{system}|{self.one(CODES)}|{self.one((*CODES, '1'))}"
        if found == "boolean":
            return self.one(("true", "false"))
        if found == "code":
            kind = {"male", "female"} | {one for some in STATUSES.values() for one in some}
            system = self.one(("", "", f"{param.system}|", "|", "http://s.example|"))
            return system + self.one(sorted(kind | {"order", "plan"}))
        if found in {"ContactPoint", "string"}:
            return self.one(CODES)
        return self._coded((*CODES, "1", "p", "q"))

    def _coded(self, codes: Sequence[str]) -> str:
        system = self.one(SYSTEMS[:2])
        code = self.one(codes)
        return self.one((code, code, f"{system}|{code}", f"|{code}", f"{system}|"))

    def _wholes(self, param: Param) -> list[str]:
        """Return the types that a reference may name whose resources may be part of others."""
        return [one for one in param.targets if one in PARENTS]

    def _part(self, param: Param) -> str:
        if param.elements[0][1] == "canonical":
            return _escaped(self.canonical())
        kinds = self._wholes(param)
        named = f"{self.one(kinds)}/{self.one(IDS)}"
        return self.one((named, f"{BASE}/{named}", *([self.one(IDS)] * (len(kinds) == 1))))

    def _reference(self, param: Param, modifier: str) -> str:
        identity = self.one(IDS)
        if modifier:
            return self.one((identity, f"{modifier}/{identity}"))
        name = f"{self.one(param.targets)}/{identity}"
        return self.one((
            identity,
            name,
            name,
            f"{BASE}/{name}",
            f"{name}/_history/1",
            f"http://other.example/fhir/{name}",
        ))

    def _moment(self, code: str) -> str:
        text = self.moment()
        if code == "_lastUpdated" or self.chance(0.15):
            text = self.one((
                "2024-01-01", "2024-01-01T07:00+07:00", "2024-01-01T00:20:00Z",
                "2024-01-01T07:30:00", "2024-01-01T00:40:00.0Z", "2024",
            ))  # fmt: skip
        return text

    def _quantity(self) -> str:
        number = self.one(PREFIXES) + self.one(NUMBERS)
        unit = self.one((
            f"|{UCUM}|kg",
            "||kg",
            f"|{UCUM}|mm[Hg]",
            f"|{UCUM}|h",
            "|http://s.example|kg",
        ))
        return number + (unit if self.chance(0.6) else "")


_MADE: Final[dict[str, Callable[[Drawing], Resource]]] = {
    "Patient": Drawing._patient,
    "Observation": Drawing._observation,
    "Encounter": Drawing._encounter,
    "Condition": Drawing._condition,
    "MedicationRequest": Drawing._prescription,
    "RiskAssessment": Drawing._risk,
    "Location": Drawing._location,
    "Organization": Drawing._organization,
    "Practitioner": Drawing._practitioner,
    "Questionnaire": Drawing._questionnaire,
    "QuestionnaireResponse": Drawing._answers,
}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace("$", "\\$").replace("|", "\\|")


def _quoted(text: str) -> str:
    return quote(text, safe=":.-_,|$/")
