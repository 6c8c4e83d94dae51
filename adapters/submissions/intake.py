"""A submission taken: kept, read, and each dossier checked, mapped and committed by itself.

The bytes are durable before they are parsed. A dossier is all or nothing, and dossiers of one
submission do not affect one another. The receipt is committed with the last of it; of a single
dossier, in the same step as its resources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import structlog

from adapters.fields16.parse import parse_csv, parse_json
from adapters.submissions import keep
from adapters.submissions.keep import Source
from adapters.submissions.listing import kept_with
from adapters.submissions.receipt import (
    DossierReceipt,
    Receipt,
    as_dict,
    decode,
    dossier_receipt,
    patients_in,
    receipt_of,
)
from adapters.xml130.parse import parse as parse_xml
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.perform import perform_with
from fhir_server.model.outcome import FhirError, Unavailable
from fhir_server.model.primitives import from_micros, micros
from fhir_server.operations.dossier import Foreseen, commit_dossier
from fhir_server.operations.visit import Outcome, Sending
from fhir_server.store.leases import Lease, Leases
from fhir_server.store.port import Batch, Put, RecordChanged
from mappings.xml130.record import Dossier, Envelope, Kind, RecordIssue
from mappings.xml130.rules import check

log = structlog.get_logger()

READERS: Final[dict[str, Callable[[bytes], Envelope]]] = {
    "xml": parse_xml,
    "json": parse_json,
    "csv": parse_csv,
}
_AT_ONCE: Final = 8
"""Dossiers of one submission that are on their way at once."""

Verify = Callable[[bytes], bool]
"""Whether CHUKYDONVI is a valid signature of these bytes."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What was sent.

    Attributes:
        form: xml, json or csv.
        media_type: The Content-Type as it was sent.
        dry_run: Check, and store nothing.
        verify: Where a signature is required, what verifies it.
    """

    body: bytes
    form: str
    media_type: str = "application/xml"
    dry_run: bool = False
    verify: Verify | None = None


async def submit(ctx: Context, sent: Callable[[], Awaitable[Submission]]) -> Receipt:
    """Take a submission as its caller, and leave its one AuditEvent.

    Args:
        ctx: The caller's Context.
        sent: Reads what was sent, once it is known that the caller may submit.

    Raises:
        Forbidden: The caller may not submit.
        Malformed: The body is no submission; nothing of it is kept.
    """
    taken: list[Receipt] = []

    async def run(within: Context, _request: FhirRequest) -> FhirResult:
        receipt = await receive(within, await sent())
        taken.append(receipt)
        return FhirResult(receipt.status, patients=patients_in(receipt))

    request = FhirRequest("submit", method="POST", url="/submissions")
    await perform_with(ctx, request, run)
    return taken[0]


async def submit_envelope(ctx: Context, body: bytes) -> dict[str, Any]:
    """Take a GIAMDINHHS envelope as `POST /submissions` does; the loader's and gateway's way in."""

    async def sent() -> Submission:  # noqa: RUF029 - what an edge reads from the wire is here already
        return Submission(body, "xml")

    return as_dict(await submit(ctx, sent))


async def receive(ctx: Context, submission: Submission) -> Receipt:
    """Keep the bytes, read them, take every dossier, keep the receipt.

    Raises:
        Malformed: The body is no submission; nothing of it is kept.
    """
    received = micros(ctx.now())
    if submission.dry_run:
        intake = Intake(ctx, None, submission, received)
        return await intake.take(await intake.read())
    submission_id = ctx.new_id()
    who = ctx.principal
    source = Source(
        submission.media_type, submission.form, received, 0, 0, who.kind, who.client_id, who.code,
        who.display,
    )  # fmt: skip
    lease = Leases(ctx.store, ctx.now).made(submission_id, bucket=keep.PENDING)
    await keep.keep(ctx.store, submission_id, source, submission.body, lease)
    intake = Intake(ctx, submission_id, submission, received, lease)
    # What fails here another process takes up, as soon as the lease is given back or has ended.
    async with lease:
        try:
            envelope = await intake.read()
        except FhirError:
            await keep.forget(ctx.store, submission_id)
            lease.done()
            raise
        return await intake.take(envelope)


@dataclass(slots=True)
class Intake:
    """One submission on its way."""

    ctx: Context
    submission_id: str | None
    submission: Submission
    received: int
    lease: Lease | None = None
    late: bool = False
    foreseen: Foreseen = field(default_factory=dict)

    async def read(self) -> Envelope:
        """Read the bytes; a dossier in them that cannot be read does not stop the others."""
        body = self.submission.body
        return await keep.aside(len(body), READERS[self.submission.form], body)

    async def take(self, envelope: Envelope) -> Receipt:
        """Take every dossier, and keep the receipt.

        Raises:
            Unavailable: It cannot be stored now, and is finished later.
        """
        try:
            return await self._taken(envelope)
        except Unavailable:
            receipt = await self._there()
            if receipt is None:
                raise
            return receipt

    async def _there(self) -> Receipt | None:
        """Return the receipt that is there after all.

        Another process has taken the submission up, or the end of our own commit was not known.
        """
        if self.lease is None or await self.lease.is_ours():
            return None
        raw = await self.ctx.store.get(keep.SUBMISSION, str(self.submission_id))
        receipt = None if raw is None else decode(raw)
        self.ctx.trail.written |= receipt is not None and receipt.accepted > 0
        return receipt

    async def _taken(self, envelope: Envelope) -> Receipt:
        refusal = await self._unsigned()
        if len(envelope.dossiers) == 1:
            return await self._only(envelope, refusal)
        taken = await self._all(envelope, refusal)
        receipt = self._receipt(envelope, taken)
        await self._keep_receipt(receipt)
        return receipt

    async def _only(self, envelope: Envelope, refusal: RecordIssue | None) -> Receipt:
        """Take the one dossier, and its receipt in the same commit."""
        (dossier,) = envelope.dossiers

        def receipt(part: DossierReceipt) -> Sequence[Put]:
            return self._puts(self._receipt(envelope, [part]))

        part, is_kept = await self._take(envelope, dossier, refusal, receipt)
        whole = self._receipt(envelope, [part])
        if not is_kept:
            await self._keep_receipt(whole)
        elif self.lease is not None:
            self.lease.done()
        return whole

    async def _all(self, envelope: Envelope, refusal: RecordIssue | None) -> list[DossierReceipt]:
        taken: dict[int, DossierReceipt] = {}
        waiting = iter(envelope.dossiers)

        async def work() -> None:
            for dossier in waiting:
                taken[dossier.n], _ = await self._take(envelope, dossier, refusal)

        try:
            async with asyncio.TaskGroup() as group:
                # A dry run remembers what came before, so its dossiers come one by one.
                at_once = 1 if self.submission.dry_run else _AT_ONCE
                for _ in range(min(at_once, len(envelope.dossiers))):
                    group.create_task(work())
        except ExceptionGroup as failed:
            # What one could not store is nobody's fault: the mark stays, and it is finished later.
            raise failed.exceptions[0] from failed
        return [taken[dossier.n] for dossier in envelope.dossiers]

    async def _take(
        self,
        envelope: Envelope,
        dossier: Dossier,
        refusal: RecordIssue | None,
        receipt: Callable[[DossierReceipt], Sequence[Put]] | None = None,
    ) -> tuple[DossierReceipt, bool]:
        """Check, map and commit one dossier; say whether its receipt was committed with it."""
        issues = (*dossier.issues, *self._checked(envelope, dossier))
        if refusal is not None:
            issues = (*issues, refusal)
        record = dossier.record
        if record is None or any(issue.severity == "error" for issue in issues):
            return dossier_receipt(dossier.ma_lk, Outcome("rejected"), issues), False
        sending = Sending(
            record=record,
            facility=record.facility,
            ma_lk=record.xml1.ma_lk,
            kind=self._kind,
            received=from_micros(self.received),
            micros=self.received,
            submission=f"{self.submission_id}/{dossier.n}",
            source=f"submissions/{self.submission_id}/source" if self.submission_id else None,
            late=self.late,
        )
        is_kept = False

        def part_of(outcome: Outcome) -> DossierReceipt:
            names = not self.submission.dry_run
            return dossier_receipt(dossier.ma_lk, outcome, issues, names=names)

        def puts(outcome: Outcome) -> Sequence[Put]:
            nonlocal is_kept
            if receipt is None:
                return self._fence(outcome)
            is_kept = True
            return receipt(part_of(outcome))

        try:
            outcome = await commit_dossier(
                self.ctx,
                sending,
                puts,
                dry_run=self.foreseen if self.submission.dry_run else None,
                audit=receipt is not None,
                again=self._still_ours,
            )
        except (FhirError, ArithmeticError, LookupError, TypeError, ValueError) as fault:
            if isinstance(fault, FhirError) and fault.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            # A dossier that passed its check and still is no FHIR is a fault of ours; it must not
            # take the submission's other dossiers with it.
            log.exception("dossier.unmappable", fault=type(fault).__name__)
            return dossier_receipt(
                dossier.ma_lk, Outcome("rejected"), (*issues, _UNMAPPABLE)
            ), False
        return part_of(outcome), is_kept

    @property
    def _kind(self) -> Kind:
        return "xml" if self.submission.form == "xml" else "fields16"

    def _checked(self, envelope: Envelope, dossier: Dossier) -> Sequence[RecordIssue]:
        record = dossier.record
        if record is None:
            return ()
        found = check(record, now=from_micros(self.received), kind=self._kind)
        return (*found, *self._foreign(envelope, record.facility))

    def _foreign(self, envelope: Envelope, facility: str) -> Sequence[RecordIssue]:
        """Return what is wrong with whose dossier it is (rule FACILITY)."""
        principal = self.ctx.principal
        if principal.kind == "system" or not facility:
            return ()
        issues = []
        if facility != principal.code:
            issues.append(_NOT_YOURS)
        if envelope.facility and envelope.facility != principal.code:
            issues.append(_NOT_YOUR_ENVELOPE)
        return issues

    async def _unsigned(self) -> RecordIssue | None:
        verify, body = self.submission.verify, self.submission.body
        if verify is None or self.submission.form != "xml":
            return None
        return None if await keep.aside(len(body), verify, body) else _UNSIGNED

    def _facility(self, envelope: Envelope) -> str | None:
        principal = self.ctx.principal
        if principal.kind != "system":
            return principal.code
        records = (dossier.record for dossier in envelope.dossiers)
        codes = {record.facility for record in records if record is not None}
        return codes.pop() if len(codes) == 1 else envelope.facility

    def _receipt(self, envelope: Envelope, taken: Sequence[DossierReceipt]) -> Receipt:
        received = from_micros(self.received)
        facility = self._facility(envelope)
        return receipt_of(self.submission_id, received, facility, taken, envelope.issues)

    def _puts(self, receipt: Receipt) -> Sequence[Put]:
        if self.lease is None:
            return ()
        return (*kept_with(receipt, self.received), self.lease.ended())

    def _fence(self, outcome: Outcome) -> Sequence[Put]:
        """Return what keeps a process that was asleep from writing what is another's by now."""
        if self.lease is None or outcome.status in {"unchanged", "rejected"}:
            return ()
        return (self.lease.fence(),)

    async def _still_ours(self) -> None:
        """Go on, unless another process has taken the submission up.

        Raises:
            Unavailable: One has.
        """
        if self.lease is not None and not await self.lease.is_ours():
            raise Unavailable("Another process has taken this submission up.")

    async def _keep_receipt(self, receipt: Receipt) -> None:
        if self.lease is None:
            return
        trail = self.ctx.trail
        # What was taken and who took it are durable together; of what was refused whole,
        # perform_with leaves the record.
        taken = trail.draft is not None and not trail.written and receipt.accepted > 0
        audit = (trail.draft(patients_in(receipt)),) if taken and trail.draft else ()
        while True:
            batch = Batch(puts=self._puts(receipt), audit=audit)
            try:
                await self.ctx.store.commit(batch)
            except RecordChanged:
                await self._still_ours()  # it was renewed meanwhile
            else:
                break
        self.lease.done()
        trail.written = trail.written or bool(audit)


_NOT_YOURS: Final = RecordIssue(
    "error",
    "FACILITY",
    "XML1.MA_CSKCB",
    "The dossier is of another facility than the one that sends it.",
    "Hồ sơ thuộc cơ sở khám chữa bệnh khác với cơ sở đang gửi.",
)
_NOT_YOUR_ENVELOPE: Final = RecordIssue(
    "error",
    "FACILITY",
    "THONGTINDONVI.MACSKCB",
    "The envelope names another facility than the one that sends it.",
    "THONGTINDONVI ghi mã cơ sở khác với cơ sở đang gửi.",
)
_UNSIGNED: Final = RecordIssue(
    "error",
    "SIGNATURE",
    "CHUKYDONVI",
    "The envelope has no valid signature of the facility, which this server requires.",
    "Gói dữ liệu không có chữ ký số hợp lệ của đơn vị, máy chủ này bắt buộc phải có.",
)
_UNMAPPABLE: Final = RecordIssue(
    "error",
    "FORMAT",
    "XML1",
    "The dossier cannot be written as valid FHIR; nothing of it was stored.",
    "Không thể ghi hồ sơ thành dữ liệu FHIR hợp lệ; không có gì được lưu.",
)
