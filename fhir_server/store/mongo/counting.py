"""How many match: what filters tell is counted by the database, what they do not is judged here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from fhir_server.store.mongo.filters import Filter, every, hide, neither
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import LEVELS, Plan, apart
from fhir_server.store.mongo.query import Arm
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document

SOON: Final = LEVELS[1]
"""Of so many candidates the matches are counted where no accurate total is asked for."""


async def count(reads: Reads, planned: Plan) -> int:
    """Return how many current resources match.

    Raises:
        WorkBudgetExceeded: They are too many to be counted in time.
    """
    if planned.may is None:
        return 0
    number = 0
    for at, arm in enumerate(planned.arms):
        base = apart(planned.arms, at)
        if planned.exact:
            number += await _counted(reads, arm, base, planned.rest)
            continue
        number += await _counted(reads, arm, base, planned.sure)
        number += await _judged(reads, arm, planned, base)
    return number


async def _counted(reads: Reads, arm: Arm, base: Document, rest: Filter) -> int:
    where = _with(arm, base, rest)
    return 0 if where is None else await reads.count(where, arm.hint)


async def _judged(reads: Reads, arm: Arm, planned: Plan, base: Document) -> int:
    """Return how many of those that filters leave open match."""
    where = _with(arm, base, every([planned.rest, neither(planned.sure)]))
    if where is None:
        return 0
    number = 0
    async with aclosing(reads.batches(where, arm.hint)) as batches:
        async for batch in batches:
            candidates = [Candidate(one) for one in batch]
            number += len(await judged(reads, planned.kind, planned.where, candidates))
    return number


def _with(arm: Arm, base: Document, rest: Filter) -> Filter:
    if rest is None:
        return None
    return every([base, hide(rest) if arm.hint == "keys" else rest])
