"""Searches within a compartment: what of a type is in it, as an expression.

https://hl7.org/fhir/R4/http.html#vsearch, https://hl7.org/fhir/R4/compartmentdefinition.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_server.model.definitions import compartment_parameters, compartment_types
from fhir_server.model.outcome import InvalidValue
from fhir_server.search.expression import Ids, InPatient, Or
from fhir_server.search.query import parse_criteria

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_server.search.expression import Expression

_ITSELF: Final = "{def}"
"""In a CompartmentDefinition: the resource that the compartment is of."""


def may_hold(compartment: str, types: Iterable[str]) -> list[str]:
    """Return which of these types can be in compartments of a type."""
    possible = {compartment, *compartment_types(compartment)}
    return [kind for kind in types if kind in possible]


def within(
    compartment: tuple[str, str], resource_type: str, base_url: str, *, is_masked: bool = False
) -> Expression:
    """Return what of a type is in a compartment.

    Args:
        compartment: The type and id of the resource that it is of.
        resource_type: The type that is sought.
        base_url: The FHIR base, without a slash at its end.
        is_masked: Something is hidden of what puts a resource into it: each parameter that does is
            asked by itself, to be narrowed.

    Raises:
        InvalidValue: Nothing of the type can be in it.
    """
    kind, identity = compartment
    if not may_hold(kind, (resource_type,)):
        raise InvalidValue(
            f"No {resource_type} is in the compartment of a {kind}.",
            text_vi=f"{resource_type} không thuộc phạm vi (compartment) của {kind}.",
        )
    if kind == "Patient" and not is_masked:
        return InPatient(frozenset({identity}))
    found: list[Expression] = []
    if resource_type == kind:
        found.append(Ids(frozenset({identity})))
    found += [
        parse_criteria(resource_type, f"{code}={kind}/{identity}", base_url=base_url)
        for code in compartment_parameters(kind, resource_type)
        if code != _ITSELF
    ]
    return found[0] if len(found) == 1 else Or(tuple(found))
