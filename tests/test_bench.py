"""The benches can be run: what they time by its name is still called so."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from tests.bench.stages import STAGES

TIMED = {
    f"{getattr(owner, '__name__', '')}.{name}": (owner, name)
    for timed in STAGES.values()
    for owner, name, _ in timed
}


@pytest.mark.parametrize(("owner", "name"), TIMED.values(), ids=TIMED)
def test_a_stage_is_a_function_that_is_there(owner: Any, name: str) -> None:
    """It was renamed twice, and the bench was broken until somebody ran it."""
    function = inspect.getattr_static(owner, name)

    assert callable(function) or isinstance(function, classmethod)
