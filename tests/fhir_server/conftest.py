"""What tests of the server share: two servers over one store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import cast

import pytest

from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from tests.conftest import World
from tests.contracts.conftest import STORES
from tests.fakes.yielding import YieldingStore


@pytest.fixture(params=STORES)
async def two(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[World, World]]:
    """Two servers over one store of each kind; the memory's lets others run before each step."""
    async with AsyncExitStack() as stack:
        slow = cast("Store", YieldingStore(MemoryStore()))
        stores = [slow, slow]
        if request.param != "memory":
            stores = [await STORES[request.param](tmp_path) for _ in range(2)]
        for store in dict.fromkeys(stores):
            stack.push_async_callback(store.close)
        yield (
            World(store=stores[0], ids=count(1)),
            World(store=stores[1], ids=count(1_000_000)),
        )
