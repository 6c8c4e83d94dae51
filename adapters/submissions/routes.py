"""`/submissions` over HTTP: dossiers in; receipts, sources and lists out (contract section 5)."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from typing import Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from adapters.submissions import keep, listing
from adapters.submissions.body import body_of, form_of
from adapters.submissions.intake import Submission, Verify, submit
from adapters.submissions.problem import failure, problem
from adapters.submissions.receipt import STATUSES, Receipt, decode, encode, patients_in
from auth.criteria import Anything, Tagged
from fhir_server.interactions.context import Context, ContextOf, FhirRequest, FhirResult
from fhir_server.interactions.perform import perform_with, refused
from fhir_server.model.outcome import FhirError, InvalidValue, UnknownResource, UnsupportedMethod

log = structlog.get_logger()

JSON: Final = "application/json"
DRY_RUN: Final = "dry-run"
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_PRIVATE: Final = {"Cache-Control": "no-store"}
_CURSOR: Final = re.compile(r"[0-9a-f]{16}\|[A-Za-z0-9\-.]{1,64}").fullmatch
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch
_MOST: Final = 1000

Handler = Callable[[Context, Request], Awaitable[Response]]


class _Path:
    """One path: who asks, which method, and every refusal as a problem."""

    def __init__(self, context_of: ContextOf, handlers: Mapping[str, Handler]) -> None:
        self._context_of = context_of
        self._handlers = dict(handlers)
        if "GET" in handlers:
            self._handlers["HEAD"] = handlers["GET"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        try:
            answer = await self._answer(request)
        except FhirError as refusal:
            answer = problem(refusal)
        except ClientDisconnect:
            return
        except Exception as fault:
            # The edge: nobody above answers as a problem.
            log.exception("submissions.failed", fault=type(fault).__name__)
            answer = failure()
        await answer(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        source = request.client.host if request.client else ""
        ctx = await self._context_of(request.headers.get("authorization"), source)
        handler = self._handlers.get(request.method)
        if handler is not None:
            return await handler(ctx, request)
        if self._handlers:
            allowed = ", ".join(sorted(self._handlers))
            refusal: FhirError = UnsupportedMethod(
                f"This path answers {allowed}.",
                text_vi=f"Đường dẫn này chỉ nhận {allowed}.",
                headers={"Allow": allowed},
            )
        else:
            refusal = UnknownResource(
                "There is nothing at this path.", text_vi="Không có gì ở đường dẫn này."
            )
        asked = FhirRequest("submission-read", method=request.method, url=request.url.path)
        await refused(ctx, asked, refusal)
        raise refusal


def submissions_routes(
    context_of: ContextOf, *, base_url: str, verify: Verify | None = None
) -> list[Route]:
    """Return the routes of `/submissions`.

    Args:
        context_of: Makes the Context of a request.
        base_url: The public origin, without a slash at its end.
        verify: Where a signature is required, what verifies an envelope's CHUKYDONVI.
    """

    async def post(ctx: Context, request: Request) -> Response:
        return await _post(ctx, request, verify)

    async def many(ctx: Context, request: Request) -> Response:
        return await _list(ctx, request, base_url.rstrip("/"))

    rows: tuple[tuple[str, dict[str, Handler]], ...] = (
        ("/submissions", {"POST": post, "GET": many}),
        ("/submissions/", {"POST": post, "GET": many}),
        ("/submissions/{id}", {"GET": _receipt}),
        ("/submissions/{id}/source", {"GET": _source}),
        ("/submissions/{rest:path}", {}),
    )
    return [Route(path, _Path(context_of, handlers)) for path, handlers in rows]


async def _post(ctx: Context, request: Request, verify: Verify | None) -> Response:
    async def sent() -> Submission:
        dry_run = _is_dry_run(request)
        media_type = request.headers.get("content-type", "")
        form = form_of(media_type)
        return Submission(await body_of(request), form, media_type, dry_run, verify)

    receipt = await submit(ctx, sent)
    headers = dict(_PRIVATE)
    if receipt.id is not None:
        headers["Location"] = f"/submissions/{receipt.id}"
    return Response(encode(receipt), receipt.status, headers, JSON)


async def _receipt(ctx: Context, request: Request) -> Response:
    raw, _ = await _shown(ctx, request)
    return Response(raw, headers=_PRIVATE, media_type=JSON)


async def _source(ctx: Context, request: Request) -> Response:
    _, receipt = await _shown(ctx, request)
    submission_id = receipt.id or ""
    source = await keep.source_of(ctx.store, submission_id)
    if source is None:
        raise _unknown()
    body = await keep.body_of(ctx.store, submission_id, source)
    headers = {
        **_PRIVATE,
        "Content-Type": source.media_type,
        # What a hospital sent is never a page of ours.
        "Content-Disposition": f'attachment; filename="{submission_id}.{source.form}"',
        "X-Content-Type-Options": "nosniff",
    }
    return Response(body, headers=headers)


async def _shown(ctx: Context, request: Request) -> tuple[bytes, Receipt]:
    """Return the receipt of the path, if it is the caller's; leave the AuditEvent."""
    shown: list[tuple[bytes, Receipt]] = []

    async def run(within: Context, _request: FhirRequest) -> FhirResult:
        raw = await within.store.get(keep.SUBMISSION, request.path_params["id"])
        facility = _facility(within)
        receipt = decode(raw) if raw is not None else None
        if raw is None or receipt is None or facility not in {listing.ALL, receipt.facility}:
            raise _unknown()
        shown.append((raw, receipt))
        return FhirResult(patients=patients_in(receipt))

    await perform_with(ctx, _asked(request), run)
    return shown[0]


async def _list(ctx: Context, request: Request, base_url: str) -> Response:
    answer: list[bytes] = []

    async def run(within: Context, _request: FhirRequest) -> FhirResult:
        wanted = _wanted(request, _facility(within))
        page = await listing.listed(within.store, wanted)
        url = listing.next_url(base_url, wanted, page.next) if page.next else None
        items = [msgspec.Raw(raw) for raw in page.receipts]
        answer.append(msgspec.json.encode({"items": items, "next": url}))
        receipts = [decode(raw) for raw in page.receipts]
        named = frozenset[str]().union(*(patients_in(receipt) for receipt in receipts))
        return FhirResult(patients=named)

    await perform_with(ctx, _asked(request), run)
    return Response(answer[0], headers=_PRIVATE, media_type=JSON)


def _asked(request: Request) -> FhirRequest:
    return FhirRequest("submission-read", method=request.method, url=request.url.path)


def _facility(ctx: Context) -> str:
    """Return whose submissions the caller sees: a facility's code, or ALL."""
    match ctx.policy.narrow("submission-read", None):
        case Anything():
            return listing.ALL
        case Tagged(tag):
            return tag.removeprefix("facility/")
        case _:
            raise _unknown()


def _unknown() -> UnknownResource:
    return UnknownResource(
        "There is no such submission of this facility.",
        text_vi="Không có lần gửi nào như vậy của cơ sở này.",
    )


# The parameters


def _wanted(request: Request, facility: str) -> listing.Wanted:
    status = _only(request, "status")
    if status is not None and status not in STATUSES:
        raise InvalidValue(
            f"The parameter status must be one of {', '.join(STATUSES)}.",
            text_vi=f"Tham số status phải là một trong {', '.join(STATUSES)}.",
        )
    cursor = _only(request, "_cursor")
    if cursor is not None and not _CURSOR(cursor):
        raise InvalidValue(
            "The parameter _cursor is not one of this server's.",
            text_vi="Tham số _cursor không phải của máy chủ này.",
        )
    return listing.Wanted(
        facility=facility,
        status=status,
        ma_lk=_only(request, "ma_lk"),
        start=_day(request, "from"),
        end=_day(request, "to"),
        count=_count(request),
        cursor=cursor,
    )


def _only(request: Request, name: str) -> str | None:
    """Return a parameter's value; None where it is absent or empty."""
    values = [value for value in request.query_params.getlist(name) if value]
    if len(values) > 1:
        raise InvalidValue(
            f"The parameter {name} may be given once.",
            text_vi=f"Tham số {name} chỉ được ghi một lần.",
        )
    return values[0] if values else None


def _day(request: Request, name: str) -> date | None:
    text = _only(request, name)
    if text is None:
        return None
    try:
        if _DAY(text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise InvalidValue(
        f"The parameter {name} must be a date, such as 2026-11-20.",
        text_vi=f"Tham số {name} phải là ngày, ví dụ 2026-11-20.",
    )


def _count(request: Request) -> int:
    text = _only(request, "_count")
    if text is None:
        return 20
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or int(text) == 0:  # noqa: PLR2004
        raise InvalidValue(
            "The parameter _count must be a whole number from 1.",
            text_vi="Tham số _count phải là số nguyên từ 1.",
        )
    return min(int(text), _MOST)


def _is_dry_run(request: Request) -> bool:
    """Return whether nothing is to be stored; what might have meant that is never a real run."""
    unknown = [name for name in request.query_params if name != DRY_RUN]
    values = [value.lower() for value in request.query_params.getlist(DRY_RUN)]
    if unknown or len(values) > 1 or not set(values) <= _BOOLEANS.keys():
        raise InvalidValue(
            f"The one parameter known here is {DRY_RUN}, once, with the value true or false.",
            text_vi=f"Ở đây chỉ có tham số {DRY_RUN}, ghi một lần, giá trị true hoặc false.",
        )
    return bool(values) and _BOOLEANS[values[0]]
