"""Transaction and batch: the entries of a Bundle, as one or each on its own.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec

from fhir_server.interactions.answer import STORED, dumps, etag
from fhir_server.interactions.asked import at
from fhir_server.interactions.audit import named_by_entry
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import AuditTrail, Context, FhirRequest, FhirResult, Resource
from fhir_server.interactions.create import result_of
from fhir_server.interactions.entry import READS, Entry, ask_in, entries_of, place_of, read_entry
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.narrow import require_granted
from fhir_server.interactions.operation import operation_of
from fhir_server.interactions.refusals import costs_too_much, took_too_long, wrong_cursor
from fhir_server.model import bundle
from fhir_server.model.outcome import (
    Conflict,
    FhirError,
    Gone,
    InvalidValue,
    TooCostly,
    operation_outcome,
)
from fhir_server.model.primitives import format_instant, from_micros
from fhir_server.store.port import BadCursor, CommitRefused, WorkBudgetExceeded
from fhir_server.store.work import breathe, current

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fhir_server.interactions.plan import Plan, Step
    from fhir_server.model.comments import Comments
    from fhir_server.store.port import Condition, Name, Put, Tag, Version


MOST_SHOWN: Final = 100_000_000
"""Bytes that the entries of one Bundle that read or search may show together, about."""


@dataclass(slots=True)
class Shown:
    """What the reading entries of one Bundle show: it is held in memory until all are done.

    Attributes:
        size: Its bytes, about.
        seconds: How long it took to read.
    """

    size: int = 0
    seconds: float = 0.0

    def require_room(self) -> None:
        """Refuse to read more.

        Raises:
            TooCostly: The entries before have shown as much as a Bundle may, or taken too long.
        """
        work = current()
        if work is not None and self.seconds >= work.longest:
            raise took_too_long()
        if self.size > MOST_SHOWN:
            raise TooCostly(
                f"The entries of this Bundle ask for more than {MOST_SHOWN // 1_000_000} MB; "
                "ask for the rest in another one.",
                text_vi="Các mục của Bundle này yêu cầu nhiều hơn "
                f"{MOST_SHOWN // 1_000_000} MB; hãy hỏi phần còn lại trong Bundle khác.",
            )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Be about to read one, if there is room; raises as `require_room` does."""
        self.require_room()
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds += time.monotonic() - began

    def add(self, result: FhirResult) -> FhirResult:
        """Count a result, and return it with its body as bytes."""
        if result.body is None and result.version is None and result.resource is not None:
            result = replace(result, body=dumps(result.resource))
        version = result.version.body if result.version is not None else b""
        self.size += len(version if result.body is None else result.body)
        return result


@dataclass(frozen=True, slots=True)
class EntryResult:
    """What became of one entry of a transaction that our own code asked for.

    Attributes:
        version: The version that is there now; None after a deletion.
        changed: Whether a version was made.
        created: Whether it is a new resource.
    """

    status: int
    name: Name | None
    version: Version | None
    changed: bool
    created: bool


async def transaction(ctx: Context, request: FhirRequest) -> FhirResult:
    """Do a Bundle's entries: a transaction all or none, a batch each on its own.

    Raises:
        Malformed: The body is no Bundle of type transaction or batch.
        FhirError: An entry of a transaction is refused; the issue's expression names it.
    """
    asked = request.resource or {}
    entries = entries_of(asked)
    if asked["type"] == "batch":
        return await _batch(ctx, request, entries)
    return await _transaction(ctx, request, entries)


# Transaction


async def _transaction(
    ctx: Context, request: FhirRequest, entries: list[dict[str, Any]]
) -> FhirResult:
    ordered = [
        entry.commented(request.comments) for entry in _ordered(ctx, entries, request.handling)
    ]
    for entry in ordered:
        with at(entry.place):
            _require_doable(ctx, entry)
    asks = [(entry, ask_in(entry, ctx.new_id, ctx.patching)) for entry in ordered]
    writes = [entry for entry, ask in asks if ask is not None]
    reads = [entry for entry, ask in asks if ask is None]

    async def check(plan: Plan) -> None:
        shown = Shown()
        for entry in reads:
            await breathe()
            with at(entry.place), shown.reading():
                await _check_read(ctx, plan, entry, shown)

    plan = await write(ctx, [ask for _, ask in asks if ask], check=check if writes else None)
    results: dict[int, dict[str, Any]] = {}
    patients = set(plan.patients())
    for entry, step in zip(writes, plan.steps, strict=True):
        results[entry.number] = response_of(ctx, _written(step), request.prefer)
    # What is committed is answered: its reads were tried before.
    patients |= await _add_reads(ctx, reads, results, is_committed=bool(writes))
    answer = bundle.transaction_response(results[number] for number in sorted(results))
    return FhirResult(body=dumps(answer), patients=frozenset(patients))


async def answer_again(
    ctx: Context, request: FhirRequest, made: Sequence[FhirResult], patients: frozenset[str]
) -> FhirResult:
    """Return the answer of a transaction that was committed, where the answer itself was lost.

    Args:
        ctx: Whose it is.
        request: The transaction.
        made: What its writes came to, in the order in which they were done.
        patients: Whom they concerned.
    """
    ordered = _ordered(ctx, entries_of(request.resource or {}), request.handling)
    writes = [entry for entry in ordered if entry.order != READS]
    results: dict[int, dict[str, Any]] = {}
    for entry, result in zip(writes, made, strict=True):
        results[entry.number] = response_of(ctx, result, request.prefer)
    patients |= await _add_reads(ctx, ordered[len(writes) :], results, is_committed=True)
    answer = bundle.transaction_response(results[number] for number in sorted(results))
    return FhirResult(body=dumps(answer), patients=patients)


def _room(shown: Shown, *, is_committed: bool) -> AbstractContextManager[None]:
    """Return the bound of a read: how long it takes counts before the commit alone."""
    if not is_committed:
        return shown.reading()
    shown.require_room()
    return nullcontext()


async def _add_reads(
    ctx: Context, reads: Sequence[Entry], results: dict[int, dict[str, Any]], *, is_committed: bool
) -> set[str]:
    """Add what the reading entries of a transaction come to; return whom they showed.

    Raises:
        FhirError: One is refused, and nothing was committed. What was is told: that entry says
            what is wrong, for an error of the whole would have it sent again.
    """
    shown = Shown()
    patients: set[str] = set()
    for entry in reads:
        await breathe()
        try:
            with at(entry.place), _room(shown, is_committed=is_committed):
                result = shown.add(await _run(ctx, entry.request))
        except FhirError as refusal:
            if not is_committed:
                raise
            results[entry.number] = refusal_of(refusal)
            continue
        preferred = preferred_of(entry.request.method, result, "representation")
        results[entry.number] = response_of(ctx, result, preferred)
        patients |= result.patients
    return patients


def _ordered(
    ctx: Context,
    entries: list[dict[str, Any]],
    handling: Literal["strict", "lenient"] = "lenient",
) -> list[Entry]:
    read = [read_entry(e, n, ctx.base_url, handling) for n, e in enumerate(entries)]
    seen: set[str] = set()
    for entry in read:
        if entry.full_url and entry.full_url in seen:
            # FHIR: bdl-7: a fullUrl is unique in a Bundle.
            raise InvalidValue("Two entries have the same fullUrl.", expression=[entry.place])
        seen.add(entry.full_url)
    return sorted(read, key=lambda entry: entry.order)


def _require_doable(ctx: Context, entry: Entry) -> None:
    if entry.request.interaction == "operation":
        row = operation_of(ctx, entry.request)
        if row.affects_state:
            raise InvalidValue(
                "An operation that changes something is no part of a transaction.",
                text_vi="Thao tác có thay đổi dữ liệu không được nằm trong một giao dịch.",
            )
    require_granted(ctx, entry.request)


async def _check_read(ctx: Context, plan: Plan, entry: Entry, shown: Shown) -> None:
    """Refuse, before anything is committed, a read that would be refused after it."""
    request = entry.request
    if request.interaction == "read":
        name = (request.resource_type or "", request.resource_id or "")
        if name in plan.removals.versions:
            raise Gone(f"{name[0]}/{name[1]} is deleted by this Bundle.")
        for step in plan.steps:
            if step.name == name and step.write is not None:
                shown.size += len(step.write.body)
                return
    shown.add(await _run(ctx, request))


def _written(step: Step) -> FhirResult:
    if step.ask.method == "DELETE":
        return FhirResult(step.status)
    return result_of(step, frozenset())


async def run_transaction(
    ctx: Context,
    asked: Resource,
    *,
    comments: Comments | None = None,
    puts: Sequence[Put] = (),
    tag_all: frozenset[str] = frozenset(),
    tags: Sequence[Tag] = (),
    conditions: Sequence[Condition] = (),
    audit: bool = False,
) -> list[EntryResult]:
    """Do a transaction of our own, with ledger records and conditions in the same commit.

    Args:
        ctx: Whose policy and tags count.
        asked: A Bundle of creates, updates and deletes.
        comments: Those that it came with; None where it did not come as XML.
        puts: Ledger records.
        tag_all: Access tags for every resource that is written or found.
        tags: Access tags for resources that the Bundle only names.
        conditions: Conditions besides; where one fails, ConditionChanged comes out at once.
        audit: Whether the record of `ctx.trail` goes into the commit.

    Returns:
        A result for each entry, in the Bundle's order.

    Raises:
        FhirError: An entry is refused; nothing is done.
        CommitRefused: A condition or ledger record does not hold; nothing is done.
    """
    ordered = [entry.commented(comments) for entry in _ordered(ctx, entries_of(asked))]
    asks = [ask for entry in ordered if (ask := ask_in(entry, ctx.new_id)) is not None]
    if len(asks) < len(ordered):
        raise InvalidValue("A transaction of our own has creates, updates and deletes alone.")
    plan = await write(
        ctx,
        asks,
        puts=puts,
        conditions=conditions,
        tag_all=tag_all,
        tags=tags,
        audit=audit,
    )
    results = {
        entry.number: _entry_result(step, plan)
        for entry, step in zip(ordered, plan.steps, strict=True)
    }
    return [results[number] for number in sorted(results)]


def _entry_result(step: Step, plan: Plan) -> EntryResult:
    deleted = step.ask.method == "DELETE"
    return EntryResult(
        status=step.status,
        name=step.name,
        version=None if deleted else step.version,
        changed=step.write is not None or (deleted and step.name in plan.removals.versions),
        created=step.status == HTTPStatus.CREATED,
    )


# Batch


async def _batch(ctx: Context, request: FhirRequest, entries: list[dict[str, Any]]) -> FhirResult:
    answers: list[dict[str, Any]] = []
    patients: set[str] = set()
    denied: set[str] = set()
    refusals = 0
    shown = Shown()
    for number, entry in enumerate(entries):
        await breathe()
        try:
            result = await _one(ctx, request, entry, number, shown)
        except FhirError as refusal:
            answers.append(refusal_of(refusal))
            denied.update(named_by_entry(entry))
            refusals += 1
            continue
        patients |= result.patients
        preferred = preferred_of(entry["request"]["method"], result, request.prefer)
        answers.append(response_of(ctx, result, preferred))
    body = dumps(bundle.batch_response(answers))
    return FhirResult(
        body=body,
        patients=frozenset(patients),
        refusals=refusals,
        denied=frozenset(denied - patients),
    )


async def _one(
    ctx: Context, request: FhirRequest, asked: dict[str, Any], number: int, shown: Shown
) -> FhirResult:
    """Do one entry of a batch; the batch's own AuditEvent speaks of it."""
    entry = read_entry(asked, number, ctx.base_url, request.handling).commented(request.comments)
    own = replace(ctx, trail=AuditTrail(request_id=ctx.trail.request_id))
    with at(place_of(number)):
        if entry.request.interaction == "operation":
            operation_of(ctx, entry.request)
        require_granted(ctx, entry.request)
        if entry.order != READS:
            return await _run(own, entry.request)
        with shown.reading():
            return shown.add(await _run(own, entry.request))


async def _run(ctx: Context, request: FhirRequest) -> FhirResult:
    try:
        return await FUNCTIONS[request.interaction](ctx, request)
    except WorkBudgetExceeded as failure:
        raise costs_too_much() from failure
    except BadCursor as failure:
        raise wrong_cursor() from failure
    except CommitRefused as failure:
        raise Conflict(
            "Another changed the same at the same time; please try again.",
            text_vi="Người khác vừa thay đổi cùng dữ liệu này; hãy thử lại.",
        ) from failure


# Answers


def preferred_of(method: str, result: FhirResult, prefer: str) -> str:
    """Return what an entry's answer has beside its status: a read is shown, HEAD shows nothing.

    Args:
        method: Of the entry's request.
        result: What became of it.
        prefer: What the client wants of a write.
    """
    if method == "HEAD":
        return "minimal"
    return prefer if result.location else "representation"


def response_of(ctx: Context, result: FhirResult, prefer: str) -> dict[str, Any]:
    """Return the entry that answers one: status, version, location, and what is preferred."""
    response: dict[str, str] = {}
    if result.location:
        response["location"] = f"{ctx.base_url}/{result.location}"
    version = result.version
    if version is not None and not result.hidden:
        response["etag"] = etag(version.version_id)
        response["lastModified"] = format_instant(from_micros(version.last_updated))
    resource = None
    if not result.hidden and prefer == "representation":
        resource = _resource(result)
    outcome = None
    if result.issues:
        outcome = operation_outcome(result.issues)
    elif prefer == "OperationOutcome" and version is not None and not result.hidden:
        outcome = operation_outcome([STORED])
    return bundle.response_entry(
        _status(result.status), resource=resource, outcome=outcome, **response
    )


def _resource(result: FhirResult) -> Any:
    if result.status == HTTPStatus.NOT_MODIFIED:
        return None
    if result.body is not None:
        return msgspec.Raw(result.body)
    if result.version is not None and result.version.body:
        return msgspec.Raw(result.version.body)
    return result.resource


def refusal_of(refusal: FhirError) -> dict[str, Any]:
    """Return the entry that says what one was refused with."""
    return bundle.response_entry(_status(refusal.status), outcome=refusal.outcome())


def _status(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
