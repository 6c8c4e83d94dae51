"""What part of a resource type a caller may see: values that interactions turn into expressions.

An access decision neither maps nor searches, so it says what it means in FHIR's own words.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Anything:
    """Every resource of the type."""


@dataclass(frozen=True, slots=True)
class InPatientCompartment:
    """Resources in the compartment of this Patient, https://hl7.org/fhir/R4/compartmentdefinition-patient.html."""

    patient_id: str


@dataclass(frozen=True, slots=True)
class Tagged:
    """Resources that carry this access tag: what a facility submitted or named by right."""

    tag: str


@dataclass(frozen=True, slots=True)
class Matching:
    """Resources that match a FHIR search of their type, such as `coverage.payor:identifier=…`."""

    query: str


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Resources that any of these shows."""

    criteria: tuple[Criteria, ...]


Criteria = Anything | InPatientCompartment | Tagged | Matching | AnyOf
