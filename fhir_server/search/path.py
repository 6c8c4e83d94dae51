"""The FHIRPath of search parameters, parsed to steps: the few forms that HL7's list uses.

https://hl7.org/fhir/R4/searchparameter-registry.html

    Patient.name | (Observation.value as Quantity) | Condition.onset.as(Age)
    Patient.telecom.where(system='phone') | Account.subject.where(resolve() is Patient)
    Bundle.entry[0].resource | (Observation.value as CodeableConcept).text
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final


@dataclass(frozen=True, slots=True)
class Field:
    """Go to the elements of this name; `as_type` keeps one type of a choice."""

    name: str
    as_type: str | None = None


@dataclass(frozen=True, slots=True)
class Where:
    """Keep the elements whose child `field` is this code."""

    field: str
    code: str


@dataclass(frozen=True, slots=True)
class Resolves:
    """Keep the references to resources of this type."""

    resource_type: str


@dataclass(frozen=True, slots=True)
class First:
    """Keep the first element of a list."""


Step = Field | Where | Resolves | First


@dataclass(frozen=True, slots=True)
class Path:
    """One alternative of an expression: its steps, and the type that they begin at.

    The root "" is the context; in a composite's component, `%resource` is the resource.
    """

    root: str
    steps: tuple[Step, ...]


class UnknownForm(ValueError):
    """An expression of a form that no search parameter of R4 has."""


RESOURCE: Final = "%resource"

_TOKEN: Final = re.compile(
    r"""\s*(?:
      where\(\s*resolve\(\)\s+is\s+(?P<resolves>\w+)\s*\)
    | where\(\s*(?P<field>\w+)\s*=\s*'(?P<code>[^']*)'\s*\)
    | (?:as|ofType)\(\s*(?P<cast>\w+)\s*\)
    | (?P<name>\w+)(?!\w*\()
    )(?P<first>\[0\])?""",
    re.VERBOSE,
)
_CAST: Final = re.compile(r"\(\s*(?P<inner>[\w.]+)\s+as\s+(?P<type>\w+)\s*\)(?P<rest>(?:\.\w+)*)")


@cache
def parse(expression: str) -> tuple[Path, ...]:
    """Return the alternatives of a search parameter's expression.

    Raises:
        UnknownForm: The expression is of none of the forms above.
    """
    return tuple(_alternative(part.strip()) for part in expression.split("|") if part.strip())


def _alternative(text: str) -> Path:
    cast = _CAST.fullmatch(text)
    if cast:
        text = f"{cast['inner']}.as({cast['type']}){cast['rest']}"
    elif text.startswith("(") and text.endswith(")"):
        text = text[1:-1]
    root, steps = "", list[Step]()
    if text.startswith(RESOURCE):
        root, text = RESOURCE, text.removeprefix(RESOURCE + ".")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UnknownForm(text)
        if position == 0 and match["name"] and match["name"][0].isupper():
            root = match["name"]
        else:
            _add(steps, match)
        if match["first"]:
            steps.append(First())
        position = match.end()
        if position < len(text) and text[position] != ".":
            raise UnknownForm(text)
        position += 1
    return Path(root, tuple(steps))


def _add(steps: list[Step], match: re.Match[str]) -> None:
    if match["resolves"]:
        steps.append(Resolves(match["resolves"]))
    elif match["field"]:
        steps.append(Where(match["field"], match["code"]))
    elif match["cast"]:
        last = steps.pop() if steps else None
        if not isinstance(last, Field):
            raise UnknownForm(match.string)
        steps.append(Field(last.name, match["cast"]))
    else:
        steps.append(Field(match["name"]))
