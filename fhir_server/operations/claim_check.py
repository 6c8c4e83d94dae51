"""`Claim/[id]/$check`: the insurer's rules over one Claim and the record beside it.

https://hl7.org/fhir/R4/claimresponse.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import both, visible_version, where_shown
from fhir_server.interactions.update import update
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_LK, code_system, extension
from fhir_server.model.primitives import format_instant, micros
from fhir_server.operations.claim_facts import (
    encounter_reference,
    facts_of,
    payers_of,
    visit_of,
)
from fhir_server.operations.claim_rules.facts import ClaimFacts, Evidence, Finding, Visit, plain
from fhir_server.operations.claim_rules.table import adjudicate
from fhir_server.operations.compartment import as_system, every_page, local_name
from fhir_server.operations.elements import objects
from fhir_server.operations.translation import bilingual, english
from fhir_server.search.expression import (
    And,
    DateIs,
    Expression,
    Ids,
    InPatient,
    Not,
    Or,
    Prefix,
    RefersTo,
    Search,
    TokenIs,
)
from fhir_server.search.values import MAX_TIME

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Name, Version

Resource = dict[str, Any]

FINDING: Final = {"coding": [{"system": code_system("adjudication"), "code": "finding"}]}
_RULE: Final = code_system("rule")
_ERROR: Final = code_system("claim-error")

MOST_VISITS: Final = 200
"""Visits of one patient that touch one claim's time; more than a life can hold."""


async def check(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the stored ClaimResponse with what the rules find in one Claim.

    Raises:
        UnknownResource: There is no such Claim, or the caller may not see it.
        Gone: It was deleted.
    """
    version = await visible_version(ctx, "Claim", request.resource_id or "", "$check")
    claim: Resource = codec.loads(version.body)
    named = await _named(ctx, claim)
    coverages = {ref: one for ref, one in named.items() if one["resourceType"] == "Coverage"}
    encounter = named.get(str((encounter_reference(claim) or {}).get("reference")))
    facts = facts_of(claim, encounter, coverages)
    evidence = await _evidence(ctx, claim, facts, payers_of(claim, coverages.values()))
    findings = adjudicate(facts, evidence)
    answer = claim_response(claim, coverages, facts, findings)
    return await _store(ctx, answer, frozenset(version.patients))


async def _named(ctx: Context, claim: Resource) -> dict[str, Resource]:
    """Read the Encounter and Coverages that the Claim names, by the reference as written."""
    elements = [encounter_reference(claim) or {}]
    elements += [one.get("coverage") or {} for one in objects(claim.get("insurance"))]
    names = {
        str(element["reference"]): name
        for element in elements
        if (name := local_name(element, ctx.base_url)) is not None
        and name[0] in {"Encounter", "Coverage"}
    }
    # Evidence is read as the server: whoever may check the claim may have these counted.
    versions = await ctx.store.read_many(list(names.values()))
    return {
        reference: codec.loads(version.body)
        for reference, version in zip(names, versions, strict=True)
        if version is not None and not version.deleted
    }


async def _evidence(
    ctx: Context, claim: Resource, facts: ClaimFacts, payers: frozenset[str]
) -> Evidence:
    """Find the patient's other visits at this time that the same payer was asked to pay for.

    A visit that the payer has no claim of is not its business, and is not counted.
    """
    patient = local_name(claim.get("patient"), ctx.base_url)
    if patient is None or facts.visit.start is None:
        return Evidence()
    encounters = await _encounters(ctx, patient, facts.visit)
    if not encounters:
        return Evidence()
    claims = await _claims(ctx, patient, encounters, but_for=claim["id"])
    coverages = await _coverages(ctx, claims)
    visits = []
    for other in claims:
        element = encounter_reference(other)
        name = local_name(element, ctx.base_url)
        if name is None or name not in encounters or other.get("status") != "active":
            continue
        if payers & payers_of(other, _own(ctx, other, coverages)):
            visits.append(visit_of(encounters[name], f"Claim/{other['id']}"))
    return Evidence(tuple(visits))


async def _encounters(ctx: Context, patient: Name, visit: Visit) -> dict[Name, Resource]:
    start = micros(visit.start) if visit.start else 0
    end = micros(visit.end) if visit.end else MAX_TIME
    own = visit.reference.rpartition("/")[2]
    where = And((
        InPatient(frozenset({patient[1]})),
        DateIs("date", Prefix.GE, start, start),
        DateIs("date", Prefix.LE, end, end),
        Not(Ids(frozenset({own}))),
    ))
    page = await ctx.store.search(Search((("Encounter", where),), count=MOST_VISITS))
    found = (codec.loads(version.body) for version in page.versions)
    return {
        ("Encounter", one["id"]): one
        for one in found
        if one.get("status") not in {"entered-in-error", "cancelled"}
    }


async def _claims(
    ctx: Context, patient: Name, encounters: dict[Name, Resource], *, but_for: str
) -> list[Resource]:
    shown = where_shown(ctx, "search-type", "Claim")
    if shown is None:
        return []
    where = And((
        InPatient(frozenset({patient[1]})),
        Or(tuple(leaf for name, one in encounters.items() for leaf in _about(name, one))),
        Not(Ids(frozenset({but_for}))),
    ))
    versions = await every_page(ctx, [("Claim", both(where, shown))])
    return [codec.loads(version.body) for version in versions]


def _about(name: Name, encounter: Resource) -> list[Expression]:
    """What finds the Claims of a visit: their items' Encounter; without items, the visit's key."""
    keys = [
        TokenIs("identifier", MA_LK, str(one.get("value", "")))
        for one in objects(encounter.get("identifier"))
        if one.get("system") == MA_LK
    ]
    return [RefersTo("encounter", "Encounter", name[1]), *keys]


async def _coverages(ctx: Context, claims: list[Resource]) -> dict[Name, Resource]:
    names = sorted({
        name
        for claim in claims
        for one in objects(claim.get("insurance"))
        if (name := local_name(one.get("coverage"), ctx.base_url)) is not None
    })
    versions = await ctx.store.read_many(names) if names else []
    return {
        name: codec.loads(version.body)
        for name, version in zip(names, versions, strict=True)
        if version is not None and not version.deleted
    }


def _own(ctx: Context, claim: Resource, coverages: dict[Name, Resource]) -> list[Resource]:
    names = (
        local_name(one.get("coverage"), ctx.base_url) for one in objects(claim.get("insurance"))
    )
    return [coverages[name] for name in names if name in coverages]


def response_id(claim_id: str) -> str:
    """Return the id of the one ClaimResponse that a Claim has."""
    return str(uuid5(NAMESPACE_URL, f"{_RULE}/Claim/{claim_id}"))


def claim_response(
    claim: Resource, coverages: dict[str, Resource], facts: ClaimFacts, findings: list[Finding]
) -> Resource:
    """Return the ClaimResponse that says the findings; its `created` is the store's to set."""
    reason = _not_checkable(claim, facts)
    outcome = "error" if reason else "complete"
    answer: Resource = {
        "resourceType": "ClaimResponse",
        "id": response_id(claim["id"]),
        "status": "active",
        "type": claim["type"],
        "use": claim["use"],
        "patient": claim["patient"],
        "insurer": _insurer(claim, coverages),
    }
    if "provider" in claim:
        answer["requestor"] = claim["provider"]
    answer["request"] = {"reference": f"Claim/{claim['id']}"}
    answer["outcome"] = outcome
    answer |= _disposition(findings, reason)
    lines = sorted({one.line for one in findings if one.line is not None})
    if lines:
        answer["item"] = [
            {
                "itemSequence": line,
                "adjudication": [adjudication(one) for one in findings if one.line == line],
            }
            for line in lines
        ]
    whole = [adjudication(one) for one in findings if one.line is None]
    if whole:
        answer["adjudication"] = whole
    if reason:
        answer["error"] = [
            {"code": {"coding": [{"system": _ERROR, "code": reason[0]}], "text": reason[1]}}
        ]
    return answer


def adjudication(finding: Finding) -> Resource:
    """Return one finding as an adjudication: rule, reason in two languages, money in doubt."""
    details: list[Resource] = [
        {"url": "severity", "valueCode": finding.severity},
        {"url": "law", "valueString": finding.law},
    ]
    details += [
        {"url": "evidence", "valueReference": {"reference": reference}}
        for reference in dict.fromkeys(finding.evidence)
        if reference
    ]
    if finding.field:
        details.append({"url": "field", "valueCode": finding.field})
    return {
        "extension": [{"url": extension("finding"), "extension": details}],
        "category": FINDING,
        "reason": {
            "coding": [{"system": _RULE, "code": finding.rule}],
            **bilingual("text", finding.text_vi, finding.text_en),
        },
        "amount": {"value": plain(finding.amount), "currency": "VND"},
    }


def _not_checkable(claim: Resource, facts: ClaimFacts) -> tuple[str, str, str] | None:
    if claim.get("status") != "active":
        return (
            "not-active",
            "Hồ sơ đề nghị thanh toán không còn hiệu lực.",
            "The claim is not active.",
        )
    if facts.visit.start is None:
        return (
            "no-visit",
            "Hồ sơ không nêu đợt khám chữa bệnh có thời gian.",
            "The claim names no visit with a time.",
        )
    return None


def _disposition(findings: list[Finding], reason: tuple[str, str, str] | None) -> Resource:
    if reason:
        return bilingual("disposition", reason[1], reason[2])
    if not findings:
        return bilingual("disposition", "Không có điểm cần xem lại.", "Nothing was found.")
    count = len(findings)
    return bilingual(
        "disposition",
        f"Có {count} điểm cần xem lại.",
        f"{count} finding{'s' if count > 1 else ''} to look at.",
    )


def _insurer(claim: Resource, coverages: dict[str, Resource]) -> Resource:
    if claim.get("insurer"):
        return dict(claim["insurer"])
    for coverage in coverages.values():
        for payor in objects(coverage.get("payor")):
            # FHIR: ClaimResponse.insurer is an Organization; who pays for himself is none.
            if "/Organization/" in f"/{payor.get('reference', 'Organization/')}":
                return payor
    return {"display": "Không có đơn vị bảo hiểm", "_display": english("No insurer")}


async def _store(ctx: Context, answer: Resource, patients: frozenset[str]) -> FhirResult:
    """Store the answer under its one id; the same findings again make no new version."""
    system = as_system(ctx)
    current = await ctx.store.read("ClaimResponse", answer["id"])
    if current is not None and not current.deleted and _same(current, answer):
        return FhirResult(version=current, patients=patients)
    answer["created"] = format_instant(ctx.now())
    request = FhirRequest(
        "update", resource_type="ClaimResponse", resource_id=answer["id"], resource=answer
    )
    result = await update(system, request)
    return replace(result, status=200, patients=patients | result.patients)


def _same(current: Version, answer: Resource) -> bool:
    before = codec.loads(current.body)
    return {key: before[key] for key in before if key not in {"meta", "created"}} == answer
