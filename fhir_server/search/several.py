"""A search of several types at once, or of the whole system.

https://hl7.org/fhir/R4/http.html#vsearch: with `_type` the parameters are those that all types
named have; without it those of every resource.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from fhir_server.model.outcome import InvalidValue
from fhir_server.search.expression import Expression
from fhir_server.search.parameters import R4, Known
from fhir_server.search.query import Query, parse

WHOLE: Final = "Resource"
_TYPE: Final = "_type"

Pairs = Sequence[tuple[str, str]]


def parse_types(
    query: Pairs,
    *,
    base_url: str,
    strict: bool,
    now: datetime,
    among: Sequence[str],
    known: Known = R4,
) -> tuple[Query, list[tuple[str, Expression]]]:
    """Return a search as its parameters ask it, and what a match of each type is.

    Args:
        query: Names and values as sent, decoded, in order, repeats kept.
        base_url: The FHIR base, without a slash at its end.
        strict: `Prefer: handling=strict`: an unknown parameter is refused, not ignored.
        now: The time that the prefix `ap` measures from.
        among: The types that are searched where `_type` names none.
        known: The search parameters that there are.

    Raises:
        InvalidValue: A value, modifier or prefix cannot be parsed, `_type` names no type, or the
            order is not one that all types named have.
        UnsupportedParameter: A parameter is unknown of one of the types and `strict` is asked.
        TooCostly: The query asks for more values than one query may.
    """
    named = [pair for pair in query if pair[0] == _TYPE]
    others = [pair for pair in query if pair[0] != _TYPE]

    def read(kind: str, pairs: Pairs) -> Query:
        return parse(kind, pairs, base_url=base_url, strict=strict, now=now, known=known)

    types = tuple(dict.fromkeys(read(WHOLE, named).types))
    if not types:
        whole = read(WHOLE, others)
        return whole, [(kind, whole.where) for kind in among]
    queries = [read(kind, others) for kind in types]
    unknown = {name for one in queries for name in one.ignored}
    if unknown:
        rest = [pair for pair in others if pair[0] not in unknown]
        queries = [read(kind, rest) for kind in types]
    first = queries[0]
    if any(one.sort != first.sort for one in queries):
        raise InvalidValue(
            "The parameter _sort names a parameter that is not the same for all types.",
            text_vi="Tham số _sort nêu một tham số không giống nhau ở các loại.",
        )
    whole = replace(
        first,
        types=types,
        used=(*named, *first.used),
        ignored=tuple(sorted(unknown)),
        own=tuple(sorted({code for one in queries for code in one.own})),
    )
    return whole, [(kind, one.where) for kind, one in zip(types, queries, strict=True)]
