"""The feed of changes: read by the versions' numbers, woken by a change stream on the head.

Commits follow one another and each writes `head`, so a greater number was committed later, and a
change of `head.rid` is the sign that there are new ones. The stream is only that sign: what there
is to tell is read by number, in one snapshot. So nothing is missed or told twice whatever becomes
of the stream, and its oplog may be as short as it likes.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import structlog
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError

from fhir_server.model.outcome import Unavailable
from fhir_server.store.feed import Tokens, Wakes
from fhir_server.store.mongo.calls import Calls
from fhir_server.store.mongo.schema import HEAD, Collections, Document
from fhir_server.store.mongo.versions import name_of, number_of
from fhir_server.store.port import Change
from fhir_server.store.stopping import stopped

log = structlog.stdlib.get_logger("store")

_PAGE: Final = 500
_SHOWN: Final = dict.fromkeys(("_id", "n", "t", "v", "r", "u", "D"), 1)
_AGAIN: Final = 1.0
"""Seconds until a stream that has failed is opened again."""
_SLEEPS: Final = 2_000
"""Milliseconds that the database waits for something to tell, each time that it is asked."""

_SIGN: Final[list[Document]] = [
    {
        "$match": {
            "operationType": "update",
            "documentKey._id": HEAD,
            "updateDescription.updatedFields.rid": {"$exists": True},
        }
    },
    {"$project": {"_id": 1}},
]


class Changes:
    """The feed of one store in this process, whoever follows it."""

    def __init__(self, collections: Collections, calls: Calls) -> None:
        self._collections = collections
        self._calls = calls
        self._wakes = Wakes()
        self._watching: asyncio.Task[None] | None = None
        self._closed = False

    def made(self) -> None:
        """Note that this process has made versions."""
        self._wakes.wake()

    def end(self) -> None:
        """End it for all who follow."""
        self._closed = True
        self._wakes.wake()

    async def settle(self) -> None:
        """Wait until nothing of it runs any more."""
        if self._watching is not None:
            await stopped(self._watching)

    async def last(self) -> str:
        """Return the token of the last version made."""
        tokens, number = await self._end()
        return tokens.token(number)

    async def _end(self) -> tuple[Tokens, int]:
        asked = self._collections.meta
        head = await self._calls.read(
            lambda: asked.find_one({"_id": HEAD}, {"rid": 1, "cursor_key": 1})
        )
        if head is None:
            raise Unavailable("The database holds no store.")
        return Tokens(bytes(head["cursor_key"])), int(head["rid"])

    async def follow(self, after: str | None) -> AsyncIterator[Change]:
        """Return every version made after a token, as it is made.

        Raises:
            BadCursor: The token is not one of this store's.
            Unavailable: The database does not answer.
        """
        tokens, last = await self._end()
        number = tokens.number(after, last)
        if self._watching is None:
            # One stream for all who follow in this process, from the first one on.
            self._watching = asyncio.create_task(self._watch())
        while not self._closed:
            seen = self._wakes.count
            documents = await self._after(number)
            for document in documents:
                number = number_of(document)
                yield _change(tokens.token(number), document)
            if not documents:
                await self._wakes.wait(seen)

    # --- what there is -------------------------------------------------------------------

    async def _after(self, number: int) -> list[Document]:
        """Return the first versions after a number, in order."""

        async def read(session: AsyncClientSession) -> list[Document]:
            head = await self._collections.meta.find_one({"_id": HEAD}, session=session)
            if head is None or head["rid"] <= number:
                return []
            current = self._collections.resource.find(
                {"t": {"$in": sorted(head["counts"])}, "r": {"$gt": number}},
                _SHOWN,
                sort=[("r", 1)],
                hint="types",
                limit=_PAGE,
                session=session,
            )
            past = self._collections.history.find(
                {"_id": {"$gt": number}}, _SHOWN, sort=[("_id", 1)], limit=_PAGE, session=session
            )
            found = [*await current.to_list(), *await past.to_list()]
            return sorted(found, key=number_of)[:_PAGE]

        return await self._calls.view(read)

    # --- the sign ------------------------------------------------------------------------

    async def _watch(self) -> None:
        while not self._closed:
            with contextlib.suppress(PyMongoError):
                await self._listen()
            if not self._closed:
                # Where it cannot be listened to, it is looked at.
                self._wakes.wake()
                await asyncio.sleep(_AGAIN)

    async def _listen(self) -> None:
        # Left to itself a stream begins after what the primary wrote last, of which a majority may
        # not have the last part yet: who looks then does not see it, and its sign would never come.
        meta = self._collections.meta
        async with meta.database.client.start_session() as session:
            await meta.find_one({"_id": HEAD}, {"_id": 1}, session=session)
            begin = session.operation_time
        stream = await meta.watch(_SIGN, max_await_time_ms=_SLEEPS, start_at_operation_time=begin)
        async with stream:
            # What a majority had before has no sign: who follows looks once more.
            self._wakes.wake()
            async for _ in stream:
                self._wakes.wake()


def _change(token: str, document: Document) -> Change:
    resource_type, resource_id = name_of(document["n"] if "n" in document else document["_id"])
    return Change(token, resource_type, resource_id, document["v"], document["u"], "D" in document)
