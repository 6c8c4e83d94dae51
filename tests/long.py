"""`make test-long`: the tests at the sizes that the issues name, a target each, into a dated table.

    python -m tests.long [--again] [TARGET ...]

A target that has passed today at the same commit is not run again, so a run that was stopped is
gone on with by starting it again. The table is `test-results/<date>.md`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from tests.data import ROOT
from tests.folders import PLACE

FOLDER: Final = ROOT / "test-results"
PASSED: Final = "passed"
MEASURED: Final = "measured: "
"""What a line begins with in which a test says what it measured."""
HEAD: Final = (
    "| Target | Sizes | Result | Seconds | pytest says | Commit | Store | Ended |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


@dataclass(frozen=True, slots=True)
class Target:
    """One selection of the tests, and the sizes it is run at.

    Attributes:
        name: What it is called on the command line.
        selection: Arguments for pytest, or for the module.
        sizes: Variables that the tests read, of the issue that names the number.
        module: What is run where it is not pytest.
    """

    name: str
    selection: tuple[str, ...]
    sizes: dict[str, str] = field(default_factory=dict)
    module: str = ""


TARGETS: Final = (
    # Issue 4, must show 3, 4, 5: 1,000 dossiers loaded, 200 pushed under kill -9, all examples.
    Target("load", ("tests/journeys/test_load.py",), {"TEST_LOAD_DOSSIERS": "1000"}),
    Target("killed", ("tests/journeys/test_killed.py",), {"TEST_KILL_DOSSIERS": "200"}),
    Target("examples", ("tests/conformance",), {"TEST_TIMES": "2"}),
    # Issue 5, must show 2: two minutes, five kills of the primary, two cuts.
    Target("failover", ("tests/journeys/test_failover.py",), {
        "TEST_FAILOVER_SECONDS": "120", "TEST_FAILOVER_KILLS": "5", "TEST_FAILOVER_CUTS": "2",
    }),
    # Issue 5, must show 3: 100,000 resources moved to MongoDB and back, interrupted and resumed.
    Target("move", ("tests/journeys/test_move.py",), {"TEST_MOVE_RESOURCES": "100000"}),
    # Issue 5, must show 5: what a call costs at each size, in `test-results/<date>-growth.md`.
    Target(
        "growth",
        ("tests/fhir_server/store/test_growth.py",),
        {"TEST_GROWTH": "10000 100000 1000000"},
    ),
    # Every form of search, within its limit at 200,000 resources, in `<date>-search-forms-*.md`.
    Target("forms", (), {"TEST_SEARCH_FORMS": "20000 200000"}, "tests.bench.search_forms"),
    # Issue 6, must show 3 and 7: property tests, larger than in `make test`.
    Target("stores-agree", ("tests/contracts",), {"TEST_TIMES": "20"}),
    Target("search-plans", ("tests/fhir_server/store/sqlite",), {"TEST_TIMES": "20"}),
    Target("mongodb", ("tests/fhir_server/store/mongo",), {"TEST_TIMES": "20"}),
    Target("hidden", ("tests/fhir_server/interactions",), {"TEST_TIMES": "20"}),
    Target("mappings", ("tests/mappings", "tests/adapters"), {"TEST_TIMES": "20"}),
    Target("model", ("tests/fhir_server/model", "tests/fhir_server/search"), {"TEST_TIMES": "20"}),
    # Everything else, as in `make test`: the browser, the commands, the packages.
    Target("journeys", (
        "tests/journeys", "-k", "not (test_killed or test_load or test_move or test_failover)",
    )),
    Target("rest", ("tests", *(f"--ignore=tests/{name}" for name in (
        "journeys", "conformance", "contracts", "mappings", "adapters",
        "fhir_server/store/sqlite", "fhir_server/store/mongo", "fhir_server/store/test_growth.py",
        "fhir_server/interactions", "fhir_server/model", "fhir_server/search",
    )))),
)  # fmt: skip

Ran = tuple[bool, str]
"""Whether a target passed, and pytest's closing line, after what tests have measured."""


def pytest_run(target: Target) -> Ran:
    """Run a target in a process of its own, its output shown as it comes."""
    run = [target.module] if target.module else ["pytest", "-q", "--timeout=7200"]
    command = [sys.executable, "-m", *run, *target.selection]
    # On a disk, as a server's store is: what is measured here is told of one.
    environment = {PLACE: tempfile.gettempdir()} | os.environ | target.sizes
    last, measured = "", []
    with subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as running:
        assert running.stdout is not None
        try:
            for line in running.stdout:
                print(line, end="", flush=True)
                last = line.strip() or last
                if line.startswith(MEASURED):
                    measured.append(last.removeprefix(MEASURED).strip())
        except KeyboardInterrupt:
            running.terminate()
            raise
    return running.returncode == 0, "; ".join([*measured, last.strip("= ")])


def commit() -> str:
    """Return the commit that is tested, marked where the working tree is another."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return described.stdout.strip() or "unknown"


@dataclass(frozen=True, slots=True)
class Table:
    """The results of one day, as a table that people read and the next run too."""

    path: Path

    def has_passed(self, target: Target, *at: str) -> bool:
        """Whether a target has a row that says it passed, for this commit and store."""
        if not self.path.exists():
            return False
        rows = (
            [cell.strip() for cell in line.strip("|\n").split("|")]
            for line in self.path.read_text(encoding="utf-8").splitlines()
        )
        return any(
            row[0] == target.name and row[2] == PASSED and tuple(row[5:7]) == at
            for row in rows
            if len(row) == HEAD.partition("\n")[0].count("|") - 1
        )

    def add(self, target: Target, ran: Ran, seconds: float, at: tuple[str, str]) -> None:
        """Add a row."""
        passed, said = ran
        sizes = " ".join(f"{name}={value}" for name, value in target.sizes.items()) or "-"
        result = PASSED if passed else "FAILED"
        ended = datetime.now().astimezone().strftime("%H:%M:%S%z")
        cells = (target.name, sizes, result, f"{seconds:.0f}", said.replace("|", "/"), *at, ended)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        is_new = not self.path.exists()
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"# {self.path.stem}\n\n{HEAD}" if is_new else "")
            file.write(f"| {' | '.join(cells)} |\n")


def run_all(
    targets: Sequence[Target],
    table: Table,
    at: tuple[str, str],
    *,
    again: bool = False,
    run: Callable[[Target], Ran] = pytest_run,
) -> bool:
    """Run the targets that have not passed at this commit; return whether all have now."""
    good = True
    for target in targets:
        if not again and table.has_passed(target, *at):
            print(f"{target.name}: passed today at {at[0]}")
            continue
        print(f"{target.name}: {target.module} {' '.join(target.selection)}", flush=True)
        began = time.monotonic()
        ran = run(target)
        table.add(target, ran, time.monotonic() - began, at)
        good = good and ran[0]
    return good


def main() -> int:
    """Run what the command line asks for; the exit status is 1 if a target failed."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m tests.long", description=__doc__)
    parser.add_argument("target", nargs="*", help="one of: " + ", ".join(names))
    parser.add_argument("--again", action="store_true", help="also what has passed today")
    asked = parser.parse_args()
    for unknown in set(asked.target) - set(names):
        parser.error(f"{unknown} is no target; there are {', '.join(names)}")
    chosen = [target for target in TARGETS if target.name in (asked.target or names)]
    table = Table(FOLDER / f"{datetime.now().astimezone():%Y-%m-%d}.md")
    try:
        good = run_all(
            chosen, table, (commit(), os.environ.get("STORE", "sqlite")), again=asked.again
        )
    except KeyboardInterrupt:
        print("\nstopped; start it again to go on")
        return 130
    print(f"\n{table.path.read_text(encoding='utf-8')}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
