"""Another party's JWKS at a URL: kept, and fetched again for a new `kid`, but not too often."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx2
import msgspec

from auth.ports import ProviderUnreachable

LIFETIME: Final = 3600
"""Seconds that a key set is good without being asked for again."""

COOLDOWN: Final = 30
"""Seconds between two looks at one URL: an unknown `kid` must not make us hammer it."""

MAX_SETS: Final = 256
MAX_BYTES: Final = 262_144


@dataclass(frozen=True, slots=True)
class _Kept:
    keys: dict[str, Any]
    at: float


class JwksCache:
    """Key sets by URL (auth.ports.RemoteKeys)."""

    def __init__(self, http: httpx2.AsyncClient, now: Callable[[], datetime]) -> None:
        self._http = http
        self._now = now
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._tried: dict[str, float] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def keys(self, url: str, kid: str) -> dict[str, Any]:
        """Return the key set at the URL, fetched again where it lacks this `kid`.

        Raises:
            ProviderUnreachable: It was never read, and cannot be read now.
        """
        kept = self._kept.get(url)
        if kept is None or self._is_old(kept) or not _has(kept.keys, kid):
            # Of one URL one at a time; whose URL is slow keeps nobody else waiting.
            async with self._locks.setdefault(url, asyncio.Lock()):
                kept = await self._refreshed(url, kid)
        return kept.keys

    async def _refreshed(self, url: str, kid: str) -> _Kept:
        kept = self._kept.get(url)
        if kept is not None and not self._is_old(kept) and _has(kept.keys, kid):
            return kept
        now = self._now().timestamp()
        if now - self._tried.get(url, -COOLDOWN) < COOLDOWN:
            return _or_unreachable(kept)
        self._tried[url] = now
        try:
            found = _Kept(await self._fetch(url), now)
        except ProviderUnreachable:
            # What was good an hour ago is better than nobody being able to log in.
            return _or_unreachable(kept)
        self._kept[url] = found
        if len(self._kept) > MAX_SETS:
            gone, _ = self._kept.popitem(last=False)
            self._tried.pop(gone, None)
            self._locks.pop(gone, None)
        return found

    async def _fetch(self, url: str) -> dict[str, Any]:
        content = await fetch_json(self._http, url)
        if not isinstance(content.get("keys"), list):
            raise ProviderUnreachable("not a key set")
        return content

    def _is_old(self, kept: _Kept) -> bool:
        return self._now().timestamp() - kept.at > LIFETIME


async def fetch_json(
    http: httpx2.AsyncClient, url: str, *, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the JSON object at a URL; redirects are not followed.

    Raises:
        ProviderUnreachable: It cannot be had.
    """
    try:
        response = await http.get(url, headers=headers or {}, follow_redirects=False)
    except httpx2.HTTPError as error:
        raise ProviderUnreachable(type(error).__name__) from None
    return json_of(response)


def json_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the JSON object of a 200 answer.

    Raises:
        ProviderUnreachable: It is another answer.
    """
    if response.status_code != httpx2.codes.OK or len(response.content) > MAX_BYTES:
        raise ProviderUnreachable(f"status {response.status_code}")
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise ProviderUnreachable("not a JSON object") from None


def _has(keys: dict[str, Any], kid: str) -> bool:
    return any(isinstance(key, dict) and key.get("kid") == kid for key in keys["keys"])


def _or_unreachable(kept: _Kept | None) -> _Kept:
    if kept is None:
        raise ProviderUnreachable("its keys cannot be read")
    return kept
