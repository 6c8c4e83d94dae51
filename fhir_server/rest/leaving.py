"""A client that leaves before its answer is there: what only reads is given up.

ASGI tells it by `http.disconnect`, which is waited for beside the work. Nearly every request is
answered before that is worth a task of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from starlette.types import Receive

from fhir_server.store.work import Work, working

SOON: Final = 0.05
"""Seconds after which it is looked whether the client is still there."""


@contextmanager
def given_up_if_left(receive: Receive) -> Iterator[None]:
    """Give the work within up once the client has left; it then raises GivenUp.

    The request's body must have been read, or be none.
    """
    with working(Work()) as work:
        work.is_watched = True
        watching: list[asyncio.Task[None]] = []
        loop = asyncio.get_running_loop()
        timer = loop.call_later(
            SOON, lambda: watching.append(loop.create_task(_watch(receive, work)))
        )
        try:
            yield
        finally:
            timer.cancel()
            for task in watching:
                task.cancel()


async def _watch(receive: Receive, work: Work) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    work.give_up()
