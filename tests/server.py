"""A real server in a process of its own, as `make run` starts it, on a free port of loopback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
from pymongo import MongoClient

from tests.mongo.databases import served_url
from tests.ports import free_port

ROOT = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "fhir_server")

ENGINE = "mongodb" if os.environ.get("STORE") == "mongodb" else "sqlite"
"""Over what a server of the tests runs where nothing else is said: the variable STORE."""
ENGINES = tuple(dict.fromkeys((ENGINE, "mongodb")))
"""Over what the journeys run: MongoDB always, and SQLite unless STORE says otherwise."""
MOMENT = 300.0
"""Seconds that a token is given again for, of the 900 that it lives."""


@dataclass(slots=True)
class Server:
    """A demo server over a folder of its own; it can be killed and started again.

    Attributes:
        engine: `sqlite`, a file in the folder, or `mongodb`, a database of the folder's own.
        tokens: Those that `token` gave, with when, to be given again; None: always a new one.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    arguments: tuple[str, ...] = ("--demo",)
    process: subprocess.Popen[bytes] | None = None
    extra: dict[str, str] = field(default_factory=dict)
    clients: list[httpx.Client] = field(default_factory=list)
    engine: str = ENGINE
    tokens: dict[tuple[str, ...], tuple[float, str]] | None = None

    @property
    def url(self) -> str:
        """The server's origin."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def store(self) -> str:
        """The store's address, as FHIR_SERVER_STORE has it."""
        if self.engine == "mongodb":
            return served_url(self.folder)
        return f"sqlite:///{self.folder}/fhir.db"

    @property
    def has_store(self) -> bool:
        """Whether anything of its store has been made."""
        if self.engine == "mongodb":
            with MongoClient(self.store) as client:
                return client.get_default_database().name in client.list_database_names()
        return (self.folder / "fhir.db").exists()

    @property
    def environment(self) -> dict[str, str]:
        """The environment of every command over this server's store."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("FHIR_SERVER_")}
        return clean | {
            "FHIR_SERVER_STORE": self.store,
            "FHIR_SERVER_KEYS": f"{self.folder}/keys",
            **self.extra,
        }

    def start(self, *, within: float = 60) -> Server:
        """Start, and return when it is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", str(self.port), *self.arguments],
                env=self.environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        STARTED[id(self)] = self
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"the server ended at its start:\n{self.log()[-3000:]}")
            try:
                if httpx.get(f"{self.url}/readyz", timeout=1).status_code == 200:
                    return self
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"the server was not ready in {within} s:\n{self.log()[-3000:]}")

    def kill(self) -> None:
        """End it, and its workers, as a loss of power would."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it by SIGTERM; return its exit status."""
        assert self.process is not None
        self._forget()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def end(self) -> None:
        """End it, however it is: what a test that failed did not come to."""
        self._forget()
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def _forget(self) -> None:
        STARTED.pop(id(self), None)
        for client in self.clients:
            client.close()
        self.clients.clear()

    def log(self) -> str:
        """What it printed."""
        return (self.folder / "server.log").read_text(encoding="utf-8", errors="replace")

    def run(
        self, *arguments: str, check: bool = True, within: float = 300
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of `fhir-server` over the same store."""
        if self.tokens and arguments[0] in {"client", "keys"}:
            self.tokens.clear()
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=within,
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def token(self, *, client: str = "", citizen: str = "", patient: str = "") -> str:
        """Return an access token, by `fhir-server token`, or what that gave a moment ago."""
        arguments = ["token"]
        for name, value in (("--client", client), ("--citizen", citizen), ("--patient", patient)):
            arguments += [name, value] if value else []
        kept = {} if self.tokens is None else self.tokens
        given, token = kept.get(tuple(arguments), (0.0, ""))
        if not token or time.monotonic() - given > MOMENT:
            token = self.run(*arguments).stdout.strip()
            kept[tuple(arguments)] = time.monotonic(), token
        return token

    def client(self, token: str = "", **options: object) -> httpx.Client:
        """Return an HTTP client that calls with this token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        client = httpx.Client(base_url=self.url, headers=headers, timeout=30, **options)
        self.clients.append(client)
        return client


STARTED: dict[int, Server] = {}
"""The servers that were started and not stopped."""
