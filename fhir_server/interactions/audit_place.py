"""Where a page of AuditEvents begins: a place in the server's own chain, and one among reported.

https://hl7.org/fhir/R4/http.html#paging
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from fhir_server.interactions.open_cursor import place_in, text_of
from fhir_server.search import expression as ex
from fhir_server.search.expression import Prefix, Sort
from fhir_server.search.paging import Around

if TYPE_CHECKING:
    from fhir_server.search.expression import Expression

_MOST: Final = 2**63 - 2
_Number = Annotated[int, msgspec.Meta(ge=-_MOST, le=_MOST)]
"""What a store can count to, and a time."""


@dataclass(frozen=True, slots=True)
class Event:
    """One AuditEvent found: when, which, and its JSON; `seq` is None of a reported one."""

    at: int
    seq: int | None
    resource_id: str
    body: bytes
    patients: frozenset[str]

    @property
    def newest_first(self) -> tuple[int, int, str]:
        """What events of a page are sorted by."""
        return (-self.at, -(self.seq or 0), self.resource_id)


class Place(msgspec.Struct, array_like=True, frozen=True):
    """A place in the order, newest first, and which way a page is read from it.

    It is not sealed: whatever it says, only what is shown anyway is found from there. Of events
    of one transaction the time is the same, so those passed are told by their ids.

    Attributes:
        before: Entries of the chain with a lower `seq` stand behind it; None: at the beginning.
        until: Reported events of an earlier time stand behind it; None: at the beginning.
        named: Ids of those reported at `until` that stand on one side of it.
        newest: The newest entry of the chain on the first page's time; 0: there was none.
        latest: The time of the latest reported one on the first page's time; 0: there was none.
        behind: `named` stand behind it, all others of this time before it; else the reverse.
        backwards: The page is read against the order: it ends before this place.
    """

    before: _Number | None = None
    until: _Number | None = None
    named: tuple[str, ...] = ()
    newest: _Number | None = None
    latest: _Number | None = None
    behind: bool = False
    backwards: bool = False

    @property
    def turned(self) -> Place:
        """The place from which the other way gives all that this way does not."""
        return msgspec.structs.replace(self, backwards=not self.backwards)

    @property
    def first(self) -> Place:
        """The beginning, as it was on the first page's time."""
        before = None if self.newest is None else self.newest + 1
        return Place(before, self.latest, (), self.newest, self.latest)

    @property
    def is_first(self) -> bool:
        """Whether nothing stands before it."""
        return not self.backwards and self == self.first

    def defined(self, chained: Sequence[Event], reported: Sequence[Event]) -> Place:
        """Return the beginning as it is now, with what was found from it."""
        newest = (chained[0].seq or 0) if chained else 0
        latest = reported[0].at if reported else 0
        return Place(newest=newest, latest=latest).first

    def after(self, page: Sequence[Event]) -> Place:
        """Return the place where, on the same way, these have been passed."""
        seqs = [event.seq for event in page if event.seq is not None]
        before = self.before
        if seqs:
            before = max(seqs) + 1 if self.backwards else min(seqs)
        until, named, behind = self.until, frozenset(self.named), self.behind
        ats = [event.at for event in page if event.seq is None]
        if ats:
            at = max(ats) if self.backwards else min(ats)
            last = {e.resource_id for e in page if e.seq is None and e.at == at}
            if at != until:
                until, named, behind = at, frozenset(last), self.backwards
            else:
                named = named | last if behind == self.backwards else named - last
        return msgspec.structs.replace(
            self, before=before, until=until, named=tuple(sorted(named)), behind=behind
        )

    @property
    def sort(self) -> tuple[Sort, ...]:
        """The order of reported events, the way the page is read."""
        return (
            Sort("_lastUpdated", "last", descending=not self.backwards),
            Sort("_id", "id", descending=self.backwards),
        )

    def left(self) -> Expression:
        """Return which reported events are left the way the page is read."""
        if self.until is None:
            return ex.EVERYTHING
        if self.latest == 0:
            return ex.NOTHING
        to, further = (Prefix.GE, Prefix.GT) if self.backwards else (Prefix.LE, Prefix.LT)
        bounds = [_time(to, self.until)]
        if self.backwards and self.latest is not None:
            bounds.append(_time(Prefix.LE, self.latest))
        named = ex.Ids(frozenset(self.named))
        if self.behind != self.backwards:
            bounds.append(ex.Or((_time(further, self.until), named)))
        elif self.named:
            bounds.append(ex.Not(named))
        return bounds[0] if len(bounds) == 1 else ex.And(tuple(bounds))

    @property
    def text(self) -> str:
        """The cursor."""
        return text_of(self)

    @classmethod
    def of(cls, text: str) -> Place:
        """Return the place that a cursor says.

        Raises:
            InvalidValue: It is none.
        """
        return place_in(text, cls)


def _time(prefix: Prefix, at: int) -> Expression:
    return ex.LastUpdated(prefix, at, at)


def merged(
    chained: Sequence[Event], reported: Sequence[Event], *, backwards: bool, count: int
) -> list[Event]:
    """Return the next so many of both, each taken in its own order.

    Entries of the chain stand in the order of their commits, which is nearly that of their time:
    none is passed over because another of a later time was committed before it.
    """
    own, others = list(reversed(chained)), list(reversed(reported))
    found: list[Event] = []
    while len(found) < count and (own or others):
        if not own or not others:
            is_own = bool(own)
        elif backwards:
            is_own = own[-1].at < others[-1].at
        else:
            is_own = own[-1].at >= others[-1].at
        found.append((own if is_own else others).pop())
    return found


def around(begin: Place, page: Sequence[Event], *, more: bool) -> Around:
    """Return the cursors of the pages around a page.

    Args:
        begin: Where it begins; the first page is defined by now.
        page: What is on it.
        more: Whether there are others beyond it, the way it was read.
    """
    further = begin.after(page).text if more else None
    first = begin.first.text
    if begin.backwards:
        return Around(begin.turned.text, further, first, backwards=True)
    return Around(further, None if begin.is_first else begin.turned.text, first)
