"""Load and apply a code table: one source code to the FHIR coding in force on a day.

A table is a CSV file with the columns source, system, code, display_vi, display_en, valid_from,
valid_to, decree. A code that is not in the table gives nothing, never a guess.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files
from typing import Any, Final

_HL7: Final = ("http://terminology.hl7.org/", "http://hl7.org/")


@dataclass(frozen=True, slots=True)
class Concept:
    """One row of a code table.

    Attributes:
        source: The code in the dossier.
        system: The FHIR code system.
        code: The FHIR code.
        display: What it means, in Vietnamese.
        display_en: The same in English.
        valid_from: The first day it is in force; None where it always was.
        valid_to: The last day; None where it still is.
        decree: Where it comes from.
    """

    source: str
    system: str
    code: str
    display: str
    display_en: str
    valid_from: date | None
    valid_to: date | None
    decree: str

    def coding(self) -> dict[str, Any]:
        """Return the FHIR Coding; the displays of HL7's own systems are English."""
        display = self.display_en if self.system.startswith(_HL7) else self.display
        return {"system": self.system, "code": self.code, "display": display}

    def in_force(self, on: date) -> bool:
        """Whether the row is in force on that day."""
        started = self.valid_from is None or self.valid_from <= on
        return started and (self.valid_to is None or on <= self.valid_to)


class ConceptMap:
    """A code table, by source code; a code may mean something else at another time."""

    def __init__(self, concepts: Iterable[Concept]) -> None:
        self._concepts: dict[str, tuple[Concept, ...]] = {}
        for concept in concepts:
            known = self._concepts.get(concept.source, ())
            self._concepts[concept.source] = (*known, concept)

    def __contains__(self, source: object) -> bool:
        return source in self._concepts

    def codes(self) -> frozenset[str]:
        """Return every source code, of any date."""
        return frozenset(self._concepts)

    def find(self, source: str, on: date | None = None) -> Concept | None:
        """Return the concept in force on that day, else the newest, None where there is none."""
        concepts = self._concepts.get(source)
        if not concepts:
            return None
        if on is not None:
            for concept in concepts:
                if concept.in_force(on):
                    return concept
        return max(concepts, key=lambda concept: concept.valid_from or date.min)

    def coding(self, source: str, on: date | None = None) -> dict[str, Any] | None:
        """Return the FHIR Coding of a source code, None where the table does not have it."""
        concept = self.find(source, on)
        return concept.coding() if concept else None


def read(text: str) -> ConceptMap:
    """Return the code table that a CSV text holds.

    Raises:
        KeyError: A column is missing.
        ValueError: A date is not one.
    """
    return ConceptMap(
        Concept(
            row["source"],
            row["system"],
            row["code"],
            row["display_vi"],
            row["display_en"],
            date.fromisoformat(row["valid_from"]) if row["valid_from"] else None,
            date.fromisoformat(row["valid_to"]) if row["valid_to"] else None,
            row["decree"],
        )
        for row in csv.DictReader(text.splitlines())
    )


@cache
def load(package: str, name: str) -> ConceptMap:
    """Return the table `codes/<name>.csv` of a mapping package, read once."""
    return read(files(package).joinpath("codes", f"{name}.csv").read_text("utf-8"))
