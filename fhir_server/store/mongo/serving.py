"""Who is at work on a store: the processes that serve it, or one alone that moves it.

A process holds a lease: a document of `meta` that says until when, by the database's clock, and is
renewed. One that was killed on another machine is taken for at work for `SECONDS` more. Whoever
comes takes his lease first, and looks for the other kind then: of two that come at once, at least
one sees the other.

These are not the leases of `store/leases.py`: they are no part of the store, which is moved while
one of them is held, and go by the database's clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Final, Self

import structlog
from pymongo import ReturnDocument

from fhir_server.model.outcome import Unavailable
from fhir_server.store.leases import is_gone, this_process
from fhir_server.store.mongo.calls import Calls
from fhir_server.store.mongo.schema import Collections, Document
from fhir_server.store.stopping import stopped

log = structlog.stdlib.get_logger("store")

SECONDS: Final = 10
"""For which a lease is good."""
RENEWED: Final = 2.0
"""Seconds after which it is renewed."""

_SERVING: Final = "serving/"
MOVING: Final = "moving"
"""The lease of whoever moves or restores it."""
_LOOK: Final = 0.2

_ALIVE: Final[Document] = {"$expr": {"$gt": ["$until", "$$NOW"]}}


class _Lease:
    """A lease under a name; a context in which it is held.

    Attributes:
        is_lost: It could not be renewed in time, and somebody else has the store.
    """

    def __init__(self, collections: Collections, calls: Calls, name: str) -> None:
        self._meta = collections.meta
        self._calls = calls
        self._name = name
        self._token = secrets.token_hex(8)
        self._renewing: asyncio.Task[None] | None = None
        self.is_lost = False

    async def __aenter__(self) -> Self:
        try:
            await self._begin()
        except BaseException:
            await self._let_go()
            raise
        self._renewing = asyncio.create_task(self._renew())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.end_soon()
        if self._renewing is not None:
            await stopped(self._renewing)
        await self._let_go()

    async def _begin(self) -> None:
        raise NotImplementedError

    async def _take(self) -> bool:
        """Take the lease, or hold it longer; return whether it is ours."""
        free = {"$or": [{"$eq": ["$token", self._token]}, {"$lte": ["$until", "$$NOW"]}]}
        until = {"$add": ["$$NOW", SECONDS * 1_000]}
        ours = {"token": self._token, "by": this_process(), "until": until}
        taken = {name: {"$cond": [free, value, f"${name}"]} for name, value in ours.items()}
        lease = await self._calls.read(
            lambda: self._meta.find_one_and_update(
                {"_id": self._name},
                [{"$set": taken}],
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
        )
        return lease is not None and lease["token"] == self._token

    async def _longer(self) -> bool:
        """Hold the lease longer, and return whether it is ours still."""
        return await self._take()

    async def _renew(self) -> None:
        while not self.is_lost:
            await asyncio.sleep(RENEWED)
            with contextlib.suppress(Unavailable):  # while the database is away nobody takes it
                self.is_lost = not await self._longer()
        log.error("store.lease_lost", lease=self._name)

    async def _let_go(self) -> None:
        with contextlib.suppress(Unavailable):  # it ends by itself
            await self._calls.read(
                lambda: self._meta.delete_one({"_id": self._name, "token": self._token})
            )

    async def _others(self, pattern: str) -> dict[str, datetime]:
        """Return until when the leases of a pattern are good that are so now, by name.

        Those of processes of this machine that have ended are given back.
        """
        asked = {"_id": {"$regex": pattern}, **_ALIVE}
        found = await self._calls.read(lambda: self._meta.find(asked).to_list())
        for one in found:
            if is_gone(one["by"]):
                theirs = {"_id": one["_id"], "token": one["token"]}
                await self._calls.read(partial(self._meta.delete_one, theirs))
        return {one["_id"]: one["until"] for one in found if not is_gone(one["by"])}


class Serving(_Lease):
    """The lease of a process that serves a store, beside others that do."""

    def __init__(
        self, collections: Collections, calls: Calls, lost: Callable[[], None] = lambda: None
    ) -> None:
        """Give the lease.

        Args:
            collections: Of the store.
            calls: To the database.
            lost: Is called where the process was cut off, or did not run, until somebody took the
                store for served by nobody, and began to move it.
        """
        super().__init__(collections, calls, _SERVING + secrets.token_hex(8))
        self._lost = lost
        self._had_ended = False

    async def _begin(self) -> None:
        await self._take()
        if await self._others(f"^{MOVING}$"):
            raise Unavailable("the store is being moved or restored: start when that has ended")

    async def _longer(self) -> bool:
        if not self._had_ended:
            ours = {"_id": self._name, "token": self._token, **_ALIVE}
            until = {"$set": {"until": {"$add": ["$$NOW", SECONDS * 1_000]}}}
            done = await self._calls.read(lambda: self._meta.update_one(ours, [until]))
            if done.matched_count:
                return True
            self._had_ended = True
        # As at the start: the lease first, then the look for the other kind.
        await self._take()
        if await self._others(f"^{MOVING}$"):
            self._lost()
            return False
        self._had_ended = False
        return True


class Alone(_Lease):
    """The lease of the one process that moves a store, while nobody serves it."""

    def __init__(self, collections: Collections, calls: Calls) -> None:
        super().__init__(collections, calls, MOVING)

    async def _begin(self) -> None:
        await self._until_ended(f"^{MOVING}$", "The store is being moved or restored already.")
        if not await self._take():
            raise Unavailable("The store is being moved or restored already.")
        await self._until_ended(f"^{_SERVING}", "The store is being served: stop the server first.")

    async def _until_ended(self, pattern: str, refusal: str) -> None:
        """Wait until leases end whose holders have.

        Raises:
            Unavailable: One is renewed.
        """
        first = await self._others(pattern)
        while now := await self._others(pattern):
            if any(first.get(name) != until for name, until in now.items()):
                raise Unavailable(refusal)
            await asyncio.sleep(_LOOK)

    def check(self) -> None:
        """Make sure that nobody else has come meanwhile.

        Raises:
            Unavailable: Somebody may have.
        """
        if self.is_lost:
            raise Unavailable("Another process has taken the store over: begin again.")
