"""How the database is asked: reads, consistent views, transactions; what a failure of it means.

**An answered read never goes back in time.** A `majority` read shows what a majority of the
members has, as far as the primary knows. A primary that was just elected has all of it, but may
for a moment know less than the one before had known and answered. So the first read after an
election is a linearizable one of no interest in itself (`settle`): it returns only when a majority
has what the new primary wrote last, and from then on nothing older is shown. Which election the
driver follows is looked at before and after each read, in memory: it costs no round trip, and a
read over which it changed is done again. Through a mongos, which hides the elections of its
shards, the reads of one process are causally consistent instead.

**A killed primary is a delay, not an error.** Reads and transactions are tried again for
`PATIENCE` seconds; where the database has been away for longer than that, only once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog
from bson.objectid import ObjectId
from bson.timestamp import Timestamp
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import (
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.abandoned import Abandoned
from fhir_server.store.mongo.schema import HEAD, Document
from fhir_server.store.port import CommitRefused, WorkBudgetExceeded

log = structlog.stdlib.get_logger("store")

_T = TypeVar("_T")

TRANSIENT: Final = "TransientTransactionError"
UNKNOWN: Final = "UnknownTransactionCommitResult"

PATIENCE: Final = 30.0
"""Seconds for which work is tried again. With MongoDB's own settings a killed primary has a
successor after 10 to 12 (`electionTimeoutMillis`); one that hangs without ending its connections
was measured to cost 19 to 20, until the others no longer wait for it."""

ENDING: Final = 2.0
"""Seconds for which it is tried again by a process that is about to end: whoever asked has been
told nothing, and who stops a server kills it after a while."""

LONG: Final = 0.5
"""Seconds of waiting for others after which it is looked whether one of them is abandoned."""

_MAJORITY_WITHIN: Final = 10_000
_WRITE: Final = WriteConcern("majority", wtimeout=_MAJORITY_WITHIN, j=True)
_READ: Final = ReadConcern("snapshot")

_WRITE_CONFLICT: Final = 112
_PASSING: Final = frozenset(
    {
        6, 7, 89, 91, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436,  # primary or network
        134,  # ReadConcernMajorityNotAvailableYet
        43, 237, 11601,  # a cursor that is gone, or was interrupted
        175, 239, 246, 251,  # plan killed, snapshot too old or not there yet, no such transaction
        24, 46, 112, 117,  # locks and conflicts
        133, 150, 13388,  # a mongos that must look where the shards are
    }
)  # fmt: skip
"""Error codes of the server that pass by themselves (mongo/src/mongo/base/error_codes.yml)."""

BUSY: Final = "The database is busy: try again."
_REFUSED: Final = frozenset({11, 13, 18, 8000})
_NO_ROOM: Final = 14031


class Late(WorkBudgetExceeded):
    """The time is over though little was asked: it is the database that takes long."""


class Calls:
    """Runs work on one client; every read is of what a majority has, every write majority's."""

    def __init__(
        self,
        client: AsyncMongoClient[Document],
        meta: AsyncCollection[Document],
        *,
        is_sharded: bool = False,
    ) -> None:
        self._client = client
        self._linearizable = meta.with_options(read_concern=ReadConcern("linearizable"))
        self._majority = meta.with_options(read_concern=ReadConcern("majority"))
        self._is_sharded = is_sharded
        self._settled: ObjectId | None = None
        self._settling = asyncio.Lock()
        self._latest: Timestamp | None = None
        self._failing: float | None = None
        self._patience = PATIENCE
        self._abandoned = Abandoned(client)

    # --- reads -----------------------------------------------------------------------------

    async def read(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Return what some point reads give; they may be done more than once.

        Raises:
            WorkBudgetExceeded: They took longer than the time that they have themselves.
            Unavailable: The database does not answer.
        """
        return await self._answered(work if not self._is_sharded else lambda: self._causal(work))

    async def view(self, work: Callable[[AsyncClientSession], Awaitable[_T]]) -> _T:
        """Return what reads in one consistent view give; `work` passes the session to each.

        Raises:
            WorkBudgetExceeded: They took longer than the time that they have themselves.
            Unavailable: The database does not answer.
        """

        async def ask() -> _T:
            async with self._client.start_session(snapshot=True) as session:
                return await work(session)

        return await self._answered(ask)

    async def _answered(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        tries = _Tries()
        while True:
            try:
                election = await self._settle()
                made = await ask()
            except ExecutionTimeout:
                raise WorkBudgetExceeded from None
            except Late as error:
                raise Unavailable(BUSY) from error
            except PyMongoError as error:
                if not is_passing(error) or self._is_in_vain(tries):
                    raise unavailable(error) from error
                await tries.pause(0.5)
            else:
                self._failing = None
                if election == self._election():
                    return made

    async def _causal(self, work: Callable[[], Awaitable[_T]]) -> _T:
        """Read through a mongos, no older state than any that this process has seen."""
        async with self._client.start_session() as session:
            if self._latest is not None:
                session.advance_operation_time(self._latest)
            async with session.bind(end_session=False):
                made = await work()
            self._note(session)
            return made

    def _note(self, session: AsyncClientSession) -> None:
        seen = session.operation_time
        if seen is not None and (self._latest is None or seen > self._latest):
            self._latest = seen

    # --- elections -------------------------------------------------------------------------

    def _election(self) -> ObjectId | None:
        """Return which election the driver follows: it grows with each."""
        return None if self._is_sharded else self._client.topology_description.max_election_id

    async def settle(self) -> None:
        """Make sure that no later read shows an older state than any that was answered before.

        Raises:
            Unavailable: The database does not answer, or has no majority.
        """
        await self._answered(_nothing)

    async def _settle(self) -> ObjectId | None:
        election = self._election()
        if self._is_sharded or (election is not None and election == self._settled):
            return election
        async with self._settling:
            while election is None or election != self._settled:
                before = self._election()
                try:
                    await self._linearizable.find_one(
                        {"_id": HEAD}, {"_id": 1}, max_time_ms=_MAJORITY_WITHIN
                    )
                except ExecutionTimeout as error:
                    raise ConnectionFailure("no majority") from error
                election = self._election()
                if before == election:
                    self._settled = election
        return election

    async def is_ready(self) -> bool:
        """Return whether there is a primary that can take a commit now, and has a majority."""
        if not self._client.topology_description.has_writable_server():
            return False
        try:
            async with asyncio.timeout(2):
                # It is answered when a majority follows, as a commit is.
                await self._linearizable.find_one({"_id": HEAD}, {"_id": 1}, max_time_ms=2_000)
        except (PyMongoError, TimeoutError):
            return False
        return True

    # --- transactions ----------------------------------------------------------------------

    async def transact(self, work: Callable[[AsyncClientSession], Awaitable[_T]]) -> _T:
        """Do work in a transaction, and return what it gave, once a majority has it.

        `work` is done again where another transaction was in the way, or the primary changed. Its
        CommitRefused is raised only once a majority has what it was refused for.

        Raises:
            Unavailable: The database does not answer; it is not known whether it was done.
        """
        tries = _Tries()
        while True:
            election = self._election()
            try:
                async with self._client.start_session() as session:
                    await session.start_transaction(read_concern=_READ, write_concern=_WRITE)
                    try:
                        made = await work(session)
                    except CommitRefused:
                        if await self._is_confirmed(session, election):
                            raise
                        continue
                    await self._commit(session, tries)
                    self._failing = None
                    self._note(session)
                    return made
            except PyMongoError as error:
                if not error.has_error_label(TRANSIENT):
                    raise unavailable(error) from error
                is_conflict = _code(error) == _WRITE_CONFLICT
                if tries.lasted >= self._patience if is_conflict else self._is_in_vain(tries):
                    raise unavailable(error) from error
                if is_conflict and tries.lasted >= LONG:
                    await self._abandoned.end(asyncio.get_running_loop().time())
                await tries.pause(0.05 if is_conflict else 0.5)

    async def _commit(self, session: AsyncClientSession, tries: _Tries) -> None:
        """Commit, again and again while it is not known whether a majority has it."""
        while True:
            try:
                await session.commit_transaction()
            except PyMongoError as error:
                # TRANSIENT: it is known that nothing was done.
                is_open = error.has_error_label(UNKNOWN) and not error.has_error_label(TRANSIENT)
                if not is_open or tries.lasted >= self._patience:
                    raise
                await tries.pause(0.5)
            else:
                return

    async def _is_confirmed(self, session: AsyncClientSession, election: ObjectId | None) -> bool:
        """Abort, and return whether what the transaction saw is a majority's.

        It saw the primary's own newest state, which may be lost where the primary is.
        """
        await session.abort_transaction()
        try:
            await self._majority.find_one(
                {"_id": HEAD}, {"_id": 1}, session=session, max_time_ms=_MAJORITY_WITHIN
            )
        except (ConnectionFailure, ExecutionTimeout) as error:
            raise ConnectionFailure("no majority", error_labels=[TRANSIENT]) from error
        return election == self._election()

    # --- failures --------------------------------------------------------------------------

    def _is_in_vain(self, tries: _Tries) -> bool:
        """Return whether to give up: this work, or the whole database, has failed for so long."""
        now = asyncio.get_running_loop().time()
        if self._failing is None:
            self._failing = now
        return tries.lasted >= self._patience or now - self._failing >= self._patience

    def end_soon(self) -> None:
        """Try nothing again for long any more: the process is about to end."""
        self._patience = ENDING


class _Tries:
    """How long some work has been tried, and the pause before it is tried again."""

    __slots__ = ("_began", "_pause")

    def __init__(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._pause = 0.001

    @property
    def lasted(self) -> float:
        """Seconds since the first try."""
        return asyncio.get_running_loop().time() - self._began

    async def pause(self, most: float) -> None:
        """Wait, each time longer and at random, so that those who wait do not meet again."""
        await asyncio.sleep(random.uniform(0, self._pause))
        self._pause = min(self._pause * 2, most)


async def _nothing() -> None:  # noqa: RUF029 - asked as reads are
    return


def _code(error: PyMongoError) -> int | None:
    return error.code if isinstance(error, OperationFailure) else None


def is_passing(error: PyMongoError) -> bool:
    """Return whether a failure passes by itself, so that a read may be tried again."""
    return (
        isinstance(error, ConnectionFailure)
        or _code(error) in _PASSING
        or error.has_error_label(TRANSIENT)
    )


def unavailable(error: PyMongoError) -> Unavailable:
    """Return what a client is told of a failure; the log has its kind and code."""
    code = _code(error)
    log.warning("store.failed", kind=type(error).__name__, code=code)
    if isinstance(error, WTimeoutError) or error.has_error_label(UNKNOWN):
        text = "It is not known whether this was stored: look before you send it again."
    elif isinstance(error, ConnectionFailure):
        text = "The database does not answer: try again."
    elif code in _REFUSED:
        text = "The database refuses this server's account."
    elif code == _NO_ROOM:
        text = "The database has no room left."
    elif is_passing(error):
        text = BUSY
    else:
        text = "The database could not do this."
    return Unavailable(text)
