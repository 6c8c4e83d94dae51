"""From the credentials of a request to its Context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.rest.request import break_glass

if TYPE_CHECKING:
    from starlette.types import Scope

    from fhir_server.interactions.context import Context, ContextOf
    from fhir_server.rest.request import Arrival


async def authenticated(
    context_of: ContextOf, arrival: Arrival, scope: Scope, request_id: str
) -> Context:
    """Return the Context of a request.

    Raises:
        LoginRequired: There is no token, or it is not valid.
        InvalidValue: The header X-Break-Glass is not a reason.
    """
    authorization = arrival.header(b"authorization")
    peer = scope.get("client")
    source = peer[0] if peer else ""
    reason = arrival.header(b"x-break-glass")
    if reason is None:
        ctx = await context_of(authorization, source)
    else:
        ctx = await context_of(authorization, source, break_glass(reason))
    ctx.trail.request_id = request_id
    return ctx
