"""Where a page begins, sealed: a cursor goes out in URLs and may hold a name or a birth date."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_server.search.paging import Begin, ForgedCursor
from fhir_server.store.port import BadCursor

_NONCE: Final = 12


class Cursors:
    """Seals and opens cursors with the store's own key, the same in every process over it."""

    def __init__(self, key: bytes) -> None:
        self._sealer = AESGCM(key)

    def seal(self, about: bytes, position: list[Any]) -> str:
        """Return the cursor of a position."""
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._sealer.encrypt(nonce, msgspec.msgpack.encode(position), about)
        return urlsafe_b64encode(nonce + sealed).rstrip(b"=").decode()

    def open(self, about: bytes, cursor: str) -> list[Any]:
        """Return the position of a cursor.

        Raises:
            BadCursor: This store did not make it, or for another search.
        """
        try:
            data = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            position = self._sealer.decrypt(data[:_NONCE], data[_NONCE:], about)
        except (ValueError, InvalidTag) as error:
            raise BadCursor("the cursor is not one of this store's") from error
        return list(msgspec.msgpack.decode(position))

    def begin(self, about: bytes, cursor: str, keys: int = 0) -> Begin:
        """Return where a page begins, in an order by so many keys.

        Raises:
            BadCursor: This store did not make it, or for another search.
        """
        try:
            return Begin.of(self.open(about, cursor), keys)
        except ForgedCursor as error:
            raise BadCursor("the cursor belongs to another search") from error
