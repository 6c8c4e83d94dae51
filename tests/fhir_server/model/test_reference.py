"""References: what they say, and all of them in a resource."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model.reference import Reference, is_well_formed, of, parse, walk

BASE = "http://h/fhir"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", ("local", "Patient", "1", None, None)),
        ("Patient/1/_history/3", ("local", "Patient", "1", "3", None)),
        (f"{BASE}/Patient/1", ("local", "Patient", "1", None, None)),
        (
            f"{BASE}/Patient?identifier=a|b",
            ("conditional", "Patient", None, None, "identifier=a|b"),
        ),
        ("Patient?identifier=a|b/c", ("conditional", "Patient", None, None, "identifier=a|b/c")),
        ("http://x/fhir/Patient/1", ("absolute", "Patient", "1", None, None)),
        ("https://x/Patient/1/_history/2", ("absolute", "Patient", "1", "2", None)),
        ("http://h/fhirPatient/1", ("absolute", None, None, None, None)),
        ("http://x/y", ("absolute", None, None, None, None)),
        ("Foo/1", ("absolute", None, None, None, None)),
        ("Foo?x=1", ("absolute", None, None, None, None)),
        ("Patient/a b", ("absolute", None, None, None, None)),
        ("Patient/1\n", ("absolute", None, None, None, None)),
        ("../Patient/1", ("absolute", None, None, None, None)),
        ("urn:uuid:x", ("urn", None, None, None, None)),
        ("URN:oid:1.2", ("urn", None, None, None, None)),
        ("#a", ("contained", None, "a", None, None)),
        ("#", ("contained", None, "", None, None)),
        ("", ("absolute", None, None, None, None)),
    ],
)
def test_a_reference_is_taken_apart(text: str, expected: tuple[Any, ...]) -> None:
    """Each kind of reference is known by its form."""
    kind, type_, id_, version, query = expected
    assert parse(text, BASE) == Reference(kind, text, type_, id_, version, query)


def test_a_long_reference_is_taken_apart_and_not_remembered() -> None:
    """Long texts give the same answer."""
    assert parse("http://x/" + "a/" * 500 + "Patient/1").resource_type == "Patient"


def test_only_a_local_reference_has_a_name() -> None:
    """`name` is Type/id of this server."""
    assert parse("Patient/1/_history/2").name == "Patient/1"
    assert parse("http://x/Patient/1").name is None


def test_a_reference_that_we_make_is_one_that_we_read() -> None:
    """of() gives a Reference element."""
    assert parse(of("Patient", "1")["reference"]).name == "Patient/1"


RESOURCE = {
    "resourceType": "Observation",
    "contained": [{"resourceType": "Specimen", "subject": {"reference": "c"}}],
    "extension": [{"url": "u", "valueReference": {"reference": "e"}}],
    "subject": {"reference": "a", "identifier": {"assigner": {"reference": "i"}}},
    "performer": [{"reference": "p1"}, {"display": "no reference"}, {"reference": "p2"}],
    "issued": "2020",
}


def test_walk_finds_every_reference_in_its_order() -> None:
    """References of contained resources, extensions and inside references are all found."""
    assert [one["reference"] for one in walk(RESOURCE)] == ["c", "e", "a", "i", "p1", "p2"]


def test_walk_may_change_what_it_finds() -> None:
    """Setting a reference changes the resource."""
    resource = {"resourceType": "Observation", "subject": {"reference": "a"}}
    for one in walk(resource):
        one["reference"] = "b"
    assert resource["subject"] == {"reference": "b"}


def test_a_uri_named_reference_is_not_a_reference() -> None:
    """DetectedIssue.reference and Expression.reference are uris."""
    assert not list(walk({"resourceType": "DetectedIssue", "reference": "http://x"}))
    expression = {"language": "text/cql", "reference": "http://x"}
    assert not list(walk({"resourceType": "Task", "extension": [{"valueExpression": expression}]}))


def test_entries_are_walked_when_asked() -> None:
    """A Bundle's own references are found always, those of its entries' resources when asked."""
    bundle = {
        "resourceType": "Bundle",
        "identifier": {"assigner": {"reference": "own"}},
        "entry": [{"resource": RESOURCE, "extension": [{"valueReference": {"reference": "x"}}]}, 1],
    }

    assert [one["reference"] for one in walk(bundle)] == ["own", "x"]
    assert len(list(walk(bundle, entries=True))) == 8
    assert not list(walk({"resourceType": "Bundle", "entry": "no list"}))


def test_walk_needs_no_stack() -> None:
    """However deep a resource is, walking it does not recurse."""
    deep: dict[str, Any] = {"reference": "end"}
    for _ in range(50_000):
        deep = {"x": [deep]}
    found = list(walk({"resourceType": "Basic", "x": deep}))
    assert found == [{"reference": "end"}]
    while "x" in deep:
        deep = deep["x"][0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Patient/1", True), ("Patient/1/_history/2", True), ("Patient/1#part", True), ("#", True),
        ("#p1", True), ("urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a", True),
        ("urn:oid:1.2", True),
        ("http://example.org/Foo/1", True), ("https://example.org/fhir/Patient/1", True),
        ("Patient?identifier=a|b", True), ("Patient?name=a b", True),
        ("Foo/1", False), ("patient/1", False), ("Patient/", False), ("Patient/a b", False),
        ("http://x y", False), ("Patient/1/2", False), ("Patient", False), ("/Patient/1", False),
        ("Foo?identifier=1", False), ("Patient/" + "a" * 65, False), ("urn:uuid:a b", False),
        ("Patient/a_b", False), (" Patient/1", False), ("Patient/1 ", False), ("Patient?", False),
    ],
)  # fmt: skip
def test_the_forms_of_a_literal_reference(text: str, expected: bool) -> None:  # noqa: FBT001 - a case
    """Type/id of a known type, a URI or URN without blanks, #id, a search; nothing else."""
    assert is_well_formed(text) is expected
