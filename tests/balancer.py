"""A load balancer before servers of the tests: in turn, to those that say that they are ready."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from dataclasses import dataclass, field
from itertools import count
from threading import Thread
from typing import Any, Final, Self, TypeVar

from tests.ports import free_port

LOOPBACK: Final = "127.0.0.1"
LOOKS_EVERY: Final = 0.5
"""Seconds between two looks at a server."""

_WITHIN: Final = 30.0
_ANSWERS_WITHIN: Final = 2.0
_CHUNK: Final = 65_536
_T = TypeVar("_T")


@dataclass(slots=True)
class Balancer:
    """Passes connections on; one that a server refuses is an error that the client sees.

    It does not try another server then: nothing is hidden from a test.

    Attributes:
        ports: Of the servers.
        served: How many connections each has had.
    """

    ports: list[int]
    port: int = field(default_factory=free_port)
    served: dict[int, int] = field(default_factory=dict)
    _ready: dict[int, bool] = field(default_factory=dict)
    _turns: Any = field(default_factory=count)
    _loop: asyncio.AbstractEventLoop = field(init=False)
    _thread: Thread | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """The origin that clients know."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="balancer", daemon=True)
        self._thread.start()
        self._wait(self._begin())
        return self

    def __exit__(self, *_error: object) -> None:
        self._wait(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join()
        self._loop.close()

    def wait_for(self, port: int, *, ready: bool) -> None:
        """Return when it has seen a server ready, or no longer ready."""
        self._wait(self._until(port, ready=ready))

    # --- in the loop ---------------------------------------------------------------------

    def _wait(self, work: Coroutine[None, None, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WITHIN)

    async def _begin(self) -> None:
        for port in self.ports:
            self._spawn(self._look(port))
        self._server = await asyncio.start_server(
            lambda reader, writer: self._spawn(self._pass(reader, writer)), LOOPBACK, self.port
        )

    async def _end(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until(self, port: int, *, ready: bool) -> None:
        while self._ready.get(port, False) != ready:  # noqa: ASYNC110 - a look is what changes it
            await asyncio.sleep(0.02)

    async def _look(self, port: int) -> None:
        while True:
            self._ready[port] = await _is_ready(port)
            await asyncio.sleep(LOOKS_EVERY)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Give a connection to the next server that is ready."""
        ready = [port for port in self.ports if self._ready.get(port)]
        try:
            if ready:
                port = ready[next(self._turns) % len(ready)]
                self.served[port] = self.served.get(port, 0) + 1
                there, back = await asyncio.open_connection(LOOPBACK, port)
                await asyncio.gather(_copy(reader, back), _copy(there, writer))
        except OSError:
            writer.transport.abort()
        finally:
            writer.close()


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
    """Pass on what comes, and the end of it."""
    try:
        while data := await source.read(_CHUNK):
            to.write(data)
            await to.drain()
    finally:
        to.close()


async def _is_ready(port: int) -> bool:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_ANSWERS_WITHIN):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            try:
                return (await reader.readline()).startswith(b"HTTP/1.1 200")
            finally:
                writer.close()
    return False
