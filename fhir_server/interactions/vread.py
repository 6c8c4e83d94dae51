"""Read one version of a resource.

https://hl7.org/fhir/R4/http.html#vread
"""

from __future__ import annotations

from typing import Final

from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_event import recorded_version
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.narrow import gone, is_version_shown
from fhir_server.interactions.read import is_known, shown_part
from fhir_server.model.outcome import UnknownResource
from fhir_server.store.port import Version

_MOST_DIGITS: Final = 18


async def vread(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return one version of a resource, or 304 where the client has it.

    Raises:
        UnknownResource: There is no such version, or it is not shown to the caller.
        Gone: That version is its deletion.
    """
    kind, identity = request.resource_type or "", request.resource_id or ""
    asked = request.version_id or ""
    version = None
    if kind == AUDIT_EVENT:
        version = await recorded_version(ctx, "vread", identity)
    if version is not None:
        if asked != "1":
            raise _unknown(kind, identity, asked)
        return _answer(request, version)
    if asked.isascii() and asked.isdigit() and len(asked) <= _MOST_DIGITS and asked[0] != "0":
        version = await ctx.store.vread(kind, identity, int(asked))
    current = await ctx.store.read(kind, identity)
    if version is None or not await is_version_shown(ctx, version, current, "vread"):
        raise _unknown(kind, identity, asked)
    if version.deleted:
        raise gone(version)
    return _answer(request, version)


def _unknown(kind: str, identity: str, asked: str) -> UnknownResource:
    return UnknownResource(f"{kind}/{identity} has no version {asked} that is known.")


def _answer(request: FhirRequest, version: Version) -> FhirResult:
    patients = frozenset(version.patients)
    if is_known(request, version):
        return FhirResult(304, version=version, patients=patients)
    return FhirResult(version=version, body=shown_part(request, version), patients=patients)
