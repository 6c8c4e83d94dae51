"""Narrative: what a browser may show, and nothing that acts or loads."""

from __future__ import annotations

import time

import pytest

from fhir_server.model.outcome import Invalid
from fhir_server.validation.narrative import problem
from fhir_server.validation.structure import check, validate

XHTML = 'xmlns="http://www.w3.org/1999/xhtml"'


def div(inside: str) -> str:
    """Return a div of XHTML."""
    return f"<div {XHTML}>{inside}</div>"


@pytest.mark.parametrize(
    "text",
    [
        div("Nguyễn"),
        div("<p>a</p>"),
        div("<p/>tail"),
        div('<img src="http://example.org/a.png" alt="a"/>'),
        div('<img src="data:image/png;base64,AAAA"/>'),
        div('<a href="https://example.org">x</a><a name="y"/>'),
        div('<table class="grid" style="color: red"><tr><td colspan="2">x</td></tr></table>'),
        div('<p style="background-image: url(tbl.png)">x</p>'),
        div('<p style="background-image: url(data: image/png;base64,AAA)">x</p>'),
        div('<p xml:lang="vi">x</p>'),
        div("a&nbsp;&amp;&lt;script&gt;"),
        div("<!-- a -->x"),
        '<h:div xmlns:h="http://www.w3.org/1999/xhtml">x</h:div>',
    ],
)
def test_formatting_is_allowed(text: str) -> None:
    """Basic HTML, links, images and inner styles may stand in a narrative."""
    assert problem(text) is None


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("text", "txt-1"),
        ("<div>no namespace</div>", "txt-1"),
        (f"<p {XHTML}>no div</p>", "txt-1"),
        (div("<p>") + "</p>", "txt-1"),
        (div("x") + div("y"), "txt-1"),
        (div("<script>alert(1)</script>"), "txt-1"),
        (div("<SCRIPT>x</SCRIPT>"), "txt-1"),
        (div('<p onclick="x()">x</p>'), "txt-1"),
        (div('<img src="x" onerror="x()"/>'), "txt-1"),
        (div('<a href="javascript:x()">x</a>'), "txt-1"),
        (div('<a href=" java&#10;script:x()">x</a>'), "txt-1"),
        (div('<a href="JAVASCRIPT:x()">x</a>'), "txt-1"),
        (div('<a href="vbscript:x">x</a>'), "txt-1"),
        (div('<a href="data:text/html,x">x</a>'), "txt-1"),
        (div('<img src="data:image/svg+xml,x"/>'), "txt-1"),
        (div("<iframe/>x"), "txt-1"),
        (div("<form><input/></form>x"), "txt-1"),
        (div("<object/>x"), "txt-1"),
        (div("<svg/>x"), "txt-1"),
        (div("<style>p{}</style>x"), "txt-1"),
        (div('<link rel="x"/>x'), "txt-1"),
        (div("<base/>x"), "txt-1"),
        (div("<head/>x"), "txt-1"),
        (div('<p style="background: url(http://x/a.png)">x</p>'), "txt-1"),
        (div('<p style="background: url(//x/a.png)">x</p>'), "txt-1"),
        (div('<p style="background: u\\72l(x)">x</p>'), "txt-1"),
        (div('<p style="width: expression(x())">x</p>'), "txt-1"),
        (div('<p style="@import x">x</p>'), "txt-1"),
        (div('<x:p xmlns:x="urn:x">x</x:p>'), "txt-1"),
        (div('<p xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="x">x</p>'), "txt-1"),
        (div("&unknown;"), "txt-1"),
        ("<!DOCTYPE div>" + div("x"), "txt-1"),
        ('<!DOCTYPE d [<!ENTITY e "x">]>' + div("&e;"), "txt-1"),
        (div(""), "txt-2"),
        (div(" \n "), "txt-2"),
        (div("<p> </p>"), "txt-2"),
        (div("&nbsp;"), "txt-2"),
    ],
    ids=lambda value: value[:70],
)
def test_what_acts_or_loads_is_refused(text: str, key: str) -> None:
    """Scripts, events, forms, frames, other namespaces and foreign loads are refused."""
    found = problem(text)

    assert found is not None
    assert found[0] == key
    assert found[1].endswith(".")
    assert found[2].endswith(".")


@pytest.mark.parametrize(
    "text",
    [
        div("a" * 1_000_000 + "<p/>"),
        div(" " * 1_000_000),
        div(f'<p style="url({" " * 200_000}http">x</p>'),
        div(f'<p style="{"url( " * 50_000}">x</p>'),
        div("&a" * 300_000),
        div("<p>" * 250 + "</p>" * 250),
    ],
    ids=["text", "space", "style", "styles", "entities", "deep"],
)
def test_no_narrative_takes_long(text: str) -> None:
    """A hostile narrative of a megabyte is judged in well under a second."""
    began = time.process_time()
    problem(text)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("text", "severity"), [(div(""), "warning"), (div(" "), "warning"), (div("<script/>"), "error")]
)
def test_a_narrative_that_says_nothing_is_warned_of(text: str, severity: str) -> None:
    """HL7's own examples have empty divs: written all the same, while what acts is refused."""
    resource = {"resourceType": "Basic", "code": {"text": "x"}}
    resource |= {"text": {"status": "generated", "div": text}}

    (issue,) = validate(resource)

    assert (issue.severity, issue.expression) == (severity, ("Basic.text.div",))
    if severity == "error":
        with pytest.raises(Invalid):
            check(resource)
    else:
        check(resource)
