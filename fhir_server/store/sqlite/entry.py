"""A resource's index values as rows of the index tables, and packed in one blob.

The blob (table `entry`) is what takes the rows out again when the resource changes, and what
answers the questions that no table answers by resource: `:text`, `:missing`, composites, sorting.

Where a value stands under two parameters of which one always includes the other (`subject` and
`patient`), it has one row, under the narrower; a question about the wider asks both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final, Protocol

import msgspec

from fhir_server.search.earth import cell
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    NumberValue,
    PositionValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TextValue,
    TokenValue,
    UriValue,
)
from fhir_server.search.words import words_in
from fhir_server.store.keys import NARROWER, code_key, decimal_key, time_key


class Numbers(Protocol):
    """What gives numbers to the names in one resource type's index values."""

    def param(self, code: str) -> int:
        """Return the number of a parameter."""

    def token(self, code: str, system: str) -> tuple[int, int]:
        """Return the numbers of a parameter and of a system that it has from now on."""

    def quantity(self, value: QuantityValue) -> tuple[int, int]:
        """Return the numbers of a parameter and of a unit that it has from now on."""

    def reference(self, code: str, resource_type: str) -> int:
        """Return the number of a parameter, which has references to a type from now on."""

    def several_dates(self, param: int) -> None:
        """Remember that a resource has more than one date of a parameter."""

    def text(self, text: str) -> int:
        """Return the number of a token's text, or OTHER."""

    def pair(self, code: str, system: int, token: str, unit: int) -> int:
        """Return the number of a composite with one token, which has a unit from now on."""

    def shape(self, params: Iterable[int], rid: int) -> tuple[int, int]:
        """Return under which number shapes are indexed, and that of a resource's own."""

    def resource(self, resource_type: str, resource_id: str) -> int:
        """Return the number of a resource, whether it exists or not."""


_TABLES: Final = ("token", "string", "date", "quantity", "ref", "compartment", "tag", "said")


@dataclass(slots=True)
class Rows:
    """Rows of the index tables, still to be written; the last column of each is the rid.

    Those of `said` have words in place of their numbers.
    """

    token: list[tuple[int, int, str, int]] = field(default_factory=list)
    string: list[tuple[int, str, str, int]] = field(default_factory=list)
    date: list[tuple[int, int, int, int]] = field(default_factory=list)
    quantity: list[tuple[int, int, bytes, bytes, int]] = field(default_factory=list)
    ref: list[tuple[int, int, int]] = field(default_factory=list)
    compartment: list[tuple[int, int, int]] = field(default_factory=list)
    tag: list[tuple[int, int, int]] = field(default_factory=list)
    said: list[tuple[int, Any, int]] = field(default_factory=list)

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
    or number, `r` local reference, `u` URI or other reference, `w` words, `p` place, `c` composite,
    `h` the resource's shape, under the number of no parameter.
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
    values: dict[int, list[Any]] = {}
    wide: list[tuple[str, int]] = []
    for value in index.values:
        param, packed = _PACK[type(value)](value, numbers)
        found = values.get(param)
        if found is None:
            values[param] = [packed]
            if value.param in NARROWER:
                wide += [(code, param) for code in NARROWER[value.param]]
        else:
            found.append(packed)
    doubles: dict[int, list[Any]] = {}
    for code, param in wide:
        doubles.setdefault(param, []).extend(values.get(numbers.param(code), ()))
    for param, found in values.items():
        double = doubles.get(param, ())
        if len(found) > 1 and found[0][0] == "d":
            numbers.several_dates(param)
        for packed in found:
            if packed not in double:
                _ADD[packed[0]](packed, param, rid, rows)
    param, shape = numbers.shape(values, rid)
    values[param] = [["h", shape]]
    _add_shape(values[param][0], param, rid, rows)
    return Entry(list(index.unique), values)


def _pack_token(value: TokenValue, numbers: Numbers) -> tuple[int, list[Any]]:
    param, packed = _pack_part(value, numbers)
    if value.text:
        packed.append(numbers.text(value.text))
    return param, packed


def _pack_part(value: TokenValue, numbers: Numbers) -> tuple[int, list[Any]]:
    param, system = numbers.token(value.param, value.system)
    if value.text:
        return param, ["t", system, value.code, value.text]
    return param, ["t", system, value.code]


def _pack_string(value: StringValue, numbers: Numbers) -> tuple[int, list[Any]]:
    param = numbers.param(value.param)
    if value.exact == value.folded:
        return param, ["s", value.folded]
    return param, ["s", value.folded, value.exact]


def _pack_date(value: DateValue, numbers: Numbers) -> tuple[int, list[Any]]:
    low, high = time_key(value.low), time_key(value.high)
    return numbers.param(value.param), ["d", low, max(low, high)]


def _pack_number(value: NumberValue, numbers: Numbers) -> tuple[int, list[Any]]:
    return numbers.param(value.param), ["q", 0, *_ends(value.low, value.high)]


def _pack_quantity(value: QuantityValue, numbers: Numbers) -> tuple[int, list[Any]]:
    param, unit = numbers.quantity(value)
    return param, ["q", unit, *_ends(value.low, value.high)]


def _pack_reference(value: ReferenceValue, numbers: Numbers) -> tuple[int, list[Any]]:
    if value.resource_id:
        nr = numbers.resource(value.resource_type, value.resource_id)
        return numbers.reference(value.param, value.resource_type), ["r", nr]
    return numbers.param(value.param), ["u", value.url]


def _pack_uri(value: UriValue, numbers: Numbers) -> tuple[int, list[Any]]:
    return numbers.param(value.param), ["u", value.uri]


def _pack_words(value: TextValue, numbers: Numbers) -> tuple[int, list[Any]]:
    return numbers.param(value.param), ["w", value.text]


def _pack_position(value: PositionValue, numbers: Numbers) -> tuple[int, list[Any]]:
    return numbers.param(value.param), ["p", value.latitude, value.longitude]


def _pack_composite(value: CompositeValue, numbers: Numbers) -> tuple[int, list[Any]]:
    parts = [[_PACK_PART[type(one)](one, numbers)[1] for one in part] for part in value.parts]
    packed: list[Any] = ["c", parts]
    # The row of the first component's token stands under the composite's own number.
    for one in value.parts[0]:
        if isinstance(one, TokenValue):
            numbers.token(value.param, one.system)
    if len(parts) == 2:  # noqa: PLR2004
        # Those of the second's quantities stand under a number of both.
        pairs = [
            [numbers.pair(value.param, token[1], token[2], quantity[1]), *quantity[1:]]
            for token in parts[0]
            for quantity in parts[1]
            if token[0] == "t" and token[2] and quantity[0] == "q"
        ]
        if pairs:
            packed.append(pairs)
    return numbers.param(value.param), packed


_PACK: Final[dict[type, Callable[[Any, Numbers], tuple[int, list[Any]]]]] = {
    TokenValue: _pack_token,
    StringValue: _pack_string,
    DateValue: _pack_date,
    NumberValue: _pack_number,
    QuantityValue: _pack_quantity,
    ReferenceValue: _pack_reference,
    UriValue: _pack_uri,
    TextValue: _pack_words,
    PositionValue: _pack_position,
    CompositeValue: _pack_composite,
}
_PACK_PART: Final = _PACK | {TokenValue: _pack_part}


def _ends(low: Decimal, high: Decimal) -> list[bytes]:
    if low == high:
        return [decimal_key(low)]
    return [decimal_key(low), decimal_key(high)]


def _add_token(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    if packed[1] or packed[2]:
        rows.token.append((param, packed[1], code_key(packed[2]), rid))
    if len(packed) > 4:  # noqa: PLR2004
        # Its text stands among the systems, which are numbered from 0.
        rows.token.append((param, text_system(packed[4]), "", rid))


def text_system(nr: int) -> int:
    """Return what stands in the place of a token's system in the row of its text."""
    return -1 - nr


def _add_shape(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.token.append((param, packed[1], "", rid))


def _add_string(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.string.append((param, packed[1], packed[2] if len(packed) > 2 else "", rid))  # noqa: PLR2004


def _add_date(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.date.append((param, packed[1], packed[2] - packed[1], rid))


def _add_quantity(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    high = packed[3] if len(packed) > 3 else b""  # noqa: PLR2004
    rows.quantity.append((param, packed[1], packed[2], high, rid))


def _add_reference(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.ref.append((packed[1], param, rid))


def _add_uri(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.string.append((param, packed[1], "", rid))


def _add_words(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.said += [(param, word, rid) for word in words_in(packed[1])]


def _add_position(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    rows.string.append((param, cell(packed[1], packed[2]), "", rid))


def _add_composite(packed: list[Any], param: int, rid: int, rows: Rows) -> None:
    # A composite is found by the tokens of its first component; the entry decides.
    for part in packed[1][0]:
        if part[0] == "t":
            _add_token(part, param, rid, rows)
    if len(packed) > 2:  # noqa: PLR2004
        for pair, *quantity in packed[2]:
            _add_quantity(["q", *quantity], pair, rid, rows)


_ADD: Final[dict[str, Callable[[list[Any], int, int, Rows], None]]] = {
    "t": _add_token,
    "s": _add_string,
    "d": _add_date,
    "q": _add_quantity,
    "r": _add_reference,
    "u": _add_uri,
    "w": _add_words,
    "p": _add_position,
    "c": _add_composite,
    "h": _add_shape,
}


def rows_of(entry: Entry, rid: int, rows: Rows) -> None:
    """Add to `rows` those of an entry that must be taken out by their whole key.

    Dates and references are taken out by rid.
    """
    for param, values in entry.values.items():
        for packed in values:
            if packed[0] not in {"d", "r"}:
                _ADD[packed[0]](packed, param, rid, rows)
