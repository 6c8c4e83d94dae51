"""SMART scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.scopes import LETTERS, Scope, allows, format_scopes, granted, parse, words

scopes = st.builds(
    Scope,
    st.sampled_from(["patient", "user", "system"]),
    st.sampled_from(["*", "Patient", "Observation"]),
    st.sets(st.sampled_from(LETTERS), min_size=1).map(
        lambda chosen: "".join(letter for letter in LETTERS if letter in chosen)
    ),
)


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("patient/*.rs", "rs"),
        ("system/Bundle.c", "c"),
        ("user/Observation.cruds", "cruds"),
        ("patient/*.read", "rs"),
        ("system/Patient.write", "cud"),
        ("system/*.*", "cruds"),
    ],
)
def test_a_scope_of_either_version_is_read(text: str, letters: str) -> None:
    """v2's letters are read as they stand, v1's words as the letters they stand for."""
    scope = parse(text)

    assert scope is not None
    assert scope.letters == letters


@pytest.mark.parametrize(
    "text",
    [
        "openid",
        "launch/patient",
        "patient/*.sr",
        "patient/*.rr",
        "patient/*.x",
        "patient/*.",
        "patient/patient.r",
        "other/*.r",
        "patient/*.rs ",
        "patient/*.rs\n",
        "PATIENT/*.rs",
        "patient/Observation.rs?category=laboratory",
        "patient/.r",
        "system/Foo.rs",
        "system/DomainResource.rs",
        "",
    ],
)
def test_what_is_no_resource_scope_is_none(text: str) -> None:
    """Nothing that is not understood becomes a scope; letters have the order of `cruds`."""
    assert parse(text) is None


@given(scopes)
def test_a_formatted_scope_reads_the_same(scope: Scope) -> None:
    """parse(str(scope)) is the scope."""
    assert parse(str(scope)) == scope


@given(scopes, scopes, scopes)
def test_covering_is_transitive(one: Scope, two: Scope, three: Scope) -> None:
    """What covers what covers a third, covers the third; and every scope covers itself."""
    assert one.covers(one)
    if one.covers(two) and two.covers(three):
        assert one.covers(three)


@given(scopes, scopes)
def test_a_common_part_is_covered_by_both(one: Scope, two: Scope) -> None:
    """What two scopes share is covered by each; where one covers the other it is the other."""
    common = one.meet(two)

    if common is not None:
        assert one.covers(common)
        assert two.covers(common)
    if one.covers(two):
        assert common == two


@given(st.lists(scopes, max_size=4), st.lists(scopes, max_size=4))
def test_no_more_is_granted_than_is_registered(asked: list[Scope], known: list[Scope]) -> None:
    """Every granted scope is covered by one that is registered and by one asked for."""
    for word in granted([str(scope) for scope in asked], [str(scope) for scope in known]):
        scope = parse(word)
        assert scope is not None
        assert any(one.covers(scope) for one in known)
        assert any(one.covers(scope) for one in asked)


def test_asked_words_stay_as_written_where_wholly_registered() -> None:
    """A v1 client finds its own words again; words that are not registered are left out."""
    asked = words(
        "launch/patient patient/*.read patient/Consent.cruds openid user/*.rs online_access"
    )

    assert granted(asked, ("openid", "launch/patient", "patient/*.rs", "patient/Consent.cud")) == (
        "launch/patient",
        "patient/*.read",
        "patient/Consent.rs",
        "patient/Consent.cud",
        "openid",
    )


def test_wide_wish_is_cut_to_what_is_registered() -> None:
    """A wish for all types, registered for one, is granted for the one."""
    assert granted(("system/*.cruds",), ("system/Claim.rs",)) == ("system/Claim.rs",)


@pytest.mark.parametrize(
    ("letter", "resource_type", "is_allowed"),
    [("r", "Claim", True), ("c", "Claim", False), ("c", "Bundle", True), ("r", "*", False)],
)
def test_scopes_allow_letters_on_types(letter: str, resource_type: str, is_allowed) -> None:
    """A letter is allowed on a type where one scope allows it; all types need a scope of all."""
    held = ("system/Claim.rs", "system/Bundle.c", "user/*.cruds")

    assert allows(held, "system", letter, resource_type) is is_allowed  # type: ignore[arg-type]


def test_words_are_each_once_in_their_order() -> None:
    """A repeated word counts once."""
    assert format_scopes(words(" b  a b ")) == "b a"
