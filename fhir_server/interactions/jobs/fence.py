"""What makes a job's writes happen once: each commit of it changes the job's own record too.

The commit expects the record as it was read and says what it made, so whoever else is at the same
work commits nothing; whoever takes the work over sees that it was done, and what to answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.interactions.context import FhirResult
from fhir_server.interactions.create import result_of
from fhir_server.interactions.jobs.record import JOB, WRITTEN, Job, encode, put
from fhir_server.model.outcome import Issue
from fhir_server.store.port import Batch, Put, Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_server.interactions.plan import Plan, Step


class Made(msgspec.Struct, frozen=True, array_like=True):
    """What one step of a commit came to; `version` is 0 where there is none to be told of."""

    status: int
    resource_type: str = ""
    resource_id: str = ""
    version: int = 0
    location: str = ""
    hidden: bool = False
    issues: tuple[Issue, ...] = ()


class Written(msgspec.Struct, frozen=True, array_like=True):
    """What a commit made, in the order in which it was asked for, and the Patients concerned."""

    made: tuple[Made, ...]
    patients: tuple[str, ...]


_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Written).decode


class Fence:
    """Stands around the one commit of a job's unit: a transaction, or an entry of a batch.

    Attributes:
        raw: The job's record once the commit is made, and as `job` what it says.
    """

    bucket: str = JOB

    def __init__(self, job_id: str, raw: bytes, job: Job, puts: Sequence[Put] = ()) -> None:
        """Keep what the commit changes.

        Args:
            job_id: Whose it is.
            raw: The job's record as it is now.
            job: The job as it is once the commit is made.
            puts: What else is kept with it.
        """
        self._job_id = job_id
        self._before = raw
        self._puts = puts
        self.raw, self.job = encode(job), job
        self.is_made = False

    def around(self, batch: Batch, plan: Plan) -> Batch:
        """Return the commit with the job's record in it."""
        if self.is_made:
            raise RuntimeError("What a job does at once must be one commit.")
        written = Written(tuple(map(_made, plan.steps)), tuple(sorted(plan.patients())))
        puts = (
            *batch.puts,
            put_job(self._job_id, self.raw, self.job, self._before),
            put(WRITTEN, self._job_id, _ENCODE(written), self.job),
            *self._puts,
        )
        return msgspec.structs.replace(batch, puts=puts)


def put_job(job_id: str, raw: bytes, job: Job, before: bytes | None) -> Put:
    """Return what changes a job's record from what it was."""
    return Put(JOB, job_id, raw, expected=before, expires=job.ends)


def _made(step: Step) -> Made:
    if step.ask.method == "DELETE":
        return Made(204)
    result = result_of(step, frozenset())
    version = result.version
    if version is None:
        return Made(result.status, location=result.location or "", hidden=result.hidden)
    return Made(
        result.status,
        version.resource_type,
        version.resource_id,
        version.version_id,
        result.location or "",
        issues=result.issues,
    )


async def written_of(store: Store, job_id: str) -> tuple[list[FhirResult], frozenset[str]]:
    """Return what each step of a job's last commit answers, and the Patients concerned."""
    written = _DECODE(await store.get(WRITTEN, job_id) or b"[[],[]]")
    results = []
    for one in written.made:
        version = None
        if one.version:
            version = await store.vread(one.resource_type, one.resource_id, one.version)
        results.append(
            FhirResult(
                one.status,
                version=version,
                location=one.location or None,
                issues=one.issues,
                hidden=one.hidden,
            )
        )
    return results, frozenset(written.patients)
