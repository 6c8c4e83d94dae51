"""Bundles that we make are valid, and those given are walked without surprise."""

from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import bundle
from fhir_server.validation.structure import validate

PATIENT = {"resourceType": "Patient", "id": "1"}
URL = "http://h/fhir/Patient/1"
LINKS = [("self", "http://h/fhir/Patient")]


@pytest.mark.parametrize(
    "made",
    [
        bundle.make("collection", id="b"),
        bundle.searchset([], links=LINKS, total=0),
        bundle.searchset([bundle.search_entry(URL, PATIENT)], links=LINKS, total=1),
        bundle.searchset([bundle.search_entry(URL, PATIENT, "include")], links=LINKS),
        bundle.history(
            [
                bundle.history_entry(URL, "DELETE", "Patient/1", "204", etag='W/"2"'),
                bundle.history_entry(URL, "POST", "Patient", "201 Created", PATIENT),
            ],
            links=LINKS,
            total=2,
        ),
        bundle.transaction_response([
            bundle.response_entry("201 Created", location="Patient/1/_history/1")
        ]),
        bundle.batch_response([
            bundle.response_entry("200 OK", resource=PATIENT),
            bundle.response_entry(
                "404 Not Found",
                outcome={
                    "resourceType": "OperationOutcome",
                    "issue": [{"severity": "error", "code": "not-found"}],
                },
            ),
        ]),
    ],
    ids=lambda made: made["type"],
)
def test_every_bundle_that_we_make_is_valid(made: dict[str, Any]) -> None:
    """No empty arrays, and the rules of the type are kept."""
    assert validate(made) == []


def test_fields_that_are_none_are_left_out() -> None:
    """An element without a value is not there."""
    assert bundle.make("collection", id=None) == {"resourceType": "Bundle", "type": "collection"}


def test_entries_and_resources_are_given_as_far_as_they_are() -> None:
    """What is no object is passed over."""
    given = {
        "entry": [
            {"resource": PATIENT},
            1,
            {"fullUrl": "x"},
            {"resource": {"resourceType": "Basic"}},
        ]
    }

    assert len(list(bundle.entries(given))) == 3
    assert list(bundle.resources(given, "Patient")) == [PATIENT]
    assert len(list(bundle.resources(given))) == 2
    assert list(bundle.entries({"entry": {}})) == list(bundle.entries({})) == []


def test_links_are_found_by_relation() -> None:
    """A link that is not there is None."""
    made = bundle.searchset([], links=[("self", "a"), ("next", "b")])

    assert bundle.link(made, "next") == "b"
    assert bundle.link(made, "previous") is None
    assert bundle.link({}, "self") is None
