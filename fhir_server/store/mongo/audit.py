"""The audit chain: entries as documents, and read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from fhir_server.store.chain import digest_of
from fhir_server.store.mongo.schema import Collections, Document
from fhir_server.store.port import AuditEntry, AuditRecord

_CHAIN: Final = 500


def documents_of(
    records: Sequence[AuditRecord], seq: int, digest: bytes
) -> tuple[list[Document], bytes]:
    """Return the documents of entries chained to the last one, and the digest of the newest.

    Args:
        records: What is to be chained.
        seq: The last entry's number.
        digest: Its digest.
    """
    documents: list[Document] = []
    for record in records:
        seq += 1
        digest = digest_of(digest, record.recorded, record.body)
        document: Document = {"_id": seq, "a": record.recorded, "b": record.body, "h": digest}
        if record.patients:
            document["p"] = record.patients
        documents.append(document)
    return documents, digest


def entry_of(document: Document) -> AuditEntry:
    """Return the entry that a document is; the driver's own numbers are no plain ones."""
    return AuditEntry(
        int(document["_id"]),
        int(document["a"]),
        document["b"],
        document["h"],
        tuple(document.get("p", ())),
    )


class AuditReader:
    """Reads audit entries."""

    def __init__(self, collections: Collections) -> None:
        self._audit = collections.audit

    async def audit(
        self,
        patient: str | None,
        since: int | None,
        until: int | None,
        before: int | None,
        after: int | None,
        limit: int,
    ) -> list[AuditEntry]:
        """Return entries newest first: of a Patient, of a time, before a `seq`.

        Behind a `seq` they are given oldest first.
        """
        if limit < 1:
            return []
        asked: dict[str, Any] = {}
        if patient is not None:
            asked["p"] = patient
        if before is not None:
            asked.setdefault("_id", {})["$lt"] = before
        if after is not None:
            asked.setdefault("_id", {})["$gt"] = after
        if since is not None:
            asked.setdefault("a", {})["$gte"] = since
        if until is not None:
            asked.setdefault("a", {})["$lte"] = until
        found = self._audit.find(asked).sort([("_id", -1 if after is None else 1)]).limit(limit)
        return [entry_of(document) for document in await found.to_list()]

    async def entry(self, seq: int) -> AuditEntry | None:
        """Return one entry."""
        document = await self._audit.find_one({"_id": seq})
        return None if document is None else entry_of(document)

    async def after(self, seq: int) -> list[AuditEntry]:
        """Return some entries, oldest first."""
        found = self._audit.find({"_id": {"$gt": seq}}).sort([("_id", 1)]).limit(_CHAIN)
        return [entry_of(document) for document in await found.to_list()]
