"""What a facility may write, by the content alone: contract, section 6.

Its own visits and what belongs to them, in its own name; and, found or made by identifier, what
others need too: there it says nothing that would make a Patient, card or Organization another one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from auth.criteria import Matching, Tagged
from auth.needs import Needs, elements, numbers, references, system_of
from auth.principal import Principal
from fhir_server.model import identifiers
from fhir_server.model.identifiers import BHYT, CCCD, CCHN, MA_BN, MA_CSKCB, MA_LK, PAYER
from fhir_server.model.outcome import Forbidden

SHARED: Final = frozenset({"Coverage", "Organization", "Patient", "Practitioner"})
"""Types that a facility may bring along by conditional create; others may need them too."""

AUTHORS: Final[Mapping[str, tuple[str, ...]]] = {
    "Claim": ("provider",),
    "Composition": ("author", "custodian"),
    "DocumentReference": ("author", "custodian"),
    "Encounter": ("serviceProvider",),
    "Procedure": ("performer.actor", "performer.onBehalfOf"),
    "Provenance": ("agent.who", "agent.onBehalfOf"),
}
"""Elements that say which organization acted; of a facility's own it is itself."""

_ALWAYS_ONE: Final = frozenset({"provider", "serviceProvider", "custodian"})
"""Those of them that are always an organization: a display alone would be anybody's name."""

_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "Coverage": (BHYT,),
    "Organization": (MA_CSKCB, PAYER),
    "Patient": (CCCD,),
    "Practitioner": (CCHN,),
}
"""Identifiers by which others find a shared resource: they stay what they are."""

_KEPT: Final[Mapping[str, tuple[str, ...]]] = {"Coverage": ("beneficiary", "payor", "subscriber")}
"""Elements of a shared resource that say whose it is: they stay what they are."""

_NAMED_FREELY: Final = frozenset({
    "Coverage", "Encounter", "Location", "Organization", "Patient", "Practitioner",
    "PractitionerRole",
})  # fmt: skip
"""Types that a Claim may name without their being the facility's; some are asked elsewhere."""


def check(
    principal: Principal,
    interaction: str,
    resource: Mapping[str, Any],
    *,
    conditional: bool,
    before: Mapping[str, Any] | None,
) -> tuple[Needs, ...]:
    """Return what else must be so for a facility to write this content.

    Args:
        principal: The facility, or a practitioner in it.
        interaction: create, update or patch.
        resource: The resource as it would be, of a type that a facility writes.
        conditional: A create with If-None-Exist.
        before: The resource as it is; None where it is made.

    Raises:
        Forbidden: The content alone is not this facility's to write.
    """
    resource_type = resource["resourceType"]
    _refuse_others_visit(principal, resource)
    if resource_type in SHARED:
        if interaction == "create" and not conditional:
            raise Forbidden(f"A facility creates a {resource_type} only if none exists yet.")
        _refuse_another(resource_type, resource, before)
        if resource_type == "Patient":
            _check_patient(principal, resource, before)
        return ()
    if _server_tags(resource) != _server_tags(before):
        raise Forbidden("Whose a resource is not is said by the server alone.")
    needs = list(_in_its_own_name(principal, resource_type, resource))
    if resource_type == "Encounter":
        needs += _given_to(principal, resource, before)
    else:
        needs += _of_its_own_visit(principal, resource_type, resource)
    if resource_type == "Claim":
        needs += _claimed(principal, resource)
    return tuple(dict.fromkeys(needs))


def _refuse_others_visit(principal: Principal, resource: Mapping[str, Any]) -> None:
    for identifier in elements(resource, "identifier"):
        is_visit = system_of(identifier) == MA_LK
        if is_visit and not str(identifier.get("value")).startswith(f"{principal.code}|"):
            raise Forbidden("The visit's identifier names another facility.")


# What others need too


def _refuse_another(
    resource_type: str, resource: Mapping[str, Any], before: Mapping[str, Any] | None
) -> None:
    """Refuse an update that would make of a shared resource another one."""
    if before is None:
        return
    for system in _KEYS[resource_type]:
        had = numbers(before, system)
        if had and numbers(resource, system) != had:
            raise Forbidden(f"An identifier of {system} is not changed by a facility.")
    for name in _KEPT.get(resource_type, ()):
        if resource.get(name) != before.get(name):
            raise Forbidden(f"{resource_type}.{name} is not changed by a facility.")


def _check_patient(
    principal: Principal, resource: Mapping[str, Any], before: Mapping[str, Any] | None
) -> None:
    held = numbers(resource, CCCD)
    if len(held) > 1 or any(use == "old" for _, _, use in held):
        raise Forbidden("A facility states one citizen number of a Patient, and no former one.")
    was_active = True if before is None else before.get("active") is not False
    if (resource.get("active") is not False) != was_active:
        raise Forbidden("A facility does not say whether a Patient's record is in use.")
    if resource.get("link", []) != (before or {}).get("link", []):
        raise Forbidden("A link between Patients is made by the server alone.")
    apart = _server_tags(before)
    if _server_tags(resource) != apart:
        raise Forbidden("Whose a Patient is not is said by the server alone.")
    if apart and describes_another(resource, before or {}):
        raise Forbidden("A Patient that is kept apart stays who it is.")
    others = _numbers_of_others(principal, resource) - _numbers_of_others(principal, before)
    if others:
        raise Forbidden("A facility's own patient number is given by that facility.")


def describes_another(resource: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Return whether an update says another name, birth date or citizen number of a Patient."""
    names = ("name", "birthDate")
    return any(resource.get(name) != before.get(name) for name in names) or numbers(
        resource, CCCD
    ) != numbers(before, CCCD)


def _server_tags(resource: Mapping[str, Any] | None) -> list[str]:
    """Return the codes by which the server says whose a Patient is not, sorted."""
    tags = elements(resource, "meta.tag")
    codes = (str(one.get("code")) for one in tags if one.get("system") == identifiers.IDENTITY_TAGS)
    return sorted(codes)


def _numbers_of_others(
    principal: Principal, resource: Mapping[str, Any] | None
) -> set[tuple[str, str]]:
    return {
        (system, str(one.get("value", "")))
        for one in elements(resource, "identifier")
        if (system := system_of(one)).startswith(MA_BN) and system != MA_BN + principal.code
    }


# What is the facility's own


def _in_its_own_name(
    principal: Principal, resource_type: str, resource: Mapping[str, Any]
) -> Iterator[Needs]:
    """Whoever is said to have acted is the facility itself, or a person."""
    own = Matching(f"identifier={MA_CSKCB}|{principal.code}")
    for path in AUTHORS.get(resource_type, ()):
        for actor in elements(resource, path):
            named = actor.get("identifier")
            is_facility = isinstance(named, Mapping) and system_of(named) == MA_CSKCB
            if is_facility and named is not None and named.get("value") != principal.code:
                raise Forbidden(f"{resource_type}.{path} is another facility.")
            literal = [name for name in references(actor) if name[0] == "Organization"]
            if path in _ALWAYS_ONE and not (is_facility or any(references(actor))):
                raise Forbidden(f"{resource_type}.{path} must say by its code that it is this one.")
            yield from (Needs(name, own) for name in literal)


def _given_to(
    principal: Principal, resource: Mapping[str, Any], before: Mapping[str, Any] | None
) -> Iterator[Needs]:
    """A visit that is there is given to no Patient but one that the facility sees."""
    if before is None:
        return
    had = set(references(before.get("subject")))
    own = Tagged(principal.tag)
    yield from (Needs(name, own) for name in references(resource.get("subject")) if name not in had)


def _of_its_own_visit(
    principal: Principal, resource_type: str, resource: Mapping[str, Any]
) -> Iterator[Needs]:
    """It names an Encounter of the facility, and no Patient but that Encounter's."""
    if resource_type == "Provenance":
        named = list(references(resource.get("target")))
    else:
        named = [name for name in references(resource) if name[0] == "Encounter"]
    if not named:
        raise Forbidden(f"A facility writes a {resource_type} of an Encounter of its own only.")
    own = Tagged(principal.tag)
    yield from (Needs(name, own) for name in named)
    if resource_type != "Provenance":
        # Nobody's book gets what belongs to another's visit.
        patients = [name for name in references(resource) if name[0] == "Patient"]
        yield from (
            Needs(name, Matching(f"subject=Patient/{p}")) for name in named for _, p in patients
        )


def _claimed(principal: Principal, resource: Mapping[str, Any]) -> Iterator[Needs]:
    """What a Claim names a payer sees: it is the facility's own, and of the card's holder."""
    patients = [name for name in references(resource.get("patient")) if name[0] == "Patient"]
    if not patients:
        raise Forbidden("A Claim must name its Patient by a reference.")
    own = Tagged(principal.tag)
    for name in references(resource):
        if name[0] == "Coverage":
            yield from (Needs(name, Matching(f"beneficiary=Patient/{p}")) for _, p in patients)
        elif name[0] not in _NAMED_FREELY:
            yield Needs(name, own)
