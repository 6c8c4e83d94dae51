"""The invariants of R4 that we check in Python, by their key.

https://hl7.org/fhir/R4/conformance-rules.html#constraints

Each is given the element (an object) that the constraint stands on, and tells whether it holds.
A key that is not here is not checked yet: FHIRPath takes over what `definitions.invariants()`
has and this table has not. `ele-1`, `ext-1`, `ref-1`, `dom-*`, `txt-*` and Bundle's rules, which
need more than the element, are in `findings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, TypeGuard

from fhir_server.model.primitives import date_range

Node = dict[str, Any]
Check = Callable[[Node], bool]

UCUM: Final = "http://unitsofmeasure.org"
_CLOCK: Final = "T0123456789:."
TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"


def has(node: Node, name: str) -> bool:
    """Tell whether an element exists: a value, or only an id or extensions beside it."""
    return name in node or f"_{name}" in node


def has_choice(node: Node, name: str) -> bool:
    """Tell whether any type of a choice element exists."""
    hidden, size = f"_{name}", len(name)
    for key in node:
        if key.startswith(name) and key[size : size + 1].isupper():
            return True
        if key.startswith(hidden) and key[size + 1 : size + 2].isupper():
            return True
    return False


def items(node: Any, *names: str) -> list[Node]:
    """Return the objects at a path of names, lists opened."""
    found: list[Any] = [node]
    for name in names:
        found = [
            one for holder in found if isinstance(holder, dict) for one in _listed(holder.get(name))
        ]
    return [one for one in found if isinstance(one, dict)]


def values(node: Any, *names: str) -> list[Any]:
    """Return the values at a path of names, lists opened and nulls left out."""
    *above, last = names
    return [
        value
        for holder in items(node, *above)
        for value in _listed(holder.get(last))
        if value is not None
    ]


def _listed(value: Any) -> Iterable[Any]:
    if value is None:
        return ()
    return value if isinstance(value, list) else (value,)


def is_distinct(found: Iterable[Any]) -> bool:
    """Tell whether no value is there twice."""
    known = [str(value) for value in found]
    return len(known) == len(set(known))


def _names(*names: str) -> frozenset[str]:
    """Return the JSON names under which any of these elements exists."""
    return frozenset(names) | {f"_{name}" for name in names}


def _any(*names: str) -> Check:
    keys = _names(*names)
    return lambda node: not keys.isdisjoint(node)


def _not_both(one: str, other: str) -> Check:
    first, second = _names(one), _names(other)
    return lambda node: first.isdisjoint(node) or second.isdisjoint(node)


def _needs(one: str, other: str) -> Check:
    """`one` is there only with `other`."""
    hidden = f"_{one}"
    return lambda node: (one not in node and hidden not in node) or has(node, other)


def _xor(one: str, other: str) -> Check:
    return lambda node: has(node, one) != has(node, other)


def _not_negative(name: str) -> Check:
    def check(node: Node) -> bool:
        value = node.get(name)
        return not _is_number(value) or value >= 0

    return check


def _is_number(value: Any) -> TypeGuard[int | Decimal]:
    return isinstance(value, (int, Decimal)) and not isinstance(value, bool)


def _in_order(first: str, second: str) -> Check:
    """The first time is not after the second, as far as both are as precise as that."""

    def check(node: Node) -> bool:
        low, high = node.get(first), node.get(second)
        if not isinstance(low, str) or not isinstance(high, str):
            return True
        if (
            low[:10] <= high[:10]
            and low[10:].lstrip(_CLOCK) == high[10:].lstrip(_CLOCK)
            and low <= high
        ):
            return True  # in one zone the order of the texts is the order in time
        try:
            return date_range(low)[0] <= date_range(high)[1]
        except ValueError:
            return True  # the lexical form is refused elsewhere

    return check


def _has_coding(node: Node, name: str, system: str, codes: set[str]) -> bool:
    concept = node.get(name)
    codings = concept.get("coding") if isinstance(concept, dict) else None
    for coding in _listed(codings):
        if (
            isinstance(coding, dict)
            and coding.get("code") in codes
            and coding.get("system") == TERMINOLOGY + system
        ):
            return True
    return False


def _quantity(*, system: str, positive: bool = False) -> Check:
    def check(node: Node) -> bool:
        value = node.get("value")
        return (
            (has(node, "code") or not has(node, "value"))
            and node.get("system", system) == system
            and not (positive and _is_number(value) and value <= 0)
        )

    return check


def _is_count(node: Node) -> bool:
    return (
        _quantity(system=UCUM)(node)
        and node.get("code", "1") == "1"
        and "." not in str(node.get("value", ""))
    )


def _is_duration(node: Node) -> bool:
    return not has(node, "code") or (node.get("system") == UCUM and has(node, "value"))


def _is_range(node: Node) -> bool:
    low, high = node.get("low"), node.get("high")
    if not isinstance(low, dict) or not isinstance(high, dict):
        return True
    if low.get("code") != high.get("code") or low.get("unit") != high.get("unit"):
        return True  # units that differ cannot be compared here
    first, second = low.get("value"), high.get("value")
    return not (_is_number(first) and _is_number(second)) or bool(first <= second)


def _is_ratio(node: Node) -> bool:
    has_numerator, has_denominator = has(node, "numerator"), has(node, "denominator")
    return has_numerator == has_denominator and (has_numerator or has(node, "extension"))


def _no_component_like_the_whole(node: Node) -> bool:
    if "component" not in node or not has_choice(node, "value"):
        return True
    own = {(c.get("system"), c.get("code")) for c in items(node, "code", "coding")}
    parts = {(c.get("system"), c.get("code")) for c in items(node, "component", "code", "coding")}
    return not own & parts


def _is_not_home(node: Node) -> bool:
    return node.get("use") != "home"


def _is_parameter(node: Node) -> bool:
    has_value, has_resource = has_choice(node, "value"), has(node, "resource")
    return (has_value + has_resource + has(node, "part")) == 1


def _appointment_has_times(node: Node) -> bool:
    has_both = has(node, "start") and has(node, "end")
    return has_both or node.get("status") in {"proposed", "cancelled", "waitlist"}


def _clinical_status_stands(node: Node) -> bool:
    if not has_choice(node, "abatement"):
        return True
    over = {"resolved", "remission", "inactive"}
    return _has_coding(node, "clinicalStatus", "condition-clinical", over)


def _is_error(node: Node, system: str) -> bool:
    return _has_coding(node, "verificationStatus", system, {"entered-in-error"})


def _offset_has_event(node: Node) -> bool:
    meals = {"C", "CM", "CD", "CV"}
    return not has(node, "offset") or (
        has(node, "when") and not any(value in meals for value in values(node, "when"))
    )


def _consent_names_patient(code: str) -> Check:
    # HL7's expression has "something" where a system was meant; so do we.
    return lambda node: (
        has(node, "patient")
        or not any(
            coding.get("system") == "something" and coding.get("code") == code
            for coding in items(node, "scope", "coding")
        )
    )


_WITH_LENGTH: Final = {"boolean", "decimal", "integer", "string", "text", "url", "open-choice"}
_WITH_OPTIONS: Final = {
    "choice", "open-choice", "decimal", "integer", "date", "dateTime", "time", "string", "quantity",
}  # fmt: skip


def _item_fits_type(node: Node) -> bool:
    if node.get("type") == "group":
        return has(node, "item")
    return node.get("type") != "display" or not has(node, "item")


def _options_fit_type(node: Node) -> bool:
    return node.get("type") in _WITH_OPTIONS or not _any("answerOption", "answerValueSet")(node)


def _exists_asks_boolean(node: Node) -> bool:
    return node.get("operator") != "exists" or "answerBoolean" in node


CHECKS: Final[Mapping[str, Check]] = MappingProxyType({
    "age-1": _quantity(system=UCUM, positive=True),
    "ait-1": lambda n: _is_error(n, "allergyintolerance-verification") or has(n, "clinicalStatus"),
    "ait-2": lambda n: (
        not _is_error(n, "allergyintolerance-verification") or not has(n, "clinicalStatus")
    ),
    "app-1": _any("type", "actor"),
    "app-2": lambda n: has(n, "start") == has(n, "end"),
    "app-3": _appointment_has_times,
    "app-4": lambda n: (
        not has(n, "cancelationReason") or n.get("status") in {"no-show", "cancelled"}
    ),
    "apr-1": _any("participantType", "actor"),
    "att-1": _needs("data", "contentType"),
    "bdl-5": _any("resource", "request", "response"),
    "bdl-8": lambda n: "/_history/" not in str(n.get("fullUrl", "")),
    "ces-1": _xor("category", "productOrService"),
    "cmp-1": _any("text", "entry", "section"),
    "cmp-2": _not_both("emptyReason", "entry"),
    "cmd-1": lambda n: has(n, "comment") or n.get("equivalence") not in {"narrower", "inexact"},
    "cmd-2": lambda n: n.get("mode") != "fixed" or has(n, "code"),
    "cmd-3": lambda n: n.get("mode") != "other-map" or has(n, "url"),
    "cnt-3": _is_count,
    "con-1": _any("summary", "assessment"),
    "con-2": _any("code", "detail"),
    "con-4": _clinical_status_stands,
    "con-5": lambda n: "clinicalStatus" not in n or not _is_error(n, "condition-ver-status"),
    "cpb-1": _any("rest", "messaging", "document"),
    "cpb-2": _any("description", "software", "implementation"),
    "cpb-14": lambda n: n.get("kind") != "instance" or has(n, "implementation"),
    "cpl-3": _not_both("detail", "reference"),
    "cpt-2": _needs("value", "system"),
    "csd-1": lambda n: is_distinct(_below(n, "concept", "code")),
    "dis-1": _quantity(system=UCUM),
    "drq-1": _xor("path", "searchParam"),
    "drq-2": _xor("path", "searchParam"),
    "drt-1": _is_duration,
    "exp-1": _any("expression", "reference"),
    "fhs-1": lambda n: not (has_choice(n, "age") and has_choice(n, "born")),
    "fhs-2": lambda n: has_choice(n, "age") or not has(n, "estimatedAge"),
    "gol-1": lambda n: not has_choice(n, "detail") or has(n, "measure"),
    "grp-1": lambda n: not has(n, "member") or n.get("actual") is True,
    "imm-1": _any("documentType", "reference"),
    "imr-1": _any("vaccineCode", "targetDisease"),
    "inv-1": _is_parameter,
    "inv-1@Task": _in_order("authoredOn", "lastModified"),
    "inv-1@TestReport.setup.action": _xor("operation", "assert"),
    "inv-2": _xor("operation", "assert"),
    "ipn-1": _any("identifier", "name"),
    "lnk-1": lambda n: len(items(n, "item")) > 1,
    "lst-1": _not_both("emptyReason", "entry"),
    "lst-2": lambda n: n.get("mode") == "changes" or not values(n, "entry", "deleted"),
    "lst-3": lambda n: n.get("mode") == "working" or not values(n, "entry", "date"),
    "mad-1": lambda n: has(n, "dose") or has_choice(n, "rate"),
    "mdd-1": _in_order("whenPrepared", "whenHandedOver"),
    "mqty-1": _quantity(system="urn:iso:std:iso:4217"),
    "mrp-1": lambda n: n.get("type") != "data-collection" or not has(n, "group"),
    "msq-3": lambda n: n.get("coordinateSystem") in {0, 1},
    "msq-5": lambda n: has(n, "chromosome") == has(n, "genomeBuild"),
    "nsd-1": lambda n: n.get("kind") != "root" or "uuid" not in values(n, "uniqueId", "type"),
    "obs-3": _any("low", "high", "text"),
    "obs-6": lambda n: "dataAbsentReason" not in n or not has_choice(n, "value"),
    "obs-7": _no_component_like_the_whole,
    "opd-1": _any("type", "part"),
    "opd-2": lambda n: not has(n, "searchType") or n.get("type") == "string",
    "opd-3": lambda n: not has(n, "targetProfile") or n.get("type") in {"Reference", "canonical"},
    "org-1": _any("identifier", "name"),
    "org-2": _is_not_home,
    "org-3": _is_not_home,
    "pat-1": _any("name", "telecom", "address", "organization"),
    "per-1": _in_order("start", "end"),
    "ppc-1": _any("policy", "policyRule"),
    "ppc-2": _consent_names_patient("patient-privacy"),
    "ppc-3": _consent_names_patient("research"),
    "ppc-4": _consent_names_patient("adr"),
    "ppc-5": _consent_names_patient("treatment"),
    "prr-1": _needs("orderDetail", "code"),
    "qrs-1": _not_both("answer", "item"),
    "qty-3": _needs("code", "system"),
    "que-1": _item_fits_type,
    "que-2": lambda n: is_distinct(_below(n, "item", "linkId")),
    "que-3": lambda n: n.get("type") != "display" or not has(n, "code"),
    "que-4": _not_both("answerOption", "answerValueSet"),
    "que-5": _options_fit_type,
    "que-6": lambda n: n.get("type") != "display" or not _any("required", "repeats")(n),
    "que-7": _exists_asks_boolean,
    "que-8": lambda n: n.get("type") not in {"group", "display"} or not has(n, "initial"),
    "que-9": lambda n: n.get("type") != "display" or not has(n, "readOnly"),
    "que-10": lambda n: n.get("type") in _WITH_LENGTH or not has(n, "maxLength"),
    "que-11": _not_both("answerOption", "initial"),
    "que-12": lambda n: len(items(n, "enableWhen")) <= 2 or has(n, "enableBehavior"),  # noqa: PLR2004
    "que-13": lambda n: n.get("repeats") is True or len(items(n, "initial")) <= 1,
    "rat-1": _is_ratio,
    "rng-2": _is_range,
    "rqg-1": _xor("resource", "action"),
    "sev-1": _not_both("name", "query"),
    "spd-1": _needs("xpath", "xpathUsage"),
    "spd-2": lambda n: not has(n, "chain") or n.get("type") == "reference",
    "smp-1": _needs("element", "context"),
    "smp-2": _needs("context", "contextType"),
    "sqty-1": lambda n: not has(n, "comparator"),
    "tim-1": _needs("duration", "durationUnit"),
    "tim-2": _needs("period", "periodUnit"),
    "tim-4": _not_negative("duration"),
    "tim-5": _not_negative("period"),
    "tim-6": _needs("periodMax", "period"),
    "tim-7": _needs("durationMax", "duration"),
    "tim-8": _needs("countMax", "count"),
    "tim-9": _offset_has_event,
    "tim-10": _not_both("timeOfDay", "when"),
    "trd-1": lambda n: not (has(n, "data") and has_choice(n, "timing")),
    "trd-2": _needs("condition", "data"),
    "tst-1": _xor("operation", "assert"),
    "tst-2": _xor("operation", "assert"),
    "vsd-1": _any("valueSet", "system"),
    "vsd-2": lambda n: not _any("concept", "filter")(n) or has(n, "system"),
    "vsd-3": _not_both("concept", "filter"),
    "vsd-6": _any("code", "display"),
    "vsd-9": lambda n: has(n, "code") or n.get("abstract") is True,
    "vsd-10": _needs("code", "system"),
})
"""Invariant key to its check."""


def _below(node: Node, inner: str, name: str) -> list[Any]:
    """Return the values of a name in all elements of a kind, however deep in one another."""
    found = []
    waiting = items(node, inner)
    while waiting:
        one = waiting.pop()
        found.extend(values(one, name))
        waiting.extend(items(one, inner))
    return found
