"""The Composition of the book: four sections in the official order, a sub-section a visit.

QĐ 1332/QĐ-BYT and QĐ 31/QĐ-BYT; https://hl7.org/fhir/R4/composition.html
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any, Final

from fhir_server.model.identifiers import code_system, extension
from fhir_server.operations.book import narrative as say
from fhir_server.operations.book.values import Book, Resource, Visit
from fhir_server.operations.translation import bilingual, english
from mappings.immunization.schedule import due

SECTION: Final = code_system("book-section")
DERIVED: Final = {"url": extension("derived"), "valueBoolean": True}
_EMPTY: Final = "http://terminology.hl7.org/CodeSystem/list-empty-reason"

TITLES: Final = {
    "admin": ("Hành chính", "Administrative"),
    "history": ("Tiền sử", "History"),
    "visits": ("Từng đợt khám chữa bệnh", "Visits"),
    "summary": ("Tóm tắt", "Summary"),
}


def sections(book: Book, resources: Iterable[Resource], on: date) -> list[Resource]:
    """Return the Composition's four sections.

    Args:
        book: The book's values.
        resources: The Patient's resources in the document: what sections may refer to.
        on: The day of the document.
    """
    kinds: dict[str, list[str]] = {}
    for one in resources:
        kinds.setdefault(one["resourceType"], []).append(f"{one['resourceType']}/{one['id']}")
    shown = {reference for visit in book.visits for reference in visit.resources}
    loose = [
        reference
        for kind in ("MedicationRequest", "Procedure", "Observation")
        for reference in kinds.get(kind, ())
        if reference not in shown
    ]
    return [_admin(book, kinds), _history(book, kinds, loose, on), _visits(book), _summary(book)]


def _admin(book: Book, kinds: dict[str, list[str]]) -> Resource:
    entries = [f"Patient/{book.person.id}", *(card.reference for card in book.cards)]
    return _section("admin", say.admin(book), [*entries, *kinds.get("RelatedPerson", ())])


def _history(book: Book, kinds: dict[str, list[str]], loose: list[str], on: date) -> Resource:
    entries = [
        reference
        for kind in ("AllergyIntolerance", "Condition", "Immunization")
        for reference in kinds.get(kind, ())
    ]
    if not entries and not loose:
        return _empty("history", "Chưa ghi nhận tiền sử.", "No history is recorded.")
    plan = due(None, book.person.gender, book.immunizations, on)
    return _section("history", say.history(book, plan.others), [*entries, *loose])


def _visits(book: Book) -> Resource:
    if not book.visits:
        return _empty("visits", "Chưa có đợt khám chữa bệnh nào.", "There are no visits yet.")
    section = _section("visits", say.paragraph(f"{len(book.visits)} đợt khám chữa bệnh."), ())
    section["section"] = [_visit(one) for one in book.visits]
    return section


def _visit(visit: Visit) -> Resource:
    where = f", {visit.facility}" if visit.facility else ""
    began = f"{visit.start:%d/%m/%Y}" if visit.start else "không rõ ngày"
    began_en = f"{visit.start:%Y-%m-%d}" if visit.start else "an unknown day"
    return {
        **bilingual("title", f"Đợt khám {began}{where}", f"Visit of {began_en}{where}"),
        "code": _code("visit", "Đợt khám chữa bệnh"),
        "text": say.narrative(say.visit(visit)),
        "entry": _references([f"Encounter/{visit.id}", *visit.resources]),
    }


def _summary(book: Book) -> Resource:
    if not book.visits:
        return _empty("summary", "Chưa có thông tin để tóm tắt.", "There is nothing to sum up yet.")
    last = book.visits[0]
    entries = [f"Encounter/{last.id}", *(one.reference for one in book.planned)]
    return {"extension": [DERIVED], **_section("summary", say.summary(book), entries)}


def _section(code: str, text: str, entries: Sequence[str]) -> Resource:
    vi, en = TITLES[code]
    section: Resource = {
        **bilingual("title", vi, en),
        "code": _code(code, vi),
        "text": say.narrative(text),
    }
    if entries:
        section["entry"] = _references(entries)
    return section


def _empty(code: str, vi: str, en: str) -> Resource:
    reason = {"system": _EMPTY, "code": "unavailable", "display": "Unavailable"}
    return {
        **_section(code, say.paragraph(vi), ()),
        "emptyReason": {"coding": [reason], "text": vi, "_text": english(en)},
    }


def _code(code: str, display: str) -> Resource:
    return {"coding": [{"system": SECTION, "code": code, "display": display}]}


def _references(names: Iterable[str]) -> list[dict[str, Any]]:
    return [{"reference": name} for name in dict.fromkeys(names)]
