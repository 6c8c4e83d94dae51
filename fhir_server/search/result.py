"""Search result parameters: what a page holds, in which order, and what goes along with it.

https://hl7.org/fhir/R4/search.html#return
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, Literal, cast, get_args

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, TooCostly
from fhir_server.search.criterion import shown
from fhir_server.search.expression import Sort, SortKind
from fhir_server.search.reading import Include, Reading
from fhir_server.search.wording import WORDED

Total = Literal["none", "estimate", "accurate"]
Summary = Literal["true", "text", "data", "count", "false"]

DEFAULT_COUNT: Final = 20
MAX_COUNT: Final = 1000
MAX_SORTS: Final = 8
MAX_INCLUDES: Final = 40


def _once(reading: Reading, name: str, value: str) -> None:
    if reading.once.setdefault(name, value) != value:
        raise InvalidValue(
            f"The parameter {shown(name)} is given twice with different values.",
            text_vi=f"Tham số {shown(name)} được nêu hai lần với giá trị khác nhau.",
        )


def _choice(reading: Reading, name: str, choices: tuple[str, ...]) -> str | None:
    value = reading.once.get(name)
    if value is not None and value not in choices:
        among = ", ".join(choices)
        raise InvalidValue(
            f"The parameter {name} is not one of {among}.",
            text_vi=f"Tham số {name} không phải là một trong {among}.",
        )
    return value


def total_of(reading: Reading) -> Total:
    """Return the `_total` asked for, else an estimate: a total goes along where it costs little."""
    value = _choice(reading, "_total", get_args(Total))
    return cast("Total", value or "estimate")


def summary_of(reading: Reading) -> Summary | None:
    """Return the `_summary` asked for."""
    return cast("Summary | None", _choice(reading, "_summary", get_args(Summary)))


def count_of(reading: Reading) -> int:
    """Return the `_count` asked for, at most 1000."""
    value = reading.once.get("_count")
    if value is None:
        return DEFAULT_COUNT
    if not re.fullmatch(r"\d{1,18}", value, re.ASCII):
        raise InvalidValue(
            "The parameter _count is not a whole number from 0 on.",
            text_vi="Tham số _count không phải là số nguyên từ 0 trở lên.",
        )
    return min(int(value), MAX_COUNT)


def _names(value: str) -> list[str]:
    return [name for name in value.split(",") if name]


def _sort(reading: Reading, _name: str, value: str) -> None:
    for text in _names(value):
        code = text.removeprefix("-")
        known = reading.find(reading.resource_type, code)
        kind = known and (_SORTS.get(code) or _SORTS.get(known.type))
        if known is None or not kind or code in WORDED:
            raise InvalidValue(
                "The parameter _sort names a parameter that cannot be sorted by.",
                text_vi="Tham số _sort nêu một tham số không dùng để sắp xếp được.",
            )
        reading.sort.append(Sort(known.code, kind, descending=text.startswith("-")))
    if len(reading.sort) > MAX_SORTS:
        raise TooCostly(
            f"A search may be sorted by at most {MAX_SORTS} parameters.",
            text_vi=f"Một tìm kiếm được sắp xếp theo nhiều nhất {MAX_SORTS} tham số.",
        )


def _elements(reading: Reading, _name: str, value: str) -> None:
    names = _names(value)
    if not all(re.fullmatch(r"[A-Za-z][A-Za-z0-9]*(\.[A-Za-z0-9]+)*", name) for name in names):
        raise InvalidValue(
            "The parameter _elements names what cannot be an element.",
            text_vi="Tham số _elements nêu tên không thể là một phần tử.",
        )
    reading.elements.extend(names)


def _types(reading: Reading, name: str, value: str) -> None:
    names = _names(value)
    if reading.resource_type != "Resource":
        raise InvalidValue(
            f"The parameter {name} belongs to a search of the whole system; "
            f"this search is of {reading.resource_type} alone.",
            text_vi=f"Tham số {name} chỉ dùng khi tìm trong toàn hệ thống; "
            f"tìm kiếm này chỉ về {reading.resource_type}.",
        )
    if not RESOURCE_TYPES.issuperset(names):
        raise InvalidValue(
            f"The parameter {name} names a resource type that there is not.",
            text_vi=f"Tham số {name} nêu một loại tài nguyên không có.",
        )
    reading.types.extend(names)


def _include(reading: Reading, name: str, value: str) -> None:
    key, _, modifier = name.partition(":")
    reverse = key == "_revinclude"
    source, *rest = value.split(":")
    code, target = rest[0] if rest else "*", rest[1] if len(rest) > 1 else ""
    whole = value == "*" or (source in RESOURCE_TYPES and len(rest) in {1, 2})
    known = reading.find(source, code) if code != "*" else None
    if (
        not whole
        or (code != "*" and (known is None or known.type != "reference"))
        or (target and target not in RESOURCE_TYPES)
    ):
        raise InvalidValue(
            f"A value of {shown(name)} is not Type:parameter or Type:parameter:Type.",
            text_vi=f"Một giá trị của {shown(name)} không có dạng Loại:tham số hoặc "
            "Loại:tham số:Loại.",
        )
    reading.includes.append(
        Include(
            source,
            known.code if known else code,
            target or None,
            iterate=bool(modifier),
            reverse=reverse,
        )
    )
    if len(reading.includes) > MAX_INCLUDES:
        raise TooCostly(
            f"A search may have at most {MAX_INCLUDES} includes.",
            text_vi=f"Một tìm kiếm có nhiều nhất {MAX_INCLUDES} tham số include.",
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

RESULT: Final[Mapping[str, Callable[[Reading, str, str], None]]] = {
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
