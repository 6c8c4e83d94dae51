"""What is left when the process dies in between, and how it is finished at the next start."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from adapters.submissions import intake, keep
from adapters.submissions.intake import Submission, receive, resume_pending, submit_envelope
from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.model.outcome import Unavailable
from fhir_server.store.port import Batch, RecordChanged, Store
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

    await resume_pending(world.context())
    again = await resume_pending(world.context())

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
    (submission_id,) = await keep.pending(world.store)
    source = await keep.source_of(world.store, submission_id)

    resumed = await resume_pending(world.context())

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

    await resume_pending(world.context())

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

    await resume_pending(world.context())

    (name,) = {part["encounter"] for part in fresh["dossiers"]}
    version = await world.store.read("Encounter", name.partition("/")[2])
    assert version is not None
    assert codec.loads(version.body)["reasonCode"][0]["text"] == "mới"
    late = [r["dossiers"][0] for r in await receipts(world) if r["id"] != fresh["id"]]
    assert [part["status"] for part in late] == ["unchanged"]
    assert [issue["rule"] for issue in late[0]["issues"]] == ["G01-SUPERSEDED"]


async def test_a_store_that_always_races_is_503_and_stays_to_be_finished(world: World) -> None:
    """What cannot be stored now is not refused: it is 503, and finished at the next start."""

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

    await keep.keep(world.store, "s1", source, body)

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
    first = min(await keep.pending(world.store))
    source_of = keep.source_of

    async def failing(store: Store, submission_id: str) -> keep.Source | None:
        if submission_id == first:
            raise RuntimeError
        return await source_of(store, submission_id)

    with monkeypatch.context() as patched:
        patched.setattr(keep, "source_of", failing)
        await resume_pending(world.context())

    assert await keep.pending(world.store) == [first]
    assert len(await receipts(world)) == 1
