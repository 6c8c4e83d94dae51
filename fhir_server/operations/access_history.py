"""`Patient/[id]/$access-history`: who read this book, when, why; a searchset of AuditEvent.

https://hl7.org/fhir/R4/auditevent.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version
from fhir_server.interactions.search import search_type
from fhir_server.operations.arguments import arguments

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context

ASKED: Final = frozenset({"_count", "_cursor", "date", "_elements", "_summary", "_total"})
"""What of a search may be asked here too; the Patient and the order are given."""


async def access_history(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the AuditEvents that name one Patient, newest first.

    Raises:
        UnknownResource: There is no such Patient, or the caller may not see it.
        Gone: It was deleted.
        InvalidValue: A parameter cannot be parsed.
    """
    patient_id = request.resource_id or ""
    await visible_version(ctx, "Patient", patient_id, "$access-history")
    query = [(name, value) for name, value in arguments(request) if name in ASKED]
    asked = replace(
        request,
        interaction="search-type",
        operation=None,
        resource_type="AuditEvent",
        resource_id=None,
        resource=None,
        query=(("patient", f"Patient/{patient_id}"), *query),
    )
    result = await search_type(ctx, asked)
    return replace(result, patients=frozenset({patient_id}))
