"""Versions as documents, and documents as versions; the same in `resource` and in `history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo import chunks
from fhir_server.store.mongo.schema import METHODS, Collections, Document
from fhir_server.store.port import Name, Version, Write

SHOWN: Final = dict.fromkeys(("_id", "t", "v", "r", "u", "m", "D", "p", "b", "B", "n"), 1)
"""Projection: the fields of a document that a version is made of."""


def key_of(resource_type: str, resource_id: str) -> str:
    """Return the `Type/id` of a resource."""
    return f"{resource_type}/{resource_id}"


def name_of(key: str) -> Name:
    """Return the name of a resource, given its `Type/id`."""
    resource_type, _, resource_id = key.partition("/")
    return resource_type, resource_id


def document_of(write: Write, shard: str) -> Document:
    """Return the fields of a version that `resource` and `history` have alike, without `_id`."""
    method = METHODS.index(write.method) if write.method in METHODS else write.method
    document: Document = {
        "k": shard,
        "t": write.resource_type,
        "v": write.version_id,
        "u": write.last_updated,
        "m": method,
        "p": write.index.patients,
    }
    if write.deleted:
        document["D"] = True
    elif count := chunks.count_of(write.body):
        document["B"] = count
    else:
        document["b"] = write.body
    return document


def pieces_of(write: Write, number: int) -> list[Document]:
    """Return the pieces in which a version's body is kept; none where it is small."""
    return chunks.pieces(chunks.owner_of_version(number), write.body)


def number_of(document: Document) -> int:
    """Return the number of a document's version."""
    number: int = document["r"] if "r" in document else document["_id"]
    return number


async def versions_of(
    collections: Collections,
    documents: Sequence[Document],
    session: AsyncClientSession | None = None,
) -> list[Version]:
    """Return the versions that documents hold, in their order; bodies in pieces are put together.

    Raises:
        Unavailable: Pieces of a body are not there.
    """
    bodies: dict[str, bytes] = {}
    if large := [one for one in documents if "B" in one]:
        wanted = [(chunks.owner_of_version(number_of(one)), one["B"]) for one in large]
        bodies = await chunks.whole(collections, wanted, session)
    return [_version(document, bodies) for document in documents]


def _version(document: Document, bodies: dict[str, bytes]) -> Version:
    resource_type, resource_id = name_of(document["n"] if "n" in document else document["_id"])
    method = document["m"]
    if "B" in document:
        body = bodies.get(chunks.owner_of_version(number_of(document)))
        if body is None:
            raise Unavailable("A part of a resource's body is not there.")
    else:
        body = document.get("b", b"")
    return Version(
        resource_type,
        resource_id,
        document["v"],
        document["u"],
        body,
        "D" in document,
        METHODS[method] if type(method) is int else method,
        tuple(document["p"]),
    )
