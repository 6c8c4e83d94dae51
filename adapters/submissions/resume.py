"""What a process left behind when it died, finished by another, at its start or as it serves."""

from __future__ import annotations

from dataclasses import replace

import structlog

from adapters.submissions import keep
from adapters.submissions.intake import Intake, Submission, Verify
from adapters.submissions.receipt import patients_in
from auth.policy import policy_for
from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import AuditTrail, Context, FhirRequest, FhirResult
from fhir_server.interactions.perform import perform_with
from fhir_server.model.outcome import FhirError
from fhir_server.store.leases import Lease, Leases
from fhir_server.store.port import Batch

log = structlog.get_logger()


async def resume_pending(ctx: Context, verify: Verify | None = None) -> int:
    """Finish what was kept and is not answered, where nobody is at work on it any more.

    Dossiers that had been committed are not committed again, and a visit that was sent anew since
    keeps its newer content. It costs little where nothing is to be done: every server looks now
    and then.

    Args:
        ctx: A system Context.
        verify: As in Submission.

    Returns:
        How many there were.
    """
    leases = Leases(ctx.store, ctx.now)
    found = 0
    async for submission_id, seen in keep.pending(ctx.store):
        lease = await leases.take_over(submission_id, seen, bucket=keep.PENDING)
        if lease is None:
            continue
        found += 1
        async with lease:
            try:
                await _resume(ctx, submission_id, verify, lease)
            except Exception as fault:
                # One that cannot be finished now must not stop the others; its mark stays.
                log.exception(
                    "submission.not_resumed", submission=submission_id, fault=type(fault).__name__
                )
                await lease.give_back(failed=True)
    return found


async def _resume(ctx: Context, submission_id: str, verify: Verify | None, lease: Lease) -> None:
    source = await keep.source_of(ctx.store, submission_id)
    if source is None or await ctx.store.get(keep.SUBMISSION, submission_id) is not None:
        await ctx.store.commit(Batch(puts=(lease.ended(),)))
        lease.done()
        return
    body = await keep.body_of(ctx.store, submission_id, source)
    submission = Submission(body, source.form, source.media_type, verify=verify)
    principal = Principal(source.kind, source.client_id, source.code, display=source.display)
    within = replace(
        ctx,
        principal=SYSTEM if source.kind == "system" else principal,
        policy=policy_for(SYSTEM),
        trail=AuditTrail(),
    )
    intake = Intake(within, submission_id, submission, source.received, lease, late=True)
    try:
        envelope = await intake.read()
    except FhirError:
        await keep.forget(ctx.store, submission_id)
        lease.done()
        return

    async def run(_within: Context, _request: FhirRequest) -> FhirResult:
        receipt = await intake.take(envelope)
        return FhirResult(receipt.status, patients=patients_in(receipt))

    await perform_with(within, FhirRequest("submit", method="POST", url="/submissions"), run)
    log.info("submission.resumed", submission=submission_id)
