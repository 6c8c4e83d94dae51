"""What a caller may write, by the content alone; what else must be so is given back.

The contract's section 6: a facility writes what belongs to an Encounter of its own, a citizen
the consents of the own book, `system` everything, and nobody else anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from auth import consent, guardianship
from auth.criteria import Criteria, Matching, Tagged
from auth.principal import Principal
from fhir_server.model import identifiers
from fhir_server.model.definitions import RESOURCE_TYPES, compartment_parameters
from fhir_server.model.outcome import Forbidden

COMPARTMENT: Final = frozenset(
    name for name in RESOURCE_TYPES if compartment_parameters("Patient", name)
) - {"Group", "Person"}
"""Types of a Patient compartment; a Group or a Person would show who else is in it."""

SHARED: Final = frozenset({"Coverage", "Organization", "Patient", "Practitioner"})
"""Types that a facility may bring along by conditional create; others may need them too."""

_NOT_BY_FACILITY: Final = frozenset({
    "AuditEvent", "Basic", "ClaimResponse", "Consent", "CoverageEligibilityRequest",
    "CoverageEligibilityResponse", "EnrollmentRequest", "ExplanationOfBenefit", "RelatedPerson",
})  # fmt: skip
FACILITY_WRITES: Final = (COMPARTMENT | SHARED) - _NOT_BY_FACILITY
"""Types that a facility may create and update where `check` agrees."""

PROTECTED: Final = frozenset({guardianship.VERIFIED, identifiers.extension("verified-by")})
"""Extensions that only `system` and the server set: who is a guardian, who logged in."""

_MAX_DEPTH: Final = 200


@dataclass(frozen=True, slots=True)
class Needs:
    """A resource that a write names, and what it must match for the write to be the caller's."""

    name: tuple[str, str]
    criteria: Criteria


def check(
    principal: Principal, interaction: str, resource: Mapping[str, Any], *, conditional: bool
) -> tuple[Needs, ...]:
    """Return what else must be so for the caller to write this content.

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
        if not consent.is_about(resource, principal.patient_id):
            raise Forbidden("A citizen writes consents of the own book only.")
        return ()
    if principal.tag and resource_type in FACILITY_WRITES:
        return _by_facility(principal, interaction, resource, conditional=conditional)
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
    if depth > _MAX_DEPTH:
        return True
    if isinstance(value, Mapping):
        if value.get("url") in PROTECTED:
            return True
        return any(holds_protected(item, depth + 1) for item in value.values())
    if isinstance(value, list):
        return any(holds_protected(item, depth + 1) for item in value)
    return False


def _by_facility(
    principal: Principal, interaction: str, resource: Mapping[str, Any], *, conditional: bool
) -> tuple[Needs, ...]:
    resource_type = resource["resourceType"]
    if resource_type in SHARED:
        if interaction == "create" and not conditional:
            raise Forbidden(f"A facility creates a {resource_type} only if none exists yet.")
        return ()
    if resource_type == "Encounter":
        return _own_encounter(principal, resource)
    if resource_type == "Provenance":
        named = list(references(resource.get("target")))
    else:
        named = [name for name in references(resource) if name[0] == "Encounter"]
    if not named:
        raise Forbidden(f"A facility writes a {resource_type} of an Encounter of its own only.")
    own = Tagged(principal.tag)
    needs = [Needs(name, own) for name in dict.fromkeys(named)]
    if resource_type != "Provenance":
        # Nobody's book gets what belongs to another's visit.
        patients = dict.fromkeys(name for name in references(resource) if name[0] == "Patient")
        needs += [
            Needs(name, Matching(f"subject=Patient/{patient_id}"))
            for name in dict.fromkeys(named)
            for _, patient_id in patients
        ]
    return tuple(needs)


def _own_encounter(principal: Principal, resource: Mapping[str, Any]) -> tuple[Needs, ...]:
    """An Encounter whose visit key and service provider name no other facility."""
    for identifier in resource.get("identifier") or ():
        is_visit = _system_of(identifier) == identifiers.MA_LK
        if is_visit and not str(identifier.get("value")).startswith(f"{principal.code}|"):
            raise Forbidden("The visit's identifier names another facility.")
    provider = resource.get("serviceProvider") or {}
    named = provider.get("identifier") or {}
    if _system_of(named) == identifiers.MA_CSKCB and named.get("value") != principal.code:
        raise Forbidden("The service provider is another facility.")
    own = Matching(f"identifier={identifiers.MA_CSKCB}|{principal.code}")
    return tuple(Needs(name, own) for name in references(provider))


def _system_of(identifier: Mapping[str, Any]) -> str:
    system = str(identifier.get("system", ""))
    return identifiers.DRAFT_SYSTEMS.get(system, system)


def references(value: object, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield type and id of every literal reference; of one to another server too, by its end."""
    if depth > _MAX_DEPTH:
        return
    if isinstance(value, Mapping):
        text = value.get("reference")
        if isinstance(text, str):
            parts = text.partition("/_history/")[0].split("/")
            if len(parts) > 1 and parts[-2] in RESOURCE_TYPES:
                yield parts[-2], parts[-1]
        for item in value.values():
            yield from references(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            yield from references(item, depth + 1)
