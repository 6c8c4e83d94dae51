"""Leases: who is at some work now, over the ledger of any store, so that it is done by one alone.

A lease is a record of the ledger that says whose it is and until when. Its holder renews it; who
finds it ended takes it over. It is only ever changed from what was read (`Put.expected`), so two
never have it at once, and a holder that was asleep past its end cannot commit with it: what it
does is committed with `Lease.fence` or `Lease.ended`, which the store refuses where another one
has taken it since (RecordChanged).

Clocks of machines may differ by `SKEW`: only that much after its end is a lease taken over. A
holder that was on this very machine need not be waited for: the kernel says whether it lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec
import structlog

from fhir_server.model.outcome import Unavailable
from fhir_server.model.primitives import micros
from fhir_server.store.port import Batch, Put, RecordChanged, Store

log = structlog.stdlib.get_logger("lease")

BUCKET: Final = "lease"
SECONDS: Final = 30
"""For which a lease is good: longer than a database takes to elect a primary."""
RENEWED: Final = 8.0
"""Seconds after which it is renewed."""
SKEW: Final = 3
"""Seconds by which the clocks of two machines may differ."""

_SECOND: Final = 1_000_000
_KEPT: Final = 24 * 3600
"""Seconds that an ended lease is kept: its token is to grow."""
_MOST_DOUBLED: Final = 4
_DEATHS: Final = 3
"""Deaths from which on even what a dead process held is waited for: work that kills whoever does
it must not kill all processes in turn."""
_LOOK: Final = 0.2
_AGAIN: Final = 1.0


class Hold(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a lease's record says.

    Attributes:
        by: Which process holds it; "" for none, and then it may be taken from `until` on.
        until: Microseconds since 1970.
        token: Grows each time it is taken.
        failed: How often in a row the work was given up.
        died: How often in a row who was at it has died.
    """

    by: str = ""
    until: int = 0
    token: int = 0
    failed: int = 0
    died: int = 0


def _wait(failed: int) -> int:
    """Return for how many microseconds work is left alone that has failed so often before."""
    return (SECONDS << min(failed, _MOST_DOUBLED)) * _SECOND


def hold_of(raw: bytes | None) -> Hold:
    """Return what a record says; what is none of ours is as if nobody held it."""
    if raw is None:
        return Hold()
    try:
        return msgspec.json.decode(raw, type=Hold)
    except msgspec.MsgspecError:
        return Hold()


class Leases:
    """The leases of this process over one store."""

    def __init__(self, store: Store, now: Callable[[], datetime], *, by: str | None = None) -> None:
        """Keep whose they are.

        Args:
            store: Any store.
            now: The clock.
            by: Who takes them; without it this process.
        """
        self.store = store
        self.now = now
        self.by = by or this_process()

    def made(self, key: str, *, bucket: str = BUCKET) -> Lease:
        """Return a lease that nobody can have: it is had once its `taken` is committed."""
        return Lease(self, bucket, key, None, Hold())

    async def take(self, key: str, *, bucket: str = BUCKET) -> Lease | None:
        """Take a lease, or return None where another holds it.

        Raises:
            Unavailable: The store does not answer.
        """
        return await self.take_over(key, await self.store.get(bucket, key), bucket=bucket)

    async def take_over(
        self, key: str, seen: bytes | None, *, bucket: str = BUCKET
    ) -> Lease | None:
        """Take a lease whose record was just read, or return None where another holds it."""
        hold = hold_of(seen)
        if not self.is_free(hold):
            return None
        lease = Lease(self, bucket, key, seen, hold)
        try:
            await self.store.commit(Batch(puts=(lease.taken(),)))
        except RecordChanged:
            return None
        return lease

    def is_free(self, hold: Hold) -> bool:
        """Return whether a lease may be taken: it has ended, or its holder has."""
        now = micros(self.now())
        if not hold.by:
            return hold.until <= now
        if hold.died >= _DEATHS:
            return hold.until + _wait(hold.died) <= now
        return hold.until + SKEW * _SECOND <= now or is_gone(hold.by)

    @asynccontextmanager
    async def held(self, key: str, *, patience: float = 0.0) -> AsyncIterator[Lease]:
        """Take a lease, and hold it meanwhile.

        Args:
            key: Its name.
            patience: Seconds to wait for whoever holds it.

        Raises:
            Unavailable: Another holds it, or the store does not answer.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        while (lease := await self.take(key)) is None:
            if loop.time() >= end:
                raise Unavailable("Another process is at this work: try again when it has ended.")
            await asyncio.sleep(_LOOK)
        async with lease:
            yield lease


class Lease:
    """A lease of this process; a context in which it is renewed, and then given back.

    Attributes:
        token: Grows each time that the lease is taken, by anybody.
        is_lost: Another has taken it: the work is theirs.
    """

    def __init__(
        self, leases: Leases, bucket: str, key: str, before: bytes | None, was: Hold
    ) -> None:
        self._leases = leases
        self._bucket, self._key = bucket, key
        self._before = before
        self._failed = was.failed
        # Who took it and did not give it back has died of something: perhaps of the work.
        self._died = was.died + (was.by != "")
        # By the clock, so that it grows also where the record of the last one is gone.
        self.token = max(was.token + 1, micros(leases.now()))
        self._value = self._longer()
        self._timer: asyncio.TimerHandle | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._is_done = False
        self.is_lost = False

    # --- what is committed ---------------------------------------------------------------

    def taken(self) -> Put:
        """Return what takes the lease."""
        return self._put(self._value, self._before)

    def fence(self) -> Put:
        """Return what is committed with the work: it is refused where another has the lease."""
        return self._put(self._value, self._value)

    def ended(self) -> Put:
        """Return what is committed with the last of the work, and ends the lease; then `done`."""
        return self._put(None, self._value)

    def done(self) -> None:
        """Note that `ended` was committed."""
        self._is_done = True
        self._rest()

    def _put(self, value: bytes | None, expected: bytes | None) -> Put:
        # What is kept in another bucket means more than a lease, and stays until it is ended.
        is_passing = value is not None and self._bucket == BUCKET
        expires = micros(self._leases.now()) + _KEPT * _SECOND if is_passing else None
        return Put(self._bucket, self._key, value, expected=expected, expires=expires)

    def _longer(self) -> bytes:
        until = micros(self._leases.now()) + SECONDS * _SECOND
        return msgspec.json.encode(
            Hold(self._leases.by, until, self.token, self._failed, self._died)
        )

    # --- while it is held ----------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._renew_in(RENEWED)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._rest()
        # Whoever is ended by anything else does nothing more: the lease ends by itself.
        if error is None or isinstance(error, Exception | asyncio.CancelledError):
            await self.give_back()

    async def give_back(self, *, failed: bool = False) -> None:
        """Let others have it at once, where it was not ended with the work.

        Args:
            failed: The work could not be done: it is tried again, each time after longer.
        """
        self._rest()
        if self._is_done or self.is_lost:
            return
        self._is_done = True
        now = micros(self._leases.now())
        hold = Hold("", now, self.token)
        if failed:
            hold = Hold("", now + _wait(self._failed), self.token, self._failed + 1)
        with contextlib.suppress(Unavailable):  # it ends by itself
            await self._change(msgspec.json.encode(hold))

    async def is_ours(self) -> bool:
        """Look whether it is still this process's, which it is until another has taken it."""
        raw = await self._leases.store.get(self._bucket, self._key)
        hold = hold_of(raw)
        if raw is None or (hold.by, hold.token) != (self._leases.by, self.token):
            self.is_lost = True
            return False
        self._value = raw
        return True

    async def renew(self) -> None:
        """Hold it longer.

        Raises:
            Unavailable: The store does not answer; nobody can take it meanwhile either.
        """
        await self._change(self._longer())

    async def _change(self, value: bytes) -> None:
        while not self.is_lost:
            try:
                await self._leases.store.commit(Batch(puts=(self._put(value, self._value),)))
            except RecordChanged:
                # It is another's, or a commit of ours whose end was not known was made after all.
                await self.is_ours()
            else:
                self._value = value
                return

    def _renew_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_to_renew)

    def _begin_to_renew(self) -> None:
        self._renewing = asyncio.get_running_loop().create_task(self._renewed())

    async def _renewed(self) -> None:
        wait = RENEWED
        try:
            await self.renew()
        except Unavailable:
            wait = _AGAIN
        if self._is_done:
            return
        if self.is_lost:
            log.warning("lease.lost", bucket=self._bucket)
        else:
            self._renew_in(wait)

    def _rest(self) -> None:
        """Renew it no more."""
        for one in (self._timer, self._renewing):
            if one is not None:
                one.cancel()
        self._timer = self._renewing = None


# --- who holds it ----------------------------------------------------------------------------


def this_process() -> str:
    """Return what names this process among all, of every machine and every time."""
    return _process(os.getpid())


@lru_cache(maxsize=2)
def _process(pid: int) -> str:
    try:
        return f"{_here()}/{pid}/{_started(pid)}"
    except OSError:  # no Linux: it cannot be asked for
        return secrets.token_hex(16)


@lru_cache(maxsize=1)
def _here() -> str:
    """Return what names the processes that this one can see: the machine since its start."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    space = Path("/proc/self/ns/pid").readlink()
    return f"{boot}/{space}"


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks; "" of one that is dead.

    https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
    """
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return "" if fields[0] in {"Z", "X"} else fields[19]


def is_gone(by: str) -> bool:
    """Return whether a process is known to have ended: it was one of this machine."""
    here, _, rest = by.partition("]/")
    pid, _, started = rest.partition("/")
    try:
        if f"{here}]" != _here() or not pid.isdecimal():
            return False
        os.kill(int(pid), 0)
        return _started(int(pid)) != started
    except ProcessLookupError:
        return True
    except OSError:  # it is another user's, or may not be looked at
        return False
