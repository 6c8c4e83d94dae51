"""Parameters in and out of operations."""

from __future__ import annotations

import pytest

from fhir_server.model import parameters as p
from fhir_server.validation.structure import validate

GIVEN = p.make(
    p.value("flag", "boolean", True),  # noqa: FBT003 - the value itself
    p.value("code", "code", "a"),
    p.value("code", "code", "b"),
    p.resource("resource", {"resourceType": "Patient"}),
    p.part("part", p.value("inner", "integer", 1)),
)


def test_what_we_make_is_valid() -> None:
    """Values, resources and parts are FHIR's."""
    assert validate(GIVEN) == []
    assert validate(p.make()) == []


def test_values_are_found_by_name() -> None:
    """The first, or every one; a resource too; None where there is none."""
    assert p.first(GIVEN, "flag") is True
    assert p.every(GIVEN, "code") == ["a", "b"]
    assert p.first(GIVEN, "resource") == {"resourceType": "Patient"}
    assert p.first(GIVEN, "absent") is None
    assert p.first({"parameter": "no list"}, "flag") is None


def test_parts_are_found_in_their_parameter() -> None:
    """A parameter's parts are asked like parameters; it has no value itself."""
    (part,) = p.named(GIVEN, "part")

    assert p.first(part, "inner") == 1
    assert p.content(part) is None


def test_a_type_that_a_parameter_cannot_have_is_an_error() -> None:
    """Only the types of value[x] are taken."""
    assert "Quantity" in p.value_types()
    with pytest.raises(ValueError, match="cannot have the type"):
        p.value("x", "Narrative", {})
