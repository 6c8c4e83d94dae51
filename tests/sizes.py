"""How much tests draw: fixed draws and few of them in `make test`, more in `make test-long`.

TEST_TIMES multiplies what tests of laws draw (Hypothesis's examples and the seeds of our own
generators). At 1 the draws are the same in every run.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

TIMES: Final = int(os.environ.get("TEST_TIMES", "1"))

# A busy machine is no failure, so no example has a deadline of its own; pytest's timeout has.
settings.register_profile(
    "tests",
    derandomize=TIMES == 1,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    max_examples=100 * TIMES,
)
settings.load_profile("tests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Multiply what a test of Hypothesis's asks for itself by `@settings`."""
    if TIMES == 1:
        return
    own = {}
    for item in items:
        function = getattr(item, "obj", None)
        function = getattr(function, "__func__", function)
        asked = getattr(function, "_hypothesis_internal_use_settings", None)
        if asked is not None and asked.max_examples != 100 * TIMES:
            own[function] = settings(asked, max_examples=asked.max_examples * TIMES)
    for function, more in own.items():
        function._hypothesis_internal_use_settings = more


def seeds(fixed: int, first: int = 0) -> range:
    """Return the seeds of a test that takes this many in `make test`."""
    return range(first, first + fixed * TIMES)
