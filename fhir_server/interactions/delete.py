"""Delete a resource, or all that match.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from fhir_server.interactions.asked import ask_of
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import Context, FhirRequest, FhirResult


async def delete(ctx: Context, request: FhirRequest) -> FhirResult:
    """Delete; what is not there, or not shown, is no error and has no effect.

    Raises:
        Forbidden: It is shown to the caller, who may not delete it.
        Conflict: Another resource refers to it.
        PreconditionFailed: It is not at the version that If-Match names.
    """
    plan = await write(ctx, [ask_of(request, "DELETE", ctx.new_id)])
    headers: tuple[tuple[str, str], ...] = ()
    if len(plan.removals.versions) == 1:
        (gone,) = plan.removals.versions.values()
        headers = (("ETag", f'W/"{gone.version_id + 1}"'),)
    return FhirResult(204, patients=plan.patients(), headers=headers)
