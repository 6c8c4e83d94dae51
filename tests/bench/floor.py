"""The floor: what the same machine does with nothing of ours in the way."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import apsw

from fhir_server.model import codec
from tests.bench.load import get, measure, observation, patient
from tests.server import ROOT, free_port

INDEX_ROWS = 14


def lines(folder: Path) -> Iterator[str]:
    """Yield the floor's figures as text."""
    yield f"fdatasync of 4 kB: {_sync(folder):.2f} ms"
    for batch in (1, 20):
        rate = _commits(folder, batch)
        yield (
            f"raw SQLite (FULL), {batch} Observation(s) with {INDEX_ROWS} index rows a commit: "
            f"{rate * batch:,.0f} resources/s"
        )
    yield f"a bare ASGI reply of a Patient's bytes, uvicorn, 16 clients: {_bare():,.0f} requests/s"


def _sync(folder: Path) -> float:
    with (folder / "sync").open("wb") as file:
        began = time.perf_counter()
        for _ in range(200):
            file.write(b"x" * 4096)
            file.flush()
            os.fdatasync(file.fileno())
        return (time.perf_counter() - began) * 1e3 / 200


def _commits(folder: Path, batch: int) -> float:
    """Return commits a second of so many resources' body and index rows."""
    path = folder / f"floor-{batch}.db"
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE body(rid INTEGER PRIMARY KEY, body BLOB)")
    key = "PRIMARY KEY(param, key, rid)"
    db.execute(f"CREATE TABLE token(param INT, key INT, rid INT, {key}) WITHOUT ROWID")
    body = codec.dumps(observation(1, "Patient/1"))
    rid, commits, began = 0, 300, time.perf_counter()
    for _ in range(commits):
        with db:
            for _ in range(batch):
                rid += 1
                db.execute("INSERT INTO body VALUES(?, ?)", (rid, body))
                db.executemany(
                    "INSERT INTO token VALUES(?, ?, ?)",
                    [(n, hash((n, rid % 997)) & 0x7FFFFFFF, rid) for n in range(INDEX_ROWS)],
                )
    rate = commits / (time.perf_counter() - began)
    db.close()
    return rate


BODY = codec.dumps(patient(1))
HEADERS = [(b"content-type", b"application/fhir+json"), (b"content-length", b"%d" % len(BODY))]


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Answer every request with the same bytes."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send({"type": "http.response.body", "body": BODY})


def _bare() -> float:
    """Return requests a second of the bare reply, by the generator of the other lines."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "tests.bench.floor:app", "--port", str(port)]
    with subprocess.Popen(
        [*command, "--no-access-log", "--log-level", "error"], cwd=ROOT
    ) as server:
        try:
            return asyncio.run(_asked(port, server.pid))
        finally:
            server.terminate()


async def _asked(port: int, pid: int) -> float:
    async with aiohttp.ClientSession(base_url=f"http://127.0.0.1:{port}") as http:
        for _ in range(100):
            try:
                await (await http.get("/")).read()
                break
            except aiohttp.ClientError:
                await asyncio.sleep(0.1)
        row = await measure("", http, get(lambda _: "/", check=bool), 12000, 16, pid)
    return row.rate
