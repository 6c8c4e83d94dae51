"""What must be so before a store is served: its mark, its clients, the demo, what was pending."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from adapters.submissions.intake import submit_envelope
from adapters.submissions.resume import resume_pending
from auth.bearer import principal_of
from auth.policy import policy_for
from auth.server.demo import make_demo_clients, web_book
from fhir_server import demo
from fhir_server.app import META, Composition, Serving, now
from fhir_server.interactions.context import AuditTrail, FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.store.bulk import BUCKET, MARK, UNFINISHED
from fhir_server.store.leases import Leases
from fhir_server.stores import Refused

if TYPE_CHECKING:
    from auth.client import Client

_DEMO: Final = b"demo"
_REAL: Final = b"real"
_PATIENCE: Final = 90.0
"""Seconds that a start waits for another that makes the demo people; one that died is followed."""


async def prepare(composition: Composition, serving: Serving) -> datetime | None:
    """Make a store ready to be served; return a demo's first start (None: it is no demo).

    Raises:
        Refused: A demo store is to be served for real, or the other way round; or not all of the
            store is there yet.
    """
    if await composition.store.get(BUCKET, MARK) is not None:
        raise Refused(f"{composition.settings.shown_store}: {UNFINISHED}")
    first_start = await _mark(composition, serving)
    await composition.mark("origin", composition.origin)
    if first_start is None:
        await composition.grants.register(web_book(composition.origin))
    else:
        await composition.mark("vneid-secret", secrets.token_urlsafe(32), once=True)
        clients = make_demo_clients(composition.settings.keys, composition.origin)
        for client in clients:
            await composition.grants.register(client)
        await _people(composition, first_start, {c.client_id: c for c in clients})
    await resume_pending(composition.system(), composition.verify)
    return first_start


async def _mark(composition: Composition, serving: Serving) -> datetime | None:
    """Mark a new store as what it is, and refuse one that is the other kind."""
    wanted = _DEMO if serving.demo else _REAL
    kind = await composition.mark("kind", wanted.decode(), once=True)
    if serving.demo and kind.encode() != _DEMO:
        raise Refused(
            f"{composition.settings.shown_store}: this store was not made as a demo; "
            "--demo refuses it."
        )
    if not serving.demo and kind.encode() != _REAL:
        shown = composition.settings.shown_store
        raise Refused(f"{shown}: this is a demo store; serve it with --demo.")
    if not serving.demo:
        return None
    return datetime.fromisoformat(await composition.mark("demo", now().isoformat(), once=True))


async def _people(
    composition: Composition, first_start: datetime, clients: dict[str, Client]
) -> None:
    """Make the demo people once, and send their dossiers as the hospitals would."""
    marks = ("demo-people", "demo-visits")
    if None not in [await composition.store.get(META, mark) for mark in marks]:
        return
    # Of servers that are started together one makes them, and the others wait for it.
    async with Leases(composition.store, now).held("demo", patience=_PATIENCE):
        await _made(composition, first_start, clients)


async def _made(
    composition: Composition, first_start: datetime, clients: dict[str, Client]
) -> None:
    if await composition.store.get(META, "demo-people") is None:
        bundle = demo.people_bundle(first_start.date())
        request = FhirRequest("transaction", resource=bundle, method="POST")
        await perform(composition.system(), request)
        await composition.mark("demo-people", "made")
    if await composition.store.get(META, "demo-visits") is None:
        # A visit that is there already is `unchanged`: a start that was interrupted is finished.
        for facility, envelope in demo.dossiers(first_start):
            client = clients[f"hospital-{facility}"]
            principal = principal_of(client, client.scopes)
            ctx = composition.context(principal, policy_for(principal))
            await submit_envelope(replace(ctx, trail=AuditTrail()), envelope)
        await composition.mark("demo-visits", "made")
