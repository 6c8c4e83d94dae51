"""The words of a resource, as `_text` and `_content` ask for them.

https://hl7.org/fhir/R4/search.html#content

A word is a run of letters and digits, folded as names are (`fold.py`) and cut at LONGEST. The
words of the narrative are kept apart from those of the rest, which are all elements of the types
string and markdown at any depth, the codes of Codings and inner narratives: identifiers, contact
points and extensions too. URIs, ids and references lead to something and say nothing; what has one
of a few codes (status, gender, units) would be a row of every resource for a word that finds half
of them, and has a parameter, as numbers and times have. `meta` has labels that not everybody is
shown, and a Patient the numbers and extensions by which one facility knows it (MA_BN): these are
left out for all.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any, Final

from fhir_server.model import definitions
from fhir_server.model.identifiers import (
    BHXH,
    BHYT,
    CCCD,
    CMND,
    MA_BN,
    PAPER,
    PASSPORT,
    identified,
)
from fhir_server.search.fold import fold
from fhir_server.search.values import CONTENT, NARRATIVE, TextValue

LONGEST: Final = 60
"""Of a longer word so many characters are compared."""
MOST: Final = 5_000
"""So many words of a narrative are looked for, and as many of the rest, the first: each takes a row
or a key, and somebody may write millions.
"""
_LONGEST_TEXT: Final = MOST * 20
"""Characters of one text in which words are looked for."""
BETWEEN: Final = "|"
"""Stands between the texts of two elements: no phrase goes over it."""

_WORDS: Final = re.compile(r"[^\W_]+").findall
_SHORT: Final = 100
_SMALL: Final = 2_000
"""In a text of so many characters it is looked for what it says already."""

_COMMENT: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_INLINE: Final = re.compile(
    r"</?(?:a|abbr|acronym|b|big|cite|code|dfn|em|i|kbd|q|samp|small|span|strong|sub|sup|tt|var)"
    r"(?:\s[^<>]*)?/?>"
)
_TAG: Final = re.compile(r"<[^<>]*>")

Plan = dict[str, Any]
"""What to do with each property of a type: _TEXT, _XHTML, _ANY or the plan of its own type."""

_TEXT: Final = "text"
_XHTML: Final = "xhtml"
_ANY: Final = "any"

_LEFT_OUT: Final = frozenset({"Meta", "SampledData"})
_TEXTS: Final = frozenset({"string", "markdown"})
_NO_TEXTS: Final = frozenset({"id", "unit", "reference", "version"})
"""Properties that are strings and say nothing: of elements, Quantities, References, Codings."""
_PAPERS: Final = frozenset({CCCD, CMND, PASSPORT, PAPER, BHYT, BHXH})
"""A Patient's numbers that every facility is shown, whoever assigned them."""

_OF_FACILITIES: Final = frozenset({"identifier", "extension"})
"""What of a Patient not every facility is shown (interactions/elsewhere.py)."""

_plans: Final[dict[str, Plan]] = {}


def words_of(text: str) -> list[str]:
    """Return the words of a text, in their order.

    `words_of("Nguyễn-Văn ĐẠT")` is `["nguyen", "van", "dat"]`.
    """
    return [word[:LONGEST] for word in _WORDS(fold(text))]


def _joined(text: str) -> str:
    return " ".join(words_of(text[:_LONGEST_TEXT])[:MOST])


_kept: Final = lru_cache(maxsize=32_768)(_joined)


def words_in(text: str) -> set[str]:
    """Return the words of a TextValue's text."""
    return set(text.split()) - {BETWEEN}


def says(text: str, words: str) -> bool:
    """Return whether a TextValue's text has these words beside one another."""
    return f" {words} " in f" {text} "


def spoken(resource: dict[str, Any]) -> list[TextValue]:
    """Return the words of a resource's narrative and of the rest of it."""
    found: list[TextValue] = []
    narrative = resource.get("text")
    if type(narrative) is dict and type(narrative.get("div")) is str:
        text = _joined(_plain(narrative["div"]))
        if text:
            found.append(TextValue(NARRATIVE, text))
    texts: list[str] = []
    _gather(resource, _plan(resource["resourceType"]), texts)
    if resource["resourceType"] == "Patient":
        texts += _papers(resource)
    if texts:
        text = _united(texts)
        if text:
            found.append(TextValue(CONTENT, text))
    return found


def _papers(patient: dict[str, Any]) -> list[str]:
    """Return a Patient's numbers that are hidden from no facility."""
    return [
        one["value"]
        for one in patient.get("identifier", ())
        if type(one.get("value")) is str and _is_everybodys(one)
    ]


def _is_everybodys(identifier: dict[str, Any]) -> bool:
    system = identified(identifier)[0] or ""
    return system in _PAPERS or not ("assigner" in identifier or system.startswith(MA_BN))


def _united(texts: list[str]) -> str:
    """Return texts as one, none of them twice."""
    parts: list[str] = []
    begun, words = "", 0
    for text in dict.fromkeys(texts):
        said = _kept(text) if len(text) <= _SHORT else _joined(text)
        if not said or (len(begun) < _SMALL and says(begun, said)):
            continue
        words += said.count(" ") + 1
        if words > MOST:
            break
        parts.append(said)
        if len(begun) < _SMALL:
            begun = f"{begun} {BETWEEN} {said}"
    return f" {BETWEEN} ".join(parts)


def _plain(div: str) -> str:
    """Return the text of a narrative: only the tags of whole blocks part words."""
    bare = _COMMENT.sub(" ", div) if "<!--" in div else div
    return html.unescape(_TAG.sub(" ", _INLINE.sub("", bare)))


# --- gathering ---------------------------------------------------------------------------------


def _plan(kind: str) -> Plan:
    found = _plans.get(kind)
    if found is None:
        found = _laid(kind, {})
        text = definitions.properties(kind).get("text")
        if text is not None and text.type == "Narrative":
            found = {name: step for name, step in found.items() if name != "text"}
        if kind == "Patient":
            found = {name: step for name, step in found.items() if name not in _OF_FACILITIES}
        _plans[kind] = found
    return found


def _laid(kind: str, made: dict[str, Plan]) -> Plan:
    """Return the plan of a type; types hold themselves, so `made` has those that are begun."""
    if kind in made:
        return made[kind]
    plan = made[kind] = {}
    for name, found in definitions.properties(kind).items():
        if found.type in _TEXTS:
            if name not in _NO_TEXTS:
                plan[name] = _TEXT
        elif (kind, name) == ("Coding", "code"):
            plan[name] = _TEXT
        elif found.type == "xhtml":
            plan[name] = _XHTML
        elif found.type == "Resource":
            plan[name] = _ANY
        elif not found.is_primitive and found.type not in _LEFT_OUT:
            plan[name] = _laid(found.type, made)
        if found.is_primitive:
            plan[f"_{name}"] = {"extension": _laid("Extension", made)}
    return plan


def _gather(value: dict[str, Any], plan: Plan, texts: list[str]) -> None:
    for name, found in value.items():
        step = plan.get(name)
        if step is not None:
            if type(found) is list:
                for one in found:
                    _take(one, step, texts)
            else:
                _take(found, step, texts)


def _take(value: Any, step: Any, texts: list[str]) -> None:
    if type(value) is str:
        texts.append(value if step is _TEXT else _plain(value))
    elif type(value) is dict:
        if step is not _ANY:
            _gather(value, step, texts)
            return
        _gather(value, _plan(value["resourceType"]), texts)
        inner = value.get("text")
        if type(inner) is dict and type(inner.get("div")) is str:
            texts.append(_plain(inner["div"]))
