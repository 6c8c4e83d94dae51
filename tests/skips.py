"""The rule of the contract's section 1: a skip that `tests/skips.toml` does not expect fails.

Each row there has a `reason` (what the skip's reason must contain), a `when` (the condition under
which it is expected, one of `CONDITIONS`) and a `why` for people.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("TEST_DATA", ROOT.parent / "shared" / "data"))

CONDITIONS = {
    "no-data": lambda: not DATA.is_dir(),
    "no-chromium": lambda: shutil.which("chromium") is None and os.geteuid() != 0,
    "not-linux-x86-64": lambda: (sys.platform, platform.machine()) != ("linux", "x86_64"),
    "root": lambda: os.geteuid() == 0,
}

_unexpected: list[str] = []


def _expected() -> list[str]:
    rows = tomllib.loads((ROOT / "tests" / "skips.toml").read_text(encoding="utf-8"))["skip"]
    return [row["reason"] for row in rows if CONDITIONS[row["when"]]()]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Note a skip that is not expected on this machine."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(text in reason for text in _expected()):
            report.outcome = "failed"
            report.longrepr = f"a skip that tests/skips.toml does not expect here: {reason}"
    return report


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder that TEST_DATA names (default ../shared/data)."""
    if not DATA.is_dir():
        pytest.skip("TEST_DATA: the folder of shared test data is absent")
    return DATA
