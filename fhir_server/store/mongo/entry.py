"""What is indexed of a resource, as fields of its document; and its values again, packed.

* `x`, an array of 64-bit keys (`keys.py`): tokens, references, URIs, words, compartments, access
  tags, which parameters have a value, of which composites no one value has it all. Its index is
  `{x: 1, r: -1}`: newest first.
* `s`, an array of texts (folded strings, URIs, cells of places, words of tokens' texts) behind the
  parameter's eight characters, for beginnings: `{s: 1, r: -1}`.
* `o`, of a parameter's ordered values the least, `a<path>`; where there are several the greatest,
  `d<path>`; of ranges (dates: over a day) the greatest end, `h<path>`. Its index, `o.$**`, gives
  order and ranges. Quantities stand there by their number alone, by their unit, and in the base
  units of what they measure (`search.units`): each unit, and each thing measured, has a path.
  Of codes, references and URIs the least is `b<path>`, the greatest `e<path>` (`ends.py`).
* `l`, of a parameter's dates the greatest end, by its path; without an index.
* `e`, every value, packed: it judges what the keys found, and what no key tells.

A deleted resource has none of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

import msgspec

from fhir_server.search.earth import cell
from fhir_server.search.place import is_versioned
from fhir_server.search.units import UNIT, base_of, ends_in_base
from fhir_server.search.values import (
    ELSEWHERE,
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
    Value,
)
from fhir_server.search.words import words_in
from fhir_server.store.keys import DAY, NARROWER, time_key
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.ends import code_fields

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(dict[str, msgspec.Raw]).decode
_listed: Final = msgspec.msgpack.Decoder(list[Any]).decode

_FEW: Final = 8
"""So many values are compared one by one."""

UNIQUE: Final = ":unique"
"""The name under which the unique keys are packed."""

Packed = tuple[Any, ...]


# --- packed ----------------------------------------------------------------------------------


def pack(index: IndexValues) -> bytes:
    """Return all values and unique keys of a resource as bytes; `patients` is its own field."""
    return _bytes_of(_packed(_by_param(index)), index.unique)


def _packed(by_param: dict[str, list[Value]]) -> dict[str, list[Packed]]:
    return {
        param: [_PACK[type(value)](value) for value in values] for param, values in by_param.items()
    }


def _bytes_of(packed: dict[str, list[Packed]], unique: Iterable[str]) -> bytes:
    return _encode({**packed, UNIQUE: unique} if unique else packed)


def _by_param(index: IndexValues) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for value in index.values:
        there = found.get(value.param)
        if there is None:
            found[value.param] = [value]
        else:
            there.append(value)
    return found


class Entry:
    """The values of a resource, unpacked as they are asked for: of most nothing else is."""

    __slots__ = ("_packed",)

    def __init__(self, data: bytes) -> None:
        self._packed = _decode(data)

    @property
    def unique(self) -> list[str]:
        """The unique keys that it holds."""
        return self._listed(UNIQUE)

    @property
    def params(self) -> Iterable[str]:
        """The parameters of which it has a value."""
        return [param for param in self._packed if param != UNIQUE]

    def has(self, param: str) -> bool:
        """Return whether it has a value of a parameter."""
        return param in self._packed

    def values(self, param: str) -> tuple[Value, ...]:
        """Return its values of one parameter."""
        return tuple(_unpacked(param, one) for one in self._listed(param))

    def targets(self, param: str, kind: str) -> list[str]:
        """Return the ids of resources of a type to which a parameter refers."""
        return [one[2] for one in self._listed(param) if one[0] == "r" and one[1] == kind]

    def refers_to(self, target: str) -> bool:
        """Return whether it refers to the local `Type/id`, from anywhere."""
        return any(
            one[0] == "r" and f"{one[1]}/{one[2]}" == target
            for param in self.params
            for one in self._listed(param)
        )

    def index(self, patients: Iterable[str] = ()) -> IndexValues:
        """Return all of it."""
        values = tuple(value for param in self.params for value in self.values(param))
        return IndexValues(values, tuple(patients), tuple(self.unique))

    def _listed(self, name: str) -> list[Any]:
        packed = self._packed.get(name)
        return [] if packed is None else _listed(packed)


def targets_in(entries: Iterable[bytes], param: str, kind: str) -> set[str]:
    """Return the ids of resources of a type to which a parameter of any of many entries refers."""
    decode = _reader(param).decode
    return {
        value[2]
        for entry in entries
        for value in decode(entry).values
        if value[0] == "r" and value[1] == kind
    }


@lru_cache(maxsize=1_024)
def _reader(param: str) -> msgspec.msgpack.Decoder[Any]:
    """Return what reads the values of one parameter alone, and passes the others by."""
    field: tuple[str, Any, Any] = (
        "values", list[Any], msgspec.field(name=param, default_factory=list)
    )  # fmt: skip
    return msgspec.msgpack.Decoder(msgspec.defstruct("_Values", [field]))


def _packed_token(value: TokenValue) -> Packed:
    if value.text:
        return ("t", value.system, value.code, value.text)
    return ("t", value.system, value.code)


def _packed_string(value: StringValue) -> Packed:
    folded, exact = value.folded, value.exact
    return ("s", folded) if folded == exact else ("s", folded, exact)


def _packed_date(value: DateValue) -> Packed:
    return ("d", value.low, value.high)


def _packed_reference(value: ReferenceValue) -> Packed:
    if value.url:
        return ("r", value.resource_type, value.resource_id, value.url)
    return ("r", value.resource_type, value.resource_id)


def _packed_uri(value: UriValue) -> Packed:
    return ("u", value.uri)


def _packed_quantity(value: QuantityValue) -> Packed:
    low, high = str(value.low), str(value.high)
    return ("q", low, high, value.system, value.code, value.unit)


def _packed_number(value: NumberValue) -> Packed:
    return ("n", str(value.low), str(value.high))


def _packed_words(value: TextValue) -> Packed:
    return ("w", value.text)


def _packed_position(value: PositionValue) -> Packed:
    return ("p", value.latitude, value.longitude)


def _packed_composite(value: CompositeValue) -> Packed:
    return (
        "c",
        tuple(tuple((one.param, *_PACK[type(one)](one)) for one in part) for part in value.parts),
    )


_PACK: Final[dict[type, Callable[[Any], Packed]]] = {
    TokenValue: _packed_token,
    StringValue: _packed_string,
    DateValue: _packed_date,
    ReferenceValue: _packed_reference,
    UriValue: _packed_uri,
    QuantityValue: _packed_quantity,
    NumberValue: _packed_number,
    TextValue: _packed_words,
    PositionValue: _packed_position,
    CompositeValue: _packed_composite,
}


def _unpacked(param: str, packed: list[Any]) -> Value:
    kind, *fields = packed
    match kind:
        case "t":
            return TokenValue(param, *fields)
        case "s":
            return StringValue(param, fields[0], fields[-1])
        case "d":
            return DateValue(param, *fields)
        case "r":
            return ReferenceValue(param, *fields)
        case "u":
            return UriValue(param, *fields)
        case "q":
            return QuantityValue(param, Decimal(fields[0]), Decimal(fields[1]), *fields[2:])
        case "n":
            return NumberValue(param, Decimal(fields[0]), Decimal(fields[1]))
        case "w":
            return TextValue(param, *fields)
        case "p":
            return PositionValue(param, *fields)
        case _:
            parts = tuple(tuple(_component(*one) for one in part) for part in fields[0])
            return CompositeValue(param, parts)


@lru_cache(maxsize=32_768)
def _component(param: str, *packed: Any) -> Value:
    """Return a value within a composite: most have the same codes, and many the same numbers."""
    return _unpacked(param, list(packed))


# --- fields ----------------------------------------------------------------------------------


def fields_of(kind: str, index: IndexValues, tags: Iterable[str]) -> dict[str, Any]:
    """Return the fields `x`, `e` of a resource of a type, and of `s o l` what is not empty."""
    by_param = _by_param(index)
    packed = _packed(by_param)
    fields = _Fields(kind, by_param, packed)
    found: dict[str, Any] = {
        "x": fields.keys(index.patients, tags),
        "e": _bytes_of(packed, index.unique),
    }
    if fields.texts:
        found["s"] = sorted(fields.texts)
    if ordered := fields.ordered():
        found["o"] = ordered
    if fields.ends:
        found["l"] = fields.ends
    return found


class _Fields:
    """Gathers the keys, texts and ordered values of one resource."""

    def __init__(
        self, kind: str, by_param: dict[str, list[Value]], packed: dict[str, list[Packed]]
    ) -> None:
        self._kind = kind
        self._keys: set[int] = set()
        self.texts: set[str] = set()
        self.ends: dict[str, int] = {}
        self._ordered: dict[str, list[tuple[Any, Any]]] = {}
        self._codes: dict[str, tuple[str, str]] = {}
        for param, values in by_param.items():
            if keys.is_told(param):
                self._keys.add(keys.present(kind, param))
            if type(values[0]) is CompositeValue and _is_parted(values, by_param):
                self._keys.add(keys.parted(kind, param))
            # What stands under narrower parameters too is found by those.
            known: Collection[Packed] = [
                one for narrower in NARROWER.get(param, ()) for one in packed.get(narrower, ())
            ]
            if not known:
                for value in values:
                    _ADD[type(value)](self, param, value, False)  # noqa: FBT003
                continue
            if len(known) > _FEW:
                known = frozenset(known)
            for value, one in zip(values, packed[param], strict=True):
                _ADD[type(value)](self, param, value, one in known)

    def keys(self, patients: Iterable[str], tags: Iterable[str]) -> list[int]:
        """Return the keys, with those of compartments and access tags."""
        found = self._keys
        found.update(keys.in_patient(self._kind, one) for one in patients)
        found.update(keys.tagged(self._kind, tag) for tag in tags)
        return sorted(found)

    def ordered(self) -> dict[str, Any]:
        """Return the ends of the ordered values, by path."""
        found: dict[str, Any] = {}
        for param, ends in self._ordered.items():
            path = keys.path(self._kind, param)
            lows = [low for low, _ in ends]
            found["a" + path] = least = min(lows)
            if (greatest := max(lows)) != least:
                found["d" + path] = greatest
            if long := [high for _, high in ends if high is not None]:
                found["h" + path] = max(long)
        codes = self._codes
        for param, both in codes.items():
            least_of, greatest_of, lender = code_fields(self._kind, param)
            if lender and codes.get(lender) == both:
                continue
            found[least_of], last = both
            if last != both[0]:
                found[greatest_of] = last
        return found

    def token(self, param: str, value: TokenValue, narrow: bool) -> None:  # noqa: FBT001
        if not narrow:
            self._keys.update(_token_keys(self._kind, param, value.system, value.code))
            if value.text:
                self.texts |= keys.starts_of(self._kind, param, value.text)
        if value.code:
            self._code(param, value.code)

    def string(self, param: str, value: StringValue, narrow: bool) -> None:  # noqa: FBT001
        if not narrow:
            self.texts.add(keys.text_key(self._kind, param, value.folded))
        self._order(param, value.folded[: keys.LONGEST], None)

    def date(self, param: str, value: DateValue, _narrow: bool) -> None:  # noqa: FBT001
        low, high = time_key(value.low), time_key(value.high)
        self._order(param, low, high if high - low > DAY else None)
        path = keys.path(self._kind, param)
        self.ends[path] = max(high, self.ends.get(path, high))

    def number(self, param: str, value: NumberValue | QuantityValue, _narrow: bool) -> None:  # noqa: FBT001
        high = None if value.low == value.high else keys.number_key(value.high)
        self._order(param, keys.number_key(value.low), high)

    def quantity(self, param: str, value: QuantityValue, narrow: bool) -> None:  # noqa: FBT001
        self.number(param, value, narrow)
        if narrow:
            return
        ends = ends_in_base(value)
        if ends is not None:
            low, high = map(keys.number_key, ends)
            self._order(base_of(param, value.code), low, None if low == high else high)
        for text in {value.code, value.unit}:
            if text:
                self.number(f"{param}{UNIT}{text}", value, narrow)

    def reference(self, param: str, value: ReferenceValue, narrow: bool) -> None:  # noqa: FBT001
        if not value.resource_id:
            if not narrow:
                self._keys.add(keys.uri(self._kind, param, value.url))
            if not is_versioned(value.url):
                self._code(param, value.url)
            return
        target = f"{value.resource_type}/{value.resource_id}"
        self._code(param, target)
        self._keys.add(keys.referring(target))
        if param != ELSEWHERE and not narrow:
            self._keys.add(keys.reference(self._kind, param, target))

    def uri(self, param: str, value: UriValue, narrow: bool) -> None:  # noqa: FBT001
        if not narrow:
            self._keys.add(keys.uri(self._kind, param, value.uri))
            self.texts.add(keys.text_key(self._kind, param, value.uri))
        self._code(param, value.uri)

    def words(self, param: str, value: TextValue, _narrow: bool) -> None:  # noqa: FBT001
        self._keys.update(keys.word(self._kind, param, one) for one in words_in(value.text))

    def position(self, param: str, value: PositionValue, _narrow: bool) -> None:  # noqa: FBT001
        found = cell(value.latitude, value.longitude)
        self.texts.add(keys.text_key(self._kind, param, found))

    def composite(self, param: str, value: CompositeValue, _narrow: bool) -> None:  # noqa: FBT001
        # It is found by the tokens of its first component; the entry decides.
        for one in value.parts[0]:
            if isinstance(one, TokenValue):
                self._keys.update(_token_keys(self._kind, param, one.system, one.code))

    def _code(self, param: str, text: str) -> None:
        text = text[: keys.LONGEST_CODE]
        there = self._codes.get(param)
        if there is not None:
            self._codes[param] = (min(there[0], text), max(there[1], text))
        elif ":" not in param:  # by other names nobody can sort
            self._codes[param] = (text, text)

    def _order(self, param: str, low: Any, high: Any) -> None:
        self._ordered.setdefault(param, []).append((low, high))


@lru_cache(maxsize=32_768)
def _token_keys(kind: str, param: str, system: str, code: str) -> tuple[int, ...]:
    if not (system or code):
        return ()
    found = [keys.token(kind, param, system, code)]
    if code:
        found.append(keys.token_code(kind, param, code))
    if system:
        found.append(keys.token_system(kind, param, system))
    return tuple(found)


def _is_parted(composites: list[Value], by_param: dict[str, list[Value]]) -> bool:
    """Return whether components have values that do not all stand in one of the composite's."""
    if len(composites) > 1 or not isinstance(composites[0], CompositeValue):
        return True
    return any(
        part and one not in part
        for part in composites[0].parts
        for one in by_param.get(part[0].param, ())
    )


_ADD: Final[dict[type, Callable[..., None]]] = {
    TokenValue: _Fields.token,
    StringValue: _Fields.string,
    DateValue: _Fields.date,
    NumberValue: _Fields.number,
    QuantityValue: _Fields.quantity,
    ReferenceValue: _Fields.reference,
    UriValue: _Fields.uri,
    TextValue: _Fields.words,
    PositionValue: _Fields.position,
    CompositeValue: _Fields.composite,
}
