"""What the conditions of a group ask by keys: read for all of them at once, as it was before it.

What the group has made since is known here: it is judged as it was staged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search.expression import Expression, Or, RefersTo, TokenIs, UriIs
from fhir_server.search.match import Current, matches
from fhir_server.store.mongo.filters import keys_of
from fhir_server.store.mongo.judge import Candidate, judged
from fhir_server.store.mongo.query import clause, flat, links_in
from fhir_server.store.mongo.reads import JUDGED, Reads
from fhir_server.store.mongo.schema import Collections
from fhir_server.store.mongo.staging import Resource, Staging
from fhir_server.store.mongo.versions import name_of
from fhir_server.store.port import Matches, Name

KEYS: Final = 500
"""Keys in one question."""
FOUND: Final = 1_000
"""Resources that one question brings here; where there are more, its conditions are asked alone."""
IN_ALL: Final = 5_000
"""Resources after which no more is asked for all at once."""
EACH: Final = 100
"""Of more that have its keys, a condition is asked alone: it needs but the first that match."""
_KEYS_EACH: Final = 20

_Asked = dict[tuple[str, Expression], tuple[int, ...]]


class Foreseen:
    """What has the keys that the conditions of a group ask, at each point of the group."""

    def __init__(
        self, collections: Collections, staging: Staging, session: AsyncClientSession
    ) -> None:
        self._collections = collections
        self._staging = staging
        self._session = session
        self._asked: _Asked = {}
        self._before: dict[int, list[Candidate]] = {}
        self._joined = 0
        self._now: dict[str, Resource] = {}
        self._made: dict[int, set[str]] = {}
        self._retagged: set[str] = set()

    async def read(self, conditions: Iterable[Matches]) -> None:
        """Read what was there before the group.

        Raises:
            WorkBudgetExceeded: It takes too long.
        """
        rare: _Asked = {}
        others: _Asked = {}
        for one in conditions:
            asked, is_rare = _keys_asked(one.resource_type, one.where)
            if asked:
                (rare if is_rare else others)[one.resource_type, one.where] = asked
        self._asked = {**rare, **others}
        left = IN_ALL
        for question in (*_questions(rare), *_questions(others)):
            if left <= 0:
                break
            left -= await self._read(question)

    async def _read(self, question: list[int]) -> int:
        reads = Reads(self._collections, self._session)
        asked = {"x": {"$in": question}}
        documents = await reads.find(asked, "keys", limit=FOUND, fields={**JUDGED, "x": 1})
        if len(documents) < FOUND:
            found: dict[int, list[Candidate]] = {key: [] for key in question}
            for document in documents:
                candidate = Candidate(document)
                for key in found.keys() & document["x"]:
                    found[key].append(candidate)
            self._before |= found
        return len(documents)

    async def matching(self, kind: str, where: Expression) -> set[str] | None:
        """Return the ids of all current resources that match now; None: it must be asked."""
        asked = self._asked.get((kind, where))
        if asked is None or not self._before.keys() >= set(asked):
            return None
        self._take_in()
        if kind in self._retagged:
            return None
        there = {one.key: one for key in asked for one in self._before[key]}
        before = [one for key, one in there.items() if key not in self._now]
        made = set[str]().union(*(self._made.get(key, ()) for key in asked))
        if len(before) + len(made) > EACH:
            return None
        reads = Reads(self._collections, self._session)
        found = {one.id for one in await judged(reads, kind, where, before)}
        return found.union(name_of(key)[1] for key in made if staged_matches(where, self._now[key]))

    def _take_in(self) -> None:
        """Take in what the group has made since this was asked last."""
        for resource in self._staging.joined[self._joined :]:
            self._now[resource.key] = resource
            if is_retagged(resource):
                self._retagged.add(name_of(resource.key)[0])
            elif resource.live:
                fields = resource.made[-1].prepared.fields
                for key in self._before.keys() & fields["x"]:
                    self._made.setdefault(key, set()).add(resource.key)
        self._joined = len(self._staging.joined)


def is_retagged(resource: Resource) -> bool:
    """Return whether only tags were changed: then what is indexed of it was not read."""
    return resource.live and not resource.made


def staged_matches(where: Expression, resource: Resource) -> bool:
    """Return whether a resource that the group has made matches; it is not retagged."""
    if not resource.live:
        return False
    write = resource.made[-1].prepared.write
    name = (write.resource_type, write.resource_id)
    return matches(where, name, write.last_updated, write.index, resource.tags, _nobody)


def _nobody(_source_type: str, _param: str, _name: Name) -> Iterable[Current]:
    return ()


def _keys_asked(kind: str, where: Expression) -> tuple[tuple[int, ...], bool]:
    """Return keys of which all that matches has one (none: no key tells it), and if few have."""
    if links_in(where):
        return (), False
    best: tuple[int, ...] = ()
    for part in flat(where):
        leaves = part.operands if isinstance(part, Or) else (part,)
        if not all(isinstance(one, TokenIs | RefersTo | UriIs) for one in leaves):
            continue
        asked = _keys(kind, part)
        if not 0 < len(asked) <= _KEYS_EACH:
            continue
        if all(isinstance(one, TokenIs) and one.param == "identifier" for one in leaves):
            return asked, True
        if not best or len(asked) < len(best):
            best = asked
    return best, False


def _keys(kind: str, part: Expression) -> tuple[int, ...]:
    found = clause(kind, part, {})
    if not found.may or found.weak:
        return ()
    return tuple(keys_of(found.may) or ())


def _questions(asked: _Asked) -> Iterator[list[int]]:
    every = list(dict.fromkeys(key for some in asked.values() for key in some))
    for at in range(0, len(every), KEYS):
        yield every[at : at + KEYS]
