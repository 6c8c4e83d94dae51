"""Syntax tree to text that parses to the same tree, with no bracket more than it needs."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

from fhir_server.model.fhirpath.parser import RESERVED
from fhir_server.model.fhirpath.quantity import Quantity
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import (
    POLARITY,
    PRECEDENCE,
    Binary,
    Constant,
    External,
    Indexer,
    Member,
    Polarity,
    Special,
    Tree,
    TypeOperation,
    Value,
    spine,
)

_PATH: Final = POLARITY + 1
"""How tightly a path or literal binds: nothing ever needs to bracket it."""

_PLAIN: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_TO_ESCAPE: Final = re.compile(r"['\\`\f\n\r\t]")
_ESCAPES: Final = {"\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def show(tree: Tree) -> str:
    """Return the text of a tree."""
    text, binds = "", 0
    for node in spine(tree):
        text, binds = _shown(node, text, binds)
    return text


def _shown(node: Tree, first: str, binds: int) -> tuple[str, int]:
    """Return a node's text and how tightly it binds, given those of what it begins with."""
    match node:
        case Constant(value):
            return literal(value), _PATH
        case External(name):
            return f"%{_name(name)}", _PATH
        case Polarity(sign, operand):
            return f"{sign}{_within(operand, POLARITY)}", POLARITY
        case Binary(operator, _, right):
            level = PRECEDENCE[operator]
            left = first if binds >= level else f"({first})"
            return f"{left} {operator} {_within(right, level + 1)}", level
        case TypeOperation(operator, _, names):
            level = PRECEDENCE[operator]
            left = first if binds >= level else f"({first})"
            return f"{left} {operator} {'.'.join(map(_name, names))}", level
        case Indexer(_, index):
            return f"{_dotted(first, binds)}[{show(index)}]", _PATH
    before = f"{_dotted(first, binds)}." if node.first is not None else ""
    match node:
        case Special(name):
            return f"{before}${name}", _PATH
        case Member(_, name):
            return before + _name(name), _PATH
        case _:
            return f"{before}{_name(node.name)}({', '.join(map(show, node.arguments))})", _PATH


def _dotted(text: str, binds: int) -> str:
    return text if binds >= _PATH else f"({text})"


def _within(tree: Tree, level: int) -> str:
    """Return a tree's text, in brackets where it binds less tightly than it must."""
    text, binds = "", 0
    for node in spine(tree):
        text, binds = _shown(node, text, binds)
    return text if binds >= level else f"({text})"


def _name(name: str) -> str:
    return name if _PLAIN(name) and name not in RESERVED else f"`{_escaped(name)}`"


def _escaped(text: str) -> str:
    return _TO_ESCAPE.sub(lambda match: _ESCAPES.get(match[0], f"\\{match[0]}"), text)


def literal(value: Value | None) -> str:
    """Return a value as an expression writes it."""
    match value:
        case None:
            return "{}"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{_escaped(value)}'"
        case Decimal():
            text = format(value, "f")
            return text if "." in text else f"{text}.0"
        case Moment():
            return value.literal()
        case Quantity() if not value.is_word:
            return f"{format(value.value, 'f')} '{_escaped(value.unit)}'"
        case _:
            return str(value)
