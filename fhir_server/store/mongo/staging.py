"""What a group of batches would make, before any of it is written: as `store/memory.py`, in memory.

A batch is staged on a layer of its own, which joins the group's when nothing refused it; the
batches after it see what it makes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from fhir_server.store.mongo.chunks import Pieces
from fhir_server.store.mongo.prepared import Prepared, PreparedWrite
from fhir_server.store.mongo.schema import SEPARATOR, Document
from fhir_server.store.mongo.versions import key_of, name_of
from fhir_server.store.port import (
    ANY,
    INDEXED_BY,
    AuditRecord,
    KeyHeld,
    Put,
    RecordChanged,
    VersionConflict,
    generation_of,
)


@dataclass(frozen=True, slots=True)
class Made:
    """A version that the group makes: its number, and the shard key that it has."""

    number: int
    prepared: PreparedWrite
    shard: str


@dataclass(slots=True)
class Resource:
    """A resource at some point of the group.

    Attributes:
        stored: Its document, as it was before the group; None where it never was.
        version_id: 0 where none ever was.
        first: The number of its first version.
        made: The versions that the group has made of it, in their order.
    """

    key: str
    stored: Document | None = None
    version_id: int = 0
    live: bool = False
    first: int = 0
    shard: str = ""
    tags: frozenset[str] = frozenset()
    held: tuple[str, ...] = ()
    made: tuple[Made, ...] = ()


def resource_of(document: Document) -> Resource:
    """Return a resource as its document says that it is."""
    return Resource(
        key=document["_id"],
        stored=document,
        version_id=document["v"],
        live="D" not in document,
        first=document["c"],
        shard=document["k"],
        tags=frozenset(document.get("g", ())),
        held=tuple(document.get("q", ())),
    )


@dataclass(frozen=True, slots=True)
class Record:
    """A ledger record; `pieces` where its value is stored in pieces."""

    value: bytes
    expires: int | None
    pieces: Pieces | None = None


def record_key(bucket: str, key: str) -> str:
    """Return the `_id` of a ledger record."""
    return f"{bucket}{SEPARATOR}{key}"


_INDEXED_BY: Final = record_key(*INDEXED_BY)


@dataclass(slots=True)
class _Layer:
    """What one batch would make."""

    resources: dict[str, Resource] = field(default_factory=dict)
    written: dict[str, PreparedWrite] = field(default_factory=dict)
    records: dict[str, Record | None] = field(default_factory=dict)
    loose: list[Pieces] = field(default_factory=list)
    number: int = 0


class Staging:
    """The group's state: what was read before it, and what its batches have made of it.

    Attributes:
        indexed: By which search parameters resources are indexed (`port.INDEXED_BY`).
        joined: The resources that batches have changed, one after another, each as it was then.
    """

    def __init__(self, number: int, indexed: int = 0) -> None:
        self.number = number
        self.indexed = indexed
        self.resources: dict[str, Resource] = {}
        self.holders: dict[str, str] = {}
        self.held_before: dict[str, str] = {}
        self.records: dict[str, Record | None] = {}
        self.records_before: dict[str, Record] = {}
        self.changed: dict[str, None] = {}
        self.joined: list[Resource] = []
        self.put: dict[str, None] = {}
        self.audit: list[AuditRecord] = []
        self.adopted: list[Pieces] = []
        self.loose: list[Pieces] = []
        self.has_changed = False

    # --- what was there ------------------------------------------------------------------

    def know_resources(self, documents: Iterable[Document]) -> None:
        """Take in resources as they are stored; those not among them never were."""
        for document in documents:
            resource = resource_of(document)
            self.resources[resource.key] = resource
            for key in resource.held:
                self._know_holder(key, resource.key)

    def know_holders(self, documents: Iterable[Document]) -> None:
        """Take in who holds unique keys; those not among them are free."""
        for document in documents:
            self._know_holder(document["_id"], document["n"])

    def _know_holder(self, key: str, holder: str) -> None:
        self.holders[key] = self.held_before[key] = holder

    def know_records(self, records: dict[str, Record]) -> None:
        """Take in ledger records; those not among them are absent."""
        self.records.update(records)
        self.records_before.update(records)

    # --- one batch -----------------------------------------------------------------------

    def stage(self, prepared: Prepared) -> _Layer:
        """Return what a batch would make, if it is not refused.

        Raises:
            RecordChanged, VersionConflict, KeyHeld: A precondition does not hold.
        """
        layer = _Layer(number=self.number)
        for at, put in enumerate(prepared.batch.puts):
            self._put(layer, put, prepared.pieces.get(at))
        for write in prepared.writes:
            self._write(layer, write)
        if prepared.batch.tags:
            self._tag(layer, prepared)
        self._check_unique(layer)
        return layer

    def join(self, layer: _Layer, prepared: Prepared) -> None:
        """Make a batch part of the group."""
        self.number = layer.number
        for key in layer.written:
            before = self.resources.get(key)
            for unique in before.held if before else ():
                if self.holders.get(unique) == key:
                    del self.holders[unique]
        for key in layer.written:
            for unique in layer.resources[key].held:
                self.holders[unique] = key
        self.resources.update(layer.resources)
        self.changed.update(dict.fromkeys(layer.resources))
        self.joined += layer.resources.values()
        self.has_changed = self.has_changed or bool(layer.resources or layer.records)
        for key in layer.records:
            if (replaced := self.records.get(key)) and replaced.pieces:
                self.loose.append(replaced.pieces)
        self.loose += layer.loose
        self.records.update(layer.records)
        self.put.update(dict.fromkeys(layer.records))
        if _INDEXED_BY in layer.records:
            record = layer.records[_INDEXED_BY]
            self.indexed = generation_of(record.value if record else None)
        self.audit += prepared.batch.audit
        self.adopted += prepared.all_pieces

    def _put(self, layer: _Layer, put: Put, pieces: Pieces | None) -> None:
        key = record_key(put.bucket, put.key)
        if put.expected != ANY:
            now = layer.records[key] if key in layer.records else self.records.get(key)
            if (now.value if now else None) != put.expected:
                raise RecordChanged(put.bucket, put.key)
        made = None if put.value is None else Record(put.value, put.expires, pieces)
        if (replaced := layer.records.get(key)) and replaced.pieces:
            layer.loose.append(replaced.pieces)
        layer.records[key] = made

    def _write(self, layer: _Layer, prepared: PreparedWrite) -> None:
        write, key = prepared.write, prepared.key
        resource = self._own(layer, key)
        if write.version_id != resource.version_id + 1:
            raise VersionConflict(name_of(key), resource.version_id)
        layer.number += 1
        patients = write.index.patients
        if not resource.version_id:
            resource.first = layer.number
        if not write.deleted or not resource.shard:
            # What is deleted stays where it was: it has no Patient any more.
            resource.shard = patients[0] if patients else write.resource_id
        resource.version_id = write.version_id
        resource.live = not write.deleted
        resource.held = () if write.deleted else write.index.unique
        resource.made = (*resource.made, Made(layer.number, prepared, resource.shard))
        if write.tags:
            resource.tags |= write.tags
        layer.resources[key] = resource
        layer.written[key] = prepared

    def _own(self, layer: _Layer, key: str) -> Resource:
        """Return a resource that this layer may change, not yet its own where it is new to it."""
        resource = layer.resources.get(key)
        if resource is not None:
            return resource
        there = self.resources.get(key)
        return Resource(key) if there is None else replace(there)

    def _tag(self, layer: _Layer, prepared: Prepared) -> None:
        tags = prepared.batch.tags
        for tag in tags:
            resource = self._own(layer, key_of(tag.resource_type, tag.resource_id))
            if not resource.version_id:
                raise VersionConflict((tag.resource_type, tag.resource_id), 0)
            resource.tags |= tag.tags
            layer.resources[resource.key] = resource
        for tag in tags:
            if tag.without:
                layer.resources[key_of(tag.resource_type, tag.resource_id)].tags -= tag.without

    def _check_unique(self, layer: _Layer) -> None:
        """Refuse a key that another holds once all of the batch is made."""
        taken: dict[str, str] = {}
        for key, prepared in layer.written.items():
            for unique in prepared.write.index.unique:
                holder = taken.setdefault(unique, key)
                kept = self.holders.get(unique)
                if holder == key and kept is not None and kept not in layer.written:
                    holder = kept
                if holder != key:
                    raise KeyHeld(unique, name_of(holder))

    # --- what it comes to ----------------------------------------------------------------

    def take(self) -> list[Resource]:
        """Return the resources that are changed, to be written: they are as stored from now on.

        The documents are the writer's to give back (`stored`).
        """
        changed = [self.resources[key] for key in self.changed]
        self.changed = {}
        return changed

    def stored(self, resource: Resource, document: Document) -> None:
        """Take in how a resource is stored now."""
        self.resources[resource.key] = replace(resource, stored=document, made=())

    def keys_changed(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Return unique keys that changed hands: key, holder before, holder now."""
        for key in {**self.held_before, **self.holders}:
            before, now = self.held_before.get(key), self.holders.get(key)
            if before != now:
                yield key, before, now
