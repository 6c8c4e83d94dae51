"""Transactions that nobody goes on with: found and ended, so that others need not wait for them.

A server process that is killed leaves its transaction behind, for `head` to wait for until the
database ends it after a minute (`transactionLifetimeLimitSeconds`). An account may look at its own
sessions, and end them; a transaction that is ended so has changed nothing, and whoever does go on
with it begins it again.
"""

from __future__ import annotations

from typing import Any, Final

import structlog
from bson.binary import Binary
from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from fhir_server.store.mongo.schema import Document

log = structlog.stdlib.get_logger("store")

SILENT: Final = 2.0
"""Seconds without a command after which a transaction is taken for abandoned."""

_AGAIN: Final = 0.5
"""Seconds after which it is looked again."""

_IDLE: Final[list[Document]] = [
    {"$currentOp": {"allUsers": False, "idleSessions": True}},
    {"$match": {"type": "idleSession", "transaction": {"$exists": True}}},
    {
        "$project": {
            "id": "$lsid.id",
            "number": "$transaction.parameters.txnNumber",
            "worked": "$transaction.timeActiveMicros",
        }
    },
]
"""The open transactions for which no command runs now, and for how long commands of theirs ran."""

_State = tuple[Any, Any]


class Abandoned:
    """Remembers which transactions were idle, and since when nothing was done in them."""

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._admin = client.get_database("admin", read_concern=ReadConcern("local"))
        self._seen: dict[Any, tuple[_State, float]] = {}
        self._looked = -SILENT

    async def end(self, now: float) -> None:
        """End those in which nothing was done for `SILENT` seconds; look now and then, not always.

        Args:
            now: Seconds of a clock that does not go back.
        """
        if now - self._looked < _AGAIN:
            return
        if now - self._looked > SILENT:
            self._seen.clear()
        self._looked = now
        try:
            found = await (await self._admin.aggregate(_IDLE)).to_list()
            if silent := self._silent(found, now):
                log.warning("store.freed", transactions=len(silent))
                ids = [{"id": Binary.from_uuid(one)} for one in silent]
                await self._admin.command("killSessions", ids)
        except PyMongoError as error:  # then they are waited for
            code = error.code if isinstance(error, OperationFailure) else None
            log.warning("store.not_freed", kind=type(error).__name__, code=code)

    def _silent(self, found: list[Document], now: float) -> list[Any]:
        """Return whose state is as it was `SILENT` seconds ago, and remember all."""
        states = {one["id"]: (one.get("number"), one.get("worked")) for one in found}
        before, self._seen = self._seen, {}
        for name, state in states.items():
            then = before.get(name)
            self._seen[name] = then if then is not None and then[0] == state else (state, now)
        return [name for name, (_, since) in self._seen.items() if now - since >= SILENT]
