"""A store that lets others run before every step, so that what can race does race."""

from __future__ import annotations

import asyncio
from typing import Any

from fhir_server.store.port import Store

_STEPS = frozenset({
    "commit", "read", "read_many", "vread", "visible", "tags", "holder", "history", "search",
    "count", "get", "scan", "referrers", "edition",
})  # fmt: skip


class YieldingStore:
    """Another store, one turn of the event loop later."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        """Return the other's method, put off by a turn."""
        method = getattr(self._store, name)
        if name not in _STEPS:
            return method

        async def later(*args: Any, **kwargs: Any) -> Any:
            await asyncio.sleep(0)
            return await method(*args, **kwargs)

        return later
