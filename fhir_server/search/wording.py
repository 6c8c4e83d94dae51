"""What `_text` and `_content` ask: words and phrases, joined by AND, OR, NOT and brackets.

https://hl7.org/fhir/R4/search.html#content; R4 leaves the language to the server.

    sốt xuất huyết          all of these words
    "sốt xuất huyết" cao    the phrase, and the word
    sốt OR ho -covid        AND binds closer than OR; `-` is NOT
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from fhir_server.search.expression import (
    And,
    CanonicalChain,
    CanonicalHas,
    Chain,
    Expression,
    Has,
    Not,
    Or,
    Says,
)
from fhir_server.search.values import CONTENT, NARRATIVE
from fhir_server.search.words import words_of

WORDED: Final[dict[str, tuple[str, ...]]] = {
    "_text": (NARRATIVE,),
    "_content": (CONTENT, NARRATIVE),
}
"""The parameters that ask for words, and where each looks for them."""

MOST_DEEP: Final = 20
"""Brackets and NOTs inside one another, at most."""

_PIECES: Final = re.compile(r'\s+|"[^"]*"|[()]|(?P<not>-(?=[^\s)]))|[^\s()"]+')
_WORDS: Final = frozenset({"AND", "OR", "NOT"})


def has_words(where: Expression) -> bool:
    """Return whether words are asked for, in chains too."""
    match where:
        case And(operands) | Or(operands):
            return any(map(has_words, operands))
        case Not(operand):
            return has_words(operand)
        case Chain() | Has() | CanonicalChain() | CanonicalHas():
            return has_words(where.where)
        case _:
            return isinstance(where, Says)


class Unreadable(ValueError):
    """It is not of the language."""


def asked_words(param: str, text: str) -> Expression:
    """Return what a value of `_text` or `_content` asks.

    Raises:
        Unreadable: It is not of the language.
    """
    reading = _Reading(_pieces(text), WORDED[param])
    found = reading.alternatives()
    if reading.left:
        raise Unreadable
    return found


def _pieces(text: str) -> list[str]:
    found: list[str] = []
    end = 0
    for piece in _PIECES.finditer(text):
        if piece.start() != end:
            raise Unreadable  # a quotation mark without another
        end = piece.end()
        if piece["not"]:
            found.append("NOT")
        elif not piece[0].isspace():
            found.append(piece[0])
    if end != len(text):
        raise Unreadable
    return found


class _Reading:
    """Reads pieces, the next first."""

    def __init__(self, pieces: Sequence[str], params: tuple[str, ...]) -> None:
        self.left = list(reversed(pieces))
        self._params = params
        self._deep = 0

    def _next(self) -> str:
        return self.left[-1] if self.left else ""

    def alternatives(self) -> Expression:
        """Read what OR joins."""
        found = [self._all()]
        while self._next() == "OR":
            self.left.pop()
            found.append(self._all())
        return found[0] if len(found) == 1 else Or(tuple(found))

    def _all(self) -> Expression:
        found = [self._one()]
        while self.left and self._next() not in {"OR", ")"}:
            if self._next() == "AND":
                self.left.pop()
            found.append(self._one())
        return found[0] if len(found) == 1 else And(tuple(found))

    def _one(self) -> Expression:
        if not self.left:
            raise Unreadable
        piece = self.left.pop()
        if piece == "NOT":
            return Not(self._inner(self._one))
        if piece == "(":
            found = self._inner(self.alternatives)
            if self._next() != ")":
                raise Unreadable
            self.left.pop()
            return found
        if piece == ")" or piece in _WORDS or piece.endswith("*"):
            raise Unreadable
        return self._said(words_of(piece))

    def _inner(self, read: Callable[[], Expression]) -> Expression:
        self._deep += 1
        if self._deep > MOST_DEEP:
            raise Unreadable
        found = read()
        self._deep -= 1
        return found

    def _said(self, words: list[str]) -> Expression:
        if not words:
            raise Unreadable
        found = [_in(param, words) for param in self._params]
        return found[0] if len(found) == 1 else Or(tuple(found))


def _in(param: str, words: list[str]) -> Expression:
    if len(words) == 1:
        return Says(param, words[0])
    # Each word alone is found by an index; only that they are beside one another is not.
    each = [Says(param, word) for word in dict.fromkeys(words)]
    return And((*each, Says(param, " ".join(words))))
