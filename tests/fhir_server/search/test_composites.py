"""What a composite says of its components' own parameters."""

from __future__ import annotations

import pytest

from fhir_server.search.composites import alike, implied
from fhir_server.search.expression import CompositeIs
from fhir_server.search.query import parse_criteria


@pytest.mark.parametrize(
    ("resource_type", "query", "params"),
    [
        ("Observation", "code-value-quantity=1-1$gt5", ["code", "value-quantity"]),
        (
            "Observation",
            "combo-code-value-quantity=1-1$gt5",
            ["combo-code", "combo-value-quantity"],
        ),
        ("ValueSet", "context-type-quantity=age$5", ["context-type", "context-quantity"]),
        # The chromosome is of the whole resource, not of a variant.
        (
            "MolecularSequence",
            "chromosome-variant-coordinate=1$gt5$lt9",
            ["variant-start", "variant-end"],
        ),
        # R4 has the expressions of its components the wrong way round (parameters.CORRECTED).
        ("DocumentReference", "relationship=DocumentReference/1$replaces", ["relation"]),
    ],
)
def test_a_composite_implies_its_parts(resource_type: str, query: str, params: list[str]) -> None:
    """What matches a composite matches each part by the parameter of its name, where it has one."""
    asked = parse_criteria(resource_type, query)
    assert isinstance(asked, CompositeIs)

    found = implied(asked, resource_type)

    assert [one.param for one in found] == params  # type: ignore[union-attr]
    assert set(found) <= set(asked.parts)


def test_a_composite_that_is_not_of_r4_implies_nothing() -> None:
    """Of a store's own the components' paths are not looked into."""
    assert not alike("Observation", "own")
