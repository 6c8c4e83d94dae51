"""Comments of XML: beside the resource, and back at their places."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fhir_server.model import codec
from fhir_server.model.comments import inside
from fhir_server.model.outcome import Invalid

START = '<Patient xmlns="http://hl7.org/fhir">'

EVERYWHERE = (
    f'<!-- before --><!-- all -->{START}<!-- a --><id value="p"/><text>'
    '<status value="generated"/><!-- div --><div xmlns="http://www.w3.org/1999/xhtml">x'
    "<!-- in it --> y</div></text>"
    '<contained><!-- c --><Organization><id value="o"/><!-- end --></Organization><!-- d -->'
    '</contained><name><!-- 0 --><given value="A"/><given><!-- 1 --><extension url="u">'
    '<valueCode value="c"/></extension></given><!-- &lt; 2 --><!-- 3 --></name>'
    '<gender value="male"><!-- in a primitive --></gender><!----></Patient><!-- after -->'
)  # fmt: skip


def again(text: str, *, pretty: bool = False) -> str:
    """Return XML after it was a resource and its comments."""
    resource, comments = codec.from_commented_xml(text.encode())
    made = codec.to_xml(codec.loads(codec.dumps(resource)), pretty=pretty, comments=comments)
    return made.decode().partition("?>\n")[2]


def test_comments_stand_where_they_stood() -> None:
    """Before, in and behind every kind of element, in their order, and indented as well."""
    assert again(EVERYWHERE) == EVERYWHERE
    assert again(again(EVERYWHERE, pretty=True)) == EVERYWHERE


def test_the_resource_has_none_but_its_narrative() -> None:
    """What is read beside them is what is read without."""
    resource, _ = codec.from_commented_xml(EVERYWHERE.encode())

    assert codec.dumps(resource).count(b"<!--") == 1
    assert resource["text"]["div"].endswith(">x<!-- in it --> y</div>")
    assert resource == codec.from_xml(EVERYWHERE.encode())


def test_the_comments_of_a_narrative_come_through_xml_from_json() -> None:
    """They are a part of the text, whatever it came as."""
    div = '<div xmlns="http://www.w3.org/1999/xhtml"><p>a</p><!-- b --></div>'
    resource = {"resourceType": "Patient", "text": {"status": "generated", "div": div}}

    assert codec.from_xml(codec.to_xml(resource)) == resource


def test_utf_16_has_comments_too() -> None:
    """The encoding of the document makes no difference."""
    text = f'<?xml version="1.0" encoding="utf-16"?>{START}<!-- ă --><id value="p"/></Patient>'

    assert codec.from_commented_xml(text.encode("utf-16"))[1] == {
        "Patient[0]": {"id[0]": {"<": [" ă "]}}
    }


def test_a_comment_whose_element_is_gone_is_gone() -> None:
    """It said something of that element."""
    resource, comments = codec.from_commented_xml(EVERYWHERE.encode())
    del resource["name"], resource["contained"]

    made = codec.to_xml(resource, comments=comments)

    assert b"<!-- 0 -->" not in made
    assert b"<!-- c -->" not in made
    assert b"<!-- a -->" in made


@pytest.mark.parametrize(
    "text", ["x<!-- c -->", "<!-- c -->x", '<id value="p"/><!-- c -->x<!---->']
)
def test_text_beside_a_comment_is_refused(text: str) -> None:
    """FHIR has none between elements, and a comment hides it not."""
    with pytest.raises(Invalid, match="text"):
        codec.from_xml(f"{START}{text}</Patient>".encode())


def test_those_of_an_entry_are_those_of_its_resource() -> None:
    """A Bundle's own comments, as before a request, are none of a resource's."""
    held = f"<!-- 1 -->{START}<!-- 2 --></Patient><!-- 3 -->"
    entry = f"<entry><!-- x --><resource>{held}</resource></entry>"
    body = f'<Bundle xmlns="http://hl7.org/fhir"><!-- b --><entry/><!-- y -->{entry}</Bundle>'
    _, comments = codec.from_commented_xml(body.encode())

    assert inside(comments, "Bundle[0]", "entry[1]", "resource[0]") == {
        "Patient[0]": {"<": [" 1 "], ">": [" 2 "]},
        ">": [" 3 "],
    }
    assert inside(comments, "Bundle[0]", "entry[7]", "resource[0]") == {}
    assert inside(None, "Bundle[0]") is None


LISTS = (
    f"<!--head-->{START}<!--1--><name><!--1a--><given value='A'/><given value='B'/></name>"
    "<!--2--><name><!--2a--><given value='A'/><!--2b--><given value='C'/><!--2e--></name>"
    "<!--g--><gender value='male'/><!--end--></Patient>"
).replace("'", '"')


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({}, "head 1 1a 2 2a 2b 2e g end"),
        ({"gender": "other"}, "1 1a 2 2a 2b 2e"),
        ({"name": [{"given": ["A", "B"]}, {"given": ["A", "D"]}]}, "1 1a 2a g"),
        ({"name": [{"given": ["A", "B"]}]}, "1 1a g"),
        ({"name": [{"given": ["A", "C"]}]}, "g"),
        ({"name": [{"given": ["A", "C"]}, {"given": ["A", "B"]}]}, "g"),
        ({"name": [{"given": ["X"]}, {"given": ["A", "B"]}, {"given": ["A", "C"]}]}, "g"),
        ({"birthDate": "1990"}, "1 1a 2 2a 2b 2e g"),
        ({"colour": "red"}, ""),
    ],
)
def test_those_left_are_of_what_is_left(change: dict[str, Any], left: str) -> None:
    """Of a list that is shifted, or in which more has changed, none within what has changed."""
    resource, comments = codec.from_commented_xml(LISTS.encode())
    made = resource | change

    kept = codec.comments_left(comments, resource, made)

    if "colour" in made:
        assert kept == {}
        return
    text = codec.to_xml(made, comments=kept).decode()
    assert re.findall("<!--(.*?)-->", text) == left.split()
