"""One line of what `fhir-server doctor` says of a store."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """What was looked at, whether it is well, and what it is or what to do about it."""

    name: str
    well: bool
    text: str
