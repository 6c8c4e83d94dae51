"""The ledger and the audit chain of the memory store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from fhir_server.store.port import ANY, AuditEntry, AuditRecord, Put, RecordChanged

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """A ledger record as kept."""

    value: bytes
    expires: int | None


class MemoryLedger:
    """Records of the ledger and audit entries, in dicts and a list."""

    def __init__(self) -> None:
        self._ledger: dict[str, dict[str, Record]] = {}
        self._audit: list[AuditEntry] = []

    def _put(self, put: Put, staged: Mapping[Place, Record | None]) -> Record | None:
        """Return the record that a Put makes, None where it deletes."""
        kept = self._ledger.get(put.bucket, {}).get(put.key)
        now = staged.get((put.bucket, put.key), kept)
        if put.expected not in {ANY, now.value if now else None}:
            raise RecordChanged(put.bucket, put.key)
        return None if put.value is None else Record(put.value, put.expires)

    def _keep(self, records: Mapping[Place, Record | None], audit: Sequence[AuditRecord]) -> None:
        for (bucket, key), record in records.items():
            if record is None:
                self._ledger.get(bucket, {}).pop(key, None)
            else:
                self._ledger.setdefault(bucket, {})[key] = record
        for entry in audit:
            self._chain(entry)

    def _chain(self, record: AuditRecord) -> None:
        before = self._audit[-1].digest if self._audit else bytes(32)
        stamp = record.recorded.to_bytes(8, "big", signed=True)
        digest = sha256(before + stamp + record.body).digest()
        seq = len(self._audit) + 1
        self._audit.append(AuditEntry(seq, record.recorded, record.body, digest, record.patients))

    async def get(self, bucket: str, key: str, *, now: int | None = None) -> bytes | None:
        """Return a ledger record, or None where it is absent or (at `now`) has ended."""
        record = self._ledger.get(bucket, {}).get(key)
        if record is None:
            return None
        ended = now is not None and record.expires is not None and record.expires <= now
        return None if ended else record.value

    async def scan(
        self,
        bucket: str,
        *,
        start: str = "",
        end: str | None = None,
        limit: int = 100,
        reverse: bool = False,
    ) -> list[tuple[str, bytes]]:
        """Return records with start <= key < end, in key order (or from the end backwards)."""
        found = [
            (key, record.value)
            for key, record in self._ledger.get(bucket, {}).items()
            if key >= start and (end is None or key < end)
        ]
        return sorted(found, reverse=reverse)[:limit]

    async def audit(
        self,
        *,
        patient: str | None = None,
        since: int | None = None,
        until: int | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int = 100,
    ) -> list[AuditEntry]:
        """Return audit entries newest first: of a Patient, of a time, before a `seq`.

        Behind a `seq` (`after`) they are given oldest first.
        """
        found = (
            entry
            for entry in (reversed(self._audit) if after is None else self._audit)
            if (patient is None or patient in entry.patients)
            and (since is None or entry.recorded >= since)
            and (until is None or entry.recorded <= until)
            and (before is None or entry.seq < before)
            and (after is None or entry.seq > after)
        )
        return [entry for entry, _ in zip(found, range(limit), strict=False)]

    async def audit_entry(self, seq: int) -> AuditEntry | None:
        """Return one audit entry."""
        return self._audit[seq - 1] if 0 < seq <= len(self._audit) else None

    async def audit_chain(self) -> AsyncIterator[AuditEntry]:
        """Return all audit entries, oldest first."""
        for entry in tuple(self._audit):
            yield entry
