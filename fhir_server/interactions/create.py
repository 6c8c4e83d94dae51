"""Create a new resource, also conditionally.

https://hl7.org/fhir/R4/http.html#create
"""

from __future__ import annotations

from fhir_server.interactions.asked import ask_of
from fhir_server.interactions.commit import write
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.plan import Step


async def create(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the resource that was made, or the one that a condition already matches.

    Raises:
        Invalid: The resource is not valid.
        Duplicate: Another resource holds an identifier that only one may hold.
        MultipleMatches: The condition matches several resources.
    """
    plan = await write(ctx, [ask_of(request, "POST", ctx.new_id)])
    return result_of(plan.steps[0], plan.patients())


def result_of(step: Step, patients: frozenset[str]) -> FhirResult:
    """Return what a create or update answers."""
    version = step.version
    if step.hidden and version is not None:
        place = f"{version.resource_type}/{version.resource_id}"
        # It is not shown, but that somebody knew of it is for the person to see.
        named = patients | frozenset(version.patients)
        return FhirResult(200, location=place, hidden=True, patients=named)
    location = None
    if version is not None and (step.status == 201 or step.ask.condition is not None):  # noqa: PLR2004 - HTTP's Created
        location = location_of(version.resource_type, version.resource_id, version.version_id)
    return FhirResult(
        step.status, version=version, location=location, issues=step.issues, patients=patients
    )


def location_of(resource_type: str, resource_id: str, version_id: int) -> str:
    """Return the path of a version below the base."""
    return f"{resource_type}/{resource_id}/_history/{version_id}"
