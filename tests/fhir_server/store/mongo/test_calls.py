"""What a failure of the database means: a killed primary is a delay, and no read goes back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import (
    AutoReconnect,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WTimeoutError,
)

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.abandoned import SILENT
from fhir_server.store.mongo.calls import unavailable
from fhir_server.store.mongo.connect import Opened, open_database
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import CommitRefused, WorkBudgetExceeded
from tests.contracts.making import patient, put
from tests.data import ROOT
from tests.fhir_server.store.mongo.conftest import QUICK
from tests.mongo.replica_set import ReplicaSet


@pytest.fixture
def url(members: ReplicaSet, request: pytest.FixtureRequest) -> str:
    """The address of a database of this test's own."""
    return members.url(f"t{abs(hash(request.node.name)) % 10**9}", QUICK)


@pytest_asyncio.fixture
async def opened(url: str) -> AsyncIterator[Opened]:
    """An open database with a counter at 0."""
    found = await open_database(url, patience=60)
    await found.collections.ledger.insert_one({"_id": "n", "v": 0})
    yield found
    await found.close()


async def count(to: Opened) -> int:
    """Count one further, in a transaction."""

    async def work(session: AsyncClientSession) -> int:
        found = await to.collections.ledger.find_one_and_update(
            {"_id": "n"}, {"$inc": {"v": 1}}, session=session,
            return_document=ReturnDocument.AFTER,
        )  # fmt: skip
        return int(found["v"])

    return await to.calls.transact(work)


async def read(of: Opened) -> int:
    """Read how far it was counted."""
    found = await of.calls.read(lambda: of.collections.ledger.find_one({"_id": "n"}))
    assert found is not None
    return int(found["v"])


async def view(of: Opened) -> int:
    """Read it in a consistent view."""
    found = await of.calls.view(
        lambda session: of.collections.ledger.find_one({"_id": "n"}, session=session)
    )
    assert found is not None
    return int(found["v"])


# --- transactions ----------------------------------------------------------------------------


async def test_a_refusal_passes_through_and_nothing_was_made(opened: Opened) -> None:
    """What the work refuses is raised as it is, and its writes are gone."""

    async def work(session: AsyncClientSession) -> None:
        await opened.collections.ledger.insert_one({"_id": "half"}, session=session)
        raise CommitRefused

    with pytest.raises(CommitRefused):
        await opened.calls.transact(work)

    assert await opened.collections.ledger.find_one({"_id": "half"}) is None


async def test_transactions_in_each_others_way_are_all_made(opened: Opened, url: str) -> None:
    """Two processes count at once: each count is made, none twice."""
    other = await open_database(url)

    made = await asyncio.gather(*(count(one) for one in (opened, other) for _ in range(25)))

    assert sorted(made) == list(range(1, 51))
    await other.close()


@pytest.mark.parametrize(
    "how",
    [
        {"closeConnection": True},
        {"errorCode": 91, "errorLabels": ["RetryableWriteError"]},
        {"writeConcernError": {"code": 91, "errmsg": "shutting down"}},
        {"writeConcernError": {"code": 64, "errmsg": "timeout", "errInfo": {"wtimeout": True}}},
        {"errorCode": 251, "errorLabels": ["TransientTransactionError"]},
    ],
    ids=["cut off", "shutting down", "made, shutting down", "made, no majority", "aborted"],
)
async def test_a_commit_whose_end_is_not_known_is_made_once(
    opened: Opened, members: ReplicaSet, how: dict[str, object]
) -> None:
    """The commit fails four times, before or after it was made: it counts one further."""
    members.fail(["commitTransaction"], 4, how)

    assert await count(opened) == 1
    assert await read(opened) == 1


async def test_the_transaction_of_a_killed_server_is_in_the_way_for_seconds_only(
    opened: Opened, url: str
) -> None:
    """It is ended by the next server that waits for it, long before the database's minute."""
    script = f"""
import asyncio, os
from fhir_server.store.mongo.connect import open_database

async def main():
    to = await open_database({url!r})
    session = to.client.start_session()
    await session.start_transaction()
    await to.collections.ledger.update_one({{"_id": "n"}}, {{"$inc": {{"v": 1}}}}, session=session)
    os._exit(0)

asyncio.run(main())
"""
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", script, cwd=ROOT)
    assert await killed.wait() == 0

    async with asyncio.timeout(SILENT + 8):
        assert await count(opened) == 1


async def test_a_transaction_that_is_at_work_is_not_taken_for_abandoned(
    opened: Opened, url: str
) -> None:
    """One that another waits for, and whose server goes on with it, is made."""
    other = await open_database(url)
    held, let_go = asyncio.Event(), asyncio.Event()

    async def slow(session: AsyncClientSession) -> None:
        ledger = other.collections.ledger
        while not let_go.is_set():
            await ledger.update_one({"_id": "n"}, {"$inc": {"v": 1}}, session=session)
            held.set()
            await asyncio.sleep(0.1)

    async def ending() -> None:
        await asyncio.sleep(SILENT * 2)
        let_go.set()

    holder = asyncio.create_task(other.calls.transact(slow))
    await held.wait()
    waiter = asyncio.create_task(count(opened))
    await asyncio.gather(holder, waiter, ending())

    assert waiter.result() > 10
    await other.close()


# --- reads -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "how", [{"closeConnection": True}, {"errorCode": 10107}, {"errorCode": 43}, {"errorCode": 246}]
)
@pytest.mark.parametrize("ask", [read, view])
async def test_a_read_that_fails_for_a_moment_is_done_again(
    opened: Opened, members: ReplicaSet, how: dict[str, object], ask: object
) -> None:
    """Three failures in a row, more than the driver itself puts up with, and it is answered."""
    members.fail(["find"], 3, how)

    assert await (read if ask is read else view)(opened) == 0


@pytest.mark.parametrize("ask", ["read", "view"])
async def test_a_read_past_its_own_time_is_past_its_budget(opened: Opened, ask: str) -> None:
    """A search that sets a time for itself and needs more is too costly, not a failure."""
    slow = {"$where": "sleep(2000) || true"}

    async def work(session: AsyncClientSession | None = None) -> object:
        return await opened.collections.ledger.find(slow, session=session).max_time_ms(20).to_list()

    with pytest.raises(WorkBudgetExceeded):
        await (opened.calls.read(work) if ask == "read" else opened.calls.view(work))


async def test_a_command_that_is_wrong_is_not_tried_for_ever(opened: Opened) -> None:
    """What will not pass by itself is refused at once, in plain words."""
    with pytest.raises(Unavailable, match=r"^The database could not do this\.$"):
        await opened.calls.read(lambda: opened.client.admin.command("noSuchCommand"))


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect("h1:27017: geheim"),
        ServerSelectionTimeoutError("h1: geheim"),
        OperationFailure("geheim", 13),
        OperationFailure("geheim", 14031),
        OperationFailure("geheim", 112),
        OperationFailure("geheim", 1),
        WTimeoutError("geheim", 64),
    ],
    ids=lambda error: f"{type(error).__name__}-{getattr(error, 'code', '')}",
)
def test_no_text_of_the_driver_reaches_a_client(error: PyMongoError) -> None:
    """Every failure becomes a sentence of ours."""
    text = str(unavailable(error))

    assert "geheim" not in text
    assert text.endswith(".")


# --- elections -------------------------------------------------------------------------------


async def test_after_an_election_nothing_is_answered_before_a_majority_follows_it(
    opened: Opened, mortal: ReplicaSet
) -> None:
    """What a new primary knows to be a majority's may be older than what was answered before it.

    One member is held back, so that the new primary cannot learn that a majority has what it
    wrote; a read waits, and is answered when the member may go on.
    """
    await count(opened)
    old = mortal.primary()
    held = (old + 1) % mortal.count
    hold = {"configureFailPoint": "stopReplProducer", "mode": "alwaysOn"}
    go_on = {"configureFailPoint": "stopReplProducer", "mode": "off"}
    mortal.ask(held, {"replSetFreeze": 120})
    mortal.ask(held, hold)
    mortal.kill(old)
    try:
        assert await asyncio.to_thread(mortal.primary) not in {old, held}
        reading = asyncio.create_task(read(opened))
        done, _ = await asyncio.wait({reading}, timeout=3)
        assert not done, "it was answered while nothing of the new primary had a majority"

        mortal.ask(held, go_on)
        assert await reading == 1
    finally:
        mortal.ask(held, go_on)
        mortal.ask(held, {"replSetFreeze": 0})
    assert await count(opened) == 2


async def test_no_answered_read_goes_back_while_primaries_are_killed(
    opened: Opened, mortal: ReplicaSet, url: str
) -> None:
    """Two primaries die under a writer and four readers of four processes.

    Every read shows at least what was answered before it began, by whichever process; every
    count was made once; and nobody was told of an error.
    """
    others = [await open_database(url) for _ in range(3)]
    made: list[int] = []
    backwards: list[tuple[int, int]] = []
    over = asyncio.Event()
    more = asyncio.Condition()

    async def write() -> None:
        while not over.is_set():
            made.append(await count(opened))
            async with more:
                more.notify_all()

    async def thirty_more() -> None:
        enough = len(made) + 30
        async with more:
            await more.wait_for(lambda: len(made) >= enough)

    async def watch(of: Opened, ask: object) -> None:
        last = 0
        while not over.is_set():
            least = max([last, *made[-1:]])
            last = await (read if ask is read else view)(of)
            if last < least:
                backwards.append((least, last))

    async def disturb() -> None:
        for _ in range(2):
            await thirty_more()
            primary = await asyncio.to_thread(mortal.primary)
            await asyncio.to_thread(mortal.kill, primary)
            await thirty_more()
            await asyncio.to_thread(mortal.restart, primary)
        over.set()

    await asyncio.gather(
        write(), watch(opened, read), watch(others[0], read), watch(others[1], view),
        watch(others[2], read), disturb(),
    )  # fmt: skip

    assert backwards == []
    assert made == list(range(1, len(made) + 1))
    assert await read(others[0]) == len(made)
    for one in others:
        await one.close()


async def test_a_database_without_a_majority_is_not_waited_for_for_ever(
    opened: Opened, mortal: ReplicaSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two of three members dead, reads and commits are refused, and done when they are back.

    Once the patience is over, the next who asks is not kept waiting as long again.
    """
    monkeypatch.setattr(opened.calls, "_patience", 3.0)
    assert await opened.calls.is_ready()
    rest = [number for number in range(3) if number != mortal.primary()]
    mortal.kill(*rest)

    with pytest.raises(Unavailable):
        await count(opened)
    with pytest.raises(Unavailable, match=r"^The database does not answer: try again\.$"):
        await read(opened)
    assert not await opened.calls.is_ready()
    async with asyncio.timeout(2.5):
        with pytest.raises(Unavailable):
            await read(opened)

    for number in rest:
        mortal.restart(number)
    mortal.wait_for_primary()
    seen = await read(opened)
    assert await count(opened) == seen + 1


# --- a process that ends ---------------------------------------------------------------------


async def test_a_store_is_closed_soon_though_its_database_is_away(mortal: ReplicaSet) -> None:
    """A commit that is under way is given up: who stops a server kills it after a while."""
    store = await MongoStore.open(mortal.url("closing", QUICK))
    async with store.serving():
        await put(store, patient("before"))
        for member in range(mortal.count):
            mortal.kill(member)
        commit = asyncio.create_task(put(store, patient("after")))
        await asyncio.sleep(0.5)
        began = asyncio.get_running_loop().time()
    await store.close()

    assert asyncio.get_running_loop().time() - began < 10
    with pytest.raises(Unavailable):
        await commit
