"""The one MongoDB of a run of the tests, for all its processes: three members, or TEST_MONGODB.

A pytest plugin. Whoever needs it first starts `python -m tests.mongo.shared`, the keeper, which
ends it, and removes what the run made in it, when the run ends, also when that is killed.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.data import ROOT
from tests.mongo.replica_set import ReplicaSet, Unusable, forget, is_meant_to_be_here, mongod

RUN: Final = "TEST_MONGODB_RUN"
"""The variable that names the run: its first process, and its folder. Others inherit it."""

NAMED: Final = os.environ.get("TEST_MONGODB", "")
_WITHIN: Final = 120.0


# --- the run ---------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """Name the run before it has other processes."""
    config.stash[_OWNER] = begin()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the run has started, where this is its first process."""
    if config.stash[_OWNER]:
        end()


_OWNER: Final = pytest.StashKey[bool]()


def begin() -> bool:
    """Name the run, unless this process belongs to one; return whether it is its first."""
    if RUN in os.environ:
        return False
    folder = f"{tempfile.gettempdir()}/fhir-mongo-{os.getpid():x}-{time.time_ns():x}"
    os.environ[RUN] = f"{os.getpid()} {folder}"
    return True


def end() -> None:
    """End the keeper, and return when nothing is left of it."""
    _, folder = run()
    server.cache_clear()
    if folder.exists():
        keeper = int((folder / "keeper").read_text("utf-8"))
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, signal.SIGTERM)
        for child in _KEPT:
            child.wait(timeout=_WITHIN)
        _KEPT.clear()
        _ended(keeper)
    del os.environ[RUN]


def run() -> tuple[int, Path]:
    """Return the run's first process and its folder; what is no run of pytest is one by itself."""
    if begin():
        atexit.register(end)
    owner, _, folder = os.environ[RUN].partition(" ")
    return int(owner), Path(folder)


@pytest.fixture(scope="session")
def mongo_server() -> str:
    """The run's MongoDB: an address to which a database's name is added by `address`."""
    return server()


@pytest.fixture(scope="session")
def sharded_server() -> str:
    """The address of a sharded cluster's mongos, or a listed skip."""
    if not is_sharded():
        pytest.skip("TEST_MONGODB names no sharded cluster")
    return NAMED


@cache
def is_sharded() -> bool:
    """Whether TEST_MONGODB names a mongos."""
    if not NAMED:
        return False
    with MongoClient(NAMED) as client:
        return client.admin.command("hello").get("msg") == "isdbgrid"


def is_expected() -> bool:
    """Whether tests over MongoDB are to run on this machine."""
    return bool(NAMED) or is_meant_to_be_here()


def need_mongod() -> None:
    """Make sure that members can be started here: else a listed skip, or a failure."""
    if not is_meant_to_be_here():
        pytest.skip("no mongod is made for this machine")
    try:
        mongod()
    except Unusable as error:
        pytest.fail(str(error))


@cache
def server() -> str:
    """Return the address of the run's MongoDB, which is started where it was not yet."""
    if not NAMED:
        need_mongod()
    owner, folder = run()
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "url").exists():
            _start_keeper(folder, owner)
    return (folder / "url").read_text("utf-8")


def prefix() -> str:
    """Return what the names of the run's databases begin with."""
    return f"{run()[1].name.replace('-', '_')}_"


def address(database: str) -> str:
    """Return the address of a database of the run's MongoDB."""
    parts = urlsplit(server())
    return parts._replace(path=f"/{database}").geturl()


def _start_keeper(folder: Path, owner: int) -> None:
    with (folder / "keeper.log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.mongo.shared", str(folder), str(owner)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    (folder / "keeper").write_text(str(keeper.pid), "utf-8")
    until = time.monotonic() + _WITHIN
    while not (folder / "url").exists():
        if keeper.poll() is not None or time.monotonic() > until:
            said = (folder / "keeper.log").read_text("utf-8", errors="replace")
            pytest.fail(f"the MongoDB of the tests did not start:\n{said[-3000:]}")
        time.sleep(0.02)
    if owner == os.getpid():
        _KEPT.append(keeper)
    else:
        keeper.returncode = 0  # it outlives this process, which is not to warn of that at its end


_KEPT: Final[list[subprocess.Popen[bytes]]] = []
"""The keeper that this process started; it is waited for as one's own child."""


# --- the keeper ------------------------------------------------------------------------------


def _ended(process: int) -> None:
    """Return when a process has ended."""
    try:
        if sys.platform == "linux":
            handle = os.pidfd_open(process)
            select.select([handle], [], [])
            os.close(handle)
            return
        while True:
            os.kill(process, 0)
            time.sleep(0.5)
    except ProcessLookupError:
        return


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit


def keep(folder: Path, owner: int) -> None:
    """Start the MongoDB, write its address to the folder, and end it after the owner."""
    signal.signal(signal.SIGTERM, _stop)
    # Several processes of the tests share it. Its own clock ends no records, for that of most tests
    # stands in 2024: what they had written was gone as soon as the members looked, once a minute.
    options = ("--setParameter", "ttlMonitorEnabled=false")
    members = ReplicaSet(folder, cache=0.5, options=options)
    try:
        url = NAMED or members.start().url("")
        written = folder / "url.part"
        written.write_text(url, "utf-8")
        written.rename(folder / "url")
        _ended(owner)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if NAMED:
            _drop_all()
        members.stop()
        forget(folder)


def _drop_all() -> None:
    with MongoClient(NAMED) as client:
        for name in client.list_database_names():
            if name.startswith(prefix()):
                client.drop_database(name)


if __name__ == "__main__":
    keep(Path(sys.argv[1]), int(sys.argv[2]))
