"""Matches found from the other end of a link: what a chain or a `_has` leads to is read first.

What it is that a chain leads to is asked of the index of keys, a batch at a time; what refers to
what a `_has` finds is named by its own entry. Whoever counts stops as soon as there are enough:
of either end a little is read first, and then ever more at once. Keys alone tell what matches, as
in all that is counted: of what they find an index gives the number without a document.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from fhir_server.search.expression import Chain, Expression, Has
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import targets_in
from fhir_server.store.mongo.filters import ALIVE, Filter, every, hide, keyed
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.newest import LATEST
from fhir_server.store.mongo.plan import LEVELS, Plan, apart, asked, driven
from fhir_server.store.mongo.query import Arm, Link, names_of
from fhir_server.store.mongo.reads import JUDGED, NEWEST, Reads
from fhir_server.store.mongo.schema import Document

ASKED: Final = 2_000
"""So many are asked for at once by their names, or by what they refer to."""
FIRST: Final = 100
"""So many of an end are read first."""
COUNTED: Final = 10_000
"""Of no more ends of a chain all that refers to them is counted at once."""
_GROWTH: Final = 4
"""The next are so many times as many."""

_PLACED: Final[Mapping[str, Any]] = {"_id": 0, "r": 1}
_NAMED: Final[Mapping[str, Any]] = {"_id": 1, "r": 1}
_PACKED: Final[Mapping[str, Any]] = {"_id": 0, "r": 1, "e": 1}


def link_of(planned: Plan) -> Link | None:
    """Return the link from whose other end a plan's matches are found: its only one.

    What else is asked the filters tell; None where that is not so.
    """
    links: list[Link] = []
    for part, clause in zip(planned.parts, planned.clauses, strict=True):
        if clause.exact:
            continue
        if not isinstance(part, Chain | Has):
            return None
        links.append(part)
    return links[0] if len(links) == 1 else None


async def count_from(reads: Reads, planned: Plan, link: Link, most: int) -> int:
    """Return how many match, or `most` where they are at least so many (0: all).

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    if isinstance(link, Chain) and not most:
        return await _all_linked(reads, planned, link)
    number = 0
    async with aclosing(_linked(reads, planned, link, _PLACED, most)) as batches:
        async for batch in batches:
            number += len(batch)
            if 0 < most <= number:
                return most
    return number


async def _all_linked(reads: Reads, planned: Plan, link: Chain) -> int:
    """Return how many a chain lets match: what refers to all that it leads to is counted at once.

    Of so many ends at once that none of what refers to them is brought here; where there are more
    it is, for what refers to several is to be counted once.
    """
    rest = _rest(planned, link)
    if rest is None:
        return 0
    ends: list[str] = []
    async with aclosing(_matching(reads, link.target_type, link.where, _NAMED)) as batches:
        async for batch in batches:
            ends += [one["_id"] for one in batch]
            if len(ends) > COUNTED:
                break
    names = names_of(link.param)
    if len(ends) <= COUNTED:
        asked_ = keyed(keys.reference(planned.kind, name, to) for to in ends for name in names)
        where = every([asked_, hide(rest)])
        return 0 if where is None else await reads.count(where, "keys")
    async with aclosing(_linked(reads, planned, link, _PLACED)) as found:
        return sum([len(batch) async for batch in found])


def _rest(planned: Plan, link: Link) -> Filter:
    """Return what is asked beside a link."""
    return every(
        clause.may
        for part, clause in zip(planned.parts, planned.clauses, strict=True)
        if part != link
    )


async def _linked(
    reads: Reads, planned: Plan, link: Link, fields: Mapping[str, Any], most: int = 0
) -> AsyncGenerator[list[Document], None]:
    """Give all that match, or `most` (0: all), each once, from the other end of a link."""
    kind = planned.kind
    rest = _rest(planned, link)
    if rest is None:
        return
    found: set[int] = set()  # the numbers of versions: an index has them
    async with aclosing(_referring(reads, kind, link, rest, most)) as questions:
        async for where, hint in questions:
            # So many have enough that are new. An open cursor would have to be closed.
            size = most or ASKED
            batches = reads.batches(where, hint, fields=fields, limit=most, size=size)
            async with aclosing(batches):
                async for batch in batches:
                    new = [one for one in batch if one["r"] not in found]
                    found.update(one["r"] for one in new)
                    yield new


async def _referring(
    reads: Reads, kind: str, link: Link, rest: Document, most: int
) -> AsyncGenerator[tuple[Document, str], None]:
    """Give questions, and their indexes, that together have all that a link lets match."""
    if isinstance(link, Chain):
        names = names_of(link.param)
        async with aclosing(_matching(reads, link.target_type, link.where, _NAMED)) as ends:
            async for batch in ends:
                targets = [one["_id"] for one in batch]
                for some in _chunks(targets):
                    asked_ = (keys.reference(kind, name, to) for to in some for name in names)
                    yield every([keyed(asked_), hide(rest)]) or {}, "keys"
        return
    known: set[str] = set()
    waiting: set[str] = set()
    async with aclosing(_matching(reads, link.source_type, link.where, _PACKED)) as sources:
        async for batch in sources:
            waiting |= targets_in((one["e"] for one in batch), link.param, kind) - known
            if len(waiting) >= (most or ASKED):  # fewer cannot be enough
                for where in _naming(kind, waiting, rest):
                    yield where, "_id_"
                known |= waiting
                waiting = set()
    for where in _naming(kind, waiting, rest):
        yield where, "_id_"


def _naming(kind: str, ids: Iterable[str], rest: Document) -> Iterator[Document]:
    """Give questions for resources of these ids."""
    for some in _chunks(sorted(ids)):
        yield every([{"_id": {"$in": [f"{kind}/{one}" for one in some]}}, ALIVE, rest]) or {}


async def _matching(
    reads: Reads, kind: str, where: Expression, fields: Mapping[str, Any]
) -> AsyncGenerator[list[Document], None]:
    """Give all of a type that match, each once."""
    planned = await driven(reads, kind, where, levels=LEVELS[:1], lone=True)
    if planned.may is None:
        return
    link = None if planned.exact or planned.rows is not None else link_of(planned)
    if link is not None:
        async with aclosing(_linked(reads, planned, link, fields)) as batches:
            async for batch in batches:
                yield batch
        return
    for arm in apart(planned):
        filter_: Filter = asked(arm, planned.rest)
        if filter_ is None:
            continue
        shown = fields if planned.exact else JUDGED
        async with aclosing(_read(reads, arm, filter_, shown)) as batches:
            async for batch in batches:
                yield batch if planned.exact else await _judged(reads, planned, batch)


async def _read(
    reads: Reads, arm: Arm, where: Document, fields: Mapping[str, Any]
) -> AsyncGenerator[list[Document], None]:
    """Give what a part of an index has, a little first; newest first, where that is its order."""
    if not arm.ordered:
        async with aclosing(reads.batches(where, arm.hint, fields=fields)) as batches:
            async for batch in batches:
                yield batch
        return
    size, behind = FIRST, LATEST
    while True:
        batch = await reads.find(
            {**where, "r": {"$lt": behind}},
            arm.hint,
            order=NEWEST,
            limit=size,
            fields=fields,
            size=size,
        )
        yield batch
        if len(batch) < size:
            return
        behind = batch[-1]["r"]
        size = min(size * _GROWTH, ASKED)


async def _judged(reads: Reads, planned: Plan, batch: list[Document]) -> list[Document]:
    documents = {one["_id"]: one for one in batch}
    found = await judged(reads, planned.kind, planned.where, [Candidate(one) for one in batch])
    return [documents[one.key] for one in found]


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[at : at + ASKED] for at in range(0, len(items), ASKED)]
