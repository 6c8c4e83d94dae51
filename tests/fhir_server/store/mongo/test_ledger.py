"""Records that end: by the database's own clock, though nobody asks for them."""

from __future__ import annotations

import asyncio
import time

from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Put
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet

WITHIN = 60.0


async def test_what_has_ended_is_deleted(members: ReplicaSet) -> None:
    """The members look each second; what ends later, and what does not end, is kept."""
    store = await MongoStore.open(members.url("ended", QUICK))
    try:
        now = time.time_ns() // 1000
        ends = {"soon": now + 1_000_000, "later": now + 3_600_000_000, "never": None}
        puts = [Put("b", key, b"v", expires=at) for key, at in ends.items()]
        await store.commit(Batch(puts=puts))

        assert {key for key, _ in await store.scan("b")} == set(ends)
        until = time.monotonic() + WITHIN
        while (left := {key for key, _ in await store.scan("b")}) == set(ends):
            assert time.monotonic() < until, left
            await asyncio.sleep(0.2)
        assert left == {"later", "never"}
    finally:
        await store.close()
