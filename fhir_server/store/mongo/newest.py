"""Matches of one type, newest first: read as the index gives them, judged by their entries."""

from __future__ import annotations

from typing import Final

from fhir_server.store.mongo.filters import Filter, every
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.plan import LEVELS, MANY, Plan, asked
from fhir_server.store.mongo.query import Arm
from fhir_server.store.mongo.reads import NEWEST, Reads
from fhir_server.store.mongo.schema import Document

GATHERED: Final = LEVELS[0]
"""So many are gathered and sorted without trying a walk."""
WALKED: Final = 20_000
"""Resources of a type that are walked at most, before all that an index gives is gathered."""

_MOST: Final = 1_000
_FIRST_WINDOW: Final = 500
_GROWTH: Final = 4

LATEST: Final = 2**62
"""No version has this number."""


async def newest(
    reads: Reads, planned: Plan, *, limit: int, before: int = LATEST, only: Filter = None
) -> list[Candidate]:
    """Return the first matches whose version's number is less than `before`.

    Args:
        reads: What is asked.
        planned: How they are found.
        limit: How many at most.
        before: Where they begin.
        only: A filter that they pass too.

    Raises:
        WorkBudgetExceeded: They are too hard to find.
    """
    narrow = {} if only is None else only
    if planned.may is None or limit <= 0:
        return []
    if not planned.ordered and planned.rows >= GATHERED:
        walked = await _walk(reads, planned, narrow, before, limit)
        if walked is not None:
            return walked
    arms = [(arm, asked(arm, every([planned.rest, narrow]))) for arm in planned.arms]
    found: list[Candidate] = []
    size = limit
    while len(found) < limit:
        batch, before = await _batch(reads, arms, before, size)
        found += await judged(reads, planned.kind, planned.where, batch)
        if not before:
            break
        size = min(max(size * 2, 50), _MOST)
    return found[:limit]


async def _batch(
    reads: Reads, arms: list[tuple[Arm, Document | None]], before: int, size: int
) -> tuple[list[Candidate], int]:
    """Return the next of all arms, and before which number there are more (0: no more)."""
    gathered: dict[str, Document] = {}
    reached = 0
    for arm, where in arms:
        if where is None:
            continue
        documents = await reads.find(
            {**where, "r": {"$lt": before}} if "r" not in where else where,
            arm.hint,
            order=NEWEST,
            limit=size,
        )
        if len(documents) >= size:
            # Of this arm nothing is known below its last one.
            reached = max(reached, documents[-1]["r"])
        gathered.update((one["_id"], one) for one in documents)
    found = [Candidate(one) for one in gathered.values() if one["r"] >= reached]
    found.sort(key=lambda one: -one.number)
    return found, reached


async def _walk(
    reads: Reads, planned: Plan, narrow: Document, before: int, limit: int
) -> list[Candidate] | None:
    """Return the first matches along the whole type, or None where they lie far back.

    It is walked in windows, so that no more is read than gathering would take.
    """
    left = WALKED if planned.rows >= MANY else planned.rows * 2
    where = every([planned.walk.where, planned.may, narrow])
    if where is None:
        return []
    found: list[Candidate] = []
    window = _FIRST_WINDOW
    while left > 0:
        end = await _after(reads, planned.kind, before, window)
        while len(found) < limit:
            documents = await reads.find(
                {**where, "r": {"$lt": before, "$gte": end}},
                planned.walk.hint,
                order=NEWEST,
                limit=limit,
            )
            batch = [Candidate(one) for one in documents]
            found += await judged(reads, planned.kind, planned.where, batch)
            if len(documents) < limit:
                break
            before = documents[-1]["r"]
        if len(found) >= limit or not end:
            return found[:limit]
        before = end
        left -= window
        window *= _GROWTH
    return None


async def _after(reads: Reads, kind: str, before: int, window: int) -> int:
    """Return the number of the version that stands so many after another, 0 at the end."""
    stages: list[Document] = [
        {"$match": {"t": kind, "r": {"$lt": before}}},
        {"$sort": {"r": -1}},
        {"$skip": window},
        {"$limit": 1},
        {"$project": {"_id": 0, "r": 1}},
    ]
    found = await reads.aggregate(stages, "types")
    return int(found[0]["r"]) if found else 0
