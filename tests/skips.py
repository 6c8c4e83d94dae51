"""The rule of the contract's section 1: a skip that `tests/skips.toml` does not expect fails.

Each row there has a `reason` (what the skip's reason must contain), a `when` (the condition under
which it is expected, one of `CONDITIONS`) and a `why` for people. The conditions look at the
machine themselves: a test cannot excuse itself.
"""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable, Generator
from functools import cache
from pathlib import Path
from typing import Final, TypeVar

import pytest

from tests import javascript, registry
from tests.data import DATA
from tests.mongo import shared
from tests.mongo.replica_set import is_meant_to_be_here

LIST: Final = Path(__file__).with_name("skips.toml")


def _can_install() -> bool:
    """Whether `make test` installs what is absent: it is root, and there is Debian's apt-get."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


CONDITIONS: Final[dict[str, Callable[[], bool]]] = {
    "no-data": lambda: not DATA.is_dir(),
    "no-annex": lambda: not (DATA.parent / "domain" / "xml_fields.json").exists(),
    "no-registry": lambda: not registry.is_reachable(),
    "no-node": lambda: not javascript.has_node(),
    "no-mongod": lambda: not is_meant_to_be_here(),
    "no-mongos": lambda: not shared.is_sharded(),
    "no-chromium": lambda: shutil.which("chromium") is None and not _can_install(),
}


@cache
def expected() -> tuple[str, ...]:
    """Return the reasons that are expected on this machine."""
    rows = tomllib.loads(LIST.read_text(encoding="utf-8"))["skip"]
    return tuple(row["reason"] for row in rows if CONDITIONS[row["when"]]())


Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def _judge(report: Report) -> Report:
    """Make a skip that is not expected a failure that says so."""
    if report.skipped and not hasattr(report, "wasxfail"):
        found = report.longrepr
        reason = found[2] if isinstance(found, tuple) else str(found)
        if not any(text in reason for text in expected()):
            report.outcome = "failed"
            report.longrepr = f"a skip that tests/skips.toml does not expect here: {reason}"
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skip of a test."""
    return _judge((yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skip of a whole module."""
    return _judge((yield))
