"""What docker-compose.yml starts, started without Docker: the same commands, on loopback.

Only places differ: folders of the test for the volumes, ports of loopback for the hosts.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.data import ROOT
from tests.fhir_server.store.mongo.composefile import read
from tests.mongo.replica_set import mongod
from tests.ports import free_port

COMPOSE = ROOT / "docker-compose.yml"
MEMBERS = ("mongo1", "mongo2", "mongo3")


def services() -> dict[str, Any]:
    """Return the services of docker-compose.yml."""
    return read(COMPOSE.read_text(encoding="utf-8"))["services"]


@dataclass(slots=True)
class Composed:
    """The three members of docker-compose.yml, and the commands beside them."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {one: free_port() for one in MEMBERS})
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def place(self, text: str, service: str) -> str:
        """Return an argument with the test's own places in it."""
        for volume in services()[service]["volumes"]:
            name, where = volume.split(":")[:2]
            text = text.replace(f"{where}/", f"{self.folder / name}/")
            if text == where:
                text = str(self.folder / name)
        for host, port in self.ports.items():
            text = text.replace(f"{host}:27017", f"127.0.0.1:{port}")
        return text

    def run(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends by itself."""
        program, *arguments = services()[service]["command"]
        assert program == "python"
        placed = [self.place(one, service) for one in arguments]
        return subprocess.run(
            [sys.executable, *placed], cwd=ROOT, capture_output=True, text=True, check=False
        )

    def start(self) -> None:
        """Start the members."""
        for host, port in self.ports.items():
            program, *arguments = services()[host]["command"]
            assert program == "mongod"
            (self.folder / host).mkdir()
            placed = [self.place(one, host) for one in arguments if one != "--bind_ip_all"]
            command = [str(mongod()), *placed, "--bind_ip", "127.0.0.1", "--port", str(port)]
            command.append("--nounixsocket")
            with (self.folder / f"{host}.log").open("wb") as log:
                self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def stop(self) -> None:
        """End the members."""
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()

    @property
    def store(self) -> str:
        """The store's address, as the service `server` has it."""
        return self.place(services()["server"]["environment"]["FHIR_SERVER_STORE"], "server")
