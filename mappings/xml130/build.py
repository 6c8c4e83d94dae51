"""Build the typed record out of the raw texts that an adapter read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from mappings.xml130.messages import say
from mappings.xml130.read import BY_FORM, LONGEST, READERS, Flaw, clean, plain_number
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
from mappings.xml130.tables import TABLES

_CLASSES: Final[dict[str, type[Row]]] = {
    "XML1": Summary,
    "XML2": Drug,
    "XML3": Service,
    "XML4": Result,
    "XML5": Course,
}


def build_row(table: str, n: int, raw: Mapping[str, str]) -> Row:
    """Return the typed row that a table's raw texts give.

    Args:
        table: The LOAIHOSO.
        n: The row's place in its table, counted from 1.
        raw: Text by field name, as received.
    """
    spec = TABLES[table]
    texts: dict[str, str] = {}
    values: dict[str, Any] = {}
    flaws: list[Flaw] = []
    for name, sent in raw.items():
        text = clean(sent)
        if not text:
            continue
        known = spec.fields.get(name)
        if known is None:
            flaws.append(Flaw(name, "unknown", ""))
            continue
        texts[name] = text
        kind = known.kind
        reader = READERS.get(kind)
        value: Any = text
        what = ""
        if reader is not None:
            value, what = reader(text)
            if not what and sent != text and kind in BY_FORM:
                what = "changed"
        if not what:
            what = _length(text, kind, known.max_length)
        if what:
            flaws.append(Flaw(name, what, kind))  # type: ignore[arg-type]
        values[name.lower()] = value
    made = _CLASSES.get(table)
    if made is None:
        return Row(table=table, n=n, texts=texts, flaws=tuple(flaws))
    if table == "XML1" and len(values.get("ma_loai_kcb", "")) == 1:
        values["ma_loai_kcb"] = "0" + values["ma_loai_kcb"]
    return made(table=table, n=n, texts=texts, flaws=tuple(flaws), **values)


def _length(text: str, kind: str, most: int | None) -> str:
    if len(text) > LONGEST:
        return "length"
    # A listed code and a paper's number are judged by their own rules alone.
    if most is None or len(text) <= most or kind in {"listed", "paper"}:
        return ""
    if kind in {"number", "digits"}:
        return "length" if len(plain_number(text)) > most else ""
    return "length" if kind not in BY_FORM or kind in {"icds", "days"} else ""


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
