"""Stores in the run's MongoDB, one database a folder: prepared once, cleaned, and used again.

Making a database with its indexes takes as long as hundreds of commits. So what a test has used is
emptied at its end and given to the next, unless it held much: keys of what is deleted stay in an
index for the minutes in which a snapshot may ask for them (minSnapshotHistoryWindowInSeconds), and
whoever seeks in an index that has little else walks over them: 222,000 are 11 ms a seek, and once
a search for 100 alternatives among 8 resources had no answer in 20 s. What a server in a process
of its own has used is not used again either: it may have been killed with a transaction open.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, Final

import pytest
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError

from fhir_server.store.mongo.schema import HEAD, INDEXES, head_of_a_new_store
from fhir_server.store.mongo.store import MongoStore
from tests.mongo.shared import address, prefix

_NUMBERS: Final = count(1)
_USED: Final[dict[Path, str]] = {}
"""The databases in use, by folder."""
_CLEAN: Final[list[str]] = []
_DELETED: Final[dict[str, int]] = {}
"""Resources that were deleted from a database in all."""
_MOST: Final = 1_000
"""Of them, in a database that is used again."""
_WITHIN: Final = 20_000
"""Milliseconds in which a database is emptied; one that is held up is not used again."""


async def open_mongo(folder: Path) -> MongoStore:
    """Open the store of a folder: an empty one, or what was opened there before."""
    return await MongoStore.open(pooled_url(folder))


def pooled_url(folder: Path) -> str:
    """Return the address of a folder's database, which was cleaned or is new.

    Whoever opens it has closed it again when the test ends.
    """
    if folder not in _USED:
        _USED[folder] = _CLEAN.pop() if _CLEAN else new_name()
    return address(_USED[folder])


def new_name() -> str:
    """Return the name of a database that does not exist, and that ends with the run."""
    return f"{prefix()}{os.getpid()}_{next(_NUMBERS)}"


@cache
def served_url(folder: Path) -> str:
    """Return the address of the database of a folder's server, new at first, never cleaned."""
    return address(new_name())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """Clean what was opened in the test's own folder, when its fixtures have ended."""
    folder = getattr(item, "funcargs", {}).get("tmp_path")
    try:
        return (yield)
    finally:
        if folder is not None:
            give_back(folder)


def give_back(folder: Path) -> None:
    """Clean what was opened in a folder, so that another may have it."""
    for used in [one for one in _USED if one.is_relative_to(folder)]:
        name = _USED.pop(used)
        if _clean(name):
            _CLEAN.append(name)


def pytest_unconfigure() -> None:
    """Let go of the connections."""
    if _client.cache_info().currsize:
        _client().close()


@cache
def _client() -> MongoClient[dict[str, Any]]:
    return MongoClient(address("admin"), w=1, readConcernLevel="local")


def _clean(name: str) -> bool:
    """Empty a database and give it a new head; return whether that was done."""
    database = _client()[name]
    quick = {"maxTimeMS": _WITHIN}
    majority = WriteConcern("majority", j=True, wtimeout=_WITHIN)
    try:
        held = database["resource"].estimated_document_count(maxTimeMS=_WITHIN)
        _DELETED[name] = _DELETED.get(name, 0) + held
        if _DELETED[name] > _MOST:
            return False
        for collection in INDEXES:
            kept = {"_id": {"$ne": HEAD}} if collection == "meta" else {}
            database.command({"delete": collection, "deletes": [{"q": kept, "limit": 0}], **quick})
        # What a majority has of this it has of all before it.
        database["meta"].with_options(write_concern=majority).replace_one(
            {"_id": HEAD}, head_of_a_new_store(secrets.token_bytes(32))
        )
    except PyMongoError:
        return False
    return True
