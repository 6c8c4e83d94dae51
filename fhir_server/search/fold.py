"""Vietnamese text as it is compared: without marks, case or surplus white space.

https://hl7.org/fhir/R4/search.html#string
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Final

_SHORT: Final = 100


def fold(text: str) -> str:
    """Return a text folded for comparing: NFD without marks, đ as d, case folded, spaces one.

    `fold("Nguyễn  Văn ĐẠT")` is `nguyen van dat`.
    """
    return _kept(text) if len(text) <= _SHORT else _folded(text)


def _folded(text: str) -> str:
    if text.isascii():
        return " ".join(text.lower().split())
    bare = "".join(
        char
        for char in unicodedata.normalize("NFD", text.casefold())
        if unicodedata.category(char) != "Mn"
    )
    # đ is a letter of its own, which no decomposition takes apart.
    return " ".join(bare.replace("đ", "d").split())


_kept: Final = lru_cache(maxsize=16384)(_folded)


def exact(text: str) -> str:
    """Return a text as `:exact` compares it: as written, composed (NFC)."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
