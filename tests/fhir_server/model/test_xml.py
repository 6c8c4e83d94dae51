"""XML by the definitions: the shape of JSON, and nothing that a hostile document asks for."""

# ruff: noqa: E501, ISC004 - a row of a table reads best in one line
from __future__ import annotations

from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Malformed

HEAD = '<Patient xmlns="http://hl7.org/fhir"'


def patient(inside: str) -> bytes:
    """Return a Patient in XML."""
    return f"{HEAD}>{inside}</Patient>".encode()


SHAPES: list[tuple[str, dict[str, Any]]] = [
    ('<active value="true"/>', {"active": True}),
    ('<multipleBirthInteger value="3"/>', {"multipleBirthInteger": 3}),
    (
        '<name><given value="A"/><given><extension url="u"><valueCode value="c"/></extension></given>'
        "</name>",
        {
            "name": [
                {
                    "given": ["A", None],
                    "_given": [None, {"extension": [{"url": "u", "valueCode": "c"}]}],
                }
            ]
        },
    ),
    ('<birthDate id="b"/>', {"_birthDate": {"id": "b"}}),
    (
        '<birthDate id="b" value="1970"/>',
        {"birthDate": "1970", "_birthDate": {"id": "b"}},
    ),
    (
        '<contained><Organization><id value="o"/></Organization></contained>',
        {"contained": [{"resourceType": "Organization", "id": "o"}]},
    ),
    (
        '<extension url="u"><valueDecimal value="1.10"/></extension>',
        {"extension": [{"url": "u", "valueDecimal": codec.loads(b"1.10")}]},
    ),
    (
        '<extension url="u"><valueDecimal value="1e3"/></extension>',
        {"extension": [{"url": "u", "valueDecimal": codec.loads(b"1e3")}]},
    ),
    (
        '<extension url="u"><valueDecimal value="-0"/></extension>',
        {"extension": [{"url": "u", "valueDecimal": codec.loads(b"-0.0").to_integral_value()}]},
    ),
    (
        '<text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">a <b>c</b>'
        "&amp; d</div></text>",
        {
            "text": {
                "status": "generated",
                "div": '<div xmlns="http://www.w3.org/1999/xhtml">a <b>c</b>&amp; d</div>',
            }
        },
    ),
    (
        '<contact id="k"><gender value="male"/></contact>',
        {"contact": [{"id": "k", "gender": "male"}]},
    ),
]


@pytest.mark.parametrize(("inside", "shape"), SHAPES)
def test_xml_and_json_have_one_shape(inside: str, shape: dict[str, Any]) -> None:
    """Each form of FHIR's XML is its JSON, and comes back as it was."""
    resource = codec.from_xml(patient(inside))

    assert resource == {"resourceType": "Patient", **shape}
    assert codec.from_xml(codec.to_xml(resource)) == resource
    assert codec.dumps(codec.from_xml(codec.to_xml(resource))) == codec.dumps(resource)


def test_elements_are_written_in_the_order_of_the_definition() -> None:
    """Names may come in any order in JSON; XML has the definition's."""
    resource = {"resourceType": "Patient", "birthDate": "1970", "active": True, "id": "1"}

    assert codec.to_xml(resource).endswith(
        b'<Patient xmlns="http://hl7.org/fhir"><id value="1"/><active value="true"/>'
        b'<birthDate value="1970"/></Patient>'
    )


@pytest.mark.parametrize(
    ("inside", "shape"),
    [
        ('<gender value=""/>', {"gender": ""}),
        ('<active value="maybe"/>', {"active": "maybe"}),
        ('<multipleBirthInteger value="1.5"/>', {"multipleBirthInteger": "1.5"}),
        (
            '<extension url="u"><valueDecimal value="+1"/></extension>',
            {"extension": [{"url": "u", "valueDecimal": "+1"}]},
        ),
        (
            '<extension url="u"><valueDecimal value="1e99999"/></extension>',
            {"extension": [{"url": "u", "valueDecimal": "1e99999"}]},
        ),
        ('<birthDate value="1"/><birthDate value="2"/>', {"birthDate": ["1", "2"]}),
        ('<foo value="x"/>', {"foo": "x"}),
        ('<foo value="x"/><foo value="y"/>', {"foo": ["x", "y"]}),
        ('<foo><bar value="x"/></foo>', {"foo": {"bar": "x"}}),
        ("<gender/>", {"gender": None}),
    ],
)
def test_what_is_wrong_is_kept_for_validation(inside: str, shape: dict[str, Any]) -> None:
    """Unknown elements, bad values and too many of one come through, so that 422 can name them."""
    assert codec.from_xml(patient(inside)) == {"resourceType": "Patient", **shape}


BOMB = (
    '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">'
    + "".join(
        f'<!ENTITY {c} "{f"&{p};" * 10}">' for p, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]>"
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"<Patient",
        b"<Patient/>",
        b'<Patient xmlns="urn:x"/>',
        b'<Foo xmlns="http://hl7.org/fhir"/>',
        b'<HumanName xmlns="http://hl7.org/fhir"/>',
        b"<!DOCTYPE Patient>" + patient(""),
        ("<!DOCTYPE Patient>" + patient("").decode()).encode("utf-16"),
        b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + patient("<id>&e;</id>"),
        b'<!DOCTYPE x SYSTEM "http://example.org/x.dtd">' + patient(""),
        BOMB.encode() + patient('<id value="&i;"/>'),
        patient("<contained><Foo/></contained>"),
        patient("<extension>" * 300 + "</extension>" * 300),
        patient("<extension>" * 60 + "</extension>" * 60),
        patient('<id value="\x01"/>'),
        b"\xff\xfe\x00",
    ],
    ids=lambda body: repr(body[:40]),
)
def test_hostile_or_broken_xml_is_malformed(body: bytes) -> None:
    """No DTD, no entity, no foreign element, attribute or text; always Malformed with a sentence."""
    with pytest.raises(Malformed) as refusal:
        codec.from_xml(body)

    issue = refusal.value.issues[0]
    assert issue.text.startswith("The ")
    assert issue.text.endswith(".")
    assert issue.text_vi


@pytest.mark.parametrize(
    "body",
    [
        patient("text"),
        patient('<id value="1"/>text'),
        patient("<id>1</id>"),
        patient('<id value="1" other="2"/>'),
        patient('<name value="1"/>'),
        patient('<x:id xmlns:x="urn:x" value="1"/>'),
        patient("<contained/>"),
        patient("<contained><Basic/><Basic/></contained>"),
        f'{HEAD} id="1"/>'.encode(),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_what_fhir_does_not_know_in_a_resource_is_invalid(body: bytes) -> None:
    """Text, attributes and namespaces of others make a resource invalid (422); the place is named."""
    with pytest.raises(Invalid) as refusal:
        codec.from_xml(body)

    (issue,) = refusal.value.issues
    assert issue.expression[0].startswith("Patient")
    assert issue.text.startswith("The XML has ")
    assert issue.text_vi


def test_what_xml_may_be_deep_json_may_too() -> None:
    """A resource that came as XML can be read back from its stored JSON."""
    resource = codec.from_xml(patient("<extension>" * 49 + "</extension>" * 49))

    assert codec.loads(codec.dumps(resource)) == resource


def test_hints_and_comments_are_no_content() -> None:
    """xsi:schemaLocation, comments and processing instructions are left out."""
    body = (
        f'{HEAD} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:schemaLocation="a b"><!-- c --><?p i?><id value="1"/></Patient>'
    )
    assert codec.from_xml(body.encode()) == {"resourceType": "Patient", "id": "1"}


def test_a_narrative_with_names_of_html_is_written_with_the_characters() -> None:
    """`&nbsp;` is no entity of XML; an unknown name is refused."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml">a&nbsp;b &lt; &foo;</div>'
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}
    with pytest.raises(Malformed):
        codec.to_xml(resource)

    resource["text"]["div"] = div.replace("&foo;", "")  # type: ignore[index]
    assert "a\u00a0b &lt; " in codec.from_xml(codec.to_xml(resource))["text"]["div"]


def test_what_xml_cannot_hold_is_replaced() -> None:
    """Control characters that slipped in do not make a resource unreadable."""
    resource = {"resourceType": "Patient", "name": [{"text": "a\x00b\ufffe"}]}
    assert codec.from_xml(codec.to_xml(resource))["name"][0]["text"] == "a\ufffdb\ufffd"


@pytest.mark.parametrize(
    "resource",
    [
        {"resourceType": "Foo"},
        {},
        {"resourceType": "Patient", "foo": 1},
        {"resourceType": "Patient", "contained": [{"resourceType": "Foo"}]},
        {"resourceType": "Patient", "text": {"status": "generated", "div": "<p>no div</p>"}},
    ],
)
def test_what_the_definitions_do_not_know_is_not_written(resource: dict[str, Any]) -> None:
    """Nothing is dropped silently on the way to XML."""
    with pytest.raises(Malformed):
        codec.to_xml(resource)


def test_content_too_deep_to_write_is_refused() -> None:
    """A resource that our own code nested too deeply is a refusal, not a crash."""
    deep: dict[str, Any] = {"url": "u"}
    for _ in range(5000):
        deep = {"url": "u", "extension": [deep]}

    with pytest.raises(Malformed, match="nested"):
        codec.to_xml({"resourceType": "Basic", "extension": [deep]})
    while "extension" in deep:
        deep = deep["extension"][0]


def test_pretty_xml_is_the_same_resource() -> None:
    """Indented XML reads as the same resource."""
    resource = {"resourceType": "Bundle", "type": "collection", "entry": [
        {"resource": {"resourceType": "Patient", "id": "1"}},
    ]}  # fmt: skip
    pretty = codec.to_xml(resource, pretty=True)

    assert pretty.count(b"\n") > 5
    assert codec.from_xml(pretty) == resource
