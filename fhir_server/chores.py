"""What a server does beside answering: now and then it looks for what another one left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog

from adapters.submissions.resume import resume_pending
from fhir_server.app import Composition
from fhir_server.indexing import index_parameters
from fhir_server.interactions.own_parameters import SECONDS
from fhir_server.model.outcome import Unavailable
from fhir_server.store.stopping import stopped

log = structlog.stdlib.get_logger("chores")

EVERY: Final = 5.0
"""Seconds between two looks, about: one read of a list that is short however large the store is."""


@asynccontextmanager
async def at_chores(composition: Composition) -> AsyncIterator[None]:
    """Give the time in which they are done."""
    tasks = [asyncio.create_task(_chores(composition)), asyncio.create_task(_index(composition))]
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
