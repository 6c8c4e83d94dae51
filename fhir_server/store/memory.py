"""The reference implementation of the store port: dicts, and nothing kept when it is closed.

Every method says by its plainest code what the others' must give; `tests/contracts` compares.
"""

from __future__ import annotations

import secrets
import time
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final

import msgspec

from fhir_server.search import order, paging
from fhir_server.search.expression import EVERYTHING, MOST_COUNTED, Expression, Search
from fhir_server.search.match import Current, matches
from fhir_server.search.values import IndexValues, ReferenceValue
from fhir_server.store.cursor import Cursors
from fhir_server.store.explained import Explained, told
from fhir_server.store.feed import Tokens, Wakes
from fhir_server.store.memory_ledger import MemoryLedger, Record
from fhir_server.store.port import (
    INDEXED_BY,
    BadCursor,
    Batch,
    Change,
    ConditionChanged,
    IndexedOtherwise,
    KeyHeld,
    Matches,
    Name,
    Page,
    Referenced,
    Some,
    Tag,
    Unchanged,
    Unreferenced,
    Version,
    VersionConflict,
    Write,
    generation_of,
)
from fhir_server.store.work import current

LOOKED_AT: Final = 1_000_000
"""Resources that are as much work as a whole search of the other stores."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """A version as kept: `rid` grows with every version made."""

    rid: int
    version: Version
    index: IndexValues

    @property
    def name(self) -> Name:
        return (self.version.resource_type, self.version.resource_id)


@dataclass(slots=True)
class _Staged:
    """What a batch would make, before any of it is made."""

    versions: dict[Name, list[_Kept]] = field(default_factory=dict)
    records: dict[tuple[str, str], Record | None] = field(default_factory=dict)


class MemoryStore(MemoryLedger):
    """A Store in dicts: what unit tests use, and the measure of the others."""

    def __init__(self) -> None:
        super().__init__()
        self._versions: dict[str, dict[str, list[_Kept]]] = {}
        self._log: list[_Kept] = []
        self._tags: dict[Name, frozenset[str]] = {}
        self._holders: dict[str, Name] = {}
        self._referring: dict[Name, set[Name]] = {}
        self._rid = 0
        self._commits = 0
        self._secret = secrets.token_bytes(32)
        self._tokens = Tokens(self._secret)
        self._cursors = Cursors(self._secret)
        self._wakes = Wakes()
        self._closed = False

    # --- commit --------------------------------------------------------------------------

    async def commit(self, batch: Batch) -> None:
        """Make all of it, or raise a CommitRefused and make nothing of it."""
        if batch.is_indexed:
            self._check_indexed(batch.indexed)
        for condition in batch.conditions:
            self._check_before(condition)
        staged = _Staged()
        for put in batch.puts:
            staged.records[put.bucket, put.key] = self._put(put, staged.records)
        for write in batch.writes:
            self._stage_write(staged, write)
        for tag in batch.tags:
            if self._latest((tag.resource_type, tag.resource_id), staged) is None:
                raise VersionConflict((tag.resource_type, tag.resource_id), 0)
        self._check_unique(staged)
        for condition in batch.conditions:
            if isinstance(condition, Unreferenced):
                self._check_unreferenced(condition, staged)
        self._apply(batch, staged)
        self._commits += bool(batch.writes or batch.tags or batch.puts)
        self._wakes.wake()

    def _check_indexed(self, generation: int) -> None:
        bucket, key = INDEXED_BY
        record = self._ledger.get(bucket, {}).get(key)
        if generation != generation_of(record.value if record else None):
            raise IndexedOtherwise

    def _check_before(self, condition: Matches | Unchanged | Unreferenced) -> None:
        match condition:
            case Matches(resource_type, where, ids):
                found = {one.name[1] for one in self._current(resource_type, where)}
                if found != ids:
                    raise ConditionChanged
            case Unchanged(resource_type, resource_id, version_id):
                kept = self._latest((resource_type, resource_id))
                if (kept.version.version_id if kept else 0) != version_id:
                    raise ConditionChanged
            case _:
                return

    def _stage_write(self, staged: _Staged, write: Write) -> None:
        name = (write.resource_type, write.resource_id)
        before = self._latest(name, staged)
        current = before.version.version_id if before else 0
        if write.version_id != current + 1:
            raise VersionConflict(name, current)
        version = Version(
            resource_type=write.resource_type,
            resource_id=write.resource_id,
            version_id=write.version_id,
            last_updated=write.last_updated,
            body=write.body,
            deleted=write.deleted,
            method=write.method,
            patients=write.index.patients,
        )
        rid = self._rid + 1 + sum(map(len, staged.versions.values()))
        staged.versions.setdefault(name, []).append(_Kept(rid, version, write.index))

    def _check_unique(self, staged: _Staged) -> None:
        """Refuse a key that another holds once all of the batch is made."""
        taken: dict[str, Name] = {}
        for name, made in staged.versions.items():
            for key in made[-1].index.unique:
                holder = taken.setdefault(key, name)
                kept = self._holders.get(key)
                if holder == name and kept is not None and kept not in staged.versions:
                    holder = kept
                if holder != name:
                    raise KeyHeld(key, holder)

    def _check_unreferenced(self, condition: Unreferenced, staged: _Staged) -> None:
        name = (condition.resource_type, condition.resource_id)
        allowed = {*condition.but_for, name}
        kept = {by for by in self._referring.get(name, ()) if by not in staged.versions}
        made = {by for by, new in staged.versions.items() if name in _references(new[-1].index)}
        for by in sorted((kept | made) - allowed):
            raise Referenced(name, by)

    def _apply(self, batch: Batch, staged: _Staged) -> None:
        for name, made in staged.versions.items():
            before = self._latest(name)
            if before:
                self._forget(name, before.index)
            self._versions.setdefault(name[0], {}).setdefault(name[1], []).extend(made)
        for name, made in staged.versions.items():
            self._learn(name, made[-1].index)
        new = sorted((kept for made in staged.versions.values() for kept in made), key=_rid)
        self._log.extend(new)
        self._rid += len(new)
        every: tuple[Write | Tag, ...] = (*batch.writes, *batch.tags)
        for tagged in every:
            name = (tagged.resource_type, tagged.resource_id)
            self._tags[name] = self._tags.get(name, frozenset()) | tagged.tags
        for tag in batch.tags:
            self._tags[tag.resource_type, tag.resource_id] -= tag.without
        self._keep(staged.records, batch.audit)

    def _forget(self, name: Name, index: IndexValues) -> None:
        for key in index.unique:
            self._holders.pop(key, None)
        for target in _references(index):
            self._referring[target].discard(name)

    def _learn(self, name: Name, index: IndexValues) -> None:
        for key in index.unique:
            self._holders[key] = name
        for target in _references(index):
            self._referring.setdefault(target, set()).add(name)

    # --- one resource --------------------------------------------------------------------

    def _latest(self, name: Name, staged: _Staged | None = None) -> _Kept | None:
        if staged and name in staged.versions:
            return staged.versions[name][-1]
        kept = self._versions.get(name[0], {}).get(name[1])
        return kept[-1] if kept else None

    async def read(self, resource_type: str, resource_id: str) -> Version | None:
        """Return the current version (a deletion too), or None where none ever was."""
        kept = self._latest((resource_type, resource_id))
        return kept.version if kept else None

    async def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""
        found = map(self._latest, names)
        return [kept.version if kept else None for kept in found]

    async def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""
        kept = self._versions.get(resource_type, {}).get(resource_id, [])
        return kept[version_id - 1].version if 0 < version_id <= len(kept) else None

    async def visible(self, name: Name, where: Expression) -> bool:
        """Return whether the current (not deleted) version of this resource matches."""
        current = self._current_of(name)
        return current is not None and self._matches(where, current)

    async def tags(self, name: Name) -> frozenset[str]:
        """Return the access tags of a resource."""
        return self._tags.get(name, frozenset())

    async def holder(self, key: str) -> Name | None:
        """Return who holds a unique key `system|value`."""
        return self._holders.get(key)

    async def referrers(self, name: Name, *, limit: int = 1000) -> list[Name]:
        """Return current resources, at most so many, that refer to this one."""
        return sorted(self._referring.get(name, set()) - {name})[:limit]

    # --- history -------------------------------------------------------------------------

    async def history(
        self,
        resource_type: str | None,
        resource_id: str | None,
        *,
        since: int | None = None,
        at: tuple[int, int] | None = None,
        count: int = 20,
        cursor: str | None = None,
        among: Sequence[Some] = (),
    ) -> Page:
        """Return versions newest first: of one resource, of a type, or of all."""
        about = paging.history_shape((resource_type, resource_id), among)
        begin = paging.Begin(self._rid)
        if cursor is not None:
            begin = self._begin(cursor, about, 0)
        some = frozenset(among)
        place = begin.place or paging.Place(begin.snapshot + 1)
        if resource_id is not None and resource_type is not None:
            log = self._versions.get(resource_type, {}).get(resource_id, [])
        else:
            log = self._log
        found = [
            kept
            for kept in (log if place.backwards else reversed(log))
            if kept.rid <= begin.snapshot
            and (kept.rid > place.number if place.backwards else kept.rid < place.number)
            and (resource_type is None or kept.version.resource_type == resource_type)
            and (not some or not some.isdisjoint({kept.name, (kept.name[0], None)}))
            and (since is None or kept.version.last_updated >= since)
            and (at is None or self._was_current(kept, at))
        ]
        page = found[:count]
        more = page and len(found) > count
        last = paging.Place(page[-1].rid, (), place.backwards) if more else None
        around = paging.around(begin, last, lambda items: self._seal(items, about))
        return Page.of([kept.version for kept in page], around)

    def _was_current(self, kept: _Kept, at: tuple[int, int]) -> bool:
        low, high = at
        all_ = self._versions[kept.version.resource_type][kept.version.resource_id]
        later = all_[kept.version.version_id :]
        ended = later[0].version.last_updated if later else None
        return kept.version.last_updated <= high and (ended is None or ended > low)

    # --- search --------------------------------------------------------------------------

    def _current_of(self, name: Name) -> Current | None:
        kept = self._latest(name)
        return None if kept is None or kept.version.deleted else self._seen(kept)

    def _seen(self, kept: _Kept) -> Current:
        tags = self._tags.get(kept.name, frozenset())
        return Current(kept.name, kept.version.last_updated, kept.index, tags)

    def _resolve(self, source_type: str, param: str, name: Name) -> Iterator[Current]:
        names: Iterable[Name] = self._referring.get(name, ()) if source_type else (name,)
        for found in map(self._current_of, names):
            if found and (not source_type or _refers(found, source_type, param, name)):
                yield found

    def _matches(self, where: Expression, one: Current) -> bool:
        return matches(where, one.name, one.last_updated, one.index, one.tags, self._resolve)

    def _current(self, resource_type: str, where: Expression) -> Iterator[Current]:
        for resource_id in self._versions.get(resource_type, {}):
            current = self._current_of((resource_type, resource_id))
            if current and self._matches(where, current):
                yield current

    def _at(self, search: Search, snapshot: int) -> Iterator[tuple[_Kept, _Kept]]:
        """Return what was there at a snapshot and matches now: as it was then, and as it is now."""
        for resource_type, where in search.by_type:
            for versions in self._versions.get(resource_type, {}).values():
                before = bisect_right(versions, snapshot, key=_rid)
                if not before or versions[-1].version.deleted:
                    continue
                then = versions[before - 1]
                if not then.version.deleted and self._matches(where, self._seen(versions[-1])):
                    yield then, versions[-1]

    async def search(self, search: Search) -> Page:
        """Return one page of matches.

        Raises:
            BadCursor: The cursor is not one of this store's.
        """
        await self._look(*(kind for kind, _ in search.by_type))
        started = time.perf_counter()
        about = paging.shape(search)
        begin, after, backwards = paging.Begin(self._rid), None, False
        if search.cursor is not None:
            begin = self._begin(search.cursor, about, len(search.sort))
        if begin.place is not None:
            backwards = begin.place.backwards
            ends = order.loaded(search.sort, list(begin.place.values))
            after = order.position(search.sort, ends, begin.place.number, backwards=backwards)
        found = []
        for then, now in self._at(search, begin.snapshot):
            # What is changed meanwhile keeps the place that it had on the first page's time.
            values = order.sort_values(search.sort, self._seen(then))
            position = order.position(search.sort, values, then.rid, backwards=backwards)
            dumped = tuple(order.dumped(search.sort, values))
            found.append((position, now.version, paging.Place(then.rid, dumped, backwards)))
        found.sort(key=lambda item: item[0])
        total = self._total(search)
        rest = [item for item in found if after is None or item[0] > after]
        page = rest[: search.count]
        explained = self._explained(search, started) if search.explain else ()
        if search.count <= 0:
            return Page((), None, total, explained=explained)
        last = page[-1][2] if len(rest) > search.count else None
        around = paging.around(
            begin, last, lambda items: self._seal(items, about), defines=search.defines
        )
        return Page.of([version for _, version, _ in page], around, total, explained)

    def _explained(self, search: Search, started: float) -> tuple[Explained, ...]:
        took = (time.perf_counter() - started) * 1000 / max(len(search.by_type), 1)
        return tuple(
            Explained(
                resource_type=kind,
                driver=None,
                rows=None,
                candidates=(),
                judged=(told(where),),
                ways=("all of the type looked at",),
                work=len(self._versions.get(kind, {})),
                budget=len(self._log),
                unit="resources",
                milliseconds=took,
            )
            for kind, where in search.by_type
        )

    def _total(self, search: Search) -> int | None:
        if search.total == "none":
            return None
        counts = [(where, sum(1 for _ in self._current(k, where))) for k, where in search.by_type]
        counted = sum(number for where, number in counts if where != EVERYTHING)
        if search.total == "estimate" and counted > MOST_COUNTED:
            return None
        return sum(number for _, number in counts)

    async def count(self, resource_type: str, where: Expression = EVERYTHING) -> int:
        """Return how many current resources of a type match."""
        await self._look(resource_type)
        return sum(1 for _ in self._current(resource_type, where))

    async def _look(self, *kinds: str) -> None:
        """Charge that all resources of some types are looked at."""
        work = current()
        if work is not None:
            await work.breathe()
            work.charge(sum(len(self._versions.get(kind, ())) for kind in kinds) / LOOKED_AT)
            work.check()

    def _seal(self, items: list[str | int | None], about: bytes) -> str:
        return paging.encode(items, key=self._secret, about=about)

    def _begin(self, cursor: str, about: bytes, keys: int) -> paging.Begin:
        try:
            return paging.Begin.of(paging.decode(cursor, key=self._secret, about=about), keys)
        except paging.ForgedCursor:
            raise BadCursor from None

    # --- changes -------------------------------------------------------------------------

    async def changes(self, after: str | None = None) -> AsyncIterator[Change]:
        """Return every version made, in the order of the commits, as it is made.

        Raises:
            BadCursor: The token is not one of this store's.
        """
        number = self._tokens.number(after, self._rid)
        while not self._closed:
            seen = self._wakes.count
            for kept in self._log[number:]:  # the first is number 1
                number = kept.rid
                yield self._tokens.change(number, kept.version)
            await self._wakes.wait(seen)

    async def last_change(self) -> str:
        """Return the token of the last version made."""
        return self._tokens.token(self._rid)

    # --- the whole store -----------------------------------------------------------------

    async def walk(
        self, resource_type: str | None = None, *, after: int = 0, limit: int = 200
    ) -> list[tuple[int, Version]]:
        """Return current resources by the order in which they were first made, after a number."""
        found = [
            (versions[0].rid, versions[-1].version)
            for kind, by_id in self._versions.items()
            for versions in by_id.values()
            if resource_type in {None, kind}
            and versions[0].rid > after
            and not versions[-1].version.deleted
        ]
        return sorted(found, key=itemgetter(0))[:limit]

    async def reindex(
        self, items: Sequence[tuple[Name, int, IndexValues]], *, indexed: int = 0
    ) -> int:
        """Index resources anew, but for those that are at another version by now.

        Raises:
            IndexedOtherwise: Resources are indexed by other search parameters by now.
        """
        self._check_indexed(indexed)
        done = 0
        for name, version_id, index in items:
            kept = self._latest(name)
            if kept is None or kept.version.version_id != version_id or kept.version.deleted:
                continue
            self._forget(name, kept.index)
            self._learn(name, index)
            version = msgspec.structs.replace(kept.version, patients=index.patients)
            new = _Kept(kept.rid, version, index)
            self._versions[name[0]][name[1]][-1] = new
            self._log[kept.rid - 1] = new
            done += 1
        self._commits += 1
        return done

    async def begin_reindex(self) -> str:
        """Return by what form of indexes resources are indexed: there is one."""
        return ""

    async def end_reindex(self, resource_type: str) -> None:
        """Do nothing: no search waits for it."""

    # --- life ----------------------------------------------------------------------------

    def seal(self, about: bytes, position: list[Any]) -> str:
        """Return a cursor of a place that is not in one search of this store alone."""
        return self._cursors.seal(about, position)

    def unseal(self, about: bytes, cursor: str) -> list[Any]:
        """Return the place that a cursor says."""
        return self._cursors.open(about, cursor)

    async def edition(self) -> object:
        """Return a value that is another one after every commit but of audit entries alone."""
        return self._commits

    async def ready(self) -> bool:
        """Return whether the store can take a commit now."""
        return not self._closed

    async def close(self) -> None:
        """Finish; nothing is kept."""
        self._closed = True
        self._wakes.wake()


def _rid(kept: _Kept) -> int:
    return kept.rid


def _references(index: IndexValues) -> set[Name]:
    return {
        (value.resource_type, value.resource_id)
        for value in index.values
        if isinstance(value, ReferenceValue) and value.resource_type
    }


def _refers(by: Current, source_type: str, param: str, name: Name) -> bool:
    return by.name[0] == source_type and any(
        isinstance(value, ReferenceValue)
        and value.param == param
        and (value.resource_type, value.resource_id) == name
        for value in by.index.values
    )
