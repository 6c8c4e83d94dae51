"""From a query string to an expression and to what the answer shall hold.

https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qsl, urlencode

from fhir_server.model.outcome import InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import micros
from fhir_server.search.chain import is_linked, named
from fhir_server.search.criterion import shown
from fhir_server.search.expression import And, Expression, Sort
from fhir_server.search.parameters import R4, Known
from fhir_server.search.reading import MAX_LENGTH, Include, Reading
from fhir_server.search.result import (
    DEFAULT_COUNT,
    MAX_COUNT,
    RESULT,
    Summary,
    Total,
    count_of,
    summary_of,
    total_of,
)

__all__ = [
    "CURSOR",
    "DEFAULT_COUNT",
    "MAX_COUNT",
    "PASSED",
    "Include",
    "Query",
    "Summary",
    "Total",
    "parse",
    "parse_criteria",
]

CURSOR: Final = "_cursor"
"""The parameter of a next link that says where the page begins."""

_SHORT: Final = 500

_NAMED: Final = "_query"
"""Names a query that the server defines; it decides what all others mean."""

_SO_IT_IS: Final = frozenset({("_contained", "false")})
"""What is asked for and how it is anyway: contained resources are never found by themselves."""

PASSED: Final = frozenset({"_format", "_pretty"})
"""Parameters that say how the answer is written; they stand in links and ask nothing."""


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
        own: Codes of the store's own parameters among them: a cursor is good with these alone.
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
    own: tuple[str, ...] = ()

    @property
    def asked(self) -> bytes:
        """What is asked, without how it is shown: what a cursor belongs to (Search.asked)."""
        shown = PASSED.union(RESULT) - {"_sort", "_type"}
        pairs = sorted((name, value) for name, value in self.used if name not in shown)
        pairs += [("", code) for code in self.own]
        return urlencode(pairs, errors="surrogatepass").encode()


def parse(
    resource_type: str,
    query: Sequence[tuple[str, str]],
    *,
    base_url: str,
    strict: bool,
    now: datetime,
    known: Known = R4,
) -> Query:
    """Return a search as its parameters ask it.

    Args:
        resource_type: The type searched; `Resource` is a search of the whole system.
        query: Names and values as sent, decoded, in order, repeats kept.
        base_url: The FHIR base, without a slash at its end.
        strict: `Prefer: handling=strict`: an unknown parameter is refused, not ignored.
        now: The time that the prefix `ap` measures from.
        known: The search parameters that there are.

    Raises:
        InvalidValue: A value, modifier or prefix cannot be parsed.
        UnsupportedParameter: A parameter is unknown and `strict` is asked, or unknown within a
            chain or `_has`, or it has a modifier that is not supported yet.
        TooCostly: The query asks for more values than one query may.
    """
    if sum(len(name) + len(value) for name, value in query) > MAX_LENGTH:
        raise TooCostly(
            "The search is longer than a search may be.",
            text_vi="Tìm kiếm dài hơn mức cho phép.",
        )
    reading = Reading(resource_type, base_url, micros(now), known)
    used: list[tuple[str, str]] = []
    ignored: list[str] = []
    for name, value in query:
        if name == CURSOR:
            reading.once[CURSOR] = value
            continue
        empty = not value.strip(",")
        if not empty and _read(reading, name, value):
            used.append((name, value))
        elif name == _NAMED and not empty:
            raise _no_named_query()
        elif strict or (not empty and is_linked(resource_type, name, known)):
            # A link that leads nowhere was meant to narrow: left out, the search would be wider.
            raise _unknown(resource_type, name, empty=empty)
        else:
            ignored.append(name)
    return _finished(reading, tuple(used), tuple(ignored))


def parse_criteria(
    resource_type: str, query: str, *, base_url: str = "", known: Known = R4
) -> Expression:
    """Return the expression of a query string that only selects: a policy's, If-None-Exist's.

    Raises:
        InvalidValue: It selects nothing in particular, or a value cannot be parsed.
        UnsupportedParameter: A parameter is unknown; nothing is ever ignored here.
    """
    read = _kept_criteria if len(query) <= _SHORT else _criteria
    return read(resource_type, query, base_url, known)


def _criteria(resource_type: str, query: str, base_url: str, known: Known) -> Expression:
    reading = Reading(resource_type, base_url, known=known)
    for name, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
        if not value.strip(","):
            raise _unknown(resource_type, name, empty=True)
        found = None if name in RESULT else named(reading, resource_type, name, value)
        if found is None:
            raise _unknown(resource_type, name, empty=False)
        reading.where.append(found)
    if not reading.where:
        raise InvalidValue(
            "The criteria name no search parameter.",
            text_vi="Điều kiện không nêu tham số tìm kiếm nào.",
        )
    return _joined(reading.where)


_kept_criteria: Final = lru_cache(maxsize=4096)(_criteria)


def _unknown(resource_type: str, name: str, *, empty: bool) -> InvalidValue | UnsupportedParameter:
    if empty:
        return InvalidValue(
            f"The search parameter {shown(name)} has no value.",
            text_vi=f"Tham số tìm kiếm {shown(name)} không có giá trị.",
        )
    return UnsupportedParameter(
        f"The search parameter {shown(name)} of {resource_type} is not known to this server.",
        text_vi=f"Máy chủ này không biết tham số tìm kiếm {shown(name)} của {resource_type}.",
    )


def _no_named_query() -> UnsupportedParameter:
    # R4 (search.html) wants a named query refused that a server does not know.
    return UnsupportedParameter(
        "This server has no named queries: _query is not supported.",
        text_vi="Máy chủ này không có truy vấn đặt tên: không hỗ trợ _query.",
    )


def _joined(operands: list[Expression]) -> Expression:
    return operands[0] if len(operands) == 1 else And(tuple(operands))


def _read(reading: Reading, name: str, value: str) -> bool:
    """Read one parameter; False where it is not known."""
    if name in PASSED or (name, value) in _SO_IT_IS:
        return True
    result = RESULT.get(name)
    if result:
        result(reading, name, value)
        return True
    found = named(reading, reading.resource_type, name, value)
    if found is None:
        return False
    reading.where.append(found)
    return True


def _finished(
    reading: Reading, used: tuple[tuple[str, str], ...], ignored: tuple[str, ...]
) -> Query:
    summary = summary_of(reading)
    total = total_of(reading)
    count = 0 if summary == "count" else count_of(reading)
    if summary == "text" and reading.includes:
        # R4 says in search.html#summary that they cannot be mixed.
        raise InvalidValue(
            "The parameters _include and _revinclude do not go with _summary=text.",
            text_vi="Các tham số _include và _revinclude không đi cùng _summary=text.",
        )
    if count == 0:
        # R4, search.html#count, "if _count has the value 0, this shall be treated the same as
        # _summary=count".
        total = "accurate"
    return Query(
        where=_joined(reading.where),
        sort=tuple(reading.sort),
        count=count,
        total=total,
        includes=tuple(reading.includes),
        summary=summary,
        elements=tuple(reading.elements),
        types=tuple(reading.types),
        cursor=reading.once.get(CURSOR),
        used=used,
        ignored=ignored,
        own=tuple(sorted(reading.own)),
    )
