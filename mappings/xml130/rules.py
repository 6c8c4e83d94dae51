"""What makes a record wrong or doubtful: the dossier's issues, refusals first.

Contract section 5 says what refuses (`error`): only what cannot be stored truthfully. Every other
rule warns, since the visit happened. FACILITY, SIGNATURE, UNKNOWN-VISIT and IDENTITY need more
than the record and are asked where the caller and the store are known.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from mappings.xml130 import rules_money, rules_person, rules_shape, rules_visit
from mappings.xml130.messages import say
from mappings.xml130.record import Kind, Record, RecordIssue

MOST_ISSUES: Final = 1000
"""Of either weight: more help nobody, and would make a receipt larger than its dossier."""


def check(record: Record, *, now: datetime, kind: Kind = "xml") -> tuple[RecordIssue, ...]:
    """Return the record's issues, errors first.

    Args:
        record: The dossier as read.
        now: The present moment, for what lies in the future.
        kind: Whether it came as XML tables or as the sixteen fields.
    """
    issues = _withdrawal(record) if record.is_withdrawal else _visit(record, now, kind)
    errors: list[RecordIssue] = []
    warnings: list[RecordIssue] = []
    more: RecordIssue | None = None
    for issue in issues:
        kept = errors if issue.severity == "error" else warnings
        if len(kept) < MOST_ISSUES:
            kept.append(issue)
        elif more is None:
            more = say("too-many", issue.field)
    return (*errors, *warnings, more) if more else (*errors, *warnings)


def _withdrawal(record: Record) -> Iterator[RecordIssue]:
    yield from rules_shape.required_of_withdrawal(record)
    for issue in rules_shape.forms(record.xml1):
        if issue.field in {"XML1.MA_LK", "XML1.MA_CSKCB"}:
            yield issue


def _visit(record: Record, now: datetime, kind: Kind) -> Iterator[RecordIssue]:
    xml1 = record.xml1
    yield from rules_shape.required(record, kind)
    yield from rules_shape.all_forms(record)
    yield from rules_shape.lists(record)
    yield from rules_person.paper(xml1)
    yield from rules_person.person(xml1)
    yield from rules_person.cards(xml1)
    yield from rules_person.card_dates(xml1)
    yield from rules_person.insured(xml1)
    yield from rules_visit.times(xml1, now)
    yield from rules_visit.days(xml1)
    yield from rules_visit.codes(xml1)
    yield from rules_visit.weight(xml1)
    if kind == "xml":
        yield from rules_shape.row_numbers(record)
        yield from rules_shape.results(record)
        yield from rules_visit.order_times(record)
        yield from rules_visit.same_visit(record)
        yield from rules_visit.asked_for(record)
        yield from rules_money.money(record)
