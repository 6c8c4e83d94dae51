"""Two stores read side by side in the order of their keys, and what differs between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Generic, TypeVar

import msgspec

from fhir_server.store.bulk import Ends, Held, Kept, Record, Size, Source, State
from fhir_server.store.port import AuditEntry

T = TypeVar("T")

_encode: Final = msgspec.msgpack.Encoder().encode

Fetch = Callable[[Any, Size], Awaitable[list[T]]]
"""Gives a page of what comes after a key; an empty one is the end."""


@dataclass(frozen=True)
class Kind(Generic[T]):
    """One of the things that a store keeps.

    Attributes:
        fetch: Gives what reads it from a store.
        key: It is read in the order of this.
        first: What comes before every key.
        shown: What is told of one: nothing personal.
        is_same: Whether two of one key are equal.
    """

    name: str
    fetch: Callable[[Source], Fetch[T]]
    key: Callable[[T], Any]
    first: Any
    shown: Callable[[T], str]
    is_same: Callable[[T, T], bool] = lambda ours, theirs: ours == theirs


def _is_same_version(ours: Kept, theirs: Kept) -> bool:
    """Whether two versions are equal in what never changes, and were replaced at one time."""
    same_time = ours.replaced == theirs.replaced or None in {ours.replaced, theirs.replaced}
    return same_time and ours.version == theirs.version


def _shown_version(one: Kept) -> str:
    version = one.version
    return f"{version.resource_type}/{version.resource_id}/_history/{version.version_id}"


VERSIONS: Final[Kind[Kept]] = Kind(
    "versions",
    lambda store: store.versions,
    lambda one: one.number,
    0,
    _shown_version,
    _is_same_version,
)
AUDIT: Final[Kind[AuditEntry]] = Kind(
    "audit",
    lambda store: store.entries,
    lambda one: one.seq,
    0,
    lambda one: f"AuditEvent {one.seq}",
)
LEDGER: Final[Kind[Record]] = Kind(
    "ledger",
    lambda store: store.records,
    lambda one: one.at,
    ("", ""),
    lambda one: f"a record of `{one.bucket}`",  # the key may be a person's number
)
RESOURCES: Final[Kind[State]] = Kind(
    "resources",
    lambda store: store.states,
    lambda one: one.number,
    0,
    lambda one: f"{one.name[0]}/{one.name[1]}",
)
KEYS: Final[Kind[Held]] = Kind(
    "unique keys",
    lambda store: store.keys,
    lambda one: one.key,
    "",
    lambda one: f"a key of {one.holder[0]}/{one.holder[1]}",
)


@dataclass(frozen=True)
class Pair(Generic[T]):
    """What differs: ours and theirs of one key; None where there is none."""

    ours: T | None
    theirs: T | None


class Pages(Generic[T]):
    """Pages of one kind of one store, in order; the next is on its way while one is worked on."""

    def __init__(
        self, kind: Kind[T], store: Source, size: Size, *, after: Any = None, until: Any = None
    ) -> None:
        self._kind = kind
        self._fetch = kind.fetch(store)
        self._size = size
        self._until = until
        self._next: asyncio.Task[list[T]] | None = None
        self._begin(kind.first if after is None else after)

    def _begin(self, after: Any) -> None:
        async def fetched() -> list[T]:
            return await self._fetch(after, self._size)

        self._next = asyncio.create_task(fetched())

    async def next(self) -> list[T]:
        """Return the next page; an empty one at the end, or behind `until`."""
        if self._next is None:
            return []
        page = await self._next
        self._next = None
        if page and self._until is not None and self._kind.key(page[-1]) > self._until:
            return [one for one in page if self._kind.key(one) <= self._until]
        if page:
            self._begin(self._kind.key(page[-1]))
        return page

    async def close(self) -> None:
        """Wait for what was on its way."""
        coming, self._next = self._next, None
        if coming is not None:
            await asyncio.wait((coming,))


async def differing(
    kind: Kind[T], ours: Pages[T], theirs: Pages[T], seen: Callable[[T], None]
) -> AsyncGenerator[Pair[T], None]:
    """Give what differs between two stores.

    Args:
        kind: What both are.
        ours: What is to be.
        theirs: What is.
        seen: Is told of each that is equal.
    """
    key, is_same = kind.key, kind.is_same
    a: list[T] = []
    b: list[T] = []
    i = j = 0
    try:
        while True:
            if i == len(a):
                a, i = await ours.next(), 0
            if j == len(b):
                b, j = await theirs.next(), 0
            if not a and not b:
                return
            if not b or (a and key(a[i]) < key(b[j])):
                yield Pair(a[i], None)
                i += 1
            elif not a or key(b[j]) < key(a[i]):
                yield Pair(None, b[j])
                j += 1
            else:
                if is_same(a[i], b[j]):
                    seen(a[i])
                else:
                    yield Pair(a[i], b[j])
                i, j = i + 1, j + 1
    finally:
        await ours.close()
        await theirs.close()


async def paged(
    pairs: AsyncGenerator[Pair[T], None], size: Size, weight: Callable[[T], int]
) -> AsyncGenerator[list[Pair[T]], None]:
    """Give what differs a page at a time; `weight` is what one of ours adds to its bytes."""
    page: list[Pair[T]] = []
    left = size.bytes
    async for pair in pairs:
        page.append(pair)
        left -= 0 if pair.ours is None else weight(pair.ours)
        if left <= 0 or len(page) >= size.items:
            yield page
            page, left = [], size.bytes
    if page:
        yield page


def difference(kind: Kind[T], pair: Pair[T]) -> str:
    """Return what differs, in words."""
    if pair.ours is not None:
        what = "is not in the target" if pair.theirs is None else "is not the same in the target"
        return f"{kind.name}: {kind.shown(pair.ours)} {what}"
    assert pair.theirs is not None  # noqa: S101 - a pair has one of the two
    return f"{kind.name}: {kind.shown(pair.theirs)} is in the target alone"


class Lasting:
    """A hash of what stays as it is where nobody writes: resources, and records without an end."""

    def __init__(self) -> None:
        self._hash = sha256()

    def add(self, one: object) -> None:
        """Add a ledger record or a resource."""
        if isinstance(one, State) or (isinstance(one, Record) and one.expires is None):
            self._hash.update(_encode(one))

    @property
    def digest(self) -> bytes:
        """The hash of all that was added."""
        return self._hash.digest()


def stamp(ends: Ends, resources: bytes, ledger: bytes) -> bytes:
    """Return what tells one state of a store from another: how far it is, and two such hashes."""
    return sha256(_encode((ends, resources, ledger))).digest()
