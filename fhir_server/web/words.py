"""The pages' words in Vietnamese and English, and how each writes days and ages."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from importlib import resources
from typing import Any, Final, Literal

Language = Literal["vi", "en"]

_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_IN_MONTHS_UNTIL: Final = 36
_YEAR: Final = 12


@cache
def words(language: Language) -> Mapping[str, Mapping[str, str]]:
    """Return all words of a language, by part and key."""
    path = resources.files("fhir_server.web").joinpath("i18n", f"{language}.toml")
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Speech:
    """How a page speaks: one language's words, days, ages and links."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._words = words(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return the text of a key, such as `page.book`, with its places filled."""
        part, _, name = key.partition(".")
        text = self._words[part][name]
        return text.format(**values) if values else text

    def code(self, part: str, code: str, text: str) -> str:
        """Return a code's words where it is in our lists, else the text that came with it."""
        return self._words[part].get(code, text or code)

    def link(self, path: str) -> str:
        """Return a link that keeps the language."""
        return f"{path}?lang=en" if self.language == "en" else path

    def day(self, value: date | datetime | None) -> str:
        """Return a day."""
        if value is None:
            return ""
        if self.language == "en":
            return f"{value.day} {_MONTHS[value.month - 1]} {value.year}"
        return f"{value:%d/%m/%Y}"

    def time(self, value: datetime | None) -> str:
        """Return a day with the time of day; midnight is a day whose time is not known."""
        if value is None:
            return ""
        has_time = (value.hour, value.minute) != (0, 0)
        return f"{value:%H:%M}, {self.day(value)}" if has_time else self.day(value)

    def partial(self, text: str) -> str:
        """Return a birth date, of which only a year or month may be known."""
        try:
            return self.day(date.fromisoformat(text))
        except ValueError:
            return "/".join(reversed(text.split("-")))

    def age(self, born: date | None, on: date) -> str:
        """Return an age: in days, in months under three years, else in years."""
        if born is None or born > on:
            return ""
        months = (on.year - born.year) * _YEAR + on.month - born.month - (on.day < born.day)
        if months < 1:
            return self._count("day", (on - born).days)
        if months < _IN_MONTHS_UNTIL:
            return self._count("month", months)
        return self._count("year", months // _YEAR)

    def _count(self, unit: str, n: int) -> str:
        return self(f"person.{unit}" if n == 1 else f"person.{unit}s", n=n)


def language_of(query: Mapping[str, Any]) -> Language:
    """Return the language that a page is asked in: Vietnamese unless `lang=en`."""
    return "en" if query.get("lang") == "en" else "vi"
