"""A batch made ready: all that needs no look at the database.

Index keys are hashed and packed once, however often a transaction is tried, and while the
database is at work (`commit.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.search.values import ReferenceValue
from fhir_server.store.mongo.chunks import LARGE, Chunks, Pieces
from fhir_server.store.mongo.entry import fields_of
from fhir_server.store.mongo.versions import key_of
from fhir_server.store.port import Batch, Write

Work = Callable[[AsyncClientSession], Awaitable[int]]
"""Something else that is done in a transaction, in turn with the commits."""


@dataclass(slots=True)
class PreparedWrite:
    """A write, its resource's `Type/id`, and its index fields but for access tags."""

    write: Write
    key: str
    fields: dict[str, Any]
    pieces: Pieces | None = None
    _targets: frozenset[str] | None = field(default=None)

    @property
    def targets(self) -> frozenset[str]:
        """Return the `Type/id` of every resource that it refers to."""
        if self._targets is None:
            self._targets = frozenset(
                key_of(value.resource_type, value.resource_id)
                for value in self.write.index.values
                if isinstance(value, ReferenceValue) and value.resource_type
            )
        return self._targets


class Prepared:
    """A batch, and its writes made ready when they are first asked for.

    Attributes:
        pieces: Of the values of `puts` that are stored in pieces, by place.
    """

    __slots__ = ("_bodies", "_writes", "batch", "pieces", "size")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.pieces: dict[int, Pieces] = {}
        self._bodies: dict[int, Pieces] = {}
        self.size = (
            sum(len(record.body) for record in batch.audit)
            + sum(len(put.value) for put in batch.puts if put.value)
            + sum(len(write.body) for write in batch.writes)
        )
        self._writes: list[PreparedWrite] | None = None

    @property
    def writes(self) -> list[PreparedWrite]:
        """Return the writes, ready."""
        if self._writes is None:
            bodies = self._bodies
            self._writes = [
                _ready(write, bodies.get(at)) for at, write in enumerate(self.batch.writes)
            ]
        return self._writes

    @property
    def is_audit_only(self) -> bool:
        """Whether it has nothing but audit entries: nothing can refuse it."""
        batch = self.batch
        return not (batch.writes or batch.tags or batch.conditions or batch.puts)

    # --- what is large -------------------------------------------------------------------

    @property
    def has_large(self) -> bool:
        """Whether a body or value of it is to be kept in pieces."""
        return self.size > LARGE and any(True for _ in self._large())

    @property
    def all_pieces(self) -> list[Pieces]:
        """Return the pieces that were put for it."""
        return [*self.pieces.values(), *self._bodies.values()]

    async def put(self, chunks: Chunks) -> None:
        """Write what is large in pieces; they are adopted with the batch."""
        for to, at, data in self._large():
            to[at] = await chunks.put(data)
            self.size -= len(data)

    def _large(self) -> Iterator[tuple[dict[int, Pieces], int, bytes]]:
        for at, put in enumerate(self.batch.puts):
            if put.value is not None and len(put.value) > LARGE:
                yield self.pieces, at, put.value
        for at, write in enumerate(self.batch.writes):
            if len(write.body) > LARGE:
                yield self._bodies, at, write.body


def _ready(write: Write, pieces: Pieces | None) -> PreparedWrite:
    kind = write.resource_type
    fields = {} if write.deleted else fields_of(kind, write.index, ())
    return PreparedWrite(write, key_of(kind, write.resource_id), fields, pieces)
