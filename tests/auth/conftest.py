"""The world of access, for each test its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.auth.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Access, whole, over the memory store, with the demo's clients."""
    world = await World(tmp_path).start()
    yield world
    await world.stop()
