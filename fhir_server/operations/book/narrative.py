"""Narrative of the book's sections: XHTML in Vietnamese, every value escaped.

https://hl7.org/fhir/R4/narrative.html
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from html import escape
from typing import Any, Final

from fhir_server.operations.book.values import Book, Card, Diagnosis, Outcome, Visit
from mappings.immunization.schedule import Given

# XML has no control characters but these three, however they came into the record.
_CONTROL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]")

GENDER: Final = {"male": "Nam", "female": "Nữ", "unknown": "Chưa xác định", "other": "Khác"}


def words(value: object) -> str:
    """Return a value as escaped text."""
    return escape(_CONTROL.sub("", str(value)))


def narrative(*parts: str) -> dict[str, Any]:
    """Return a Narrative of these (already escaped) parts."""
    body = "".join(part for part in parts if part) or "<p>–</p>"
    div = f'<div xmlns="http://www.w3.org/1999/xhtml" lang="vi" xml:lang="vi">{body}</div>'
    return {"status": "generated", "div": div}


def paragraph(text: str) -> str:
    """Return a paragraph, or nothing for nothing."""
    return f"<p>{words(text)}</p>" if text else ""


def table(rows: Iterable[tuple[str, object]]) -> str:
    """Return a table of names and values; what is empty is left out."""
    body = "".join(
        f"<tr><th>{words(name)}</th><td>{words(value)}</td></tr>" for name, value in rows if value
    )
    return f"<table><tbody>{body}</tbody></table>" if body else ""


def listing(title: str, items: Sequence[str]) -> str:
    """Return a titled list, or nothing where it is empty."""
    if not items:
        return ""
    return (
        f"<p><b>{words(title)}</b></p><ul>"
        + "".join(f"<li>{words(item)}</li>" for item in items)
        + "</ul>"
    )


def day(value: date | datetime | None) -> str:
    """Return a day as people in Viet Nam write it."""
    return f"{value:%d/%m/%Y}" if value is not None else ""


def hour(value: datetime | None) -> str:
    """Return a day with its time."""
    return f"{value:%H:%M %d/%m/%Y}" if value is not None else ""


def admin(book: Book) -> str:
    """Return who the person is, their cards and guardians."""
    person = book.person
    facts = table([
        ("Họ và tên", person.name),
        ("Ngày sinh", day(person.born) or person.birth_date),
        ("Giới tính", GENDER.get(person.gender, "")),
        ("Số định danh cá nhân", person.number),
        ("Mã số BHXH", person.insurance_number),
        ("Điện thoại", person.phone),
        ("Địa chỉ", person.address),
    ])
    guardians = [
        f"{one.relationship.text}: {one.name}".strip(": ")
        + (" (đã xác minh)" if one.verified else " (chưa xác minh)")
        for one in book.guardians
    ]
    return (
        facts
        + listing("Thẻ BHYT", [_card(one) for one in book.cards])
        + listing("Người đại diện", guardians)
    )


def history(book: Book, given: Sequence[Given]) -> str:
    """Return allergies, diseases over time, and vaccinations."""
    return (
        listing("Dị ứng", [one.text for one in book.allergies])
        + listing("Bệnh tật", [_diagnosis(one) for one in book.diseases])
        + listing("Tiêm chủng", [_dose(one) for one in given])
        + table([("Nhóm máu", book.blood_group)])
    )


def visit(one: Visit) -> str:
    """Return one visit: where, when, why, what was found, given and advised."""
    facts = table([
        ("Cơ sở khám chữa bệnh", one.facility),
        ("Hình thức", one.kind.text),
        ("Vào", hour(one.start)),
        ("Ra", hour(one.end)),
        ("Lý do", one.reason),
        ("Kết quả điều trị", one.result.text),
        ("Tình trạng ra viện", one.discharge.text),
        ("Phương pháp điều trị", one.treatment),
        ("Lời dặn", one.advice),
        ("Bác sĩ", ", ".join(one.doctors)),
    ])
    drugs = [
        ", ".join(part for part in (drug.name, drug.dose, drug.instruction, drug.quantity) if part)
        for drug in one.drugs
    ]
    return (
        facts
        + listing("Chẩn đoán", [_diagnosis(d) for d in one.diagnoses])
        + listing("Thuốc", drugs)
        + listing("Phẫu thuật, thủ thuật, dịch vụ", one.procedures)
        + listing("Kết quả cận lâm sàng", [result(found) for found in one.results])
        + listing("Diễn biến", [result(found) for found in one.course])
    )


def summary(book: Book) -> str:
    """Return what the visits come to, marked as derived: nobody wrote it as a summary."""
    last = book.visits[0]
    drugs = [f"{drug.name} {drug.dose}".strip() for drug in last.drugs]
    return (
        paragraph("Tổng hợp tự động từ các đợt khám chữa bệnh; không phải bản tóm tắt bệnh án.")
        + table([
            ("Số đợt khám chữa bệnh", len(book.visits)),
            ("Đợt gần nhất", f"{day(last.start)}, {last.facility}".strip(", ")),
            ("Phương pháp điều trị gần nhất", last.treatment),
            ("Lời dặn gần nhất", last.advice),
        ])
        + listing("Chẩn đoán", [_diagnosis(d) for d in book.diseases])
        + listing("Thuốc của đợt gần nhất", drugs)
        + listing("Kết quả của đợt gần nhất", [result(found) for found in last.results])
        + listing(
            "Lịch hẹn khám lại",
            [f"{day(one.at)} {one.facility} {one.text}".strip() for one in book.planned],
        )
    )


def result(found: Outcome) -> str:
    """Return a result as one line."""
    text = f"{found.name}: {found.value}" if found.value else found.name
    parts = [text, found.conclusion, f"({hour(found.at)})" if found.at else ""]
    return " ".join(part for part in parts if part)


def _card(card: Card) -> str:
    since, until = day(card.start) or "…", day(card.end) or "…"
    level = f", mức hưởng {card.level}%" if card.level is not None else ""
    place = f", nơi đăng ký ban đầu: {card.facility}" if card.facility else ""
    return f"{card.code}, giá trị từ {since} đến {until}{level}{place}"


def _diagnosis(one: Diagnosis) -> str:
    if not one.named:
        return f"Mã bệnh {one.code}" if one.code else ""
    return f"{one.text} ({one.code})" if one.code else one.text


def _dose(given: Given) -> str:
    dose = f", mũi {given.dose}" if given.dose else ""
    return f"{given.text or ', '.join(sorted(given.codes))}{dose}, {day(given.day)}".strip(", ")
