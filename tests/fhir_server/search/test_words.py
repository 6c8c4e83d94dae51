"""Words of resources, and what `_text` and `_content` ask of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.expression import And, Chain, Expression, Has, Ids, Not, Or, Says
from fhir_server.search.values import CONTENT, NARRATIVE
from fhir_server.search.wording import Unreadable, asked_words, has_words
from fhir_server.search.words import MOST, says, spoken, words_in, words_of


def _spoken(resource: dict[str, Any]) -> dict[str, str]:
    return {value.param: value.text for value in spoken(resource)}


def _said(**elements: Any) -> str:
    return _spoken({"resourceType": "Observation", **elements}).get(CONTENT, "")


def _narrative(div: str) -> str:
    text = {"status": "generated", "div": div}
    return _spoken({"resourceType": "Patient", "text": text}).get(NARRATIVE, "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Nguyễn-Văn ĐẠT", "nguyen van dat"),
        ("120/80 mmHg", "120 80 mmhg"),
        ("E11.9", "e11 9"),
        ("a_b", "a b"),
        ("  ", ""),
        ("x" * 100, "x" * 60),
    ],
)
def test_words_are_folded_runs_of_letters_and_digits(text: str, words: str) -> None:
    """They are compared as names are, whatever stands between them."""
    assert words_of(text) == words.split()


def test_what_a_resource_says() -> None:
    """Every text and markdown counts, at any depth, each once."""
    assert (
        _said(
            identifier=[{"value": "PX-001", "type": {"text": "Phiếu"}, "system": "http://x"}],
            code={
                "text": "Đường huyết",
                "coding": [{"system": "http://x", "display": "Glucose", "code": "2339-0"}],
            },
            extension=[{"url": "http://x", "valueString": "tên"}],
            _issued={"extension": [{"url": "http://x", "valueCoding": {"code": "asked"}}]},
            subject={"reference": "Patient/a", "display": "Bà Tư"},
            note=[{"text": "Lúc **đói**"}, {"text": "lúc đói"}],
            valueString="Cao",
            component=[
                {"code": {"text": "Glucose"}, "valueQuantity": {"value": 1, "unit": "mmol"}}
            ],
            contained=[{"resourceType": "Device", "lotNumber": "K1", "note": [{"text": "hư"}]}],
        )
        == "px 001 | phieu | duong huyet | glucose | 2339 0 | ten | asked | ba tu | luc doi | "
        "cao | k1 | hu"
    )


@pytest.mark.parametrize(
    "elements",
    [
        {"subject": {"reference": "Patient/tu"}, "identifier": [{"system": "http://x"}]},
        {"valueQuantity": {"value": 5, "unit": "mmol", "code": "mmol"}},
        {"meta": {"security": [{"display": "HIV"}]}, "id": "hiv"},
        {"extension": [{"url": "http://x", "valueUri": "urn:tên"}]},
        {"status": "final", "issued": "2024-01-01T00:00:00Z"},
        {"valueSampledData": {"data": "1 2 E"}},
        {"text": {"status": "generated", "div": "<div>x</div>"}},
    ],
)
def test_what_is_no_content(elements: dict[str, Any]) -> None:
    """Numbers, statuses, labels, URIs and the own narrative are not among it."""
    assert _said(**elements) == ""


@pytest.mark.parametrize(
    ("div", "said"),
    [
        ('<div xmlns="http://www.w3.org/1999/xhtml"><p>Một</p><p>hai</p></div>', "mot hai"),
        ('<div>S<b>ốt</b> ca<i class="x">o</i></div>', "sot cao"),
        ("<div>a<br/>b<!-- c --><!----> d</div>", "a b d"),
        ("<div>a&lt;b&gt;&nbsp;c&#224;</div>", "a b ca"),
        ("<div><img src='x.png' alt='ảnh'/></div>", ""),
        ("<div>a &amp;lt;b</div>", "a lt b"),
    ],
)
def test_what_a_narrative_says(div: str, said: str) -> None:
    """Its text, without tags and comments: only blocks part words."""
    assert _narrative(div) == said


def test_narratives_within_are_content() -> None:
    """A section's narrative, or that of a resource in a Bundle, is no narrative of the whole."""
    inner = {"resourceType": "Patient", "text": {"div": "<div>Trong</div>"}, "id": "a"}

    assert _spoken({"resourceType": "Bundle", "entry": [{"resource": inner}]}) == {CONTENT: "trong"}
    section = {"title": "Đầu", "text": {"div": "<div>Thân</div>"}}
    assert _spoken({"resourceType": "Composition", "section": [section]}) == {CONTENT: "dau | than"}


def test_of_very_much_text_the_first_words_count() -> None:
    """Somebody may write millions of words: what one resource is indexed by has an end."""
    many = " ".join(f"w{number}" for number in range(MOST + 10))

    narrative = _narrative(f"<div>{many}</div>").split()
    said = _said(note=[{"text": f"n{number} a b c"} for number in range(MOST)], valueString=many)

    assert (len(narrative), narrative[-1]) == (MOST, f"w{MOST - 1}")
    assert "n1249 a b c" in said
    assert len(said.replace(" | ", " ").split()) == MOST
    assert len(_said(valueString="x " * 10_000_000)) < 2 * MOST


def test_a_phrase_stays_within_an_element() -> None:
    """Words of two elements are not beside one another."""
    text = _said(code={"text": "mot hai"}, valueString="ba")

    assert words_in(text) == {"mot", "hai", "ba"}
    assert says(text, "mot hai")
    assert not says(text, "hai ba")
    assert not says(text, "ot hai")


def _word(word: str) -> Expression:
    return Says(NARRATIVE, word)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("Sốt", _word("sot")),
        ("a b", And((_word("a"), _word("b")))),
        ("a AND b", And((_word("a"), _word("b")))),
        ("a b OR c", Or((And((_word("a"), _word("b"))), _word("c")))),
        ("a (b OR c)", And((_word("a"), Or((_word("b"), _word("c")))))),
        ("NOT a", Not(_word("a"))),
        ("-a b", And((Not(_word("a")), _word("b")))),
        ("a -(b c)", And((_word("a"), Not(And((_word("b"), _word("c"))))))),
        ('"a b"', And((_word("a"), _word("b"), _word("a b")))),
        ("a-b", And((_word("a"), _word("b"), _word("a b")))),
        ('"a"', _word("a")),
        ("not", _word("not")),
    ],
)
def test_the_language(text: str, asked: Expression) -> None:
    """Words are joined by AND, unless OR, NOT or brackets say otherwise."""
    assert asked_words("_text", text) == asked


def test_content_is_the_narrative_too() -> None:
    """`_content` asks for both, a phrase in either."""
    assert asked_words("_content", "a") == Or((Says(CONTENT, "a"), Says(NARRATIVE, "a")))
    assert isinstance(asked_words("_content", '"a b"'), Or)


@given(st.text(alphabet='ab "()-*ORANDT', max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing else comes of what a client writes."""
    try:
        found = asked_words("_content", text)
    except Unreadable:
        return
    assert has_words(found)


def test_where_words_are_asked_for() -> None:
    """Chains and `_has` are looked through."""
    assert has_words(And((Chain("subject", "Patient", Not(_word("a"))),)))
    assert has_words(Has("Observation", "subject", Or((_word("a"),))))
    assert not has_words(And((Chain("subject", "Patient", Ids(frozenset())),)))
