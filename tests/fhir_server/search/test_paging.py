"""Cursors: opaque, sealed, and good for one order only."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.expression import EVERYTHING, NOTHING, Search, Sort
from fhir_server.search.paging import ForgedCursor, decode, encode, shape

KEY = b"k" * 32
items = st.lists(
    st.one_of(st.integers(-(2**62), 2**62), st.text(), st.none(), st.binary()), max_size=5
)


@given(items, st.binary(max_size=40))
def test_a_cursor_carries_its_items(carried: list[str | int | bytes | None], about: bytes) -> None:
    """What went into a cursor comes out, and it needs no escape in a URL."""
    cursor = encode(carried, key=KEY, about=about)

    assert decode(cursor, key=KEY, about=about) == carried
    assert all(char.isalnum() or char in "-_" for char in cursor)


@given(items, st.integers(min_value=0), st.characters(codec="ascii"))
def test_an_altered_cursor_is_refused(
    carried: list[str | int | bytes | None], place: int, other: str
) -> None:
    """A cursor with any one character changed is refused, or says the same."""
    cursor = encode(carried, key=KEY, about=b"")
    place %= len(cursor)
    altered = cursor[:place] + other + cursor[place + 1 :]

    try:
        found = decode(altered, key=KEY, about=b"")
    except ForgedCursor:
        return
    assert found == carried


@pytest.mark.parametrize("cursor", ["", "x", "é", "AAAA", "A" * 1000, "=", "a b", "\x00"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    """Any other text is refused."""
    with pytest.raises(ForgedCursor):
        decode(cursor, key=KEY, about=b"")


def test_a_cursor_of_another_store_or_order_is_refused() -> None:
    """Neither another key nor another subject opens a cursor."""
    cursor = encode([1], key=KEY, about=b"a")

    for key, about in ((b"other", b"a"), (KEY, b"b"), (KEY, b"")):
        with pytest.raises(ForgedCursor):
            decode(cursor, key=key, about=about)


def test_a_cursor_belongs_to_types_and_order_alone() -> None:
    """What is asked may be narrowed between two pages; types and order may not change."""
    name = Sort("name", "string")
    search = Search((("Patient", EVERYTHING),), (name,))

    assert shape(search) == shape(Search((("Patient", NOTHING),), (name,), count=5))
    assert shape(search) != shape(Search((("Person", EVERYTHING),), (name,)))
    assert shape(search) != shape(Search((("Patient", EVERYTHING),)))
    down = Sort("name", "string", descending=True)
    assert shape(search) != shape(Search((("Patient", EVERYTHING),), (down,)))
