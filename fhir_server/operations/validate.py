"""`$validate`: what the base definitions find in a resource, without storing it.

https://hl7.org/fhir/R4/resource-operation-validate.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version
from fhir_server.model import codec, parameters
from fhir_server.model.outcome import InvalidValue, Issue, MissingRequired, operation_outcome
from fhir_server.operations.arguments import arguments
from fhir_server.validation.structure import validate as findings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_server.interactions.context import Context

Resource = dict[str, Any]


async def validate(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return an OperationOutcome with everything that is found in a resource.

    Raises:
        MissingRequired: There is no resource to look at.
        InvalidValue: It is of another type than the path says.
        UnknownResource: The stored one that the path names is not here, or not shown.
        Gone: It was deleted.
    """
    resource, patients = await _asked(ctx, request)
    if request.resource_type and resource.get("resourceType") != request.resource_type:
        raise InvalidValue(f"The resource is not a {request.resource_type}.")
    issues = [*findings(resource), *_unknown_profiles(request, resource)]
    if not any(issue.severity in {"error", "fatal"} for issue in issues):
        issues.append(_NO_ERRORS)
    return FhirResult(resource=operation_outcome(issues), patients=patients)


_NO_ERRORS: Final = Issue(
    "informational",
    "No errors were found.",
    severity="information",
    text_vi="Không có lỗi.",
)


def _unknown_profiles(request: FhirRequest, resource: Resource) -> Iterator[Issue]:
    """Warn of each profile asked for that this server does not have: it was not looked at."""
    base = f"http://hl7.org/fhir/StructureDefinition/{resource.get('resourceType')}"
    for name, value in arguments(request):
        if name == "profile" and value.partition("|")[0] != base:
            yield Issue(
                "not-found",
                "The profile that was asked for is not known here; only base R4 was checked.",
                severity="warning",
                text_vi="Máy chủ không biết profile được nêu; chỉ kiểm tra theo FHIR R4 gốc.",
            )


async def _asked(ctx: Context, request: FhirRequest) -> tuple[Resource, frozenset[str]]:
    body = request.resource
    if body and body.get("resourceType") == "Parameters" and request.resource_type != "Parameters":
        body = next((parameters.content(one) for one in parameters.named(body, "resource")), None)
    if isinstance(body, dict):
        return body, frozenset()
    if request.resource_type is None or request.resource_id is None:
        raise MissingRequired("The body is the resource, or Parameters with it as `resource`.")
    version = await visible_version(ctx, request.resource_type, request.resource_id)
    return codec.loads_stored(version.body), frozenset(version.patients)
