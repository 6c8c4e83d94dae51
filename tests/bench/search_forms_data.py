"""The population that `search_forms` asks: dossiers as the product's, of any size.

It is the same each time. A size is a number of resources: nineteen of each person, and as many as
there are people that they share. What is rare (RARE) is ten times there at every size, what half
have, half have at every size: what a search finds grows with the store, or does not, as it says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property, lru_cache
from random import Random
from typing import Any, Final

Resource = dict[str, Any]

EACH: Final = 20
"""Resources of one person: nineteen, and a twentieth of those that people share."""
RARE: Final = 10
"""How many have what is rare, whatever the size."""

BASE: Final = "http://testserver/fhir"
LOINC: Final = "http://loinc.org"
UCUM: Final = "http://unitsofmeasure.org"
ICD: Final = "http://hl7.org/fhir/sid/icd-10"
CCCD: Final = "http://example.org/sid/cccd"
NUMBERS: Final = "http://example.org/sid/number"
LABS: Final = "http://example.org/sid/lab"
TAGS: Final = "http://example.org/CodeSystem/tags"
CHAPTERS: Final = "http://example.org/CodeSystem/chapters"
DRUGS: Final = "http://example.org/CodeSystem/drugs"
VITALS: Final = "http://example.org/ValueSet/vitals"
TYPES: Final = "http://terminology.hl7.org/CodeSystem/v2-0203"
CONFIDENTIAL: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
CATEGORY: Final = "http://terminology.hl7.org/CodeSystem/observation-category"
CLASS: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
PROFILE: Final = "http://example.org/StructureDefinition/"
FORMS: Final = "http://example.org/forms"

HEART: Final = "8867-4"
"""Half of all Observations."""
WEIGHT: Final = "29463-7"
PRESSURE: Final = "85354-9"
SYSTOLIC: Final = "8480-6"
DIASTOLIC: Final = "8462-4"
GLUCOSE: Final = "2339-0"
HAEMOGLOBIN: Final = "718-7"
SMOKING: Final = "72166-2"
NOTE: Final = "34109-9"
TEMPERATURE: Final = "8310-5"
SELDOM: Final = "33914-3"
"""The code of RARE Observations."""
SELDOM_ICD: Final = "A20.9"
SELDOM_DRUG: Final = "V03AB"

FIRST: Final = datetime(2021, 11, 1)
DAYS: Final = 5 * 365
"""Dates are of five years: up to 31 October 2026."""
NOW: Final = datetime(2026, 11, 26)
_UPDATED: Final = 1_700_000_000_000_000
"""Microseconds of the first write; the last is two years later."""
_WRITING: Final = 2 * 365 * 86_400 * 1_000_000

_FAMILIES: Final = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ")
_FAMILY_WEIGHTS: Final = (38, 11, 10, 7, 6, 5, 5, 4, 4, 3)
_GIVEN: Final = ("An", "Bình", "Chi", "Dũng", "Giang", "Hà", "Khánh", "Lan", "Minh", "Ngọc", "Phúc")
_MIDDLE: Final = ("Văn", "Thị", "Đức", "Ngọc", "Hữu", "Thanh")
_CITIES: Final = (
    "Hà Nội", "Thành phố Hồ Chí Minh", "Đà Nẵng", "Hải Phòng", "Cần Thơ", "Huế", "Nha Trang",
    "Đà Lạt", "Vinh", "Buôn Ma Thuột",
)  # fmt: skip
_PLACES: Final = (
    (21.028, 105.834), (10.776, 106.700), (16.054, 108.202), (20.845, 106.688), (10.045, 105.747),
    (16.463, 107.590), (12.239, 109.197), (11.940, 108.438), (18.673, 105.692), (12.667, 108.038),
)  # fmt: skip
_DISEASES: Final = (
    ("I10", "Tăng huyết áp vô căn"), ("E11.9", "Đái tháo đường không phụ thuộc insulin"),
    ("J06.9", "Nhiễm trùng đường hô hấp trên cấp"), ("K29.7", "Viêm dạ dày"),
    ("J45.9", "Hen phế quản"), ("M54.5", "Đau lưng dưới"), ("N39.0", "Nhiễm trùng đường tiết niệu"),
    ("A90", "Sốt xuất huyết Dengue"), ("B18.1", "Viêm gan vi rút B mạn"),
    ("H25.9", "Đục thủy tinh thể"),
)  # fmt: skip
_DISEASE_WEIGHTS: Final = (30, 20, 15, 10, 7, 6, 5, 4, 2, 1)
_SUBSTANCES: Final = tuple(f"{letter}{n:02d}" for letter in "ABCJNR" for n in range(1, 11))


def days_after(random: Random) -> int:
    """Return a day of the five years; the later ones are more."""
    return int(DAYS * math.sqrt(random.random()))


def moment(days: int, minutes: int) -> str:
    """Return a dateTime, all of one zone: their text is in their order."""
    return f"{FIRST + timedelta(days=days, minutes=minutes):%Y-%m-%dT%H:%M:00}+07:00"


def concept(system: str, code: str, text: str = "") -> Resource:
    """Return a CodeableConcept."""
    whole: Resource = {"coding": [{"system": system, "code": code}]}
    return whole | {"text": text} if text else whole


def quantity(value: str, unit: str) -> Resource:
    """Return a Quantity of UCUM, every digit kept."""
    return {"value": Decimal(value), "unit": unit, "system": UCUM, "code": unit}


@dataclass
class Population:
    """All resources of one size.

    Attributes:
        size: How many there are.
        dossier: All resources of a person; the last few are kept.
        by_reference: The resource of a name such as `Patient/p1`.
    """

    size: int
    dossier: Callable[[int], tuple[Resource, ...]] = field(init=False, repr=False)
    by_reference: Callable[[str], Resource] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.size < 10 * RARE * EACH:
            raise ValueError(f"a population has {10 * RARE * EACH} resources at least")
        self.people = self.size // EACH
        self.organizations = self.people // 20
        self.practitioners = self.people // 10
        self.locations = self.people * 4 // 10
        self.lists = self.people // 5
        self.forms = self.people // 20
        self.dossier = lru_cache(4)(self._dossier)
        self.by_reference = lru_cache(4096)(self._by_reference)

    def everything(self) -> Iterator[Resource]:
        """Return all resources, those that are referred to by many first."""
        shared = [*self._terminology(), *self._shared()]
        yield from shared
        for number in range(self.people):
            yield from self._dossier(number)
        for number in range(self.size - len(shared) - 19 * self.people):
            yield self._answers(number) if number % 2 else self._device(number)

    def updated(self, number: int) -> int:
        """Return the microseconds at which the resource of a number was written."""
        return _UPDATED + number * (_WRITING // self.size)

    def is_rare(self, number: int) -> bool:
        """Whether a person is one of RARE, who are from everywhere in the store."""
        return number % (self.people // RARE) == 7 and number // (self.people // RARE) < RARE

    def rare_person(self, number: int) -> int:
        """Return one of RARE people."""
        return number % RARE * (self.people // RARE) + 7

    @cached_property
    def rare_hospitals(self) -> frozenset[str]:
        """The ids of the Organizations that manage those with what is rare."""
        people = (self.dossier(self.rare_person(n))[0] for n in range(RARE))
        return frozenset(one["managingOrganization"]["reference"][13:] for one in people)

    def of(self, resource: Resource, *path: str) -> Resource:
        """Return what a resource refers to, through several references."""
        for name in path:
            to = resource.get(name)
            to = to[0] if isinstance(to, list) else to
            to = next(iter(to.values())) if to and "reference" not in to and len(to) == 1 else to
            if not to or "reference" not in to:
                return {}
            resource = self.by_reference(to["reference"])
        return resource

    def dossier_of(self, resource: Resource) -> tuple[Resource, ...]:
        """Return all resources of the person of whom this one is."""
        number = int(resource["id"][1:].partition("-")[0])
        return self.dossier(number)

    def _by_reference(self, reference: str) -> Resource:
        kind, _, identity = reference.partition("/")
        match kind:
            case "Organization":
                return self._organization(int(identity[3:]))
            case "Practitioner":
                return self._practitioner(int(identity[2:]))
            case "Location":
                return self._location(int(identity[3:]))
        number = int(identity[1:].partition("-")[0])
        whole = self.dossier(number)
        return next(one for one in whole if one["id"] == identity)

    # --- what people share -------------------------------------------------------------------

    def _terminology(self) -> Iterator[Resource]:
        yield {
            "resourceType": "ValueSet", "id": "vitals", "url": VITALS, "status": "active",
            "compose": {"include": [{
                "system": LOINC, "concept": [{"code": WEIGHT}, {"code": PRESSURE}],
            }]},
        }  # fmt: skip
        yield {
            "resourceType": "ValueSet", "id": "seldom", "url": f"{VITALS}/seldom",
            "status": "active",
            "compose": {"include": [{"system": LOINC, "concept": [{"code": SELDOM}]}]},
        }  # fmt: skip
        yield {
            "resourceType": "CodeSystem", "id": "chapters", "url": CHAPTERS, "status": "active",
            "content": "complete", "hierarchyMeaning": "is-a",
            "concept": [{"code": letter, "concept": [
                {"code": f"{letter}-{block}", "concept": [
                    {"code": f"{letter}-{block}-{n}"} for n in range(5)
                ]} for block in range(4)
            ]} for letter in "ABCDE"],
        }  # fmt: skip

    def _shared(self) -> Iterator[Resource]:
        yield from map(self._organization, range(self.organizations))
        yield from map(self._practitioner, range(self.practitioners))
        yield from map(self._role, range(self.practitioners))
        yield from map(self._location, range(self.locations))
        yield from map(self._form, range(self.forms))
        yield from map(self._list, range(self.lists))

    def _organization(self, number: int) -> Resource:
        whole: Resource = {
            "resourceType": "Organization", "id": f"org{number}", "active": number % 10 != 9,
            "identifier": [{"system": NUMBERS, "value": f"ORG{number}"}],
            "name": f"Bệnh viện {_CITIES[number % 10]} số {number}",
            "address": [{"city": _CITIES[number % 10], "country": "VN"}],
        }  # fmt: skip
        return (
            whole | {"partOf": {"reference": f"Organization/org{number // 4}"}} if number else whole
        )

    def _practitioner(self, number: int) -> Resource:
        random = Random(f"practitioner {number}")
        return {
            "resourceType": "Practitioner", "id": f"dr{number}", "active": True,
            "identifier": [{"system": NUMBERS, "value": f"DR{number}"}],
            "name": [_name(random)], "gender": random.choice(("male", "female")),
        }  # fmt: skip

    def _role(self, number: int) -> Resource:
        return {
            "resourceType": "PractitionerRole", "id": f"role{number}", "active": True,
            "practitioner": {"reference": f"Practitioner/dr{number}"},
            "organization": {"reference": f"Organization/org{number % self.organizations}"},
            "location": [{"reference": f"Location/loc{number % self.locations}"}],
        }  # fmt: skip

    def _location(self, number: int) -> Resource:
        random = Random(f"location {number}")
        place = min(int(random.expovariate(0.4)), 9)
        latitude, longitude = _PLACES[place]
        whole: Resource = {
            "resourceType": "Location", "id": f"loc{number}", "status": "active",
            "name": f"Phòng {number % 100} {_CITIES[place]}",
            "address": {"city": _CITIES[place], "country": "VN"},
            "managingOrganization": {
                "reference": f"Organization/org{number % self.organizations}"
            },
        }  # fmt: skip
        if number % 10 != 9:
            whole["position"] = {
                "latitude": Decimal(f"{latitude + random.gauss(0, 0.2):.5f}"),
                "longitude": Decimal(f"{longitude + random.gauss(0, 0.2):.5f}"),
            }
        return whole | {"partOf": {"reference": f"Location/loc{number // 5}"}} if number else whole

    def _form(self, number: int) -> Resource:
        day = FIRST + timedelta(days=number % DAYS)
        return {
            "resourceType": "Questionnaire", "id": f"q{number}", "version": f"{number % 3}.0",
            "url": f"{FORMS}/{'abcd'[number % 4]}/{number % 20}/{number}",
            "status": "active" if number % 5 else "draft", "date": f"{day:%Y-%m-%d}",
            "title": f"Phiếu khảo sát {number}",
        }  # fmt: skip

    def _list(self, number: int) -> Resource:
        """Return a List of a person's Conditions; the first three are long, or of another kind."""
        if number == 0:
            names = [f"Patient/p{n * (self.people // 100)}" for n in range(100)]
        elif number == 1:
            names = [f"Observation/o{n * (self.people // 100)}-0" for n in range(100)]
        else:
            names = [f"Condition/c{number}-{n}" for n in range(2)]
        return {
            "resourceType": "List", "id": f"list{number}", "status": "current", "mode": "working",
            "title": f"Danh sách {number}",
            "date": moment(number % DAYS, 480),
            "subject": {"reference": f"Patient/p{number}"},
            "entry": [{"item": {"reference": name}} for name in names],
        }  # fmt: skip

    def _device(self, number: int) -> Resource:
        return {
            "resourceType": "Device", "id": f"device{number}", "status": "active",
            "manufacturer": f"Hãng {number % 7}", "serialNumber": f"{number:08d}",
            "identifier": [{"system": NUMBERS, "value": f"DEV{number}"}],
        }  # fmt: skip

    def _answers(self, number: int) -> Resource:
        form = self._form(number * 31 % self.forms)
        return {
            "resourceType": "QuestionnaireResponse", "id": f"a{number}", "status": "completed",
            "questionnaire": f"{form['url']}|{form['version']}",
            "subject": {"reference": f"Patient/p{number % self.people}"},
            "authored": moment(number % DAYS, 500),
        }  # fmt: skip

    # --- a person ----------------------------------------------------------------------------

    def _dossier(self, number: int) -> tuple[Resource, ...]:
        random = Random(f"person {number}")
        days = sorted((days_after(random), days_after(random)))
        return (
            self._patient(number, random),
            *self._encounters(number, random, days),
            *self._conditions(number, random, days),
            *self._observations(number, random, days),
            self._prescription(number, random, days),
            self._report(number, random, days),
            self._coverage(number, random),
            self._risk(number, random) if number % 2 else self._procedure(number, random, days),
        )

    def _doctor(self, random: Random) -> Resource:
        """Return a Reference to a doctor: some have many patients."""
        number = int(self.practitioners * random.random() ** 3)
        return {"reference": f"Practitioner/dr{number}"}

    def _hospital(self, random: Random) -> Resource:
        number = int(self.organizations * random.random() ** 3)
        return {"reference": f"Organization/org{number}"}

    def _patient(self, number: int, random: Random) -> Resource:
        whole: Resource = {
            "resourceType": "Patient", "id": f"p{number}", "active": number % 20 != 0,
            "identifier": [
                {"system": NUMBERS, "value": f"P{number}"},
                {
                    "system": CCCD, "value": f"{number:012d}",
                    "type": {"coding": [{"system": TYPES, "code": "NI"}]},
                },
            ],
            "name": [_name(random, f"Tổ{number // 10:06d}{'abcdefghij'[number % 10]}")],
            "gender": random.choices(("male", "female", "other", "unknown"), (49, 48, 1, 2))[0],
            "birthDate": f"{FIRST - timedelta(days=int(36_000 * random.random() ** 1.5)):%Y-%m-%d}",
            "address": [{
                "text": f"Số {random.randint(1, 400)} đường Láng",
                "city": random.choices(_CITIES, (30, 25, 10, 9, 8, 6, 5, 4, 2, 1))[0],
                "country": "VN",
            }],
            "generalPractitioner": [self._doctor(random)],
            "managingOrganization": self._hospital(random),
            "meta": {},
        }  # fmt: skip
        meta = whole["meta"]
        if number % 2:
            meta["tag"] = [{"system": TAGS, "code": "insured"}]
            meta["profile"] = [f"{PROFILE}citizen"]
            meta["source"] = f"http://example.org/source/{number % 4}"
        if self.is_rare(number):
            meta["tag"] = [*meta.get("tag", []), {"system": TAGS, "code": "seldom"}]
            meta["security"] = [{"system": CONFIDENTIAL, "code": "V"}]
            meta["profile"] = [*meta.get("profile", []), f"{PROFILE}seldom"]
            meta["source"] = "http://example.org/source/seldom"
            whole["deceasedDateTime"] = moment(100 + number % 100, 0)
        if number % 50 == 1:
            del whole["gender"]
        if number % 5:
            whole["telecom"] = [{"system": "phone", "value": f"09{number:08d}"}]
        if number % 3 == 0:
            link = {"reference": f"Patient/p{number * 7 % self.people}"}
            whole["link"] = [{"other": link, "type": "seealso"}]
        return whole

    def _encounters(self, number: int, random: Random, days: list[int]) -> Iterator[Resource]:
        for n, day in enumerate(days):
            at, length = random.randint(420, 1000), random.randint(10, 240)
            kind = "IMP" if random.random() < 0.1 else "AMB"
            stays = random.randint(1, 12) * 1440 if kind == "IMP" else length
            whole: Resource = {
                "resourceType": "Encounter", "id": f"e{number}-{n}", "status": "finished",
                "identifier": [{"system": NUMBERS, "value": f"E{number}-{n}"}],
                "class": {"system": CLASS, "code": kind},
                "subject": {"reference": f"Patient/p{number}"},
                "participant": [{"individual": self._doctor(random)}],
                "period": {"start": moment(day, at), "end": moment(day, at + stays)},
                "length": quantity(str(stays), "min"),
                "serviceProvider": self._hospital(random),
                "location": [{"location": {
                    "reference": f"Location/loc{int(self.locations * random.random() ** 2)}"
                }}],
                "reasonCode": [{"text": "Khám định kỳ" if n else "Sốt cao"}],
            }  # fmt: skip
            if n and number % 5 == 0:
                whole["partOf"] = {"reference": f"Encounter/e{number}-0"}
            yield whole

    def _conditions(self, number: int, random: Random, days: list[int]) -> Iterator[Resource]:
        for n, day in enumerate(days):
            code, text = random.choices(_DISEASES, _DISEASE_WEIGHTS)[0]
            if n and self.is_rare(number):
                code, text = SELDOM_ICD, "Dịch hạch, không đặc hiệu"
            chapter = f"{random.choice('AAABBCDE')}-{random.randrange(4)}-{random.randrange(5)}"
            whole: Resource = {
                "resourceType": "Condition", "id": f"c{number}-{n}",
                "code": {
                    "coding": [
                        {"system": ICD, "code": code}, {"system": CHAPTERS, "code": chapter},
                    ],
                    "text": text,
                },
                "subject": {"reference": f"Patient/p{number}"},
                "encounter": {"reference": f"Encounter/e{number}-{n}"},
                "recordedDate": moment(day, random.randint(420, 1000)),
            }  # fmt: skip
            if n:
                whole["onsetAge"] = quantity(str(random.randint(1, 90)), "a")
            else:
                whole["onsetDateTime"] = f"{FIRST + timedelta(days=max(0, day - 30)):%Y-%m-%d}"
            yield whole

    def _observations(self, number: int, random: Random, days: list[int]) -> Iterator[Resource]:
        made: list[Resource] = [
            {**_coded(WEIGHT, "Cân nặng"), "valueQuantity": self._weight(number, random)},
            {
                **_coded(PRESSURE, "Huyết áp"),
                "component": [
                    {**_coded(SYSTOLIC), "valueQuantity": quantity(
                        str(min(230, int(random.gauss(125, 18)))), "mm[Hg]")},
                    {**_coded(DIASTOLIC), "valueQuantity": quantity(
                        str(min(140, int(random.gauss(78, 12)))), "mm[Hg]")},
                ],
            },
            self._laboratory(number, random),
            self._told(number, random),
            {
                **_coded(TEMPERATURE, "Thân nhiệt"),
                "valueQuantity": quantity(f"{random.gauss(37, 0.6):.1f}", "Cel"),
            },
            *(
                {
                    **_coded(HEART, "Nhịp tim"),
                    "valueQuantity": quantity(str(int(random.gauss(76, 10))), "/min"),
                }
                for _ in range(5)
            ),
        ]  # fmt: skip
        for n, one in enumerate(made):
            visit = n % 2
            whole: Resource = {
                "resourceType": "Observation", "id": f"o{number}-{n}",
                "status": "amended" if random.random() < 0.02 else "final",
                "category": [concept(
                    CATEGORY, {2: "laboratory", 3: "social-history"}.get(n, "vital-signs")
                )],
                "subject": {"reference": f"Patient/p{number}"},
                "encounter": {"reference": f"Encounter/e{number}-{visit}"},
                "effectiveDateTime": moment(days[visit], random.randint(420, 1400)),
                "performer": [self._doctor(random)],
                **one,
            }  # fmt: skip
            if n == 1:
                whole["hasMember"] = [{"reference": f"Observation/o{number}-5"}]
            yield whole

    def _weight(self, number: int, random: Random) -> Resource:
        """Return a weight: mostly in kilograms, a fifth in grams, RARE in ounces."""
        grams = max(2_000, int(random.gauss(58_000, 11_000)))
        if self.is_rare(number):
            return quantity(f"{Decimal(grams) / Decimal('28.35'):.0f}", "[oz_av]")
        return (
            quantity(str(grams), "g") if number % 5 == 0 else quantity(f"{grams / 1e3:.1f}", "kg")
        )

    def _laboratory(self, number: int, random: Random) -> Resource:
        if self.is_rare(number):
            return {**_coded(SELDOM, "Mức lọc cầu thận"), "valueQuantity": quantity(
                str(random.randint(15, 120)), "mL/min")}  # fmt: skip
        if number % 2:
            return {**_coded(GLUCOSE, "Đường huyết"), "valueQuantity": quantity(
                f"{abs(random.gauss(5.8, 1.6)):.1f}", "mmol/L")}  # fmt: skip
        return {**_coded(HAEMOGLOBIN, "Huyết sắc tố"), "valueQuantity": quantity(
            f"{abs(random.gauss(13.5, 1.8)):.1f}", "g/dL")}  # fmt: skip

    def _told(self, number: int, random: Random) -> Resource:
        if number % 2 and not self.is_rare(number):
            code = random.choices(("266919005", "77176002", "8517006"), (70, 20, 10))[0]
            return {
                **_coded(SMOKING, "Hút thuốc"),
                "valueCodeableConcept": concept("http://snomed.info/sct", code, f"Mã {code}"),
            }
        said = "Bệnh nhân tỉnh, tiếp xúc tốt" if number % 4 else "Bệnh nhân mệt, đau đầu nhẹ"
        if self.is_rare(number):
            said = "Ù tai kéo dài"
        return {**_coded(NOTE, "Ghi chú"), "valueString": said}

    def _prescription(self, number: int, random: Random, days: list[int]) -> Resource:
        drug = _SUBSTANCES[int(len(_SUBSTANCES) * random.random() ** 2)]
        return {
            "resourceType": "MedicationRequest", "id": f"m{number}",
            "status": random.choices(("completed", "active", "stopped"), (80, 15, 5))[0],
            "intent": "order",
            "medicationCodeableConcept": concept(
                DRUGS, SELDOM_DRUG if self.is_rare(number) else drug, f"Thuốc {drug}"
            ),
            "subject": {"reference": f"Patient/p{number}"},
            "encounter": {"reference": f"Encounter/e{number}-1"},
            "authoredOn": moment(days[1], random.randint(420, 1000)),
            "requester": self._doctor(random),
        }  # fmt: skip

    def _report(self, number: int, random: Random, days: list[int]) -> Resource:
        words = "Siêu âm ổ bụng bình thường" if number % 2 else "Điện tâm đồ nhịp xoang đều"
        if self.is_rare(number):
            words += ", nghi phình động mạch chủ"
        return {
            "resourceType": "DiagnosticReport", "id": f"d{number}", "status": "final",
            "code": concept(LOINC, "11502-2", "Phiếu xét nghiệm"),
            "subject": {"reference": f"Patient/p{number}"},
            "encounter": {"reference": f"Encounter/e{number}-0"},
            "effectiveDateTime": moment(days[0], random.randint(420, 1000)),
            "issued": moment(days[0], random.randint(1000, 1400)),
            "performer": [
                {"identifier": {"system": LABS, "value": f"lab-{random.randrange(50)}"}}
                if number % 3 == 0 else self._hospital(random)
            ],
            "result": [{"reference": f"Observation/o{number}-{n}"} for n in (2, 4, 6)],
            "conclusion": "Không có gì bất thường",
            "text": {
                "status": "generated",
                "div": f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{words}</p></div>',
            },
        }  # fmt: skip

    def _coverage(self, number: int, random: Random) -> Resource:
        return {
            "resourceType": "Coverage", "id": f"v{number}", "status": "active",
            "identifier": [{"system": NUMBERS, "value": f"V{number}"}],
            "beneficiary": {"reference": f"Patient/p{number}"},
            "payor": [{"reference": "Organization/org0"} if number % 2 else self._hospital(random)],
        }  # fmt: skip

    def _risk(self, number: int, random: Random) -> Resource:
        return {
            "resourceType": "RiskAssessment", "id": f"r{number}", "status": "final",
            "subject": {"reference": f"Patient/p{number}"},
            "occurrenceDateTime": moment(days_after(random), 600),
            "prediction": [{"probabilityDecimal": Decimal(f"{random.random() ** 2:.4f}")}],
        }  # fmt: skip

    def _procedure(self, number: int, random: Random, days: list[int]) -> Resource:
        return {
            "resourceType": "Procedure", "id": f"x{number}", "status": "completed",
            "code": concept("http://example.org/CodeSystem/services", f"S{random.randrange(300)}"),
            "subject": {"reference": f"Patient/p{number}"},
            "encounter": {"reference": f"Encounter/e{number}-1"},
            "performedDateTime": moment(days[1], random.randint(420, 1400)),
            "performer": [{"actor": self._doctor(random)}],
        }  # fmt: skip


def _name(random: Random, further: str = "") -> Resource:
    family = random.choices(_FAMILIES, _FAMILY_WEIGHTS)[0]
    given = [random.choice(_MIDDLE), random.choice(_GIVEN)]
    text = " ".join((family, *given))
    return {"text": text, "family": family, "given": given + ([further] if further else [])}


def _coded(code: str, text: str = "") -> Resource:
    return {"code": concept(LOINC, code, text)}
