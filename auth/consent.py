"""What a Consent says: for now, whose it is, and who gave it.

https://hl7.org/fhir/R4/consent.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auth.needs import elements


def is_about(resource: Mapping[str, Any], patient_id: str, base_url: str = "") -> bool:
    """Return whether a Consent is about this Patient, named by a literal reference alone.

    A reference with an identifier too could be read as another person's.
    """
    return bool(patient_id) and _names(resource.get("patient"), {f"Patient/{patient_id}"}, base_url)


def is_given_by(
    resource: Mapping[str, Any], patient_id: str, fhir_user: str, base_url: str = ""
) -> bool:
    """Return whether nobody but the Patient, or who acts for it, agrees in a Consent.

    `performer` is who agreed, `verification.verifiedWith` with whom that was verified; where they
    are absent it is the one who writes it.
    """
    own = {f"Patient/{patient_id}", fhir_user} - {""}
    said = [*elements(resource, "performer"), *elements(resource, "verification.verifiedWith")]
    return all(_names(one, own, base_url) for one in said)


def _names(reference: object, own: set[str], base_url: str) -> bool:
    if not isinstance(reference, Mapping) or "identifier" in reference:
        return False
    text = reference.get("reference")
    if isinstance(text, str) and base_url:
        text = text.removeprefix(f"{base_url}/")
    return text in own
