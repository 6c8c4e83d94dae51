"""How a search was done, for whoever asks by `__explain`: the planner's own figures, and no values.

What is asked is named by its parameters alone: an explanation may be kept in a log.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_server.search.expression import (
    And,
    Chain,
    Differs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Not,
    Or,
    Tagged,
)
from fhir_server.search.parameters import name_of
from fhir_server.search.values import CONTENT, NARRATIVE


@dataclass(frozen=True, slots=True)
class Candidate:
    """An index that could drive a search of a type.

    Attributes:
        asked: The part of what is asked that it answers, as from `told`.
        rows: How many resources it gives, counted.
        is_more: They were counted no further: there are as many or more.
    """

    asked: str
    rows: int
    is_more: bool = False


@dataclass(frozen=True, slots=True)
class Explained:
    """How the matches of one type were found.

    Attributes:
        resource_type: The type.
        driver: What the index that was chosen answers; None: all of the type were walked.
        rows: How many resources of it that index gives, None where it was not counted.
        candidates: All indexes that could drive it.
        judged: What was asked of each resource that was looked at.
        ways: How matches were looked for, in the order in which it was tried.
        work: What was done for this type, in `unit`s.
        budget: How much one search may do, all its types together.
        milliseconds: How long it took.
    """

    resource_type: str
    driver: str | None
    rows: int | None
    candidates: tuple[Candidate, ...]
    judged: tuple[str, ...]
    ways: tuple[str, ...]
    work: int
    budget: int
    unit: str
    milliseconds: float


def told(where: Expression) -> str:
    """Return what an expression asks: parameters, modifiers and prefixes, without the values."""
    match where:
        case And(operands):
            return f"({' and '.join(map(told, operands))})" if operands else "everything"
        case Or(operands):
            names = list(dict.fromkeys(map(told, operands)))
            several = f" (one of {len(operands)})" if len(operands) > len(names) else ""
            return f"{' or '.join(names)}{several}" if names else "nothing"
        case Not(operand):
            return f"not {told(operand)}"
        case Ids():
            return "_id"
        case LastUpdated(prefix):
            return f"_lastUpdated {prefix.value}"
        case InPatient():
            return "the compartment of a Patient"
        case Tagged():
            return "an access tag"
        case Missing(param, missing):
            return f"{name_of(param)}:missing {str(missing).lower()}"
        case Differs(param):
            return f"{name_of(param)} ne"
        case Chain(param, target_type, inner):
            return f"{name_of(param)}:{target_type}.{told(inner)}"
        case Has(source_type, param, inner):
            return f"_has:{source_type}:{name_of(param)}:{told(inner)}"
        case _:
            return _leaf(where)


_SHOWN: Final = {CONTENT: "_content", NARRATIVE: "_text"}
"""Where words are looked for, by the parameter that asks it."""


def _leaf(where: Expression) -> str:
    name = name_of(str(getattr(where, "param", type(where).__name__)))
    name = _SHOWN.get(name, name)
    prefix, mode = getattr(where, "prefix", None), getattr(where, "mode", None)
    if prefix is not None:
        return f"{name} {prefix.value}"
    return f"{name} {mode}" if mode not in {None, "exact"} else name
