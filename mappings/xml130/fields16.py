"""The sixteen fields as data: which they are and which of them are required."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Final


@dataclass(frozen=True, slots=True)
class Sixteenth:
    """One of the sixteen fields.

    Attributes:
        code: The decree's name, a field of XML1.
        name_vi: Its name for people.
        name_en: The same in English.
        type: Its form in words.
        required: Whether a record without it is refused.
        rule: The rules that check it.
        path: Where FHIR holds it.
    """

    code: str
    name_vi: str
    name_en: str
    type: str
    required: bool
    rule: str
    path: str


def _load() -> tuple[Sixteenth, ...]:
    data = tomllib.loads(files("mappings.xml130").joinpath("fields16.toml").read_text("utf-8"))
    return tuple(
        Sixteenth(
            row["code"],
            row["name_vi"],
            row["name_en"],
            row["type"],
            row["required"] == "Y",
            row["rule"],
            row["path"],
        )
        for row in data["field"]
    )


SIXTEEN: Final = _load()
"""The sixteen fields in the order of their table."""

REQUIRED: Final = frozenset(field.code for field in SIXTEEN if field.required)
"""Those that refuse a record when empty."""
