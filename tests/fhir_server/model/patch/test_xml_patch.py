"""XML Patch over a resource: RFC 5261 where HL7's cases say nothing, and FHIR's own XML."""

from __future__ import annotations

import re
import time
from decimal import Decimal
from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Malformed
from fhir_server.model.patch import xml_patch
from fhir_server.model.patch.refusal import MOST_OPERATIONS

DIV = '<div xmlns="http://www.w3.org/1999/xhtml"><p>a <b>b</b> c&nbsp;d</p><!-- note --></div>'
PATIENT: dict[str, Any] = {
    "resourceType": "Patient",
    "id": "a",
    "text": {"status": "generated", "div": DIV},
    "contained": [{"resourceType": "Organization", "id": "o", "name": "O"}],
    "extension": [{"url": "http://example.org/x", "valueDecimal": Decimal("1.10")}],
    "identifier": [
        {"use": "official", "system": "urn:a", "value": "1"},
        {"use": "usual", "system": "urn:b", "value": "2"},
    ],
    "active": True,
    "name": [{"family": "A", "given": ["B", "C"], "_given": [None, {"id": "c"}]}],
    "birthDate": "1990-01-01",
    "_birthDate": {"extension": [{"url": "http://example.org/y", "valueString": "e"}]},
}
THREE = {"given": ["X", "B", "C"], "_given": [None, None, {"id": "c"}]}
F = 'xmlns="http://hl7.org/fhir" xmlns:f="http://hl7.org/fhir"'


def patch_of(*operations: str, attributes: str = F, root: str = "diff") -> xml_patch.XmlPatch:
    """Return a patch of these operations."""
    return xml_patch.parse(f"<{root} {attributes}>{''.join(operations)}</{root}>".encode())


def patched(*operations: str, **more: str) -> dict[str, Any]:
    """Return the Patient patched."""
    return patch_of(*operations, **more).apply(codec.loads(codec.dumps(PATIENT)))


@pytest.mark.parametrize(
    ("operation", "change"),
    [
        ('<replace sel="f:Patient/f:active/@value">false</replace>', {"active": False}),
        ('<replace sel="/Patient/active"><active value="false"/></replace>', {"active": False}),
        ('<replace sel="//f:active/@value">false</replace>', {"active": False}),
        ('<replace sel="*/f:active/@value">false</replace>', {"active": False}),
        ('<remove sel="f:Patient/f:active"/>', {"active": None}),
        ('<remove sel="f:Patient/f:active/@value"/>', {"active": None}),
        (
            '<add sel="f:Patient"><gender value="female"/></add>',
            {"gender": "female"},
        ),
        (
            '<add sel="f:Patient/f:birthDate" pos="before"><gender value="male"/></add>',
            {"gender": "male"},
        ),
        (
            '<remove sel="f:Patient/f:identifier[f:use/@value=\'official\']"/>',
            {"identifier": PATIENT["identifier"][1:]},
        ),
        (
            '<remove sel="f:Patient/f:identifier[f:use/@value=\'usual\'][1]/f:system"/>',
            {"identifier": [PATIENT["identifier"][0], {"use": "usual", "value": "2"}]},
        ),
        (
            '<add sel="f:Patient/f:name/f:given[1]" pos="after"><given value="X"/></add>',
            {"name": [{"family": "A", **THREE | {"given": ["B", "X", "C"]}}]},
        ),
        (
            '<add sel="f:Patient/f:name" pos="prepend"><given value="X"/></add>',
            {"name": [{"family": "A", **THREE}]},
        ),
        ('<remove sel="f:Patient/f:birthDate/@value"/>', {"birthDate": None}),
        ('<remove sel="f:Patient/f:birthDate/f:extension"/>', {"_birthDate": None}),
        (
            '<add sel="f:Patient/f:birthDate" type="@id">i</add>',
            {"_birthDate": {"id": "i"} | PATIENT["_birthDate"]},
        ),
        (
            "<replace sel=\"*/f:extension[@url='http://example.org/x']/*/@value\">2.500</replace>",
            {"extension": [{"url": "http://example.org/x", "valueDecimal": Decimal("2.500")}]},
        ),
        (
            '<replace sel="f:Patient/f:contained/f:Organization/f:name/@value">P</replace>',
            {"contained": [{"resourceType": "Organization", "id": "o", "name": "P"}]},
        ),
        ('<remove sel="f:Patient/f:name[f:family]"/>', {"name": None}),
        ('<remove sel="f:Patient/f:text"/>', {"text": None}),
        ('<add sel="f:Patient/f:active"><!-- nothing said --></add>', {}),
    ],
)  # fmt: skip
def test_what_an_operation_makes(operation: str, change: dict[str, Any]) -> None:
    """All else is as it was, every digit and the narrative's spelling too."""
    expected = {k: v for k, v in (PATIENT | change).items() if v is not None}

    made = patched(operation)

    assert made == expected
    assert str(made.get("extension", [{}])[0].get("valueDecimal")) == str(
        expected.get("extension", [{}])[0].get("valueDecimal")
    )


def test_the_narrative_is_xml() -> None:
    """Elements and texts of the div are selected like all others; all else of it stays."""
    made = patched(
        '<replace sel="f:Patient/f:text/f:status/@value">additional</replace>',
        '<replace sel="f:Patient/f:text/h:div/h:p/h:b/text()">X</replace>',
        '<replace sel="f:Patient/f:text/h:div/h:p/text()[2]"> Y</replace>',
        '<add sel="f:Patient/f:text/h:div/h:p" pos="after"> <p xmlns="http://www.w3.org/1999/xhtml"/></add>',
        '<remove sel="f:Patient/f:text/h:div/h:p[2]" ws="before"/>',
    )  # fmt: skip

    assert made["text"] == {
        "status": "additional",
        "div": '<div xmlns="http://www.w3.org/1999/xhtml"><p>a <b>X</b> Y</p><!-- note --></div>',
    }


def test_an_emptied_element_of_the_narrative_stays() -> None:
    """Only FHIR's own elements may not be empty; the text behind is kept."""
    made = patched('<remove sel="f:Patient/f:text/h:div/h:p/h:b/text()"/>')

    assert "<p>a <b/> c" in made["text"]["div"]


@pytest.mark.parametrize(
    ("attributes", "root", "sel"),
    [
        ('xmlns:p="urn:ietf:rfc:7351" xmlns="http://hl7.org/fhir"', "p:patch", "Patient/active"),
        ('xmlns:p="urn:ietf:rfc:7351" xmlns:x="http://hl7.org/fhir"', "p:patch", "*/x:active"),
        ("", "diff", "f:Patient/f:active"),
        ('xmlns="http://hl7.org/fhir"', "patch", "Patient/active"),
    ],
)  # fmt: skip
def test_the_document_of_a_patch(attributes: str, root: str, sel: str) -> None:
    """RFC 7351's root and RFC 5261's; prefixes are those of the patch, or f."""
    kind = "p:remove" if root.startswith("p:") else "remove"

    made = patched(f'<{kind} sel="{sel}"/>', attributes=attributes, root=root)

    assert "active" not in made


@pytest.mark.parametrize(
    "operation",
    [
        '<remove sel="f:Patient/f:gender"/>',
        '<remove sel="f:Patient/f:identifier"/>',
        '<remove sel="f:Patient/f:identifier[3]"/>',
        '<remove sel="f:Observation"/>',
        '<remove sel="f:Patient"/>',
        '<remove sel="f:Patient/f:active" ws="after"/>',
        '<remove sel="f:Patient/f:active/@value" ws="both"/>',
        '<remove sel="h:Patient/h:active"/>',
        '<replace sel="f:Patient/f:active"/>',
        '<replace sel="f:Patient/f:active"><active/><active/></replace>',
        '<replace sel="f:Patient/f:active">false</replace>',
        '<replace sel="f:Patient/f:active"><!-- comment --></replace>',
        '<replace sel="f:Patient/f:active/@value"><b/></replace>',
        '<replace sel="f:Patient/namespace::f">urn:x</replace>',
        '<add sel="f:Patient/f:active" type="@value">false</add>',
        '<add sel="f:Patient/f:active/@value">false</add>',
        '<add sel="f:Patient" pos="after"><Patient/></add>',
        '<add sel="f:Patient/f:active/@value" pos="after">x</add>',
        '<add sel="f:Patient">text</add>',
        '<add sel="f:Patient"><x xmlns="urn:x"/></add>',
        '<add sel="f:Patient/f:active" type="@colour">red</add>',
    ],
)
def test_what_cannot_be_applied(operation: str) -> None:
    """422; most name the operation, what is no XML of FHIR's says so."""
    with pytest.raises(Invalid) as refusal:
        patched('<remove sel="f:Patient/f:birthDate"/>', operation)

    assert refusal.value.status == 422


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<diff",
        "<diff/>",
        "<diff>text</diff>",
        '<Patient xmlns="http://hl7.org/fhir"/>',
        '<diff xmlns="urn:x"><remove sel="f:Patient"/></diff>',
        '<!DOCTYPE diff [<!ENTITY x "y">]><diff><remove sel="f:Patient/&x;"/></diff>',
        "<diff><delete sel='f:Patient'/></diff>",
        '<diff><remove xmlns="urn:x" sel="f:Patient"/></diff>',
        "<diff><remove/></diff>",
        "<diff><remove sel=''/></diff>",
        "<diff><remove sel='/'/></diff>",
        "<diff><remove sel='f:Patient/'/></diff>",
        "<diff><remove sel='g:Patient'/></diff>",
        "<diff><remove sel='f:Patient/@id/f:x'/></diff>",
        "<diff><remove sel='f:Patient[count(f:name)=1]'/></diff>",
        "<diff><remove sel='f:Patient/ancestor::*'/></diff>",
        "<diff><remove sel='f:Patient/..'/></diff>",
        "<diff><remove sel='f:Patient | f:Patient'/></diff>",
        "<diff><remove sel='f:Patient[.]'/></diff>",
        "<diff><remove sel='f:Patient[0]'/></diff>",
        "<diff><remove sel='f:Patient[1'/></diff>",
        "<diff><remove sel='f:Patient[f:a=b]'/></diff>",
        "<diff><remove sel='id(\"x\")'/></diff>",
        "<diff><remove sel='f:Patient' pos='before'/></diff>",
        "<diff><add sel='f:Patient' pos='inside'/></diff>",
        "<diff><add sel='f:Patient' pos='before' type='@x'/></diff>",
        "<diff><add sel='f:Patient' type='x'/></diff>",
        "<diff><add sel='f:Patient' type='@'/></diff>",
        "<diff><add sel='f:Patient' type='@a b'/></diff>",
        "<diff><add sel='f:Patient' type='@*'/></diff>",
        "<diff><replace sel='f:Patient' ws='both'/></diff>",
        f"<diff><remove sel='f:Patient{'[f:a' * 6}{']' * 6}'/></diff>",
    ],
)
def test_what_is_no_xml_patch(body: str) -> None:
    """400, whatever the resource is."""
    with pytest.raises(Malformed):
        xml_patch.parse(body.encode())


def test_selectors_cost_little() -> None:
    """Many elements, looked through again and again, are refused as too costly."""
    wide = PATIENT | {"name": [{"given": ["x"] * 10_000}]}
    same = '<replace sel="//*[f:birthDate]/f:birthDate/@value">1990-01-01</replace>'

    with pytest.raises(Invalid) as refusal:
        patch_of(*[same] * 1000).apply(wide)

    assert refusal.value.issues[0].code == "too-costly"


@pytest.mark.parametrize("text", ["a" * 400_000, "<br/>" * 20_000], ids=["text", "elements"])
def test_what_an_element_says_is_not_read_too_often(text: str) -> None:
    """Each of nested elements says all that is in it: to compare each is refused, soon."""
    nested = "<div>" * 30 + text + "</div>" * 30
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{nested}</div>'
    told = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    patch = patch_of("<remove sel=\"//h:*[h:div//h:div='x']\"/>")
    begun = time.process_time()

    with pytest.raises(Invalid) as refusal:
        patch.apply(told)

    assert refusal.value.issues[0].code == "too-costly"
    assert time.process_time() - begun < 5


def test_selectors_are_so_long_together() -> None:
    """More than MOST_CHARACTERS are not read."""
    long = f'<remove sel="f:Patient{"/f:name" * 1000}"/>'

    with pytest.raises(Invalid, match="too long"):
        patch_of(*[long] * 100)
    assert 0 < patch_of(long).cost < 0.1


def test_a_patch_has_so_many_operations() -> None:
    """One more than MOST_OPERATIONS is refused."""
    with pytest.raises(Invalid, match="at most"):
        patch_of(*["<remove sel='f:Patient'/>"] * (MOST_OPERATIONS + 1))


def test_what_xml_cannot_say_is_not_lost() -> None:
    """A resource with a character that XML has not is not patched as XML."""
    patch = patch_of('<remove sel="f:Patient/f:active"/>')

    with pytest.raises(Invalid, match="XML form"):
        patch.apply({"resourceType": "Patient", "active": True, "name": [{"text": "a\x01b"}]})


def test_a_patch_may_be_applied_again() -> None:
    """The content of an operation is copied: another attempt finds it whole."""
    patch = patch_of('<add sel="f:Patient"><name><text value="N"/></name></add>')

    made = [patch.apply({"resourceType": "Patient"}) for _ in range(2)]

    assert made[0] == made[1] == {"resourceType": "Patient", "name": [{"text": "N"}]}


@pytest.mark.parametrize(
    ("operation", "left"),
    [
        ('<remove sel="f:Patient/f:maritalStatus/f:text"/>', "1--2--5"),
        (
            '<replace sel="f:Patient"><Patient><!--x--><id value="a"/></Patient></replace>',
            "1--x--5",
        ),
        ('<add sel="f:Patient/f:maritalStatus" pos="prepend"><!--x--></add>', "1--2--x--3--4--5"),
        ('<remove sel="f:Patient/f:maritalStatus/comment()[2]"/>', "1--2--3--5"),
    ],
)
def test_comments_are_nodes_of_the_document(operation: str, left: str) -> None:
    """What is empty but for comments is taken away; those round the root stay with another root."""
    text = (
        '<!--1--><Patient xmlns="http://hl7.org/fhir"><id value="a"/><!--2--><maritalStatus>'
        '<!--3--><text value="t"/><!--4--></maritalStatus></Patient><!--5-->'
    )
    resource, comments = codec.from_commented_xml(text.encode())

    made, kept = patch_of(operation).apply_commented(resource, comments)

    found = re.findall("<!--(.*?)-->", codec.to_xml(made, comments=kept).decode())
    assert "--".join(found) == left


def test_a_comment_is_selected_by_what_it_says() -> None:
    """A narrative's too: a condition on one was an error of the server."""
    made = patched("<remove sel=\"f:Patient/f:text/h:div/comment()[.=' note ']\"/>")

    assert "note" not in made["text"]["div"]
