"""The port for whole stores: all that one keeps, read in order, and written elsewhere as it is.

`fhir_server.move` moves a store by it, whichever engines are at the two ends. Everything is read
in pages, each after a key: versions by their numbers, which grow with every version of the store
and stay what they are; audit entries by `seq`; ledger records by bucket and key.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, Final, Protocol

import msgspec

from fhir_server.search.parameters import R4, Known
from fhir_server.store.port import AuditEntry, Name, Version

BUCKET: Final = "move"
"""The ledger's bucket for the mark of a move that is not finished, in its target."""
MARK: Final = "mark"
UNFINISHED: Final = (
    "a move or a restore into this store is not finished: run it again (a move with --live as "
    "often as you like, and once without it when its source is stopped)."
)
"""What is said of a store that has the mark."""

LEFT_OUT: Final = frozenset({BUCKET, "lease", "reindex"})
"""Buckets that are not moved: how far a reindex has come is counted by an engine's own numbers, and
what is moved is indexed anew; who is at work on the source is not at work on the target."""

RecordKey = tuple[str, str]
"""A ledger record's bucket and key."""


class Size(msgspec.Struct, frozen=True):
    """How much a page holds at most; one item, whatever its size, is always in it."""

    items: int = 2_000
    bytes: int = 16_000_000


class Kept(msgspec.Struct, frozen=True):
    """A version as a store keeps it.

    Attributes:
        number: Of the version, among all of the store.
        replaced: `last_updated` of the next version; None: it is the current one.
        first: Of a current version, the number of the resource's first one; else 0.
        tags: Of a current version, the resource's access tags, in order; else none.
    """

    number: int
    version: Version
    replaced: int | None = None
    first: int = 0
    tags: tuple[str, ...] = ()

    @property
    def name(self) -> Name:
        """The resource's type and id."""
        return self.version.resource_type, self.version.resource_id

    @property
    def is_indexed(self) -> bool:
        """Whether searches find it: it is current and no deletion."""
        return self.replaced is None and not self.version.deleted


class State(msgspec.Struct, frozen=True):
    """What a resource is now, but for the body of its current version, whose number this has."""

    number: int
    name: Name
    version_id: int
    deleted: bool
    indexed: bool
    first: int
    tags: tuple[str, ...]
    patients: tuple[str, ...]


class Held(msgspec.Struct, frozen=True):
    """A unique key, and the resource that holds it."""

    key: str
    holder: Name


class Record(msgspec.Struct, frozen=True):
    """A ledger record; `expires` as of `port.Put`."""

    bucket: str
    key: str
    value: bytes
    expires: int | None = None

    @property
    def at(self) -> RecordKey:
        """Its bucket and key."""
        return self.bucket, self.key


class Ends(msgspec.Struct, frozen=True):
    """How far a store has come: its last version's number, its last audit entry and its digest."""

    number: int = 0
    seq: int = 0
    digest: bytes = bytes(32)


class MakeReady(Protocol):
    """Makes versions ready to be written; what it takes and gives can be pickled, as it can itself.

    It is given the FHIR base and the search parameters by which they are indexed.
    """

    def __call__(self, items: Sequence[Kept], base_url: str, known: Known = R4, /) -> Any:
        """Return what `put_versions` takes."""


class Source(Protocol):
    """A store that is read whole."""

    async def cursor_key(self) -> bytes:
        """Return the key that seals the store's cursors; no two stores have the same by chance."""

    async def ends(self) -> Ends:
        """Return how far it has come."""

    async def counts(self) -> dict[str, int]:
        """Return how many versions and audit entries there are, and current resources by type."""

    async def record(self, bucket: str, key: str) -> bytes | None:
        """Return a ledger record."""

    def moment(self) -> AbstractAsyncContextManager[None]:
        """Give a time in which all that is read is of one moment, whatever is written meanwhile."""

    async def versions(self, after: int, size: Size) -> list[Kept]:
        """Return versions after a number, in the numbers' order; all of a page are of one moment.

        Raises:
            Unavailable: It cannot be read.
        """

    async def current(self, names: Sequence[Name]) -> list[Kept]:
        """Return the current versions of some resources, in the order of their numbers."""

    async def entries(self, after: int, size: Size) -> list[AuditEntry]:
        """Return audit entries after a `seq`."""

    async def records(self, after: RecordKey, size: Size) -> list[Record]:
        """Return ledger records after a bucket and key, but for those that are left out."""

    async def states(self, after: int, size: Size) -> list[State]:
        """Return resources as they are, by the numbers of their current versions, after one."""

    async def keys(self, after: str, size: Size) -> list[Held]:
        """Return unique keys after one."""

    async def close(self) -> None:
        """Let go of it."""


class Target(Source, Protocol):
    """A store that is written whole; nobody else has it open.

    What is written is durable in the order in which it is, the mark with it: killed at any moment,
    a target holds at least what its mark says.
    """

    async def begin(self, cursor_key: bytes, mark: bytes) -> None:
        """Make an empty store the target of a move."""

    async def mark(self) -> bytes | None:
        """Return the mark of a move that is not finished."""

    async def keep(self, mark: bytes) -> None:
        """Write the mark."""

    is_laborious: ClassVar[bool]
    """Whether `make_ready` is so much work that processes of its own are worth what they cost."""

    @property
    def make_ready(self) -> MakeReady:
        """What makes versions ready to be written."""

    async def put_versions(
        self, items: Sequence[Kept], ready: Any, mark: bytes, *, again: bool = False
    ) -> None:
        """Write versions as they are, after those with lesser numbers.

        What was the current version of such a resource is no longer. The index of what is current
        now is made, its unique keys are taken, from whomever has them.

        Args:
            items: Versions.
            ready: What `make_ready` has made of them.
            mark: The mark that goes with them.
            again: Some of them may be there already.

        Raises:
            Unavailable: It cannot be written.
        """

    async def put_entries(self, entries: Sequence[AuditEntry], mark: bytes) -> None:
        """Write audit entries as they are, after those with lesser numbers."""

    async def put_records(self, records: Sequence[Record], gone: Sequence[RecordKey]) -> None:
        """Write ledger records, and delete others."""

    async def index(self) -> None:
        """Make the indexes that were left out while much was written; then it can be read."""

    async def settle(self) -> None:
        """Bring up what a store has once, such as its counters, to what it holds."""

    async def stamp(self) -> bytes | None:
        """Return what `finish` has left."""

    async def finish(self, stamp: bytes) -> None:
        """Take the mark away and leave a stamp, apart from all that is moved."""
