"""Vietnamese text folded for comparing."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_server.search.fold import exact, fold


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Nguyễn", "nguyen"),
        ("NGUYỄN THỊ MẪU", "nguyen thi mau"),
        ("ĐỖ đức", "do duc"),
        ("ưỡng ươn", "uong uon"),
        ("  Trần \t  Văn\u00a0An\n", "tran van an"),
        ("Straße", "strasse"),
        ("Ελλάς", "ελλασ"),
        ("đ", "d"),
        ("123 %_", "123 %_"),
        ("\u0301\u0323", ""),
        ("", ""),
    ],
)
def test_folded(text: str, folded: str) -> None:
    """Marks, case, đ and surplus white space do not count."""
    assert fold(text) == folded


@given(st.text())
def test_folding_twice_changes_nothing(text: str) -> None:
    """What is folded is folded."""
    assert fold(fold(text)) == fold(text)


@given(st.text())
def test_the_form_of_composition_does_not_count(text: str) -> None:
    """A text folds the same however its marks are composed, and as its exact form does."""
    assert fold(unicodedata.normalize("NFD", text)) == fold(text)
    assert fold(exact(text)) == fold(text)


@given(st.text(alphabet="aăâdđeêioôơuưyAĂĐƯ "))
def test_case_does_not_count(text: str) -> None:
    """Capitals and small letters fold the same."""
    assert fold(text.upper()) == fold(text.lower()) == fold(text)


def test_exact_is_composed() -> None:
    """The exact form is NFC, and nothing else is changed."""
    assert exact("Nguye\u0302\u0303n ") == "Nguyễn "
