"""The field tables as data: what they hold, and that they are what the annex says."""

from __future__ import annotations

import csv
from importlib.resources import files

import msgspec
import pytest

from mappings.xml130.extract import main, rows
from mappings.xml130.tables import ELEMENTS, TABLES
from tests.data import DATA

ANNEX = DATA.parent / "domain" / "xml_fields.json"


def lines() -> list[tuple[str, ...]]:
    text = files("mappings.xml130").joinpath("fields.csv").read_text("utf-8")
    return [tuple(line) for line in csv.reader(text.splitlines()[2:])]


def test_every_table_has_its_fields():
    """XML0 to XML15, with the numbers of fields that the decree gives."""
    counts = {name: len(table.fields) for name, table in TABLES.items()}

    assert list(TABLES) == [f"XML{n}" for n in range(16)]
    assert [counts[f"XML{n}"] for n in range(1, 6)] == [66, 39, 47, 12, 9]


def test_what_the_later_decrees_change_is_in():
    """QĐ 3176 renames and drops fields of XML13, QĐ 1931 widens MUC_HUONG."""
    letter = TABLES["XML13"]

    assert {"MA_NOI_DEN", "MA_CSKCB_DEN", "TINH_TRANG_CT"} <= letter.fields.keys()
    assert not letter.required & {"TEN_DICH_VU", "TEN_THUOC", "PP_DIEU_TRI"}
    assert TABLES["XML2"].fields["MUC_HUONG"].max_length == 4
    assert TABLES["XML1"].wanted == {"MAHUYEN_CU_TRU", "CAN_NANG"}


@pytest.mark.data
@pytest.mark.skipif(not ANNEX.exists(), reason="TEST_DATA: no domain/xml_fields.json beside it")
def test_the_tables_are_what_the_annex_gives(tmp_path):
    """fields.csv is what extract.py makes of the annex, and so are the element names."""
    tables = msgspec.json.decode(ANNEX.read_bytes())["tables"]

    main(str(ANNEX), tmp_path / "fields.csv")

    written = (tmp_path / "fields.csv").read_text("utf-8")
    assert written == files("mappings.xml130").joinpath("fields.csv").read_text("utf-8")
    assert lines() == rows(tables)
    assert {name: tuple(table["elements"]) for name, table in tables.items()} == ELEMENTS
