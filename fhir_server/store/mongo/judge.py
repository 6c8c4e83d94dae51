"""Whether resources match, by their own entries: `search.match` for many of them at a time.

What an expression asks at the other end of its links is found for all of them together: one read
for all targets of a chain, one for all that refer to them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from fhir_server.search.expression import (
    And,
    Chain,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Not,
    Or,
    RefersTo,
    Tagged,
    TokenIs,
)
from fhir_server.search.match import in_time, value_matches
from fhir_server.search.values import ReferenceValue, TokenValue, Value
from fhir_server.store.keys import NARROWER
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import Entry
from fhir_server.store.mongo.filters import ALIVE, every, hide, keyed
from fhir_server.store.mongo.query import MERGED, Link, clause, links_in
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document

_CHUNK: Final = 1_000
_TURN: Final = 100
"""So many are judged before others have their turn."""
_LISTED: Final = 8
"""So many references or tokens in a list are looked up at once."""


class Candidate:
    """A current resource that may match.

    Attributes:
        key: `Type/id`.
        number: Of its current version.
        document: It whole, where it was read so.
    """

    __slots__ = (
        "_entry", "_packed", "_values", "document", "key", "number", "patients", "tags", "updated"
    )  # fmt: skip

    def __init__(self, document: Document) -> None:
        self.key: str = document["_id"]
        self.number = int(document["r"])
        self.updated = int(document["u"])  # a plain one: cursors carry it
        self.patients: list[str] = document["p"]
        self.tags: list[str] = document.get("g", [])
        self._packed: bytes = document["e"]
        self._entry: Entry | None = None
        self._values: dict[str, tuple[Value, ...]] = {}
        self.document = document if "v" in document else None

    @property
    def id(self) -> str:
        """The resource's id."""
        return self.key.partition("/")[2]

    @property
    def entry(self) -> Entry:
        """All its values."""
        if self._entry is None:
            self._entry = Entry(self._packed)
        return self._entry

    def forget(self) -> None:
        """Let go of the values: of many resources they are too much to be kept."""
        self._entry = None
        self._values = {}

    def values(self, param: str) -> tuple[Value, ...]:
        """Return its values of one parameter."""
        found = self._values.get(param)
        if found is None:
            found = self._values[param] = self.entry.values(param)
        return found

    def targets(self, param: str, kind: str) -> list[str]:
        """Return the ids of resources of a type to which a parameter refers."""
        return [
            value.resource_id
            for value in self.values(param)
            if isinstance(value, ReferenceValue) and value.resource_type == kind
        ]


Test = Callable[[Candidate], bool]


async def judged(
    reads: Reads, kind: str, where: Expression, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Return those of the candidates, all of one type, that match.

    Raises:
        WorkBudgetExceeded: Too much stands at the other end of a link.
    """
    for link in dict.fromkeys(links_in(where)):
        await _follow(reads, kind, link, candidates)
    test = _test(reads, kind, where)
    found: list[Candidate] = []
    for at in range(0, len(candidates), _TURN):
        if at:  # a long list of what is asked makes each of them slow
            reads.spend(0)
            await asyncio.sleep(0)
        found += filter(test, candidates[at : at + _TURN])
    return found


def _test(reads: Reads, kind: str, where: Expression) -> Test:
    """Return how one candidate is told; links were followed."""
    match where:
        case And(operands):
            tests = [_test(reads, kind, part) for part in operands]
            return lambda one: all(test(one) for test in tests)
        case Or(operands):
            among = _among(operands)
            if among is not None:
                return among
            tests = [_test(reads, kind, part) for part in operands]
            return lambda one: any(test(one) for test in tests)
        case Not(operand):
            test = _test(reads, kind, operand)
            return lambda one: not test(one)
        case Ids(ids):
            return lambda one: one.id in ids
        case LastUpdated(prefix, low, high):
            return lambda one: in_time(prefix, one.updated, one.updated, low, high)
        case InPatient(patients):
            return lambda one: not patients.isdisjoint(one.patients)
        case Tagged(tag):
            return lambda one: tag in one.tags
        case Missing(param, missing):
            return lambda one: missing is not one.entry.has(param)
        case Chain(param, target_type):
            ends = reads.judged[kind, where]
            return lambda one: any(ends[to] for to in one.targets(param, target_type))
        case Has():
            referred = reads.judged[kind, where]
            return lambda one: referred[one.id]
        case _:
            leaf, param = where, where.param
            return lambda one: any(value_matches(leaf, value) for value in one.values(param))


def _among(operands: tuple[Expression, ...]) -> Test | None:
    """Return how a long list of one parameter's references or tokens is told, else None."""
    if len(operands) < _LISTED or len({getattr(one, "param", None) for one in operands}) != 1:
        return None
    if all(isinstance(one, TokenIs) for one in operands):
        return _among_tokens([one for one in operands if isinstance(one, TokenIs)])
    asked: set[tuple[str, str]] = set()
    param = ""
    for one in operands:
        if not isinstance(one, RefersTo) or one.url or not one.resource_type:
            return None
        asked.add((one.resource_type, one.resource_id))
        param = one.param
    return lambda one: any(
        isinstance(value, ReferenceValue) and (value.resource_type, value.resource_id) in asked
        for value in one.values(param)
    )


def _among_tokens(operands: Sequence[TokenIs]) -> Test:
    """Return how a list of one parameter's tokens is told."""
    param = operands[0].param
    whole = {(one.system, one.code) for one in operands}
    return lambda one: any(
        isinstance(value, TokenValue)
        and bool(value.system or value.code)
        and not whole.isdisjoint((
            (value.system, value.code),
            (None, value.code),
            (value.system, None),
            (None, None),
        ))
        for value in one.values(param)
    )


async def _follow(reads: Reads, kind: str, link: Link, candidates: Sequence[Candidate]) -> None:
    """Find out what a link leads to, for candidates of which it is not known yet."""
    known = reads.judged.setdefault((kind, link), {})
    if isinstance(link, Chain):
        asked = {to for one in candidates for to in one.targets(link.param, link.target_type)}
    else:
        asked = {one.id for one in candidates}
    unknown = [one for one in sorted(asked) if one not in known]
    ids = reads.links.get((kind, link))
    if ids is not None:
        known.update((one, one in ids) for one in unknown)
        return
    for at in range(0, len(unknown), _CHUNK):
        chunk = unknown[at : at + _CHUNK]
        if isinstance(link, Chain):
            found = await _ends(reads, link, chunk)
        else:
            found = await _referred(reads, kind, link, chunk)
        known.update((one, one in found) for one in chunk)


async def _ends(reads: Reads, link: Chain, ids: Iterable[str]) -> set[str]:
    """Return which of these current resources match what a chain asks of them."""
    kind = link.target_type
    named = {"_id": {"$in": [f"{kind}/{one}" for one in ids]}}
    may = every([named, ALIVE, clause(kind, link.where, reads.links).may])
    if may is None:
        return set()
    found = [Candidate(one) for one in await reads.find(may, "_id_")]
    return {one.id for one in await judged(reads, kind, link.where, found)}


async def _referred(reads: Reads, kind: str, link: Has, ids: Sequence[str]) -> set[str]:
    """Return which of these resources are referred to by what a `_has` asks for."""
    source = link.source_type
    names = (link.param, *NARROWER.get(link.param, ()))
    asked = [keys.reference(source, name, f"{kind}/{one}") for one in ids for name in names]
    rest = clause(source, link.where, reads.links).may
    referred: set[str] = set()
    for at in range(0, len(asked), MERGED):
        may = every([keyed(asked[at : at + MERGED]), None if rest is None else hide(rest)])
        if may is None:
            break
        async with aclosing(reads.batches(may, "keys")) as batches:
            async for batch in batches:
                found = await judged(reads, source, link.where, [Candidate(one) for one in batch])
                referred.update(to for one in found for to in one.targets(link.param, kind))
    return referred
