"""Bytes to resource and back, every digit of a decimal kept.

https://hl7.org/fhir/R4/json.html and https://hl7.org/fhir/R4/xml.html

What cannot be read is refused as `Malformed` with one sentence, whatever the bytes are.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn

import msgspec

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import Invalid, Malformed
from fhir_server.model.primitives import Lexeme
from fhir_server.model.xml import comments_left, from_commented_xml, from_xml, to_xml

__all__ = [
    "Lexeme",
    "as_resource",
    "comments_left",
    "dumps",
    "from_commented_xml",
    "from_xml",
    "loads",
    "loads_stored",
    "parse_resource",
    "to_xml",
]

MAX_EXPONENT: Final = 1000
"""Beyond it a decimal is no measure of anything, and writing it out would fill the memory."""

MAX_DIGITS: Final = 4000
"""Of an integer; Python refuses longer ones itself, as they cost quadratic time."""

MAX_DEPTH: Final = 100
"""Of objects and arrays in one another: the official examples have 21, and every walk ends."""

_STRING: Final = re.compile(rb'"[^"]*"')
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b'{}[]"'))
_BOM: Final = b"\xef\xbb\xbf"
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}").search
_REPEATING: Final = b"MolecularSequence"
"""The type that has a decimal more than once, so in an array: no other of R4 has."""
_DIGITS_BUT_ZERO: Final = frozenset("123456789")


class BeyondMeasure(Malformed):
    """A number in the JSON is too large, too small or too long."""


def _exact(text: str) -> Decimal:
    """Return a number that is written again as it came."""
    number = Decimal(text)
    if text[0] in _DIGITS_BUT_ZERO and "e" not in text and "E" not in text:
        return number  # Decimal writes these as they are, and no exponent can be too large
    if number and abs(number.adjusted()) > MAX_EXPONENT:
        raise InvalidOperation
    return number if str(number) == text else Lexeme(text)


def _raw(value: object) -> msgspec.Raw:
    if isinstance(value, Lexeme):
        return msgspec.Raw(value.text.encode())
    message = f"A {type(value).__name__} has no form in JSON."
    raise TypeError(message)


_DECODER: Final = msgspec.json.Decoder(float_hook=_exact)
_ENCODER: Final = msgspec.json.Encoder(decimal_format="number", enc_hook=_raw)


def loads(data: bytes) -> Any:
    """Return the value of JSON; numbers with a point or exponent are Decimal, as written.

    Raises:
        Malformed: It is not JSON, not UTF-8, has a name twice in one object, is nested too
            deeply, or has a number beyond all measure.
    """
    try:
        value = _DECODER.decode(data)
        again = _ENCODER.encode(value)
        if data.count(b"-0") != again.count(b"-0"):
            value = _with_negative_zero(data)
            again = _ENCODER.encode(value)
    except (msgspec.DecodeError, UnicodeError, InvalidOperation, RecursionError) as error:
        _refuse(data, error)
    if again.count(b"{") + again.count(b"[") > MAX_DEPTH and _is_too_deep(again):
        _refuse(data, RecursionError())
    if not _has_every_name(data, again):
        _refuse_duplicates(data)
    return value


def _with_negative_zero(data: bytes) -> Any:
    """Return the value of good JSON again, `-0` kept: the decoder makes an int of it, 0."""

    def integer(text: str) -> Any:
        return Lexeme(text) if text == "-0" else int(text)

    return json.loads(data, parse_float=_exact, parse_int=integer)


def loads_stored(data: bytes) -> Any:
    """Return the value of JSON that `dumps` wrote: no second look for names and depth."""
    if b'":-0' in data or (_REPEATING in data and (b"[-0" in data or b",-0" in data)):
        return _with_negative_zero(data)
    return _DECODER.decode(data)


def _is_too_deep(text: bytes) -> bool:
    """Tell whether JSON without white space is nested more than MAX_DEPTH deep.

    Brackets alone are left, then the innermost pairs are taken away until none is left.
    """
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    text = text.translate(_ONE_KIND, _NOT_BRACKETS).replace(b'""', b"")
    if b'"' in text:
        text = _STRING.sub(b"", text)
    for _ in range(MAX_DEPTH):
        if not text:
            return False
        text = text.replace(b"[]", b"")
    return bool(text)


def _has_every_name(data: bytes, again: bytes) -> bool:
    r"""Tell whether no name was dropped; False also where only a closer look can tell.

    The decoder keeps the last of equal names. A colon stands behind each name, and inside
    strings both texts have the same ones where none is written as `\u003a`: so the counts are
    equal only if no name was dropped.
    """
    return data.count(b":") == again.count(b":") and (b"\\" not in data or b"\\u003" not in data)


def _refuse_duplicates(data: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise Malformed(
                "The JSON has an object with the same property name twice.",
                text_vi="JSON có một đối tượng mang hai thuộc tính trùng tên.",
            )
        return found

    def keep(text: str) -> str:
        return text

    json.loads(data, object_pairs_hook=once, parse_float=keep, parse_int=keep)


def _refuse(data: bytes, error: Exception) -> NoReturn:
    """Raise Malformed for what the decoder found, without a byte of the content."""
    if isinstance(error, RecursionError):
        english, vietnamese = "The JSON is nested too deeply.", "JSON lồng nhau quá sâu."
    elif isinstance(error, UnicodeError):
        english = "The JSON is not in UTF-8."
        vietnamese = "JSON không được mã hóa bằng UTF-8."
    elif isinstance(error, (InvalidOperation, msgspec.ValidationError)):
        english = "The JSON has a number that is too large, too small or too long."
        vietnamese = "JSON có một số quá lớn, quá nhỏ hoặc quá dài."
        raise BeyondMeasure(english, text_vi=vietnamese) from None
    elif _is_half_a_pair(data, str(error)):
        english = "The JSON has half of a surrogate pair, which is no character."
        vietnamese = "JSON có một nửa cặp thay thế (surrogate), không phải là ký tự."
    elif not data.strip():
        english, vietnamese = "The body is empty.", "Nội dung trống."
    elif data.startswith((_BOM, b"\xff\xfe", b"\xfe\xff")):
        english = "The JSON begins with a byte order mark; send plain UTF-8."
        vietnamese = "JSON bắt đầu bằng dấu thứ tự byte (BOM); hãy gửi UTF-8 thuần."
    else:
        english = f"The body is not JSON: {_where(error)}."
        vietnamese = "Nội dung không phải là JSON."
    raise Malformed(english, text_vi=vietnamese) from None


def _is_half_a_pair(data: bytes, message: str) -> bool:
    r"""Tell whether the decoder stopped at a `\ud800` alone, which it calls truncated, too."""
    if "surrogate" in message:
        return True
    is_whole = data.rstrip().endswith((b"}", b"]"))
    return is_whole and "truncated" in message and _SURROGATE(data) is not None


def _where(error: Exception) -> str:
    # msgspec names what it missed and the byte, never the content: "JSON is malformed: …".
    text = str(error).removeprefix("JSON is malformed: ").replace("(byte ", "(at byte ")
    return text[:1].lower() + text[1:]


def parse_resource(data: bytes) -> dict[str, Any]:
    """Return the resource that JSON holds.

    Raises:
        Malformed: It is not JSON, not an object, or its `resourceType` is not one of R4.
        Invalid: It has a number that no type of FHIR can hold.
    """
    try:
        return as_resource(loads(data))
    except BeyondMeasure as refusal:
        (issue,) = refusal.issues
        raise Invalid([replace(issue, code="value")]) from None


def as_resource(value: Any) -> dict[str, Any]:
    """Return the value itself, if it is an object with a `resourceType` of R4.

    Raises:
        Malformed: It is not.
    """
    if not isinstance(value, dict):
        raise Malformed(
            "The body is not a resource: a JSON object is expected.",
            text_vi="Nội dung không phải là tài nguyên FHIR: cần một đối tượng JSON.",
        )
    resource_type = value.get("resourceType")
    if not isinstance(resource_type, str) or resource_type not in RESOURCE_TYPES:
        raise Malformed(
            "The body is not a resource: resourceType is absent, or no resource type of FHIR R4.",
            expression=("resourceType",),
            text_vi="Nội dung không phải là tài nguyên FHIR R4: thiếu resourceType, hoặc sai.",
        )
    return value


def dumps(value: Any, *, pretty: bool = False) -> bytes:
    """Return JSON in UTF-8 without insignificant white space, or indented.

    Decimals are numbers with every digit that they have; names stay in their order.

    Raises:
        Malformed: It is nested too deeply to be written.
    """
    try:
        data = _ENCODER.encode(value)
        return msgspec.json.format(data, indent=2) if pretty else data
    except RecursionError:
        raise Malformed(
            "The content is nested too deeply.", text_vi="Nội dung lồng nhau quá sâu."
        ) from None
