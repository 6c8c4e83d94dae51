"""Patients as a dossier says them, and their visits, for tests of whose they are."""

from __future__ import annotations

import asyncio
from typing import Any

from fhir_server.interactions.context import Context
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD, MA_LK
from fhir_server.operations.identity import MA_BN
from fhir_server.operations.person import PersonPlan, find_or_make, put_entry
from fhir_server.operations.settle import REFUSED, pause

NUMBER = "001195012345"
NAME = "NGUYỄN THỊ MẪU"


def patient(
    number: str = NUMBER,
    name: str = NAME,
    birth: str = "1995-03-07",
    gender: str = "female",
    *,
    card: str = "",
    own: tuple[str, str] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return a dossier's Patient."""
    identifiers = []
    if number:
        identifiers.append({"system": CCCD, "value": number})
    if card:
        identifiers.append({"system": BHYT, "value": card})
    if own:
        identifiers.append({"system": MA_BN + own[0], "value": own[1]})
    family, *given = name.split()
    described = {
        "resourceType": "Patient",
        "identifier": identifiers,
        "name": [{"use": "official", "text": name, "family": family, "given": given}],
        "gender": gender,
        "birthDate": birth,
        **more,
    }
    return {key: value for key, value in described.items() if value}


async def take(
    ctx: Context, said: dict[str, Any], facility: str = "01999", current: str | None = None
) -> PersonPlan:
    """Find or make a dossier's person, and commit it as a dossier does."""
    for attempt in range(60):
        plan = await find_or_make(ctx, said, facility=facility, current=current)
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": list(plan.entries)}
        try:
            await run_transaction(
                ctx,
                bundle,
                puts=plan.puts,
                conditions=plan.conditions,
                tag_all=frozenset({f"facility/{facility}"}),
            )
        except REFUSED:
            await pause(attempt)
            continue
        return plan
    raise AssertionError("the person was never settled")


async def visit(ctx: Context, patient_id: str, facility: str, ma_lk: str) -> None:
    """Store a visit of a Patient that a facility sent."""
    encounter = {
        "resourceType": "Encounter",
        "identifier": [{"system": MA_LK, "value": f"{facility}|{ma_lk}"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "subject": {"reference": f"Patient/{patient_id}"},
    }
    entry = put_entry("Encounter", f"{facility}-{ma_lk}", encounter, 0)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    await run_transaction(ctx, bundle, tag_all=frozenset({f"facility/{facility}"}))


async def stored(ctx: Context, patient_id: str) -> dict[str, Any]:
    """Return a Patient as it is stored."""
    version = await ctx.store.read("Patient", patient_id)
    assert version is not None
    resource: dict[str, Any] = codec.loads(version.body)
    return resource


async def holder(ctx: Context, number: str = NUMBER) -> str | None:
    """Return the id of the Patient that holds a number."""
    name = await ctx.store.holder(f"{CCCD}|{number}")
    return name[1] if name else None


async def at_once(*works: Any) -> list[Any]:
    """Run all of these at once."""
    return list(await asyncio.gather(*works))
