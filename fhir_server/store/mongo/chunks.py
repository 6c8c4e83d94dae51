"""What is too large for one document, in pieces: a document holds 16 MB, a record may have 160 MiB.

Nor would it fit in a transaction, all of which the database holds in memory. So pieces are written
before it, under an owner of their own that nobody knows yet, beside a mark that they wait; the
transaction that names the owner takes the mark away (`adopt`). Where it is refused, or replaces a
record that had pieces, the mark says that they are loose: they are deleted soon after (`sweep`), as
are those that have waited for an hour, whose server ended.

A value in pieces is told by two fields: `B`, how many, and `O`, their owner. The pieces' ids are
`owner#number`; the mark's is the owner, its `at` when it was made, `gone` true once loose.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pymongo import UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.calls import Calls
from fhir_server.store.mongo.schema import Collections, Document

LARGE: Final = 8 * 1024 * 1024
"""Bytes from which on a value is kept in pieces, and bytes of a piece."""

_WAITING: Final = 60
"""Minutes for which pieces wait for their transaction."""


@dataclass(frozen=True, slots=True)
class Pieces:
    """The pieces of a value: whose they are, and how many."""

    owner: str
    count: int

    @property
    def fields(self) -> Document:
        """What a document says of a value that is in pieces."""
        return {"B": self.count, "O": self.owner}

    @property
    def ids(self) -> list[str]:
        """The pieces' ids."""
        return [f"{self.owner}#{at}" for at in range(self.count)]


def pieces_in(document: Document) -> Pieces | None:
    """Return the pieces that a document speaks of; None where its value is in it."""
    return Pieces(document["O"], document["B"]) if "B" in document else None


async def whole(
    collections: Collections, pieces: Pieces, session: AsyncClientSession | None = None
) -> bytes | None:
    """Return a value, or None where it is not there any more.

    Pieces are read one after another: all of them at once may be more than an answer holds.
    """
    parts: list[bytes] = []
    for piece in pieces.ids:
        document = await collections.chunk.find_one({"_id": piece}, session=session)
        if document is None:
            return None
        parts.append(document["b"])
    return b"".join(parts)


async def adopt(
    collections: Collections, pieces: Sequence[Pieces], session: AsyncClientSession
) -> None:
    """Have pieces belong to what the transaction writes.

    Raises:
        Unavailable: They have waited too long, and were taken for nobody's.
    """
    if not pieces:
        return
    waiting = {"_id": {"$in": [one.owner for one in pieces]}, "gone": {"$ne": True}}
    done = await collections.chunk.delete_many(waiting, session=session)
    if done.deleted_count != len(pieces):
        raise Unavailable("This took too long to store: try again.")


async def loosen(
    collections: Collections, pieces: Iterable[Pieces], session: AsyncClientSession | None = None
) -> None:
    """Mark pieces as nobody's: a sweep deletes them."""
    marks = [
        UpdateOne(
            {"_id": one.owner},
            {"$set": {"count": one.count, "gone": True}, "$currentDate": {"at": True}},
            upsert=True,
        )
        for one in pieces
    ]
    if marks:
        await collections.chunk.bulk_write(marks, session=session)


class Chunks:
    """Writes pieces before their transaction, and deletes those that are nobody's."""

    def __init__(self, collections: Collections, calls: Calls) -> None:
        self._collections = collections
        self._calls = calls
        self._sweeping: asyncio.Task[None] | None = None
        self._is_asked = False

    async def put(self, data: bytes) -> Pieces:
        """Write the pieces of a value, to be adopted by a transaction.

        Raises:
            Unavailable: The database does not answer.
        """
        self.sweep_soon()  # what another server left behind, if it did
        chunk = self._collections.chunk
        pieces = Pieces(secrets.token_hex(8), -(-len(data) // LARGE))
        mark = {"$set": {"count": pieces.count}, "$currentDate": {"at": True}}
        await self._calls.read(lambda: chunk.update_one({"_id": pieces.owner}, mark, upsert=True))
        for at, piece in enumerate(pieces.ids):
            document: Document = {"_id": piece, "b": data[at * LARGE : (at + 1) * LARGE]}
            asked = {"_id": piece}
            await self._calls.read(partial(chunk.replace_one, asked, document, upsert=True))
        return pieces

    def sweep_soon(self) -> None:
        """Begin to delete what is nobody's."""
        self._is_asked = True
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep_quietly())

    async def settle(self) -> None:
        """Wait until a sweep that was begun is done."""
        if self._sweeping is not None:
            await self._sweeping

    async def _sweep_quietly(self) -> None:
        while self._is_asked:
            self._is_asked = False
            with contextlib.suppress(Unavailable):  # then the next one does it
                await self._calls.read(self._sweep)

    async def _sweep(self) -> None:
        """Delete what is loose, or has waited too long."""
        chunk = self._collections.chunk
        ago = {"$dateSubtract": {"startDate": "$$NOW", "unit": "minute", "amount": _WAITING}}
        marked: list[Document] = [
            {"$match": {"at": {"$exists": True}}},
            {"$match": {"$or": [{"gone": True}, {"$expr": {"$lt": ["$at", ago]}}]}},
        ]
        for mark in await (await chunk.aggregate(marked, hint="marks")).to_list():
            # A transaction that is under way does not adopt what is marked as gone.
            await chunk.update_one({"_id": mark["_id"], "at": mark["at"]}, {"$set": {"gone": True}})
            if await chunk.find_one({"_id": mark["_id"], "gone": True}) is None:
                continue
            await chunk.delete_many({"_id": {"$in": Pieces(mark["_id"], mark["count"]).ids}})
            await chunk.delete_one({"_id": mark["_id"], "gone": True})
