"""Cursors of next links: opaque, sealed by the store that made them, nothing kept on the server.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fhir_server.search.expression import Search

_SEAL: Final = 16

CursorItem = str | int | bytes | None


class ForgedCursor(ValueError):
    """A text that is no cursor, or one made by another store or for another search."""


def shape(search: Search) -> bytes:
    """Return what of a search a cursor belongs to: its types, its order, what the client asked.

    The expression is not in it: a policy may narrow it between two pages, and each page is
    narrowed anew.
    """
    parts = [name for name, _ in search.by_type]
    parts += [f"{'-' if key.descending else ''}{key.kind}:{key.param}" for key in search.sort]
    return b"\n".join([*(part.encode() for part in parts), search.asked])


def encode(items: Sequence[CursorItem | list[Any]], *, key: bytes, about: bytes) -> str:
    """Return a cursor that carries these items.

    Args:
        items: Where the next page begins, as the store knows it.
        key: The store's own secret; all servers over one store share it.
        about: What it belongs to, as from `shape`.
    """
    body = msgspec.msgpack.encode(list(items))
    return base64.urlsafe_b64encode(_seal(body, key, about) + body).rstrip(b"=").decode("ascii")


def decode(cursor: str, *, key: bytes, about: bytes) -> list[Any]:
    """Return the items of a cursor.

    Raises:
        ForgedCursor: This key did not make it, or not for this.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        data = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ForgedCursor from None
    seal, body = data[:_SEAL], data[_SEAL:]
    if not hmac.compare_digest(seal, _seal(body, key, about)):
        raise ForgedCursor
    items: list[Any] = msgspec.msgpack.decode(body)
    return items


def _seal(body: bytes, key: bytes, about: bytes) -> bytes:
    hashed = hashlib.blake2b(digest_size=_SEAL, key=key[:64], person=b"cursor")
    hashed.update(len(about).to_bytes(4, "big") + about)
    hashed.update(body)
    return hashed.digest()
