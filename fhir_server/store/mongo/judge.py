"""Whether resources match, by their own entries: `search.match` for many of them at a time.

What an expression asks at the other end of its links is found for all of them together: one read
for all targets of a chain, one for all that refer to them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Final

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
    UriIs,
)
from fhir_server.search.match import in_time, value_matches
from fhir_server.search.values import ReferenceValue, TokenValue, UriValue, Value
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import Entry
from fhir_server.store.mongo.filters import ALIVE, every, hide, keyed
from fhir_server.store.mongo.query import MERGED, Link, clause, links_in, names_of
from fhir_server.store.mongo.reads import JUDGED, NEWEST, Reads
from fhir_server.store.mongo.schema import Document

_CHUNK: Final = 1_000
_PROBED: Final = 400
"""Of so many resources a few that refer to them are asked for first."""
_EACH: Final = 8
"""So many for each, of all of them together."""
_TOGETHER: Final = 1_200
"""No more than so many; where there are more, the newest that refer to each are asked for."""
_NEWEST: Final = 3
"""So many of each."""
_BRANCHES: Final = 100
"""For so many of them at once."""
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
        return self.entry.targets(param, kind)


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
            lists, others = _lists(operands)
            tests = lists + [_test(reads, kind, part) for part in others]
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


def _lists(operands: tuple[Expression, ...]) -> tuple[list[Test], list[Expression]]:
    """Return how long lists of one parameter's values are told, and what is asked beside them.

    A list of hundreds, one by one, would be what takes longest of a search.
    """
    if len(operands) < _LISTED:
        return [], list(operands)
    lists: dict[tuple[str, Callable[..., Test]], list[Any]] = {}
    others: list[Expression] = []
    for one in operands:
        match one:
            case TokenIs(param):
                lists.setdefault((param, _among_tokens), []).append(one)
            case RefersTo(param, _, _, url) if url:
                lists.setdefault((param, _among_urls), []).append(one)
            case RefersTo(param, kind, _) if kind:
                lists.setdefault((param, _among_references), []).append(one)
            case UriIs(param, _, "exact"):
                lists.setdefault((param, _among_uris), []).append(one)
            case _:
                others.append(one)
    tests: list[Test] = []
    for (_, among), some in lists.items():
        if len(some) < _LISTED:
            others += some
        else:
            tests.append(among(some))
    return tests, others


def _among_references(operands: Sequence[RefersTo]) -> Test:
    """Return how a list of one parameter's references to local resources is told."""
    param = operands[0].param
    asked = {(one.resource_type, one.resource_id) for one in operands}
    return lambda one: any(
        isinstance(value, ReferenceValue) and (value.resource_type, value.resource_id) in asked
        for value in one.values(param)
    )


def _among_urls(operands: Sequence[RefersTo]) -> Test:
    """Return how a list of one parameter's references by URL is told."""
    param, asked = operands[0].param, {one.url for one in operands}
    return lambda one: any(
        isinstance(value, ReferenceValue) and value.url in asked for value in one.values(param)
    )


def _among_uris(operands: Sequence[UriIs]) -> Test:
    """Return how a list of one parameter's URIs is told."""
    param, asked = operands[0].param, {one.uri for one in operands}
    return lambda one: any(
        isinstance(value, UriValue) and value.uri in asked for value in one.values(param)
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
    names = names_of(link.param)
    rest = clause(source, link.where, reads.links).may
    referred: set[str] = set()
    if rest is None:
        return referred
    for some in (_some_referring, _newest_referring):
        if not ids or len(ids) > _PROBED or reads.session.in_transaction:
            break
        ids, documents = await some(reads, kind, link, ids, rest)
        found = await judged(reads, source, link.where, [Candidate(one) for one in documents])
        referred.update(to for one in found for to in one.targets(link.param, kind))
        ids = [one for one in ids if one not in referred]
    asked = [keys.reference(source, name, f"{kind}/{one}") for one in ids for name in names]
    for at in range(0, len(asked), MERGED):
        may = every([keyed(asked[at : at + MERGED]), hide(rest)]) or {}
        async with aclosing(reads.batches(may, "keys")) as batches:
            async for batch in batches:
                found = await judged(reads, source, link.where, [Candidate(one) for one in batch])
                referred.update(to for one in found for to in one.targets(link.param, kind))
    return referred


async def _some_referring(
    reads: Reads, kind: str, link: Has, ids: Sequence[str], rest: Document
) -> tuple[list[str], list[Document]]:
    """Return which of these resources more may refer to, and some that refer to any of them.

    One question: the database takes longer for one of many parts than for what they give.
    """
    names = names_of(link.param)
    asked = [
        keys.reference(link.source_type, name, f"{kind}/{one}") for one in ids for name in names
    ]
    most = min(_EACH * len(ids), _TOGETHER)
    where = every([keyed(asked), hide(rest)]) or {}
    documents = await reads.find(where, "keys", limit=most)
    return list(ids) if len(documents) >= most else [], documents


async def _newest_referring(
    reads: Reads, kind: str, link: Has, ids: Sequence[str], rest: Document
) -> tuple[list[str], list[Document]]:
    """Return which of these resources more may refer to, and of each the newest that do."""
    source = link.source_type
    branches: list[list[Document]] = []
    for number, one in enumerate(ids):
        asked = [keys.reference(source, name, f"{kind}/{one}") for name in names_of(link.param)]
        branches.append([
            {"$match": every([keyed(asked), hide(rest)])},
            {"$sort": dict(NEWEST)},
            {"$limit": _NEWEST},
            {"$project": {**JUDGED, "of": {"$literal": number}}},
        ])
    documents: list[Document] = []
    for at in range(0, len(branches), _BRANCHES):
        first, *others = branches[at : at + _BRANCHES]
        name = reads.collections.resource.name
        unions = [{"$unionWith": {"coll": name, "pipeline": other}} for other in others]
        documents += await reads.aggregate([*first, *unions], "keys")
    reads.spend(len(documents))
    given = Counter(one["of"] for one in documents)
    more = [one for number, one in enumerate(ids) if given[number] >= _NEWEST]
    return more, list({one["_id"]: one for one in documents}.values())
