"""The commands that a store sends to its database: so many round trips."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from fhir_server.store.mongo import connect
from fhir_server.store.mongo.store import MongoStore
from tests.mongo.databases import open_mongo


class Commands(CommandListener):
    """The commands sent since the last `clear`.

    Attributes:
        sent: Name and collection of each.
        within: The milliseconds that each may take; None without a limit.
    """

    def __init__(self) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.within: list[int | None] = []

    def clear(self) -> None:
        """Forget them."""
        self.sent.clear()
        self.within.clear()

    def started(self, event: CommandStartedEvent) -> None:
        """Note one."""
        self.sent.append((event.command_name, event.command.get(event.command_name)))
        self.within.append(event.command.get("maxTimeMS"))

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Note nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Note nothing."""


async def open_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[MongoStore, Commands]:
    """Open the store of a folder, with what it sends."""
    commands = Commands()
    with monkeypatch.context() as patched:
        listening = partial(AsyncMongoClient, event_listeners=[commands])
        patched.setattr(connect, "AsyncMongoClient", listening)
        return await open_mongo(folder), commands
