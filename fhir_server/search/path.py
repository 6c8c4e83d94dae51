"""The FHIRPath of search parameters, parsed to steps: the few forms that HL7's list uses.

https://hl7.org/fhir/R4/searchparameter-registry.html

    Patient.name | (Observation.value as Quantity) | Condition.onset.as(Age)
    Patient.telecom.where(system='phone') | Account.subject.where(resolve() is Patient)
    Bundle.entry[0].resource | (Observation.value as CodeableConcept).text

A store's own parameters most often look into extensions:

    Patient.extension.where(url='http://x.vn/a').value | Patient.extension('http://x.vn/b').value
    (Encounter.extension.where(url='http://x.vn/c').value as CodeableConcept)
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
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


@dataclass(frozen=True, slots=True)
class NoFacility:
    """Keep the elements that name no facility; it stands in no expression (`parameters.Own`)."""


Step = Field | Where | Resolves | First | NoFacility


@dataclass(frozen=True, slots=True)
class Path:
    """One alternative of an expression: its steps, and the type that they begin at.

    The root "" is the context; in a composite's component, `%resource` is the resource.
    """

    root: str
    steps: tuple[Step, ...]


class UnknownForm(ValueError):
    """An expression of a form that is none of those above.

    Attributes:
        part: Where the unknown begins.
    """

    def __init__(self, part: str) -> None:
        super().__init__(part)
        self.part = part


RESOURCE: Final = "%resource"

_TOKEN: Final = re.compile(
    r"""\s*(?:
      where\(\s*resolve\(\)\s+is\s+(?P<resolves>\w+)\s*\)
    | where\(\s*(?P<field>\w+)\s*=\s*'(?P<code>[^']*)'\s*\)
    | extension\(\s*'(?P<url>[^']*)'\s*\)
    | (?:as|ofType)\(\s*(?P<cast>\w+)\s*\)
    | (?P<name>\w+)(?!\w*\()
    )(?P<first>\[0\])?""",
    re.VERBOSE,
)
_AS: Final = re.compile(r"(?P<inner>.*\S)\s+as\s+(?P<type>\w+)\s*", re.DOTALL)
_QUOTED: Final = re.compile(r"'[^']*'")


@lru_cache(maxsize=4096)
def parse(expression: str) -> tuple[Path, ...]:
    """Return the alternatives of a search parameter's expression.

    Raises:
        UnknownForm: The expression is of none of the forms above.
    """
    bare = _bare(expression)
    ends = [at for at, character in enumerate(bare) if character == "|"]
    parts = [
        expression[start:end].strip()
        for start, end in zip([0, *(at + 1 for at in ends)], [*ends, len(bare)], strict=True)
    ]
    return tuple(_alternative(part) for part in parts if part)


def _bare(text: str) -> str:
    """Return a text of the same length in which no quoted character stands for itself."""
    return _QUOTED.sub(lambda quoted: "_" * len(quoted[0]), text)


def _opened(text: str) -> str:
    """Return an alternative without parentheses around its beginning, `as` as a function."""
    if not text.startswith("("):
        return _with_cast(text)
    depth = 0
    for at, character in enumerate(_bare(text)):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return _opened(text[1:at].strip()) + text[at + 1 :]
    raise UnknownForm(text)


def _with_cast(text: str) -> str:
    cast = _AS.fullmatch(text)
    return text if cast is None else f"{cast['inner']}.as({cast['type']})"


def _alternative(text: str) -> Path:
    text = _opened(text)
    root, steps = "", list[Step]()
    if text.startswith(RESOURCE):
        root, text = RESOURCE, text.removeprefix(RESOURCE + ".")
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise UnknownForm(text[position:])
        if position == 0 and match["name"] and match["name"][0].isupper():
            root = match["name"]
        else:
            _add(steps, match)
        if match["first"]:
            steps.append(First())
        position = match.end()
        if position < len(text) and text[position] != ".":
            raise UnknownForm(text[position:])
        position += 1
    return Path(root, tuple(steps))


def _add(steps: list[Step], match: re.Match[str]) -> None:
    if match["resolves"]:
        steps.append(Resolves(match["resolves"]))
    elif match["field"]:
        steps.append(Where(match["field"], match["code"]))
    elif match["url"] is not None:
        steps += (Field("extension"), Where("url", match["url"]))
    elif match["cast"]:
        last = steps.pop() if steps else None
        if not isinstance(last, Field):
            raise UnknownForm(match.string[match.start() :])
        steps.append(Field(last.name, match["cast"]))
    else:
        steps.append(Field(match["name"]))
