"""What is kept of an asynchronous request, in the ledger, and what bounds it.

| Bucket | Key | Record |
| --- | --- | --- |
| `job` | id | Job: who asked for what, how far it has come; every step expects it as it was |
| `job-pending` | id | that it is not finished, and by its lease who is at it |
| `job-slot` | owner, number | one of the few that an owner may have open |
| `job-kept` | owner, id | how large the results are that are kept |
| `job-body` | id, number | a part of the body that came with it |
| `job-written` | id | what a commit of it made, of which the answer is not kept yet |
| `job-part` | id, number | answers of a batch's entries |
| `job-file` | id, number | File: what one output URL gives |
| `job-shown` | id, number | ids of the Patients whom that file shows |
| `job-data` | id, file, number | a part of its bytes |

All of them end with the job. A record of the others is made in a commit that changes `job`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from auth.limits import Limit, Limits
from auth.tokens import OUTLIVED, AccessToken
from fhir_server.interactions.context import Context, FhirRequest
from fhir_server.model.patch.refusal import WHOLE_PATCHES
from fhir_server.store.port import Put

if TYPE_CHECKING:
    from auth.principal import Principal
    from fhir_server.store.port import Store

JOB: Final = "job"
PENDING: Final = "job-pending"
SLOT: Final = "job-slot"
KEPT: Final = "job-kept"
BODY: Final = "job-body"
WRITTEN: Final = "job-written"
PART: Final = "job-part"
FILE: Final = "job-file"
SHOWN: Final = "job-shown"
DATA: Final = "job-data"

KIND_OF: Final = {
    "search-type": "search",
    "search-system": "search",
    "history-instance": "history",
    "history-type": "history",
    "history-system": "history",
    "operation": "operation",
    "transaction": "transaction",
}
"""The kind of job that an interaction becomes (`kinds.KINDS`); a Bundle may be a `batch` too.

What is not here is answered at once, whatever the client prefers.
"""

_HOUR: Final = 3600 * 1_000_000
WORKED: Final = 6 * _HOUR
"""Microseconds after its beginning at which a job ends that is not done."""
ENDS: Final = OUTLIVED * 1_000_000
"""Microseconds after its beginning at which nothing of a job is left."""

MOST_OPEN: Final = 10
"""Jobs that one owner may have open at once."""
MOST_KEPT: Final = 500
"""Jobs of one owner whose results are kept at once."""
MOST_KEPT_BYTES: Final = 4_000_000_000
"""Bytes of results, as they are sent, that are kept for one owner when another job is begun."""
MOST_BYTES: Final = 1_000_000_000
"""Bytes that one job may give."""
MOST_FILES: Final = 10_000
"""Output URLs that one job may give."""
CHUNK: Final = 4 * 1024 * 1024
"""Bytes of one record: no store need hold a larger one."""

BEGUN: Final = Limit("job-begun", 120)
"""Asynchronous requests that one owner begins in a minute."""


class Job(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An asynchronous request, and how far it has come.

    Attributes:
        owner: A hash of the client and person who alone may see it.
        basis: The token it was begun with: whether what it rests on still stands is asked at
            every step. That its time is over ends nothing.
        asked: What was asked for, without its body.
        scopes: The scopes it was begun with: a token of fewer finds nothing.
        begun: Microseconds since 1970.
        body: Records that hold the body, of `length` bytes.
        started: When the work began: R4's `transactionTime`.
        done: Pages, or entries of a batch, that are done.
        units: How many there are, where that is known.
        next: The URL of the next page.
        found: Resources in the output.
        written: A commit of the unit at hand was made: it must not be made again.
        shown: Bytes that the entries of a batch have shown.
        patching: What its patches may still cost (`Allowance`).
    """

    kind: str
    owner: str
    slot: int
    basis: AccessToken
    asked: FhirRequest
    begun: int
    scopes: tuple[str, ...] = ()
    source: str = ""
    request_id: str = ""
    body: int = 0
    length: int = 0
    state: Literal["open", "done", "failed"] = "open"
    started: int = 0
    done: int = 0
    units: int = 0
    next: str = ""
    files: int = 0
    size: int = 0
    found: int = 0
    written: bool = False
    shown: int = 0
    patching: float = WHOLE_PATCHES

    @property
    def ends(self) -> int:
        """When nothing of it is left, in microseconds since 1970."""
        return self.begun + ENDS


class File(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one output URL gives: NDJSON of one type.

    Attributes:
        count: Lines.
        size: Bytes, as they are sent.
        chunks: Records that hold them, compressed.
        error: It tells of the request: OperationOutcomes.
    """

    type: str
    count: int
    size: int
    chunks: int
    error: bool = False


_ENCODER: Final = msgspec.json.Encoder()
_JOB: Final = msgspec.json.Decoder(Job)
_FILE: Final = msgspec.json.Decoder(File)


def encode(record: Job | File) -> bytes:
    """Return a record's bytes; equal ones are equal."""
    return _ENCODER.encode(record)


def decode_job(raw: bytes) -> Job:
    """Return the job that a record is."""
    return _JOB.decode(raw)


def decode_file(raw: bytes) -> File:
    """Return the file that a record is."""
    return _FILE.decode(raw)


def owner_of(principal: Principal) -> str:
    """Return what names the client and the person who ask, and in whose name, as a hash."""
    who = (
        principal.client_id, principal.kind, principal.code, principal.fhir_user,
        principal.patient_id,
    )  # fmt: skip
    return sha256(_ENCODER.encode(who)).hexdigest()[:32]


def numbered(job_id: str, *numbers: int) -> str:
    """Return the key of a part of a job."""
    return "/".join((job_id, *(f"{number:06d}" for number in numbers)))


def parts_of(
    store: Store, bucket: str, whose: str, *, after: str = "", limit: int
) -> Awaitable[list[tuple[str, bytes]]]:
    """Return the parts of a job, or the slots of an owner, in the order of their numbers.

    Args:
        store: The store.
        bucket: Which kind of part.
        whose: The job's id, or the owner.
        after: The key of the last one that is known.
        limit: At most so many.
    """
    start = f"{after}\0" if after else f"{whose}/"
    return store.scan(bucket, start=start, end=f"{whose}0", limit=limit)


def put(bucket: str, key: str, value: bytes, job: Job) -> Put:
    """Return a record that ends with its job."""
    return Put(bucket, key, value, expires=job.ends)


Again = Callable[[AccessToken, str], Awaitable[Context]]
"""The Context of a job's basis and source now; LoginRequired where it has ended."""


@dataclass(slots=True)
class Jobs:
    """What a request needs to become a job, of this process.

    Attributes:
        limits: How often jobs may be begun.
        again: The Context of a job's next step.
        wake: Tells those who work in this process that there is something to do.
    """

    limits: Limits
    again: Again
    wake: Callable[[], None] = field(default=lambda: None)
