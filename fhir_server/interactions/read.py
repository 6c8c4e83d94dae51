"""Read the current version of a resource.

https://hl7.org/fhir/R4/http.html#read
"""

from __future__ import annotations

from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_event import recorded_version
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version
from fhir_server.interactions.subset import part_of
from fhir_server.store.port import Version


async def read(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the current version of one resource, or 304 where the client has it.

    Raises:
        UnknownResource: There is none, or it is not shown to the caller.
        Gone: It was deleted.
    """
    kind, identity = request.resource_type or "", request.resource_id or ""
    version = None
    if kind == AUDIT_EVENT:
        version = await recorded_version(ctx, "read", identity)
    if version is None:
        version = await visible_version(ctx, kind, identity)
    patients = frozenset(version.patients)
    if is_known(request, version):
        return FhirResult(304, version=version, patients=patients)
    return FhirResult(version=version, body=shown_part(request, version), patients=patients)


def shown_part(request: FhirRequest, version: Version) -> bytes | None:
    """Return the part that `_summary` or `_elements` asks for; None where all is.

    Raises:
        InvalidValue: `_summary` is none of its values.
    """
    if not request.query:
        return None
    part = part_of(request.query, strict=request.handling == "strict")
    return None if part.is_all else part.of(version.body)


def is_known(request: FhirRequest, version: Version) -> bool:
    """Return whether the client has this version, by If-None-Match or else If-Modified-Since."""
    if request.if_none_match is not None:
        known = request.if_none_match
        return known == "*" or str(version.version_id) in known.split(",")
    since = request.if_modified_since
    # HTTP dates have whole seconds.
    return since is not None and version.last_updated // 1_000_000 <= since // 1_000_000
