"""Index keys of the collections: what is asked and what is stored meet in the same 64-bit number.

A key is a hash of a resource type, a search parameter and a value. Two values may, once in a
world's time, share one: what a key finds is held against the resource's own entry (`entry.py`).
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from fhir_server.store.keys import decimal_key

_SEPARATOR: Final = "\x1f"
LONGEST: Final = 120
"""Characters of a text that are indexed; the entry has the rest."""
LONGEST_CODE: Final = 255
"""Characters of a code, reference or URI that give it its place in an order."""


@lru_cache(maxsize=262_144)
def hashed(*parts: str) -> int:
    """Return the signed 64-bit hash of some texts."""
    text = _SEPARATOR.join(parts).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), "big", signed=True)


def present(kind: str, param: str) -> int:
    """Return the key of: a resource of this type has a value of this parameter."""
    return hashed(kind, param)


def token(kind: str, param: str, system: str, code: str) -> int:
    """Return the key of `system|code`; system "" is none."""
    return hashed(kind, param, "t", system, code)


def token_code(kind: str, param: str, code: str) -> int:
    """Return the key of a code, whatever its system."""
    return hashed(kind, param, "c", code)


def token_system(kind: str, param: str, system: str) -> int:
    """Return the key of `system|`, whatever the code."""
    return hashed(kind, param, "y", system)


def parted(kind: str, param: str) -> int:
    """Return the key of: no one value of a composite parameter has all that its components have."""
    return hashed(kind, param, "parted")


def uri(kind: str, param: str, text: str) -> int:
    """Return the key of a URI, or of a reference that is none of ours."""
    return hashed(kind, param, "u", text)


def word(kind: str, param: str, text: str) -> int:
    """Return the key of a word that is said."""
    return hashed(kind, param, "w", text)


def reference(kind: str, param: str, target: str) -> int:
    """Return the key of a reference to the local `Type/id`."""
    return hashed(kind, param, "r", target)


def referring(target: str) -> int:
    """Return the key of: refers to the local `Type/id` from anywhere, whatever its own type."""
    return hashed("", "referring", target)


def in_patient(kind: str, patient: str) -> int:
    """Return the key of: a resource of this type is in this Patient's compartment."""
    return hashed(kind, "in-patient", patient)


def tagged(kind: str, tag: str) -> int:
    """Return the key of: a resource of this type carries this access tag."""
    return hashed(kind, "tagged", tag)


@lru_cache(maxsize=16_384)
def path(kind: str, param: str) -> str:
    """Return the name, in eight characters, under which values of a parameter are ordered."""
    text = f"{kind}{_SEPARATOR}{param}".encode()
    return blake2b(text, digest_size=4).hexdigest()


def text_key(kind: str, param: str, text: str) -> str:
    """Return the key of a text in the array `s`; its beginnings are the keys' beginnings."""
    return path(kind, param) + text[:LONGEST]


@lru_cache(maxsize=32_768)
def starts_of(kind: str, param: str, text: str) -> frozenset[str]:
    """Return the keys, in the array `s`, of the words of a token's text: `:text` asks for one."""
    name = said_by(param)
    return frozenset(text_key(kind, name, one) for one in text.split(" "))


def is_told(param: str) -> bool:
    """Return whether a key says of each resource that it has a value of a parameter."""
    return ":" not in param or param.endswith(":identifier")


def said_by(param: str) -> str:
    """Return the name under which the words of a token parameter's texts stand."""
    return f"{param}:text"


@lru_cache(maxsize=65_536)
def number_key(value: Decimal) -> str:
    """Return a text that is ordered as decimals are (`store.keys.decimal_key`)."""
    return decimal_key(value).decode("latin-1")
