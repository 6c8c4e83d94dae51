"""What a call costs does not grow with what the store holds (issue 5, must show 5).

TEST_GROWTH names the sizes, in resources; where it is set, the table goes to `test-results/`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from pymongo import MongoClient

from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.conftest import HERE
from tests.data import ROOT
from tests.fhir_server.store.growing import (
    EACH,
    ROWS,
    Grown,
    fill,
    in_file,
    measured,
    on_disk,
    table,
)
from tests.mongo.databases import new_name
from tests.mongo.shared import address

NAMED: Final = os.environ.get("TEST_GROWTH", "")
SIZES: Final = tuple(int(size) for size in (NAMED or "2000 20000").split())
FLAT: Final = 1.25
TRIES: Final = 3
"""Another measurement is taken of a row that was not flat: the machine has other work, too."""


@dataclass(slots=True)
class Stores:
    """Stores of one engine, the smallest first; what the greatest takes on disk."""

    engine: str
    grown: list[Grown]
    disk: str = ""


@pytest_asyncio.fixture(
    params=[name for name in HERE if name != "memory"], scope="module", loop_scope="module"
)
async def stores(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stores]:
    """Filled stores, all open."""
    made = Stores(request.param, [])
    databases = []
    for size in SIZES:
        people = size // EACH
        if made.engine == "mongodb":
            databases.append(url := address(new_name()))
            made.grown.append(Grown(await MongoStore.open(url), people))
        else:
            path = tmp_path_factory.mktemp("growth") / "fhir.db"
            made.grown.append(Grown(await SqliteStore.open(path), people))
        await fill(made.grown[-1])
    if databases:
        made.disk = await on_disk(url, SIZES[-1])
    else:
        made.disk = in_file(path, SIZES[-1])
    yield made
    for one in made.grown:
        await one.store.close()
    for url in databases:
        with MongoClient(url) as client:
            client.drop_database(client.get_default_database().name)


@pytest.mark.timeout(7200 if NAMED else 240)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_cost_does_not_grow(stores: Stores) -> None:
    """Every row costs at each size at most 1.25 of what it does at the smallest that is flat."""
    rows = []
    for work in ROWS:
        row = await measured(work, stores.grown)
        for _ in range(TRIES - 1):
            if row.worst > FLAT:
                row = min(row, await measured(work, stores.grown), key=lambda one: one.worst)
        rows.append(row)

    said = table(stores.engine, stores.grown, rows)
    if NAMED:
        _keep(f"{said}\n{stores.disk}\n")
    assert [row.name for row in rows if row.worst > FLAT] == [], said


def _keep(text: str) -> None:
    now = datetime.now().astimezone()
    path: Path = ROOT / "test-results" / f"{now:%Y-%m-%d}-growth.md"
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"# {now:%Y-%m-%d %H:%M}\n\n{text}")
