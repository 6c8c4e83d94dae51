"""Commits that tests make of a store, one or many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fhir_server.store.port import Batch, Store
from tests.contracts.making import made, patient

CCCD = "http://fhir.hl7.org.vn/core/sid/cccd"


def person(number: int, resource_id: str = "") -> Batch:
    """Return the commit of a Patient who holds a citizen's number."""
    identifier = [{"system": CCCD, "value": f"{number:012}"}]
    return Batch(writes=[made(patient(resource_id or f"p{number}", identifier=identifier))])


async def at_once(store: Store, batches: Sequence[Batch]) -> list[Any]:
    """Commit batches at once, and return None or the refusal of each."""
    return await asyncio.gather(*map(store.commit, batches), return_exceptions=True)
