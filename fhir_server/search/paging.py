"""Cursors of next links: opaque, sealed by the store that made them, nothing kept on the server.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from fhir_server.search.expression import Search

_SEAL: Final = 16

CursorItem = str | int | bytes | None


class ForgedCursor(ValueError):
    """A text that is no cursor, or one made by another store or for another search."""


@dataclass(frozen=True, slots=True)
class Place:
    """A place in an order, and which way a page is read from it: what stands behind it.

    Attributes:
        number: Of the version that has this place.
        values: What that version is sorted by, as the store writes them.
        backwards: The page is read against the order: it ends before this place.
    """

    number: int
    values: tuple[Any, ...] = ()
    backwards: bool = False

    @property
    def turned(self) -> Place:
        """The place from which the other way gives all that this way does not.

        Equals stand newest first, so the place of the next number lies just before.
        """
        step = 1 if self.backwards else -1
        return Place(self.number + step, self.values, not self.backwards)


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a page begins.

    Attributes:
        snapshot: The last version's number on the first page's time.
        place: None: at the beginning.
    """

    snapshot: int
    place: Place | None = None

    @property
    def items(self) -> list[Any]:
        """What a cursor carries."""
        if self.place is None:
            return [self.snapshot]
        found = [self.snapshot, self.place.number, *self.place.values]
        return [*found, True] if self.place.backwards else found

    @classmethod
    def of(cls, items: Sequence[Any], keys: int) -> Begin:
        """Return what a cursor carries, of an order by so many keys.

        Raises:
            ForgedCursor: It is not one of such an order.
        """
        snapshot, *rest = items
        if not rest:
            return cls(snapshot)
        backwards = len(rest) == keys + 2
        if len(rest) != keys + 1 + backwards:
            raise ForgedCursor
        number, *values = rest[: keys + 1]
        return cls(snapshot, Place(number, tuple(values), backwards))


@dataclass(frozen=True, slots=True)
class Around:
    """The cursors of the pages around a page; None where there is no such page.

    Attributes:
        backwards: The page itself is read against the order.
        defined: On the first page itself, where that is asked for: the cursor of it as it is now.
    """

    next: str | None = None
    previous: str | None = None
    first: str | None = None
    backwards: bool = False
    defined: str | None = None


def around(
    begin: Begin,
    last: Place | None,
    seal: Callable[[list[Any]], str],
    *,
    defines: bool = False,
) -> Around:
    """Return the cursors of the pages around a page.

    Args:
        begin: Where the page begins.
        last: The place, the way it was read, of its last match; None: there is no more that way.
        seal: Makes a cursor of what it carries.
        defines: The first page's own cursor is asked for (Search.defines).
    """
    further = None if last is None else seal(Begin(begin.snapshot, last).items)
    if begin.place is None:
        return Around(further, defined=seal([begin.snapshot]) if defines else None)
    first = seal([begin.snapshot])
    back = seal(Begin(begin.snapshot, begin.place.turned).items)
    if begin.place.backwards:
        return Around(back, further, first, backwards=True)
    return Around(further, back, first)


def shape(search: Search) -> bytes:
    """Return what of a search a cursor belongs to: its types, its order, what the client asked.

    The expression is not in it: a policy may narrow it between two pages, and each page is
    narrowed anew.
    """
    parts = [name for name, _ in search.by_type]
    parts += [f"{'-' if key.descending else ''}{key.kind}:{key.param}" for key in search.sort]
    return b"\n".join([*(part.encode() for part in parts), search.asked])


def history_shape(
    name: tuple[str | None, str | None], among: Sequence[tuple[str, str | None]]
) -> bytes:
    """Return what of a history a cursor belongs to: a resource, a type, types, or all.

    Which resources are meant, where there are several, is not in it: a List may change between
    two pages.
    """
    types = [f"history {kind} None" for kind, one in among if one is None]
    if len(types) < len(among):
        types.append("history of some")
    return "\n".join(types or [f"history {name[0]} {name[1]}"]).encode()


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
