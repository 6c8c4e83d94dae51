"""The rule of skips itself: what is listed may be skipped where the list says, all else fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.skips import CONDITIONS, LIST

TRIED = """
import pytest

def test_needs_data(data): assert data.is_dir()

@pytest.mark.skipif(True, reason="TEST_DATA: the folder of shared test data is absent")
def test_marked(): pass

def test_unlisted(): pytest.skip("I do not feel like it")

@pytest.mark.skip
def test_no_reason(): pass

@pytest.fixture
def absent(): pytest.skip("nor does this fixture")

def test_fixture(absent): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_known_to_fail(): assert False

def test_good(): pass
"""


def outcomes(folder: Path, data: Path) -> dict[str, str]:
    """Run the tests of a folder under the rule; return the outcome of each by its name."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.data", "-p", "tests.skips",
         "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={folder}", "-v", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TEST_DATA": str(data), "PYTEST_ADDOPTS": ""},
        cwd=folder, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    tests = dict(re.findall(r"^\S+::(\w+) ([A-Z]+)", done.stdout, re.MULTILINE))
    return tests | dict.fromkeys(
        re.findall(r"^ERROR (\w+)\.py -", done.stdout, re.MULTILINE), "ERROR"
    )


@pytest.mark.parametrize(("present", "listed"), [(False, "SKIPPED"), (True, "ERROR")])
def test_only_what_is_listed_for_this_machine_may_be_skipped(
    tmp_path: Path, *, present: bool, listed: str
) -> None:
    """A skip for lack of data is expected without data and a failure with it; others never are."""
    folder, data = tmp_path / "tried", tmp_path / "data"
    folder.mkdir()
    if present:
        data.mkdir()
    (folder / "test_tried.py").write_text(TRIED, encoding="utf-8")

    assert outcomes(folder, data) == {
        "test_needs_data": "PASSED" if present else "SKIPPED",
        "test_marked": listed,
        "test_unlisted": "FAILED",
        "test_no_reason": "ERROR",
        "test_fixture": "ERROR",
        "test_known_to_fail": "XFAIL",
        "test_good": "PASSED",
    }


def test_a_whole_module_is_no_way_out(tmp_path: Path) -> None:
    """A module that skips itself, or what it cannot import, is an error of the collection."""
    (tmp_path / "test_a.py").write_text(
        "import pytest\npytest.skip('not today', allow_module_level=True)\n", encoding="utf-8"
    )
    (tmp_path / "test_b.py").write_text(
        "import pytest\npytest.importorskip('no_such_module')\n", encoding="utf-8"
    )

    assert outcomes(tmp_path, tmp_path) == {"test_a": "ERROR", "test_b": "ERROR"}


def test_the_rule_is_in_force_here(pytestconfig: pytest.Config) -> None:
    """This very run has the hooks."""
    assert pytestconfig.pluginmanager.has_plugin("tests.skips")


def test_every_row_says_when_and_why() -> None:
    """A row names a condition that there is, and a reason for people; no row is there twice."""
    rows = tomllib.loads(LIST.read_text(encoding="utf-8"))["skip"]

    assert all(row["when"] in CONDITIONS and row["why"] for row in rows)
    assert {row["when"] for row in rows} == set(CONDITIONS)
    assert len({row["reason"] for row in rows}) == len(rows)


def test_every_skip_of_the_tree_is_in_the_list() -> None:
    """Each skip that a test could take has a reason of the list, so that none fails elsewhere."""
    reasons = [row["reason"] for row in tomllib.loads(LIST.read_text(encoding="utf-8"))["skip"]]
    skip = re.compile(r"pytest\.(?:skip|importorskip|mark\.skip(?:if)?)\b.*(?:\n.*){0,3}")
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path != Path(__file__):
            for found in skip.findall(path.read_text(encoding="utf-8")):
                assert any(reason in found for reason in reasons), (path, found)
