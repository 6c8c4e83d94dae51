"""Patch a resource, by its id or by criteria.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from fhir_server.interactions.asked import ask_of
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.create import result_of


async def patch(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the new version; a patch that changes nothing is no version, and the current one.

    Raises:
        UnsupportedMediaType: The body is of no media type of a patch.
        Malformed: The body is no patch.
        Invalid: The patch cannot be applied, or what it makes is not valid.
        Forbidden: The resource is shown to the caller, who may not change it.
        UnknownResource: There is none, or it is not shown.
        Gone: It was deleted.
        PreconditionFailed: It is not at the version that If-Match names.
        MultipleMatches: The criteria of a conditional patch match several resources.
    """
    plan = await write(ctx, [ask_of(request, "PATCH", ctx.new_id, patching=ctx.patching)])
    return result_of(plan.steps[0], plan.patients())
