"""What the rules need of a Claim, its Coverages and Encounters: resources read into values.

The extensions are those of mappings.xml130.claim; a Claim that came as plain FHIR is read too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Any, Final

from fhir_server.model.identifiers import BHYT, MA_CSKCB, MA_LK, NS, code_system
from fhir_server.operations.claim_rules.facts import Card, ClaimFacts, Line, Visit
from fhir_server.operations.elements import (
    as_object,
    extension_of,
    identifier_of,
    moment,
    objects,
    period_days,
)
from mappings.xml130.arithmetic import EXACT, rounded

_PREFIX: Final = f"{NS}/StructureDefinition/"
_KIND: Final = code_system("ma-loai-kcb")
_GROUP: Final = code_system("ma-nhom")
_SELF_PAY: Final = "http://terminology.hl7.org/CodeSystem/coverage-selfpay"
_SCALARS: Final = ("valueDecimal", "valueInteger", "valueUnsignedInt", "valuePositiveInt")

_MOST_DIGITS: Final = 18
_LASTING: Final = frozenset({"arrived", "triaged", "in-progress", "onleave"})
_KIND_OF_CLASS: Final = {"IMP": "03", "ACUTE": "03", "NONAC": "03", "SS": "04"}
NOWHERE: Final[Mapping[str, str]] = {}

Resource = dict[str, Any]


def facts_of(
    claim: Resource,
    encounter: Resource | None,
    coverages: Mapping[str, Resource],
    facilities: Mapping[str, str] = NOWHERE,
) -> ClaimFacts:
    """Return a Claim as the rules see it.

    Args:
        claim: The Claim.
        encounter: The Encounter that it names.
        coverages: The Coverages that it names, by the reference as written.
        facilities: Codes of facilities, by the reference as written.
    """
    insurances = list(objects(claim.get("insurance")))
    named = [(one, coverages.get(_text(one, "coverage", "reference"))) for one in insurances]
    insured = [(one, found) for one, found in named if not (found and is_self_pay(found))]
    visit = visit_of(encounter, facilities) if encounter else None
    if visit is None or visit.start is None:
        visit = _stated_visit(claim, facilities, visit)
    lines = tuple(_line(item, n) for n, item in enumerate(objects(claim.get("item")), 1))
    total = _number(_money(claim.get("total")))
    return ClaimFacts(
        reference=f"Claim/{claim['id']}",
        visit=visit,
        cards=tuple(
            card for one, found in insured if found is not None for card in _cards(one, found)
        ),
        lines=lines,
        amounts=_sums(claim, lines, total),
        insured=bool(insured),
        total=total,
        made=_day_known(claim.get("created")),
    )


def visit_of(encounter: Resource, facilities: Mapping[str, str] = NOWHERE) -> Visit:
    """Return an Encounter as a visit: facility, key, form, start and end; nothing clinical.

    Args:
        encounter: The Encounter.
        facilities: Codes of facilities, by the reference as written.
    """
    period = as_object(encounter.get("period"))
    start, end = moment(period.get("start")), moment(period.get("end"), last=True)
    code, key = _key(encounter)
    return Visit(
        facility=code or _provider(encounter.get("serviceProvider"), facilities),
        kind=_kind(encounter),
        start=start,
        # One that is over and does not say when is known to have been there at its start only.
        end=end if end or encounter.get("status") in _LASTING else start,
        key=key,
        reference=f"Encounter/{encounter.get('id', '')}",
    )


def named_encounter(claim: Resource) -> Resource | None:
    """Return the Reference by which an element of a Claim names the visit: its first item's."""
    for item in objects(claim.get("item")):
        for element in objects(item.get("encounter")):
            return element
    for extra in objects(claim.get("supportingInfo")):
        element = as_object(extra.get("valueReference"))
        if str(element.get("reference", "")).rpartition("/")[0].endswith("Encounter"):
            return element
    return None


def encounter_reference(claim: Resource) -> Resource | None:
    """Return the Reference to the Encounter that a Claim is about, from an extension at last."""
    found = as_object(extension_of(claim, "encounter").get("valueReference"))
    return named_encounter(claim) or found or None


def unknown_facilities(encounters: Iterable[Resource], *providers: Any) -> list[Resource]:
    """Return the References to facilities whose codes are not stated beside them."""
    elements = [one.get("serviceProvider") for one in encounters if not _key(one)[0]]
    return [
        as_object(element)
        for element in (*elements, *providers)
        if _text(as_object(element), "reference") and not _provider(element, NOWHERE)
    ]


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


def _key(encounter: Resource) -> tuple[str, str]:
    """MA_CSKCB and MA_LK of a visit; each "" where it is not stated."""
    for identifier in objects(encounter.get("identifier")):
        if identifier.get("system") == MA_LK and identifier.get("value"):
            code, bar, key = str(identifier["value"]).partition("|")
            return (code, key) if bar else ("", code)
    return "", ""


def _provider(element: Any, facilities: Mapping[str, str]) -> str:
    provider = as_object(element)
    identifier = as_object(provider.get("identifier"))
    if identifier.get("system") == MA_CSKCB and identifier.get("value"):
        return str(identifier["value"])
    return facilities.get(_text(provider, "reference"), "")


def _kind(encounter: Resource) -> str:
    for concept in objects(encounter.get("type")):
        for coding in objects(concept.get("coding")):
            if coding.get("system") == _KIND:
                return str(coding.get("code", "")).zfill(2)
    return _KIND_OF_CLASS.get(_text(encounter, "class", "code"), "01")


def _stated_visit(claim: Resource, facilities: Mapping[str, str], named: Visit | None) -> Visit:
    """The visit as the Claim itself states it, for one whose Encounter has no time or is not here.

    billablePeriod is asked first, then the days of the lines: FHIR's servicedDate, servicedPeriod.
    """
    period = as_object(claim.get("billablePeriod"))
    start, end = moment(period.get("start")), moment(period.get("end"), last=True)
    if start is None:
        start, end = _serviced(claim)
    if named is not None:
        return replace(named, start=start, end=end)
    return Visit(
        facility=_provider(claim.get("provider"), facilities), kind="01", start=start, end=end
    )


def _serviced(claim: Resource) -> tuple[datetime | None, datetime | None]:
    """From the first to the last time that a line was done; only of whole days or closer."""
    starts: list[datetime] = []
    ends: list[datetime] = []
    for item in objects(claim.get("item")):
        period = as_object(item.get("servicedPeriod"))
        first, last = period.get("start"), period.get("end")
        if "servicedDate" in item:
            first = last = item["servicedDate"]
        start = _day_known(first)
        if start is not None:
            starts.append(start)
            ends.append(_day_known(last, last=True) or start)
    return (min(starts), max(ends)) if starts else (None, None)


def _day_known(text: object, *, last: bool = False) -> datetime | None:
    """Return a time, but of one that says a year or a month alone None: no day may be made up."""
    if not isinstance(text, str) or len(text) < len("2026-11-20"):
        return None
    return moment(text, last=last)


def _cards(insurance: Resource, coverage: Resource) -> list[Card]:
    # A card is renewed under the same code: what the dossier stated on its day is asked first.
    stated = [
        days
        for one in objects(insurance.get("extension"))
        if (days := _stated_days(one)) is not None
    ]
    periods = stated or [period_days(coverage.get("period"))]
    return [
        Card(f"Coverage/{coverage['id']}", card_code(coverage), start, end)
        for start, end in periods
    ]


def _stated_days(extension: Resource) -> tuple[date | None, date | None] | None:
    if extension.get("url") == f"{_PREFIX}card-period":
        return period_days(extension.get("valuePeriod"))
    if extension.get("url") == f"{_PREFIX}card-dates":
        # Dates in the wrong order are no Period; the dossier's two days, as it wrote them.
        first, _, last = str(extension.get("valueString", "")).partition("/")
        return period_days({"start": first, "end": last})
    return None


def _line(item: Resource, position: int) -> Line:
    amounts, codes = _extensions(item)
    table = codes.get("LINE", "").partition("/")[0]
    plain = {
        "SO_LUONG": as_object(item.get("quantity")).get("value"),
        "DON_GIA_BV" if table == "XML3" else "DON_GIA": _money(item.get("unitPrice")),
        "THANH_TIEN_BV": _money(item.get("net")),
    }
    is_plain = not amounts
    factor = _number(item.get("factor"))
    for name, value in plain.items():
        number = _number(value)
        if number is not None and not (
            name == "THANH_TIEN_BV" and not is_plain and factor is not None
        ):
            amounts.setdefault(name, number)
    if is_plain:
        _complete(amounts, factor)
    for coding in objects(as_object(item.get("category")).get("coding")):
        if coding.get("system") == _GROUP:
            codes["MA_NHOM"] = str(coding.get("code", ""))
    sequence = item.get("sequence")
    return Line(sequence if isinstance(sequence, int) else position, table, amounts, codes)


def _complete(amounts: dict[str, Decimal], factor: Decimal | None) -> None:
    """Make FHIR's own line, net = quantity * unitPrice * factor, one that the formulas can read."""
    price = amounts.get("DON_GIA")
    if price is None:
        return
    with localcontext(EXACT):
        if factor is not None:
            price = amounts["DON_GIA"] = price * factor
        if "SO_LUONG" in amounts:
            # A net that is not stated is what the rest gives: the total is held against it.
            amounts.setdefault("THANH_TIEN_BV", rounded(amounts["SO_LUONG"] * price))


def _sums(claim: Resource, lines: tuple[Line, ...], total: Decimal | None) -> dict[str, Decimal]:
    amounts, _ = _extensions(claim)
    # Against lines that do not all state their money a plain total cannot be held.
    if total is not None and all(line.amount("THANH_TIEN_BV") is not None for line in lines):
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
