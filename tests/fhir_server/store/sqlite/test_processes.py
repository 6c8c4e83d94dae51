"""Several processes over one file, killed and not."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

from fhir_server.store.chain import broken_at
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import asked, ids

WRITER = Path(__file__).with_name("writing.py")
ROOT = Path(__file__).parents[4]


def _start(path: Path, name: str, batches: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, WRITER, path, name, str(batches)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


async def _answered(process: subprocess.Popen[str], lines: int) -> list[str]:
    """Return what a writing process was answered, up to so many lines."""
    assert process.stdout is not None
    found = []
    while len(found) < lines:
        line = await asyncio.to_thread(process.stdout.readline)
        if not line:
            break
        found.append(line.strip())
    return found


def _ended(process: subprocess.Popen[str]) -> int:
    """Return the exit status of a process that has nothing more to say."""
    with process:
        return process.wait(timeout=30)


async def test_what_was_answered_survives_a_kill(path: Path) -> None:
    """Of batches that were answered before kill -9 nothing is lost, and none is there half."""
    chance = random.Random(7)
    for turn in range(3):
        process = _start(path, f"t{turn}", 100_000)
        answered = await _answered(process, chance.randint(20, 60))
        process.send_signal(signal.SIGKILL)
        rest = await asyncio.to_thread(lambda p=process: p.communicate()[0])
        answered += [line for line in rest.splitlines() if line.startswith("b-")]

        store = await SqliteStore.open(path)
        for name in answered[:-1]:  # the last line may be torn
            assert len(ids(await store.search(asked("Observation", f"identifier=b|{name}")))) == 5
        assert len(answered) > 10
        for patient in (await store.search(asked("Patient", count=1000))).versions:
            batch = patient.resource_id
            page = await store.search(asked("Observation", f"identifier=b|{batch}"))
            assert len(page.versions) == 5
            assert await store.get("batch", batch) == b"made"
        _, broken = await broken_at(store.audit_chain())
        assert broken is None
        assert all(fact.well for fact in await store.doctor() if fact.name == "integrity")
        await store.close()


async def test_two_processes_write_one_file(path: Path) -> None:
    """Processes take turns at the write lock: nothing is lost, and one audit chain holds all."""
    store = await SqliteStore.open(path)
    processes = [_start(path, name, 40) for name in ("one", "two")]

    answered = await asyncio.gather(*(_answered(process, 1000) for process in processes))

    assert [_ended(process) for process in processes] == [0, 0]
    made = [line for lines in answered for line in lines if line.startswith("b-")]
    assert len(made) == 80
    assert await store.count("Patient") == 80
    assert await store.count("Observation") == 400
    count, broken = await broken_at(store.audit_chain())
    assert (count, broken) == (80, None)
    await store.close()


async def test_two_processes_make_a_conditional_create_once(path: Path) -> None:
    """Both try to make the same forty resources, each only if it is not there: forty are made."""
    store = await SqliteStore.open(path)
    processes = [_start(path, "same", 40) for _ in range(2)]

    answered = await asyncio.gather(*(_answered(process, 1000) for process in processes))

    assert [_ended(process) for process in processes] == [0, 0]
    made = [line for lines in answered for line in lines if line.startswith("b-")]
    assert sorted(made) == sorted(set(made))
    assert await store.count("Patient") == 40
    await store.close()


async def test_another_process_makes_another_edition(path: Path) -> None:
    """A commit that another process answered is seen in the edition at once."""
    store = await SqliteStore.open(path)
    before = await store.edition()

    process = _start(path, "one", 1)
    await _answered(process, 1)

    assert await store.edition() != before
    await asyncio.to_thread(_ended, process)
    await store.close()
