"""What the authorization server keeps, in the store's ledger: implements auth.ports.GrantStore.

Clients, codes, grants (families), used `jti`, ended tokens, logins under way, sessions. Point
reads, and changes that say what they expect, so that several processes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

from fhir_server.store.port import Batch, Put, RecordChanged, Store

BUCKETS: Final = frozenset({
    "client", "code", "family", "jti", "limit", "revoked", "session", "login", "vneid",
})  # fmt: skip
PAGE: Final = 500
_MICROSECONDS: Final = 1_000_000


class LedgerGrants:
    """Records of access over any Store."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def get(self, bucket: str, key: str) -> bytes | None:
        """Return a record that has not ended, or None."""
        _check(bucket)
        return await self._store.get(bucket, key, now=self._micros())

    async def put(
        self,
        bucket: str,
        key: str,
        value: bytes | None,
        *,
        expected: bytes | Literal["any"] | None = "any",
        until: int | None = None,
    ) -> bool:
        """Set a record, durable on return; False where it was not as expected."""
        _check(bucket)
        expires = None if until is None else until * _MICROSECONDS
        put = Put(bucket, key, value, expected=expected, expires=expires)
        try:
            await self._store.commit(Batch(puts=(put,)))
        except RecordChanged:
            return False
        return True

    async def scan(self, bucket: str) -> list[bytes]:
        """Return all records of a bucket, by key."""
        _check(bucket)
        found: list[bytes] = []
        start = ""
        while True:
            page = await self._store.scan(bucket, start=start, limit=PAGE)
            found.extend(value for _, value in page)
            if len(page) < PAGE:
                return found
            start = page[-1][0] + "\0"

    def _micros(self) -> int:
        return int(self._now().timestamp() * _MICROSECONDS)


def _check(bucket: str) -> None:
    if bucket not in BUCKETS:
        raise ValueError(bucket)
