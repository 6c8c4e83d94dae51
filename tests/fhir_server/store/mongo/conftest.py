"""Members of a replica set that tests of this folder share, and leave as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mongo.replica_set import ReplicaSet
from tests.mongo.shared import need_mongod

QUICK = "&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&heartbeatFrequencyMS=500"
"""Options of an address with which a failure is noticed soon."""


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ReplicaSet]:
    """Three members that may be told to fail."""
    need_mongod()
    folder = tmp_path_factory.mktemp("members")
    options = ("enableTestCommands=1", "ttlMonitorSleepSecs=1")
    how = tuple(part for option in options for part in ("--setParameter", option))
    with ReplicaSet(folder, options=how) as found:
        yield found


@pytest.fixture
def mortal(members: ReplicaSet) -> Iterator[ReplicaSet]:
    """The same members, for a test that kills some: they are started again at its end."""
    yield members
    for member in range(members.count):
        if not members.is_running(member):
            members.restart(member)
    members.wait_for_primary()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Callable[..., ReplicaSet]]:
    """Make members of the test's own, which end with it."""
    need_mongod()
    made: list[ReplicaSet] = []

    def make(**how: object) -> ReplicaSet:
        made.append(ReplicaSet(tmp_path / f"set{len(made)}", **how))
        return made[-1]

    yield make
    for one in made:
        one.stop()
