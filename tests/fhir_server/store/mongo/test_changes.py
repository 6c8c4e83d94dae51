"""The feed of changes over members that fail: nothing is missed, and nothing is told twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
import pytest_asyncio

from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch
from tests.contracts.making import made, patient
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet

WITHIN = 60.0
LOST = {"errorCode": 286, "errorLabels": ["NonResumableChangeStreamError"]}
"""ChangeStreamHistoryLost: the oplog no longer has what the stream would go on from."""


@pytest.fixture
def url(members: ReplicaSet, request: pytest.FixtureRequest) -> str:
    """The address of a database of this test's own."""
    return members.url(f"t{abs(hash(request.node.name)) % 10**9}", QUICK)


@pytest_asyncio.fixture
async def stores(url: str) -> AsyncIterator[list[MongoStore]]:
    """One store, opened by the process that follows and by the one that writes."""
    opened = [await MongoStore.open(url, patience=WITHIN) for _ in range(2)]
    yield opened
    for one in opened:
        await one.close()


async def writing(store: MongoStore, numbers: range) -> None:
    """Make Patients, one commit each."""
    for number in numbers:
        await store.commit(Batch(writes=[made(patient(f"p{number}"))]))
        await asyncio.sleep(0.01)


async def following(store: MongoStore, count: int) -> list[str]:
    """Return the ids of the first Patients that are told."""
    found: list[str] = []
    async with asyncio.timeout(WITHIN), aclosing(store.changes()) as feed:  # type: ignore[type-var]
        async for change in feed:
            found.append(change.resource_id)
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize(
    ("commands", "how"),
    [
        (["aggregate"], LOST),
        (["getMore"], LOST),
        (["getMore"], {"closeConnection": True}),
        (["aggregate", "getMore"], {"errorCode": 13}),
    ],
    ids=["not opened", "lost", "cut", "refused"],
)
async def test_a_stream_that_fails_is_no_change_missed(
    members: ReplicaSet,
    stores: list[MongoStore],
    commands: list[str],
    how: dict[str, object],
) -> None:
    """The stream is a sign alone: it is opened again, and what came meanwhile is read by number."""
    follower, writer = stores
    await asyncio.to_thread(members.fail, commands, 3, how)
    told = asyncio.create_task(following(follower, 60))

    await writing(writer, range(30))
    await asyncio.to_thread(members.fail, commands, 2, how)
    await writing(writer, range(30, 60))

    assert await told == [f"p{number}" for number in range(60)]
    assert not follower._changes._watching.done()


async def test_another_primary_is_no_change_missed(
    members: ReplicaSet, stores: list[MongoStore]
) -> None:
    """The primary steps down between two commits, and while the feed waits."""
    follower, writer = stores
    told = asyncio.create_task(following(follower, 40))

    await writing(writer, range(20))
    down = {"replSetStepDown": 10, "secondaryCatchUpPeriodSecs": 5}
    before = await asyncio.to_thread(members.primary)
    await asyncio.to_thread(members.ask, before, down)
    await writing(writer, range(20, 40))

    assert await told == [f"p{number}" for number in range(40)]


async def test_what_a_majority_has_only_after_the_stream_began_is_told(
    members: ReplicaSet, stores: list[MongoStore]
) -> None:
    """The primary has written it, both others are held back while the stream is opened."""
    follower, writer = stores
    others = [one for one in range(members.count) if one != members.primary()]
    point = {"configureFailPoint": "stopReplProducer"}
    try:
        for other in others:
            members.ask(other, {**point, "mode": "alwaysOn"})
        commit = asyncio.create_task(writing(writer, range(1)))
        await asyncio.sleep(0.5)
        assert not commit.done(), "a majority has it already"
        told = asyncio.create_task(following(follower, 1))
        async with asyncio.timeout(WITHIN):
            while follower._changes._wakes.count == 0:  # noqa: ASYNC110 - as the driver opens it
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        assert not told.done()
    finally:
        for other in others:
            members.ask(other, {**point, "mode": "off"})
    await commit

    assert await told == ["p0"]


async def test_all_who_follow_share_one_stream(
    stores: list[MongoStore], members: ReplicaSet
) -> None:
    """However many there are, the database is asked by one; it ends with the store."""
    follower, writer = stores
    told = [asyncio.create_task(following(follower, 10)) for _ in range(20)]

    await writing(writer, range(10))
    assert await asyncio.gather(*told) == [[f"p{number}" for number in range(10)]] * 20

    def streams() -> int:
        sought = {
            "aggregate": 1,
            "cursor": {},
            "pipeline": [
                {"$currentOp": {"allUsers": True, "idleCursors": True}},
                {
                    "$match": {
                        "cursor.originatingCommand.pipeline.0.$changeStream": {"$exists": True}
                    }
                },
            ],
        }
        found = members.ask(members.primary(), sought)["cursor"]["firstBatch"]
        name = follower._collections.database.name
        return sum(one["ns"].startswith(f"{name}.") for one in found)

    assert await asyncio.to_thread(streams) == 1
    await follower.close()
    async with asyncio.timeout(WITHIN):
        while await asyncio.to_thread(streams):  # noqa: ASYNC110 - the database's
            await asyncio.sleep(0.05)
