"""`CoverageEligibilityRequest/$submit`: is the card valid on the day, and what does it pay.

https://hl7.org/fhir/R4/coverageeligibilityrequest-operation-submit.html
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Final
from uuid import NAMESPACE_URL, uuid5

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.narrow import both, where_shown
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, CCCD, code_system, identified
from fhir_server.model.outcome import Invalid, InvalidValue, MissingRequired
from fhir_server.model.primitives import VIETNAM, format_instant
from fhir_server.operations.claim_facts import card_code
from fhir_server.operations.compartment import as_system, local_name, shown_by_name
from fhir_server.operations.elements import moment, objects, period_days
from fhir_server.operations.translation import bilingual, english
from fhir_server.search.expression import Or, Search, TokenIs
from fhir_server.validation.structure import validate

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context

Resource = dict[str, Any]

COPAYMENT: Final = {"1": 0, "2": 0, "3": 5, "4": 20, "5": 0}
"""The card's third character and the per cent that the patient pays (QĐ 1666/QĐ-BHXH)."""

BENEFIT: Final = "http://terminology.hl7.org/CodeSystem/benefit-type"
MEDICAL_CARE: Final = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/ex-benefitcategory",
            "code": "1",
            "display": "Medical Care",
        }
    ]
}
MOST_CARDS: Final = 10
_ERROR: Final = code_system("eligibility-error")
_FULL_CARD: Final = 15


@dataclass(frozen=True, slots=True)
class Answer:
    """What is said of one card: its element of `insurance`, and the sentence in two languages.

    Attributes:
        error: Where no card is meant, the code of why.
    """

    insurance: Resource
    vi: str
    en: str
    coverage: Resource | None = None
    error: str = "unknown-coverage"


async def submit(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the stored CoverageEligibilityResponse to a CoverageEligibilityRequest.

    Raises:
        MissingRequired: The body holds no CoverageEligibilityRequest, or it names no Coverage.
        InvalidValue: It names too many, or a day that is none.
        Invalid: The request is not a valid resource.
    """
    asked = _asked(request.resource)
    day = _served(asked, ctx)
    answers = [await _answer(ctx, asked, one, day) for one in _insurances(asked)]
    response = _response(ctx, asked, answers, day)
    return await _store(ctx, _with_references(asked, answers), response)


def _asked(body: Resource | None) -> Resource:
    if body and body.get("resourceType") == "Parameters":
        body = next(
            (
                one["resource"]
                for one in objects(body.get("parameter"))
                if one.get("name") == "resource" and isinstance(one.get("resource"), dict)
            ),
            None,
        )
    if not body or body.get("resourceType") != "CoverageEligibilityRequest":
        raise MissingRequired(
            "The body is a CoverageEligibilityRequest, or Parameters with it as `resource`."
        )
    errors = [issue for issue in validate(body) if issue.severity in {"error", "fatal"}]
    if errors:
        raise Invalid(errors)
    return body


def _insurances(asked: Resource) -> list[Resource]:
    insurances = list(objects(asked.get("insurance")))
    where = ["CoverageEligibilityRequest.insurance"]
    if not insurances:
        raise MissingRequired("The request names no Coverage.", expression=where)
    if len(insurances) > MOST_CARDS:
        raise InvalidValue(f"The request names more than {MOST_CARDS} Coverages.", expression=where)
    return insurances


def _served(asked: Resource, ctx: Context) -> date:
    period = asked.get("servicedPeriod") or {}
    text = asked.get("servicedDate") or period.get("start")
    if text is None:
        return ctx.now().astimezone(VIETNAM).date()
    day = moment(text)
    if day is None:
        raise InvalidValue(
            "The day of service is not a date.",
            expression=["CoverageEligibilityRequest.servicedDate"],
        )
    return day.date()


async def _answer(ctx: Context, asked: Resource, insurance: Resource, day: date) -> Answer:
    element = insurance["coverage"]
    found = await _coverages(ctx, element)
    own = [one for one in found if await _is_of(ctx, one, asked["patient"])]
    if found and not own:
        # Only who may see the card learns that there is one; whose it is, is not said.
        return Answer(
            {"coverage": element, "inforce": False},
            "Thẻ này không phải của người bệnh được hỏi.",
            "This card is not that of the patient asked about.",
            error="other-patient",
        )
    if not own:
        # The same words for a card that nobody has and for another payer's.
        return Answer(
            {"coverage": element, "inforce": False},
            "Không tìm thấy thẻ này trong số thẻ do đơn vị quản lý.",
            "This card is not known among those of this payer.",
        )
    coverage = min(own, key=lambda one: (not _in_force(one, day), -_end(one).toordinal()))
    return _said(element, coverage, day)


async def _coverages(ctx: Context, element: Resource) -> list[Resource]:
    """Find the Coverage by literal reference, else by its card; only what the caller may see."""
    name = local_name(element, ctx.base_url)
    identifier = element.get("identifier") or {}
    if name is not None and name[0] == "Coverage":
        versions = await shown_by_name(ctx, [name])
    elif _system(identifier) == BHYT and identifier.get("value"):
        shown = where_shown(ctx, "search-type", "Coverage")
        if shown is None:
            return []
        card = str(identifier["value"]).strip().upper()
        where = both(Or((TokenIs("identifier", BHYT, card),)), shown)
        page = await ctx.store.search(Search((("Coverage", where),), count=MOST_CARDS))
        versions = list(page.versions)
    else:
        return []
    return [codec.loads_stored(version.body) for version in versions]


def _system(identifier: Resource) -> str:
    return identified(identifier)[0]


async def _is_of(ctx: Context, coverage: Resource, patient: Resource) -> bool:
    """Whether the card is of the person asked about, as far as the request says who that is."""
    asked = local_name(patient, ctx.base_url)
    holder = local_name(coverage.get("beneficiary"), ctx.base_url)
    if asked is not None:
        return asked == holder
    identifier = patient.get("identifier") or {}
    if _system(identifier) != CCCD or holder is None:
        return True
    version = await ctx.store.read(*holder)
    if version is None or version.deleted:
        return False
    numbers = objects(codec.loads_stored(version.body).get("identifier"))
    return identified(identifier) in map(identified, numbers)


def _in_force(coverage: Resource, day: date) -> bool:
    start, end = period_days(coverage.get("period"))
    begun = start is None or start <= day
    return coverage.get("status") == "active" and begun and (end is None or day <= end)


def _end(coverage: Resource) -> date:
    return period_days(coverage.get("period"))[1] or date.max


def _said(element: Resource, coverage: Resource, day: date) -> Answer:
    reference = {**element, "reference": f"Coverage/{coverage['id']}"}
    valid = _in_force(coverage, day)
    insurance: Resource = {"coverage": reference, "inforce": valid}
    if coverage.get("period"):
        insurance["benefitPeriod"] = coverage["period"]
    day_vi = f"{day:%d/%m/%Y}"
    if not valid:
        return Answer(
            insurance,
            f"Thẻ không có giá trị vào ngày {day_vi}.",
            f"The card is not valid on {day}.",
            coverage,
        )
    copayment = copayment_of(coverage)
    if copayment is None:
        return Answer(
            insurance,
            f"Thẻ có giá trị vào ngày {day_vi}; mã thẻ không cho biết mức hưởng.",
            f"The card is valid on {day}; its code does not tell the benefit level.",
            coverage,
        )
    insurance["item"] = [{"category": MEDICAL_CARE, "benefit": [_benefit(copayment)]}]
    level = 100 - copayment
    return Answer(
        insurance,
        f"Thẻ có giá trị vào ngày {day_vi}, mức hưởng {level}%.",
        f"The card is valid on {day}; it pays {level}%.",
        coverage,
    )


def copayment_of(coverage: Resource) -> int | None:
    """Return the per cent that the patient pays, by the card's benefit digit; None: not told."""
    card = card_code(coverage)
    return COPAYMENT.get(card[2]) if len(card) == _FULL_CARD else None


def _benefit(copayment: int) -> Resource:
    kind = {"system": BENEFIT, "code": "copay-percent", "display": "Copayment Percent per service"}
    return {"type": {"coding": [kind]}, "allowedUnsignedInt": copayment}


def _response(ctx: Context, asked: Resource, answers: list[Answer], day: date) -> Resource:
    known = [one for one in answers if one.coverage is not None]
    patient = known[0].coverage["beneficiary"] if known and known[0].coverage else asked["patient"]
    response: Resource = {
        "resourceType": "CoverageEligibilityResponse",
        "status": "active",
        "purpose": asked["purpose"],
        "patient": patient,
        "servicedDate": day.isoformat(),
        "created": format_instant(ctx.now()),
        "request": {"reference": ""},
        "outcome": "complete" if len(known) == len(answers) else "error",
    }
    response |= bilingual(
        "disposition", " ".join(one.vi for one in answers), " ".join(one.en for one in answers)
    )
    response["insurer"] = asked["insurer"]
    response["insurance"] = [one.insurance for one in answers]
    unknown = [one for one in answers if one.coverage is None]
    if unknown:
        response["error"] = [
            {
                "code": {
                    "coding": [{"system": _ERROR, "code": one.error}],
                    "text": one.vi,
                    "_text": english(one.en),
                }
            }
            for one in unknown
        ]
    return response


def _with_references(asked: Resource, answers: list[Answer]) -> Resource:
    """Return the request to keep, with what its identifiers turned out to mean."""
    insurances = [
        {**one, "coverage": answer.insurance["coverage"]}
        for one, answer in zip(objects(asked["insurance"]), answers, strict=True)
    ]
    kept = {key: value for key, value in asked.items() if key not in {"id", "meta"}}
    return {**kept, "insurance": insurances}


async def _store(ctx: Context, asked: Resource, response: Resource) -> FhirResult:
    """Store the request and its response in one commit, as the server."""
    urn = f"urn:uuid:{uuid5(NAMESPACE_URL, ctx.new_id())}"
    response["request"]["reference"] = urn
    bundle: Resource = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {
                "fullUrl": urn,
                "resource": asked,
                "request": {"method": "POST", "url": "CoverageEligibilityRequest"},
            },
            {
                "resource": response,
                "request": {"method": "POST", "url": "CoverageEligibilityResponse"},
            },
        ],
    }
    tags = frozenset({ctx.principal.tag} if ctx.principal.tag else ())
    made = await run_transaction(as_system(ctx), bundle, tag_all=tags, audit=True)
    version = made[1].version
    return FhirResult(version=version, patients=frozenset(version.patients if version else ()))
