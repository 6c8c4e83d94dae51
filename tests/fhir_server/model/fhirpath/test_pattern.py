"""Regular expressions: what Python's engine finds, without its dangers."""

from __future__ import annotations

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.pattern import compiled
from fhir_server.model.fhirpath.work import STEPS, Work

atoms = st.sampled_from([
    "a",
    "b",
    ".",
    "[ab]",
    "[^a]",
    r"\d",
    r"\w",
    r"\W",
    "^",
    "$",
    r"\b",
    r"\B",
    "(?=a)",
    "(?!b)",
])
marks = st.sampled_from(["", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,}"])


def _larger(regexes: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda one, other: one + other, regexes, regexes),
        st.builds(lambda one, other: f"(?:{one}|{other})", regexes, regexes),
        st.builds(lambda regex, mark: f"({regex}){mark}", regexes, marks),
    )


def _larger_with_length(regexes: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds(lambda one, other: one + other, regexes, regexes),
        st.builds(lambda one, other: f"(?:{one}|{other})", regexes, regexes),
        st.builds(lambda regex, mark: f"(a{regex}|[b1]){mark}", regexes, marks),
    )


signs = st.builds(lambda one, mark: one + mark, st.sampled_from("ab.1"), marks)
regexes = st.recursive(atoms | signs, _larger, max_leaves=8)
with_length = st.recursive(atoms | signs, _larger_with_length, max_leaves=8)


def _python(regex: str, text: str) -> re.Match[str] | None:
    """Search as Python does, with our `.` and `$`."""
    return re.compile(regex.replace("$", r"\Z"), re.DOTALL).search(text)


# Python before 3.14 finds no \B in an empty text.
@settings(max_examples=300)
@given(regexes, st.text("ab1 \n", min_size=1, max_size=8))
def test_what_is_found_begins_where_python_finds_it(regex: str, text: str) -> None:
    """There is a match where Python has one, and it begins there."""
    found, expected = compiled(regex).search(text, Work()), _python(regex, text)

    assert (found and found[0]) == (expected and expected.start())


@settings(max_examples=300)
@given(with_length, st.text("ab1 \n", min_size=1, max_size=8))
def test_what_is_found_is_what_python_finds(regex: str, text: str) -> None:
    """The match and its groups are Python's, where nothing is repeated that may be empty."""
    found, expected = compiled(regex).search(text, Work()), _python(regex, text)

    spans = expected and [expected.span(at) for at in range(expected.re.groups + 1)]
    assert (found and list(zip(found[::2], found[1::2], strict=True))) == spans


@given(regexes, st.text("ab1", max_size=8))
def test_what_is_replaced_is_what_python_replaces(regex: str, text: str) -> None:
    """Matches from left to right, those that are empty too, but none right behind another."""
    pattern = compiled(regex)

    found = pattern.replace(text, "<$0>", Work())

    spans = [match[:2] for match in pattern.all(text, Work())]
    assert found.count("<") == len(spans)
    assert re.sub("[<>]", "", found) == text
    assert all(before[1] <= behind[0] for before, behind in pairwise(spans))


@pytest.mark.parametrize(
    ("regex", "text", "expected"),
    [
        (r"^[A-Za-z0-9\-\.]{1,64}$", "a-1.b", "a-1.b"),
        (r"[^\s\.,:;\'\"\/|?!@#$%&*()\[\]{}]{1,64}", "Patient.name", "Patient"),
        (r"\p{Lu}\p{Ll}+", "ông Nguyễn", "Nguyễn"),
        (r"\P{L}+", "ab12", "12"),
        (r"[\p{L}-]+", "1a-b", "a-b"),
        (r"\i\c*", "1x:y-z.", "x:y-z."),
        (r"(?i)nguyễn", "NGUYỄN", "NGUYỄN"),
        (r"(?im)^b[^A]$", "a\nBc", "Bc"),
        (r"a$", "a\na", "a"),
        (r"[]a]+", "a]", "a]"),
        (r"[a-]+", "-a", "-a"),
        (r"[\b]", "\b", "\b"),
        (r"\x41B\n", "AB\n", "AB\n"),
        (r"\Aa\z", "a", "a"),
        (r"a{x}{2", "a{x}{2", "a{x}{2"),
        (r"a{,2}", "a{,2}", "a{,2}"),
        (r"a{2,}", "aaa", "aaa"),
        (r"(?P<n>a)(?:b)", "ab", "ab"),
        (r"(?x)", "", None),
    ],
)
def test_the_dialect(regex: str, text: str, expected: str | None) -> None:
    """Classes, categories, escapes, flags and counts."""
    if expected is None:
        with pytest.raises(FhirPathError):
            compiled(regex)
        return
    begin, end = compiled(regex).search(text, Work())[:2]
    assert text[begin:end] == expected


@pytest.mark.parametrize(
    ("regex", "put", "expected"),
    [
        (r"(a)(b)?", "[$1$2]", "[ab]-[a]"),
        (r"(?<x>a)b", "${x}${1}$0", "aaab-a"),
        (r"a", r"\$1\\", "$1\\b-$1\\"),
        (r"a", r"\x", r"\xb-\x"),
        (r"^a", "x", "xb-a"),
        (r"$", "!", "ab-a!"),
        (r"x*", "-", "-a-b---a-"),
    ],
)
def test_replacing(regex: str, put: str, expected: str) -> None:
    """Groups by number and name; a backslash before a dollar takes its meaning."""
    assert compiled(regex).replace("ab-a", put, Work()) == expected


@pytest.mark.parametrize(
    "regex",
    [
        "(", ")", "[", "[a", "[b-a]", r"[a-\d]", "*a", "a**", "a++", "^*", "(?=a)*", "a{2,1}",
        r"\1", r"\k<a>", "(?<=a)", "(?<!a)", "(?>a)", "(?<1>a)", r"\p", r"\p{X}", r"\p{L", r"\x4",
        r"\y", "\\", "[\\", "(?<", r"\u12",
    ],
)  # fmt: skip
def test_what_is_not_supported_is_refused(regex: str) -> None:
    """The refusal is a sentence, also of what other engines have."""
    with pytest.raises(FhirPathError, match=r"^The regular expression .*\.$"):
        compiled(regex)


def test_a_text_that_is_too_long_for_an_expression_is_refused() -> None:
    """What would remember too much is not begun."""
    with pytest.raises(FhirPathError, match="too large") as refusal:
        compiled("a{20}").search("a" * 1_000_000, Work())

    assert refusal.value.kind == "too-costly"


def test_a_class_is_asked_of_more_characters_than_it_remembers() -> None:
    """What a class says of a character does not depend on those before it."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 600))) + "a"

    assert compiled(r"[^\x00-\x7f]+a").search(text, Work())[:2] == (0, 601)


@pytest.mark.parametrize("put", ["$1", "${x}", "${99999999}"])
def test_a_group_that_there_is_not(put: str) -> None:
    """A replacement names a group of the expression."""
    with pytest.raises(FhirPathError, match="group"):
        compiled("a").replace("a", put, Work())


@pytest.mark.parametrize(
    "regex",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a*)*$",
        "(a|aa)+$",
        "(.*a){12}$",
        "(a*)*b",
        "((a{0,9}){0,9}){0,9}$",
        "(?:(?=(a+)+$)a)*",
    ],
)
def test_what_hangs_others_ends(regex: str) -> None:
    """Nested repetitions take time in the length of the text, and no more than is allowed."""
    work = Work(100_000)

    try:
        compiled(regex).search("a" * 2000 + "!", work)
    except FhirPathError as error:
        assert error.kind == "too-costly"  # noqa: PT017 - either is right
    assert work.left < 100_000


@pytest.mark.parametrize("look", ["?=", "?!"])
def test_looking_ahead_everywhere_is_refused(look: str) -> None:
    """Each look fills a table as large as program and text: 15,000 of 15 MB took 7 s."""
    begun = time.process_time()

    with pytest.raises(FhirPathError) as refusal:
        compiled(f"(?:({look}b(?:x{{250}}){{4}})a)*c").search("a" * 15_000, Work())

    assert refusal.value.kind == "too-costly"
    assert time.process_time() - begun < 3


def test_many_groups_cost_more() -> None:
    """Each remembered place copies all of them."""
    spent = []
    for one in ("(a)", "(?:a)(?:)"):
        work = Work()
        compiled(f"(?:{one * 100})*c").search("a" * 1000, work)
        spent.append(STEPS - work.left)

    assert spent[0] > 2 * spent[1]


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        ("a" * 4001, ""),
        ("(" * 60 + ")" * 60, ""),
        ("a{1001}", ""),
        ("a{1,1001}", ""),
        ("(a{900}){900}", ""),
        ("a*b", "a" * 20_000),
        ("(?:a{900}){5}", "a" * 10_000),
    ],
)
def test_what_is_too_much_is_refused(regex: str, text: str) -> None:
    """Length, depth, repetition and work have an end."""
    with pytest.raises(FhirPathError) as refusal:
        compiled(regex).search(text, Work(1000))

    assert refusal.value.kind == "too-costly"
