"""Reading and showing expressions: one is the other's inverse, and what is none is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath import quantity
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.lexer import MAX_LENGTH
from fhir_server.model.fhirpath.parser import MAX_DEPTH, parse
from fhir_server.model.fhirpath.show import show
from fhir_server.model.fhirpath.temporal import Moment
from fhir_server.model.fhirpath.tree import (
    PRECEDENCE,
    Binary,
    Call,
    Constant,
    External,
    Indexer,
    Member,
    Polarity,
    Special,
    TypeOperation,
)

words = st.text(st.characters(codec="utf-8"), max_size=8)
names = st.sampled_from(["name", "given", "as", "contains", "day", "and", "true", "a b"]) | words
digits = st.decimals(min_value=0, max_value=10**6, places=3)
values = (
    st.none()
    | st.booleans()
    | st.integers(0, 2**31)
    | digits
    | words
    | st.builds(quantity.of, digits, st.sampled_from(["mg", "day", "1", "{'}", "[in_i]"]))
    | st.sampled_from([
        Moment("Date", (2015, 2)),
        Moment("DateTime", (2015,)),
        Moment("DateTime", (2015, 2, 4, 14, 34), Decimal("28.120"), 420),
        Moment("DateTime", (2015, 2, 4, 14), None, 0),
        Moment("Time", (14,)),
        Moment("Time", (14, 34), Decimal(5)),
    ])
)


def _larger(trees: st.SearchStrategy) -> st.SearchStrategy:
    operators = sorted(set(PRECEDENCE) - {"is", "as"})
    arguments = st.lists(trees, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Member, trees, names),
        st.builds(Call, st.none() | trees, names, arguments),
        st.builds(Indexer, trees, trees),
        st.builds(Polarity, st.sampled_from("+-"), trees),
        st.builds(Binary, st.sampled_from(operators), trees, trees),
        st.builds(
            TypeOperation,
            st.sampled_from(["is", "as"]),
            trees,
            st.lists(names, min_size=1, max_size=2).map(tuple),
        ),
        st.builds(Special, st.sampled_from(["this", "index"]), trees),
    )


leaves = st.one_of(
    st.builds(Constant, values),
    st.builds(External, names),
    st.builds(Special, st.sampled_from(["this", "index", "total"])),
    st.builds(Member, st.none(), names),
)
trees = st.recursive(leaves, _larger, max_leaves=12)


@given(trees)
def test_what_is_shown_is_read_as_the_same(tree: object) -> None:
    """parse(show(tree)) is the tree, for every tree."""
    assert parse(show(tree)) == tree


@given(st.text(st.sampled_from("ab.()[]{}'`\"\\|&+-*/<>=!~@%$ 0123TZ:\n") | st.characters()))
def test_any_text_is_read_or_refused(text: str) -> None:
    """A text is an expression or a FhirPathError with a position, and nothing else."""
    try:
        found: object = fhirpath.compile(text)
    except FhirPathError as error:
        found = error
    if isinstance(found, FhirPathError):
        assert found.kind == "syntax"
        assert 0 <= found.position <= len(text)


@pytest.mark.parametrize(
    ("text", "brackets"),
    [
        ("-1.abs()", "-(1.abs())"),
        ("-a * b", "(-a) * b"),
        ("a + b * c - d", "(a + (b * c)) - d"),
        ("a & b is string", "(a & b) is string"),
        ("a is string | b", "(a is string) | b"),
        ("a | b < c", "(a | b) < c"),
        ("a < b = c", "(a < b) = c"),
        ("a = b in c", "(a = b) in c"),
        ("a in b and c", "(a in b) and c"),
        ("a and b or c", "(a and b) or c"),
        ("a or b xor c", "(a or b) xor c"),
        ("a or b implies c", "(a or b) implies c"),
        ("a implies b implies c", "(a implies b) implies c"),
        ("a div b mod c", "(a div b) mod c"),
        ("a.b[0].c", "((a.b)[0]).c"),
        ("contains contains as.is", "(contains) contains (as.is)"),
    ],
)
def test_operators_bind_as_the_specification_lists_them(text: str, brackets: str) -> None:
    """Each operator binds more tightly than those below it, and to the left."""
    assert parse(text) == parse(brackets)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("a b", 2),
        ("a +", 3),
        ("(a", 2),
        ("a.", 2),
        ("a[1", 3),
        ("{a}", 1),
        ("'abc", 0),
        ("`abc", 0),
        (r"'\d'", 0),
        ("@2015-13", 0),
        ("@2015-02-30", 0),
        ("@T25", 0),
        ("@x", 0),
        ("@T10:00Z", 7),
        ("@2015-01-01T10:00+15:00", 0),
        ("1 /* 2", 2),
        ("a # b", 2),
        ("%", 0),
        ("%and", 0),
        ("a is", 4),
        ("a is FHIR.", 10),
        ("f(a,)", 4),
        ("$that", 0),
        ("and", 0),
        ("1" * 101, 0),
        (")", 0),
    ],
)
def test_what_is_no_expression_is_refused_with_its_place(text: str, position: int) -> None:
    """The refusal says where in the text it is, counted from 1, and has no other content."""
    with pytest.raises(FhirPathError) as refusal:
        fhirpath.compile(text)

    assert refusal.value.kind == "syntax"
    assert refusal.value.position == position
    assert f"at character {position + 1} of the expression." in str(refusal.value)


def test_too_long_and_too_deep_is_refused() -> None:
    """Brackets within brackets are refused beyond a depth, and any text beyond a length."""
    deep = MAX_DEPTH - 1
    assert fhirpath.compile("(" * deep + "1" + ")" * deep).evaluate({}) == [1]
    for text in ("(" * MAX_DEPTH + "1" + ")" * MAX_DEPTH, "-" * MAX_DEPTH + "1", "a" * 20_001):
        with pytest.raises(FhirPathError) as refusal:
            fhirpath.compile(text)
        assert refusal.value.kind == "too-costly"


def test_a_long_path_and_a_long_chain_are_no_depth() -> None:
    """What goes on at one level may be as long as a text may be."""
    many = MAX_LENGTH // 7
    chain = fhirpath.compile(" or ".join(["false"] * (MAX_LENGTH // 9)))
    path = fhirpath.compile("a" + ".first()" * (many - many // 7))

    assert chain.evaluate({"resourceType": "Patient"}) == [False]
    assert path.evaluate({"resourceType": "Patient"}) == []
    assert fhirpath.compile(str(chain)).evaluate({"resourceType": "Patient"}) == [False]


def test_spaces_and_comments_mean_nothing() -> None:
    """An expression is shown with single spaces, without comments and needless brackets."""
    read = fhirpath.compile("(name // here\n .given) [ 0 ]/* and */  =\t'x'")

    assert str(read) == "name.given[0] = 'x'"


def test_the_parent_is_what_stands_before_the_last_name() -> None:
    """`a.b` is b of a; a name alone is of the resource; what ends otherwise has none."""
    of_path = fhirpath.compile("Patient.contact[0].name").parent()

    assert of_path == (fhirpath.compile("Patient.contact[0]"), "name")
    assert fhirpath.compile("name").parent() == (None, "name")
    assert fhirpath.compile("name.first()").parent() is None
