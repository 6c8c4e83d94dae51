"""Ending a task that is at work with a store."""

from __future__ import annotations

import asyncio
from typing import Any, Final

INSIST: Final = 0.2
"""Seconds that a task has to end, before it is told so once more."""


async def stopped(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and return when it has ended.

    MongoDB's driver may take a cancellation for a lost connection, and go on with another: one in
    eleven was, of calls cancelled at any moment. So it is said until it is heard.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=INSIST)
