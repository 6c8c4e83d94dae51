"""Several workers of one port: which of them are ended, and when."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.server import Server

WITHIN = 60.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of two workers."""
    server = Server(tmp_path, engine="sqlite", arguments=("--demo", "--workers", "2"))
    workers: list[int] = []
    try:
        server.start()
        workers = workers_of(server)
        yield server
    finally:
        server.end()
        for worker in workers:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)


def workers_of(server: Server) -> list[int]:
    """Return the workers, by what they were started with."""
    assert server.process
    found = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return [one for one in map(int, found.split()) if b"spawn_main" in command_of(one)]


def command_of(process: int) -> bytes:
    """Return how a process was started; nothing of one that has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""


def test_a_worker_that_is_silent_for_a_while_is_not_ended(server: Server) -> None:
    """As one is that starts on a busy machine: uvicorn would kill it after five seconds."""
    workers = workers_of(server)
    assert len(workers) == 2

    os.kill(workers[1], signal.SIGSTOP)
    time.sleep(7)
    os.kill(workers[1], signal.SIGCONT)
    time.sleep(1)

    assert workers_of(server) == workers
    assert httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200


def test_workers_end_with_the_process_that_started_them(server: Server) -> None:
    """Killed by kill -9, it leaves none that goes on alone, and its port is free."""
    workers = workers_of(server)
    assert server.process

    server.process.kill()
    server.process.wait()

    until = time.monotonic() + WITHIN
    while (left := [one for one in workers if command_of(one)]) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/readyz")
