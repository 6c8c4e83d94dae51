"""Conditions of a batch: what the database has, corrected by what the group has made of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search.expression import And, Chain, Expression, Has, Not, Or
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.entry import Entry
from fhir_server.store.mongo.foreseen import Foreseen, is_retagged, staged_matches
from fhir_server.store.mongo.schema import Collections, Document
from fhir_server.store.mongo.staging import Resource, Staging
from fhir_server.store.mongo.versions import key_of, name_of
from fhir_server.store.mongo.writing import Writing
from fhir_server.store.port import (
    Condition,
    ConditionChanged,
    Matches,
    Name,
    Referenced,
    Unchanged,
    Unreferenced,
)

_REFERRERS: Final = 1_000


class Matching(Protocol):
    """What is asked of the search."""

    async def matching(
        self, resource_type: str, where: Expression, limit: int, session: AsyncClientSession
    ) -> list[str]:
        """Return the ids of current resources that match, at most so many."""


class Conditions:
    """Checks conditions within a transaction."""

    def __init__(
        self,
        collections: Collections,
        search: Matching,
        staging: Staging,
        writing: Writing,
        session: AsyncClientSession,
        foreseen: Foreseen,
    ) -> None:
        self._collections = collections
        self._search = search
        self._staging = staging
        self._writing = writing
        self._session = session
        self._foreseen = foreseen

    async def before(self, conditions: Iterable[Condition]) -> None:
        """Check what must hold before the batch's own writes.

        Raises:
            ConditionChanged: It does not.
        """
        for condition in conditions:
            match condition:
                case Matches(resource_type, where, ids):
                    if await self._matching(resource_type, where, len(ids)) != ids:
                        raise ConditionChanged(f"other resources of {resource_type} match now")
                case Unchanged(resource_type, resource_id, version_id):
                    now = self._staging.resources.get(key_of(resource_type, resource_id))
                    if (now.version_id if now else 0) != version_id:
                        raise ConditionChanged(f"{resource_type}/{resource_id} has changed")
                case Unreferenced():
                    continue

    async def _matching(self, resource_type: str, where: Expression, expected: int) -> set[str]:
        foreseen = await self._foreseen.matching(resource_type, where)
        if foreseen is not None:
            return foreseen
        staging, kind = self._staging, resource_type + "/"
        staged = [staging.resources[key] for key in staging.changed if key.startswith(kind)]
        if staging.changed and (_is_linked(where) or any(is_retagged(one) for one in staged)):
            # Only the database can tell: it is told first.
            await self._writing.begin()
            staged = []
        await self._writing.settle()
        limit = expected + len(staged) + 1
        found = await self._search.matching(resource_type, where, limit, self._session)
        ids = set(found).difference(name_of(one.key)[1] for one in staged)
        return ids.union(name_of(one.key)[1] for one in staged if staged_matches(where, one))

    async def after(
        self, conditions: Sequence[Condition], resources: dict[str, Resource], written: set[str]
    ) -> None:
        """Check what must hold after the batch's own writes, given what it would make.

        Raises:
            Referenced: It does not.
        """
        for condition in conditions:
            if isinstance(condition, Unreferenced):
                name = (condition.resource_type, condition.resource_id)
                await self._unreferenced(name, condition.but_for, resources, written)

    async def _unreferenced(
        self,
        name: Name,
        but_for: frozenset[Name],
        resources: dict[str, Resource],
        written: set[str],
    ) -> None:
        target = key_of(*name)
        group = {key for key in self._staging.changed if self._staging.resources[key].made}
        staged = group | written
        made = {
            key
            for key in staged
            if target
            in (resources.get(key) or self._staging.resources[key]).made[-1].prepared.targets
        }
        allowed = {target, *(key_of(*one) for one in but_for)}
        # As many as may be passed over, and one more, are enough to know.
        limit = max(_REFERRERS, len(staged | allowed) + 1)
        await self._writing.settle()
        kept = await referrers(self._collections, target, limit, self._session)
        for by in sorted((made | (kept - staged)) - allowed):
            raise Referenced(name, name_of(by))


async def referrers(
    collections: Collections, target: str, limit: int, session: AsyncClientSession | None = None
) -> set[str]:
    """Return the `Type/id` of current resources that refer to one, at most so many."""
    asked: Document = {"x": keys.referring(target)}
    found = collections.resource.find(asked, {"e": 1}, session=session).limit(limit)
    return {one["_id"] for one in await found.to_list() if Entry(one["e"]).refers_to(target)}


def _is_linked(where: Expression) -> bool:
    match where:
        case And(operands) | Or(operands):
            return any(map(_is_linked, operands))
        case Not(operand):
            return _is_linked(operand)
        case _:
            return isinstance(where, Chain | Has)
