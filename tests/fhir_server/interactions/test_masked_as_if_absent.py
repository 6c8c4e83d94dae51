"""What is masked is as if it were not there: answers equal those of a store without it.

Random claims with what they name, HIV data among it, and all ways to ask whether something is
there. Each request is asked twice: under a policy with masks over the whole store, and, without
any mask, over a store that holds what the policy shows as it shows it. Both answer the same. A
refusal depends on no data: an empty store refuses the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from auth.criteria import AnyOf, Anything, Criteria, Matching
from auth.policy import policy_for
from fhir_server.interactions.claim_needs import OPEN_OF_HIV, RECORD
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.dangling import pruned
from fhir_server.interactions.redact import ALL, mask
from fhir_server.model import codec
from fhir_server.model.identifiers import NS, PAPER, PAYER
from fhir_server.model.outcome import UnsupportedParameter
from fhir_server.model.primitives import from_micros
from fhir_server.model.sensitivity import carries_hiv, labelled
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import Parameter, parameters
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Batch, Store
from fhir_server.validation.structure import validate
from tests.conftest import BASE, FACILITY, World
from tests.fhir_server.interactions.test_as_if_absent import (
    PAYER_CALLER,
    START,
    Drawn,
    Kept,
    Name,
    Resource,
    _answer,
    _read_by,
    filled,
    placeless,
)
from tests.naive.drawing import Drawing
from tests.naive.evaluator import Naive
from tests.sizes import seeds

REQUESTS: Final = 40
KEPT_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
OTHER_SYSTEM: Final = "http://clinic.example/cs"
ICD: Final = "http://hl7.org/fhir/sid/icd-10"
NUMBERS: Final = (PAPER, "http://clinic.example/arv")
SHOWN_TO_PAYERS: Final = (
    "Claim", "ClaimResponse", "Condition", "Coverage", "Encounter", "MedicationRequest",
    "Organization", "Patient", "Practitioner", "Procedure",
)  # fmt: skip
IDS: Final = {
    kind: tuple(f"{kind.lower()}-{n}" for n in range(5)) for kind in (*SHOWN_TO_PAYERS, "Location")
}
DATED: Final = ("2024-01-01", "2024-02-01", "2024-03-01")


# --- what is stored -----------------------------------------------------------------------


def name(drawing: Drawing, *kinds: str) -> str:
    """Draw what a reference says: of what is there, or never was."""
    kind = drawing.one(kinds)
    return f"{kind}/{drawing.one((*IDS[kind], 'never'))}"


def ref(drawing: Drawing, *kinds: str) -> Resource:
    """Draw a reference, some with an identifier of their own."""
    found: Resource = {"reference": name(drawing, *kinds)}
    if drawing.chance(0.1):
        found["display"] = "tên"
    if drawing.chance(0.15):
        found["identifier"] = {"system": drawing.one(NUMBERS), "value": drawing.one("12")}
    return found


def concept(drawing: Drawing, *more: str) -> Resource:
    """Draw a CodeableConcept of codes of several systems, or a text alone."""
    if drawing.chance(0.15):
        return {"text": "bằng lời"}
    return {"coding": [coding(drawing) for _ in range(drawing.random.randint(1, 2))]} | (
        {"text": drawing.one(more)} if more else {}
    )


def coding(drawing: Drawing) -> Resource:
    """Draw a Coding."""
    system = drawing.one((KEPT_SYSTEM, KEPT_SYSTEM, OTHER_SYSTEM))
    return {"system": system, "code": drawing.one("xy")}


def disease(drawing: Drawing) -> Resource:
    """Draw a diagnosis."""
    code = drawing.one(("I10", "J00", "B20", "Z21"))
    return {"coding": [{"system": ICD, "code": code, "display": f"bệnh {code}"}]}


def resource_of(drawing: Drawing, kind: str) -> Resource:
    """Draw a resource; each element that R4 does not require is there or not."""
    patient = {"reference": f"Patient/{drawing.one(IDS['Patient'])}"}
    encounter = ref(drawing, "Encounter")
    number = [{"system": drawing.one(NUMBERS), "value": drawing.one("12")}]
    day = drawing.one(DATED)
    needed: Resource
    more: Resource
    match kind:
        case "Patient":
            needed = {}
            more = {
                "identifier": [*number, {"system": f"{NS}/sid/ma-bn/01999", "value": "1"}],
                "gender": drawing.one(("male", "female")),
                "birthDate": day,
                "address": [{"city": "Huế"}],
                "generalPractitioner": [ref(drawing, "Practitioner")],
                "link": [{"other": ref(drawing, "Patient"), "type": "seealso"}],
            }
        case "Practitioner" | "Organization":
            needed = {"active": True} | ({"name": "x"} if kind == "Organization" else {})
            more = {"identifier": number, "telecom": [{"system": "phone", "value": "1"}]}
        case "Coverage":
            payor = {"identifier": {"system": PAYER, "value": drawing.one(("BHXH", "OTHER"))}}
            needed = {"status": "active", "beneficiary": patient, "payor": [payor]}
            more = {"identifier": number, "type": concept(drawing)}
        case "Encounter":
            needed = {"status": drawing.one(("finished", "planned")), "class": coding(drawing)}
            more = {
                "identifier": number,
                "type": [concept(drawing)],
                "subject": patient,
                "period": {"start": day},
                "reasonCode": [concept(drawing)],
                "reasonReference": [ref(drawing, "Condition")],
                "participant": [{"type": [concept(drawing)],
                                 "individual": ref(drawing, "Practitioner")}],
                "diagnosis": [{"condition": ref(drawing, "Condition"), "rank": rank + 1}
                              for rank in range(drawing.random.randint(1, 3))],
                "location": [{"location": ref(drawing, "Location")}],
                "partOf": encounter,
                "serviceProvider": ref(drawing, "Organization"),
                "length": {"value": 3, "system": "http://unitsofmeasure.org", "code": "d"},
            }  # fmt: skip
        case "Condition":
            needed = {"subject": patient}
            more = {
                "identifier": number,
                "code": disease(drawing),
                "category": [concept(drawing)],
                "severity": concept(drawing),
                "bodySite": [concept(drawing)],
                "encounter": encounter,
                "recordedDate": day,
                "onsetDateTime": day,
                "asserter": ref(drawing, "Practitioner", "Patient"),
                "evidence": [{"code": [concept(drawing)], "detail": [ref(drawing, "Condition")]}],
                "note": [{"text": "ghi chú"}],
            }
        case "MedicationRequest":
            needed = {"status": "active", "intent": "order", "subject": patient,
                      "medicationCodeableConcept": concept(drawing)}  # fmt: skip
            more = {
                "category": [concept(drawing)],
                "encounter": encounter,
                "authoredOn": day,
                "requester": ref(drawing, "Practitioner"),
                "performer": ref(drawing, "Practitioner"),
                "reasonReference": [ref(drawing, "Condition")],
                "dispenseRequest": {"performer": ref(drawing, "Organization")},
            }
        case "Procedure":
            needed = {"status": "completed", "subject": patient}
            more = {
                "code": concept(drawing),
                "category": concept(drawing),
                "encounter": encounter,
                "performedDateTime": day,
                "performer": [{"actor": ref(drawing, "Practitioner")}],
                "location": ref(drawing, "Location"),
                "reasonCode": [disease(drawing)],
                "reasonReference": [ref(drawing, "Condition", "Procedure")],
                "partOf": [ref(drawing, "Procedure")],
            }
        case "ClaimResponse":
            needed = {"status": "active", "type": {"coding": [coding(drawing)]}, "use": "claim",
                      "patient": patient, "created": day, "outcome": "complete",
                      "insurer": ref(drawing, "Organization")}  # fmt: skip
            more = {
                "request": ref(drawing, "Claim"),
                "disposition": "đã xét",
                "requestor": ref(drawing, "Practitioner", "Organization"),
                "payment": {"type": concept(drawing), "amount": {"value": 5}, "date": day},
            }
        case _:
            needed, more = claim_of(drawing, patient, day)
    kept = {one: value for one, value in more.items() if drawing.chance(0.65)}
    return {"resourceType": kind} | needed | kept


def claim_of(drawing: Drawing, patient: Resource, day: str) -> tuple[Resource, Resource]:
    """Draw a Claim: what it must have, and what it may."""
    listed = range(1, drawing.random.randint(2, 4))
    item = {
        "sequence": 1,
        "productOrService": concept(drawing),
        "careTeamSequence": [1],
        "diagnosisSequence": list(listed),
        "encounter": [ref(drawing, "Encounter")],
    }
    needed = {
        "status": "active",
        "type": {"coding": [coding(drawing)]},
        "use": "claim",
        "patient": patient,
        "created": day,
        "provider": ref(drawing, "Organization", "Practitioner"),
        "priority": {"coding": [coding(drawing)]},
        "insurance": [
            {"sequence": n, "focal": n == 1, "coverage": {"reference": name(drawing, "Coverage")}}
            for n in range(1, drawing.random.randint(2, 3))
        ],
    }
    more = {
        "careTeam": [{"sequence": 1, "provider": ref(drawing, "Practitioner")}],
        "diagnosis": [
            {"sequence": n, "diagnosisReference": {"reference": name(drawing, "Condition")}}
            for n in listed
        ],
        "procedure": [
            {"sequence": 1, "procedureReference": {"reference": name(drawing, "Procedure")}}
        ],
        "supportingInfo": [
            {"sequence": 1, "category": concept(drawing),
             "valueReference": ref(drawing, "MedicationRequest", "Location")}
        ],
        "facility": ref(drawing, "Location"),
        "prescription": ref(drawing, "MedicationRequest"),
        "payee": {
            "type": {"coding": [coding(drawing)]},
            "party": ref(drawing, "Organization", "Practitioner", "Patient"),
        },
        "enterer": ref(drawing, "Practitioner"),
        "item": [item],
    }  # fmt: skip
    return needed, more


def drawn(drawing: Drawing) -> Kept:
    """Draw what is written: each resource once, HIV data among it."""
    kept = Kept(Naive(BASE, from_micros(START)))
    for kind in SHOWN_TO_PAYERS:
        for identity in IDS[kind]:
            if drawing.chance(0.85):
                made = resource_of(drawing, kind) | {"id": identity}
                if carries_hiv(made) or drawing.chance(0.2):
                    made = labelled(made)
                kept.add(made, frozenset())
    return kept


# --- two worlds ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Unmasked:
    """A policy over a store that holds only what another shows, as it shows it."""

    policy: Any
    masks: frozenset[str] = frozenset()
    facility: str = ""

    def narrow(self, interaction: str, resource_type: str | None) -> Criteria | None:
        """Return everything of a type of which the policy shows something."""
        found = self.policy.narrow(interaction, resource_type)
        return found if found is None or found == Anything() else AnyOf((Anything(),))


async def as_shown(whole: World, kept: Kept, policy: Any, seen: set[Name]) -> World:
    """Return a world of what a policy shows; it is valid, and names nothing that is hidden."""
    world = World()
    ctx = whole.context(FACILITY, policy=policy)
    missing = {one for kind, ids in IDS.items() for one in ids if (kind, one) not in seen}
    for write in kept.writes:
        if (write.resource_type, write.resource_id) not in seen:
            continue
        shown = await pruned(ctx, mask(codec.loads(write.body), policy.masks))
        body = codec.dumps(shown)
        left = {one for one in missing if f'/{one}"'.encode() in body}
        assert not left, (left, shown)
        before = validate(codec.loads(write.body))
        assert {str(one) for one in validate(shown)} <= {str(one) for one in before}, shown
        index = index_values(shown, base_url=BASE)
        await world.store.commit(
            Batch(writes=[msgspec.structs.replace(write, body=body, index=index)])
        )
    return world


# --- requests -----------------------------------------------------------------------------


def asked_of(drawing: Drawing, kind: str, depth: int = 0) -> tuple[str, str]:
    """Draw a parameter of a type, with whatever may be asked of it."""
    known = parameters(kind)
    codes = [code for code in known if code not in {"_content", "_text"}]
    likely = [code for code in codes if not code.startswith("_")]
    code = drawing.one((*likely, *likely, *codes))
    found = known[code]
    forms = [
        *[(f"{code}:missing", drawing.one(("true", "false")))] * 3,
        ("_filter", f"{code} pr {drawing.one(('true', 'false'))}"),
        ("_filter", f"not ({code} pr true)"),
        *_of_values(drawing, kind, found),
    ]
    if depth < 2:
        forms += _linked(drawing, kind, found, depth)
    return drawing.one(forms)


def _of_values(drawing: Drawing, kind: str, known: Parameter) -> list[tuple[str, str]]:
    code, day = known.code, drawing.one(DATED)
    match known.type:
        case "date":
            return [(code, f"{drawing.one(('ge', 'lt', 'ne', 'eq'))}{day}"), ("_sort", code)]
        case "token" if "boolean" in known.value_types:
            return [(code, "true"), (f"{code}:not", "true")]
        case "token" if code not in {"_id", "_tag", "_security"}:
            value = drawing.one((
                "x", "1", "B20", "I10", "male", "finished", f"{KEPT_SYSTEM}|x", f"{KEPT_SYSTEM}|",
                f"{OTHER_SYSTEM}|y", f"{ICD}|I10", f"{NUMBERS[0]}|1", f"{NUMBERS[1]}|1", "|x",
            ))  # fmt: skip
            forms = [(code, value), (f"{code}:not", value), ("_sort", code)]
            coded = known.value_types & {"CodeableConcept", "Coding", "Identifier"}
            if not coded or code not in OPEN_OF_HIV[kind]:
                forms.append(("_filter", f"{code} ne x"))
            return forms
        case "reference":
            named = name(drawing, *sorted(known.targets & IDS.keys()) or ["Patient"])
            return [
                *[(code, named)] * 3,
                (code, named.partition("/")[2]),
                (f"{code}:identifier", f"{drawing.one(NUMBERS)}|1"),
                ("_filter", f"{code} ne {named}"),
                ("_filter", f"not ({code} eq {named})"),
                ("_include", f"{kind}:{code}"),
                ("_sort", code),
            ]
        case _:
            return []


def _linked(drawing: Drawing, kind: str, known: Parameter, depth: int) -> list[tuple[str, str]]:
    """Draw chains, and `_has` of what refers to the type."""
    forms = []
    targets = sorted(known.targets & set(SHOWN_TO_PAYERS)) if known.type == "reference" else []
    if targets:
        target = drawing.one(targets)
        inner, value = asked_of(drawing, target, depth + 1)
        if not inner.startswith(("_sort", "_include", "_filter", "_has")):
            forms += [(f"{known.code}:{target}.{inner}", value)] * 3
    source = drawing.one(SHOWN_TO_PAYERS)
    leading = [
        one.code
        for one in parameters(source).values()
        if one.type == "reference" and kind in one.targets
    ]
    if leading:
        inner, value = asked_of(drawing, source, depth + 1)
        if not inner.startswith(("_sort", "_include", "_filter")):
            link = drawing.one(leading)
            forms += [(f"_has:{source}:{link}:{inner}", value)] * 2
            forms += [("_revinclude", f"{source}:{link}")]
    return forms


def request_of(drawing: Drawing) -> FhirRequest:
    """Draw something that reads."""
    kind = drawing.one(SHOWN_TO_PAYERS)
    query = tuple(dict(asked_of(drawing, kind) for _ in range(drawing.one((1, 1, 2)))).items())
    query += drawing.one((
        (), (), (("_summary", "count"),), (("_total", "accurate"),), (("_elements", "diagnosis"),),
        (("_include", "*"),), (("_revinclude", "*"),), (("_count", "2"),), (("_text", "x"),),
    ))  # fmt: skip
    owner = drawing.one(("Patient", "Encounter", "Practitioner"))
    held = {"Patient": "Encounter", "Encounter": "Condition", "Practitioner": "Encounter"}[owner]
    one = {"resource_type": kind, "resource_id": drawing.one(IDS[kind])}
    return drawing.one((
        *[FhirRequest("search-type", kind, query=query)] * 12,
        FhirRequest("search-type", held, compartment=(owner, drawing.one(IDS[owner]))),
        FhirRequest("search-system", query=(("_lastUpdated", "ge2024"), ("_count", "7"))),
        FhirRequest("read", **one),
        FhirRequest("vread", **one, version_id="1"),
        FhirRequest("history-instance", **one),
    ))  # fmt: skip


def readable(answer: Any) -> Any:
    """Return an answer whose members' order is of no weight, without where cursors stand."""
    answer = placeless(answer)
    if isinstance(answer[1], str):
        return answer[0], codec.loads(answer[1].encode()), *answer[2:]
    return answer


async def check(whole: World, bare: World, caller: Any, policy: Any, request: FhirRequest) -> bool:
    """Ask a request of both worlds; return whether anything was shown."""
    one = await _answer(whole, caller, policy, request)
    if one[0] is UnsupportedParameter:
        assert one == await _answer(World(), caller, policy, request)
        return False
    other = await _answer(bare, caller, Unmasked(policy), request)
    assert readable(one) == readable(other), (request, policy)
    return isinstance(one[1], bytes) and b'"fullUrl"' in one[1]


async def of_payer(kept: Kept, store: Store) -> tuple[World, World, Any]:
    """Return the whole world, and that which an insurer sees."""
    await store.commit(Batch(writes=kept.writes))
    whole = World(store=store)
    policy = policy_for(PAYER_CALLER)
    seen = await _read_by(whole, PAYER_CALLER, kept)
    return whole, await as_shown(whole, kept, policy, seen), policy


async def test_what_an_insurer_is_not_shown_is_as_if_absent() -> None:
    """No way of asking whether something is there tells an insurer of what it is not shown."""
    answered = 0
    for seed in (all_seeds := seeds(12, first=7000)):
        drawing = Drawing(seed)
        whole, bare, policy = await of_payer(drawn(drawing), MemoryStore())
        for _ in range(REQUESTS):
            answered += await check(whole, bare, PAYER_CALLER, policy, request_of(drawing))

    assert answered > len(all_seeds) * REQUESTS / 6


async def test_what_a_drawn_policy_masks_is_as_if_absent() -> None:
    """Whatever part of a type is hidden, and whichever masks there are."""
    answered = 0
    for seed in (all_seeds := seeds(10, first=8000)):
        drawing = Drawing(seed)
        kept = drawn(drawing)
        shown = {kind: frozenset(drawing.random.sample(IDS[kind], 3)) for kind in SHOWN_TO_PAYERS}
        criteria: dict[str, Criteria | None] = {
            kind: drawing.one((Anything(), Matching(f"_id={','.join(sorted(ids))}")))
            for kind, ids in shown.items()
        }
        masks = drawing.one((ALL, frozenset({RECORD})))
        policy = Drawn(criteria, masks)
        seen = {
            one for one in kept.names() if criteria[one[0]] == Anything() or one[1] in shown[one[0]]
        }
        whole = await filled(kept, MemoryStore())
        bare = await as_shown(whole, kept, policy, seen)
        for _ in range(REQUESTS):
            answered += await check(whole, bare, PAYER_CALLER, policy, request_of(drawing))

    assert answered > len(all_seeds) * REQUESTS / 6


async def test_every_store_masks_the_same(each_store: Store) -> None:
    """Over SQLite and MongoDB, too, what is masked is as if absent."""
    drawing = Drawing(9000)
    whole, bare, policy = await of_payer(drawn(drawing), each_store)
    for _ in range(REQUESTS // 2):
        await check(whole, bare, PAYER_CALLER, policy, request_of(drawing))
