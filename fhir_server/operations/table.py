"""The operations there are: OPERATIONS, one row each; `interactions.context.Operation` is the row.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from typing import Final

from fhir_server.interactions.context import Operation
from fhir_server.model.identifiers import NS
from fhir_server.operations.access_history import access_history
from fhir_server.operations.claim_check import check
from fhir_server.operations.eligibility import submit as submit_eligibility
from fhir_server.operations.everything import everything
from fhir_server.operations.health_book import health_book
from fhir_server.operations.validate import validate

_HL7: Final = "http://hl7.org/fhir/OperationDefinition"
_OWN: Final = f"{NS}/OperationDefinition"

OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation(
        code="$health-book",
        run=health_book,
        definition=f"{_OWN}/health-book",
        resource_types=("Patient",),
    ),
    Operation(
        code="$access-history",
        run=access_history,
        definition=f"{_OWN}/access-history",
        resource_types=("Patient",),
    ),
    Operation(
        code="$everything",
        run=everything,
        definition=f"{_HL7}/Patient-everything",
        resource_types=("Patient",),
    ),
    Operation(
        code="$validate",
        run=validate,
        definition=f"{_HL7}/Resource-validate",
        levels=frozenset({"type", "instance"}),
        methods=frozenset({"POST"}),
    ),
    Operation(
        code="$check",
        run=check,
        definition=f"{_OWN}/claim-check",
        resource_types=("Claim",),
        methods=frozenset({"POST"}),
        affects_state=True,
    ),
    Operation(
        code="$submit",
        run=submit_eligibility,
        definition=f"{_HL7}/CoverageEligibilityRequest-submit",
        resource_types=("CoverageEligibilityRequest",),
        levels=frozenset({"type"}),
        methods=frozenset({"POST"}),
        affects_state=True,
    ),
)
"""app.py hands them to the Context, to `rest.routes` and so to the CapabilityStatement."""
