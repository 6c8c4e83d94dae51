"""What is left when the process dies in between, and how another finishes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from adapters.submissions import intake, keep
from adapters.submissions.intake import Submission, receive, submit_envelope
from adapters.submissions.resume import resume_pending
from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.model.outcome import Unavailable
from fhir_server.operations import dossier as dossiers
from fhir_server.operations.turns import Turns
from fhir_server.store import leases
from fhir_server.store.port import Batch, Put, RecordChanged, Store
from tests.conftest import FACILITY, World
from tests.xml130 import costs, dossier, envelope, rows, visit


class Died(BaseException):
    """The process ends here."""


class Dying:
    """A store whose process dies at its n-th commit: before it is made, or right after."""

    def __init__(self, store: Store, at: int, *, after: bool) -> None:
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name: str) -> Any:
        """Return the other's method."""
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> None:
        """Commit, or die."""
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Died
        await self._store.commit(batch)
        if self._left == 0:
            raise Died


def three() -> bytes:
    """Return an envelope of two good visits and a bad one."""
    summary = visit(MA_LK="LK-1", **costs(drugs=1))
    return envelope(
        [
            dossier(summary, xml2=rows("XML2", 1)),
            dossier(visit(MA_LK="LK-2", SO_CCCD="001195012399", MA_BN="BN-2", MA_THE_BHYT="",
                          MA_DOITUONG_KCB="9", MA_DKBD="", GT_THE_TU="", GT_THE_DEN="")),
            dossier(visit(MA_LK="LK-3", NGAY_VAO="")),
        ]
    )  # fmt: skip


def dying(world: World, at: int, *, after: bool) -> Context:
    """Return the hospital's Context over a store that dies."""
    return replace(world.context(FACILITY), store=Dying(world.store, at, after=after))


def later(world: World) -> Context:
    """Return the system's Context when the lease of a process that has died has ended."""
    world.clock.move(seconds=leases.SECONDS + leases.SKEW)
    return world.context()


async def pending(world: World) -> list[str]:
    """Return the submissions that are not answered."""
    return [submission_id async for submission_id, _ in keep.pending(world.store)]


async def receipts(world: World) -> list[dict[str, Any]]:
    """Return all receipts that are kept."""
    return [codec.loads(raw) for _, raw in await world.store.scan(keep.SUBMISSION)]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", [1, 2, 3, 4])
@pytest.mark.parametrize("several", [False, True], ids=["one dossier", "three dossiers"])
async def test_what_was_kept_is_finished_once(
    world: World, *, at: int, several: bool, after: bool
) -> None:
    """Die at any commit; the next start finishes what was kept, each visit whole and once."""
    body = three() if several else envelope([dossier(visit(MA_LK="LK-1"))])
    with suppress(Died, BaseExceptionGroup):
        await submit_envelope(dying(world, at, after=after), body)
    was_kept = bool(await world.store.scan(keep.SOURCE))

    await resume_pending(later(world))
    again = await resume_pending(later(world))

    assert again == 0
    found = await receipts(world)
    assert len(found) == (1 if was_kept else 0)
    assert await world.store.count("Encounter") == (0 if not was_kept else 2 if several else 1)
    if was_kept:
        statuses = [part["status"] for part in found[0]["dossiers"]]
        assert statuses == (["created", "created", "rejected"] if several else ["created"])
        assert found[0]["facility"] == "01999"
        assert len(await world.store.audit()) == 1
    sent_again = await submit_envelope(world.context(FACILITY), body)
    wanted = "unchanged" if was_kept else "created"
    assert sent_again["dossiers"][0]["status"] == wanted


async def test_bytes_are_durable_before_they_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the reader dies the bytes are there, with their mark; later they are read."""
    body = envelope([dossier(visit(MA_LK="LK-1"))])

    def die(_body: bytes) -> Any:
        raise Died

    with monkeypatch.context() as patched:
        patched.setitem(intake.READERS, "xml", die)
        with pytest.raises(Died):
            await submit_envelope(world.context(FACILITY), body)
    (submission_id,) = await pending(world)
    source = await keep.source_of(world.store, submission_id)

    resumed = await resume_pending(later(world))

    assert source is not None
    assert await keep.body_of(world.store, submission_id, source) == body
    assert resumed == 1
    assert [r["dossiers"][0]["status"] for r in await receipts(world)] == ["created"]


async def test_what_was_no_submission_is_forgotten_at_the_next_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rubbish that was kept when the process died leaves no submission."""

    def die(_body: bytes) -> Any:
        raise Died

    with monkeypatch.context() as patched:
        patched.setitem(intake.READERS, "xml", die)
        with pytest.raises(Died):
            await submit_envelope(world.context(FACILITY), b"rubbish")

    await resume_pending(later(world))

    assert await world.store.scan(keep.SOURCE) == []
    assert await world.store.scan(keep.PENDING) == []


async def test_a_late_dossier_does_not_undo_a_newer_one(world: World) -> None:
    """What was sent anew since the process died keeps its newer content."""
    old = envelope([dossier(visit(MA_LK="LK-1", LY_DO_VV="cũ"))])
    new = envelope([dossier(visit(MA_LK="LK-1", LY_DO_VV="mới"))])
    with pytest.raises(Died):
        await submit_envelope(dying(world, 2, after=False), old)
    world.clock.at += timedelta(seconds=1)
    fresh = await submit_envelope(world.context(FACILITY), new)

    await resume_pending(later(world))

    (name,) = {part["encounter"] for part in fresh["dossiers"]}
    version = await world.store.read("Encounter", name.partition("/")[2])
    assert version is not None
    assert codec.loads(version.body)["reasonCode"][0]["text"] == "mới"
    late = [r["dossiers"][0] for r in await receipts(world) if r["id"] != fresh["id"]]
    assert [part["status"] for part in late] == ["unchanged"]
    assert [issue["rule"] for issue in late[0]["issues"]] == ["G01-SUPERSEDED"]


async def test_a_store_that_always_races_is_503_and_stays_to_be_finished(world: World) -> None:
    """What cannot be stored now is not refused: it is 503, and may be finished at once."""

    class Racing(Dying):
        async def commit(self, batch: Batch) -> None:
            if any(put.bucket == "dossier" for put in batch.puts):
                raise RecordChanged("dossier", "01999|LK-1")
            await self._store.commit(batch)

    ctx = replace(world.context(FACILITY), store=Racing(world.store, 0, after=False))
    body = envelope([dossier(visit(MA_LK="LK-1"))])
    with pytest.raises(Unavailable):
        await receive(ctx, Submission(body, "xml"))

    await resume_pending(world.context())

    assert [r["dossiers"][0]["status"] for r in await receipts(world)] == ["created"]


async def test_large_bodies_are_kept_in_parts(world: World) -> None:
    """Bytes that do not shrink are kept in several records, and given back equal."""
    from random import Random

    body = Random(5).randbytes(keep.CHUNK * 2 + 17)
    source = keep.Source("application/xml", "xml", 0, 0, 0, "facility", "c", "01999")

    lease = leases.Leases(world.store, world.clock).made("s1", bucket=keep.PENDING)
    await keep.keep(world.store, "s1", source, body, lease)

    known = await keep.source_of(world.store, "s1")
    assert known is not None
    assert known.chunks == 3
    assert await keep.body_of(world.store, "s1", known) == body
    await keep.forget(world.store, "s1")
    assert await world.store.scan(keep.SOURCE) == []


async def test_one_that_cannot_be_finished_does_not_stop_the_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault while one submission is finished leaves its mark, and the others are finished."""
    bodies = [envelope([dossier(visit(MA_LK=f"LK-{n}"))]) for n in range(2)]
    for body in bodies:
        with pytest.raises(Died):
            await submit_envelope(dying(world, 2, after=False), body)
    first = min(await pending(world))
    source_of = keep.source_of

    async def failing(store: Store, submission_id: str) -> keep.Source | None:
        if submission_id == first:
            raise RuntimeError
        return await source_of(store, submission_id)

    with monkeypatch.context() as patched:
        patched.setattr(keep, "source_of", failing)
        await resume_pending(later(world))

    assert await pending(world) == [first]
    assert len(await receipts(world)) == 1


class Watched:
    """A store that has something done right before its commits of dossiers."""

    def __init__(self, store: Store, before: Callable[[], Awaitable[None]], *, first: int) -> None:
        self._store = store
        self._before = before
        self._left = first

    def __getattr__(self, name: str) -> Any:
        """Return the other's method."""
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> None:
        """Commit; what is to be done before is done once."""
        if any(put.bucket == "dossier" for put in batch.puts):
            self._left -= 1
            if self._left == 0:
                await self._before()
        await self._store.commit(batch)


async def test_what_a_process_is_at_work_on_is_left_to_it(world: World) -> None:
    """Another process that looks finds nothing to do, however long the work takes."""
    looked: list[int] = []

    async def look() -> None:
        for _ in range(5):
            world.clock.move(seconds=int(leases.RENEWED))
            (lease,) = [one async for one in keep.pending(world.store)]
            held = leases.hold_of(lease[1])
            looked.append(await resume_pending(world.context()))
            renewed = msgspec.json.encode(
                msgspec.structs.replace(held, until=held.until + int(leases.RENEWED) * 1_000_000)
            )
            mark = Put(keep.PENDING, lease[0], renewed, expected=lease[1])
            await world.store.commit(Batch(puts=(mark,)))

    ctx = replace(world.context(FACILITY), store=Watched(world.store, look, first=1))
    receipt = await receive(ctx, Submission(three(), "xml"))

    assert looked == [0] * 5
    assert [part.status for part in receipt.dossiers] == ["created", "created", "rejected"]
    assert await pending(world) == []


@pytest.mark.parametrize("several", [False, True], ids=["one dossier", "three dossiers"])
async def test_a_process_that_was_asleep_changes_nothing_that_came_since(
    world: World, monkeypatch: pytest.MonkeyPatch, *, several: bool
) -> None:
    """Another took its submission up, then the visit was sent anew: its own commit is refused."""
    old = three() if several else envelope([dossier(visit(MA_LK="LK-1", **costs(drugs=0)))])
    new = envelope([dossier(visit(MA_LK="LK-1", LY_DO_VV="mới"))])
    fresh: list[dict[str, Any]] = []

    async def sleep() -> None:
        monkeypatch.setattr(dossiers, "_TURNS", Turns())  # those of another process
        assert await resume_pending(later(world)) == 1
        fresh.append(await submit_envelope(world.context(FACILITY), new))

    monkeypatch.setattr(intake, "_AT_ONCE", 1)  # what sleeps here is the whole process
    ctx = replace(world.context(FACILITY), store=Watched(world.store, sleep, first=1))
    answered = await receive(ctx, Submission(old, "xml"))

    version = await world.store.read("Encounter", answered.dossiers[0].encounter.partition("/")[2])
    assert version is not None
    assert codec.loads(version.body)["reasonCode"][0]["text"] == "mới"
    assert version.version_id == 2
    assert fresh[0]["dossiers"][0]["status"] == "updated"
    # The sleeper answers what the other has found.
    assert answered.dossiers[0].status == "created"
    assert await pending(world) == []
    assert len(await receipts(world)) == 2


async def test_a_commit_whose_end_was_not_known_is_answered_with_its_receipt(world: World) -> None:
    """The database says that it does not know; the receipt is there, so it was stored."""

    class Unknowing(Dying):
        async def commit(self, batch: Batch) -> None:
            await self._store.commit(batch)
            if any(put.bucket == keep.SUBMISSION for put in batch.puts):
                raise Unavailable("It is not known whether this was stored.")

    ctx = replace(world.context(FACILITY), store=Unknowing(world.store, 0, after=False))
    receipt = await submit_envelope(ctx, envelope([dossier(visit(MA_LK="LK-1"))]))

    assert [part["status"] for part in receipt["dossiers"]] == ["created"]
    assert await receipts(world) == [receipt]
    assert len(await world.store.audit()) == 1


async def test_one_that_fails_is_tried_again_after_longer_each_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours does not make every server try it again all the time."""
    with pytest.raises(Died):
        await submit_envelope(dying(world, 2, after=False), envelope([dossier(visit())]))
    world.clock.move(seconds=leases.SKEW)

    def failing(_store: Store, _id: str) -> keep.Source | None:
        raise RuntimeError

    tried: list[int] = []
    with monkeypatch.context() as patched:
        patched.setattr(keep, "source_of", failing)
        for second in range(0, 20 * leases.SECONDS, 5):
            world.clock.move(seconds=5)
            if await resume_pending(world.context()):
                tried.append(second)

    waited = [after - before for before, after in pairwise(tried)]
    assert waited == [30, 60, 120, 240]
