"""Members of a replica set that tests of this folder share, and leave as they were."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator

import pytest

from tests.fhir_server.store.mongo.members import Members


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Members]:
    """Three members that may be killed, if they are started again."""
    found = Members(tmp_path_factory.mktemp("members"))
    try:
        yield found.initiate()
    finally:
        found.stop()


@pytest.fixture
def dropped() -> Iterator[None]:
    """Let go of the sockets that the driver leaves where a connection could not be made."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
