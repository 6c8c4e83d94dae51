"""Members of a replica set that a test may kill, stop and start: its own, on loopback."""

from __future__ import annotations

import signal
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.server import free_port

MONGOD = Path(sysconfig.get_path("purelib")) / "fiftyone/db/bin/mongod"
WITHIN = 60.0
QUICK = "&serverSelectionTimeoutMS=1000&connectTimeoutMS=1000&heartbeatFrequencyMS=500"
"""Options of an address with which a failure is noticed soon."""


@dataclass(slots=True)
class Members:
    """A replica set whose elections take a second."""

    folder: Path
    count: int = 3
    name: str = "rs0"
    options: tuple[str, ...] = ("--setParameter", "enableTestCommands=1")
    ports: list[int] = field(default_factory=list)
    processes: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ports = [free_port() for _ in range(self.count)]

    @property
    def hosts(self) -> list[str]:
        """`host:port` of each."""
        return [f"127.0.0.1:{port}" for port in self.ports]

    def url(self, database: str = "fhir", options: str = "") -> str:
        """Return the address of a database of theirs."""
        return f"mongodb://{','.join(self.hosts)}/{database}?replicaSet={self.name}{options}"

    def start(self, number: int, *, replica_set: bool = True) -> None:
        """Start one, or start it again."""
        data = self.folder / f"member{number}"
        data.mkdir(parents=True, exist_ok=True)
        command = [
            str(MONGOD), "--dbpath", str(data), "--port", str(self.ports[number]),
            "--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.25",
            "--oplogSize", "64", "--setParameter", "diagnosticDataCollectionEnabled=false",
            *self.options,
        ]  # fmt: skip
        if replica_set:
            command += ["--replSet", self.name]
        with (self.folder / f"member{number}.log").open("ab") as log:
            self.processes[number] = subprocess.Popen(command, stdout=log, stderr=log)
        self.ask(number, "ping")

    def initiate(self) -> Members:
        """Start all of them, make them a replica set, and wait for its primary."""
        for number in range(self.count):
            self.start(number)
        members = [{"_id": number, "host": host} for number, host in enumerate(self.hosts)]
        settings = {"electionTimeoutMillis": 1000}
        self.ask(0, {"replSetInitiate": {"_id": self.name, "members": members,
                                         "settings": settings}})  # fmt: skip
        self.primary()
        return self

    def ask(self, number: int, command: str | dict[str, Any]) -> dict[str, Any]:
        """Give one a command, waited for until it is up."""
        client: MongoClient[dict[str, Any]] = MongoClient(
            self.hosts[number], directConnection=True, serverSelectionTimeoutMS=int(WITHIN * 1000)
        )
        try:
            return client.admin.command(command)
        finally:
            client.close()

    def primary(self) -> int:
        """Return the number of the primary, waited for."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until:
            for number, process in self.processes.items():
                try:
                    if process.poll() is None and self.ask(number, "hello")["isWritablePrimary"]:
                        return number
                except PyMongoError:
                    continue
        raise AssertionError("there is no primary")

    def kill(self, *numbers: int) -> None:
        """Kill some, as `kill -9` does."""
        for number in numbers:
            self.processes[number].send_signal(signal.SIGKILL)
            self.processes[number].wait()

    def fail(self, commands: Sequence[str], times: int, how: dict[str, Any]) -> None:
        """Let the primary fail commands so often (mongo/docs/fail_points.md: failCommand)."""
        point = {"configureFailPoint": "failCommand", "mode": {"times": times}}
        self.ask(self.primary(), {**point, "data": {"failCommands": list(commands), **how}})

    def stop(self) -> None:
        """End all of them."""
        for process in self.processes.values():
            process.kill()
        for process in self.processes.values():
            process.wait()
