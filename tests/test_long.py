"""`make test-long`: every test has a target, a day's table is gone on with, a failure is seen."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.long import TARGETS, Ran, Table, Target, pytest_run, run_all

ONE, TWO = Target("one", ("a",), {"TEST_TIMES": "20"}), Target("two", ("b",))
AT = ("abc1234", "sqlite")


class Runs:
    """Stands for pytest: notes what is run, and fails what it is told to."""

    def __init__(self, failing: str = "") -> None:
        self.failing = failing
        self.ran: list[str] = []

    def __call__(self, target: Target) -> Ran:
        """Run a target."""
        self.ran.append(target.name)
        return target.name != self.failing, "3 passed in 1.00s"


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """An empty table."""
    return Table(tmp_path / "results" / "2026-11-25.md")


def test_a_row_says_what_was_run_at_which_size(table: Table) -> None:
    """A row has sizes, result, pytest's closing line, commit and store, under one head."""
    assert run_all([ONE, TWO], table, AT, run=Runs())

    lines = table.path.read_text("utf-8").splitlines()
    assert lines[0] == "# 2026-11-25"
    assert len(lines) == 6
    assert re.fullmatch(
        r"\| one \| TEST_TIMES=20 \| passed \| 0 \| 3 passed in 1.00s "
        r"\| abc1234 \| sqlite \| \d\d:\d\d:\d\d[+-]\d{4} \|",
        lines[4],
    )


def test_what_failed_or_was_not_reached_is_run_again_and_what_passed_is_not(table: Table) -> None:
    """The second run goes on where the first was; another commit or store begins anew."""
    assert not run_all([ONE, TWO], table, AT, run=Runs(failing="two"))
    second, third, other, forced = Runs(), Runs(), Runs(), Runs()

    assert run_all([ONE, TWO], table, AT, run=second)
    assert run_all([ONE, TWO], table, AT, run=third)
    assert run_all([ONE, TWO], table, ("def5678", "sqlite"), run=other)
    assert run_all([ONE, TWO], table, AT, again=True, run=forced)

    assert (second.ran, third.ran) == (["two"], [])
    assert other.ran == forced.ran == ["one", "two"]


def test_what_a_test_measured_is_in_its_row(tmp_path: Path) -> None:
    """A line that begins with `measured: ` stands before pytest's closing line."""
    written = tmp_path / "test_one.py"
    written.write_text(
        "def test_one(capsys):\n    with capsys.disabled():\n        print('\\nmeasured: 1.5 s')\n",
        "utf-8",
    )

    passed, said = pytest_run(Target("one", (str(written), "-c", "/dev/null")))

    assert passed
    assert re.match(r"1\.5 s; 1 passed in ", said)


def test_what_is_no_test_is_run_as_a_module() -> None:
    """Its exit status says whether it passed, its last line is told."""
    assert pytest_run(Target("one", (), module="platform")) == (
        True,
        platform.platform(aliased=True),
    )
    assert not pytest_run(Target("one", (), module="no_such_module"))[0]


def test_every_test_of_the_tree_has_a_target() -> None:
    """No file of tests is outside all targets, and each selection is there."""
    selected = {part for target in TARGETS for part in target.selection if part != "tests"}
    paths = {
        part.removeprefix("--ignore=") for part in selected if part.startswith(("tests", "--"))
    }
    rest = next(target for target in TARGETS if target.name == "rest")
    ignored = {part.removeprefix("--ignore=") for part in rest.selection if part.startswith("--")}

    assert all((ROOT / path).exists() for path in paths)
    assert all(any(path.startswith(root) for root in ignored) for path in paths)
    assert ignored <= {part for target in TARGETS for part in target.selection}


def test_the_results_are_no_part_of_the_project() -> None:
    """The folder is ignored by git."""
    assert "/test-results/" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
