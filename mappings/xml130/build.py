"""Build the typed record out of the raw texts that an adapter read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from mappings.xml130.messages import say
from mappings.xml130.misdecoded import is_misdecoded
from mappings.xml130.old_text import is_old_text
from mappings.xml130.read import BY_FORM, LONGEST, READERS, Flaw, Read, clean, plain_number
from mappings.xml130.record import (
    Course,
    Dossier,
    Drug,
    Record,
    Result,
    Row,
    Service,
    Summary,
)
from mappings.xml130.tables import NUMERIC, TABLES, Field

_CLASSES: Final[dict[str, type[Row]]] = {
    "XML1": Summary,
    "XML2": Drug,
    "XML3": Service,
    "XML4": Result,
    "XML5": Course,
}


class _Plan(NamedTuple):
    """How one field is read: looked up once a field, so that a row is read in one pass."""

    attribute: str
    kind: str
    read: Callable[[str], Read] | None
    by_form: bool
    longest: int


def _plan(field: Field) -> _Plan:
    kind, longest = field.kind, field.max_length or LONGEST
    if kind in {"listed", "paper"}:
        longest = LONGEST  # judged by their own rules alone
    elif kind in BY_FORM - {"icds", "days", *NUMERIC}:
        longest = LONGEST  # their form is their length
    return _Plan(field.name.lower(), kind, READERS.get(kind), kind in BY_FORM, longest)


_PLANS: Final[dict[str, dict[str, _Plan]]] = {
    name: {field.name: _plan(field) for field in table.fields.values()}
    for name, table in TABLES.items()
}


def build_row(table: str, n: int, raw: Mapping[str, str]) -> Row:
    """Return the typed row that a table's raw texts give.

    Args:
        table: The LOAIHOSO.
        n: The row's place in its table, counted from 1.
        raw: Text by field name, as received.
    """
    plans = _PLANS[table]
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for name, sent in raw.items():
        text = sent.strip()
        if not (text.isascii() and text.isprintable()):
            text = clean(text)
        if not text:
            continue
        plan = plans.get(name)
        if plan is None:
            flaws.append(Flaw(name, "unknown", ""))
            continue
        attribute, kind, read, by_form, longest = plan
        texts[name] = text
        what = ""
        if read is None:
            values[attribute] = text
            # As sent: a control character or a no-break space that is cleaned away tells too.
            if not sent.isascii() and (is_misdecoded(sent) or is_old_text(text)):
                what = "code-page"
        else:
            values[attribute], what = read(text)
            if not what and by_form and sent != text:
                what = "changed"
        if len(text) > longest and what in {"", "changed"} and _is_too_long(text, kind, longest):
            what = "length"
        if what:
            flaws.append(Flaw(name, what, kind))
    made = _CLASSES.get(table)
    if made is None:
        return Row(table=table, n=n, texts=texts, flaws=tuple(flaws))
    if table == "XML1" and len(values.get("ma_loai_kcb", "")) == 1:
        values["ma_loai_kcb"] = "0" + values["ma_loai_kcb"]
    return made(table=table, n=n, texts=texts, flaws=tuple(flaws), **values)


def _is_too_long(text: str, kind: str, longest: int) -> bool:
    return kind not in NUMERIC or len(plain_number(text)) > longest


def build(tables: Mapping[str, Sequence[Mapping[str, str]]]) -> Record:
    """Return the record of a dossier's raw tables; XML1 must be there, with one row."""
    rows = {
        name: tuple(build_row(name, n, raw) for n, raw in enumerate(lines, 1))
        for name, lines in tables.items()
    }
    mine: dict[str, Any] = {name.lower(): rows.pop(name, ()) for name in _CLASSES}
    mine["xml1"] = mine["xml1"][0]
    return Record(**mine, others=rows)


def mark_duplicates(dossiers: tuple[Dossier, ...]) -> tuple[Dossier, ...]:
    """Return the dossiers, each whose key an earlier one has refused as DUPLICATE-KEY."""
    seen: set[tuple[str, str]] = set()
    marked: list[Dossier] = []
    for dossier in dossiers:
        key = dossier.record.key if dossier.record else None
        if key and all(key) and key in seen:
            issue = say("duplicate-key", "XML1.MA_LK")
            marked.append(replace(dossier, issues=(*dossier.issues, issue)))
            continue
        if key:
            seen.add(key)
        marked.append(dossier)
    return tuple(marked)
