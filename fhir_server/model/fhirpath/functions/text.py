"""Functions on strings.

http://hl7.org/fhirpath/N1/#string-manipulation; `encode`, `decode`, `escape`, `unescape`, `trim`,
`split`, `join`, `lastIndexOf` and `matchesFull` came after N1.
"""

from __future__ import annotations

import binascii
import html
import re
from base64 import b64decode, b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from fhir_server.model import codec
from fhir_server.model.fhirpath import pattern
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item
from fhir_server.model.outcome import Malformed


def _on_string(work: Callable[[str], Item | None]) -> Function:
    """Return the function of one string without arguments."""

    def run(call: Invocation) -> list[Item]:
        text = call.text()
        if text is None:
            return []
        call.evaluation.work.spend_text(len(text))
        found = work(text)
        return [] if found is None else [found]

    return run


def _with_string(work: Callable[[str, str], Item | None]) -> Function:
    """Return the function of one string with another as its argument."""

    def run(call: Invocation) -> list[Item]:
        text, other = call.text(), call.text_argument()
        if text is None or other is None:
            return []
        call.evaluation.work.spend_text(len(text))
        found = work(text, other)
        return [] if found is None else [found]

    return run


def substring(call: Invocation) -> list[Item]:
    """`substring(start [, length]) : String`."""
    text, start = call.text(), call.integer_argument()
    if text is None or start is None or not 0 <= start < len(text):
        return []
    length = call.integer_argument(1)
    if length is None:
        return [text[start:]]
    return [text[start : start + max(length, 0)]]


def replace(call: Invocation) -> list[Item]:
    """`replace(pattern, substitution) : String`."""
    text, sought, put = call.text(), call.text_argument(), call.text_argument(1)
    if text is None or sought is None or put is None:
        return []
    work = call.evaluation.work
    work.spend_text(len(text))
    many = text.count(sought)
    work.spend_text(len(text) + many * (len(put) - len(sought)))
    return [text.replace(sought, put)]


def matches(call: Invocation) -> list[Item]:
    """`matches(regex) : Boolean`: the expression is found somewhere in the string."""
    text, regex = call.text(), call.text_argument()
    if text is None or regex is None:
        return []
    return [pattern.compiled(regex).search(text, call.evaluation.work) is not None]


def matches_full(call: Invocation) -> list[Item]:
    """`matchesFull(regex) : Boolean`: the whole string is what the expression describes."""
    text, regex = call.text(), call.text_argument()
    if text is None or regex is None:
        return []
    return [pattern.compiled(f"^(?:{regex})$").search(text, call.evaluation.work) is not None]


def replace_matches(call: Invocation) -> list[Item]:
    """`replaceMatches(regex, substitution) : String`: `$1` and `${name}` are groups."""
    text, regex, put = call.text(), call.text_argument(), call.text_argument(1)
    if text is None or regex is None or put is None:
        return []
    if not regex:
        return [text]  # HL7's case testReplaceMatches2
    return [pattern.compiled(regex).replace(text, put, call.evaluation.work)]


def to_chars(call: Invocation) -> list[Item]:
    """`toChars() : collection`."""
    text = call.text()
    return [] if text is None else list(text)


def split(call: Invocation) -> list[Item]:
    """`split(separator) : collection`."""
    text, separator = call.text(), call.text_argument()
    if text is None or separator is None:
        return []
    call.evaluation.work.spend_text(len(text))
    return list(text.split(separator)) if separator else list(text)


def join(call: Invocation) -> list[Item]:
    """`join([separator]) : String`."""
    separator = call.text_argument() or ""
    texts = []
    for one in call.focus:
        text = Invocation(call.evaluation, call.name, [one], (), call.scope).text()
        if text is not None:
            texts.append(text)
    if not texts:
        return []
    call.evaluation.work.spend_text(sum(map(len, texts)) + len(separator) * len(texts))
    return [separator.join(texts)]


def _decoded(text: str, decode: Callable[[str], bytes]) -> str | None:
    try:
        return decode(text).decode()
    except (ValueError, binascii.Error):
        return None


_ENCODERS: Final[dict[str, Callable[[str], str]]] = {
    "base64": lambda text: b64encode(text.encode()).decode(),
    "urlbase64": lambda text: urlsafe_b64encode(text.encode()).decode(),
    "hex": lambda text: text.encode().hex(),
}
_DECODERS: Final[dict[str, Callable[[str], str | None]]] = {
    "base64": lambda text: _decoded(text, lambda data: b64decode(data, validate=True)),
    "urlbase64": lambda text: _decoded(text, urlsafe_b64decode),
    "hex": lambda text: _decoded(text, bytes.fromhex),
}


_BARE_QUOTE: Final = re.compile(r'(?<!\\)"').sub


def _unescaped_json(text: str) -> str | None:
    quoted = _BARE_QUOTE('\\\\"', text)
    try:
        found = codec.loads(f'"{quoted}"'.encode())
    except Malformed:
        return None
    return found if isinstance(found, str) else None


_ESCAPES: Final[dict[str, Callable[[str], str]]] = {
    "html": lambda text: html.escape(text, quote=True),
    "json": lambda text: codec.dumps(text).decode()[1:-1],
}
_UNESCAPES: Final[dict[str, Callable[[str], str | None]]] = {
    "html": html.unescape,
    "json": _unescaped_json,
}


def _by_format(
    table: dict[str, Callable[[str], str]] | dict[str, Callable[[str], str | None]],
) -> Function:
    """Return the function that does to a string what the table has for a format."""

    def run(text: str, name: str) -> str | None:
        if name not in table:
            raise FhirPathError("The expression names a format that is not known.")
        return table[name](text)

    return _with_string(run)


FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "indexOf": (1, 1, _with_string(str.find)),
    "lastIndexOf": (1, 1, _with_string(str.rfind)),
    "substring": (1, 2, substring),
    "startsWith": (1, 1, _with_string(str.startswith)),
    "endsWith": (1, 1, _with_string(str.endswith)),
    "contains": (1, 1, _with_string(lambda text, other: other in text)),
    "upper": (0, 0, _on_string(str.upper)),
    "lower": (0, 0, _on_string(str.lower)),
    "replace": (2, 2, replace),
    "matches": (1, 1, matches),
    "matchesFull": (1, 1, matches_full),
    "replaceMatches": (2, 2, replace_matches),
    "length": (0, 0, _on_string(len)),
    "toChars": (0, 0, to_chars),
    "trim": (0, 0, _on_string(str.strip)),
    "split": (1, 1, split),
    "join": (0, 1, join),
    "encode": (1, 1, _by_format(_ENCODERS)),
    "decode": (1, 1, _by_format(_DECODERS)),
    "escape": (1, 1, _by_format(_ESCAPES)),
    "unescape": (1, 1, _by_format(_UNESCAPES)),
}
"""The fewest and the most arguments, and the function."""
