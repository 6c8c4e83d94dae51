"""A transaction or a batch as a job: what it writes is written once, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace as changed

from fhir_server.interactions.asked import at
from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.entry import READS, entries_of, place_of, read_entry
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.jobs.fence import written_of
from fhir_server.interactions.jobs.kept import packed, unpacked
from fhir_server.interactions.jobs.once import answer_written, do_once
from fhir_server.interactions.jobs.output import Output
from fhir_server.interactions.jobs.record import PART, numbered, parts_of, put
from fhir_server.interactions.perform import prepare, refused
from fhir_server.interactions.transaction import (
    Shown,
    answer_again,
    preferred_of,
    refusal_of,
    response_of,
    transaction,
)
from fhir_server.model import bundle, codec
from fhir_server.model.outcome import FhirError, Unavailable

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.interactions.jobs.work import Work
    from fhir_server.store.port import Put

_KEPT_AFTER: Final = 1_000_000
"""Bytes of answers after which they are kept, where nothing is written meanwhile."""
_FEW: Final = 20


class _Part(msgspec.Struct, frozen=True, array_like=True):
    """Answers of entries that follow one another, and the Patients that they show."""

    answers: tuple[msgspec.Raw, ...]
    patients: tuple[str, ...]


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(_Part).decode


# Transaction


async def do_transaction(work: Work) -> None:
    """Do a transaction; where it was done and not answered, answer it."""
    request = await work.asked()
    if not work.job.written:
        result = await _done(work, request)
        if result is not None:
            await _answered(work, result)
            return
    await _answered(work, await _again(work, request))


async def _done(work: Work, request: FhirRequest) -> FhirResult | None:
    """Do the transaction; None where it was committed and could not be answered."""
    fence = work.fence(changed(work.job, written=True))
    ctx = replace(await work.context(), fence=fence)
    try:
        return await prepare(ctx, request, transaction)
    except FhirError:
        if not fence.is_made:
            raise
        return None
    finally:
        if fence.is_made:
            work.made(fence)


async def _again(work: Work, request: FhirRequest) -> FhirResult:
    made, patients = await written_of(work.store, work.job_id)
    ctx = await work.context()
    ctx.trail.written = True  # its AuditEvent was committed with it

    async def answered(within: Context, asked: FhirRequest) -> FhirResult:
        return await answer_again(within, asked, made, patients)

    return await prepare(ctx, request, answered)


async def _answered(work: Work, result: FhirResult) -> None:
    output = Output(patients=set(result.patients))
    output.add("Bundle", result.body or b"")
    await work.finish(output, done=1)


# Batch


@dataclass(slots=True)
class _Answers:
    """Answers that are not kept yet: those of the entries from `first` on."""

    first: int
    answers: list[bytes] = field(default_factory=list)
    patients: set[str] = field(default_factory=set)
    size: int = 0

    def add(self, answer: dict[str, Any], patients: frozenset[str]) -> None:
        """Add the answer of the next entry."""
        line = codec.dumps(answer)
        self.answers.append(line)
        self.patients |= patients
        self.size += len(line)

    async def puts(self, work: Work) -> list[Put]:
        """Return what keeps them."""
        if not self.answers:
            return []
        part = _ENCODE(_Part(tuple(map(msgspec.Raw, self.answers)), tuple(sorted(self.patients))))
        value = b"%d " % len(part) + await packed(part)
        return [put(PART, numbered(work.job_id, self.first), value, work.job)]

    def kept(self, following: int) -> None:
        """Note that they are; the next is the answer of this entry."""
        self.first, self.answers, self.patients, self.size = following, [], set(), 0


async def do_batch(work: Work) -> None:
    """Do the entries of a batch one after the other, each once."""
    request = await work.asked()
    entries = entries_of(request.resource or {})
    answers = _Answers(work.job.done)
    shown = Shown(work.job.shown)
    number = work.job.done
    work.job = changed(work.job, units=len(entries))
    while number < len(entries):
        entry = _Entry(work, request, entries[number], number, answers, shown)
        answer, patients = await entry.done()
        answers.add(answer, patients)
        number += 1
        is_over = work.is_over()
        if is_over or answers.size > _KEPT_AFTER:
            job = changed(
                work.job, done=number, written=False, shown=shown.size,
                patching=entry.patching,
            )  # fmt: skip
            await work.save(job, await answers.puts(work))
            answers.kept(number)
        elif entry.patching != work.job.patching:
            work.job = changed(work.job, patching=entry.patching)
        if is_over and number < len(entries):
            return
        await asyncio.sleep(0)
    await _whole(work, answers)


async def _whole(work: Work, last: _Answers) -> None:
    """Answer the batch: of what is kept of it, and of the last entries."""
    answers: list[msgspec.Raw] = []
    output = Output()
    after = ""
    while rows := await parts_of(work.store, PART, work.job_id, after=after, limit=_FEW):
        for _, raw in rows:
            length, _, data = raw.partition(b" ")
            part = _DECODE(await unpacked(data, int(length)))
            answers += part.answers
            output.patients.update(part.patients)
        after = rows[-1][0]
    answers += map(msgspec.Raw, last.answers)
    output.patients |= last.patients
    output.add("Bundle", codec.dumps(bundle.make("batch-response", entry=answers or None)))
    await work.finish(output, done=len(answers))


@dataclass(slots=True)
class _Entry:
    """One entry of a batch that is done."""

    work: Work
    request: FhirRequest
    asked: dict[str, Any]
    number: int
    answers: _Answers
    shown: Shown
    patching: float = 0.0

    async def done(self) -> tuple[dict[str, Any], frozenset[str]]:
        """Do it, unless it was done, and return its answer and whom that shows."""
        work = self.work
        ctx = await work.context()
        self.patching = work.job.patching
        try:
            with at(place_of(self.number)):
                result = await self._result(ctx)
        except Unavailable:
            raise  # it may have been done: whoever looks next sees it
        except FhirError as refusal:
            return refusal_of(refusal), frozenset()
        method = self.asked["request"]["method"]
        preferred = preferred_of(method, result, self.request.prefer)
        return response_of(ctx, result, preferred), result.patients

    async def _result(self, ctx: Context) -> FhirResult:
        work = self.work
        try:
            entry = read_entry(self.asked, self.number, ctx.base_url, self.request.handling)
        except FhirError as refusal:
            await refused(ctx, FhirRequest("batch", method="POST"), refusal)
            raise
        entry = entry.commented(self.request.comments)
        if work.job.written and work.job.done == self.number:
            return await answer_written(work, ctx, entry.request)
        if entry.order == READS:
            self.shown.require_room()
            if entry.request.interaction != "operation":
                read = FUNCTIONS[entry.request.interaction]
                return self.shown.add(await prepare(ctx, entry.request, read))
        after = changed(work.job, done=self.number, written=True, shown=self.shown.size)
        before = work.job
        try:
            puts = await self.answers.puts(work)
            result = await do_once(work, ctx, entry.request, after, puts)
        finally:
            self.patching = ctx.patching.left
            if work.job is not before:
                self.answers.kept(self.number)
        return self.shown.add(result) if entry.order == READS else result
