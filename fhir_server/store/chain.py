"""The audit chain: each entry's digest holds the one before it, so that nothing goes unseen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Final

from fhir_server.store.port import AuditEntry

GENESIS: Final = bytes(32)


def digest_of(before: bytes, recorded: int, body: bytes) -> bytes:
    """Return an entry's digest, given the digest of the entry before (port.AuditEntry)."""
    return sha256(before + recorded.to_bytes(8, "big", signed=True) + body).digest()


async def broken_at(chain: AsyncIterator[AuditEntry]) -> tuple[int, int | None]:
    """Return how many entries are good, and the `seq` of the first that is not (None: whole)."""
    before, count = GENESIS, 0
    async for entry in chain:
        if entry.digest != digest_of(before, entry.recorded, entry.body):
            return count, entry.seq
        before, count = entry.digest, count + 1
    return count, None
