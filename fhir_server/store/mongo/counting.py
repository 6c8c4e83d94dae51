"""How many match: what filters tell is counted by the database, what they do not is judged here."""

from __future__ import annotations

from contextlib import aclosing

from fhir_server.store.mongo.filters import every, neither
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import Plan, absent, apart, asked
from fhir_server.store.mongo.query import Arm
from fhir_server.store.mongo.reads import Reads


async def count(reads: Reads, planned: Plan, most: int = 0) -> int:
    """Return how many current resources match, or `most` where they are at least so many (0: all).

    Raises:
        WorkBudgetExceeded: They are too many to be counted in time.
    """
    if planned.may is None:
        return 0
    without, size = absent(planned), reads.sizes.get(planned.kind)
    if without is not None and size is not None and len(planned.parts) == 1:
        # It is the others that an index gives.
        number = size - await reads.count(without, "keys")
        return min(number, most) if most else number
    number = 0
    for arm in apart(planned):
        sure = asked(arm, planned.rest if planned.exact else planned.sure)
        if sure is not None:
            number += await reads.count(sure, arm.hint, most=most and most - number)
        if not planned.exact and not 0 < most <= number:
            number += await _judged(reads, arm, planned, most and most - number)
        if 0 < most <= number:
            return most
    return number


async def _judged(reads: Reads, arm: Arm, planned: Plan, most: int) -> int:
    """Return how many of those that filters leave open match; once `most` (0: all), no more."""
    where = asked(arm, every([planned.rest, neither(planned.sure)]))
    if where is None:
        return 0
    number = 0
    # Fewer than are still to be found are never enough.
    async with aclosing(reads.batches(where, arm.hint, size=most)) as batches:
        async for batch in batches:
            candidates = [Candidate(one) for one in batch]
            number += len(await judged(reads, planned.kind, planned.where, candidates))
            if 0 < most <= number:
                break
    return number
