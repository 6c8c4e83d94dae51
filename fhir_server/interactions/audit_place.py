"""Where a page of AuditEvents begins: a place in the server's own chain, and one in the store.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from fhir_server.interactions.audit_found import Range
from fhir_server.interactions.refusals import wrong_cursor
from fhir_server.search import expression as ex
from fhir_server.search.expression import Prefix, Sort
from fhir_server.search.paging import Around

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Name, Version

_MOST: Final = 2**63 - 2
_Number = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
"""What a store can count to, and a time."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which time events stand, and which way: newest first, or oldest first."""

    key: Literal["date", "_lastUpdated"] = "_lastUpdated"
    ascending: bool = False

    def sort(self, *, older: bool) -> tuple[Sort, ...]:
        """Return the order in which the store is read, to what is older or newer."""
        kind: Literal["date", "last"] = "date" if self.key == "date" else "last"
        return (Sort(self.key, kind, descending=older), Sort("_id", "id", descending=not older))

    def time(self, prefix: Prefix, at: int) -> Expression:
        """Return which events are of a time: LE, LT, GE or GT."""
        if self.key == "_lastUpdated":
            return ex.LastUpdated(prefix, at, at)
        if prefix in {Prefix.LE, Prefix.LT}:
            return ex.DateIs("date", prefix, at, at)
        # A time without a fraction is the whole second, and stands by its beginning.
        other = Prefix.LT if prefix is Prefix.GE else Prefix.LE
        near = ex.DateIs("date", Prefix.GE, at, at)
        return ex.And((near, ex.Not(ex.DateIs("date", other, at, at))))


@dataclass(frozen=True, slots=True)
class Event:
    """One match: when, and what it is; `seq` is None of what is not of the chain."""

    at: int
    seq: int | None
    version: Version

    @property
    def name(self) -> Name:
        """Its type and id."""
        return (self.version.resource_type, self.version.resource_id)

    @property
    def newest_first(self) -> tuple[int, int, str]:
        """What events of a page are sorted by."""
        return (-self.at, -(self.seq or 0), self.version.resource_id)


class Place(msgspec.Struct, array_like=True, frozen=True):
    """A place in the order, and which way a page is read from it.

    Of resources of one transaction the time is the same, so those passed are told by their names.

    Attributes:
        before: Entries of the chain with a lower `seq` are older than it; None: the beginning.
        until: What the store has of an earlier time is older than it; None: the beginning.
        named: Types and ids of those of `until` that stand on one side of it.
        newest: The newest entry of the chain on the first page's time; 0: there was none.
        latest: When the latest in the store was made, on the first page's time; 0: none was.
        are_older: `named` are older than it, all others of this time newer; else the reverse.
        backwards: The page is read against the order: it ends before this place.
        ascending: The order is oldest first.
    """

    before: _Number | None = None
    until: _Number | None = None
    named: tuple[tuple[str, str], ...] = ()
    newest: _Number | None = None
    latest: _Number | None = None
    are_older: bool = False
    backwards: bool = False
    ascending: bool = False

    @property
    def is_to_older(self) -> bool:
        """Whether the page is read to what is older."""
        return self.ascending == self.backwards

    @property
    def turned(self) -> Place:
        """The place from which the other way gives all that this way does not."""
        return msgspec.structs.replace(self, backwards=not self.backwards)

    @property
    def first(self) -> Place:
        """The beginning, as it was on the first page's time."""
        before = None if self.newest is None else 0 if self.ascending else self.newest + 1
        return Place(before, newest=self.newest, latest=self.latest, ascending=self.ascending)

    @property
    def is_first(self) -> bool:
        """Whether nothing stands before it."""
        return not self.backwards and self == self.first

    def defined(self, newest: int, latest: int) -> Place:
        """Return the beginning as it is now."""
        return msgspec.structs.replace(self, newest=newest, latest=latest).first

    def after(self, page: Sequence[Event]) -> Place:
        """Return the place where, on the same way, these have been passed."""
        seqs = [event.seq for event in page if event.seq is not None]
        older = self.is_to_older
        before = self.before
        if seqs:
            before = min(seqs) if older else max(seqs) + 1
        until, named, are_older = self.until, frozenset(self.named), self.are_older
        ats = [event.at for event in page if event.seq is None]
        if ats:
            at = min(ats) if older else max(ats)
            last = {e.name for e in page if e.seq is None and e.at == at}
            if at != until:
                until, named, are_older = at, frozenset(last), not older
            else:
                named = named - last if are_older == older else named | last
        return msgspec.structs.replace(
            self, before=before, until=until, named=tuple(sorted(named)), are_older=are_older
        )

    @property
    def within(self) -> Range:
        """Which entries of the chain are left, the way the page is read."""
        if self.is_to_older:
            return Range(self.before)
        end = None if self.newest is None else self.newest + 1
        return Range(end, (self.before or 0) - 1)

    def left(self, order: Order, kind: str) -> Expression:
        """Return what of a type the store has left the way the page is read."""
        if self.latest == 0 or (self.until is None and self.backwards):
            return ex.NOTHING
        bounds: list[Expression] = []
        if self.latest is not None:
            bounds.append(ex.LastUpdated(Prefix.LE, self.latest, self.latest))
        if self.until is not None:
            older = self.is_to_older
            to, further = (Prefix.LE, Prefix.LT) if older else (Prefix.GE, Prefix.GT)
            named = ex.Ids(frozenset(identity for name, identity in self.named if name == kind))
            if self.are_older == older:
                beyond = order.time(further, self.until)
                bounds.append(ex.Or((beyond, named)) if named.ids else beyond)
            else:
                bounds.append(order.time(to, self.until))
                if named.ids:
                    bounds.append(ex.Not(named))
        return bounds[0] if len(bounds) == 1 else ex.And(tuple(bounds))

    @property
    def position(self) -> list[object]:
        """What a cursor carries."""
        found: list[object] = msgspec.to_builtins(self)
        return found

    @classmethod
    def of(cls, position: list[object]) -> Place:
        """Return the place that a cursor carries.

        Raises:
            InvalidValue: It is none.
        """
        try:
            return msgspec.convert(position, cls)
        except msgspec.ValidationError:
            raise wrong_cursor() from None


def merged(
    chained: Sequence[Event], others: Sequence[Event], *, older: bool, count: int
) -> list[Event]:
    """Return the next so many of both, each taken in its own order.

    Entries of the chain stand in the order of their commits, which is nearly that of their time:
    none is passed over because another of a later time was committed before it.
    """
    own, rest = list(reversed(chained)), list(reversed(others))
    found: list[Event] = []
    while len(found) < count and (own or rest):
        if not own or not rest:
            is_own = bool(own)
        elif older:
            is_own = own[-1].at >= rest[-1].at
        else:
            is_own = own[-1].at < rest[-1].at
        found.append((own if is_own else rest).pop())
    return found


def around(
    begin: Place, page: Sequence[Event], seal: Callable[[Place], str], *, more: bool
) -> Around:
    """Return the cursors of the pages around a page.

    Args:
        begin: Where it begins; the first page is defined by now.
        page: What is on it.
        seal: Makes the cursor of a place.
        more: Whether there are others beyond it, the way it was read.
    """
    further = seal(begin.after(page)) if more else None
    first = seal(begin.first)
    if begin.backwards:
        return Around(seal(begin.turned), further, first, backwards=True)
    return Around(further, None if begin.is_first else seal(begin.turned), first)
