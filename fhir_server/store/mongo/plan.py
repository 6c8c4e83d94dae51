"""What drives a search: the index that gives the fewest, found by counting a little of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from fhir_server.search.expression import Expression
from fhir_server.store.mongo.filters import ALIVE, Filter, every, hide, neither
from fhir_server.store.mongo.query import Arm, Clause, Link, clause, flat, links_in
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document

LEVELS: Final = (500, 2_000, 20_000)
"""What every index gives is counted up to the first of these that one of them stays below."""
MANY: Final = LEVELS[-1]
"""What gives so many may give any number."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How matches of one type are found.

    Attributes:
        kind: The type.
        where: What is asked.
        clauses: What it is the conjunction of.
        driver: Which of them drives; None where nothing does.
        rows: How many the driver gives (MANY: or more); 0 where it was not counted.
    """

    kind: str
    where: Expression
    clauses: tuple[Clause, ...]
    driver: int | None = None
    rows: int = 0
    _walk: Arm = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_walk", Arm({"t": self.kind, **ALIVE}, "types", ordered=True))

    @property
    def arms(self) -> tuple[Arm, ...]:
        """What is read: the driver's parts of an index, or all resources of the type."""
        if self.driver is None:
            return (self._walk,)
        return self.clauses[self.driver].arms or ()

    @property
    def walk(self) -> Arm:
        """All resources of the type, newest first."""
        return self._walk

    @property
    def ordered(self) -> bool:
        """Whether what is read comes newest first."""
        return all(arm.ordered for arm in self.arms)

    @property
    def may(self) -> Filter:
        """What has all that match."""
        return every(one.may for one in self.clauses)

    @property
    def exact(self) -> bool:
        """Whether filters tell all."""
        return all(one.exact for one in self.clauses)

    @property
    def sure(self) -> Filter:
        """What has nothing that does not match."""
        return every(one.sure for one in self.clauses)

    @property
    def rest(self) -> Filter:
        """What has all that match, of what the driver gives."""
        return every(
            one.may for at, one in enumerate(self.clauses) if at != self.driver or not one.whole
        )


def asked(arm: Arm, rest: Filter) -> Document | None:
    """Return what of a part of an index passes a filter too."""
    if rest is None:
        return None
    return every([arm.where, hide(rest) if arm.hint == "keys" else rest])


def apart(arms: Sequence[Arm], at: int) -> Document:
    """Return what passes one arm and none of those before it."""
    earlier = [neither(one.where) for one in arms[:at]]
    return asked(arms[at], every(earlier)) or {}


def links_of(kind: str, where: Expression) -> list[tuple[str, Link]]:
    """Return the links of an expression, as `Reads.links` names them."""
    return list(dict.fromkeys((kind, link) for link in links_in(where)))


async def driven(reads: Reads, kind: str, where: Expression, *, counted: bool) -> Plan:
    """Return how the matches of a type are found, with what is known of links.

    Args:
        reads: What is asked.
        kind: The type.
        where: What matches.
        counted: Whether a lone driver that comes newest first is counted too.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    parts = flat(where)
    clauses = tuple(clause(kind, part, reads.links) for part in parts)
    drivers = [at for at, one in enumerate(clauses) if one.arms is not None]
    if not drivers:
        return Plan(kind, where, clauses)
    if len(drivers) == 1 and clauses[drivers[0]].ordered and not counted:
        return Plan(kind, where, clauses, drivers[0])
    if nothing := [at for at in drivers if not clauses[at].arms]:
        return Plan(kind, where, clauses, nothing[0])
    best, rows = drivers[0], 0
    for most in LEVELS:
        counts = await _count(reads, [clauses[at].arms or () for at in drivers], most)
        rows, _, best = min(
            (count, not clauses[at].ordered, at) for at, count in zip(drivers, counts, strict=True)
        )
        if rows < most:
            break
    else:
        rows = MANY
    return Plan(kind, where, clauses, best, rows)


async def _count(reads: Reads, drivers: Sequence[Sequence[Arm]], most: int) -> list[int]:
    """Return how many each driver gives, counted up to `most`."""
    branches: list[tuple[list[Document], str]] = []
    for number, arms in enumerate(drivers):
        for arm in arms:
            stages: list[Document] = [
                {"$match": arm.where},
                {"$limit": most},
                {"$group": {"_id": number, "n": {"$sum": 1}}},
            ]
            branches.append((stages, arm.hint))
    counts = [0] * len(drivers)
    if reads.session.in_transaction:  # which takes no $unionWith
        for stages, hint in branches:
            _add(counts, await reads.aggregate(stages, hint))
    else:
        (stages, hint), *others = branches
        name = reads.collections.resource.name
        unions = [{"$unionWith": {"coll": name, "pipeline": one}} for one, _ in others]
        _add(counts, await reads.aggregate([*stages, *unions], hint))
    return [min(count, most) for count in counts]


def _add(counts: list[int], found: list[Document]) -> None:
    for one in found:
        counts[one["_id"]] += one["n"]
