"""The text of a `_filter` as a tree: tests, joined and denied, each with the place where it stands.

https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, NoReturn

import msgspec

from fhir_server.model.outcome import InvalidValue, TooCostly

OPERATORS: Final = frozenset({
    "eq", "ne", "co", "sw", "ew", "gt", "lt", "ge", "le", "ap", "sa", "eb", "pr", "po",
    "ss", "sb", "in", "ni", "re",
})  # fmt: skip
MAX_HEIGHT: Final = 20
"""So many tests, brackets and changes between `and` and `or` stand inside one another at most."""

_SPACE: Final = re.compile(r"\s*")
_STEP: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_-]*)(?::([A-Za-z-]*))?", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z]+", re.ASCII)
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
# A `+` that was not escaped in the URL arrives as a space.
_ZONED: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+ \d\d:\d\d(?![^\s)\]])", re.ASCII)
_TYPE: Final = re.compile(r"\s*[A-Z][A-Za-z]*\s*\]", re.ASCII)
_TOKEN: Final = re.compile(r"[^\s)\]]+")

_EXPECTED: Final[dict[str, str]] = {
    "a search parameter, not or ( is expected": "cần một tham số tìm kiếm, not hoặc (",
    "an operator such as eq is expected": "cần một toán tử như eq",
    "white space is expected": "cần khoảng trắng",
    "a value is expected": "cần một giá trị",
    "a string is a JSON string": "chuỗi phải là một chuỗi JSON",
    "and, or, or the end is expected": "cần and, or hoặc kết thúc",
    "a closing ) is expected": "cần dấu đóng )",
    "a closing ] is expected": "cần dấu đóng ]",
    "a filter is expected in brackets; a type is named as in subject:Patient.name": (
        "trong ngoặc vuông cần một bộ lọc; loại tài nguyên được nêu như subject:Patient.name"
    ),
    "a . and a name are expected behind ]": "cần dấu . và một tên sau dấu ]",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One name of a path: `subject`, `subject:Patient`, `subject[active eq true]`."""

    name: str
    kind: str
    within: Tree | None
    at: int


@dataclass(frozen=True, slots=True)
class Test:
    """A path, an operator and a value; a string in quotes is told from a token."""

    path: tuple[Step, ...]
    operator: str
    value: str
    at: int
    value_at: int
    height: int = 1

    @property
    def name(self) -> str:
        """The path as it may be told back."""
        return ".".join(step.name for step in self.path)


@dataclass(frozen=True, slots=True)
class Joined:
    """All of these, or any of them."""

    word: Literal["and", "or"]
    parts: tuple[Tree, ...]
    height: int


@dataclass(frozen=True, slots=True)
class Denied:
    """Not this."""

    part: Tree
    height: int


Tree = Test | Joined | Denied


def place(at: int) -> tuple[str, str]:
    """Return how a place in a filter is told, in English and Vietnamese."""
    return f"_filter, character {at + 1}", f"_filter, ký tự thứ {at + 1}"


def parse_filter(text: str) -> Tree:
    """Return what a filter says.

    Raises:
        InvalidValue: It is not one; the error says where.
        TooCostly: It is nested more deeply than a search may be.
    """
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def whole(self) -> Tree:
        found = self._joined(0)
        self._skip()
        if self._at < len(self._text):
            self._refuse("and, or, or the end is expected")
        return found

    def _joined(self, depth: int) -> Tree:
        """Read operands joined by `and` and `or`, which have no order but from left to right."""
        if depth > MAX_HEIGHT:
            raise _too_high()
        found = self._operand(depth)
        word: str | None = None
        parts = [found]
        while following := self._conjunction():
            if word not in {None, following}:
                parts = [_together(word, parts)]
            word = following
            parts.append(self._operand(depth))
        return _together(word, parts)

    def _operand(self, depth: int) -> Tree:
        self._skip()
        if self._take("("):
            return self._inside(depth)
        start = self._at
        word = self._match(_WORD)
        if word.lower() == "not":
            self._skip()
            if self._take("("):
                part = self._inside(depth)
                return Denied(part, _higher(part.height))
        self._at = start
        return self._test(depth)

    def _inside(self, depth: int) -> Tree:
        found = self._joined(depth + 1)
        self._skip()
        if not self._take(")"):
            self._refuse("a closing ) is expected")
        return found

    def _conjunction(self) -> Literal["and", "or"] | None:
        self._skip()
        start = self._at
        match self._match(_WORD).lower():
            case "and":
                return "and"
            case "or":
                return "or"
            case _:
                self._at = start
                return None

    def _test(self, depth: int) -> Test:
        at = self._at
        path = self._path(depth)
        self._space()
        operator_at = self._at
        operator = self._match(_WORD).lower()
        if operator not in OPERATORS:
            self._at = operator_at
            self._refuse("an operator such as eq is expected")
        self._space()
        value_at = self._at
        value = self._value()
        height = 1 + max((step.within.height for step in path if step.within), default=0)
        return Test(path, operator, value, at, value_at, _higher(height - 1))

    def _path(self, depth: int) -> tuple[Step, ...]:
        steps: list[Step] = []
        while True:
            at = self._at
            found = _STEP.match(self._text, self._at)
            if found is None:
                self._refuse("a search parameter, not or ( is expected")
            self._at = found.end()
            within = None
            if self._take("["):
                if _TYPE.match(self._text, self._at):
                    # R4's grammar: paramPath = paramName (("[" filter "]") "." paramPath)
                    self._refuse(
                        "a filter is expected in brackets; "
                        "a type is named as in subject:Patient.name"
                    )
                within = self._joined(depth + 1)
                self._skip()
                if not self._take("]"):
                    self._refuse("a closing ] is expected")
                if not self._text.startswith(".", self._at):
                    self._refuse("a . and a name are expected behind ]")
            steps.append(Step(found[1], found[2] or "", within, at))
            if not self._take("."):
                return tuple(steps)

    def _value(self) -> str:
        start = self._at
        if self._text.startswith('"', start):
            raw = self._match(_STRING)
            try:
                value: str = msgspec.json.decode(raw.encode("utf-8", "surrogatepass"), type=str)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._at = start
                self._refuse("a string is a JSON string")
        else:
            value = self._match(_ZONED) or self._match(_TOKEN)
        if not value:
            self._at = start
            self._refuse("a value is expected")
        if self._at < len(self._text) and self._text[self._at] not in ")]":
            self._space()
        return value

    def _match(self, form: re.Pattern[str]) -> str:
        found = form.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found[0]

    def _take(self, sign: str) -> bool:
        if not self._text.startswith(sign, self._at):
            return False
        self._at += len(sign)
        return True

    def _skip(self) -> None:
        self._match(_SPACE)

    def _space(self) -> None:
        if not self._match(_SPACE):
            self._refuse("white space is expected")

    def _refuse(self, expected: str) -> NoReturn:
        english, vietnamese = place(self._at)
        raise InvalidValue(
            f"The filter cannot be read ({english}): {expected}.",
            text_vi=f"Không đọc được bộ lọc ({vietnamese}): {_EXPECTED[expected]}.",
        )


def _together(word: str | None, parts: list[Tree]) -> Tree:
    if word is None or len(parts) == 1:
        return parts[0]
    height = _higher(max(part.height for part in parts))
    return Joined("and" if word == "and" else "or", tuple(parts), height)


def _higher(height: int) -> int:
    if height >= MAX_HEIGHT:
        raise _too_high()
    return height + 1


def _too_high() -> TooCostly:
    return TooCostly(
        f"A filter may have {MAX_HEIGHT} levels at most, one inside another.",
        text_vi=f"Bộ lọc có nhiều nhất {MAX_HEIGHT} mức lồng nhau.",
    )
