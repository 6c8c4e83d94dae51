"""Index values of HL7's official examples, against a naive reading of the same expressions."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.primitives import date_range
from fhir_server.search import composites
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import DECEASED, Parameter, parameters
from fhir_server.search.path import Field, First, Resolves, Where
from fhir_server.search.values import (
    CompositeValue,
    DateValue,
    IndexValues,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
)
from fhir_server.search.wording import WORDED
from tests.conformance.official import not_valid
from tests.data import ExamplesOf

pytestmark = pytest.mark.data

NO_DATE = {"scheduledString", "occurrenceString", "performedString"}
"""Texts that R4's list takes for dates; there is no range of them."""

V3_ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
VACCINES = "urn:oid:1.2.36.1.2001.1005.17"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"


@pytest.fixture(scope="module")
def indexed(examples_of: ExamplesOf) -> dict[str, tuple[dict[str, Any], IndexValues]]:
    """Every valid official example with its index values, by file name."""
    found = {}
    for name, body in examples_of("json"):
        if name not in not_valid("json"):
            resource = codec.loads(body)
            found[name] = (resource, index_values(resource))
    return found


def test_every_official_example_is_indexed(
    indexed: dict[str, tuple[dict[str, Any], IndexValues]],
) -> None:
    """All examples extract, and nearly all have values."""
    assert len(indexed) > 700
    assert sum(1 for _, index in indexed.values() if index.values) > 650


def test_parts_of_composites_are_values_of_their_own_parameters(
    indexed: dict[str, tuple[dict[str, Any], IndexValues]],
) -> None:
    """What a composite is said to imply is so: stores look for it by its parts."""
    looked_at = 0
    for resource, index in indexed.values():
        values = set(index.values)
        for value in index.values:
            if isinstance(value, CompositeValue):
                alike = composites.alike(resource["resourceType"], value.param)
                parts = {one for part in value.parts for one in part if one.param in alike}
                assert parts <= values
                looked_at += len(parts)
    assert looked_at > 500


def _choice(name: str, key: str, as_type: str | None) -> bool:
    if key == name:
        return as_type is None
    rest = key.removeprefix(name)
    return (
        rest != key and rest[:1].isupper() and as_type in {None, rest, rest[0].lower() + rest[1:]}
    )


def _naive(value: Any, steps: tuple[Any, ...]) -> Iterator[Any]:
    """Follow a path by the names of JSON properties alone, knowing no definitions."""
    if isinstance(value, list):
        for one in value:
            yield from _naive(one, steps)
    elif not steps:
        yield value
    elif isinstance(steps[0], Field) and isinstance(value, dict):
        for key, child in value.items():
            if _choice(steps[0].name, key, steps[0].as_type) and key not in NO_DATE:
                rest = steps[1:]
                only_first = rest and isinstance(rest[0], First)
                yield from _naive(child[:1] if only_first else child, rest[bool(only_first) :])
    elif isinstance(steps[0], Where) and isinstance(value, dict):
        same = value.get(steps[0].field) == steps[0].code
        yield from _naive(value, steps[1:]) if same else ()
    elif isinstance(steps[0], Resolves) and isinstance(value, dict):
        kind = steps[0].resource_type
        logical = "identifier" in value and value.get("type", kind) == kind
        if logical or f"{kind}/" in value.get("reference", ""):
            yield value


def _says_something(parameter: Parameter, node: Any) -> bool:
    """Whether a node, as JSON, has what the parameter's type indexes."""
    if node is None or node == {}:
        return False
    if parameter.type == "reference":
        if not isinstance(node, dict):
            return not node.startswith("#")
        text = node.get("reference", "#")
        if "resourceType" in node:
            return node["resourceType"] in parameter.targets and "id" in node
        return not (text.startswith("#") or "?" in text) or "identifier" in node
    if not isinstance(node, dict):
        return True
    needed = {
        "token": {"coding", "text", "code", "value", "system", "display"},
        "string": {"text", "family", "given", "prefix", "suffix", "line", "city", "district",
                   "state", "country", "postalCode"},
        "date": {"start", "end", "event", "repeat"},
        "number": {"low", "high"},
        "quantity": {"value", "low", "high"},
        "special": {"latitude", "longitude"},
    }.get(parameter.type, set())  # fmt: skip
    if parameter.type == "date" and "repeat" in node and "event" not in node:
        return "boundsPeriod" in node["repeat"]
    if parameter.type == "quantity" and "origin" in node:
        return False
    return bool(needed & set(node))


def test_parameters_agree_with_a_naive_reading(
    indexed: dict[str, tuple[dict[str, Any], IndexValues]],
) -> None:
    """A parameter has a value in an example if, and only if, its path leads to something there."""
    met = set()
    for name, (resource, index) in indexed.items():
        present = {value.param.partition(":")[0] for value in index.values}
        for code, parameter in parameters(resource["resourceType"]).items():
            if parameter.type == "composite" or parameter.expression == DECEASED:
                continue
            if code in {"_id", "_lastUpdated", *WORDED}:
                continue
            found = any(
                _says_something(parameter, node)
                for item in parameter.paths
                for node in _naive(resource, item.steps)
            )
            assert (code in present) is found, (name, code)
            met.add((resource["resourceType"], code))
    assert len(met) > 1900


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Encounter-f001", TokenValue("class", V3_ACT, "AMB", "ambulatory")),
        ("Encounter-f001", ReferenceValue("patient", "Patient", "f001")),
        (
            "Encounter-f001",
            QuantityValue("length", Decimal(140), Decimal(140), UCUM, "min", "min"),
        ),
        ("Condition-f001", TokenValue("category", SNOMED, "439401001", "diagnosis")),
        ("Condition-f001", TokenValue("code", SNOMED, "368009", "heart valve disorder")),
        ("Condition-f001", DateValue("onset-date", *date_range("2011-08-05"))),
        ("Condition-f001", ReferenceValue("encounter", "Encounter", "f001")),
        ("Immunization-example", StringValue("lot-number", "aajn11k", "AAJN11K")),
        ("Immunization-example", DateValue("date", *date_range("2013-01-10"))),
        (
            "Immunization-example",
            TokenValue("vaccine-code", VACCINES, "FLUVAX", "fluvax (influenza)"),
        ),
        ("Claim-100150", ReferenceValue("coverage", "Coverage", "9876B1")),
        ("Claim-100150", ReferenceValue("names", "Practitioner", "example")),
        ("Claim-100150", DateValue("created", *date_range("2014-08-16"))),
    ],
)  # fmt: skip
def test_values_of_well_known_examples(
    indexed: dict[str, tuple[dict[str, Any], IndexValues]], name: str, expected: object
) -> None:
    """Examples have the values that one reads on their pages."""
    of_example = [index for file, (_, index) in indexed.items() if file.endswith(f"{name}.json")]

    assert len(of_example) == 1
    assert expected in of_example[0].values
