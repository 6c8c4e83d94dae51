"""The law between the two walks: what the verdict calls valid has no findings."""

# ruff: noqa: E501 - a row of a table reads best in one line
from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model import codec, definitions
from fhir_server.model.outcome import Malformed
from fhir_server.validation.findings import Findings
from fhir_server.validation.structure import validate
from fhir_server.validation.verdict import is_surely_valid
from tests.data import ExamplesOf

JUNK: list[Any] = [
    None, True, 0, -1, 2**40, Decimal("1.50"), "", " ", "x", "a b", "\x00", "2020-02-30", "#x", "Patient/1",
    "urn:uuid:x", "http://x/fhir/Patient/1", [], {}, [None], [[]], {"id": "x"}, {"extension": []},
    {"url": "u", "valueString": "x"}, {"reference": "Foo/1"}, {"resourceType": "Patient"},
]  # fmt: skip
NAMES = [
    "x",
    "id",
    "_id",
    "extension",
    "resourceType",
    "value",
    "valueString",
    "_valueString",
    "url",
]


def holders(node: Any) -> Iterator[Any]:
    """Give every object and array in a value, the value among them."""
    if isinstance(node, (dict, list)):
        if node:
            yield node
        for part in node.values() if isinstance(node, dict) else node:
            yield from holders(part)


def broken(resource: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    """Return a copy with one thing changed at random."""
    made = copy.deepcopy(resource)
    holder = dice.choice(list(holders(made)))
    key = dice.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
    act = dice.randrange(5)
    if act == 0:
        del holder[key]
    elif act == 1:
        holder[key] = dice.choice(JUNK)
    elif act == 2 and isinstance(holder, dict):
        holder[dice.choice(NAMES)] = dice.choice(JUNK)
    elif act == 3:
        holder[key] = [holder[key]]
    elif isinstance(holder, dict):
        holder[f"_{key}"] = {"extension": [{"url": "u", "valueCode": "c"}]}
    return made


@pytest.mark.data
def test_a_verdict_is_never_wrong_on_broken_examples(examples_of: ExamplesOf) -> None:
    """Examples with one thing broken: where the verdict says valid, the findings are none."""
    dice = random.Random(4)
    tried = caught = 0
    for name, body in examples_of("json"):
        if len(body) > 20_000:
            continue
        resource = codec.parse_resource(body)
        for _ in range(6):
            made = {**broken(resource, dice), "resourceType": resource["resourceType"]}
            tried += 1
            findings = Findings().of(made)
            caught += bool(findings)
            if findings:
                assert not is_surely_valid(made), (name, findings[0])
                assert all(issue.text and issue.text_vi and issue.expression for issue in findings)
    assert tried > 3000
    assert caught > tried * 0.6


INNER = [*NAMES, "name", "given", "_given", "contained", "entry", "resource", "text", "div", "item",
         "coding", "code", "system", "identifier", "parameter", "meta", "period", "start"]  # fmt: skip


def anything(dice: random.Random, depth: int = 3) -> Any:
    """Return a value that nobody meant."""
    act = dice.randrange(4) if depth else 0
    if act == 1:
        return [anything(dice, depth - 1) for _ in range(dice.randrange(3))]
    if act > 1:
        return {dice.choice(INNER): anything(dice, depth - 1) for _ in range(dice.randrange(4))}
    return copy.deepcopy(dice.choice(JUNK))


@pytest.mark.parametrize(
    "type_", ["Patient", "Bundle", "Parameters", "Observation", "Questionnaire", "List"]
)
def test_no_content_makes_validation_fail(type_: str) -> None:
    """Whatever stands in a resource, the answer is a list of issues, and both walks agree."""
    dice = random.Random(type_)
    names = [*definitions.properties(type_), "_status", "_birthDate", "x"]
    for _ in range(1500):
        fields = {dice.choice(names): anything(dice) for _ in range(dice.randrange(6))}
        resource = {"resourceType": type_, **fields}

        findings = Findings().of(resource)

        assert not (findings and is_surely_valid(resource)), resource
        assert validate(resource) == findings
        with contextlib.suppress(Malformed):
            codec.from_xml(codec.to_xml(resource))


def test_every_type_has_a_verdict() -> None:
    """Each of the 146 types can be compiled, and takes a resource that has only what it must."""
    for type_ in definitions.RESOURCE_TYPES:
        assert is_surely_valid({"resourceType": type_}) is (
            not Findings().of({"resourceType": type_})
        )
