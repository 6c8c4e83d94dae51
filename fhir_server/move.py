"""`fhir-server move`: one store into another, whichever engines they are (`store/bulk.py`).

1. Versions are copied by their numbers, audit entries by theirs: both only grow, so a run goes on
   where the last one ended, by a mark in the target.
2. What was copied is read again from both and compared.
3. In one moment of the source: what came meanwhile; the ledger, and what resources are now (access
   tags change without a version), which are compared whole and made equal.
4. Everything is counted, and what was made equal is compared once more.

With `live` the source may be served all along, and the mark stays: a run without it, then, has
little left to do. It takes the mark away and leaves a stamp of what the target holds, by which a
later run knows whether anybody has written to it since: then nothing is changed any more, only
compared.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from fhir_server.ahead import MANY, Ahead
from fhir_server.interactions.own_parameters import (
    JOB,
    KNOWN,
    Definitions,
    job_of_all,
    read_definitions,
)
from fhir_server.search.parameters import R4
from fhir_server.store.bulk import BUCKET, MARK, Ends, Kept, Record, Size, Source, Target
from fhir_server.store.mark import Mark, NotMoved, name_of
from fhir_server.store.pages import (
    AUDIT,
    KEYS,
    LEDGER,
    RESOURCES,
    VERSIONS,
    Kind,
    Lasting,
    Pages,
    Pair,
    difference,
    differing,
    paged,
    stamp,
)

T = TypeVar("T")

Said = Callable[[str, int, int], None]
"""Is told what is being done, how much of it is done, and of how much (0: that is not known)."""

_SHOWN: Final = 20
"""Differences that are told one by one."""
_ABOUT_TO_END: Final = 120_000_000
"""Microseconds before its end from which a ledger record may be gone: clocks differ."""
_MENDED: Final = 40_000
"""Bytes for which a resource is counted that is brought once more: its body is not known yet."""
_SAID_EVERY: Final = 5_000
_ALL: Final = (VERSIONS, AUDIT, LEDGER, RESOURCES, KEYS)


@dataclass(slots=True)
class Outcome:
    """What a run found.

    Attributes:
        equal: How many of a kind were compared and are equal.
        differences: The first of those found, a line each; without anything personal.
        different: How many there are.
        copied: Versions that this run brought.
        finished: Whether the move is at its end: the target may be served.
    """

    equal: dict[str, int] = field(default_factory=dict)
    differences: list[str] = field(default_factory=list)
    different: int = 0
    copied: int = 0
    finished: bool = False

    def add(self, text: str) -> None:
        """Add a difference."""
        self.different += 1
        if len(self.differences) < _SHOWN:
            self.differences.append(text)


async def move(
    source: Source,
    target: Target,
    *,
    base_url: str,
    live: bool,
    said: Said = lambda _what, _done, _total: None,
    size: Size = Size(),  # noqa: B008 - frozen
    now: Callable[[], int] = lambda: time.time_ns() // 1_000,
) -> Outcome:
    """Move a store, or as much of it as is left to be moved, and compare the two.

    Args:
        source: A store; nobody serves it, or it is opened as one that may be served.
        target: An empty store, or one that an earlier run has begun or made.
        base_url: The FHIR base that the source is served under: by it the target is indexed.
        live: Whether the source may be served meanwhile.
        said: Is told of the progress.
        size: Of the pages.
        now: Microseconds since 1970.

    Raises:
        NotMoved: The target holds something else, or more.
        Unavailable: One of them cannot be read or written.
    """
    run = _Move(source, target, base_url, said, size, now)
    if await run.begin():
        await run.catch_up()
        await run.compare_copied()
        await run.catch_up()
        async with source.moment():
            await run.copy(await source.ends())
            await run.compare_copied()
            await target.settle()
            await run.make_equal()
            await run.compare_counts()
        if not live and not run.outcome.different:
            await run.finish()
    else:
        await run.compare_all()
        run.outcome.finished = not run.outcome.different
    return run.outcome


class _Move:
    """One run."""

    def __init__(
        self,
        source: Source,
        target: Target,
        base_url: str,
        said: Said,
        size: Size,
        now: Callable[[], int],
    ) -> None:
        self._source = source
        self._target = target
        self._base_url = base_url
        self._said = said
        self._size = size
        self._now = now
        self._mark = Mark("")
        self._known = R4
        self._is_first = True
        self._lasting: dict[str, bytes] = {}
        self.outcome = Outcome()

    # --- where it begins -----------------------------------------------------------------

    async def begin(self) -> bool:
        """Return whether the target is to be written; False: it is only compared.

        Raises:
            NotMoved: It is neither empty nor the target of this very move.
        """
        if await self._source.record(BUCKET, MARK) is not None:
            raise NotMoved("the source is itself the target of a move that is not finished")
        key = await self._source.cursor_key()
        name = await name_of(self._source)
        there, ends = await self._target.mark(), await self._target.ends()
        if there is not None:
            self._mark = msgspec.json.decode(there, type=Mark)
            self._mark.check(name, ends)
        elif await self._target.cursor_key() == key:
            if await self._target.stamp() != await self._stamp_of_target():
                return False
            indexed = (await _definitions(self._target)).generation
            self._mark = Mark(name, ends.number, ends.seq, ends.number, ends.seq, indexed)
            await self._target.keep(self._mark.encoded)
        elif ends == Ends() and not await self._target.records(LEDGER.first, Size(items=1)):
            self._mark = Mark(name, indexed=(await _definitions(self._source)).generation)
            await self._target.begin(key, self._mark.encoded)
        else:
            raise NotMoved("the target is not empty, and not the beginning of this move")
        theirs = await self._source.ends()
        if self._mark.number > theirs.number or self._mark.seq > theirs.seq:
            raise NotMoved("the target holds more than the source")
        return True

    # --- what only grows -----------------------------------------------------------------

    async def catch_up(self) -> None:
        """Copy what the target does not have, until so little comes meanwhile that a page holds it.

        It ends, too, where the source is written faster than it is copied.
        """
        before: int | None = None
        while True:
            ends = await self._source.ends()
            ahead = ends.number - self._mark.number + ends.seq - self._mark.seq
            if ahead <= self._size.items or (before is not None and ahead > before // 2):
                return
            await self.copy(ends)
            before = ahead

    async def copy(self, ends: Ends) -> None:
        """Copy the versions and audit entries up to some that the target does not have."""
        self._known = (await _definitions(self._source)).known
        if self._known.generation != self._mark.indexed:
            self._mark = msgspec.structs.replace(self._mark, indexed=-1)
        await self._copy_versions(ends.number)
        await self._copy_entries(ends.seq)

    async def _copy_versions(self, end: int) -> None:
        pages = Pages(VERSIONS, self._source, self._size, after=self._mark.number, until=end)
        many = self._target.is_laborious and end - self._mark.number >= MANY
        ahead = Ahead(self._target.make_ready, self._base_url, self._known, apart=many)
        writing: asyncio.Task[None] | None = None
        try:
            async with aclosing(ahead.of(pages)) as coming:
                async for page, ready in coming:
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(
                        self._put_versions(page, ready, again=self._is_first)
                    )
                    self._is_first = False
                    self._said("copy versions", page[-1].number, end)
        finally:
            await pages.close()
            await asyncio.to_thread(ahead.close)
            if writing is not None:
                await writing

    async def _put_versions(self, page: list[Kept], ready: Any, *, again: bool) -> None:
        mark = msgspec.structs.replace(self._mark, number=page[-1].number)
        await self._target.put_versions(page, ready, mark.encoded, again=again)
        self.outcome.copied += len(page)
        self._mark = mark

    async def _copy_entries(self, end: int) -> None:
        pages = Pages(AUDIT, self._source, self._size, after=self._mark.seq, until=end)
        try:
            while page := await pages.next():
                mark = msgspec.structs.replace(self._mark, seq=page[-1].seq)
                await self._target.put_entries(page, mark.encoded)
                self._mark = mark
                self._said("copy audit", mark.seq, end)
        finally:
            await pages.close()

    async def compare_copied(self) -> None:
        """Compare the versions and audit entries that were not compared yet."""
        if self.outcome.different:
            return
        await self._target.index()
        await self._compare(VERSIONS, after=self._mark.compared, until=self._mark.number)
        await self._compare(AUDIT, after=self._mark.heard, until=self._mark.seq)
        mark = msgspec.structs.replace(self._mark, compared=self._mark.number, heard=self._mark.seq)
        if not self.outcome.different and mark != self._mark:
            await self._target.keep(mark.encoded)
            self._mark = mark

    # --- what changes --------------------------------------------------------------------

    async def make_equal(self) -> None:
        """Make the ledger and the state of the resources equal, and compare them."""
        # What differs is brought in a first pass; a second one sees whether it is equal now.
        if await self._mend_records():
            await self._compare(LEDGER)
        if await self._mend_resources():
            await self._compare(RESOURCES)
        await self._compare(KEYS)

    async def _mend_records(self) -> int:
        """Bring ledger records that differ, delete those that are too many; return how many."""
        mended = 0
        async with aclosing(self._differing(LEDGER)) as pairs:
            async for page in paged(pairs, self._size, lambda one: len(one.value)):
                ours = (pair.ours for pair in page)
                put = [one for one in ours if one is not None and not self._ends(one)]
                gone = [one.theirs.at for one in page if one.theirs and not one.ours]
                await self._target.put_records(put, gone)
                mended += len(page)
        return mended

    async def _mend_resources(self) -> int:
        """Bring the current versions of resources that differ once more; return how many."""
        mended = 0
        async with aclosing(self._differing(RESOURCES)) as pairs:
            async for page in paged(pairs, self._size, lambda _: _MENDED):
                kept = await self._source.current([one.ours.name for one in page if one.ours])
                make = self._target.make_ready
                ready = await asyncio.to_thread(make, kept, self._base_url, self._known)
                await self._target.put_versions(kept, ready, self._mark.encoded, again=True)
                mended += len(page)
        return mended

    def _ends(self, record: Record, within: int = 0) -> bool:
        return record.expires is not None and record.expires <= self._now() + within

    # --- comparing -----------------------------------------------------------------------

    async def compare_all(self) -> None:
        """Compare everything."""
        for kind in _ALL:
            await self._compare(kind)
        await self.compare_counts()

    async def compare_counts(self) -> None:
        """Compare what can be counted."""
        ours, theirs = await self._source.counts(), await self._target.counts()
        for name in sorted({*ours, *theirs}):
            there, here = ours.get(name, 0), theirs.get(name, 0)
            if there != here:
                self.outcome.add(
                    f"count of {name}: {there:,} in the source, {here:,} in the target"
                )

    async def _compare(self, kind: Kind[Any], *, after: Any = None, until: Any = None) -> None:
        async with aclosing(self._differing(kind, after=after, until=until)) as pairs:
            async for pair in pairs:
                alone = pair.theirs if pair.ours is None else pair.ours
                is_alone = pair.ours is None or pair.theirs is None
                if is_alone and isinstance(alone, Record) and self._ends(alone, _ABOUT_TO_END):
                    continue
                self.outcome.add(difference(kind, pair))

    async def _differing(
        self, kind: Kind[T], *, after: Any = None, until: Any = None
    ) -> AsyncGenerator[Pair[T], None]:
        """Give what differs; what is equal is counted, and hashed for the stamp."""
        lasting = Lasting()
        before = 0 if after is None else self.outcome.equal.get(kind.name, 0)
        equal = 0

        def seen(one: T) -> None:
            nonlocal equal
            equal += 1
            lasting.add(one)
            if not equal % _SAID_EVERY:
                self._said(f"compare {kind.name}", equal, 0)

        self._said(f"compare {kind.name}", 0, 0)
        ours = Pages(kind, self._source, self._size, after=after, until=until)
        # What a killed run has left behind its mark is not compared before it is written again.
        theirs = Pages(kind, self._target, self._size, after=after, until=until)
        async with aclosing(differing(kind, ours, theirs, seen)) as pairs:
            async for pair in pairs:
                yield pair
        self._lasting[kind.name] = lasting.digest
        self.outcome.equal[kind.name] = before + equal

    # --- the end -------------------------------------------------------------------------

    async def finish(self) -> None:
        """Take the mark away, and leave a stamp of what the target holds."""
        ends = await self._target.ends()
        if self._mark.indexed < 0:
            # A part was indexed before the source had what it has now: all of it is again.
            again = job_of_all(await _definitions(self._source))
            await self._target.put_records([Record(*JOB, msgspec.json.encode(again))], [])
        await self._target.finish(_stamp(ends, self._lasting))
        self.outcome.finished = True

    async def _stamp_of_target(self) -> bytes:
        lasting: dict[str, bytes] = {}
        for kind in (LEDGER, RESOURCES):
            hashed = Lasting()
            pages = Pages[Any](kind, self._target, self._size)
            while page := await pages.next():
                for one in page:
                    hashed.add(one)
            lasting[kind.name] = hashed.digest
        return _stamp(await self._target.ends(), lasting)


async def _definitions(store: Source) -> Definitions:
    """Return which search parameters a store has of its own."""
    return read_definitions(await store.record(*KNOWN))


def _stamp(ends: Ends, lasting: dict[str, bytes]) -> bytes:
    return stamp(ends, lasting[RESOURCES.name], lasting[LEDGER.name])
