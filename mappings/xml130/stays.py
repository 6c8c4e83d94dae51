"""G01 and G07: one visit beside another of the same patient.

Domain 8.3. Pure, and the one place of it: who reads the visits, for the receipt's warning or for
the claim's finding, asks here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

IN_PATIENT: Final = frozenset({"03", "04", "09"})

# PL4750, NGAY_RA: of these forms the end is the last day of the drugs, not the end of a stay.
ENDS_WITH_DRUGS: Final = frozenset({"02", "05", "07"})


@dataclass(frozen=True, slots=True)
class Stay:
    """A visit as far as a rule may know it: where, under which key, in which form, and when.

    Attributes:
        facility: MA_CSKCB; "" where it is not known.
        key: MA_LK; "" of a visit that no dossier made.
        kind: MA_LOAI_KCB, two digits.
        start: NGAY_VAO.
        end: NGAY_RA; None while the visit lasts.
    """

    facility: str
    kind: str
    start: datetime | None
    end: datetime | None
    key: str = ""


def is_twin(one: Stay, other: Stay) -> bool:
    """Return whether a visit is the same again under another key (G01).

    The same facility and NGAY_VAO with another MA_LK. A check-in has no MA_LK and is no twin.
    """
    return (
        bool(one.facility)
        and one.facility == other.facility
        and one.start is not None
        and one.start == other.start
        and bool(other.key)
        and one.key != other.key
    )


def are_two_places(one: Stay, other: Stay) -> bool:
    """Return whether the patient would be at two facilities at once (G07).

    In-patient stays overlap, or an out-patient's visit lies inside a stay elsewhere. Ends that
    touch are a transfer.
    """
    if not one.facility or not other.facility or one.facility == other.facility:
        return False
    stays = one.kind in IN_PATIENT, other.kind in IN_PATIENT
    if all(stays):
        return _overlap(one, other)
    if stays[0]:
        return _inside(other, one)
    return stays[1] and _inside(one, other)


def _overlap(one: Stay, other: Stay) -> bool:
    return _begins_before_end(one, other) and _begins_before_end(other, one)


def _begins_before_end(one: Stay, other: Stay) -> bool:
    if one.start is None or other.start is None:
        return False
    return other.end is None or one.start < other.end


def _inside(visit: Stay, stay: Stay) -> bool:
    if visit.start is None or stay.start is None or visit.start < stay.start:
        return False
    seen = visit.start if visit.end is None or visit.kind in ENDS_WITH_DRUGS else visit.end
    if seen <= stay.start:
        return False
    return stay.end is None or (visit.start < stay.end and seen <= stay.end)
