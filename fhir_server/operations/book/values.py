"""The book as people read it: plain values, with no FHIR in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

Resource = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded value: its code, and its text as the source wrote it."""

    code: str = ""
    text: str = ""

    def __bool__(self) -> bool:
        return bool(self.code or self.text)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A Condition of a visit: words and ICD-10 code."""

    text: str
    code: str
    main: bool

    @property
    def named(self) -> bool:
        """Whether the source said it in words too, not by a code alone."""
        return bool(self.text) and self.text != self.code


@dataclass(frozen=True, slots=True)
class Drug:
    """A MedicationRequest: name, dose, quantity, and what the doctor says of its use."""

    name: str
    dose: str
    quantity: str
    instruction: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """A result: an Observation's name, value with unit, time and conclusion.

    Attributes:
        flag: The interpretation's code, such as `H` for high.
        of_body: Whether it is the weight or blood group, not a test.
        of_course: Whether it is a note of the course (XML5).
    """

    name: str
    value: str
    at: datetime | None
    conclusion: str
    flag: str = ""
    of_body: bool = False
    of_course: bool = False


@dataclass(frozen=True, slots=True)
class Visit:
    """One Encounter with what belongs to it."""

    id: str
    start: datetime | None
    end: datetime | None
    status: str
    facility: str
    facility_code: str
    kind: Coded
    reason: str
    diagnoses: tuple[Diagnosis, ...]
    drugs: tuple[Drug, ...]
    procedures: tuple[str, ...]
    results: tuple[Outcome, ...]
    course: tuple[Outcome, ...]
    treatment: str
    advice: str
    result: Coded
    discharge: Coded
    doctors: tuple[str, ...]
    resources: tuple[str, ...]

    @property
    def main(self) -> Diagnosis | None:
        """The main diagnosis."""
        return next((one for one in self.diagnoses if one.main), next(iter(self.diagnoses), None))


@dataclass(frozen=True, slots=True)
class Card:
    """An insurance card: code, validity, the per cent it pays, the facility of registration."""

    code: str
    start: date | None
    end: date | None
    level: int | None
    facility: str
    reference: str
    active: bool = True

    def holds(self, day: date) -> bool:
        """Return whether the card is valid on a day."""
        begun = self.start is None or self.start <= day
        return self.active and begun and (self.end is None or day <= self.end)


@dataclass(frozen=True, slots=True)
class Guardian:
    """A RelatedPerson: name, relationship, and whether an authority has verified it."""

    name: str
    relationship: Coded
    verified: bool


@dataclass(frozen=True, slots=True)
class Planned:
    """An Appointment: when, why, where."""

    at: datetime | None
    text: str
    facility: str
    reference: str


@dataclass(frozen=True, slots=True)
class Person:
    """The Patient: who this book is of."""

    id: str
    name: str
    birth_date: str
    gender: str
    number: str
    insurance_number: str
    phone: str
    address: str

    @property
    def born(self) -> date | None:
        """The birth date, None where only a year or month is known."""
        try:
            return date.fromisoformat(self.birth_date)
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class Book:
    """All of one person's book."""

    person: Person
    cards: tuple[Card, ...] = ()
    guardians: tuple[Guardian, ...] = ()
    visits: tuple[Visit, ...] = ()
    allergies: tuple[Coded, ...] = ()
    diseases: tuple[Diagnosis, ...] = ()
    immunizations: tuple[Resource, ...] = ()
    planned: tuple[Planned, ...] = ()
    blood_group: str = ""
    weight: Outcome | None = None
