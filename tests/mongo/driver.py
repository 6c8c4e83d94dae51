"""A pytest plugin that mends what the driver leaves open, for every warning of a test is an error.

PyMongo (4.20.1) closes no socket whose connecting is cancelled, as it is where a client is closed
while one of its monitors connects; the collector does, and its ResourceWarning then fails whichever
test comes next. Known as PYTHON-5867: https://github.com/mongodb/mongo-python-driver/pull/2858.
`tests/test_mongo.py` says when this is needed no more.
"""

from __future__ import annotations

import asyncio
import socket
import traceback
from typing import Any, Final

from pymongo import pool_shared

UNMENDED: Final = pool_shared._async_create_connection


async def connected(address: Any, options: Any) -> socket.socket:
    """Connect as the driver does, and close what is left where that is cancelled."""
    try:
        return await UNMENDED(address, options)
    except asyncio.CancelledError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            left = frame.f_locals.get("sock")
            if isinstance(left, socket.socket):
                left.close()
        raise


def pytest_configure() -> None:
    """Connect by `connected` in this process."""
    pool_shared._async_create_connection = connected
