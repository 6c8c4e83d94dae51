"""Update a resource, or make it under the id that the client chose.

https://hl7.org/fhir/R4/http.html#update
"""

from __future__ import annotations

from fhir_server.interactions.asked import ask_of
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.create import result_of


async def update(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the new version; the same content again is no version, and the current one.

    Raises:
        Invalid: The resource is not valid.
        Forbidden: It is shown to the caller, who may not change it.
        UnknownResource: There is none, or it is not shown, and the caller may not choose ids.
        PreconditionFailed: It is not at the version that If-Match names.
        MultipleMatches: The criteria of a conditional update match several resources.
    """
    plan = await write(ctx, [ask_of(request, "PUT", ctx.new_id)])
    return result_of(plan.steps[0], plan.patients())
