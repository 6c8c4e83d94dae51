"""A brake on guessing: how often something may fail, or be begun, in a minute; in all processes.

What goes well costs nothing, and is never refused: behind one address there may be many, and nobody
who proves himself is to suffer for the failures of others. So a failure is counted once it is one.
What is counted is written to the ledger, a
hundredth of a limit at a time, where every process adds to the same record: so a process learns as
it counts what happened at the others, and together they let through a few more than a limit says.
Who asks is kept as a hash, and forgotten after the minute.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from auth.ports import GrantStore
from fhir_server.model.outcome import Throttled, Unavailable

BUCKET: Final = "limit"
WINDOW: Final = 60
"""Seconds of a window; it begins where the clock's minute does."""

_PARTS: Final = 100
_TRIES: Final = 8
_MOST_KNOWN: Final = 20_000
_SUBSCRIBER: Final = 64
"""Bits of an IPv6 address that tell whose it is: the rest is the owner's to choose."""


@dataclass(frozen=True, slots=True)
class Limit:
    """How often in a window.

    Attributes:
        name: What is counted.
        most: How often it may be, for one who asks.
    """

    name: str
    most: int

    @property
    def step(self) -> int:
        """How many are written at once."""
        return max(1, self.most // _PARTS)


CLIENT_FAILED: Final = Limit("client-failed", 300)
"""Failed authentications in the name of one client from one address."""

ADDRESS_FAILED: Final = Limit("address-failed", 3_000)
"""Failed authentications from one address, whatever client they name."""

LOGIN_FAILED: Final = Limit("login-failed", 300)
"""Answers of the identity provider that prove nothing, or belong to no log-in, from one address."""

LOGIN_BEGUN: Final = Limit("login-begun", 3_000)
"""Log-ins begun from one address: each is kept for a while, whether it is finished or not."""


@dataclass(slots=True)
class _Count:
    total: int = 0
    unwritten: int = 0
    writing: bool = False


@dataclass(slots=True)
class Limits:
    """The counts of one process, which it shares with the others.

    Attributes:
        store: Where they are shared.
        now: The clock.
    """

    store: GrantStore
    now: Callable[[], datetime]
    _window: int = 0
    _counts: dict[str, _Count] = field(default_factory=dict)

    async def count(self, limit: Limit, *who: str) -> None:
        """Count one more, or refuse it where it has been too often already.

        Raises:
            Throttled: It has been.
        """
        self.check(limit, *who)
        await self._count(limit, who)

    def check(self, limit: Limit, *who: str) -> None:
        """Refuse what has been too often already, as far as this process knows.

        Raises:
            Throttled: It has been.
        """
        count = self._counts.get(_key(limit, who)) if self._counts else None
        if count is None or count.total + count.unwritten < limit.most:
            return
        left = self._left()
        if left is None:
            return
        raise Throttled(
            "Too many attempts came from here in this minute; try again in the next one.",
            text_vi="Có quá nhiều lần thử từ đây trong phút này; hãy thử lại ở phút sau.",
            headers={"Retry-After": str(left)},
        )

    async def _count(self, limit: Limit, who: tuple[str, ...]) -> None:
        if self._left() is None or len(self._counts) >= _MOST_KNOWN:
            self._window = int(self.now().timestamp()) // WINDOW
            self._counts = {}
        key = _key(limit, who)
        count = self._counts.setdefault(key, _Count())
        count.unwritten += 1
        if count.writing:
            return
        count.writing = True
        try:
            # What is not written is known here all the same; the store may be away.
            with suppress(Unavailable):
                while count.unwritten >= limit.step:
                    await self._write(key, self._window, count)
        finally:
            count.writing = False

    def _left(self) -> int | None:
        """Return the seconds that are left of the window that is counted, None where it is over."""
        left = (self._window + 1) * WINDOW - int(self.now().timestamp())
        return left if 0 < left <= WINDOW else None

    async def _write(self, key: str, window: int, count: _Count) -> None:
        key, until, more = f"{key}|{window}", (window + 1) * WINDOW, count.unwritten
        for _ in range(_TRIES):
            raw = await self.store.get(BUCKET, key)
            total = int(raw or 0) + more
            if await self.store.put(BUCKET, key, b"%d" % total, expected=raw, until=until):
                break
        else:  # others count so often that what they have is far ahead of this
            total = count.total + more
        count.total, count.unwritten = total, count.unwritten - more


def _key(limit: Limit, who: tuple[str, ...]) -> str:
    said = "|".join(who).encode("utf-8", "replace")
    return f"{limit.name}|{sha256(said).hexdigest()[:32]}"


def address_of(peer: str, forwarded: str | None) -> str:
    """Return where a request comes from, as limits tell its senders apart.

    Args:
        peer: The other end of the connection.
        forwarded: X-Forwarded-For. Its last address is what a proxy of ours saw: it is heard from
            this machine or a private network alone, since any client may write the header.
    """
    try:
        near = _parsed(peer)
        if forwarded and (near.is_loopback or near.is_private):
            near = _parsed(forwarded.rpartition(",")[2].strip())
    except ValueError:
        return peer
    if isinstance(near, IPv6Address):
        return str(ip_network((near, _SUBSCRIBER), strict=False).network_address)
    return str(near)


def _parsed(text: str) -> IPv4Address | IPv6Address:
    """Return an address, which some proxies give with a port.

    One of IPv4 at a socket of both kinds (`::ffff:192.0.2.7`) is told by its own 32 bits: all of
    them together are one subscriber's network of IPv6.
    """
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    address = ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
