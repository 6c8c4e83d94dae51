"""Expression text to syntax tree: all of N1's grammar.

http://hl7.org/fhirpath/N1/grammar.html
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, Literal, cast

from fhir_server.model.fhirpath import quantity
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.lexer import Token, syntax_error, tokens
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import (
    POLARITY,
    PRECEDENCE,
    Binary,
    Call,
    Constant,
    External,
    Indexer,
    Member,
    Operator,
    Polarity,
    Special,
    Tree,
    TypeOperation,
)

MAX_DEPTH: Final = 64
"""Of brackets, arguments, signs and right operands in one another."""

RESERVED: Final = frozenset({"and", "or", "xor", "implies", "div", "mod", "true", "false"})
"""Words that name nothing unless they are quoted; `is`, `as`, `in`, `contains` may."""

_WORDS: Final = frozenset({"and", "or", "xor", "implies", "div", "mod", "is", "as", "in"}) | {
    "contains"
}
_CALENDAR: Final = frozenset(quantity.CALENDAR) | frozenset(quantity.PLURALS)


def parse(text: str) -> Tree:
    """Return the syntax tree of an expression.

    Raises:
        FhirPathError: It is not FHIRPath, or nested too deeply.
    """
    parser = _Parser(text)
    tree = parser.expression(0)
    if parser.peek().kind != "end":
        raise syntax_error("Something stands behind the end", parser.peek().position)
    return tree


class _Parser:
    """Precedence climbing: an operator takes what binds more tightly than itself."""

    def __init__(self, text: str) -> None:
        self.tokens = tokens(text)
        self.at = 0
        self.depth = 0

    def peek(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.tokens[self.at]
        if token.kind != "end":
            self.at += 1
        return token

    def is_symbol(self, text: str) -> bool:
        token = self.peek()
        return token.kind == "symbol" and token.text == text

    def skip(self, text: str) -> None:
        if not self.is_symbol(text):
            raise syntax_error(f"“{text}” is missing", self.peek().position)
        self.take()

    def expression(self, lowest: int) -> Tree:
        """Return the expression whose operators all bind more tightly than `lowest`."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise FhirPathError(
                "The expression is nested too deeply.",
                kind="too-costly",
                position=self.peek().position,
            )
        left = self.signed()
        while (operator := self.operator()) and PRECEDENCE[operator] > lowest:
            token = self.take()
            if operator in {"is", "as"}:
                name = self.type_name()
                kind = cast("Literal['is', 'as']", operator)
                left = TypeOperation(kind, left, name, token.position)
            else:
                right = self.expression(PRECEDENCE[operator])
                left = Binary(cast("Operator", operator), left, right, token.position)
        self.depth -= 1
        return left

    def operator(self) -> str | None:
        token = self.peek()
        if token.kind == "symbol" and token.text in PRECEDENCE:
            return token.text
        return token.text if token.kind == "name" and token.text in _WORDS else None

    def signed(self) -> Tree:
        token = self.peek()
        if token.kind == "symbol" and token.text in {"+", "-"}:
            self.take()
            operand = self.expression(POLARITY)
            return Polarity(cast("Literal['+', '-']", token.text), operand, token.position)
        return self.path()

    def path(self) -> Tree:
        left = self.term()
        while True:
            token = self.peek()
            if self.is_symbol("."):
                self.take()
                left = self.invocation(left)
            elif self.is_symbol("["):
                self.take()
                left = Indexer(left, self.expression(0), token.position)
                self.skip("]")
            else:
                return left

    def term(self) -> Tree:
        token = self.peek()
        match token.kind:
            case "string" | "moment":
                self.take()
                value = token.text if token.kind == "string" else cast("Moment", token.value)
                return Constant(value, token.position)
            case "number":
                return self.number()
            case "symbol":
                return self.bracketed()
            case "name" if token.text in {"true", "false"}:
                self.take()
                return Constant(token.text == "true", token.position)
            case _:
                return self.invocation(None)

    def bracketed(self) -> Tree:
        token = self.take()
        match token.text:
            case "(":
                inside = self.expression(0)
                self.skip(")")
                return inside
            case "{":
                self.skip("}")
                return Constant(None, token.position)
            case "%":
                name = self.take()
                is_plain = name.kind == "name" and name.text not in RESERVED
                if not is_plain and name.kind not in {"quoted", "string"}:
                    raise syntax_error("A variable has no name", token.position)
                return External(name.text, token.position)
            case _:
                raise syntax_error("An expression is missing", token.position)

    def number(self) -> Tree:
        token = self.take()
        value = cast("int | Decimal", token.value)
        unit = self.peek()
        is_calendar = unit.kind == "name" and unit.text in _CALENDAR
        if is_calendar or unit.kind == "string":
            self.take()
            return Constant(quantity.of(Decimal(value), unit.text), token.position)
        return Constant(value, token.position)

    def invocation(self, first: Tree | None) -> Tree:
        token = self.take()
        if token.kind == "special":
            name = cast("Literal['this', 'index', 'total']", token.text)
            return Special(name, first, token.position)
        if not _is_identifier(token):
            raise syntax_error("An expression or a name is missing", token.position)
        if not self.is_symbol("("):
            return Member(first, token.text, token.position)
        self.take()
        arguments = []
        if not self.is_symbol(")"):
            arguments.append(self.expression(0))
            while self.is_symbol(","):
                self.take()
                arguments.append(self.expression(0))
        self.skip(")")
        return Call(first, token.text, tuple(arguments), token.position)

    def type_name(self) -> tuple[str, ...]:
        names = [self.take()]
        while self.is_symbol("."):
            # `x is FHIR.Patient`; but `(x as Quantity).unit` needs its brackets.
            self.take()
            names.append(self.take())
        for token in names:
            if not _is_identifier(token):
                raise syntax_error("A type's name is missing", token.position)
        return tuple(token.text for token in names)


def _is_identifier(token: Token) -> bool:
    return token.kind == "quoted" or (token.kind == "name" and token.text not in RESERVED)
