"""Expansions of value sets, as the extraction needs them."""

# ruff: noqa: E501 - a row of a table reads best in one line
from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.r4.expand import Terminology

ANIMALS = {
    "url": "s",
    "content": "complete",
    "concept": [
        {"code": "animal", "concept": [{"code": "cat", "concept": [{"code": "lion"}]}]},
        {"code": "dog", "property": [{"code": "subsumedBy", "valueCode": "animal"}]},
        {"code": "stone", "property": [{"code": "note", "valueString": "x"}]},
    ],
}


def is_a(op: str, value: str, property_: str = "concept") -> dict[str, Any]:
    """Return an include of the codes below a code."""
    return {"system": "s", "filter": [{"property": property_, "op": op, "value": value}]}


@pytest.mark.parametrize(
    ("compose", "expected"),
    [
        ({"include": [{"system": "s"}]}, ["animal", "cat", "dog", "lion", "stone"]),
        ({"include": [is_a("is-a", "animal")]}, ["animal", "cat", "dog", "lion"]),
        ({"include": [is_a("descendent-of", "cat")]}, ["lion"]),
        ({"include": [is_a("regex", ".*")]}, None),
        ({"include": [is_a("is-a", "animal", "other")]}, None),
        ({"include": [{"system": "s", "concept": [{"code": "cat"}]}]}, ["cat"]),
        ({"include": [{"system": "s"}], "exclude": [is_a("is-a", "animal")]}, ["stone"]),
        ({"include": [{"system": "s"}], "exclude": [{"system": "other"}]}, ["animal", "cat", "dog", "lion", "stone"]),
        ({"include": [{"valueSet": ["cats"]}]}, ["cat", "lion"]),
        ({"include": [{"valueSet": ["cats"], "system": "s", "concept": [{"code": "lion"}, {"code": "dog"}]}]}, ["lion"]),
        ({"include": [{"valueSet": ["unknown"]}]}, None),
        ({"include": [{"system": "unknown"}]}, None),
        ({"include": [{"system": "s"}, {"system": "unknown"}]}, None),
        ({"include": [{}]}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_a_value_set_is_expanded_where_it_is_a_list(
    compose: dict[str, Any], expected: list[str] | None
) -> None:
    """Whole systems, lists, hierarchies, other sets and exclusions; None for what has no list."""
    terminology = Terminology()
    terminology.add_code_system(ANIMALS)
    terminology.add_value_set({"url": "cats", "compose": {"include": [is_a("is-a", "cat")]}})
    terminology.add_value_set({"url": "v", "compose": compose})

    found = terminology.expand("v|4.0.1")

    assert found == (None if expected is None else {"s": expected})


def test_a_system_that_is_only_named_is_no_list() -> None:
    """A code system whose content is not complete cannot be expanded."""
    terminology = Terminology()
    terminology.add_code_system({"url": "s", "content": "fragment", "concept": [{"code": "a"}]})
    terminology.add_value_set({"url": "v", "compose": {"include": [{"system": "s"}]}})

    assert terminology.expand("v") is None
