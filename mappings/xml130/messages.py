"""What each finding says: its weight, its rule, and a whole sentence in both languages.

No sentence holds a value of the dossier: a receipt names the field and the form that was expected.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from mappings.xml130.record import RecordIssue
from mappings.xml130.sentences import CHECKS, ENVELOPE, FORMS

_SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_.\[\]]{1,80}")


class Sentence(NamedTuple):
    """A finding's weight, rule and texts; `{f}` stands for the field's path."""

    severity: Literal["error", "warning"]
    rule: str
    english: str
    vietnamese: str


SENTENCES: Final[dict[str, Sentence]] = {
    key: Sentence("error" if weight == "E" else "warning", rule, english, vietnamese)
    for key, (weight, rule, english, vietnamese) in {**ENVELOPE, **FORMS, **CHECKS}.items()
}
"""Every finding that a dossier can have, by key."""


def say(key: str, path: str, **words: str | int) -> RecordIssue:
    """Return the finding `key` about the field at `path`."""
    sentence = SENTENCES[key]
    shown = path if _SAFE_NAME.fullmatch(path) else "?"
    return RecordIssue(
        sentence.severity,
        sentence.rule,
        shown,
        sentence.english.format(f=shown, **words),
        sentence.vietnamese.format(f=shown, **words),
    )
