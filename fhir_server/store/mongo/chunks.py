"""What is too large for one document, in pieces: a document holds 16 MB, a record may have 160 MiB.

A body's owner is the number of its version, a ledger record's the commit that put it: a piece
belongs to one owner for ever, so whoever reads never mixes two.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.store.mongo.schema import Collections, Document

LARGE: Final = 8 * 1024 * 1024
"""Bytes from which on a value is kept in pieces, and bytes of a piece."""


def count_of(data: bytes) -> int:
    """Return in how many pieces a value is kept; 0 where it is small enough for its document."""
    return 0 if len(data) <= LARGE else -(-len(data) // LARGE)


def owner_of_version(number: int) -> str:
    """Return under which owner the body of a version is kept."""
    return f"v{number}"


def pieces(owner: str, data: bytes) -> list[Document]:
    """Return the documents that hold a value."""
    return [
        {"_id": f"{owner}#{at}", "b": data[at * LARGE : (at + 1) * LARGE]}
        for at in range(count_of(data))
    ]


def ids_of(owner: str, count: int) -> list[str]:
    """Return the ids of an owner's pieces."""
    return [f"{owner}#{at}" for at in range(count)]


async def whole(
    collections: Collections,
    wanted: Iterable[tuple[str, int]],
    session: AsyncClientSession | None = None,
) -> dict[str, bytes]:
    """Return the values of owners, given in how many pieces each is; without those that are gone.

    They are read one after another: several of them at once may be more than an answer holds.
    """
    found: dict[str, bytes] = {}
    for owner, count in wanted:
        parts: list[bytes] = []
        for piece in ids_of(owner, count):
            document = await collections.chunk.find_one({"_id": piece}, session=session)
            if document is None:
                break
            parts.append(document["b"])
        if len(parts) == count:
            found[owner] = b"".join(parts)
    return found
