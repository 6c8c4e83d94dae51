"""What a call costs does not grow with what the store holds (issue 5, must show 5).

TEST_GROWTH names the sizes, in resources; where it is set, the table goes to `test-results/`.
A row that was not flat is measured three times, and the median decides: the machine has other work.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
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
    on_disk,
    row_of,
    table,
)
from tests.mongo import shared
from tests.mongo.databases import new_name
from tests.mongo.replica_set import ReplicaSet, forget

NAMED: Final = os.environ.get("TEST_GROWTH", "")
SIZES: Final = tuple(int(size) for size in (NAMED or "10000 100000").split())
CACHE: Final = 1.0
"""Gigabytes that each member caches at such sizes: 0.25, which those of `make test` have, is less
than the pages that a few transactions change in the indexes of a million resources."""


@dataclass(slots=True)
class Stores:
    """Stores of one engine, the smallest first; what the greatest takes on disk."""

    engine: str
    grown: list[Grown]
    disk: str = ""


@pytest.fixture(scope="module")
def said(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Show a line at once, at the sizes that take long."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        if NAMED:
            with capture.global_and_fixture_disabled():
                print(f"  {datetime.now().astimezone():%H:%M:%S} {line}", flush=True)

    return show


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], str]]:
    """Return addresses of new databases: of the run's MongoDB, or at named sizes of an own one."""
    if not NAMED or shared.NAMED:
        yield lambda: shared.address(new_name())
        return
    shared.need_mongod()
    members = ReplicaSet(tmp_path_factory.mktemp("members"), cache=CACHE)
    numbers = count()
    try:
        members.start()
        yield lambda: members.url(f"growth_{next(numbers)}")
    finally:
        members.stop()
        forget(members.folder)


@pytest_asyncio.fixture(
    params=[name for name in HERE if name != "memory"], scope="module", loop_scope="module"
)
async def stores(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    said: Callable[[str], None],
) -> AsyncIterator[Stores]:
    """Filled stores, all open."""
    made = Stores(request.param, [])
    databases = []
    for size in SIZES:
        people = size // EACH
        if made.engine == "mongodb":
            databases.append(url := request.getfixturevalue("database")())
            made.grown.append(Grown(await MongoStore.open(url), people))
        else:
            path = tmp_path_factory.mktemp("growth") / "fhir.db"
            made.grown.append(Grown(await SqliteStore.open(path), people))
        said(f"{made.engine}: {size:,} resources")
        await fill(made.grown[-1], said)
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


@pytest.mark.timeout(7200 if NAMED else 600)
@pytest.mark.asyncio(loop_scope="module")
async def test_the_cost_does_not_grow(stores: Stores, said: Callable[[str], None]) -> None:
    """Every row costs at each size at most 1.25 of what it does at the smallest that is flat."""
    rows = []
    for work in ROWS:
        rows.append(row := await row_of(work, stores.grown))
        ratios = ", ".join(f"{one:.2f}" for one in row.ratios[1:])
        said(f"{work.name}: × {ratios}, measured {len(row.tries)} times")

    found = table(stores.engine, stores.grown, rows)
    if NAMED:
        _keep(f"{found}\n{_members(stores.engine)}{stores.disk}\n")
    assert [row.work.name for row in rows if not row.is_flat] == [], found


def _members(engine: str) -> str:
    if engine != "mongodb":
        return ""
    return f"Three members, each with a cache of {CACHE:g} GB.\n\n" if not shared.NAMED else ""


def _keep(text: str) -> None:
    now = datetime.now().astimezone()
    path: Path = ROOT / "test-results" / f"{now:%Y-%m-%d}-growth.md"
    path.parent.mkdir(exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"# {now:%Y-%m-%d %H:%M}\n\n{text}")
