r"""Regular expressions, read: what `matches` and `replaceMatches` take.

http://hl7.org/fhirpath/N1/#matchesregex--string--boolean recommends the dialect of
https://www.w3.org/TR/xmlschema11-2/#regexs; this is what that and PCRE have in common, and of PCRE
`^ $ \b \B`, lazy quantifiers, `(?:..)`, `(?<name>..)`, `(?=..)`, `(?!..)`, and `(?ims)` at the
start.
Back references, look-behind and possessive quantifiers are refused: no engine with them is sure to
end in time.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fhir_server.model.fhirpath.errors import FhirPathError

MAX_REGEX: Final = 4000
"""Characters of a regular expression."""

MAX_PROGRAM: Final = 5000
"""Instructions; `{m,n}` is written out."""

MAX_NESTING: Final = 50
_MAX_REPEAT: Final = 1000
_KNOWN: Final = 256

Test = Callable[[str], bool]


@dataclass(slots=True)
class CharSet:
    r"""Which characters may stand at one place.

    Attributes:
        ranges: First and last character.
        tests: Classes such as `\d`.
        is_negated: It holds all others.
        ignores_case: A character is in it if its capital or small form is.
    """

    ranges: list[tuple[str, str]] = field(default_factory=list)
    tests: list[Test] = field(default_factory=list)
    is_negated: bool = False
    ignores_case: bool = False
    known: dict[str, bool] = field(default_factory=dict)

    def __contains__(self, char: str) -> bool:
        """Whether a character is in it."""
        found = self.known.get(char)
        if found is None:
            forms = {char, char.lower(), char.upper()} if self.ignores_case else {char}
            is_in = any(
                any(low <= form <= high for low, high in self.ranges)
                or any(test(form) for test in self.tests)
                for form in forms
            )
            found = is_in != self.is_negated
            if len(self.known) < _KNOWN:
                self.known[char] = found
        return found


@dataclass(frozen=True, slots=True)
class One:
    """One character of a set."""

    chars: CharSet


@dataclass(frozen=True, slots=True)
class Series:
    """One after the other."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several, the first that fits."""

    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part several times; `most` None is without end."""

    part: Part
    least: int
    most: int | None
    is_greedy: bool


@dataclass(frozen=True, slots=True)
class Group:
    """A group that is remembered."""

    part: Part
    index: int


@dataclass(frozen=True, slots=True)
class Assertion:
    """`start`, `end`, `line-start`, `line-end`, `word` or `not-word`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Look:
    """What must, or must not, follow."""

    part: Part
    is_negated: bool


Part = One | Series | Choice | Repeat | Group | Assertion | Look


def _is_word(char: str) -> bool:
    return char == "_" or char.isalnum()


def _not(test: Test) -> Test:
    return lambda char: not test(char)


_CLASSES: Final[dict[str, Test]] = {
    "d": str.isdecimal,
    "w": _is_word,
    "s": str.isspace,
    "i": lambda char: char in "_:" or char.isalpha(),
    "c": lambda char: char in "_:-." or char.isalnum(),
}
_CONTROLS: Final = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "0": "\0", "e": "\x1b"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_CATEGORIES: Final = frozenset({
    "L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc",
    "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C",
    "Cc", "Cf", "Co", "Cn",
})  # fmt: skip


def refused(reason: str) -> FhirPathError:
    """Return the refusal of a regular expression."""
    return FhirPathError(f"The regular expression {reason}.")


@dataclass(frozen=True, slots=True)
class Syntax:
    """A regular expression, read: its tree, how many groups it has, and the names of some."""

    part: Part
    groups: int
    names: dict[str, int]


def parse(regex: str) -> Syntax:
    """Return a regular expression, read.

    Raises:
        FhirPathError: It is none, or not supported (`execution`), or too long (`too-costly`).
    """
    parser = _Parser(regex)
    return Syntax(parser.parse(), parser.groups, parser.names)


class _Parser:
    """One regular expression, from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > MAX_REGEX:
            raise FhirPathError("The regular expression is too long.", kind="too-costly")
        self.text = text
        self.at = 0
        self.depth = 0
        self.groups = 0
        self.names: dict[str, int] = {}
        self.flags: set[str] = set()

    def parse(self) -> Part:
        if self.text.startswith("(?") and (end := self.text.find(")")) > 0:
            flags = self.text[2:end]
            if flags and set(flags) <= set("ims"):
                self.flags = set(flags)
                self.at = end + 1
        found = self.choice()
        if self.at < len(self.text):
            raise refused("has a bracket too many")
        return found

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def skip(self, text: str) -> bool:
        if self.text.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def choice(self) -> Part:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise FhirPathError("The regular expression is nested too deeply.", kind="too-costly")
        parts = [self.sequence()]
        while self.skip("|"):
            parts.append(self.sequence())
        self.depth -= 1
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence(self) -> Part:
        parts = []
        while self.peek() not in {"", "|", ")"}:
            parts.append(self.repeated(self.atom()))
        return Series(tuple(parts))

    def repeated(self, part: Part) -> Part:
        bounds = self.bounds()
        if bounds is None:
            return part
        if isinstance(part, (Assertion, Look)):
            raise refused("repeats what has no length")
        is_greedy = not self.skip("?")
        if self.peek() == "+" or self.peek() == "*" or self.peek() == "?":
            raise refused("repeats a repetition")
        return Repeat(part, *bounds, is_greedy)

    def bounds(self) -> tuple[int, int | None] | None:
        for sign, found in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.skip(sign):
                return found
        if self.peek() != "{":
            return None
        end = self.text.find("}", self.at)
        least, comma, most = self.text[self.at + 1 : max(end, 0)].partition(",")
        if not least.isdecimal() or not (most.isdecimal() or not most):
            return None  # PCRE: a brace that counts nothing is itself
        self.at = end + 1
        low = int(least[:9])
        high = low if not comma else int(most[:9]) if most else None
        if low > _MAX_REPEAT or (high or 0) > _MAX_REPEAT:
            raise FhirPathError("The regular expression repeats too often.", kind="too-costly")
        if high is not None and high < low:
            raise refused("repeats less often at the most than at the least")
        return low, high

    def atom(self) -> Part:
        char = self.take()
        match char:
            case "(":
                return self.group()
            case "[":
                return One(self.char_class())
            case ".":
                # FHIRPath: “single line” mode, in which a dot is a line feed, too.
                return One(CharSet(is_negated=True))
            case "^":
                return Assertion("line-start" if "m" in self.flags else "start")
            case "$":
                return Assertion("line-end" if "m" in self.flags else "end")
            case "\\":
                return self.escape()
            case "*" | "+" | "?":
                raise refused("repeats nothing")
            case _:
                return self.one(char)

    def one(self, char: str) -> One:
        return One(CharSet([(char, char)], ignores_case="i" in self.flags))

    def group(self) -> Part:
        if not self.skip("?"):
            return self.remembered()
        if self.skip(":"):
            return self.closed(lambda part: part)
        if self.skip("="):
            return self.closed(lambda part: Look(part, is_negated=False))
        if self.skip("!"):
            return self.closed(lambda part: Look(part, is_negated=True))
        self.skip("P")
        if self.skip("<") and self.peek() not in {"=", "!"}:
            end = self.text.find(">", self.at)
            name = self.text[self.at : max(end, self.at)]
            if not name.isidentifier():
                raise refused("has a group without a name")
            self.at = end + 1
            self.names[name] = self.groups + 1
            return self.remembered()
        raise refused("has a kind of group that is not supported")

    def remembered(self) -> Part:
        self.groups += 1
        index = self.groups
        return self.closed(lambda part: Group(part, index))

    def closed(self, make: Callable[[Part], Part]) -> Part:
        part = self.choice()
        if not self.skip(")"):
            raise refused("has a bracket without an end")
        return make(part)

    def escape(self) -> Part:
        char = self.take()
        if char == "b":
            return Assertion("word")
        if char == "B":
            return Assertion("not-word")
        if char in {"A", "z", "Z"}:
            return Assertion("start" if char == "A" else "end")
        found = self.escaped(char)
        return self.one(found) if isinstance(found, str) else One(CharSet(tests=[found]))

    def escaped(self, char: str) -> str | Test:
        """Return the character, or the class, that stands behind a backslash."""
        if char.lower() in _CLASSES and char.isalpha():
            test = _CLASSES[char.lower()]
            return test if char.islower() else _not(test)
        if char in {"p", "P"}:
            return self.category(is_negated=char == "P")
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char in {"x", "u"}:
            size = 2 if char == "x" else 4
            digits = self.text[self.at : self.at + size]
            self.at += size
            if len(digits) < size or not set(digits) <= _HEX:
                raise refused("has a character number that is none")
            return chr(int(digits, 16))
        if not char or char.isalnum():
            raise refused("has a backslash before what it does not escape")
        return char

    def category(self, *, is_negated: bool) -> Test:
        if not self.skip("{") or (end := self.text.find("}", self.at)) < 0:
            raise refused("has a category without braces")
        name = self.text[self.at : end]
        self.at = end + 1
        if name not in _CATEGORIES:
            raise refused("has a category that there is not")

        def test(char: str) -> bool:
            return unicodedata.category(char).startswith(name)

        return _not(test) if is_negated else test

    def char_class(self) -> CharSet:
        found = CharSet(is_negated=self.skip("^"), ignores_case="i" in self.flags)
        is_first = True
        while is_first or self.peek() != "]":
            is_first = False
            low = self.class_item()
            if not isinstance(low, str):
                found.tests.append(low)
                continue
            high: str | Test = low
            if self.peek() == "-" and self.text[self.at + 1 : self.at + 2] not in {"]", ""}:
                self.take()
                high = self.class_item()
            if not isinstance(high, str) or high < low:
                raise refused("has a range that is none")
            found.ranges.append((low, high))
        self.take()
        return found

    def class_item(self) -> str | Test:
        char = self.take()
        if not char:
            raise refused("has a class without an end")
        if char != "\\":
            return char
        char = self.take()
        return "\b" if char == "b" else self.escaped(char)
