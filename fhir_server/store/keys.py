"""Keys of index tables, the same in every engine: forms of values whose order is the values' own.

Where a value stands under two parameters of which one always includes the other (`subject` and
`patient`), an engine may index it under the narrower alone, and ask both about the wider.
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Final

SHORT: Final = 96
"""A code longer than this is indexed by its hash (128 bits: no two are ever equal by chance)."""

HASHED: Final = "\x01"
HASHES_END: Final = "\x02"
"""What the hash of a code begins with, and a text that follows all of them."""

DAY: Final = 86_400_000_000
"""Longest span, in microseconds, of a date that is found by its low end alone (date_long)."""

_FAR: Final = 2**61
"""Open ends of a date range; the span between both still fits in 64 bits."""

NARROWER: Final = {
    "subject": ("patient",),
    "combo-code": ("code",),
    "combo-value-quantity": ("value-quantity",),
    "combo-value-concept": ("value-concept",),
    "combo-data-absent-reason": ("data-absent-reason",),
    "name": ("family", "given"),
    "phonetic": ("family", "given", "name"),
    "address": ("address-city", "address-state", "address-country", "address-postalcode"),
}
"""A parameter, and those whose values are always among its own, in every type that has both."""

_ZERO: Final = b"\x80"
_BIAS: Final = 0x8000


def code_key(code: str) -> str:
    """Return the key of a code: the code itself, so that different codes never meet."""
    if len(code) <= SHORT:
        return code
    return HASHED + blake2b(code.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def time_key(moment: int) -> int:
    """Return a time as kept: open ends are drawn in."""
    return max(-_FAR, min(_FAR, moment))


def prefix_end(text: str) -> str:
    """Return a text that follows, in byte order, every text that begins with this one."""
    return text + "\U0010ffff"


@lru_cache(maxsize=65_536)
def decimal_key(value: Decimal) -> bytes:
    """Return bytes that are ordered as numbers are, every digit counting: 1.0 is 1.00."""
    sign, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int):
        return b"\x00" if sign else b"\xff"  # an open end
    text = "".join(map(str, digits)).lstrip("0")
    point = len(text) + exponent  # the value is 0.text * 10**point
    text = text.rstrip("0")
    if not text:
        return _ZERO
    if len(text) % 2:
        text += "0"
    scale = max(-_BIAS + 1, min(_BIAS - 1, point)) + _BIAS
    # Two digits a byte, counted from 1, so that the shorter of two equal beginnings comes first.
    pairs = bytes(int(text[at : at + 2]) + 1 for at in range(0, len(text), 2))
    key = scale.to_bytes(2, "big") + pairs
    if sign:
        return b"\x40" + bytes(255 - byte for byte in key) + b"\xff"
    return b"\xc0" + key
