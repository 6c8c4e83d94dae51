"""A resource's index values as rows of the index tables, and packed in one blob.

The blob (table `entry`) is what takes the rows out again when the resource changes, and what
answers the questions that no table answers by resource: `:text`, `:missing`, composites, sorting.

Where a value stands under two parameters of which one always includes the other (`subject` and
`patient`), it has one row, under the narrower; a question about the wider asks both.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from fhir_server.store.sqlite.keys import code_key, decimal_key, time_key

NARROWER: Final = {
    "subject": "patient",
    "combo-code": "code",
    "combo-value-quantity": "value-quantity",
    "combo-value-concept": "value-concept",
    "combo-data-absent-reason": "data-absent-reason",
}
"""A parameter, and one whose values are always among its own, in every type that has both."""


class Numbers(Protocol):
    """What gives numbers to names: `names.NewNames`, and the writer for resources."""

    def param(self, code: str) -> int:
        """Return the number of a parameter of the resource's type."""

    def system(self, param: int, uri: str) -> int:
        """Return the number of a code system, and remember that the parameter has it."""

    def unit(self, param: int, value: QuantityValue) -> int:
        """Return the number of a unit, and remember that the parameter has it."""

    def resource(self, resource_type: str, resource_id: str) -> int:
        """Return the number of a resource, whether it exists or not."""


_TABLES: Final = ("token", "string", "date", "quantity", "ref", "compartment", "tag")


@dataclass(slots=True)
class Rows:
    """Rows of the index tables, still to be written; the last column of each is the rid."""

    token: list[tuple[int, int, str, int]] = field(default_factory=list)
    string: list[tuple[int, str, str, int]] = field(default_factory=list)
    date: list[tuple[int, int, int, int]] = field(default_factory=list)
    quantity: list[tuple[int, int, bytes, bytes, int]] = field(default_factory=list)
    ref: list[tuple[int, int, int]] = field(default_factory=list)
    compartment: list[tuple[int, int, int]] = field(default_factory=list)
    tag: list[tuple[int, int, int]] = field(default_factory=list)

    def tables(self) -> list[tuple[str, list[Any]]]:
        """Return each table's name and rows."""
        return [(name, getattr(self, name)) for name in _TABLES]

    def lengths(self) -> list[int]:
        """Return where each list ends, for `cut`."""
        return [len(rows) for _, rows in self.tables()]

    def cut(self, lengths: list[int]) -> None:
        """Take out what was added since `lengths`."""
        for (_, rows), length in zip(self.tables(), lengths, strict=True):
            del rows[length:]

    def clear(self) -> None:
        """Forget all rows."""
        for _, rows in self.tables():
            rows.clear()


class Entry(msgspec.Struct, array_like=True):
    """What is packed: unique keys, and values by parameter number.

    A value is an array that begins with its kind: `t` token, `s` string, `d` date, `q` quantity
    or number, `r` local reference, `u` URI or other reference, `c` composite.
    """

    unique: list[str]
    values: dict[int, list[Any]]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Entry).decode


def pack(entry: Entry) -> bytes:
    """Return the bytes of an entry."""
    return _encode(entry)


def unpack(data: bytes) -> Entry:
    """Return the entry that these bytes are."""
    return _decode(data)


def entry_of(index: IndexValues, rid: int, numbers: Numbers, rows: Rows) -> Entry:
    """Return the entry of a resource, and add its index rows to `rows`."""
    values: defaultdict[int, list[Any]] = defaultdict(list)
    narrow = _narrow(index)
    for value in index.values:
        param = numbers.param(value.param)
        packed = _packed(value, param, numbers)
        values[param].append(packed)
        if narrow and value.param in NARROWER and _bare(value) in narrow:
            continue
        _add(packed, param, rid, rows)
    return Entry(list(index.unique), dict(values))


def _narrow(index: IndexValues) -> set[Any]:
    wide = {NARROWER[v.param] for v in index.values if v.param in NARROWER}
    return {_bare(v) + (v.param,) for v in index.values if v.param in wide} if wide else set()


def _bare(value: Value) -> tuple[Any, ...]:
    narrower = NARROWER.get(value.param)
    match value:
        case TokenValue():
            bare: tuple[Any, ...] = ("t", value.system, value.code)
        case QuantityValue():
            bare = ("q", value.low, value.high, value.system, value.code, value.unit)
        case ReferenceValue():
            bare = ("r", value.resource_type, value.resource_id, value.url)
        case _:
            bare = ("?", value)
    return (*bare, narrower) if narrower else bare


def _packed(value: Value, param: int, numbers: Numbers) -> list[Any]:
    match value:
        case TokenValue():
            system = numbers.system(param, value.system)
            return (
                ["t", system, value.code, value.text] if value.text else ["t", system, value.code]
            )
        case StringValue():
            same = value.exact == value.folded
            return ["s", value.folded] if same else ["s", value.folded, value.exact]
        case DateValue():
            low, high = time_key(value.low), time_key(value.high)
            return ["d", low, max(low, high)]
        case NumberValue():
            return ["q", 0, *_ends(value.low, value.high)]
        case QuantityValue():
            return ["q", numbers.unit(param, value), *_ends(value.low, value.high)]
        case ReferenceValue() if value.resource_id:
            return ["r", numbers.resource(value.resource_type, value.resource_id)]
        case ReferenceValue():
            return ["u", value.url]
        case UriValue():
            return ["u", value.uri]
        case CompositeValue():
            return ["c", [[_packed(v, param, numbers) for v in part] for part in value.parts]]


def _ends(low: Decimal, high: Decimal) -> list[bytes]:
    first, last = decimal_key(low), decimal_key(high)
    return [first] if first == last else [first, last]


def _add(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    match packed[0]:
        case "t":
            if packed[1] or packed[2]:
                rows.token.append((param, packed[1], code_key(packed[2]), rid))
        case "s":
            rows.string.append((param, packed[1], packed[2] if len(packed) > 2 else "", rid))  # noqa: PLR2004
        case "d":
            rows.date.append((param, packed[1], packed[2] - packed[1], rid))
        case "q":
            high = packed[3] if len(packed) > 3 else b""  # noqa: PLR2004
            rows.quantity.append((param, packed[1], packed[2], high, rid))
        case "r":
            rows.ref.append((packed[1], param, rid))
        case "u":
            rows.string.append((param, packed[1], "", rid))
        case "c":
            # A composite is found by the tokens of its first component; the entry decides.
            for part in packed[1][0]:
                if part[0] == "t" and (part[1] or part[2]):
                    rows.token.append((param, part[1], code_key(part[2]), rid))


def rows_of(entry: Entry, rid: int, rows: Rows) -> None:
    """Add to `rows` those of an entry that must be taken out by their whole key.

    Dates and references are taken out by rid.
    """
    for param, values in entry.values.items():
        for packed in values:
            if packed[0] not in {"d", "r"}:
                _add(packed, param, rid, rows)
