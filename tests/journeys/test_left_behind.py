"""What a process that died has left is finished by one that serves the same store."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from adapters.submissions import keep
from fhir_server.settings import load_settings
from fhir_server.store.leases import SECONDS, SKEW, Leases
from fhir_server.stores import open_store
from tests.server import Server
from tests.xml130 import dossier, envelope, visit

WITHIN = 30.0


def test_a_submission_is_finished_while_the_server_serves(server: Server) -> None:
    """Its bytes were kept, and its process died: the receipt is there within seconds."""
    body = envelope([dossier(visit(MA_LK="LEFT-1", SO_CCCD="", MA_BN="LEFT"))])
    asyncio.run(_left(server, "left-behind", body))

    http = server.client(server.token(client="hospital-01999"))
    until = time.monotonic() + WITHIN
    while (answer := http.get("/submissions/left-behind")).status_code == 404:
        assert time.monotonic() < until, "nobody finished it"
        time.sleep(0.1)

    assert [part["ma_lk"] for part in answer.json()["dossiers"]] == ["LEFT-1"]
    assert http.get("/submissions/left-behind/source").content == body


async def _left(server: Server, submission_id: str, body: bytes) -> None:
    """Leave what a process leaves that dies right after the bytes were durable."""
    died = datetime.now(UTC).timestamp() - SECONDS - SKEW
    store = await open_store(load_settings(store=server.store))
    source = keep.Source(
        "application/xml", "xml", int(died * 1_000_000), 0, 0, "facility", "hospital-01999", "01999"
    )
    leases = Leases(store, lambda: datetime.fromtimestamp(died, UTC), by="died")
    lease = leases.made(submission_id, bucket=keep.PENDING)
    await keep.keep(store, submission_id, source, body, lease)
    await store.close()
