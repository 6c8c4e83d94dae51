"""What a server does beside answering: now and then it looks for what another one left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import structlog

from adapters.submissions.resume import resume_pending
from fhir_server.app import Composition, now
from fhir_server.indexing import index_parameters
from fhir_server.interactions.own_parameters import SECONDS
from fhir_server.model.outcome import Unavailable
from fhir_server.store.stopping import stopped
from fhir_server.working import Worker

log = structlog.stdlib.get_logger("chores")

AT_ONCE: Final = 2
"""Asynchronous requests that one process works on at once."""
EVERY: Final = 5.0
"""Seconds between two looks, about: one read of a list that is short however large the store is."""


@asynccontextmanager
async def at_chores(composition: Composition) -> AsyncIterator[None]:
    """Give the time in which they are done."""
    tasks = [asyncio.create_task(_chores(composition))]
    tasks += [asyncio.create_task(_work(composition)) for _ in range(AT_ONCE)]
    tasks.append(asyncio.create_task(_index(composition)))
    try:
        yield
    finally:
        for task in tasks:
            await stopped(task)


async def _index(composition: Composition) -> None:
    """Index by search parameters that were given to the store, whenever there are new ones."""
    registry = composition.registry
    while True:
        await asyncio.sleep(SECONDS * random.uniform(0.5, 1))
        try:
            await registry.refreshed()
            if not registry.is_settled:
                await index_parameters(composition, gently=True)
        except Unavailable:
            continue
        except Exception as fault:
            log.exception("indexing.failed", fault=type(fault).__name__)


async def _work(composition: Composition) -> None:
    """Work on asynchronous requests: at once on those begun here, soon on those of others."""
    worker = Worker(composition.jobs, composition.store, now)
    while True:
        composition.work_to_do.clear()
        try:
            while await worker.turn():
                pass
        except Unavailable:
            pass  # the store is away: /readyz says so
        except Exception as fault:
            log.exception("chores.failed", fault=type(fault).__name__)
        with suppress(TimeoutError):
            await asyncio.wait_for(composition.work_to_do.wait(), EVERY * random.uniform(0.5, 1.5))


async def _chores(composition: Composition) -> None:
    while True:
        # Servers that were started together do not look together.
        await asyncio.sleep(EVERY * random.uniform(0.5, 1.5))
        try:
            await resume_pending(composition.system(), composition.verify)
        except Unavailable:
            continue  # the store is away: /readyz says so
        except Exception as fault:
            log.exception("chores.failed", fault=type(fault).__name__)
