"""Random resources, commits and searches: drawn from small pools, so that much of it meets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random
from typing import Any, Final, TypeVar

from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Near,
    Not,
    NumberIs,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    Says,
    Search,
    Sort,
    StringIs,
    Tagged,
    TokenIs,
    TokenText,
    UriIs,
)
from fhir_server.search.values import CONTENT, NARRATIVE
from tests.contracts.making import START

T = TypeVar("T")

SECOND: Final = 1_000_000
TYPES: Final = ("Patient", "Observation", "RiskAssessment", "Location")
IDS: Final = ("a", "b", "c", "d", "e", "f")
NAMES: Final = ("Nguyễn", "nguyen van", "Ngô", "ng", "Đỗ Văn", "NGUYEN", "%", "_", "do")
CODES: Final = ("x", "y", "z")
SYSTEMS: Final = ("http://s", "http://t", "")
TIMES: Final = (
    "2024",
    "2024-05",
    "2024-05-01",
    "2024-05-02",
    "2024-05-01T10:00:00+07:00",
    "2024-05-01T10:00:00.5Z",
)
RANGES: Final = (
    (1704042000000000, 1735664399999999),  # 2024
    (1714496400000000, 1714582799999999),  # 2024-05-01
    (1714582800000000, 1714669199999999),  # 2024-05-02
    (1714532400000000, 1714532400999999),  # 2024-05-01T10:00:00+07:00
    (1714557600500000, 1714557600599999),  # 2024-05-01T10:00:00.5Z
)
NUMBERS: Final = ("0", "-1", "1", "1.0", "1.00", "99.5", "100", "1e2", "0.1", "12345678901234567.9")
DEGREES: Final = ("0", "0.001", "-0.001", "10.7574", "89.9", "90", "-90")
EAST: Final = (*DEGREES, "179.999", "180", "-180", "-179.999", "106.6595")
FAR: Final = (0.0, 100.0, 250.0, 30_000.0, 1e6, 1.1e7, 3e7)
URLS: Final = ("http://x/a", "http://x/a/b", "http://x/ab", "urn:oid:1.2")
UCUM: Final = "http://unitsofmeasure.org"
CCCD: Final = "http://fhir.hl7.org.vn/core/sid/cccd"

SORTS: Final[dict[str, tuple[Sort, ...]]] = {
    "Patient": (Sort("birthdate", "date"), Sort("gender", "token"), Sort("name", "string")),
    "Observation": (
        Sort("date", "date"),
        Sort("code", "token"),
        Sort("value-quantity", "quantity"),
        Sort("subject", "reference"),
        Sort("_source", "uri"),
    ),
    "RiskAssessment": (Sort("probability", "number"), Sort("date", "date")),
    "Location": (Sort("name", "string"), Sort("partof", "reference")),
}
EVERYWHERE: Final = (Sort("_id", "id"), Sort("_lastUpdated", "last"))


class Draw:
    """What one seed draws."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def one(self, pool: Sequence[T]) -> T:
        """Draw one of a pool."""
        return self.random.choice(pool)

    def some(self, draw: Callable[[], T], most: int = 2) -> list[T]:
        """Draw up to so many."""
        return [draw() for _ in range(self.random.randint(0, most))]

    def maybe(self, **elements: Callable[[], Any]) -> dict[str, Any]:
        """Draw some of these elements; an empty one is left out."""
        drawn = {name: draw() for name, draw in elements.items() if self.random.random() < 0.6}
        return {name: value for name, value in drawn.items() if value or value is False}

    # --- resources -----------------------------------------------------------------------

    def coding(self) -> dict[str, Any]:
        """Draw a Coding."""
        code = {"code": self.one(CODES)} if self.random.random() < 0.9 else {}
        return code | self.maybe(system=lambda: self.one(SYSTEMS), display=lambda: self.one(NAMES))

    def concept(self) -> dict[str, Any]:
        """Draw a CodeableConcept."""
        return self.maybe(coding=lambda: self.some(self.coding), text=lambda: self.one(NAMES))

    def number(self) -> Decimal:
        """Draw a number."""
        return Decimal(self.one(NUMBERS))

    def quantity(self) -> dict[str, Any]:
        """Draw a Quantity."""
        code = self.one(["kg", "g"])
        system = self.one(["http://u", UCUM, UCUM])
        unit = self.one([{"system": system, "code": code, "unit": "u" + code}, {"unit": code}])
        comparator = self.one([{}, {}, {}, {"comparator": "<"}, {"comparator": ">="}])
        return {"value": self.number(), **unit, **comparator}

    def reference(self, *kinds: str) -> dict[str, Any]:
        """Draw a Reference: to one of ours, a version, another server's, or a logical one."""
        name = f"{self.one(kinds)}/{self.one(IDS)}"
        return self.one([
            *[{"reference": name}] * 6,
            {"reference": f"{name}/_history/1"},
            {"reference": f"http://other/{name}"},
            {"identifier": {"system": "http://s", "value": self.one(CODES)}},
        ])  # fmt: skip

    def _patient(self) -> dict[str, Any]:
        return self.maybe(
            active=lambda: self.one([True, False]),
            gender=lambda: self.one(["male", "female"]),
            birthDate=lambda: self.one(TIMES[:4]),
            text=self._narrative,
            name=lambda: self.some(
                lambda: self.maybe(text=lambda: self.one(NAMES), family=lambda: self.one(NAMES))
            ),
            identifier=lambda: self.some(
                lambda: {"system": self.one([CCCD, "http://s"]), "value": self.one("123456")}
            ),
            generalPractitioner=lambda: self.some(lambda: self.reference("Practitioner")),
        )

    def _observation(self) -> dict[str, Any]:
        when: list[dict[str, Callable[[], Any]]] = [
            {"effectiveDateTime": lambda: self.one(TIMES)},
            {"effectivePeriod": self._period},
        ]
        return self.maybe(
            code=self.concept,
            subject=lambda: self.reference("Patient", "Patient", "Group"),
            valueQuantity=self.quantity,
            category=lambda: self.some(self.concept),
            component=lambda: self.some(
                lambda: self.maybe(code=self.concept, valueQuantity=self.quantity)
            ),
            meta=lambda: self.maybe(
                source=lambda: self.one(URLS), tag=lambda: self.some(self.coding)
            ),
            hasMember=lambda: self.some(lambda: self.reference("Observation")),
            **self.one(when),
        )

    def _period(self) -> dict[str, Any]:
        return self.maybe(start=lambda: self.one(TIMES), end=lambda: self.one(TIMES))

    def _risk(self) -> dict[str, Any]:
        return self.maybe(
            subject=lambda: self.reference("Patient"),
            occurrenceDateTime=lambda: self.one(TIMES),
            prediction=lambda: self.some(
                lambda: self.one([
                    {"probabilityDecimal": self.number()},
                    {"probabilityRange": {"low": {"value": self.number()}}},
                ])
            ),
        )

    def _location(self) -> dict[str, Any]:
        return self.maybe(
            name=lambda: self.one(NAMES),
            position=lambda: {
                "latitude": Decimal(self.one(DEGREES)),
                "longitude": Decimal(self.one(EAST)),
            },
            partOf=lambda: self.reference("Location"),
            text=self._narrative,
        )

    def _narrative(self) -> dict[str, Any]:
        said = " ".join(self.some(lambda: self.one(NAMES), 3))
        return {"status": "generated", "div": f"<div><p>{said}</p><p>{self.one(NAMES)}</p></div>"}

    def resource(self) -> dict[str, Any]:
        """Draw a resource."""
        kind = self.one(TYPES)
        elements = {
            "Patient": self._patient,
            "Observation": self._observation,
            "RiskAssessment": self._risk,
            "Location": self._location,
        }[kind]()
        return {"resourceType": kind, "id": self.one(IDS), **elements}

    # --- what is asked -------------------------------------------------------------------

    def _token(self, *params: str) -> Expression:
        system = self.one([None, None, *SYSTEMS])
        code = self.one([*CODES, *CODES, "1", "2", "male", "true", *([None] if system else [])])
        return TokenIs(self.one(params), system, code)

    def _quantity_is(self, *params: str) -> Expression:
        unit = self.one([
            (self.one([None, None, "http://u"]), self.one([None, "kg", "g", "ukg"])),
            (UCUM, self.one(["kg", "g", "hg", "m", "ukg"])),
        ])  # fmt: skip
        return QuantityIs(self.one(params), *self._measure(), *unit)

    def _measure(self) -> tuple[Prefix, Decimal, Decimal, Decimal]:
        value, half = self.number(), Decimal(self.one(["0.5", "0.05", "1e-9"]))
        return self.one(list(Prefix)), value, value - half, value + half

    def _missing(self, *params: str) -> Expression:
        return Missing(self.one(params), self.one([True, False]))

    def _refers(self, *params: str) -> Expression:
        if self.random.random() < 0.2:
            url = self.one(["http://other/Patient/a", "Patient/a/_history/1", "Patient/a"])
            return RefersTo(self.one(params), None, "", url)
        return RefersTo(self.one(params), self.one([None, "Patient", "Group"]), self.one(IDS))

    def _says(self) -> Expression:
        words = ("nguyen", "van", "ng", "do", "nguyen van", "do van", "van nguyen", "ng ng", "nguy")
        return Says(self.one([CONTENT, NARRATIVE]), self.one(words))

    def _differs(self, leaf: Any) -> Expression:
        return Differs(leaf.param, leaf, plain=self.one([True, False]))

    def _of_any(self) -> Expression:
        low = START + self.random.randint(0, 8) * SECOND
        return self.one([
            lambda: Ids(frozenset(self.some(lambda: self.one(IDS)))),
            lambda: LastUpdated(self.one(list(Prefix)), low, low + self.one([0, 1, 3]) * SECOND),
            lambda: InPatient(frozenset(self.some(lambda: self.one(IDS)))),
            lambda: Tagged(self.one(["t", "u"])),
            self._says,
            self._says,
        ])()  # fmt: skip

    def _patient_leaf(self) -> Expression:
        modes: tuple[Any, ...] = ("starts", "contains", "exact", "ends", "equal")
        texts = (*NAMES, "nguyen", "do van", "ngo", "an", "n")
        tokens = ("gender", "active", "identifier", "general-practitioner:identifier")
        return self.one([
            lambda: self._token(*tokens),
            lambda: self._token(*tokens),
            lambda: StringIs(self.one(["name", "family"]), self.one(texts), self.one(modes)),
            lambda: self._differs(
                StringIs(self.one(["name", "family"]), self.one(texts), self.one(modes))
            ),
            lambda: self._differs(self._token(*tokens)),
            lambda: DateIs("birthdate", self.one(list(Prefix)), *self.one(RANGES)),
            lambda: self._missing("gender", "name", "birthdate", "identifier"),
        ])()  # fmt: skip

    def _observation_leaf(self) -> Expression:
        texts = ("nguyen", "van", "ng", "an", "%", "do")
        urls: tuple[Any, ...] = ("exact", "below", "above")
        numbers = ("value-quantity", "combo-value-quantity", "component-value-quantity")
        pairs = (
            "code-value-quantity",
            "component-code-value-quantity",
            "combo-code-value-quantity",
        )
        return self.one([
            lambda: self._token("code", "category", "component-code", "combo-code", "_tag"),
            lambda: self._token("subject:identifier", "code"),
            lambda: TokenText(self.one(["code", "category", "_tag"]), self.one(texts)),
            lambda: self._quantity_is(*numbers),
            lambda: self._quantity_is(*numbers),
            lambda: DateIs("date", self.one(list(Prefix)), *self.one(RANGES)),
            lambda: DateIs("date", self.one(list(Prefix)), *self.one(RANGES)),
            lambda: self._refers("subject", "patient", "has-member"),
            lambda: UriIs("_source", self.one(URLS), self.one(urls)),
            lambda: CompositeIs(
                self.one(pairs), (self._token("code"), self._quantity_is("value-quantity"))
            ),
            lambda: CompositeIs(self.one(pairs), (self._token("code"), And(()))),
            lambda: self._differs(self._refers("subject", "patient", "has-member")),
            lambda: self._differs(UriIs("_source", self.one(URLS), self.one(urls))),
            lambda: self._differs(self._token("code", "category", "component-code", "_tag")),
            lambda: self._missing("code", "subject", "date", "value-quantity", "_source"),
        ])()  # fmt: skip

    def _risk_leaf(self) -> Expression:
        return self.one([
            lambda: NumberIs("probability", *self._measure()),
            lambda: NumberIs("probability", *self._measure()),
            lambda: DateIs("date", self.one(list(Prefix)), *self.one(RANGES)),
            lambda: self._missing("probability", "subject"),
            lambda: self._refers("subject", "patient"),
        ])()  # fmt: skip

    def _location_leaf(self) -> Expression:
        return self.one([
            self._near,
            self._near,
            self._says,
            lambda: self._missing("near", "name", "partof"),
            lambda: RefersTo("partof", "Location", self.one(IDS)),
        ])()  # fmt: skip

    def _near(self) -> Expression:
        return Near("near", float(self.one(DEGREES)), float(self.one(EAST)), self.one(FAR))

    def _leaf(self, kind: str) -> Expression:
        if self.random.random() < 0.2:
            return self._of_any()
        leaves = {
            "Patient": self._patient_leaf,
            "Observation": self._observation_leaf,
            "RiskAssessment": self._risk_leaf,
            "Location": self._location_leaf,
        }
        return leaves[kind]()

    def _linked(self, kind: str, depth: int) -> Expression:
        if kind == "Patient":
            source = self.one(["Observation", "RiskAssessment"])
            param = self.one(["subject", "patient"])
            return Has(source, param, self.expression(source, depth))
        if kind == "Location":
            inner = self.expression("Location", depth)
            return self.one([
                Chain("partof", "Location", inner),
                Has("Location", "partof", inner),
            ])  # fmt: skip
        if kind == "RiskAssessment" or self.random.random() < 0.5:
            return Chain("subject", "Patient", self.expression("Patient", depth))
        inner = self.expression("Observation", depth)
        return self.one([
            Chain("has-member", "Observation", inner),
            Has("Observation", "has-member", inner),
        ])  # fmt: skip

    def expression(self, kind: str, depth: int) -> Expression:
        """Draw an expression on a resource type, with at most so many others inside it."""
        if depth <= 0:
            return self._leaf(kind)
        return self.one([
            lambda: self._leaf(kind),
            lambda: Not(self.expression(kind, depth - 1)),
            lambda: And(tuple(self.expression(kind, depth - 1) for _ in range(2))),
            lambda: Or(tuple(self.expression(kind, depth - 1) for _ in range(2))),
            lambda: self._linked(kind, depth - 1),
            lambda: self._linked(kind, depth - 1),
        ])()  # fmt: skip

    def search(self, depth: int) -> Search:
        """Draw a search over one type or several, sorted, in pages of any size."""
        kinds = self.random.sample(TYPES, self.one([1, 1, 1, 2]))
        keys = (*EVERYWHERE, *SORTS[kinds[0]]) if len(kinds) == 1 else EVERYWHERE
        sort = tuple(
            Sort(key.param, key.kind, self.one([True, False]))
            for key in self.random.sample(keys, self.random.randint(0, 2))
        )
        by_type = tuple((kind, self.expression(kind, depth)) for kind in kinds)
        return Search(by_type, sort, self.one([1, 2, 50]), "accurate")
