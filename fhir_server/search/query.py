"""From a query string to an expression and to what the answer shall hold.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal
from urllib.parse import parse_qsl

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import micros
from fhir_server.search.criterion import Asked, criterion, shown
from fhir_server.search.expression import And, Chain, Expression, Has, Or, Sort, SortKind
from fhir_server.search.parameters import parameter

Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]

DEFAULT_COUNT: Final = 20
MAX_COUNT: Final = 1000

MAX_VALUES: Final = 5000
MAX_DEPTH: Final = 10
MAX_TARGETS: Final = 30

CURSOR: Final = "_cursor"
"""The parameter of a next link that says where the page begins."""

PASSED: Final = frozenset({"_format", "_pretty"})
"""Parameters that say how the answer is written; they stand in links and ask nothing."""


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`, https://hl7.org/fhir/R4/search.html#revinclude.

    Attributes:
        source_type: The type that refers; `*` is any.
        param: The reference parameter; `*` is any.
        target_type: The type referred to, where the client names one.
        iterate: Applied to included resources too.
        reverse: A `_revinclude`: what refers to the matches.
    """

    source_type: str
    param: str = "*"
    target_type: str | None = None
    iterate: bool = False
    reverse: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A search, as parsed.

    Attributes:
        where: What a match is.
        sort: Its order; () is newest first.
        count: Resources on a page, 0 to 1000.
        total: Whether the number of all matches is asked for.
        includes: What goes along with the matches.
        summary: The `_summary` asked for; None is none.
        elements: The `_elements` asked for.
        types: The `_type` of a system search; () is all.
        cursor: Where the page begins.
        used: The parameters that were understood, for the `self` link.
        ignored: Names of those that were not.
    """

    where: Expression
    sort: tuple[Sort, ...] = ()
    count: int = DEFAULT_COUNT
    total: Total = "none"
    includes: tuple[Include, ...] = ()
    summary: Summary | None = None
    elements: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    cursor: str | None = None
    used: tuple[tuple[str, str], ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reading:
    """A query while it is read: what is known so far, and how much it may still ask."""

    resource_type: str
    base_url: str = ""
    now: int | None = None
    values: int = 0
    where: list[Expression] = field(default_factory=list)
    sort: list[Sort] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    once: dict[str, str] = field(default_factory=dict)
    elements: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)


def parse(
    resource_type: str,
    query: Sequence[tuple[str, str]],
    *,
    base_url: str,
    strict: bool,
    now: datetime,
) -> Query:
    """Return a search as its parameters ask it.

    Args:
        resource_type: The type searched; `Resource` is a search of the whole system.
        query: Names and values as sent, decoded, in order, repeats kept.
        base_url: The FHIR base, without a slash at its end.
        strict: `Prefer: handling=strict`: an unknown parameter is refused, not ignored.
        now: The time that the prefix `ap` measures from.

    Raises:
        InvalidValue: A value, modifier or prefix cannot be parsed.
        UnsupportedParameter: A parameter is unknown and `strict` is asked, or it has a modifier
            that is not supported yet.
        TooCostly: The query asks for more values than one query may.
    """
    reading = _Reading(resource_type, base_url, micros(now))
    used: list[tuple[str, str]] = []
    ignored: list[str] = []
    for name, value in query:
        if name == CURSOR:
            reading.once[CURSOR] = value
        elif value.strip(",") and _read(reading, name, value):
            used.append((name, value))
        elif strict:
            raise _unknown(resource_type, name, empty=not value.strip(","))
        else:
            ignored.append(name)
    return _finished(reading, tuple(used), tuple(ignored))


@lru_cache(maxsize=4096)
def parse_criteria(resource_type: str, query: str, *, base_url: str = "") -> Expression:
    """Return the expression of a query string that only selects: a policy's, If-None-Exist's.

    Raises:
        InvalidValue: It selects nothing in particular, or a value cannot be parsed.
        UnsupportedParameter: A parameter is unknown; nothing is ever ignored here.
    """
    reading = _Reading(resource_type, base_url)
    for name, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
        if not value.strip(","):
            raise _unknown(resource_type, name, empty=True)
        found = None if name in _RESULT else _named(reading, resource_type, name, value)
        if found is None:
            raise _unknown(resource_type, name, empty=False)
        reading.where.append(found)
    if not reading.where:
        raise InvalidValue("The criteria name no search parameter.")
    return _joined(reading.where)


def _unknown(resource_type: str, name: str, *, empty: bool) -> InvalidValue | UnsupportedParameter:
    if empty:
        return InvalidValue(f"The search parameter {shown(name)} has no value.")
    return UnsupportedParameter(
        f"The search parameter {shown(name)} of {resource_type} is not known to this server."
    )


def _joined(operands: list[Expression]) -> Expression:
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _read(reading: _Reading, name: str, value: str) -> bool:
    """Read one parameter; False where it is not known."""
    if name in PASSED:
        return True
    result = _RESULT.get(name)
    if result:
        result(reading, name, value)
        return True
    found = _named(reading, reading.resource_type, name, value)
    if found is None:
        return False
    reading.where.append(found)
    return True


def _finished(
    reading: _Reading, used: tuple[tuple[str, str], ...], ignored: tuple[str, ...]
) -> Query:
    summary = _choice(reading, "_summary", ("true", "text", "data", "count", "false"))
    total = _choice(reading, "_total", ("none", "estimate", "accurate")) or "none"
    count = _count(reading)
    if summary == "count":
        count = 0
    if count == 0:
        # R4, search.html#count, "if _count has the value 0, this shall be treated the same as
        # _summary=count".
        total = "accurate"
    return Query(
        where=_joined(reading.where),
        sort=tuple(reading.sort),
        count=count,
        total=total,  # type: ignore[arg-type] # one of the choices above
        includes=tuple(reading.includes),
        summary=summary,  # type: ignore[arg-type] # one of the choices above
        elements=tuple(reading.elements),
        types=tuple(reading.types),
        cursor=reading.once.get(CURSOR),
        used=used,
        ignored=ignored,
    )


# --- names: chains and _has --------------------------------------------------------------


def _named(
    reading: _Reading, resource_type: str, name: str, value: str, depth: int = 0
) -> Expression | None:
    """Return what a parameter asks of a type's resources; None where it is not known."""
    if depth > MAX_DEPTH:
        raise TooCostly(f"A chain may have at most {MAX_DEPTH} links.")
    if name.startswith("_has:"):
        return _has(reading, resource_type, name, value, depth)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    known = parameter(resource_type, code)
    if known is None or (head.endswith(":") and not modifier):
        return None
    if not dot:
        reading.values += value.count(",") + 1
        if reading.values > MAX_VALUES:
            raise TooCostly(f"A search may have at most {MAX_VALUES} values.")
        return criterion(Asked(known, name, modifier, reading.base_url, reading.now), value)
    if known.type != "reference":
        return None
    if modifier and modifier not in RESOURCE_TYPES:
        raise InvalidValue(f"The chain {shown(name)} has a modifier that is no resource type.")
    targets = {modifier} if modifier else known.targets
    return _chain(reading, (code, rest, value), sorted(targets), depth, name)


def _chain(
    reading: _Reading, link: tuple[str, str, str], targets: list[str], depth: int, name: str
) -> Expression | None:
    code, rest, value = link
    found: list[Expression] = []
    refusals: list[InvalidValue] = []
    for target in targets:
        try:
            inner = _named(reading, target, rest, value, depth + 1)
        except InvalidValue as refusal:
            refusals.append(refusal)
            continue
        if inner is not None:
            found.append(Chain(code, target, inner))
    if not found and refusals:
        raise refusals[0]
    if len(found) > MAX_TARGETS:
        raise InvalidValue(
            f"The chain {shown(name)} may lead to {len(found)} resource types; "
            "name one of them, as in subject:Patient.name."
        )
    if not found:
        return None
    return found[0] if len(found) == 1 else Or(tuple(found))


def _has(
    reading: _Reading, resource_type: str, name: str, value: str, depth: int
) -> Expression | None:
    _, *links = name.split(":", 3)
    if len(links) != 3:  # noqa: PLR2004 - type, parameter, what is asked of it
        raise InvalidValue("A _has is written _has:Type:reference parameter:parameter.")
    source, code, rest = links
    known = parameter(source, code) if source in RESOURCE_TYPES else None
    if known is None or known.type != "reference":
        return None
    if resource_type not in known.targets and resource_type != "Resource":
        raise InvalidValue(
            f"The reference parameter of {shown(name)} never refers to {resource_type}."
        )
    inner = _named(reading, source, rest, value, depth + 1)
    return None if inner is None else Has(source, code, inner)


# --- what the answer shall hold ----------------------------------------------------------


def _once(reading: _Reading, name: str, value: str) -> None:
    if reading.once.setdefault(name, value) != value:
        raise InvalidValue(f"The parameter {shown(name)} is given twice with different values.")


def _choice(reading: _Reading, name: str, choices: tuple[str, ...]) -> str | None:
    value = reading.once.get(name)
    if value is not None and value not in choices:
        raise InvalidValue(f"The parameter {name} is not one of {', '.join(choices)}.")
    return value


def _count(reading: _Reading) -> int:
    value = reading.once.get("_count")
    if value is None:
        return DEFAULT_COUNT
    if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise InvalidValue("The parameter _count is not a whole number from 0 on.")
    return min(int(value), MAX_COUNT)


def _names(values: Iterable[str]) -> list[str]:
    return [name for value in values for name in value.split(",") if name]


def _sort(reading: _Reading, _name: str, value: str) -> None:
    for text in _names([value]):
        code = text.removeprefix("-")
        known = parameter(reading.resource_type, code)
        kind = known and (_SORTS.get(code) or _SORTS.get(known.type))
        if not kind:
            raise InvalidValue("The parameter _sort names a parameter that cannot be sorted by.")
        reading.sort.append(Sort(code, kind, descending=text.startswith("-")))


def _elements(reading: _Reading, _name: str, value: str) -> None:
    names = _names([value])
    if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*", name) for name in names):
        raise InvalidValue("The parameter _elements names what cannot be an element.")
    reading.elements.extend(names)


def _types(reading: _Reading, name: str, value: str) -> None:
    names = _names([value])
    if reading.resource_type != "Resource" or not RESOURCE_TYPES.issuperset(names):
        raise InvalidValue(f"The parameter {name} names a resource type that there is not.")
    reading.types.extend(names)


def _include(reading: _Reading, name: str, value: str) -> None:
    key, _, modifier = name.partition(":")
    reverse = key == "_revinclude"
    source, *rest = value.split(":")
    code, target = rest[0] if rest else "*", rest[1] if len(rest) > 1 else ""
    whole = value == "*" or (source in RESOURCE_TYPES and len(rest) in {1, 2})
    known = parameter(source, code) if code != "*" else None
    if (
        not whole
        or (code != "*" and (known is None or known.type != "reference"))
        or (target and target not in RESOURCE_TYPES)
    ):
        raise InvalidValue(
            f"A value of {shown(name)} is not Type:parameter or Type:parameter:Type."
        )
    reading.includes.append(
        Include(source, code, target or None, iterate=bool(modifier), reverse=reverse)
    )


_SORTS: Final[Mapping[str, SortKind]] = {
    "_id": "id",
    "_lastUpdated": "last",
    "token": "token",
    "string": "string",
    "date": "date",
    "number": "number",
    "quantity": "quantity",
    "reference": "reference",
    "uri": "uri",
}

_RESULT: Final[Mapping[str, Callable[[_Reading, str, str], None]]] = {
    "_count": _once,
    "_total": _once,
    "_summary": _once,
    "_sort": _sort,
    "_elements": _elements,
    "_type": _types,
    "_include": _include,
    "_include:iterate": _include,
    "_include:recurse": _include,
    "_revinclude": _include,
    "_revinclude:iterate": _include,
    "_revinclude:recurse": _include,
}
