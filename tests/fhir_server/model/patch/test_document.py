"""Which patch a body is, what it makes of a resource, and the narrative after it."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Malformed, UnsupportedMediaType
from fhir_server.model.patch import narrative
from fhir_server.model.patch.document import ACCEPT_PATCH, FORMATS, applied, read
from fhir_server.model.patch.refusal import MOST_OPERATIONS
from tests.fhir_server.model.patch.test_fhirpath_patch import operation

PATIENT = {"resourceType": "Patient", "id": "a", "active": True, "name": [{"family": "A"}]}
JSON_PATCH = b'[{"op":"replace","path":"/active","value":false}]'
MERGE_PATCH = b'{"active":false}'
PARAMETERS = {
    "resourceType": "Parameters",
    "parameter": [operation("replace", "Patient.active", {"valueBoolean": False})],
}
XML_PATCH = b"<diff><replace sel='f:Patient/f:active/@value'>false</replace></diff>"

XML = "application/xml-patch+xml"
GOOD = {
    "application/json-patch+json": JSON_PATCH,
    "application/merge-patch+json": MERGE_PATCH,
    "application/xml-patch+xml": XML_PATCH,
    "application/fhir+json": codec.dumps(PARAMETERS),
    "application/fhir+xml": codec.to_xml(PARAMETERS),
}


def test_every_format_has_a_case() -> None:
    """What the CapabilityStatement declares is what is tested here."""
    assert set(GOOD) == set(FORMATS)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        *GOOD.items(),
        ("application/json", JSON_PATCH),
        ("application/json", MERGE_PATCH),
        ("application/json", codec.dumps(PARAMETERS)),
        ("application/json", codec.dumps(PATIENT | {"active": False})),
        ("text/json", JSON_PATCH),
        ("application/xml", codec.to_xml(PARAMETERS)),
        ("text/xml", codec.to_xml(PARAMETERS)),
        ("Application/JSON-Patch+JSON ; charset=UTF-8", JSON_PATCH),
        ('application/fhir+json;fhirVersion=4.0; charset="utf-8"', codec.dumps(PARAMETERS)),
        ("application/json-patch+json", b"\xef\xbb\xbf" + JSON_PATCH),
    ],
)
def test_every_form_says_the_same(content_type: str, body: bytes) -> None:
    """One change, said in each form, makes one resource."""
    made = applied(read(body, content_type), codec.loads(codec.dumps(PATIENT)))

    assert made == PATIENT | {"active": False}


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/octet-stream",
        "application/fhir+turtle",
        "application/x-www-form-urlencoded",
        "application/json-patch+json; charset=latin-1",
        "application/fhir+json; fhirVersion=5.0",
        "json-patch+json",
    ],
)
def test_other_media_types_are_told_what_is_taken(content_type: str) -> None:
    """415 with Accept-Patch."""
    with pytest.raises(UnsupportedMediaType) as refusal:
        read(JSON_PATCH, content_type)

    assert refusal.value.headers == {"Accept-Patch": ACCEPT_PATCH}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json-patch+json", b"{"),
        ("application/json-patch+json", b"\xff"),
        ("application/json-patch+json", MERGE_PATCH),
        ("application/json-patch+json", b'[{"op":"add","op":"remove","path":"/a","value":1}]'),
        ("application/json-patch+json", b'[{"op":"add","path":"/a","value":1e9999}]'),
        ("application/json-patch+json", b"[" * 200 + b"]" * 200),
        ("application/merge-patch+json", JSON_PATCH),
        ("application/merge-patch+json", b'{"a":NaN}'),
        ("application/json", b'"text"'),
        ("application/json", b"1"),
        ("application/fhir+json", JSON_PATCH),
        ("application/fhir+json", MERGE_PATCH),
        ("application/fhir+json", codec.dumps(PATIENT)),
        ("application/fhir+json", b'{"resourceType":"Parameters","parameter":{}}'),
        ("application/fhir+xml", XML_PATCH),
        ("application/fhir+xml", codec.to_xml(PATIENT)),
        ("application/xml-patch+xml", codec.to_xml(PARAMETERS)),
        ("application/xml-patch+xml", JSON_PATCH),
    ],
)
def test_what_is_no_patch_of_its_media_type(content_type: str, body: bytes) -> None:
    """400, whatever the resource is."""
    with pytest.raises(Malformed):
        read(body, content_type)


@pytest.mark.parametrize(
    "patch",
    [
        [{"op": "replace", "path": "/id", "value": "b"}],
        [{"op": "remove", "path": "/id"}],
        [{"op": "replace", "path": "/resourceType", "value": "Observation"}],
        [{"op": "replace", "path": "/resourceType", "value": "Nope"}],
        [{"op": "remove", "path": "/resourceType"}],
        [{"op": "replace", "path": "", "value": []}],
        [{"op": "replace", "path": "", "value": None}],
        [{"op": "replace", "path": "", "value": {"resourceType": "Patient"}}],
        {"id": None},
        {"resourceType": None},
        {"id": "b"},
    ],
)
def test_type_and_id_stay(patch: Any) -> None:
    """A patch that would make another resource of it, or none, cannot be applied."""
    with pytest.raises(Invalid) as refusal:
        applied(read(codec.dumps(patch), "application/json"), dict(PATIENT))

    assert refusal.value.status == 422


def test_the_whole_may_be_replaced() -> None:
    """By a resource of the same type and id."""
    whole = [{"op": "replace", "path": "", "value": {"resourceType": "Patient", "id": "a"}}]

    made = applied(read(codec.dumps(whole), "application/json-patch+json"), dict(PATIENT))

    assert made == {"resourceType": "Patient", "id": "a"}


def test_depth_cannot_be_piled_up() -> None:
    """Each operation brings what is deep enough, at the end of what the one before brought."""
    step = "/a" * 90
    nested: dict[str, Any] = {}
    for _ in range(90):
        nested = {"a": nested}
    pile = [
        {"op": "add", "path": f"{step * n}/a" if n else "/a", "value": nested} for n in range(20)
    ]

    with pytest.raises(Invalid):
        applied(read(codec.dumps(pile), "application/json-patch+json"), dict(PATIENT))


def test_depth_cannot_be_piled_up_in_xml() -> None:
    """Likewise where each operation adds elements to the innermost."""
    deep = "<extension url='u'>" * 20 + "</extension>" * 20
    ops = "".join(f'<add sel="f:Patient{"/f:extension" * 20 * n}">{deep}</add>' for n in range(5))
    patch = read(f"<diff xmlns='http://hl7.org/fhir'>{ops}</diff>".encode(), XML)

    with pytest.raises(Invalid):
        applied(patch, dict(PATIENT))


def test_a_huge_patch_is_done_in_time() -> None:
    """As many operations as may be, each at the front of a long list, take no two seconds."""
    wide = PATIENT | {"name": [{"given": ["x"] * 100_000}]}
    first = [{"op": "add", "path": "/name/0/given/0", "value": "y"}] * MOST_OPERATIONS
    patch = read(codec.dumps(first), "application/json-patch+json")
    begun = time.process_time()

    made = applied(patch, wide)

    assert len(made["name"][0]["given"]) == 100_000 + MOST_OPERATIONS
    assert time.process_time() - begun < 2


def test_every_digit_is_kept() -> None:
    """Of what is patched and of what is not."""
    digits = b'{"valueDecimal":1.10},{"valueDecimal":-0},{"valueDecimal":1e3}'
    body = b'{"resourceType":"Basic","id":"b","extension":[' + digits + b"]}"
    patch = b'[{"op":"add","path":"/extension/-","value":{"valueDecimal":0.0100}}]'

    made = codec.dumps(applied(read(patch, "application/json-patch+json"), codec.loads(body)))

    assert made == body[:-2] + b',{"valueDecimal":0.0100}]}'


# The narrative


def told(status: str, **more: Any) -> dict[str, Any]:
    """Return a Patient with a narrative."""
    return {"resourceType": "Patient", "text": {"status": status, "div": "<div/>"}, **more}


@pytest.mark.parametrize("status", ["generated", "extensions"])
def test_a_narrative_made_of_other_data_is_gone(status: str) -> None:
    """The data changed and it did not."""
    made = narrative.safe(told(status, active=True), told(status, active=False))

    assert made == {"resourceType": "Patient", "active": False}


def test_a_narrative_that_a_person_wrote_must_be_said_anew() -> None:
    """422 where the patch leaves it as it was; one that changes it is taken."""
    before, after = told("additional", active=True), told("additional", active=False)
    anew = after | {"text": {"status": "additional", "div": "<div>x</div>"}}

    with pytest.raises(Invalid) as refusal:
        narrative.safe(before, after)

    assert refusal.value.issues[0].expression == ("Patient.text",)
    assert narrative.safe(before, anew) == anew


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (told("generated"), told("generated", meta={"tag": [{"code": "x"}]})),
        (told("additional", language="vi"), told("additional", id="a")),
        (told("generated", active=True), told("additional", active=False)),
        (told("generated", active=True), {"resourceType": "Patient", "active": False}),
        (told("empty", active=True), told("empty", active=False)),
        ({"resourceType": "Patient"}, told("generated", active=True)),
        (
            told("generated", extension=[{"valueDecimal": Decimal("1.0")}]),
            told("generated", extension=[{"valueDecimal": Decimal("1.00")}]),
        ),
    ],
)
def test_other_narratives_stay(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Of metadata nothing is told; what the patch says anew, or takes away, is the patch's."""
    assert narrative.safe(before, after) == after
