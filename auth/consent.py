"""What a Consent says: for now, whose it is.

https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def is_about(resource: Mapping[str, Any], patient_id: str) -> bool:
    """Return whether a Consent is about this Patient, named by a literal reference alone.

    A reference with an identifier too could be read as another person's.
    """
    patient = resource.get("patient")
    if not isinstance(patient, Mapping) or "identifier" in patient:
        return False
    return bool(patient_id) and patient.get("reference") == f"Patient/{patient_id}"
