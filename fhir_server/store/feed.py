"""The feed of changes, as all stores have it: tokens, and those who wait for what comes next."""

from __future__ import annotations

import asyncio
from typing import Final

from fhir_server.search import paging
from fhir_server.store.port import BadCursor, Change, Version

_ABOUT: Final = b"changes"


class Tokens:
    """Numbers of versions as tokens, sealed with the store's key: a move keeps both."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def token(self, number: int) -> str:
        """Return the token of a version's number; 0 is before the first."""
        return paging.encode([number], key=self._key, about=_ABOUT)

    def number(self, token: str | None, last: int) -> int:
        """Return the number of a token.

        Args:
            token: None: before the first.
            last: The number of the last version that the store has.

        Raises:
            BadCursor: It is not one of this store's, or of what the store no longer holds.
        """
        if token is None:
            return 0
        try:
            number: int = paging.decode(token, key=self._key, about=_ABOUT)[0]
        except paging.ForgedCursor:
            raise BadCursor from None
        if number > last:
            raise BadCursor
        return number

    def change(self, number: int, version: Version) -> Change:
        """Return a version as a change."""
        return Change(
            self.token(number),
            version.resource_type,
            version.resource_id,
            version.version_id,
            version.last_updated,
            version.deleted,
        )


class Wakes:
    """Wakes those who wait for a commit; on one event loop."""

    def __init__(self) -> None:
        self.count = 0
        self._waiting: set[asyncio.Future[None]] = set()

    def wake(self) -> None:
        """Wake all who wait, and whoever looked before now."""
        self.count += 1
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self, seen: int, *, most: float | None = None) -> bool:
        """Wait until there is a wake after some count, and return whether there was.

        Args:
            seen: The count when it was last looked.
            most: Seconds to wait; None is without end.
        """
        if self.count != seen:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await asyncio.wait((future,), timeout=most)
        finally:
            self._waiting.discard(future)
        return self.count != seen
