"""HL7's official examples and the Synthea bundles: valid, and unchanged by every round trip."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fhir_server.interactions.subset import subset_of
from fhir_server.model import codec
from fhir_server.validation.findings import Findings
from fhir_server.validation.structure import validate
from fhir_server.validation.verdict import is_surely_valid
from tests.conformance.meaning import document, meaning, read
from tests.conformance.official import not_valid, synthea
from tests.data import ExamplesOf

pytestmark = pytest.mark.data

COUNTS = {"json": 720, "xml": 875}
COMMENTED = 399
"""Official examples in XML with comments outside a narrative."""
MANY_PARTS = 2_000
STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")


def numbers(body: bytes) -> list[bytes]:
    """Return the numbers of JSON as they are written, in their order."""
    return NUMBER.findall(STRING.sub(b"", body))


@pytest.mark.parametrize("kind", ["json", "xml"])
def test_official_examples_are_valid_but_those_listed(examples_of: ExamplesOf, kind: str) -> None:
    """Every official example is valid; those listed have errors just where the list says."""
    listed = not_valid(kind)
    wrong = {}
    names = []
    for name, body in examples_of(kind):
        names.append(name)
        resource = read(kind, body)
        errors = [issue for issue in validate(resource) if issue.severity != "warning"]
        places = sorted({place for issue in errors for place in issue.expression})
        row = listed.get(name, {"at": []})
        if "at_prefix" in row:
            expected = [place for place in places if place.startswith(row["at_prefix"])]
            expected = expected if len(expected) == row["count"] else ["another number"]
        else:
            expected = sorted(row["at"])
        if places != expected:
            wrong[name] = places
    assert wrong == {}
    assert len(names) == COUNTS[kind]
    assert all(row["reason"] for row in listed.values())


def test_parts_of_official_examples_are_valid(examples_of: ExamplesOf) -> None:
    """A summary of what is valid is valid; in no part does a reference within it lead nowhere."""
    asked: list[tuple[str | None, tuple[str, ...]]] = [("true", ()), ("data", ()), ("text", ())]
    wrong = {}
    parts = 0
    for name, body in examples_of("json"):
        resource = read("json", body)
        if resource["resourceType"] == "Bundle" or validate(resource):
            continue
        for summary, elements in [*asked, (None, tuple(resource)[-1:])]:
            parts += 1
            errors = [
                issue.text
                for issue in validate(subset_of(resource, summary, elements))
                # Of single elements a rule may ask for others beside them.
                if summary in {"true", "data"} or issue.code != "invariant" or "ref-1" in issue.text
            ]
            if errors:
                wrong[name, summary, elements] = errors
    assert wrong == {}
    assert parts > MANY_PARTS


def test_the_verdict_never_says_more_than_the_findings(examples_of: ExamplesOf) -> None:
    """What the fast verdict calls valid has no findings, and most examples are decided by it."""
    sure = 0
    for name, body in examples_of("json"):
        resource = codec.parse_resource(body)
        if is_surely_valid(resource):
            sure += 1
            assert Findings().of(resource) == [], name
    assert sure > 0.9 * COUNTS["json"]


def test_json_comes_back_through_json(examples_of: ExamplesOf) -> None:
    """Reading and writing JSON changes no value, no order and no digit of a number."""
    for name, body in examples_of("json"):
        resource = codec.parse_resource(body)
        again = codec.dumps(resource)
        assert codec.loads(again) == resource, name
        assert list(codec.loads(again)) == list(resource), name
        assert numbers(again) == numbers(body), name


def test_json_comes_back_through_xml(examples_of: ExamplesOf) -> None:
    """JSON to XML to JSON is equal in meaning."""
    for name, body in examples_of("json"):
        resource = codec.parse_resource(body)
        assert meaning(codec.from_xml(codec.to_xml(resource))) == meaning(resource), name


def test_xml_comes_back_through_json(examples_of: ExamplesOf) -> None:
    """XML to JSON to XML is the same XML, comments at their places, but for white space."""
    with_some = 0
    for name, body in examples_of("xml"):
        resource, comments = codec.from_commented_xml(body)
        again = codec.to_xml(codec.parse_resource(codec.dumps(resource)), comments=comments)
        assert document(again) == document(body), name
        with_some += bool(comments)
    assert with_some == COMMENTED


def test_synthea_resources_are_valid(data: Path) -> None:
    """Each of the 40 Synthea bundles is valid, with every resource in it."""
    names = []
    for name, body in synthea(data):
        names.append(name)
        assert validate(codec.parse_resource(body)) == [], name
    assert len(names) == 40
