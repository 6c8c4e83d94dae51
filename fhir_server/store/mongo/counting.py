"""How many match: what filters tell is counted by the database, what they do not is judged here."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from fhir_server.store.mongo.filters import Filter, every, neither
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import Plan, apart, asked, lacking
from fhir_server.store.mongo.query import Arm
from fhir_server.store.mongo.reads import Reads

FEW: Final = 500
"""Fewer of which filters leave open whether they match are found by the key that says so."""


async def count(reads: Reads, planned: Plan, most: int = 0) -> int:
    """Return how many current resources match, or `most` where they are at least so many (0: all).

    Raises:
        WorkBudgetExceeded: They are too many to be counted in time.
    """
    if planned.may is None:
        return 0
    if len(planned.parts) == 1 and (without := await lacking(reads, planned)) is not None:
        return min(without, most) if most else without  # it is the others that an index gives
    number = 0
    open_ = await _open(reads, planned)
    for arm in apart(planned):
        sure = asked(arm, planned.rest if planned.exact else planned.sure)
        if sure is not None:
            number += await reads.count(sure, arm.hint, most=most and most - number)
        if open_ is None and not planned.exact and not 0 < most <= number:
            number += await _judged(reads, arm, planned.rest, planned, most and most - number)
        if 0 < most <= number:
            return most
    for arm in open_ or ():
        number += await _judged(reads, arm, planned.may, planned, most and most - number)
    return min(number, most) if most else number


async def _open(reads: Reads, planned: Plan) -> list[Arm] | None:
    """Return a part of an index that has all that filters leave open, where it has few."""
    keys = planned.open
    if planned.exact or not keys:
        return None
    number = await reads.count(keys, "keys", most=FEW)
    if number >= FEW:
        return None
    return [Arm(keys, "keys")] if number else []


async def _judged(reads: Reads, arm: Arm, rest: Filter, planned: Plan, most: int) -> int:
    """Return how many of those that filters leave open match; once `most` (0: all), no more."""
    where = asked(arm, every([rest, neither(planned.sure)]))
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
