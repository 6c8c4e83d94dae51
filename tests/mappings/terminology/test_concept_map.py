"""Code tables: a code of a day, a code of any day, a code that is not there."""

from __future__ import annotations

from datetime import date
from importlib.resources import files

import pytest

from mappings.terminology.concept_map import load, read

TEXT = """source,system,code,display_vi,display_en,valid_from,valid_to,decree
52,urn:s,52,Gia Lai,Gia Lai,2025-07-01,,NQ 202
52,urn:s,52,Bình Định,Bình Định,,2025-06-30,old
1,urn:s,a,Một,One,,,old
"""


@pytest.mark.parametrize(
    ("on", "display"),
    [(date(2025, 6, 30), "Bình Định"), (date(2025, 7, 1), "Gia Lai"), (None, "Gia Lai")],
)
def test_a_code_means_what_it_meant_on_the_day(on, display):
    """The concept in force on the day; without a day the newest."""
    assert read(TEXT).coding("52", on) == {"system": "urn:s", "code": "52", "display": display}


def test_a_code_that_is_not_there_is_nothing():
    """An unmapped code is never guessed."""
    table = read(TEXT)

    assert table.find("53") is None
    assert table.coding("53") is None
    assert "53" not in table
    assert table.codes() == {"52", "1"}


def test_every_table_of_the_dossier_is_whole():
    """Each CSV loads, and each row names its code, both displays and its decree."""
    folder = files("mappings.xml130").joinpath("codes")
    names = [entry.name.removesuffix(".csv") for entry in folder.iterdir()]

    assert len(names) > 10
    for name in names:
        table = load("mappings.xml130", name)
        for source in table.codes():
            concept = table.find(source)
            assert concept is not None
            assert concept.system.startswith("http")
            assert all((concept.code, concept.display, concept.display_en, concept.decree)), name


def test_the_lists_have_the_sizes_of_their_decrees():
    """16 visit forms (QĐ 1804), 27 coverage cases (QĐ 3276) and 7 old ones, 34 provinces."""
    assert len(load("mappings.xml130", "ma_loai_kcb").codes()) == 16
    assert len(load("mappings.xml130", "ma_doituong_kcb").codes()) == 27 + 7
    assert len(load("mappings.xml130", "ma_dantoc").codes()) == 56
