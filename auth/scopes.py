"""SMART scopes: parse, format, cover, and what of a wish is granted.

https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from fhir_server.model.definitions import RESOURCE_TYPES

Level = Literal["patient", "user", "system"]
Letter = Literal["c", "r", "u", "d", "s"]

LETTERS: Final = "cruds"
V1: Final = {"read": "rs", "write": "cud", "*": LETTERS}
"""The words of SMART v1 and the letters of v2 that each stands for."""

_LEVELS: Final[dict[str, Level]] = {"patient": "patient", "user": "user", "system": "system"}
_RESOURCE_SCOPE: Final = re.compile(
    r"(?P<level>patient|user|system)/(?P<type>\*|[A-Z][A-Za-z]{1,63})\.(?P<may>[a-z]{1,5}|\*)"
)


@dataclass(frozen=True, slots=True)
class Scope:
    """One resource scope.

    Attributes:
        level: Whose data: one patient's, what a user may see, or what a system may.
        resource_type: A type, or `*` for all.
        letters: Of `cruds`, in that order.
    """

    level: Level
    resource_type: str
    letters: str

    def __str__(self) -> str:
        return f"{self.level}/{self.resource_type}.{self.letters}"

    def covers(self, other: Scope) -> bool:
        """Return whether all that the other allows, this one allows too."""
        return (
            self.level == other.level
            and self.resource_type in {"*", other.resource_type}
            and set(other.letters) <= set(self.letters)
        )

    def meet(self, other: Scope) -> Scope | None:
        """Return what both allow, or None."""
        letters = "".join(
            letter for letter in LETTERS if letter in self.letters and letter in other.letters
        )
        if self.level != other.level or not letters:
            return None
        if other.resource_type in (self.resource_type, "*"):
            return Scope(self.level, self.resource_type, letters)
        if self.resource_type == "*":
            return Scope(self.level, other.resource_type, letters)
        return None


@lru_cache(maxsize=4096)
def parse(text: str) -> Scope | None:
    """Return the resource scope that a word is; None where it is another word or not one.

    A scope on a type that FHIR does not have is none. One with a query
    (`patient/Observation.rs?category=…`) is none either: it would narrow, and what is not
    understood must not widen.
    """
    match = _RESOURCE_SCOPE.fullmatch(text)
    if match is None or not (match["type"] == "*" or match["type"] in RESOURCE_TYPES):
        return None
    may = match["may"]
    letters = V1.get(may, may)
    # SMART 2.2: letters come in the order of the word "cruds", each once.
    if "".join(letter for letter in LETTERS if letter in letters) != letters:
        return None
    return Scope(_LEVELS[match["level"]], match["type"], letters)


def words(text: str) -> tuple[str, ...]:
    """Return the words of a scope parameter, each once, in their order."""
    return tuple(dict.fromkeys(text.split()))


@lru_cache(maxsize=4096)
def held(scope: str, registered: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a token's `scope` still gives its client, which is registered for these."""
    return granted(words(scope), registered)


def granted(asked: Sequence[str], registered: Sequence[str]) -> tuple[str, ...]:
    """Return what of the scopes asked for a client gets, which is registered for these.

    A word that is wholly registered stays as it was written (a v1 client finds its own words
    again); of one that is partly registered the common part is granted, the rest is left out.
    """
    known = [scope for scope in map(parse, registered) if scope is not None]
    out: dict[str, None] = {}
    for word in asked:
        wish = parse(word)
        if wish is None:
            if word in registered:
                out[word] = None
        elif any(scope.covers(wish) for scope in known):
            out[word] = None
        else:
            met = (wish.meet(scope) for scope in known)
            out.update((str(scope), None) for scope in met if scope is not None)
    return tuple(out)


def is_covered(asked: Sequence[str], known: Sequence[str]) -> bool:
    """Return whether there is something asked for, and every word of it is wholly among these."""
    scopes = [scope for scope in map(parse, known) if scope is not None]
    return bool(asked) and all(
        any(scope.covers(wish) for scope in scopes) if (wish := parse(word)) else word in known
        for word in asked
    )


@lru_cache(maxsize=16384)
def allows(scopes: tuple[str, ...], level: Level, letter: Letter, resource_type: str) -> bool:
    """Return whether these scopes allow one letter on one resource type."""
    wish = Scope(level, resource_type, letter)
    return any(scope.covers(wish) for scope in map(parse, scopes) if scope is not None)


def format_scopes(scopes: Iterable[str]) -> str:
    """Return scopes as one scope parameter."""
    return " ".join(scopes)
