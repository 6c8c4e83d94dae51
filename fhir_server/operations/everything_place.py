"""Where a page of `$everything` begins: at the Patient, in its record, or in what goes along.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from fhir_server.interactions.open_cursor import place_in, text_of
from fhir_server.interactions.refusals import wrong_cursor

_PATIENT: Final = "patient."
_ALONE: Final = "alone."
_BESIDE: Final = "beside."


@dataclass(frozen=True, slots=True)
class InRecord:
    """A place in the record, as the store's cursor says; None: the beginning as it is now.

    Attributes:
        patient: The Patient comes before it on the page.
        alone: The Patient alone is on the page, which ends there.
    """

    cursor: str | None = None
    patient: bool = False
    alone: bool = False

    @property
    def text(self) -> str:
        """The cursor; it is the store that seals it."""
        before = _ALONE if self.alone else _PATIENT if self.patient else ""
        return f"{before}{self.cursor}"


class Beside(msgspec.Struct, array_like=True, frozen=True):
    """A place among what the record refers to, in the order of names.

    It is not sealed: whatever it says, only what is shown anyway is found from there.

    Attributes:
        first: The cursor of the first page as it was defined.
        record: The cursor of the page on which the record ends.
        begun: The last name on that page; None: the record fills it.
        after: The name after which it is; None: at the beginning.
        backwards: The page ends there.
    """

    first: str
    record: str
    begun: tuple[str, str] | None = None
    after: tuple[str, str] | None = None
    backwards: bool = False

    @property
    def text(self) -> str:
        """The cursor."""
        return f"{_BESIDE}{text_of(self)}"

    @property
    def previous(self) -> str:
        """The cursor of the page that ends here."""
        if self.after == self.begun:
            return self.record
        return msgspec.structs.replace(self, backwards=True).text

    @property
    def next(self) -> str:
        """The cursor of the page that begins here."""
        return msgspec.structs.replace(self, backwards=False).text

    def at(self, name: tuple[str, str] | None) -> Beside:
        """Return the place after another name."""
        return msgspec.structs.replace(self, after=name)


def place_of(cursor: str | None, *, patient: bool) -> InRecord | Beside:
    """Return where a page begins.

    Args:
        cursor: Its cursor; None is the first page.
        patient: The Patient itself is asked for.

    Raises:
        InvalidValue: It is no cursor, or one of another request.
    """
    if cursor is None:
        return InRecord(patient=patient)
    for before in (_PATIENT, _ALONE):
        if cursor.startswith(before):
            if not patient:
                raise wrong_cursor()
            return InRecord(cursor.removeprefix(before), patient=True, alone=before == _ALONE)
    if not cursor.startswith(_BESIDE):
        return InRecord(cursor)
    return place_in(cursor.removeprefix(_BESIDE), Beside)
