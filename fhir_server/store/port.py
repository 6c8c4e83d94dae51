"""The store port: what every engine gives, and nothing that a MongoDB replica set could not.

A commit is all or nothing and durable when it returns. Every precondition is checked in the
same step as the write is made. What was committed is seen by every read that begins later.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import msgspec

from fhir_server.search.expression import EVERYTHING, Expression, Search
from fhir_server.search.paging import Around
from fhir_server.search.values import IndexValues
from fhir_server.store.explained import Explained

Name = tuple[str, str]
"""A resource's type and id."""
Some = tuple[str, str | None]
"""A resource, or (without an id) a type."""


NOTHING_INDEXED: Final = IndexValues()
"""The index values of a deletion."""


class Version(msgspec.Struct, frozen=True):
    """One version of a resource, as kept.

    Attributes:
        version_id: Counts from 1; a deletion is a version too.
        last_updated: Microseconds since 1970 UTC; the same instant as `meta.lastUpdated`.
        body: The canonical JSON bytes that a read sends back; empty for a deletion.
        method: The HTTP method that made it: POST, PUT, PATCH or DELETE.
        patients: Ids of the Patients in whose compartment it is.
    """

    resource_type: str
    resource_id: str
    version_id: int
    last_updated: int
    body: bytes
    deleted: bool
    method: str
    patients: tuple[str, ...] = ()


class Write(msgspec.Struct, frozen=True):
    """A version to be made; refused with VersionConflict unless the current is the one before.

    Attributes:
        version_id: The version this makes; 1 only where no version ever was.
        body: Canonical JSON bytes, `meta.versionId` and `meta.lastUpdated` in them; empty deletes.
        index: What is indexed of it; of a deletion, nothing.
        tags: Access tags to add to the resource (`facility/01999`); tags are kept with the
            resource, not with a version, and no write takes one away (a Tag may).
    """

    resource_type: str
    resource_id: str
    version_id: int
    last_updated: int
    body: bytes
    method: str
    index: IndexValues = NOTHING_INDEXED
    tags: frozenset[str] = frozenset()

    @property
    def deleted(self) -> bool:
        """Whether this write is a deletion."""
        return not self.body


@dataclass(frozen=True, slots=True)
class Tag:
    """Access tags to add to a resource, and to take away from it, without a new version.

    Attributes:
        without: Tags to take away, also where this commit adds them; one that is not there is
            no error.
    """

    resource_type: str
    resource_id: str
    tags: frozenset[str] = frozenset()
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Matches:
    """A condition: the current resources that match are exactly these (or ConditionChanged).

    It is checked before the commit's own writes are applied. With `ids` empty it is the
    conditional create's "nothing matches".
    """

    resource_type: str
    where: Expression
    ids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A condition: this resource's current version is still this one (0: none ever was)."""

    resource_type: str
    resource_id: str
    version_id: int


@dataclass(frozen=True, slots=True)
class Unreferenced:
    """A condition: no current resource refers to this one, but for those named (or Referenced).

    It is checked after the commit's own writes are applied.
    """

    resource_type: str
    resource_id: str
    but_for: frozenset[Name] = frozenset()


Condition = Matches | Unchanged | Unreferenced

ANY: Final = "any"
"""A Put that does not ask what was there before."""


@dataclass(frozen=True, slots=True)
class Put:
    """A record of the ledger: what is no resource but must be committed with resources.

    Attributes:
        bucket: What kind of record, such as `dossier`, `receipt`, `client`.
        key: Its key; `scan` gives a bucket's records in the keys' byte order.
        value: The record; None deletes it.
        expected: ANY, or the value that must be there now (None: absent), else RecordChanged.
        expires: Microseconds since 1970 after which the record is as if absent; None never.
    """

    bucket: str
    key: str
    value: bytes | None
    expected: bytes | Literal["any"] | None = ANY
    expires: int | None = None


class AuditRecord(msgspec.Struct, frozen=True):
    """One access, in the compact form of `interactions.audit`; chained by the store.

    Attributes:
        recorded: Microseconds since 1970 UTC.
        body: The facts, encoded.
        patients: Ids of the Patients shown or, refused, named: an index.
    """

    recorded: int
    body: bytes
    patients: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An AuditRecord as kept: `seq` grows by time of commit; `digest` chains it to the one before.

    digest = sha256(digest of the entry before (32 zero bytes at first) + recorded as 8 bytes
    big-endian signed + body).
    """

    seq: int
    recorded: int
    body: bytes
    digest: bytes
    patients: tuple[str, ...]


INDEXED_BY: Final = ("search-parameter", "generation")
"""Bucket and key of the record that says by which search parameters resources are indexed: a number
that grows with each change of them (`search.parameters.Known.generation`); 0 where it is absent."""


class Batch(msgspec.Struct, frozen=True):
    """All that one commit makes, or nothing of it.

    Attributes:
        indexed: By which search parameters its writes are indexed and its conditions were read;
            refused with IndexedOtherwise where the store has others by now (INDEXED_BY). So no
            version of any process, however late it comes, lacks what is searched by.
    """

    writes: Sequence[Write] = ()
    tags: Sequence[Tag] = ()
    conditions: Sequence[Condition] = ()
    puts: Sequence[Put] = ()
    audit: Sequence[AuditRecord] = ()
    indexed: int = 0

    @property
    def is_indexed(self) -> bool:
        """Whether anything in it depends on search parameters."""
        return bool(self.writes or self.conditions)


@dataclass(frozen=True, slots=True)
class Change:
    """A version that was made, as the feed of changes gives it: a name, without its content.

    Attributes:
        token: Where a feed goes on that has taken this one in.
        version_id: 1 of a resource that was made, a greater one of an update or a deletion.
        last_updated: Microseconds since 1970 UTC.
    """

    token: str
    resource_type: str
    resource_id: str
    version_id: int
    last_updated: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Page:
    """One page: versions in order, the cursor of the next (None: this is the last), the total.

    Attributes:
        previous: The cursor of what stands before; None: there is nothing.
        first: The cursor of the first page as it was defined; None on the first page itself.
        backwards: It was read against the order, from the end: by `previous`.
        explained: How it was found, one a type, where that was asked for (Search.explain).
        defined: On the first page, where that was asked for (Search.defines): the cursor by which
            it is found again as it is now.
    """

    versions: tuple[Version, ...]
    next: str | None = None
    total: int | None = None
    previous: str | None = None
    first: str | None = None
    backwards: bool = False
    explained: tuple[Explained, ...] = ()
    defined: str | None = None

    @classmethod
    def of(
        cls,
        versions: Sequence[Version],
        around: Around,
        total: int | None = None,
        explained: tuple[Explained, ...] = (),
    ) -> Page:
        """Return the page of these versions, given as they were read."""
        order = tuple(reversed(versions)) if around.backwards else tuple(versions)
        return cls(
            order, around.next, total, around.previous, around.first, around.backwards, explained,
            around.defined,
        )  # fmt: skip

    @property
    def around(self) -> Around:
        """The cursors of the pages around it."""
        return Around(self.next, self.previous, self.first, self.backwards)


class CommitRefused(Exception):
    """A precondition did not hold; nothing of the batch was made. Interactions may try again."""


class VersionConflict(CommitRefused):
    """The current version of a resource is not the one before the one to be made."""

    def __init__(self, name: Name, current: int) -> None:
        super().__init__(f"{name[0]}/{name[1]} is at version {current}")
        self.name = name
        self.current = current


class ConditionChanged(CommitRefused):
    """What matches a condition is no longer what was seen."""


class KeyHeld(CommitRefused):
    """Another current resource holds a unique key; its name is here."""

    def __init__(self, key: str, holder: Name) -> None:
        super().__init__("a unique key is held by another resource")
        self.key = key
        self.holder = holder


class Referenced(CommitRefused):
    """A resource that is to be deleted is referred to by this one."""

    def __init__(self, name: Name, by: Name) -> None:
        super().__init__(f"{name[0]}/{name[1]} is referred to")
        self.name = name
        self.by = by


class RecordChanged(CommitRefused):
    """A ledger record is not what was expected."""

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(f"a record of {bucket} has changed")
        self.bucket = bucket
        self.key = key


class IndexedOtherwise(CommitRefused):
    """Resources are indexed by other search parameters than those of the batch."""


def generation_of(raw: bytes | None) -> int:
    """Return what the record INDEXED_BY says."""
    return int(raw or 0)


class WorkBudgetExceeded(Exception):
    """A search or a history went past its work budget; the interaction answers `too-costly`."""


class BadCursor(Exception):
    """A cursor that this store did not make."""


class Store(Protocol):
    """Where resources, their history, the ledger and the audit chain are kept."""

    async def commit(self, batch: Batch) -> None:
        """Make all of it durable, or raise a CommitRefused and make nothing of it."""

    async def read(self, resource_type: str, resource_id: str) -> Version | None:
        """Return the current version (a deletion too), or None where none ever was."""

    async def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""

    async def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""

    async def visible(self, name: Name, where: Expression) -> bool:
        """Return whether the current (not deleted) version of this resource matches."""

    async def tags(self, name: Name) -> frozenset[str]:
        """Return the access tags of a resource."""

    async def holder(self, key: str) -> Name | None:
        """Return who holds a unique key `system|value`."""

    async def referrers(self, name: Name, *, limit: int = 1000) -> list[Name]:
        """Return current resources, at most so many, that refer to this one from anywhere in them.

        They are those for whose sake Unreferenced does not hold. Of more than so many any are
        given, in any order: no engine has to read all of them.
        """

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
        """Return versions newest first: of one resource, of a type, or of all.

        Args:
            resource_type: Its type; None for all.
            resource_id: Its id; None for a type or all.
            since: Made at this moment or later.
            at: Current at some time of this range.
            count: At most so many.
            cursor: Of the page, of a history of the same.
            among: In place of a type and an id: of these types and resources alone, of which
                none is in another.

        Raises:
            WorkBudgetExceeded: It would take too long.
            BadCursor: The cursor is not one of this store's.
        """

    async def search(self, search: Search) -> Page:
        """Return one page of matches.

        Raises:
            WorkBudgetExceeded: The search would take too long.
            BadCursor: The cursor is not one of this store's.
        """

    async def count(self, resource_type: str, where: Expression = EVERYTHING) -> int:
        """Return how many current resources of a type match."""

    async def get(self, bucket: str, key: str, *, now: int | None = None) -> bytes | None:
        """Return a ledger record, or None where it is absent or (at `now`) has ended."""

    async def scan(
        self,
        bucket: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Return records with start <= key < end, in key order (or from the end backwards)."""

    async def audit(
        self,
        *,
        patient: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Return audit entries newest first: of a Patient, of a time, before a `seq`.

        Behind a `seq` (`after`) they are given oldest first: those that stand nearest to it.
        """

    async def audit_entry(self, seq: int) -> AuditEntry | None:
        """Return one audit entry."""

    def audit_chain(self) -> AsyncIterator[AuditEntry]:
        """Return all audit entries, oldest first."""

    def changes(self, after: str | None = None) -> AsyncIterator[Change]:
        """Return every version made, of any process, in the order of the commits, as it is made.

        It does not end before the store is closed: where there is no more it waits. Each version
        comes once, also one that was replaced or deleted since.

        Args:
            after: The token of the last one that was taken in; None: from the store's first on.

        Raises:
            BadCursor: The token is not one of this store's, or of more than it holds: it was
                restored from a backup since.
        """

    async def last_change(self) -> str:
        """Return the token of the last version made: from here on only what is new is given."""

    def seal(self, about: bytes, position: list[Any]) -> str:
        """Return a cursor of a place that is not in one search of this store alone.

        Args:
            about: What it belongs to.
            position: Where it is: numbers, texts, truths, lists of them and None.
        """

    def unseal(self, about: bytes, cursor: str) -> list[Any]:
        """Return the place that a cursor says.

        Raises:
            BadCursor: No process over this store made it, or for something else.
        """

    async def edition(self) -> object | None:
        """Return a value that is another one after every commit, of any process, or None.

        A commit of audit entries alone may leave it. What was read under one edition, but for the
        audit, is still so under an equal one. None: it is not known.
        """

    async def ready(self) -> bool:
        """Return whether the store can take a commit now."""

    async def close(self) -> None:
        """Finish what was begun and let go of the files."""
