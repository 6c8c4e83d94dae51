"""How the database is asked: reads, consistent views, transactions; what a failure of it means."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.schema import Document

_T = TypeVar("_T")

TRANSIENT: Final = "TransientTransactionError"
UNKNOWN: Final = "UnknownTransactionCommitResult"
PATIENCE: Final = 20.0
"""Seconds for which a transaction is tried again: elections take less."""


class Calls:
    """Runs work on one client; every read is of what a majority has, every write majority's."""

    def __init__(self, client: AsyncMongoClient[Document]) -> None:
        self._client = client

    async def read(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what some point reads give.

        Raises:
            Unavailable: The database does not answer.
        """
        try:
            return await work()
        except PyMongoError as error:
            raise Unavailable("The database does not answer: try again.") from error

    async def view(self, work: Callable[[AsyncClientSession], Awaitable[_T]]) -> _T:
        """Return what reads in one consistent view give; `work` passes the session to each.

        Raises:
            Unavailable: The database does not answer.
        """
        try:
            async with self._client.start_session(snapshot=True) as session:
                return await work(session)
        except PyMongoError as error:
            raise Unavailable("The database does not answer: try again.") from error

    async def transact(self, work: Callable[[AsyncClientSession], Awaitable[_T]]) -> _T:
        """Do work in a transaction, and return what it gave, once a majority has it.

        `work` is done again where another transaction was in the way, or the primary changed.

        Raises:
            Unavailable: The database does not answer; it is not known whether it was done.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        pause = 0.001
        while True:
            try:
                async with self._client.start_session() as session:
                    await session.start_transaction(
                        read_concern=ReadConcern("snapshot"),
                        write_concern=WriteConcern("majority", wtimeout=10_000),
                    )
                    made = await work(session)
                    while True:
                        try:
                            await session.commit_transaction()
                            return made  # noqa: TRY300 - the loop ends here
                        except PyMongoError as error:
                            if not error.has_error_label(UNKNOWN) or loop.time() > until:
                                raise
            except PyMongoError as error:
                if not error.has_error_label(TRANSIENT) or loop.time() > until:
                    raise Unavailable("The database does not answer: try again.") from error
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(pause * 2, 0.05)
