"""`Claim/[id]/$check`: the insurer's rules over one Claim and the record beside it.

https://hl7.org/fhir/R4/claimresponse.html
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import visible_version
from fhir_server.interactions.update import update
from fhir_server.model import codec
from fhir_server.model.identifiers import code_system, extension
from fhir_server.model.primitives import format_instant
from fhir_server.operations.claim_evidence import evidence_of, payers_of, readable
from fhir_server.operations.claim_facts import encounter_reference, facts_of, unknown_facilities
from fhir_server.operations.claim_rules.facts import Finding, plain
from fhir_server.operations.claim_rules.table import adjudicate
from fhir_server.operations.compartment import as_system, local_name
from fhir_server.operations.elements import objects
from fhir_server.operations.overlap import facility_codes
from fhir_server.operations.translation import bilingual, english

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Version

Resource = dict[str, Any]

FINDING: Final = {"coding": [{"system": code_system("adjudication"), "code": "finding"}]}
_RULE: Final = code_system("rule")
_ERROR: Final = code_system("claim-error")

_TAKEN_BACK: Final = frozenset({"cancelled", "entered-in-error"})
_WITHDRAWN: Final = (
    "Đợt khám chữa bệnh và đề nghị thanh toán đã được thu hồi; không có gì để kiểm tra.",
    "The visit was withdrawn and its claim with it; there is nothing to check.",
)
_CANCELLED: Final = (
    "Đề nghị thanh toán đã được thu hồi; không có gì để kiểm tra.",
    "The claim was withdrawn; there is nothing to check.",
)


async def check(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the stored ClaimResponse with what the rules find in one Claim.

    Raises:
        UnknownResource: There is no such Claim, or the caller may not see it.
        Gone: It was deleted.
    """
    version = await visible_version(ctx, "Claim", request.resource_id or "", "$check")
    claim: Resource = codec.loads_stored(version.body)
    named = await _named(ctx, claim)
    coverages = {ref: one for ref, one in named.items() if one["resourceType"] == "Coverage"}
    encounter = named.get(str((encounter_reference(claim) or {}).get("reference")))
    unknown = unknown_facilities([encounter] if encounter else (), claim.get("provider"))
    facts = facts_of(claim, encounter, coverages, await facility_codes(ctx, unknown))
    findings: list[Finding] = []
    if claim.get("status") == "active":
        by_coverage, payers = await payers_of(ctx, coverages.values())
        evidence = await evidence_of(ctx, claim, facts.visit, payers)
        found = adjudicate(facts, evidence)
        findings = readable(found, claim, facts.visit, by_coverage, payers)
    withdrawn = (encounter or {}).get("status") == "entered-in-error"
    answer = claim_response(claim, coverages, findings, withdrawn=withdrawn)
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
        reference: codec.loads_stored(version.body)
        for reference, version in zip(names, versions, strict=True)
        if version is not None and not version.deleted
    }


def response_id(claim_id: str) -> str:
    """Return the id of the one ClaimResponse that a Claim has."""
    return str(uuid5(NAMESPACE_URL, f"{_RULE}/Claim/{claim_id}"))


def claim_response(
    claim: Resource,
    coverages: dict[str, Resource],
    findings: list[Finding],
    *,
    withdrawn: bool = False,
) -> Resource:
    """Return the ClaimResponse that says the findings; its `created` is the store's to set.

    Args:
        claim: The Claim.
        coverages: The Coverages that it names.
        findings: What they found.
        withdrawn: The Claim's visit was withdrawn.
    """
    reason = _not_checkable(claim)
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
    if claim.get("status") in _TAKEN_BACK:
        answer |= bilingual("disposition", *(_WITHDRAWN if withdrawn else _CANCELLED))
    else:
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


def _not_checkable(claim: Resource) -> tuple[str, str, str] | None:
    if claim.get("status") in _TAKEN_BACK:
        # There is nothing left to check, and nobody has to do anything about it.
        return None
    if claim.get("status") != "active":
        return (
            "not-active",
            "Hồ sơ đề nghị thanh toán không còn hiệu lực.",
            "The claim is not active.",
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
    before = codec.loads_stored(current.body)
    return {key: before[key] for key in before if key not in {"meta", "created"}} == answer
