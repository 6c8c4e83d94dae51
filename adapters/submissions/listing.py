"""Which submissions there are: index records, newest first, found without reading others.

A record's key is `facility|what|reversed time|id`, where `what` is nothing, a status or a MA_LK;
the same again under `*` for `system`, which sees every facility's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from urllib.parse import quote

from adapters.submissions.keep import SUBMISSION
from adapters.submissions.receipt import Receipt, decode, encode
from fhir_server.model.primitives import VIETNAM, micros
from fhir_server.store.port import Put, Store

INDEX: Final = "submission-of"
ALL: Final = "*"
LONGEST_MA_LK: Final = 100
"""A longer one is refused, and not found by itself."""
_FURTHEST: Final = 2**62
_PAGE: Final = 100
_LONGEST_ANSWER: Final = 8 * 1024 * 1024
_MOST_LOOKED_AT: Final = 2000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which submissions a list is of.

    Attributes:
        facility: The facility's code, or ALL.
        cursor: The last one of the page before, as `Listed.next` gave it.
    """

    facility: str
    status: str | None = None
    ma_lk: str | None = None
    start: date | None = None
    end: date | None = None
    count: int = 20
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One page: receipts as kept, and where the next begins."""

    receipts: tuple[bytes, ...]
    next: str | None


def kept_with(receipt: Receipt, received: int) -> list[Put]:
    """Return the receipt's record and those it is found by."""
    if receipt.id is None:
        return []
    place = f"{_reversed(received)}|{receipt.id}"
    whats = {""}
    for dossier in receipt.dossiers:
        whats.add(_status(dossier.status))
        if dossier.ma_lk and len(dossier.ma_lk) <= LONGEST_MA_LK:
            whats.add(_visit(dossier.ma_lk))
    facilities = {ALL, receipt.facility or ALL}
    index = [
        Put(INDEX, f"{facility}|{what}|{place}", b"1")
        for facility in sorted(facilities)
        for what in sorted(whats)
    ]
    return [Put(SUBMISSION, receipt.id, encode(receipt)), *index]


async def listed(store: Store, wanted: Wanted) -> Listed:
    """Return one page of receipts, newest first.

    Where both a MA_LK and a status are asked, the visit's submissions are looked through; a page
    then ends early rather than look through without end.
    """
    prefix = f"{wanted.facility}|{_what(wanted)}|"
    start = prefix + (_reversed(_end_of(wanted.end)) if wanted.end else "")
    end = prefix + (_reversed(_start_of(wanted.start) - 1) if wanted.start else "~")
    if wanted.cursor:
        start = max(start, f"{prefix}{wanted.cursor}\x00")
    found: list[bytes] = []
    size = looked_at = 0
    while True:
        rows = await store.scan(INDEX, start=start, end=end, limit=_PAGE)
        for key, _ in rows:
            place = key[len(prefix) :]
            raw = await store.get(SUBMISSION, place.partition("|")[2])
            looked_at += 1
            if raw is not None and _is_wanted(raw, wanted):
                found.append(raw)
                size += len(raw)
            full = len(found) >= wanted.count or size > _LONGEST_ANSWER
            if full or looked_at >= _MOST_LOOKED_AT:
                more = await store.scan(INDEX, start=key + "\x00", end=end, limit=1)
                return Listed(tuple(found), place if more else None)
        if len(rows) < _PAGE:
            return Listed(tuple(found), None)
        start = rows[-1][0] + "\x00"


def _is_wanted(raw: bytes, wanted: Wanted) -> bool:
    if wanted.ma_lk is None or wanted.status is None:
        return True
    return any(dossier.status == wanted.status for dossier in decode(raw).dossiers)


def _what(wanted: Wanted) -> str:
    if wanted.ma_lk is not None:
        return _visit(wanted.ma_lk)
    return _status(wanted.status) if wanted.status is not None else ""


def _status(status: str) -> str:
    return f"is={status}"


def _visit(ma_lk: str) -> str:
    return f"of={quote(ma_lk, safe='')}"


def _reversed(moment: int) -> str:
    return f"{_FURTHEST - moment:016x}"


def _start_of(day: date) -> int:
    return micros(datetime.combine(day, time.min, VIETNAM))


def _end_of(day: date) -> int:
    return _start_of(day + timedelta(days=1)) - 1


def next_url(base_url: str, wanted: Wanted, cursor: str) -> str:
    """Return the URL of the next page."""
    said: Sequence[tuple[str, str | None]] = (
        ("status", wanted.status),
        ("from", wanted.start.isoformat() if wanted.start else None),
        ("to", wanted.end.isoformat() if wanted.end else None),
        ("ma_lk", wanted.ma_lk),
        ("_count", str(wanted.count)),
        ("_cursor", cursor),
    )
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in said if value is not None)
    return f"{base_url}/submissions?{query}"
