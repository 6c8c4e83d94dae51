"""Versions as documents, and documents as versions; the same in `resource` and in `history`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pymongo.asynchronous.client_session import AsyncClientSession

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.chunks import Pieces, pieces_in, whole
from fhir_server.store.mongo.schema import METHODS, Collections, Document
from fhir_server.store.port import Name, Version, Write

SHOWN: Final = dict.fromkeys(("_id", "t", "v", "r", "u", "m", "D", "p", "b", "B", "O", "n"), 1)
"""Projection: the fields of a document that a version is made of."""


def key_of(resource_type: str, resource_id: str) -> str:
    """Return the `Type/id` of a resource."""
    return f"{resource_type}/{resource_id}"


def name_of(key: str) -> Name:
    """Return the name of a resource, given its `Type/id`."""
    resource_type, _, resource_id = key.partition("/")
    return resource_type, resource_id


def document_of(write: Write, pieces: Pieces | None, shard: str) -> Document:
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
    elif pieces is not None:
        document |= pieces.fields
    else:
        document["b"] = write.body
    return document


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
    return [await _version(collections, document, session) for document in documents]


async def _version(
    collections: Collections, document: Document, session: AsyncClientSession | None
) -> Version:
    resource_type, resource_id = name_of(document["n"] if "n" in document else document["_id"])
    method = document["m"]
    body: bytes | None = document.get("b", b"")
    if (pieces := pieces_in(document)) is not None:
        body = await whole(collections, pieces, session)
        if body is None:
            raise Unavailable("A part of a resource's body is not there.")
    return Version(
        resource_type,
        resource_id,
        int(document["v"]),
        int(document["u"]),  # the driver's own numbers are no plain ones
        body or b"",
        "D" in document,
        METHODS[method] if type(method) is int else method,
        tuple(document["p"]),
    )
