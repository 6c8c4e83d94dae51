"""Whether resources match, by their own entries: `search.match` for many of them at a time.

What an expression asks at the other end of its links is found for all of them together: one read
for all targets of a chain, one for all that refer to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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
    Tagged,
)
from fhir_server.search.match import in_time, value_matches
from fhir_server.search.values import ReferenceValue
from fhir_server.store.keys import NARROWER
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import Entry
from fhir_server.store.mongo.filters import ALIVE, every, hide, keyed
from fhir_server.store.mongo.query import MERGED, Link, clause, links_in
from fhir_server.store.mongo.reads import Reads
from fhir_server.store.mongo.schema import Document

_CHUNK: Final = 1_000


class Candidate:
    """A current resource that may match.

    Attributes:
        key: `Type/id`.
        number: Of its current version.
        document: It whole, where it was read so.
    """

    __slots__ = ("_entry", "_packed", "document", "key", "number", "patients", "tags", "updated")

    def __init__(self, document: Document) -> None:
        self.key: str = document["_id"]
        self.number = int(document["r"])
        self.updated = int(document["u"])  # a plain one: cursors carry it
        self.patients: list[str] = document["p"]
        self.tags: list[str] = document.get("g", [])
        self._packed: bytes = document["e"]
        self._entry: Entry | None = None
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

    def targets(self, param: str, kind: str) -> list[str]:
        """Return the ids of resources of a type to which a parameter refers."""
        return [
            value.resource_id
            for value in self.entry.values(param)
            if isinstance(value, ReferenceValue) and value.resource_type == kind
        ]


async def judged(
    reads: Reads, kind: str, where: Expression, candidates: Sequence[Candidate]
) -> list[Candidate]:
    """Return those of the candidates, all of one type, that match.

    Raises:
        WorkBudgetExceeded: Too much stands at the other end of a link.
    """
    for link in dict.fromkeys(links_in(where)):
        await _follow(reads, kind, link, candidates)
    return [one for one in candidates if _matches(reads, kind, where, one)]


def _matches(reads: Reads, kind: str, where: Expression, one: Candidate) -> bool:
    match where:
        case And(operands):
            return all(_matches(reads, kind, part, one) for part in operands)
        case Or(operands):
            return any(_matches(reads, kind, part, one) for part in operands)
        case Not(operand):
            return not _matches(reads, kind, operand, one)
        case Ids(ids):
            return one.id in ids
        case LastUpdated(prefix, low, high):
            return in_time(prefix, one.updated, one.updated, low, high)
        case InPatient(patients):
            return not patients.isdisjoint(one.patients)
        case Tagged(tag):
            return tag in one.tags
        case Missing(param, missing):
            return missing is not one.entry.has(param)
        case Chain():
            known = reads.judged[kind, where]
            return any(known[to] for to in one.targets(where.param, where.target_type))
        case Has():
            return reads.judged[kind, where][one.id]
        case _:
            return any(value_matches(where, value) for value in one.entry.values(where.param))


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
