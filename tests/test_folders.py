"""Where the folders of tests are: in memory where that is plenty, else where they always were."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.folders import LEFT, is_plenty


@pytest.mark.parametrize(
    ("told", "plenty"),
    [
        (f"MemTotal: 99 kB\nMemAvailable:   {LEFT // 1024} kB\n", True),
        (f"MemTotal: 99999999 kB\nMemAvailable:   {LEFT // 1024 - 1} kB\n", False),
        ("", False),
    ],
)
def test_memory_is_used_where_enough_is_free(
    told: str, *, plenty: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both the file system and the memory must have room."""
    monkeypatch.setattr("tests.folders.ROOM", 1)
    (tmp_path / "meminfo").write_text(told, "ascii")

    assert is_plenty(tmp_path, tmp_path / "meminfo") == plenty
    monkeypatch.setattr("tests.folders.ROOM", 2**60)
    assert not is_plenty(tmp_path, tmp_path / "meminfo")


def test_where_there_is_no_file_system_in_memory_it_is_not_used(tmp_path: Path) -> None:
    """As on a machine that is no Linux."""
    assert not is_plenty(tmp_path / "none")
    assert not is_plenty(tmp_path, tmp_path / "none")
