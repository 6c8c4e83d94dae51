"""The one way in: policy, run, and an AuditEvent that is durable before the answer.

Whoever asks, over HTTP, from a page or from a dossier, comes through here.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fhir_server.interactions import audit
from fhir_server.interactions.elsewhere import without_elsewhere
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.narrow import require_granted
from fhir_server.interactions.operation import operation_of
from fhir_server.interactions.redact import redacted
from fhir_server.interactions.transaction import transaction
from fhir_server.model.outcome import (
    Conflict,
    FhirError,
    InvalidValue,
    TooCostly,
    Unavailable,
)
from fhir_server.store.port import BadCursor, CommitRefused, WorkBudgetExceeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.context import Context, FhirRequest, FhirResult, Interaction

ALL: Final[Mapping[str, Interaction]] = MappingProxyType({
    **FUNCTIONS,
    "transaction": transaction,
    "batch": transaction,
})
_FAILED: Final = 500


async def perform(ctx: Context, request: FhirRequest) -> FhirResult:
    """Run an interaction for a caller, as far as the policy allows, and leave an AuditEvent.

    Raises:
        FhirError: The interaction is refused; the AuditEvent says so.
    """
    return await perform_with(ctx, request, ALL[request.interaction])


async def perform_with(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    """Run a function that an edge or operation brings, in the same way.

    Raises:
        FhirError: The interaction is refused; the AuditEvent says so.
    """
    audit.begin(ctx, request)
    try:
        result = await _run(ctx, request, run)
        if ctx.policy.masks:
            result = await redacted(ctx, request, result)
        if ctx.policy.facility:
            result = without_elsewhere(result, ctx.policy.facility)
    except FhirError as refusal:
        await refused(ctx, request, refusal)
        raise
    except Exception:
        await audit.leave(ctx, request, _FAILED, audit.named_by_path(request))
        raise
    await audit.leave(ctx, request, result.status, result.patients, result)
    return result


async def _run(ctx: Context, request: FhirRequest, run: Interaction) -> FhirResult:
    if request.interaction == "operation":
        operation_of(ctx, request)
    require_granted(ctx, request)
    try:
        return await run(ctx, request)
    except WorkBudgetExceeded as failure:
        raise TooCostly(
            "The search is too costly; ask for something narrower.",
            text_vi="Tìm kiếm quá nặng; hãy hỏi phạm vi hẹp hơn.",
        ) from failure
    except BadCursor as failure:
        raise InvalidValue(
            "The parameter _cursor is not one that this server gave for this search.",
            text_vi="Tham số _cursor không phải do máy chủ này cấp cho tìm kiếm này.",
        ) from failure
    except CommitRefused as failure:
        raise Conflict(
            "Another changed the same at the same time; please try again.",
            text_vi="Người khác vừa thay đổi cùng dữ liệu này; hãy thử lại.",
        ) from failure


async def refused(ctx: Context, request: FhirRequest, refusal: FhirError) -> None:
    """Leave the AuditEvent of a request that was refused, also before it could be performed.

    Raises:
        Unavailable: It could not be made durable, and the refusal does not say as much already: of
            a write that may be stored the caller must be told so.
    """
    try:
        await audit.leave(ctx, request, refusal.status, audit.named_by_path(request))
    except Unavailable:
        if not isinstance(refusal, Unavailable):
            raise
