"""The stores that the contract holds for: one row each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.population import fill
from tests.mongo.databases import open_mongo
from tests.mongo.shared import is_expected

Open = Callable[[Path], Awaitable[Store]]


async def _memory(_folder: Path) -> Store:  # noqa: RUF029 - opened as the others are
    return MemoryStore()


async def _sqlite(folder: Path) -> Store:
    return await SqliteStore.open(folder / "fhir.db")


STORES: dict[str, Open] = {"memory": _memory, "sqlite": _sqlite, "mongodb": open_mongo}

HERE = {name: opens for name, opens in STORES.items() if name != "mongodb" or is_expected()}
"""Those that are compared with one another on this machine."""


@pytest.fixture
def store(each_store: Store) -> Store:
    """An empty store, once of each kind."""
    return each_store


@pytest_asyncio.fixture(params=STORES, scope="module", loop_scope="module")
async def library(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Store]:
    """A store of each kind that holds the contract's population; read only."""
    opened = await STORES[request.param](tmp_path_factory.mktemp("library"))
    await fill(opened)
    yield opened
    await opened.close()
