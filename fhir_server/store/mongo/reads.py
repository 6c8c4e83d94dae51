"""The reads of one search: in one view of the store, within its work budget."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from bson.int64 import Int64
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import ExecutionTimeout, PyMongoError

from fhir_server.search.expression import Expression
from fhir_server.store.mongo.calls import Late
from fhir_server.store.mongo.query import Known, Link
from fhir_server.store.mongo.schema import Collections, Document
from fhir_server.store.mongo.versions import SHOWN
from fhir_server.store.port import WorkBudgetExceeded

if TYPE_CHECKING:
    from fhir_server.store.mongo.plan import Plan

SECONDS: Final = 5.0
"""Of one search, on the clock: several times what its documents take, for a busy machine must not
turn honest searches away as too costly (at ten times the load, 2 seconds did)."""
LONGEST: Final = 30.0
"""Seconds for one question at most, also where no time is set: many times what it takes."""
DOCUMENTS: Final = 100_000
"""Resources that one search may bring here to be judged or sorted: about a second's work."""

FEW: Final = 50
"""Questions of one search that take long only where the database does: it is busy, or went away."""


JUDGED: Final[Mapping[str, Any]] = {"_id": 1, "r": 1, "c": 1, "u": 1, "p": 1, "g": 1, "e": 1}
"""Projection: what a resource is judged by, and where it stands."""
WHOLE: Final[Mapping[str, Any]] = {**SHOWN, **JUDGED}
"""Projection: what it is shown by, too."""

FREE: Final = 0.25
"""Seconds of each search that its request is not charged: one by a key takes 3 ms, and 30 to 100
where the machine has six times more to do than it can."""

BATCH: Final = 1_000
"""Resources that are brought here at once."""

AT_ONCE: Final = 20
"""Parts of indexes of which what they give is one question."""

Order = Sequence[tuple[str, int]]
NEWEST: Final[Order] = (("r", -1),)
OLDEST: Final[Order] = (("r", 1),)


@dataclass(slots=True)
class Most:
    """What one search may take, where its request has not much left for it; and what it took.

    Attributes:
        brought: Resources brought here in all, whichever bound they were counted against.
    """

    seconds: float = field(default_factory=lambda: SECONDS)
    documents: int = field(default_factory=lambda: DOCUMENTS)
    brought: int = 0

    @classmethod
    def of(cls, share: float) -> Most:
        """Return that of a request that has a share of one search left, or several."""
        share = min(share, 1.0)
        return cls(max(SECONDS * share, SECONDS / 10), int(DOCUMENTS * share) + 1)

    @property
    def is_whole(self) -> bool:
        """Whether a search has all the time that any has."""
        return self.seconds >= SECONDS

    def searches(self, seconds: float) -> float:
        """Return what was taken in so many seconds, in whole searches.

        The first moments of each are free: they pass while the database is asked, and answer for
        no work, however many are asked and however busy the machine is. Nor is a search charged
        more time than any has: past that it waited for a primary.
        """
        return max(self.brought / DOCUMENTS, min((seconds - FREE) / SECONDS, 1.0), 0.0)


class Reads:
    """Asks the collections of one view.

    Attributes:
        sizes: How many current resources of a type there are, where it is known.
        links: What links are known to lead to (`query.Links`), as they are found.
        judged: Whether resources match what a link asks of them, as it is found.
        unordered: Types whose tokens, references and URIs have no order in the index.
        plans: How matches are found where indexes had to be counted further, for the total.
        valued: How many have a value, by the key that tells it, where they were counted.
        dense: What matches so often that a page was among the first few that were looked at.
        notes: How matches are looked for, where that is to be told.
    """

    def __init__(
        self,
        collections: Collections,
        session: AsyncClientSession,
        sizes: Mapping[str, int] | None = None,
        most: Most | None = None,
    ) -> None:
        self.sizes = sizes or {}
        self.collections = collections
        self.session = session
        self.links = Known()
        self.judged: dict[tuple[str, Link], dict[str, bool]] = {}
        self.unordered: Collection[str] = ()
        self.plans: dict[tuple[str, Expression], Plan] = {}
        self.valued: dict[int, int] = {}
        self.dense: set[tuple[str, Expression]] = set()
        self.notes: list[str] | None = None
        self._most = most or Most()
        self._until = time.monotonic() + self._most.seconds
        self._left = self._most.documents
        self._questions = 0

    def note(self, way: str) -> None:
        """Note how matches are looked for."""
        if self.notes is not None:
            self.notes.append(way)

    @property
    def brought(self) -> int:
        """How many resources were brought here to be judged or sorted."""
        return self._most.documents - self._left

    @property
    def questions(self) -> int:
        """How many questions the database was asked."""
        return self._questions

    @contextmanager
    def within(self, *, seconds: float | None, documents: int) -> Iterator[None]:
        """Allow less than what is left; `seconds` None does not shorten the time.

        Raises:
            WorkBudgetExceeded: More would be needed.
        """
        until, left = self._until, self._left
        given = min(left, documents)
        self._left = given
        if seconds is not None:
            self._until = min(until, time.monotonic() + seconds)
        try:
            yield
        finally:
            self._until, self._left = until, left - (given - self._left)

    @contextmanager
    def apart(self, documents: int) -> Iterator[None]:
        """Allow so many, whatever was taken and is left of the budget, and whatever the time.

        Raises:
            WorkBudgetExceeded: More would be needed.
        """
        until, left = self._until, self._left
        self._until, self._left = math.inf, documents
        try:
            yield
        finally:
            self._until, self._left = until, left

    def spend(self, documents: int) -> None:
        """Count resources that were brought here.

        Raises:
            WorkBudgetExceeded: They are too many, or it has taken too long.
        """
        self._left -= documents
        self._most.brought += documents
        if self._left < 0:
            raise WorkBudgetExceeded("the search went past its work budget")
        if time.monotonic() > self._until:
            raise self._over()

    def milliseconds(self) -> int:
        """Return how long the database may take, at least 1.

        Raises:
            WorkBudgetExceeded: No time is left.
        """
        left = self._until - time.monotonic()
        if left <= 0:
            raise self._over()
        self._questions += 1
        return max(1, int(min(left, LONGEST) * 1000))

    def _ended(self, given: int) -> WorkBudgetExceeded:
        """Return what is said of a question that the database ended after so many milliseconds."""
        if given < SECONDS * 100:  # a tenth: the time was over before
            return self._over()
        return WorkBudgetExceeded("the search went past its work budget")

    def _over(self) -> WorkBudgetExceeded:
        """Return what is said of the time being over.

        The database ends a question itself that takes it too long. Where it has ended none, and
        few were asked that brought little, the time went by while it did not answer.
        """
        is_little = (
            self._most.is_whole
            and self._questions <= FEW
            and DOCUMENTS - self._left <= DOCUMENTS // FEW
        )
        kind = Late if is_little else WorkBudgetExceeded
        return kind("the search went past its work budget")

    async def find(
        self,
        where: Document,
        hint: str,
        *,
        order: Order | None = None,
        limit: int = 0,
        fields: Mapping[str, Any] = JUDGED,
        size: int = 0,
    ) -> list[Document]:
        """Return resources, brought here `size` at a time (0: BATCH); `limit` 0 is all of them.

        Raises:
            WorkBudgetExceeded: They are too many, or it takes too long.
        """
        found: list[Document] = []
        batches = self.batches(where, hint, order=order, limit=limit, fields=fields, size=size)
        async with aclosing(batches):
            async for batch in batches:
                found += batch
        return found

    async def batches(
        self,
        where: Document,
        hint: str,
        *,
        order: Order | None = None,
        limit: int = 0,
        fields: Mapping[str, Any] = JUDGED,
        size: int = 0,
    ) -> AsyncGenerator[list[Document], None]:
        """Give resources as `find` does, `size` at a time (0: BATCH); to be closed (`aclosing`)."""
        given, size = self.milliseconds(), size or BATCH
        cursor = self.collections.resource.find(
            where,
            fields,
            sort=order,
            hint=hint,
            limit=limit,
            batch_size=min(limit, size) if limit else size,
            session=self.session,
            max_time_ms=given,
        )
        try:
            while cursor.alive:
                batch = await cursor.to_list(size)
                self.spend(len(batch))
                if batch:
                    yield batch
        except ExecutionTimeout as error:
            raise self._ended(given) from error
        finally:
            await self._close(cursor)

    async def _close(self, cursor: AsyncCursor[Document]) -> None:
        # A snapshot's session cannot end one (MongoDB takes no readConcern there): another can.
        if cursor.alive and cursor.cursor_id and not self.session.in_transaction:
            name = self.collections.resource.name
            with suppress(PyMongoError):  # it ends by itself, later
                await self.collections.database.command({
                    "killCursors": name,
                    "cursors": [Int64(cursor.cursor_id)],
                })
        await cursor.close()

    async def newest(
        self,
        where: Document,
        hint: str,
        *,
        limit: int,
        whole: bool = False,
        order: Order = NEWEST,
    ) -> list[Document]:
        """Return the newest resources, or the oldest, to be judged and maybe shown."""
        fields = WHOLE if whole else JUDGED
        return await self.find(where, hint, order=order, limit=limit, fields=fields)

    async def newest_of(
        self,
        parts: Sequence[tuple[Document, str]],
        *,
        limit: int,
        whole: bool = False,
        order: Order = NEWEST,
    ) -> list[list[Document]]:
        """Return of each of some parts of indexes the newest, or the oldest, as `newest` does.

        Parts that one index alone can serve are one question.
        """
        together = [one for one in parts if _is_simple(*one)]
        if len(together) < len(parts) or len(parts) > AT_ONCE or self.session.in_transaction:
            together = []
        if len(together) <= 1:
            return [
                await self.newest(where, hint, limit=limit, whole=whole, order=order)
                for where, hint in parts
            ]
        fields = dict(WHOLE if whole else JUDGED)
        stages: list[list[Document]] = [
            [
                {"$match": where},
                {"$sort": dict(order)},
                {"$limit": limit},
                {"$project": {**fields, "of": {"$literal": number}}},
            ]
            for number, (where, _) in enumerate(together)
        ]
        name = self.collections.resource.name
        unions = [{"$unionWith": {"coll": name, "pipeline": other}} for other in stages[1:]]
        found: list[list[Document]] = [[] for _ in together]
        documents = await self.aggregate([*stages[0], *unions], together[0][1])
        self.spend(len(documents))
        for one in documents:
            found[one.pop("of")].append(one)
        return found

    async def count(self, where: Document, hint: str, *, most: int = 0) -> int:
        """Return how many there are, counted up to `most` (0: all)."""
        stages: list[Document] = [{"$match": where}]
        if most:
            stages.append({"$limit": most})
        found = await self.aggregate([*stages, {"$count": "n"}], hint)
        return int(found[0]["n"]) if found else 0

    async def aggregate(self, stages: list[Document], hint: str) -> list[Document]:
        """Return what a pipeline over the resources gives.

        Raises:
            WorkBudgetExceeded: It takes too long.
        """
        given = self.milliseconds()
        try:
            cursor = await self.collections.resource.aggregate(
                stages, session=self.session, hint=hint, maxTimeMS=given, batchSize=BATCH
            )
            return await cursor.to_list()
        except ExecutionTimeout as error:
            raise self._ended(given) from error


def _is_simple(where: Document, hint: str) -> bool:
    """Return whether no other index serves a filter than the one that is meant.

    The database is told which one to take of the first part of a question alone.
    """
    return hint in {"keys", "texts"} and where.keys() <= {"x", "s", "r"}
