"""The search parameters of a resource type."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fhir_server.model import definitions
from fhir_server.search.leaves import leaf
from fhir_server.search.parameters import OWN, Parameter, parameter, parameters
from fhir_server.search.path import Field
from fhir_server.search.wording import WORDED


def _known(resource_type: str, code: str) -> Parameter:
    known = parameter(resource_type, code)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("resource_type", "code", "targets"),
    [
        ("Observation", "subject", {"Group", "Device", "Patient", "Location"}),
        ("Observation", "patient", {"Patient"}),
        ("Condition", "patient", {"Patient"}),
        ("Encounter", "patient", {"Patient"}),
        ("Coverage", "payor", {"Organization", "Patient", "RelatedPerson"}),
        ("Claim", "coverage", {"Coverage"}),
        ("CoverageEligibilityRequest", "coverage", {"Coverage"}),
        ("CoverageEligibilityResponse", "coverage", {"Coverage"}),
        ("QuestionnaireResponse", "questionnaire", {"Questionnaire"}),
        ("Bundle", "composition", {"Composition"}),
        ("Provenance", "target", definitions.RESOURCE_TYPES - {"Parameters"}),
        ("Patient", "name", set()),
    ],
)
def test_what_a_parameter_may_refer_to(resource_type: str, code: str, targets: set[str]) -> None:
    """A reference parameter knows the resource types that it can lead to in this type."""
    assert _known(resource_type, code).targets == targets


def test_every_parameter_leads_somewhere() -> None:
    """Every parameter of every type finds elements of a type that has values."""
    for resource_type in definitions.RESOURCE_TYPES:
        for known in parameters(resource_type).values():
            if known.code in WORDED:
                continue  # they look at the whole resource
            assert known.value_types, (resource_type, known.code)
            if known.type == "composite":
                assert len(known.components) > 1
                assert all(part.value_types for part in known.components)
            else:
                found = [leaf(known.code, known.type, name) for name in known.value_types]
                assert any(found), (resource_type, known.code)


def test_every_type_has_the_parameters_of_all() -> None:
    """What every type has, the whole system has."""
    common = {"_id", "_lastUpdated", "_tag", "_security", "_profile", "_source", "_content"}
    assert set(parameters("Resource")) == common
    assert all(common <= set(parameters(name)) for name in definitions.RESOURCE_TYPES)


def _reference_paths(holder: str, depth: int = 5) -> Iterator[str]:
    for name, found in definitions.properties(holder).items():
        if name in {"extension", "modifierExtension", "contained", "meta", "text", "identifier"}:
            continue
        if found.type == "Reference":
            yield f"{holder}.{found.element.name}"
        elif "." in found.type and depth:
            yield from _reference_paths(found.type, depth - 1)


def test_a_claim_names_what_a_payer_may_see() -> None:
    """Claim `names` covers every reference of a Claim to a type that a payer may see for it."""
    shown = {
        "Patient", "Encounter", "Organization", "Practitioner", "Condition", "Procedure",
        "MedicationRequest",
    }  # fmt: skip
    named = {
        ".".join(["Claim", *[step.name for step in item.steps if isinstance(step, Field)]])
        for item in _known("Claim", "names").paths
    }
    # Of another Claim, of a device or of an address the payer sees what these name, not they.
    others = {"Claim.related.claim", "Claim.insurance.claimResponse"}

    for path in set(_reference_paths("Claim")) - others:
        element = definitions.element(path)
        assert element is not None
        if set(element.targets) & shown or not element.targets:
            assert path in named, path


def test_own_parameters_do_not_hide_r4s() -> None:
    """No parameter of the project's own has the name of one of R4."""
    for resource_type, added in OWN.items():
        assert set(added).isdisjoint(definitions.search_parameters(resource_type))
        for code in added:
            assert _known(resource_type, code).url.endswith(f"/{resource_type}-{code}")


def test_what_is_not_supported_is_not_known() -> None:
    """Parameters of later versions are unknown, not silently empty."""
    assert parameter("Patient", "_query") is None
    assert parameter("Bundle", "_text") is None
    assert parameter("Patient", "nothing") is None
    assert parameter("NoType", "_id") is None
