"""What an evaluation is given from outside: the clock, variables, and who answers what it asks.

https://hl7.org/fhir/R4/fhirpath.html#variables
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from fhir_server.model.fhirpath.work import STEPS, Work

CONSTANTS: Final = MappingProxyType({
    "ucum": "http://unitsofmeasure.org",
    "sct": "http://snomed.info/sct",
    "loinc": "http://loinc.org",
})

PREFIXES: Final = MappingProxyType({
    "vs-": "http://hl7.org/fhir/ValueSet/",
    "ext-": "http://hl7.org/fhir/StructureDefinition/",
})


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What an evaluation is given; without something, what needs it is refused or empty.

    Attributes:
        now: The time of `now()`, `today()`, `timeOfDay()`, with a timezone.
        variables: Values of `%name`: one JSON value, or a list of them.
        resolve: The resource of a reference or canonical that is not in the resource at hand.
        member_of: Whether a code, Coding or CodeableConcept is in a value set; None if unknown.
        conforms: Whether an element conforms to a profile; None if the profile is not known.
        subsumes: Whether the first Coding subsumes the second; None if unknown.
        html: Whether a narrative's `div` is XHTML as FHIR allows it.
        trace: Is told each `trace()`: its name, and the items; what it logs is its own matter.
        many_as: `as` takes several items, which N1 refuses and R4's own expressions do
            (`Observation.component.value as Quantity`).
        steps: The work that it may do (work.py).
        work: What several evaluations may do together, in the place of `steps`.
    """

    now: datetime | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    resolve: Callable[[str], dict[str, Any] | None] | None = None
    member_of: Callable[[Any, str], bool | None] | None = None
    conforms: Callable[[Any, str], bool | None] | None = None
    subsumes: Callable[[Mapping[str, Any], Mapping[str, Any]], bool | None] | None = None
    html: Callable[[str], bool] | None = None
    trace: Callable[[str, Sequence[Any]], None] | None = None
    many_as: bool = False
    steps: int = STEPS
    work: Work | None = None
