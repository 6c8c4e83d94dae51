"""`fhir-server doctor`: what is wrong with settings, store, clock, keys and definitions."""

from __future__ import annotations

import stat
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fhir_server import app, stores
from fhir_server.indexing import LEASE
from fhir_server.interactions.own_parameters import definitions_of, job_of
from fhir_server.model import definitions
from fhir_server.model.outcome import FhirError
from fhir_server.model.primitives import from_micros
from fhir_server.store.fact import Fact
from fhir_server.store.leases import BUCKET as LEASES
from fhir_server.store.leases import hold_of

if TYPE_CHECKING:
    from fhir_server.settings import Settings

SINCE: Final = datetime(2026, 11, 1, tzinfo=UTC)
"""No server of this version ran before."""

R4_TYPES: Final = 146

OPENED: Final = frozenset({"schema", "indexes"})
"""Facts of a database that must all be there, and well, for it to be opened: else a start would
change it, or cannot be."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, whether it is good, and what to do if it is not."""

    what: str
    good: bool
    text: str

    @property
    def line(self) -> str:
        """The line as it is printed."""
        return f"{'ok ' if self.good else 'BAD'}  {self.what}: {self.text}"


async def examine(settings: Settings) -> list[Finding]:
    """Return a finding for each thing that must be right."""
    findings = [
        Finding(
            "settings",
            good=True,
            text=f"store {settings.shown_store}",
        ),
        *_definitions(),
        *_keys(settings),
    ]
    if settings.is_embedded and not settings.sqlite_path.is_file():
        # A path that leads nowhere may be mistyped, and nobody would see that a book is missing.
        text = f"{settings.sqlite_path} is not there yet; the first start makes it"
        return [*findings, Finding("store", good=False, text=text)]
    # Opening a database makes what is missing in it: it is looked at first, and left as it is.
    facts = [] if settings.is_embedded else await _facts(settings)
    if settings.is_embedded or {fact.name for fact in facts if fact.well} >= OPENED:
        try:
            async with app.opened(settings) as composition:
                for check in (_audit, _clock, _parameters):
                    findings.append(await check(composition))
        except (FhirError, stores.Refused, OSError) as error:
            findings.append(Finding("store", good=False, text=f"cannot be opened: {error}"))
            if settings.is_embedded:
                return findings
    if settings.is_embedded:
        facts = await _facts(settings)
    return [*findings, *(Finding(fact.name, fact.well, fact.text) for fact in facts)]


async def _facts(settings: Settings) -> list[Fact]:
    try:
        return await stores.facts_of(settings)
    except (FhirError, stores.Refused) as error:
        return [Fact("database", well=False, text=str(error))]


def _definitions() -> list[Finding]:
    began = time.perf_counter()
    types = len(definitions.RESOURCE_TYPES)
    text = f"{types} resource types of R4, read in {(time.perf_counter() - began) * 1e3:.0f} ms"
    return [Finding("definitions", types >= R4_TYPES, text)]


def _keys(settings: Settings) -> list[Finding]:
    folder = settings.keys
    if not folder.is_dir():
        return [Finding("keys", good=True, text=f"{folder} is made at the first start")]
    loose = [
        file.name
        for file in folder.rglob("*.json")
        if stat.S_IMODE(file.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    if loose:
        text = f"{', '.join(sorted(loose))} can be read by others; do: chmod 600 {folder}/*"
        return [Finding("keys", good=False, text=text)]
    return [Finding("keys", good=True, text=f"{folder}, for its owner alone")]


async def _audit(composition: app.Composition) -> Finding:
    whole, text = await composition.verify_audit()
    return Finding("audit", whole, text)


async def _parameters(composition: app.Composition) -> Finding:
    """Tell which search parameters the store has of its own, and how far their indexing is."""
    what, store = "search parameters", composition.store
    there, _ = await definitions_of(store)
    job = await job_of(store)
    if there.is_settled and job is None:
        text = f"{len(there.own)} of the store's own, all indexed"
        return Finding(what, good=True, text=text if there.own else "none of the store's own")
    waiting = ", ".join(sorted(one.name for one in there.own if not one.ready))
    text = f"{waiting or 'former ones'} not indexed yet ({job.progress if job else '0 %'}); "
    hold = hold_of(await store.get(LEASES, LEASE))
    if hold.failed:
        text += f"it has failed {hold.failed} times; see why in a server's log"
        return Finding(what, good=False, text=text)
    return Finding(what, good=True, text=f"{text}a server does it, or: fhir-server reindex")


async def _clock(composition: app.Composition) -> Finding:
    now = datetime.now(UTC)
    latest = await composition.store.audit(limit=1)
    if now < SINCE:
        return Finding("clock", good=False, text=f"it says {now:%Y-%m-%d}; set the machine's clock")
    if latest and from_micros(latest[0].recorded) > now:
        text = "it is behind the last AuditEvent; set the machine's clock before serving"
        return Finding("clock", good=False, text=text)
    return Finding("clock", good=True, text=f"{now:%Y-%m-%dT%H:%M:%SZ}")
