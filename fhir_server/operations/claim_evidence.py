"""What is beside a Claim: the patient's other visits of its time, as far as its payers may know.

G01 and G07 ask for visits, whoever paid. Of one that all payers of this Claim were asked to pay
for, its Encounter, its Claim and its facility are told: they may read those themselves. Of any
other visit no more than the fact is: that there is one, at the same time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fhir_server.model import codec
from fhir_server.model.identifiers import PAYER
from fhir_server.operations.claim_facts import encounter_reference, named_encounter
from fhir_server.operations.claim_rules.facts import Evidence, Finding, Visit
from fhir_server.operations.compartment import every_page, local_name
from fhir_server.operations.elements import as_object, objects
from fhir_server.operations.overlap import visits_beside
from fhir_server.search.expression import And, Ids, InPatient, Not, Or, RefersTo

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Name

Resource = dict[str, Any]


async def evidence_of(
    ctx: Context, claim: Resource, visit: Visit, payers: frozenset[str]
) -> Evidence:
    """Return the other visits of the Claim's patient that touch its time.

    It is read as the server, so that the answer is the same whoever asks.

    Args:
        ctx: The caller's Context; its policy is not asked.
        claim: The Claim.
        visit: Its visit.
        payers: The codes of all payers that may read what is found, from `payers_of`.
    """
    patient = local_name(claim.get("patient"), ctx.base_url)
    if patient is None or patient[0] != "Patient":
        return Evidence()
    visits = await visits_beside(ctx, patient[1], visit)
    if not visits:
        return Evidence()
    claims = await _claims(ctx, patient[1], visits, payers, but_for=claim["id"])
    told = [
        replace(one, claim=claims[one.reference])
        if one.reference in claims
        else replace(one, reference="")
        for one in visits
    ]
    return Evidence(tuple(sorted(told, key=lambda one: (one.reference, one.facility))))


async def payers_of(
    ctx: Context, coverages: Iterable[Resource]
) -> tuple[dict[str, frozenset[str]], frozenset[str]]:
    """Return the payer codes of each Coverage by its reference, and those of all together.

    A payor is named by its code, or by the Organization that has the code, as `auth.policy` has it.
    """
    held = list(coverages)
    payors = [payor for one in held for payor in objects(one.get("payor"))]
    names = {name for payor in payors if (name := _organization(ctx, payor)) is not None}
    codes: dict[Name, frozenset[str]] = {}
    if names:
        for version in await ctx.store.read_many(sorted(names)):
            if version is not None and not version.deleted:
                found: Resource = codec.loads_stored(version.body)
                identifiers = objects(found.get("identifier"))
                key = (version.resource_type, version.resource_id)
                codes[key] = frozenset(filter(None, map(_code, identifiers)))
    by_coverage = {
        f"Coverage/{one['id']}": frozenset().union(
            *(_codes(ctx, payor, codes) for payor in objects(one.get("payor")))
        )
        for one in held
    }
    return by_coverage, frozenset().union(*by_coverage.values())


def readable(
    findings: Iterable[Finding],
    claim: Resource,
    visit: Visit,
    by_coverage: Mapping[str, frozenset[str]],
    payers: frozenset[str],
) -> list[Finding]:
    """Return the findings without evidence that a payer of the Claim may not read itself."""
    hidden = {name for name, codes in by_coverage.items() if not payers <= codes}
    if payers and named_encounter(claim) is None:
        # A visit that only an extension names is not one that the Claim shows to its payer.
        hidden.add(visit.reference)
    return [
        replace(one, evidence=tuple(name for name in one.evidence if name not in hidden))
        for one in findings
    ]


async def _claims(
    ctx: Context, patient_id: str, visits: list[Visit], payers: frozenset[str], *, but_for: str
) -> dict[str, str]:
    """Return the Claim of each visit that all these payers may read, by the Encounter's name."""
    names = [one.reference.rpartition("/")[2] for one in visits]
    where = And((
        InPatient(frozenset({patient_id})),
        # Our own parameter: what a payer is shown by it is what it may read.
        Or(tuple(RefersTo("names", "Encounter", name) for name in names)),
        Not(Ids(frozenset({but_for}))),
    ))
    versions = await every_page(ctx, [("Claim", where)])
    found: list[Resource] = [codec.loads_stored(version.body) for version in versions]
    found = [one for one in found if one.get("status") == "active"]
    coverages = await _coverages(ctx, found)
    by_coverage, _ = await payers_of(ctx, coverages.values())
    claims: dict[str, str] = {}
    for other in sorted(found, key=lambda one: str(one["id"])):
        name = local_name(encounter_reference(other), ctx.base_url)
        asked = frozenset().union(
            *(by_coverage.get(f"Coverage/{one}", frozenset()) for one in _cards(ctx, other))
        )
        if name is not None and payers <= asked:
            claims.setdefault("/".join(name), f"Claim/{other['id']}")
    return claims


async def _coverages(ctx: Context, claims: list[Resource]) -> dict[str, Resource]:
    ids = sorted({one for claim in claims for one in _cards(ctx, claim)})
    versions = await ctx.store.read_many([("Coverage", one) for one in ids]) if ids else []
    return {
        one: codec.loads_stored(version.body)
        for one, version in zip(ids, versions, strict=True)
        if version is not None and not version.deleted
    }


def _cards(ctx: Context, claim: Resource) -> list[str]:
    names = (
        local_name(one.get("coverage"), ctx.base_url) for one in objects(claim.get("insurance"))
    )
    return [name[1] for name in names if name is not None and name[0] == "Coverage"]


def _organization(ctx: Context, payor: Resource) -> Name | None:
    name = local_name(payor, ctx.base_url)
    return name if name is not None and name[0] == "Organization" else None


def _code(identifier: Resource) -> str:
    return str(identifier.get("value", "")) if identifier.get("system") == PAYER else ""


def _codes(
    ctx: Context, payor: Resource, organizations: Mapping[Name, frozenset[str]]
) -> frozenset[str]:
    name = _organization(ctx, payor)
    by_reference = organizations.get(name, frozenset()) if name else frozenset()
    stated = _code(as_object(payor.get("identifier")))
    return by_reference | {stated} if stated else by_reference
