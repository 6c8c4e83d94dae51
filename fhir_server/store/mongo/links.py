"""Plans of searches: what a chain or a `_has` leads to is found first, where it is few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.search.expression import Chain, Expression
from fhir_server.store.mongo.judge import Candidate
from fhir_server.store.mongo.newest import newest
from fhir_server.store.mongo.plan import LEVELS, Plan, asked, driven, links_of
from fhir_server.store.mongo.query import Link
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.port import WorkBudgetExceeded

LINKED: Final = 1_000
"""So many resources at the other end of a link are found before the search itself."""
RARE: Final = LEVELS[0]
"""Of fewer at the other end of a link it is found first what refers to them."""
ASKED: Final = 200
"""So many candidates are judged with what their own links lead to, without looking there first."""
_SECONDS: Final = 0.2
_DOCUMENTS: Final = 3_000


async def plan(
    reads: Reads,
    kind: str,
    where: Expression,
    *,
    levels: Sequence[int] = LEVELS[:1],
    lone: bool = False,
) -> Plan:
    """Return how the matches of a type are found (`plan.driven`), its links followed.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    unknown = [one for one in links_of(kind, where) if one not in reads.links]
    if not unknown:
        return await driven(reads, kind, where, levels=levels, lone=lone)
    found = await driven(reads, kind, where, levels=LEVELS[:1])
    if found.rows is not None and found.rows < ASKED:
        return found
    for _, link in unknown:
        await _follow(reads, kind, link)
    return await driven(reads, kind, where, levels=levels, lone=lone)


async def is_rare(reads: Reads, kind: str, where: Expression) -> bool:
    """Return whether an index tells that few stand at the other end of a link, or of its links.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    for _, link in links_of(kind, where):
        other = link.target_type if isinstance(link, Chain) else link.source_type
        found = await driven(reads, other, link.where, levels=(RARE,))
        if found.may is None or found.rows is not None:
            return True
        if await is_rare(reads, other, link.where):
            return True
    return False


async def _follow(reads: Reads, kind: str, link: Link) -> None:
    """Note what a link of a type leads to; None where it is much."""
    ids = None
    if isinstance(link, Chain):
        found = await _few(reads, link.target_type, link.where)
        if found is not None:
            ids = frozenset(one.id for one in found)
    else:
        found = await _few(reads, link.source_type, link.where)
        if found is not None:
            ids = frozenset(to for one in found for to in one.targets(link.param, kind))
    reads.links[kind, link] = ids


async def _few(reads: Reads, kind: str, where: Expression) -> list[Candidate] | None:
    """Return all that match, or None where they are many or hard to find."""
    # What takes too long in a transaction ends it, so there no time is tried.
    seconds = None if reads.session.in_transaction else _SECONDS
    notes, reads.notes = reads.notes, None
    try:
        with reads.within(seconds=seconds, documents=_DOCUMENTS):
            planned = await plan(reads, kind, where)
            if await _many(reads, planned):
                return None
            found = await newest(reads, planned, limit=LINKED + 1)
    except WorkBudgetExceeded:
        return None
    finally:
        reads.notes = notes
    return found if len(found) <= LINKED else None


async def _many(reads: Reads, planned: Plan) -> bool:
    """Return whether an index tells at once that they are too many."""
    few = planned.rows is not None and planned.rows <= LINKED
    if few or not planned.exact or len(planned.arms) != 1:
        return False
    arm = planned.arms[0]
    where = asked(arm, planned.rest)
    return where is not None and await reads.count(where, arm.hint, most=LINKED + 1) > LINKED
