"""Expression text to tokens.

http://hl7.org/fhirpath/N1/#lexical-elements
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from fhir_server.model.fhirpath import temporal
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.temporal import Moment

TokenKind = Literal["name", "quoted", "string", "number", "moment", "special", "symbol", "end"]

MAX_LENGTH: Final = 20_000
"""Characters of an expression; HL7's longest has 1,000."""

MAX_DIGITS: Final = 100
"""Of a number that is written out."""

_TOKEN: Final = re.compile(
    r"""
      (?P<space>(?:[ \t\r\n]+|//[^\r\n]*|/\*.*?\*/)+)
    | (?P<moment>@(?:T[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?
        | [0-9]{4}(?:-[0-9]{2}(?:-[0-9]{2})?)?
          (?:T(?:[0-9]{2}(?::[0-9]{2}(?::[0-9]{2}(?:\.[0-9]+)?)?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?)?)?))
    | (?P<number>[0-9]+(?:\.[0-9]+)?)
    | (?P<string>'(?:[^'\\]|\\.)*')
    | (?P<quoted>`(?:[^`\\]|\\.)*`)
    | (?P<special>\$(?:this|index|total)(?![A-Za-z0-9_]))
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<symbol><=|>=|!=|!~|[-+*/&|<>=~.,()\[\]{}%])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE: Final = re.compile(r"\\(u[0-9a-fA-F]{4}|.)", re.DOTALL)
_ESCAPED: Final = {
    "`": "`", "'": "'", '"': '"', "\\": "\\", "/": "/",
    "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Token:
    """A token: its text (of a string or quoted name what it says), and where it begins."""

    kind: TokenKind
    text: str
    position: int
    value: int | Decimal | Moment | None = None


def tokens(text: str) -> list[Token]:
    """Return the tokens of an expression, and one for its end.

    Raises:
        FhirPathError: A character, string, comment, date or escape is not FHIRPath, or it is too
            long.
    """
    if len(text) > MAX_LENGTH:
        message = f"The expression is longer than {MAX_LENGTH} characters."
        raise FhirPathError(message, kind="too-costly")
    found = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refused(text, at)
        if match.lastgroup != "space":
            found.append(_token(match))
        at = match.end()
    found.append(Token("end", "", at))
    return found


def _refused(text: str, at: int) -> FhirPathError:
    what = {"'": "A string has no end", "`": "A quoted name has no end", "@": "A date is none"}
    reason = what.get(text[at], "A character stands where none of its kind may stand")
    return syntax_error(reason, at)


def syntax_error(reason: str, position: int) -> FhirPathError:
    """Return the refusal of an expression that is not FHIRPath."""
    text = f"{reason}, at character {position + 1} of the expression."
    return FhirPathError(text, kind="syntax", position=position)


def _token(match: re.Match[str]) -> Token:
    text, position = match.group(), match.start()
    match match.lastgroup:
        case "moment":
            return Token("moment", text, position, _moment(text, position))
        case "number":
            if len(text) > MAX_DIGITS:
                raise syntax_error("A number has too many digits", position)
            return Token("number", text, position, Decimal(text) if "." in text else int(text))
        case "string":
            return Token("string", _unescaped(text[1:-1], position), position)
        case "quoted":
            return Token("quoted", _unescaped(text[1:-1], position), position)
        case "special":
            return Token("special", text[1:], position)
        case "name":
            return Token("name", text, position)
        case _:
            if text == "/" and match.string.startswith("/*", position):
                raise syntax_error("A comment has no end", position)
            return Token("symbol", text, position)


def _moment(text: str, position: int) -> Moment:
    kind: temporal.Kind = "Time" if text[1] == "T" else "DateTime" if "T" in text else "Date"
    found = temporal.parse(text[1:], kind)
    if found is None:
        raise syntax_error("A date or time is none", position)
    return found


def _unescaped(text: str, position: int) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        escape = match[1]
        if len(escape) > 1:
            return chr(int(escape[1:], 16))
        if escape not in _ESCAPED:
            raise syntax_error("A backslash stands before what it does not escape", position)
        return _ESCAPED[escape]

    return _ESCAPE.sub(plain, text)
