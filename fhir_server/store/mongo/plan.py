"""What drives a search: the index that gives the fewest, found by counting a little of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhir_server.search.composites import implied
from fhir_server.search.expression import (
    CompositeIs,
    DateIs,
    Expression,
    Missing,
    NumberIs,
    QuantityIs,
    TokenIs,
    TokenText,
)
from fhir_server.store.mongo.filters import ALIVE, Filter, either, every, hide, keys_of, neither
from fhir_server.store.mongo.query import (
    MERGED,
    Arm,
    Clause,
    Link,
    clause,
    flat,
    links_in,
    present,
)
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document

LEVELS: Final = (500, 2_000, 6_000, 20_000)
"""What every index gives is counted up to the first of these that one of them stays below."""
BRANCHES: Final = 300
"""Parts of indexes that are counted at once, but that one clause alone may have more; the database
takes no more than 1,000.
"""


@dataclass(frozen=True, slots=True)
class Plan:
    """How matches of one type are found.

    Attributes:
        kind: The type.
        where: What is asked.
        parts: What it is the conjunction of.
        clauses: What these become.
        driver: Which of them drives; None where nothing does.
        arms: What is read: the driver's parts of an index, or all resources of the type.
        rows: How many these give; None where they are many, or were not counted.
        counted: Up to how many they were counted.
    """

    kind: str
    where: Expression
    parts: tuple[Expression, ...]
    clauses: tuple[Clause, ...]
    driver: int | None
    arms: tuple[Arm, ...]
    rows: int | None = None
    counted: int = 0

    @property
    def walk(self) -> Arm:
        """All resources of the type, newest first."""
        return _walk(self.kind)

    @property
    def ordered(self) -> bool:
        """Whether what is read comes newest first."""
        return all(arm.ordered for arm in self.arms)

    @property
    def many(self) -> bool:
        """Whether every index was seen to give many."""
        return self.rows is None and self.counted > 0

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
    def open(self) -> Filter:
        """Keys of which what `may` has and `sure` has not has one; empty where none tell."""
        found = [one.open for one in self.clauses if not one.exact]
        return either(found) if all(found) else {}

    @property
    def is_only(self) -> bool:
        """Whether no other part may drive: which has the fewest need not be counted."""
        return len(_drivers(self.parts, self.clauses)) <= 1

    @property
    def rest(self) -> Filter:
        """What has all that match, of what the driver gives."""
        return every(
            one.may for at, one in enumerate(self.clauses) if at != self.driver or not one.whole
        )


def asked(arm: Arm, rest: Filter) -> Filter:
    """Return what of a part of an index passes a filter too."""
    if rest is None:
        return None
    return every([arm.where, arm.also, hide(rest) if arm.hint == "keys" else rest])


def apart(planned: Plan) -> list[Arm]:
    """Return the arms of a plan, each without what those before it give."""
    arms = list(planned.arms)
    if planned.driver is None or planned.clauses[planned.driver].apart:
        return arms
    # Keys are in several arms for the sake of their order alone.
    keyed = either(arm.where for arm in arms if keys_of(arm.where))
    if keyed is not None:
        few = len(keys_of(keyed) or ()) <= MERGED
        arms = [Arm(keyed, "keys", ordered=few), *(arm for arm in arms if not keys_of(arm.where))]
    found: list[Arm] = []
    for at, arm in enumerate(arms):
        earlier = every(neither(every([one.where, one.also])) for one in arms[:at])
        found.append(Arm(asked(arm, earlier) or {}, arm.hint, arm.ordered))
    return found


def absent(planned: Plan) -> Filter:
    """Return what nothing that matches has: a value of a parameter of which none is asked.

    None where no value is asked to be missing, or no key tells it.
    """
    for part in planned.parts:
        match part:
            case Missing(param, True):
                if has := present(planned.kind, param):
                    return has
            case _:
                pass
    return None


async def lacking(reads: Reads, planned: Plan) -> int | None:
    """Return how many lack the value that `absent` names; None where no index tells it.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    without, size = absent(planned), reads.sizes.get(planned.kind)
    if without is None or size is None:
        return None
    (key,) = keys_of(without) or (0,)
    number = reads.valued.get(key)
    if number is None:
        number = reads.valued[key] = await reads.count(without, "keys")
    return size - number


def links_of(kind: str, where: Expression) -> list[tuple[str, Link]]:
    """Return the links of an expression, as `Reads.links` names them."""
    return list(dict.fromkeys((kind, link) for link in links_in(where)))


async def driven(
    reads: Reads,
    kind: str,
    where: Expression,
    *,
    levels: Sequence[int] = LEVELS,
    lone: bool = False,
) -> Plan:
    """Return how the matches of a type are found, with what is known of links.

    Args:
        reads: What is asked.
        kind: The type.
        where: What matches.
        levels: Up to how many an index is counted.
        lone: Whether one index alone is not counted if it comes newest first.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    parts = _parts(kind, where)
    clauses = tuple(clause(kind, part, reads.links) for part in parts)
    drivers = _drivers(parts, clauses)
    if not drivers:
        return Plan(kind, where, parts, clauses, None, (_walk(kind),))
    first, arms = next(iter(drivers.items()))
    if len(drivers) == 1 and (clauses[first].weak or (lone and all(arm.ordered for arm in arms))):
        return Plan(kind, where, parts, clauses, first, arms)
    names = _names(arms) if len(drivers) == 1 else None
    if names is not None and names < levels[0]:
        return Plan(kind, where, parts, clauses, first, arms, names, levels[0])
    best, rows, most = first, 0, 0
    for most in levels:
        counts = await _count(reads, drivers, most)
        rows, _, best = min(
            (min(sum(counts[at]), most), not clauses[at].ordered, at) for at in drivers
        )
        if rows < most:
            break
    # What was counted is so in all of the view: an empty part need not be asked again.
    arms = tuple(arm for arm, n in zip(drivers[best], counts[best], strict=True) if n)
    known = rows if rows < most else None
    return Plan(kind, where, parts, clauses, best, arms, known, most)


def _names(arms: Sequence[Arm]) -> int | None:
    """Return how many resources arms name, None where they do not: of these no count is asked."""
    if any(arm.hint != "_id_" for arm in arms):
        return None
    return sum(len(arm.where["_id"]["$in"]) for arm in arms)


def _parts(kind: str, where: Expression) -> tuple[Expression, ...]:
    """Return what is asked, part by part, and what composites among it say of single parameters.

    A composite is found by its first component alone: an index of the second may have far fewer.
    So may any word of a text.
    """
    parts = dict.fromkeys(flat(where))
    for part in tuple(parts):
        if isinstance(part, TokenText) and " " in part.folded:
            parts |= dict.fromkeys(TokenText(part.param, one) for one in part.folded.split(" "))
        if isinstance(part, CompositeIs):
            parts |= dict.fromkeys(
                one
                for one in implied(part, kind)
                if one is not part.parts[0] or not isinstance(one, TokenIs)
            )
    return tuple(parts)


async def candidates(reads: Reads, planned: Plan) -> dict[int, int]:
    """Return which parts of a plan have an index that may drive, and how many each gives.

    They are counted up to the last of LEVELS.

    Raises:
        WorkBudgetExceeded: It takes too long.
    """
    counts = await _count(reads, _drivers(planned.parts, planned.clauses), LEVELS[-1])
    return {at: min(sum(found), LEVELS[-1]) for at, found in counts.items()}


def _walk(kind: str) -> Arm:
    return Arm({"t": kind, **ALIVE}, "types", ordered=True)


def _drivers(
    parts: Sequence[Expression], clauses: Sequence[Clause]
) -> Mapping[int, tuple[Arm, ...]]:
    """Return which clauses may drive, and by what; one alone where nothing matches it."""
    found: dict[int, tuple[Arm, ...]] = {}
    weak: dict[int, tuple[Arm, ...]] = {}
    for at, one in enumerate(clauses):
        if one.arms is None:
            continue
        if not one.arms:
            return {at: ()}
        if one.weak:
            weak = {at: one.arms}
        else:
            found[at] = _bounded(parts, clauses, at)
    return _few(found) or weak


def _few(drivers: dict[int, tuple[Arm, ...]]) -> dict[int, tuple[Arm, ...]]:
    """Return as many drivers as are counted at once, those with the fewest arms first."""
    found: dict[int, tuple[Arm, ...]] = {}
    branches = 0
    for at in sorted(drivers, key=lambda at: len(drivers[at])):
        branches += len(drivers[at])
        if found and branches > BRANCHES:
            break
        found[at] = drivers[at]
    return found


def _bounded(parts: Sequence[Expression], clauses: Sequence[Clause], at: int) -> tuple[Arm, ...]:
    """Return the arms of a clause; of a range, within the bounds of others of its parameter."""
    arms = clauses[at].arms or ()
    part = parts[at]
    if not isinstance(part, DateIs | NumberIs | QuantityIs):
        return arms
    bounds = [
        bound
        for other, one in enumerate(parts)
        if other != at and isinstance(one, type(part)) and one.param == part.param
        for bound in clauses[other].bounds
    ]
    if not bounds:
        return arms
    return tuple(
        replace(arm, where=every([arm.where, *(one for one in bounds if _path(one) == path)]) or {})
        for arm in arms
        for path in (_path(arm.where),)
    )


def _path(where: Document) -> str:
    """Return the path of the field that a part of an index is a range of: `o.a` and the path."""
    return next((name[3:] for name in where if name.startswith("o.")), "")


async def _count(
    reads: Reads, drivers: Mapping[int, Sequence[Arm]], most: int
) -> dict[int, list[int]]:
    """Return how many each arm gives, counted up to `most`."""
    counts = {at: [0] * len(arms) for at, arms in drivers.items()}
    branches: list[tuple[list[Document], str]] = []
    for at, arms in drivers.items():
        for number, arm in enumerate(arms):
            # How many are deleted is not looked at: the index alone tells the rest.
            where = {name: value for name, value in arm.where.items() if name != "D"}
            stages: list[Document] = [
                {"$match": where},
                {"$limit": most},
                {"$group": {"_id": [at, number], "n": {"$sum": 1}}},
            ]
            branches.append((stages, arm.hint))
    if not branches:
        return counts
    found: list[Document] = []
    if reads.session.in_transaction:  # which takes no $unionWith
        for stages, hint in branches:
            found += await reads.aggregate(stages, hint)
    else:
        (stages, hint), *others = branches
        name = reads.collections.resource.name
        unions = [{"$unionWith": {"coll": name, "pipeline": one}} for one, _ in others]
        found = await reads.aggregate([*stages, *unions], hint)
    for one in found:
        at, number = one["_id"]
        counts[at][number] = one["n"]
    return counts
