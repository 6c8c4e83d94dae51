"""The operations there are: OPERATIONS, one row each; `interactions.context.Operation` is the row.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from typing import Final

from fhir_server.interactions.context import Operation

OPERATIONS: Final[tuple[Operation, ...]] = ()
"""app.py hands them to the Context, to `rest.routes` and so to the CapabilityStatement."""
