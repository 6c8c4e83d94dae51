"""Matches found from the other end of a link: what a chain or a `_has` leads to is read first.

What it is that a chain leads to is asked of the index of keys, a batch at a time; what refers to
what a `_has` finds is named by its own entry. Whoever counts stops as soon as there are enough:
of either end no more is read than that takes. Keys alone tell what matches, as in all that is
counted.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from fhir_server.search.expression import Chain, Expression, Has
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import Entry
from fhir_server.store.mongo.filters import ALIVE, Filter, every, hide, keyed
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import LEVELS, Plan, apart, asked, driven
from fhir_server.store.mongo.query import Link, names_of
from fhir_server.store.mongo.reads import JUDGED, Reads
from fhir_server.store.mongo.schema import Document

ASKED: Final = 1_000
"""So many are asked for at once by their names, or by what they refer to."""

_NAMED: Final[Mapping[str, Any]] = {"_id": 1}
_PACKED: Final[Mapping[str, Any]] = {"_id": 1, "e": 1}


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
    number = 0
    async with aclosing(_linked(reads, planned, link, _NAMED, most)) as batches:
        async for batch in batches:
            number += len(batch)
            if 0 < most <= number:
                return most
    return number


async def _linked(
    reads: Reads, planned: Plan, link: Link, fields: Mapping[str, Any], size: int = 0
) -> AsyncGenerator[list[Document], None]:
    """Give all that match, each once, from the other end of a link."""
    kind = planned.kind
    rest = every(
        clause.may
        for part, clause in zip(planned.parts, planned.clauses, strict=True)
        if part != link
    )
    if rest is None:
        return
    found: set[str] = set()
    async with aclosing(_referring(reads, kind, link, rest)) as questions:
        async for where, hint in questions:
            async with aclosing(reads.batches(where, hint, fields=fields, size=size)) as batches:
                async for batch in batches:
                    new = [one for one in batch if one["_id"] not in found]
                    found.update(one["_id"] for one in new)
                    yield new


async def _referring(
    reads: Reads, kind: str, link: Link, rest: Document
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
    async with aclosing(_matching(reads, link.source_type, link.where, _PACKED)) as sources:
        async for batch in sources:
            named = {to for one in batch for to in Entry(one["e"]).targets(link.param, kind)}
            for some in _chunks(sorted(named - known)):
                names_ = [f"{kind}/{one}" for one in some]
                yield every([{"_id": {"$in": names_}}, ALIVE, rest]) or {}, "_id_"
            known |= named


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
        async with aclosing(reads.batches(filter_, arm.hint, fields=shown)) as batches:
            async for batch in batches:
                yield batch if planned.exact else await _judged(reads, planned, batch)


async def _judged(reads: Reads, planned: Plan, batch: list[Document]) -> list[Document]:
    documents = {one["_id"]: one for one in batch}
    found = await judged(reads, planned.kind, planned.where, [Candidate(one) for one in batch])
    return [documents[one.key] for one in found]


def _chunks(items: Sequence[str]) -> list[Sequence[str]]:
    return [items[at : at + ASKED] for at in range(0, len(items), ASKED)]
