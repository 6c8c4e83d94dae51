"""Commits while primaries are killed: what was answered is kept, and nothing is made twice."""

from __future__ import annotations

import asyncio
from typing import Final

import pytest

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import AuditRecord, Batch, Put
from tests.contracts.making import START, made, patient
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet

TASKS: Final = 6


@pytest.mark.timeout(180)
async def test_what_was_answered_is_kept_while_primaries_are_killed(members: ReplicaSet) -> None:
    """Of each commit all is there or nothing; an answer means all; the audit chain is whole."""
    store = await MongoStore.open(members.url("killed", QUICK))
    answered: asyncio.Queue[str] = asyncio.Queue()
    kept_for_sure: set[str] = set()
    is_over = asyncio.Event()

    async def commits(task: int) -> None:
        number = 0
        while not is_over.is_set():
            name = f"{task}-{number}"
            number += 1
            batch = Batch(
                writes=[made(patient(f"{name}-{part}")) for part in "ab"],
                puts=[Put("b", name, b"v", expected=None)],
                audit=[AuditRecord(START, name.encode())],
            )
            try:
                await store.commit(batch)
            except Unavailable:
                continue
            answered.put_nowait(name)

    async def more(count: int) -> None:
        for _ in range(count):
            kept_for_sure.add(await answered.get())

    writers = [asyncio.create_task(commits(task)) for task in range(TASKS)]
    for _ in range(2):
        await more(30)
        killed = await asyncio.to_thread(members.primary)
        members.kill(killed)
        await more(30)
        await asyncio.to_thread(members.restart, killed)
    is_over.set()
    await asyncio.gather(*writers)
    await more(answered.qsize())

    kept = {key for key, _ in await store.scan("b", limit=100_000)}
    chained = [entry.body.decode() async for entry in store.audit_chain()]
    history = (await store.history("Patient", None, count=100_000)).versions
    assert kept_for_sure <= kept
    assert sorted(chained) == sorted(kept)
    assert sorted(one.resource_id for one in history) == sorted(
        f"{name}-{part}" for name in kept for part in "ab"
    )
    assert await store.count("Patient") == 2 * len(kept)
    await store.close()
