"""Groups of batches committed: one transaction for each, which takes its turn at `meta.head`.

The head is written first, so no other transaction of any process is between what is looked at
here and what is written. What the group needs is read in a few round trips, the batches are
applied in memory (`staging.py`), and what they come to is written in a few more, beginning while
the next are applied. The transaction may be tried again from its beginning: it keeps nothing but
what is committed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from bson.errors import BSONError
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DocumentTooLarge, PyMongoError

from fhir_server.model.outcome import TooLarge, Unavailable
from fhir_server.store.mongo import ledger
from fhir_server.store.mongo.audit import documents_of
from fhir_server.store.mongo.calls import BUSY, UNKNOWN, Calls, Late, is_passing
from fhir_server.store.mongo.chunks import Chunks
from fhir_server.store.mongo.conditions import Conditions, Matching
from fhir_server.store.mongo.foreseen import Foreseen
from fhir_server.store.mongo.gather import Job
from fhir_server.store.mongo.prepared import Prepared, Work
from fhir_server.store.mongo.schema import HEAD, INDEXED, VERSION, Collections, Document
from fhir_server.store.mongo.staging import Staging, record_key
from fhir_server.store.mongo.versions import key_of
from fhir_server.store.mongo.writing import LEAST, WasThere, Writing
from fhir_server.store.port import (
    ANY,
    AuditRecord,
    CommitRefused,
    IndexedOtherwise,
    KeyHeld,
    Matches,
    Unchanged,
    Write,
)

_UNINDEXED: Final = {"x": 0, "s": 0, "o": 0, "l": 0, "e": 0}
"""Projection: what a resource's next version makes anew is not read."""

Answers = list[CommitRefused | None]

_TRIES: Final = 2
"""How often a group is tried again that was ended though it had the turn. No other commit is in its
way then: it is more than the database can hold in memory, which rolls it back each time."""


class _TooMuch(Exception):
    """A group is more than one transaction can hold: its batches are tried one by one."""


class _Needed:
    """What must be read for a group: resources, unique keys and ledger records, by `_id`."""

    def __init__(self, batches: Sequence[Prepared], head: Document, *, trusting: bool) -> None:
        self.names: dict[str, None] = {}
        self.unique: dict[str, None] = {}
        self.records: dict[str, None] = {}
        for one in batches:
            for write in one.batch.writes:
                self._write(write, trusting=trusting)
            for tag in one.batch.tags:
                self.names[key_of(tag.resource_type, tag.resource_id)] = None
            for condition in one.batch.conditions:
                if isinstance(condition, Unchanged):
                    self.names[key_of(condition.resource_type, condition.resource_id)] = None
            for put in one.batch.puts:
                if put.expected != ANY or put.bucket in head["large"]:
                    self.records[record_key(put.bucket, put.key)] = None

    def _write(self, write: Write, *, trusting: bool) -> None:
        if trusting and write.version_id == 1:
            return
        self.names[key_of(write.resource_type, write.resource_id)] = None
        self.unique.update(dict.fromkeys(write.index.unique))


class Committer:
    """Makes groups of batches, one after another."""

    def __init__(
        self, calls: Calls, collections: Collections, search: Matching, chunks: Chunks
    ) -> None:
        self._calls = calls
        self._collections = collections
        self._search = search
        self._chunks = chunks
        self._head: Document | None = None
        self._is_alone = True
        self.groups = 0
        self.batches = 0

    async def make(self, jobs: list[Job]) -> None:
        """Make all of them; what came of each is left in it."""
        rest = jobs
        while rest:
            rest = await self._try(rest)

    async def _try(self, jobs: list[Job]) -> list[Job]:
        """Make jobs in one transaction, and return those for which there must be another."""
        self.groups += 1
        try:
            answered = await self._transact(jobs)
        except Exception as error:  # noqa: BLE001 - whoever asked is told
            self._head = None
            if len(jobs) == 1 or _is_of_all(error):
                for job in jobs:
                    job.error = _told(error)
            else:
                # One of them is to blame, or all are too much together: each is tried alone.
                for job in jobs:
                    await self._try_alone(job)
            return []
        self.batches += answered
        return jobs[answered:]

    async def _try_alone(self, job: Job) -> None:
        rest = [job]
        while rest:
            rest = await self._try(rest)

    async def _transact(self, jobs: list[Job]) -> int:
        """Return how many of the jobs were answered: at least one."""
        if not isinstance(jobs[0].asked, Prepared):
            jobs[0].result = await self._work(jobs[0].asked)
            return 1
        batches: list[Prepared] = []
        for job in jobs:
            if not isinstance(job.asked, Prepared):
                break
            batches.append(job.asked)
        if all(one.is_audit_only for one in batches):
            if records := [record for one in batches for record in one.batch.audit]:
                await self._append(records)
            return len(batches)
        answers = await self._commit(batches)
        for job, refusal in zip(jobs, answers, strict=False):
            job.error = refusal
        return len(answers)

    # --- audit entries alone -------------------------------------------------------------

    async def _append(self, records: Sequence[AuditRecord]) -> None:
        """Append to the chain: in three round trips while no other server commits."""
        meta, audit = self._collections.meta, self._collections.audit

        async def append(session: AsyncClientSession) -> Document:
            known = self._head
            if known is not None and self._is_alone:
                entries, now = _appended(known, records)
                asked = {"_id": HEAD, **{name: known[name] for name in ("turn", "seq", "schema")}}
                change = {"$set": now, "$inc": {"turn": 1}}
                done = await meta.update_one(asked, change, session=session)
                if done.matched_count:
                    await audit.insert_many(entries, session=session)
                    return {**known, **now, "turn": known["turn"] + 1}
            head = await self._take_turn(session)
            # Where another server has been in between, it will be again: the try is not worth it.
            self._is_alone = known is not None and head["turn"] == known["turn"] + 1
            entries, now = _appended(head, records)
            await audit.insert_many(entries, session=session)
            await meta.update_one({"_id": HEAD}, {"$set": now}, session=session)
            return {**head, **now}

        self._head = await self._calls.transact(append)

    # --- batches -------------------------------------------------------------------------

    async def _commit(self, batches: list[Prepared]) -> Answers:
        try:
            return await self._commit_once(batches, trusting=True)
        except WasThere:
            return await self._commit_once(batches, trusting=False)

    async def _commit_once(self, batches: list[Prepared], *, trusting: bool) -> Answers:
        """Commit in one transaction.

        Args:
            batches: A group.
            trusting: Take first versions for what they say, and their unique keys for free,
                without a look. It is nearly always so, and where it is not the insert fails.

        Raises:
            WasThere: It was not so.
            _TooMuch: It was ended again and again, and is of several.
        """
        _make_ready(batches)
        tries = 0

        async def commit(session: AsyncClientSession) -> tuple[Answers, Document, bool]:
            nonlocal tries
            head = await self._take_turn(session)
            tries += 1
            if tries > _TRIES + 1 and len(batches) > 1:
                raise _TooMuch
            staging = Staging(head["rid"], head.get(INDEXED, 0))
            await self._read(_Needed(batches, head, trusting=trusting), staging, session)
            writing = Writing(self._collections, head, staging, session)
            foreseen = Foreseen(self._collections, staging, session)
            await foreseen.read(_searched(batches))
            conditions = Conditions(
                self._collections, self._search, staging, writing, session, foreseen
            )
            try:
                answers = [await _stage(one, staging, conditions, writing) for one in batches]
                if trusting and any(isinstance(one, KeyHeld) for one in answers):
                    raise WasThere  # who is named as the holder must be looked for
                written = await writing.finish()
            finally:
                await writing.settle()
            return answers, written, bool(staging.loose)

        answers, self._head, has_loosened = await self._calls.transact(commit)
        if has_loosened:
            self._chunks.sweep_soon()
        return answers

    async def _take_turn(self, session: AsyncClientSession) -> Document:
        head = await self._collections.meta.find_one_and_update(
            {"_id": HEAD},
            {"$inc": {"turn": 1}},
            projection={"cursor_key": 0},
            return_document=ReturnDocument.AFTER,
            session=session,
        )
        if head is None or head["schema"] > VERSION:
            raise Unavailable("The store was changed by another version of this program.")
        return head

    async def _read(self, needed: _Needed, staging: Staging, session: AsyncClientSession) -> None:
        """Read what the batches will look at, but for what their conditions search."""
        if needed.names:
            found = self._collections.resource.find(
                {"_id": {"$in": list(needed.names)}}, _UNINDEXED, session=session
            )
            staging.know_resources(await found.to_list())
        if unique := [key for key in needed.unique if key not in staging.holders]:
            held = self._collections.unique.find({"_id": {"$in": unique}}, session=session)
            staging.know_holders(await held.to_list())
        if needed.records:
            staging.know_records(await ledger.read(self._collections, needed.records, session))

    # --- other work ----------------------------------------------------------------------

    async def _work(self, work: Work) -> int:
        async def do(session: AsyncClientSession) -> int:
            await self._take_turn(session)
            return await work(session)

        self._head = None
        return await self._calls.transact(do)


def _appended(head: Document, records: Sequence[AuditRecord]) -> tuple[list[Document], Document]:
    entries, digest = documents_of(records, head["seq"], head["digest"])
    return entries, {"seq": entries[-1]["_id"], "digest": digest}


def _make_ready(batches: Sequence[Prepared]) -> None:
    """Make the first writes ready before the turn is taken: the others are, while these go."""
    ready = 0
    for one in batches:
        ready += len(one.writes)
        if ready >= LEAST:
            return


def _searched(batches: Sequence[Prepared]) -> Iterator[Matches]:
    for one in batches:
        yield from (each for each in one.batch.conditions if isinstance(each, Matches))


async def _stage(
    one: Prepared, staging: Staging, conditions: Conditions, writing: Writing
) -> CommitRefused | None:
    """Make a batch part of the group, or return why it is refused: then the group is as it was."""
    asked = one.batch.conditions
    if one.batch.is_indexed and one.batch.indexed != staging.indexed:
        return IndexedOtherwise()
    try:
        if asked:
            await conditions.before(asked)
        layer = staging.stage(one)
        if asked:
            await conditions.after(asked, layer.resources, set(layer.written))
    except CommitRefused as refusal:
        return refusal
    staging.join(layer, one)
    if staging.changed:
        await writing.go_on()
    return None


def _told(error: Exception) -> Exception:
    """Return what whoever asked is told: what the driver says never leaves the store."""
    if isinstance(error, DocumentTooLarge):
        told: Exception = TooLarge(
            "What is to be indexed of the resource is more than can be kept."
        )
    elif isinstance(error, BSONError):
        told = Unavailable("The database could not do this.")
    elif isinstance(error, Late):
        # A condition of the write: not that it asks too much, nor may it have been stored.
        told = Unavailable(BUSY)
    else:
        return error
    told.__cause__ = error
    return told


def _is_of_all(error: Exception) -> bool:
    """Return whether a failure is the database's, and not that of one of the batches."""
    if not isinstance(error, Unavailable):
        return False
    cause = error.__cause__
    if not isinstance(cause, PyMongoError):
        return True
    return cause.has_error_label(UNKNOWN) or cause.timeout or is_passing(cause)
