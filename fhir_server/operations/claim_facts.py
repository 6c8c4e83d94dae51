"""What the rules need of a Claim, its Coverages and Encounters: resources read into values.

The extensions are those of mappings.xml130.claim; a Claim that came as plain FHIR is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from fhir_server.model.identifiers import BHYT, MA_LK, NS, code_system
from fhir_server.operations.claim_rules.facts import Card, ClaimFacts, Line, Visit
from fhir_server.operations.elements import as_object, identifier_of, moment, objects, period_days

_PREFIX: Final = f"{NS}/StructureDefinition/"
_KIND: Final = code_system("ma-loai-kcb")
_GROUP: Final = code_system("ma-nhom")
_SELF_PAY: Final = "http://terminology.hl7.org/CodeSystem/coverage-selfpay"
_SCALARS: Final = ("valueDecimal", "valueInteger", "valueUnsignedInt", "valuePositiveInt")

_MOST_DIGITS: Final = 18

Resource = dict[str, Any]


def facts_of(
    claim: Resource, encounter: Resource | None, coverages: Mapping[str, Resource]
) -> ClaimFacts:
    """Return a Claim as the rules see it.

    Args:
        claim: The Claim.
        encounter: The Encounter that it names.
        coverages: The Coverages that it names, by the reference as written.
    """
    insurances = list(objects(claim.get("insurance")))
    named = [(one, coverages.get(_text(one, "coverage", "reference"))) for one in insurances]
    insured = [(one, found) for one, found in named if not (found and is_self_pay(found))]
    return ClaimFacts(
        reference=f"Claim/{claim['id']}",
        visit=visit_of(encounter, f"Claim/{claim['id']}") if encounter else _stated_visit(claim),
        cards=tuple(_card(one, found) for one, found in insured if found is not None),
        lines=tuple(_line(item, n) for n, item in enumerate(objects(claim.get("item")), 1)),
        amounts=_sums(claim),
        insured=bool(insured),
    )


def visit_of(encounter: Resource, claim: str = "") -> Visit:
    """Return an Encounter as a visit: facility, form, start and end; nothing clinical."""
    period = as_object(encounter.get("period"))
    return Visit(
        reference=f"Encounter/{encounter['id']}",
        claim=claim,
        facility=_facility(encounter),
        kind=_kind(encounter),
        start=moment(period.get("start")),
        end=moment(period.get("end"), last=True),
    )


def encounter_reference(claim: Resource) -> Resource | None:
    """Return the Reference to the Encounter that a Claim is about: its first item's."""
    for item in objects(claim.get("item")):
        for element in objects(item.get("encounter")):
            return element
    for extra in objects(claim.get("supportingInfo")):
        element = as_object(extra.get("valueReference"))
        if str(element.get("reference", "")).rpartition("/")[0].endswith("Encounter"):
            return element
    return next(
        (
            as_object(extra.get("valueReference"))
            for extra in objects(claim.get("extension"))
            if extra.get("url") == f"{_PREFIX}encounter"
        ),
        None,
    )


def payers_of(claim: Resource, coverages: Iterable[Resource]) -> frozenset[str]:
    """Return all that names the payer asked: the claim's insurer and its Coverages' payors."""
    elements = [as_object(claim.get("insurer"))]
    elements += [payor for one in coverages for payor in objects(one.get("payor"))]
    names: set[str] = set()
    for element in elements:
        identifier = as_object(element.get("identifier"))
        if identifier.get("value"):
            names.add(f"{identifier.get('system', '')}|{identifier['value']}")
        if element.get("reference"):
            names.add(str(element["reference"]))
    return frozenset(names)


def is_self_pay(coverage: Resource) -> bool:
    """Return whether a Coverage is the patient's own money."""
    codings = objects(as_object(coverage.get("type")).get("coding"))
    return any(coding.get("system") == _SELF_PAY for coding in codings)


def card_code(coverage: Resource) -> str:
    """Return the insurance card's code of a Coverage, or ""."""
    return identifier_of(coverage, BHYT)


def _text(parent: Resource, *path: str) -> str:
    node: Any = parent
    for step in path:
        node = as_object(node).get(step)
    return node if isinstance(node, str) else ""


def _facility(encounter: Resource) -> str:
    for identifier in objects(encounter.get("identifier")):
        if identifier.get("system") == MA_LK and "|" in str(identifier.get("value", "")):
            return str(identifier["value"]).partition("|")[0]
    provider = as_object(encounter.get("serviceProvider"))
    return _text(provider, "identifier", "value") or _text(provider, "reference")


def _kind(encounter: Resource) -> str:
    for concept in objects(encounter.get("type")):
        for coding in objects(concept.get("coding")):
            if coding.get("system") == _KIND:
                return str(coding.get("code", "")).zfill(2)
    return "03" if _text(encounter, "class", "code") in {"IMP", "ACUTE", "NONAC"} else "01"


def _stated_visit(claim: Resource) -> Visit:
    period = as_object(claim.get("billablePeriod"))
    return Visit(
        reference="",
        claim=f"Claim/{claim['id']}",
        facility=_text(claim, "provider", "identifier", "value"),
        kind="01",
        start=moment(period.get("start")),
        end=moment(period.get("end"), last=True),
    )


def _card(insurance: Resource, coverage: Resource) -> Card:
    # A card is renewed under the same code: what the dossier stated on its day is asked first.
    stated = next(
        (one for one in objects(insurance.get("extension")) if one.get("url") == _CARD_PERIOD), None
    )
    start, end = period_days(stated.get("valuePeriod") if stated else coverage.get("period"))
    return Card(f"Coverage/{coverage['id']}", card_code(coverage), start, end)


_CARD_PERIOD: Final = f"{_PREFIX}card-period"


def _line(item: Resource, position: int) -> Line:
    amounts, codes = _extensions(item)
    table = codes.get("LINE", "").partition("/")[0]
    plain = {
        "SO_LUONG": as_object(item.get("quantity")).get("value"),
        "DON_GIA_BV" if table == "XML3" else "DON_GIA": _money(item.get("unitPrice")),
        "THANH_TIEN_BV": _money(item.get("net")),
    }
    factor = item.get("factor")
    for name, value in plain.items():
        number = _number(value)
        if number is not None and not (name == "THANH_TIEN_BV" and _number(factor) is not None):
            amounts.setdefault(name, number)
    for coding in objects(as_object(item.get("category")).get("coding")):
        if coding.get("system") == _GROUP:
            codes["MA_NHOM"] = str(coding.get("code", ""))
    sequence = item.get("sequence")
    return Line(sequence if isinstance(sequence, int) else position, table, amounts, codes)


def _sums(claim: Resource) -> dict[str, Decimal]:
    amounts, _ = _extensions(claim)
    total = _number(_money(claim.get("total")))
    if total is not None:
        amounts.setdefault("T_TONGCHI_BV", total)
    return amounts


def _extensions(element: Resource) -> tuple[dict[str, Decimal], dict[str, str]]:
    """Read the decree's fields: `…/thanh-tien-bh` is THANH_TIEN_BH, a number or a code."""
    amounts: dict[str, Decimal] = {}
    codes: dict[str, str] = {}
    for extension in objects(element.get("extension")):
        url = str(extension.get("url", ""))
        if not url.startswith(_PREFIX):
            continue
        name = url.removeprefix(_PREFIX).replace("-", "_").upper()
        value = _money(extension.get("valueMoney"))
        scalars = [value, *(extension.get(key) for key in _SCALARS)]
        number = next((n for one in scalars if (n := _number(one)) is not None), None)
        if number is not None:
            amounts[name] = number
        for key in ("valueCode", "valueString"):
            if isinstance(extension.get(key), str):
                codes[name] = extension[key]
    return amounts, codes


def _money(value: Any) -> Any:
    return as_object(value).get("value")


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    # A plain Decimal: the codec's own subclass keeps how the number was written.
    number = Decimal(value)
    # What is no sum of money that a person could mean is as if it were not stated.
    return number if abs(number.adjusted()) <= _MOST_DIGITS else None
