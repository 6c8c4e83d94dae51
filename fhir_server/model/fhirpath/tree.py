"""The syntax tree of an expression.

http://hl7.org/fhirpath/N1/#formal-syntax

Every node that begins with another expression has it as `first`: so `a.b.c` and `a or b or c`,
which may be very long, are walked in a loop; only what stands in brackets is walked by recursion.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, Literal

from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment

Value = bool | int | Decimal | str | Moment | Quantity
"""A value of one of FHIRPath's own types: Boolean, Integer, Decimal, String, a moment, Quantity."""

Operator = Literal[
    "*", "/", "div", "mod", "+", "-", "&", "|", "<=", "<", ">", ">=", "=", "~", "!=", "!~",
    "in", "contains", "and", "or", "xor", "implies",
]  # fmt: skip

PRECEDENCE: Final[dict[str, int]] = {
    word: level
    for level, words in enumerate(
        (
            "implies", "or xor", "and", "in contains", "= ~ != !~", "<= < > >=", "|", "is as",
            "+ - &", "* / div mod",
        ),
        start=1,
    )
    for word in words.split()
}  # fmt: skip
"""How tightly each operator binds; all bind to the left."""

POLARITY: Final = max(PRECEDENCE.values()) + 1
"""Of a sign before an expression: tighter than every operator, looser than a dot."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that is written out; `{}` is none."""

    value: Value | None
    position: int = field(default=0, compare=False)

    @property
    def first(self) -> None:
        """Nothing stands before it."""


@dataclass(frozen=True, slots=True)
class External:
    """A variable of the environment: `%ucum`."""

    name: str
    position: int = field(default=0, compare=False)

    @property
    def first(self) -> None:
        """Nothing stands before it."""


@dataclass(frozen=True, slots=True)
class Special:
    """`$this`, `$index` or `$total`; behind a dot, too, as the grammar has it."""

    name: Literal["this", "index", "total"]
    first: Tree | None = None
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Member:
    """The elements of a name, or the type that the context is of: `Patient`, `name.given`."""

    first: Tree | None
    name: str
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A function: `where(use = 'official')`."""

    first: Tree | None
    name: str
    arguments: tuple[Tree, ...] = ()
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Indexer:
    """One item of a collection: `name[0]`."""

    first: Tree
    index: Tree
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Polarity:
    """A sign: `-1`."""

    sign: Literal["+", "-"]
    operand: Tree
    position: int = field(default=0, compare=False)

    @property
    def first(self) -> None:
        """Its operand is walked by recursion: `- - 1` is not written a thousand times."""


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two expressions."""

    operator: Operator
    first: Tree
    right: Tree
    position: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class TypeOperation:
    """`is` or `as`, and the type's name with the namespace before it, where it is written."""

    operator: Literal["is", "as"]
    first: Tree
    type_name: tuple[str, ...]
    position: int = field(default=0, compare=False)


Tree = Constant | External | Special | Member | Call | Indexer | Polarity | Binary | TypeOperation


def spine(tree: Tree) -> list[Tree]:
    """Return a tree's nodes from the one that begins it to itself, each the next one's `first`."""
    found = [tree]
    while (before := found[-1].first) is not None:
        found.append(before)
    found.reverse()
    return found
