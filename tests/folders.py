"""The folders of tests are in memory where that is plenty: nobody waits for a disk there.

A pytest plugin. What is killed by `kill -9` has written the same there; only a loss of power, which
no test makes, would show the difference. `--basetemp` or PYTEST_DEBUG_TEMPROOT names another place.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Final

import pytest

MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a place for pytest's own folders, which are private
ROOM: Final = 8 * 2**30
"""Bytes that must be free there; a run needs less, for what a passed test made is removed."""
LEFT: Final = 12 * 2**30
"""Bytes of memory that must be free before."""
PLACE: Final = "PYTEST_DEBUG_TEMPROOT"


def pytest_configure(config: pytest.Config) -> None:
    """Name the place, unless it is named."""
    if config.option.basetemp is None and PLACE not in os.environ and is_plenty():
        os.environ[PLACE] = str(MEMORY)


def is_plenty(memory: Path = MEMORY, told: Path = Path("/proc/meminfo")) -> bool:
    """Whether there is a file system in memory with room, and memory for it."""
    if not os.access(memory, os.W_OK) or not told.exists():
        return False
    found = re.search(r"MemAvailable: +(\d+) kB", told.read_text("ascii"))
    available = int(found[1]) * 1024 if found else 0
    return shutil.disk_usage(memory).free >= ROOM and available >= LEFT
