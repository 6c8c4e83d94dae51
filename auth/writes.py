"""What a caller may write, by the content alone; what else must be so is given back.

The contract's section 6: a facility writes what belongs to an Encounter of its own, a citizen
the consents of the own book, `system` everything, and nobody else anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from auth import consent, facility, guardianship
from auth.facility import SHARED
from auth.needs import MAX_DEPTH, Needs
from auth.principal import Principal
from fhir_server.model import identifiers
from fhir_server.model.definitions import RESOURCE_TYPES, compartment_parameters
from fhir_server.model.outcome import Forbidden

COMPARTMENT: Final = frozenset(
    name for name in RESOURCE_TYPES if compartment_parameters("Patient", name)
) - {"Group", "Person"}
"""Types of a Patient compartment; a Group or a Person would show who else is in it."""

_NOT_BY_FACILITY: Final = frozenset({
    "AuditEvent", "Basic", "ClaimResponse", "Consent", "CoverageEligibilityRequest",
    "CoverageEligibilityResponse", "EnrollmentRequest", "ExplanationOfBenefit", "RelatedPerson",
})  # fmt: skip
FACILITY_WRITES: Final = (COMPARTMENT | SHARED) - _NOT_BY_FACILITY
"""Types that a facility may create and update where `check` agrees."""

PROTECTED: Final = frozenset({guardianship.VERIFIED, identifiers.extension("verified-by")})
"""Extensions that only `system` and the server set: who is a guardian, who logged in."""


def check(
    principal: Principal,
    interaction: str,
    resource: Mapping[str, Any],
    *,
    conditional: bool,
    before: Mapping[str, Any] | None = None,
    base_url: str = "",
) -> tuple[Needs, ...]:
    """Return what else must be so for the caller to write this content.

    Args:
        principal: Who writes.
        interaction: create, update or patch.
        resource: The resource as it would be.
        conditional: A create with If-None-Exist.
        before: The resource as it is; None where it is made.
        base_url: The FHIR base: absolute references below it are our own resources.

    Raises:
        Forbidden: The content alone is not this caller's to write.
    """
    if principal.kind == "system":
        return ()
    resource_type = str(resource.get("resourceType", ""))
    if resource_type == "AuditEvent":
        raise Forbidden("An AuditEvent is written by the server alone.")
    if holds_protected(resource):
        raise Forbidden("An extension that states a verification is set by the server alone.")
    if principal.kind == "citizen" and resource_type == "Consent":
        if not consent.is_about(resource, principal.patient_id, base_url):
            raise Forbidden("A citizen writes consents of the own book only.")
        if not consent.is_given_by(resource, principal.patient_id, principal.fhir_user, base_url):
            raise Forbidden("A citizen gives consent in the own name only.")
        return ()
    if principal.tag and resource_type in FACILITY_WRITES:
        return facility.check(
            principal, interaction, resource, conditional=conditional, before=before
        )
    raise Forbidden(f"{interaction} on {resource_type or 'this content'} is not granted.")


def may_change(principal: Principal, resource_type: str, tags: frozenset[str]) -> bool:
    """Return whether a facility may change a resource with these tags; of the rest, True."""
    if not principal.tag or resource_type not in SHARED:
        return True
    # Contract 6: updating none that others wrote.
    authors = {tag for tag in tags if tag.startswith("author/")}
    facilities = {tag for tag in tags if tag.startswith("facility/")}
    return authors == {principal.author} and facilities <= {principal.tag}


def holds_protected(value: object, depth: int = 0) -> bool:
    """Return whether a protected extension is anywhere in a resource, whatever its value."""
    if depth > MAX_DEPTH:
        return True
    if isinstance(value, Mapping):
        if value.get("url") in PROTECTED:
            return True
        return any(holds_protected(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return any(holds_protected(item, depth + 1) for item in value)
    return False
