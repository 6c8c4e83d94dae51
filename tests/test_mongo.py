"""The tests' own MongoDB: members that can be killed, a network that can be cut, clean databases.

Nothing of it outlives the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from _pytest.outcomes import Skipped
from pymongo import MongoClient, ReadPreference, WriteConcern
from pymongo.errors import (
    AutoReconnect,
    NetworkTimeout,
    NotPrimaryError,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.pool_options import PoolOptions

from fhir_server.store.mongo.schema import HEAD, INDEXES
from fhir_server.store.port import AuditRecord, Batch, Put
from tests.contracts.making import made, patient
from tests.data import ROOT
from tests.mongo import databases, driver, replica_set, shared
from tests.mongo.replica_set import ReplicaSet
from tests.proxy import Cut, Network

WITHIN = 30.0
QUICK = (
    "&serverSelectionTimeoutMS=2000&socketTimeoutMS=1000&connectTimeoutMS=1000&retryWrites=false"
)

Client = MongoClient[dict[str, Any]]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Three members, each behind a proxy."""
    shared.need_mongod()
    with Network(ReplicaSet(tmp_path_factory.mktemp("network"))) as network:
        yield network


@pytest.fixture
def client(network: Network) -> Iterator[Client]:
    """A client that reaches the members through their proxies; whole again at the end."""
    with MongoClient(network.members.url(options=QUICK)) as client:
        yield client
    network.mend()
    for member in range(network.members.count):
        if not network.members.is_running(member):
            network.members.restart(member)
    network.members.wait_for_all()


def write(client: Client, value: int) -> None:
    """Write a value that a majority has when this returns."""
    majority = WriteConcern("majority", j=True)
    values = client.get_default_database().get_collection("v", write_concern=majority)
    values.insert_one({"v": value})


def write_until_taken(client: Client, value: int) -> None:
    """Write again and again until it is taken."""
    until = time.monotonic() + WITHIN
    while True:
        try:
            return write(client, value)
        except PyMongoError:
            assert time.monotonic() < until


def values(client: Client) -> list[int]:
    """Return the different values that were written."""
    return sorted(client.get_default_database()["v"].distinct("v"))


# --- members ---------------------------------------------------------------------------------


def test_a_killed_primary_has_a_successor_and_comes_back(network: Network, client: Client) -> None:
    """What a majority had is there; the driver finds the new primary; the old one follows it."""
    members = network.members
    write_until_taken(client, 1)
    killed = members.primary()

    members.kill(killed)
    successor = members.wait_for_primary(within=WITHIN)
    write_until_taken(client, 2)
    members.restart(killed)
    members.wait_for_all()

    assert successor != killed
    assert {1, 2} <= set(values(client))
    until_it_has(members, killed, 2)


def test_a_member_that_cannot_start_is_a_failure_that_says_why(tmp_path: Path) -> None:
    """Its log is told, and nothing waits for the end of the patience."""
    shared.need_mongod()
    members = ReplicaSet(tmp_path, options=("--noSuchOption",))

    with pytest.raises(AssertionError, match="noSuchOption"):
        members.start()


# --- the network -----------------------------------------------------------------------------


def test_drivers_come_through_the_proxies_and_members_too(network: Network, client: Client) -> None:
    """Nobody knows another address, and each connection is known for whose it is."""
    members = network.members
    write_until_taken(client, 3)
    primary = members.primary()

    assert client.primary == ("127.0.0.1", int(members.hosts[primary].partition(":")[2]))
    assert client.nodes == {("127.0.0.1", int(host.partition(":")[2])) for host in members.hosts}
    assert not {int(host.partition(":")[2]) for host in members.hosts} & set(members.ports)
    assert network.connections(primary) >= 1
    assert network.connections(primary, of_clients=False) >= 2


def test_a_primary_that_is_cut_off_is_replaced_and_follows_again(
    network: Network, client: Client
) -> None:
    """It reaches nobody: another is elected, the driver goes there; mended, the old one follows."""
    members = network.members
    write_until_taken(client, 4)
    cut = members.primary()

    network.cut(cut)
    successor = members.wait_for_primary(other_than=cut, within=WITHIN)
    write_until_taken(client, 5)
    assert network.connections(cut) == network.connections(cut, of_clients=False) == 0
    assert not has(members, cut, 5)
    network.mend(cut)
    members.wait_for_all()

    assert successor != cut
    until_it_has(members, cut, 5)


def test_a_silent_primary_is_replaced_too(network: Network, client: Client) -> None:
    """Nobody is told that it is away: who asks it waits for an answer in vain."""
    members = network.members
    write_until_taken(client, 6)
    cut = members.primary()

    network.cut(cut, Cut(silent=True))
    with pytest.raises((NetworkTimeout, ServerSelectionTimeoutError, AutoReconnect)):
        write(client, 7)
    assert network.connections(cut) >= 1
    assert members.wait_for_primary(other_than=cut, within=WITHIN) != cut
    write_until_taken(client, 8)
    network.mend(cut)
    members.wait_for_all()

    assert {6, 8} <= set(values(client))


def test_only_clients_are_cut_off(network: Network, client: Client) -> None:
    """The members go on among themselves: the primary stays, and answers again when mended."""
    members = network.members
    write_until_taken(client, 9)
    cut = members.primary()

    network.cut(cut, Cut(silent=True, clients_only=True))
    with pytest.raises(PyMongoError):
        write(client, 10)
    assert members.primary() == cut
    assert network.connections(cut, of_clients=False) >= 2
    network.mend()
    write_until_taken(client, 11)

    assert members.primary() == cut
    assert {9, 11} <= set(values(client))


def has(members: ReplicaSet, member: int, value: int) -> bool:
    """Return whether a member by itself has a value; while it rolls back it does not answer."""
    with members.client(member) as alone:
        fhir = alone.get_database("fhir", read_preference=ReadPreference.SECONDARY_PREFERRED)
        try:
            return fhir["v"].find_one({"v": value}) is not None
        except NotPrimaryError:
            return False


def until_it_has(members: ReplicaSet, member: int, value: int) -> None:
    """Return when a member has got a value from the others."""
    until = time.monotonic() + WITHIN
    while not has(members, member, value):
        assert time.monotonic() < until


# --- databases -------------------------------------------------------------------------------


async def test_a_folder_has_one_database(tmp_path: Path) -> None:
    """What is opened again in a test is the same store, and another folder's is another."""
    store = await databases.open_mongo(tmp_path)
    await store.commit(Batch(writes=[made(patient("p"))]))
    await store.close()

    again = await databases.open_mongo(tmp_path)
    other = await databases.open_mongo(tmp_path / "other")

    assert await again.read("Patient", "p") is not None
    assert await other.read("Patient", "p") is None
    await again.close()
    await other.close()


async def test_a_used_database_is_emptied_and_given_out_again(tmp_path: Path) -> None:
    """Nothing of one test is in the next one's store, not even the key of its cursors."""
    url = databases.pooled_url(tmp_path)
    store = await databases.open_mongo(tmp_path)
    audit = [AuditRecord(1, b"a")]
    body = b"x" * 5_000_000
    await store.commit(Batch(writes=[made(patient("p"))], puts=[Put("b", "k", body)], audit=audit))
    await store.close()
    with MongoClient(url) as client:
        database = client.get_default_database()
        before = database["meta"].find_one(HEAD)
        indexes = {name: database[name].index_information() for name in INDEXES}

        databases.give_back(tmp_path)

        after = database["meta"].find_one(HEAD)
        assert databases.pooled_url(tmp_path / "next") == url
        assert before["rid"] == before["seq"] == 1
        assert after["rid"] == after["seq"] == 0
        assert after["cursor_key"] != before["cursor_key"]
        assert [database[name].count_documents({}) for name in INDEXES] == [
            name == "meta" for name in INDEXES
        ]
        assert {name: database[name].index_information() for name in INDEXES} == indexes


# --- the run ---------------------------------------------------------------------------------

RUN = """
import os, time
from pathlib import Path
from pymongo import MongoClient
from tests.mongo.databases import new_name
from tests.mongo.shared import address, run

def test_it(tmp_path):
    name = new_name()
    with MongoClient(address(name)) as client:
        client[name]["x"].insert_one({})
        assert name in client.list_database_names()
    Path(os.environ["SAID"]).write_text(str(run()[1]))
    time.sleep(float(os.environ["LASTS"]))
"""


@pytest.mark.parametrize("is_killed", [False, True], ids=["ended", "killed"])
def test_nothing_is_left_of_a_run(tmp_path: Path, *, is_killed: bool) -> None:
    """However pytest ends, its members end, and their folder is removed."""
    if not shared.NAMED:
        shared.need_mongod()
    (tmp_path / "test_it.py").write_text(RUN, encoding="utf-8")
    said = tmp_path / "said"
    lasts = "300" if is_killed else "0"
    environment = {name: value for name, value in os.environ.items() if name != shared.RUN}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.data", "-p", "tests.mongo.shared",
         "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={tmp_path}", str(tmp_path)],
        env=environment | {"PYTHONPATH": str(ROOT), "SAID": str(said), "LASTS": lasts},
        cwd=tmp_path, stdout=subprocess.PIPE, text=True,
    ) as pytest_run:  # fmt: skip
        if is_killed:
            until = time.monotonic() + 2 * WITHIN
            while not said.exists() or not said.read_text(encoding="utf-8"):
                assert pytest_run.poll() is None
                assert time.monotonic() < until
                time.sleep(0.05)
            folder = Path(said.read_text(encoding="utf-8"))
            processes = of_folder(folder)
            keeper = int((folder / "keeper").read_text(encoding="utf-8"))
            assert keeper in processes
            assert shared.NAMED or len(processes) == 4
            pytest_run.send_signal(signal.SIGKILL)
            ended(processes)
        else:
            output, _ = pytest_run.communicate(timeout=4 * WITHIN)
            assert pytest_run.returncode == 0, output
            folder = Path(said.read_text(encoding="utf-8"))

    assert of_folder(folder) == []
    assert not folder.exists()
    if shared.NAMED:
        with MongoClient(shared.NAMED) as client:
            left = client.list_database_names()
        assert not [name for name in left if name.startswith(folder.name.replace("-", "_"))]


def test_members_end_with_who_started_them(tmp_path: Path) -> None:
    """A process that is killed leaves no member behind, whichever of its threads started it."""
    shared.need_mongod()
    script = """
import json, os, sys, threading
from pathlib import Path
from tests.mongo.replica_set import ReplicaSet
members = ReplicaSet(Path(os.environ["FOLDER"]), count=1)
starts = threading.Thread(target=members.start)
starts.start()
starts.join()
print(json.dumps([one.pid for one in members.processes.values()]), flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=os.environ | {"FOLDER": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as starter:
        assert starter.stdout is not None
        processes = json.loads(starter.stdout.readline())
        assert of_folder(tmp_path) == processes
        starter.send_signal(signal.SIGKILL)
        ended(processes)

    assert of_folder(tmp_path) == []


def of_folder(folder: Path) -> list[int]:
    """Return the processes that have a folder in their command line."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in arguments and b"\0pytest\0" not in arguments:
            found.append(int(entry.name))
    return sorted(found)


def ended(processes: list[int]) -> None:
    """Return when these processes have ended."""
    for process in processes:
        try:
            handle = os.pidfd_open(process)
        except ProcessLookupError:
            continue
        ready, _, _ = select.select([handle], [], [], WITHIN)
        os.close(handle)
        assert ready, process


# --- machines --------------------------------------------------------------------------------


def test_an_absent_mongod_is_a_failure_where_there_should_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a missing program nor a missing library of it is a reason to skip."""
    monkeypatch.setattr(shared, "is_meant_to_be_here", lambda: True)
    broken = tmp_path / "mongod"
    broken.write_text("#!/bin/sh\necho libcurl.so.4: cannot open >&2\nexit 127\n", "utf-8")
    broken.chmod(0o755)
    for program, why in ((tmp_path / "none", "is not there"), (broken, "libcurl.so.4")):
        monkeypatch.setattr(replica_set, "MONGOD", program)
        replica_set.mongod.cache_clear()
        with pytest.raises(pytest.fail.Exception, match=why):
            shared.need_mongod()
    replica_set.mongod.cache_clear()


def test_elsewhere_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the test extra has no mongod, the list of skips expects it."""
    monkeypatch.setattr(shared, "is_meant_to_be_here", lambda: False)

    with pytest.raises(Skipped, match="no mongod is made for this machine"):
        shared.need_mongod()


# --- the driver ------------------------------------------------------------------------------


@pytest.mark.parametrize("connecting", [driver.UNMENDED, driver.connected])
async def test_a_cancelled_connection_is_closed(connecting: Any) -> None:
    """By the tests' own means. Where it is by the driver's, `tests/mongo/driver.py` can go."""
    made: list[socket.socket] = []
    begun = asyncio.Event()

    class Noted(socket.socket):
        def __init__(self, *how: Any) -> None:
            super().__init__(*how)
            made.append(self)
            begun.set()

    with ExitStack() as held, pytest.MonkeyPatch.context() as patch:
        full = held.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(3):  # what is accepted by nobody fills it: the next waits
            waiting = held.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(full.getsockname())
        patch.setattr("pymongo.pool_shared.socket.socket", Noted)
        task = asyncio.ensure_future(connecting(full.getsockname(), PoolOptions()))
        await begun.wait()
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        is_closed = [one.fileno() < 0 for one in made]
        for one in made:
            one.close()
    assert is_closed == [connecting is driver.connected]
