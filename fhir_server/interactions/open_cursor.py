"""Cursors that are not sealed: whatever one says, only what is shown anyway is found from there.

Those that a store makes are sealed with its key (`store/cursor.py`).
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as NotBase64
from typing import TypeVar

import msgspec

from fhir_server.interactions.refusals import wrong_cursor

_Place = TypeVar("_Place", bound=msgspec.Struct)


def text_of(place: msgspec.Struct) -> str:
    """Return the cursor of a place."""
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def place_in(text: str, form: type[_Place]) -> _Place:
    """Return the place of this form that a cursor says.

    Raises:
        InvalidValue: It is none.
    """
    try:
        raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(raw, type=form)
    except (msgspec.MsgspecError, NotBase64, ValueError):
        raise wrong_cursor() from None
