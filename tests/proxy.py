"""A network between servers and the members of a replica set that can be cut and mended.

There is a proxy before each member, and the replica set is configured with the proxies' addresses:
drivers and members alike know no others. Whose connection it is that comes, a member's or a
client's, the kernel tells: a socket belongs to a process.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Final, Self, TypeVar

from tests.mongo.replica_set import ReplicaSet
from tests.ports import free_port

LOOPBACK: Final = "127.0.0.1"
_WITHIN: Final = 30.0
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Cut:
    """How a member is cut off.

    Attributes:
        silent: Nothing arrives and nobody is told, as where a cable is pulled; what was sent
            arrives when it is mended. Else connections are reset, and new ones refused.
        clients_only: The members still reach one another.
    """

    silent: bool = False
    clients_only: bool = False


@dataclass(slots=True)
class Network:
    """The proxies of a replica set; it gives the members their addresses, so make it first."""

    members: ReplicaSet
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _thread: Thread | None = None
    _servers: list[asyncio.Server] = field(default_factory=list)
    _cuts: dict[int, Cut] = field(default_factory=dict)
    _ways: set[_Way] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self.members.hosts = [
            f"{LOOPBACK}:{self._wait(self._listen(member))}" for member in range(self.members.count)
        ]
        try:
            self.members.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.members.stop()
        self._wait(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()
        self._loop.close()

    def cut(self, member: int, cut: Cut | None = None) -> None:
        """Cut a member off; it is so when this returns."""

        def work() -> None:
            self._cuts[member] = cut or Cut()
            self._apply()

        self._do(work)

    def mend(self, *members: int) -> None:
        """Let all through again: to and from these members, or to and from all."""

        def work() -> None:
            for member in members or tuple(self._cuts):
                self._cuts.pop(member, None)
            self._apply()

        self._do(work)

    def connections(self, member: int, *, of_clients: bool = True) -> int:
        """Return how many connections of clients, or of other members, a member has."""
        return self._do(
            lambda: sum(
                one.member == member and (one.origin is None) == of_clients for one in self._ways
            )
        )

    # --- in the loop ---------------------------------------------------------------------

    def _wait(self, work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN)

    def _do(self, work: Callable[[], _T]) -> _T:
        async def in_the_loop() -> _T:  # noqa: RUF029 - nothing else of it runs meanwhile
            return work()

        return self._wait(in_the_loop())

    async def _listen(self, member: int) -> int:
        while True:
            port = free_port()
            with contextlib.suppress(OSError):
                server = await self._loop.create_server(
                    lambda: _End(self._accepted, member), LOOPBACK, port
                )
                self._servers.append(server)
                return port

    def _accepted(self, end: _End, member: int) -> None:
        way = _Way(member, self._origin(end), end)
        end.way = way
        way.on_end = lambda: self._ways.discard(way)
        self._ways.add(way)
        way.be(self._state(way))
        task = self._loop.create_task(way.connect(self.members.ports[member]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _origin(self, end: _End) -> int | None:
        """Return whose connection it is: a member's, or (None) a client's."""
        inode = _inode(end.transport.get_extra_info("peername")[1], end.port)
        for member, process in self.members.processes.items():
            if inode is not None and f"socket:[{inode}]" in _descriptors(process.pid):
                return member
        return None

    def _state(self, way: _Way) -> Cut | None:
        """Return how a connection is cut: by its member, or by the member that it comes from."""
        cut = self._cuts.get(way.member)
        if way.origin is None:
            return cut
        cuts = [one for one in (cut, self._cuts.get(way.origin)) if one and not one.clients_only]
        return min(cuts, key=lambda one: one.silent, default=None)

    def _apply(self) -> None:
        for way in tuple(self._ways):
            way.be(self._state(way))

    async def _close(self) -> None:
        for server in self._servers:
            server.close()
        for way in tuple(self._ways):
            way.end()
        for task in tuple(self._tasks):
            await task
        for server in self._servers:
            await server.wait_closed()


class _End(asyncio.Protocol):
    """One end of a connection through a proxy; what comes in goes out at the other."""

    transport: asyncio.Transport
    way: _Way

    def __init__(
        self, accepted: Callable[[_End, int], None] | None = None, member: int = 0
    ) -> None:
        self._accepted = accepted
        self._member = member

    @property
    def port(self) -> int:
        return self.transport.get_extra_info("sockname")[1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        if self._accepted is not None:
            self._accepted(self, self._member)

    def data_received(self, data: bytes) -> None:
        other = self.way.other(self)
        assert other is not None  # nothing is read before
        other.transport.write(data)

    def connection_lost(self, _error: Exception | None) -> None:
        self.way.end(told=self.way.other(self))

    def pause_writing(self) -> None:
        self.way.full(self, is_full=True)

    def resume_writing(self) -> None:
        self.way.full(self, is_full=False)


class _Way:
    """A connection through a proxy: from a client, or from another member, to a member."""

    def __init__(self, member: int, origin: int | None, outer: _End) -> None:
        self.member = member
        self.origin = origin
        self.on_end: Callable[[], None] = lambda: None
        self._outer = outer
        self._inner: _End | None = None
        self._full: set[_End] = set()
        self._open = asyncio.Event()
        self._ended = False

    async def connect(self, port: int) -> None:
        """Go on to the member, as soon as the way is open."""
        self._flow()
        await self._open.wait()
        if self._ended:
            return
        inner = _End()
        inner.way = self
        try:
            await asyncio.get_running_loop().create_connection(lambda: inner, LOOPBACK, port)
        except OSError:
            self.end()
            return
        self._inner = inner
        if self._ended:
            inner.transport.abort()
        self._flow()

    def be(self, cut: Cut | None) -> None:
        """Be open, silent or ended."""
        if cut is not None and not cut.silent:
            self.end()
        elif cut is not None:
            self._open.clear()
        elif not self._ended:
            self._open.set()
        self._flow()

    def end(self, *, told: _End | None = None) -> None:
        """Reset both ends; the one that is told that the other has ended is sent the rest first."""
        if self._ended:
            return
        self._ended = True
        self._open.set()
        for end in (self._outer, self._inner):
            if end is told and end is not None:
                end.transport.close()
            elif end is not None:
                end.transport.abort()
        self.on_end()

    def other(self, end: _End) -> _End | None:
        """Return the other end, where it is there yet."""
        return self._inner if end is self._outer else self._outer

    def full(self, end: _End, *, is_full: bool) -> None:
        """Take no more in for an end that cannot send it on."""
        (self._full.add if is_full else self._full.discard)(end)
        self._flow()

    def _flow(self) -> None:
        """Read from each end where what comes may go on to the other."""
        if self._ended:
            return
        is_whole = self._inner is not None and self._open.is_set()
        for end in (self._outer, self._inner):
            if end is None:
                continue
            if is_whole and self.other(end) not in self._full:
                end.transport.resume_reading()
            else:
                end.transport.pause_reading()


def _inode(from_port: int, to_port: int) -> str | None:
    """Return the inode of the socket at the other side of a connection (proc(5), net/tcp)."""
    wanted = (f"0100007F:{from_port:04X}", f"0100007F:{to_port:04X}")
    for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
        fields = line.split()
        if (fields[1], fields[2]) == wanted:
            return fields[9]
    return None


def _descriptors(process: int) -> set[str]:
    """Return what a process has open."""
    found = set()
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(str(descriptor.readlink()))
    return found
