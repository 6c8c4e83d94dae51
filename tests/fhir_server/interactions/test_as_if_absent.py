"""What is hidden is as if it were not there: answers equal those of a store without it.

Random data and random policies, and the real ones. Each request is asked twice: under the policy
over the whole store, and over a store that holds only what the policy shows, where all of it is
shown. The two answers must be the same bytes, but for where a cursor stands. What is masked within
what is shown is as if absent, too: `test_masked_as_if_absent`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest

from auth.criteria import AnyOf, Anything, Criteria, InPatientCompartment, Matching, Tagged
from auth.policy import policy_for
from auth.principal import Principal
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_LK, PAYER
from fhir_server.model.outcome import Conflict, FhirError
from fhir_server.model.primitives import format_instant, from_micros
from fhir_server.search.extract import index_values
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Batch, Store, Write
from tests.conftest import BASE, FACILITY, OTHER, World, citizen
from tests.naive.drawing import CHAINS, CODES, IDS, REVERSED, Drawing
from tests.naive.evaluator import Naive
from tests.naive.table import PARAMS
from tests.sizes import seeds

Name = tuple[str, str]
Resource = dict[str, Any]

START: Final = 1_704_067_200_000_000
WRITES: Final = 90
REQUESTS: Final = 25
TAGS: Final = ("facility/01999", "facility/79999")
NAMING: Final = ("ValueSet", "CodeSystem", "List")
"""Types that searches name: by `:in`, `:below`, `_list` and within a `_filter`."""
KINDS: Final = (*PARAMS, *NAMING)
CODED: Final = ("http://s.example", "http://s.example/t")
COMPARTMENTS: Final = {
    "Observation": ("subject", "performer"),
    "Encounter": ("patient",),
    "Condition": ("patient",),
    "MedicationRequest": ("subject",),
    "RiskAssessment": ("subject",),
    "QuestionnaireResponse": ("subject",),
}
"""What puts a resource into a Patient's compartment, as R4's definition of it says."""
CURSOR: Final = re.compile(r"_cursor=[^&\"]+")


@dataclass
class Kept:
    """What was written: each version, and what is current of it.

    Attributes:
        now: The current resources, for what a policy's searches find.
        gone: Those that were deleted, as they were last.
    """

    now: Naive
    writes: list[Write] = field(default_factory=list)
    tags: dict[Name, frozenset[str]] = field(default_factory=dict)
    gone: dict[Name, Resource] = field(default_factory=dict)

    def names(self) -> list[Name]:
        """Return the names of all that there ever was."""
        return sorted({(one.resource_type, one.resource_id) for one in self.writes})

    def last(self, name: Name) -> Resource:
        """Return a resource as it is, or was before it was deleted."""
        return self.now.resources.get(name) or self.gone[name]

    def add(self, resource: Resource, tags: frozenset[str]) -> None:
        """Write the next version of a resource."""
        name = (resource["resourceType"], resource["id"])
        number = 1 + sum((w.resource_type, w.resource_id) == name for w in self.writes)
        at = START + len(self.writes) * 60_000_000
        meta = {"versionId": str(number), "lastUpdated": format_instant(from_micros(at))}
        whole = {**resource, "meta": resource.get("meta", {}) | meta}
        index = index_values(whole, base_url=BASE)
        body = codec.dumps(whole)
        self.tags[name] = self.tags.get(name, frozenset()) | tags
        self.writes.append(Write(*name, number, at, body, "PUT", index=index, tags=tags))
        self.now.put(whole)
        self.gone.pop(name, None)

    def delete(self, name: Name) -> None:
        """Write the deletion of a resource."""
        number = 1 + sum((w.resource_type, w.resource_id) == name for w in self.writes)
        at = START + len(self.writes) * 60_000_000
        self.writes.append(Write(*name, number, at, b"", "DELETE"))
        self.gone[name] = self.now.resources.pop(name)


def drawn(drawing: Drawing, *more: str) -> Kept:
    """Draw what is written; `more` are types that the drawing itself does not know."""
    kept = Kept(Naive(BASE, from_micros(START)))
    for kind in NAMING:
        for identity in IDS[:4]:
            naming = _naming(drawing, kind, identity)
            kept.add(naming, frozenset(tag for tag in TAGS if drawing.chance(0.4)))
    for turn in range(WRITES):
        if turn > WRITES // 2 and drawing.chance(0.1):
            kept.delete(drawing.one(sorted(kept.now.resources)))
            continue
        resource = drawing.resource()
        if more and drawing.chance(0.6):
            resource = _insured(drawing, drawing.one(more))
        if drawing.chance(0.3):
            said = f"<p>{drawing.one(('sốt cao', 'ho', 'đau đầu'))}</p>"
            div = f'<div xmlns="http://www.w3.org/1999/xhtml">{said}</div>'
            resource["text"] = {"status": "additional", "div": div}
        kept.add(resource, frozenset(tag for tag in TAGS if drawing.chance(0.4)))
    return kept


def _naming(drawing: Drawing, kind: str, identity: str) -> Resource:
    """Draw a value set, a code system or a List."""
    head = {"resourceType": kind, "id": identity, "url": f"http://x.example/{kind}/{identity}"}
    system = drawing.one(CODED)
    if kind == "ValueSet":
        codes = [{"code": drawing.one(CODES)} for _ in range(2)]
        part = drawing.one((
            {"system": system, "concept": codes},
            {"system": system, "filter": [{"property": "concept", "op": "is-a", "value": "x"}]},
            {"valueSet": [f"http://x.example/ValueSet/{drawing.one(IDS[:4])}"]},
        ))
        return {**head, "status": "active", "compose": {"include": [part]}}
    if kind == "CodeSystem":
        tree = [{"code": "x", "concept": [{"code": "y", "concept": [{"code": "z"}]}]}]
        return {**head, "url": system, "status": drawing.one(("active", "draft")),
                "content": "complete", "concept": [*tree, {"code": "XY"}]}  # fmt: skip
    del head["url"]
    items = [f"{drawing.kind()}/{drawing.one(IDS)}" for _ in range(4)]
    return {**head, "status": "current", "mode": "working",
            "entry": [{"item": {"reference": item}} for item in items]}  # fmt: skip


def _insured(drawing: Drawing, kind: str) -> Resource:
    who = {"reference": f"Patient/{drawing.one(IDS)}"}
    head = {"resourceType": kind, "id": drawing.one(IDS), "status": "active"}
    if kind == "Coverage":
        payor = drawing.one((
            {"identifier": {"system": PAYER, "value": "BHXH"}},
            {"identifier": {"system": PAYER, "value": "OTHER"}},
            {"reference": f"Organization/{drawing.one(IDS)}"},
        ))
        return head | {"beneficiary": who, "payor": [payor]}
    coverage = {"reference": f"Coverage/{drawing.one(IDS)}"}
    return head | {
        "use": "claim",
        "patient": who,
        "created": drawing.moment(),
        "provider": {"reference": f"Organization/{drawing.one(IDS)}"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": coverage}],
        "item": [{
            "sequence": 1,
            "productOrService": {"text": "Khám"},
            "encounter": [{"reference": f"Encounter/{drawing.one(IDS)}"}],
        }],
    }  # fmt: skip


# --- policies -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawn:
    """A policy drawn at random: what it shows of a type it lets change, too."""

    criteria: dict[str, Criteria | None]
    masks: frozenset[str] = frozenset()
    facility: str = ""
    chooses_ids: bool = False
    shares: bool = False

    def narrow(self, interaction: str, resource_type: str | None) -> Criteria | None:
        """Return the criteria of the type."""
        if resource_type is None:
            return Anything()
        found = self.criteria.get(resource_type or "")
        return Anything() if found is not None and interaction == "create" else found

    def check_write(self, *_asked: object, **_more: object) -> tuple[()]:
        """Let everything be written."""
        return ()

    def may_change(self, _resource_type: str, _tags: frozenset[str]) -> bool:
        """Let everything be changed that is shown."""
        return True


@dataclass(frozen=True)
class Open:
    """Another policy, over a store that holds only what it shows: all of a type, or it is 403."""

    policy: Any

    def __getattr__(self, name: str) -> Any:
        """Return whatever else the policy says."""
        return getattr(self.policy, name)

    def narrow(self, interaction: str, resource_type: str | None) -> Criteria | None:
        """Return everything of a type of which the policy shows something."""
        found = self.policy.narrow(interaction, resource_type)
        # Not Anything itself: versions of another Patient's time stay hidden.
        return found if found is None or found == Anything() else AnyOf((Anything(),))


def draw_criteria(drawing: Drawing, kind: str, *, deep: bool = True) -> Criteria | None:
    """Draw what a policy shows of a type; None is never granted."""
    some = ",".join(drawing.random.sample(IDS, 3))
    if kind in NAMING:
        return drawing.one((
            None, Anything(), AnyOf(()), Tagged(TAGS[0]), Matching(f"_id={drawing.one(IDS[:4])}"),
        ))  # fmt: skip
    return drawing.one((
        lambda: None,
        Anything,
        Anything,
        lambda: AnyOf(()),
        lambda: InPatientCompartment(drawing.one(IDS)),
        lambda: Tagged(drawing.one(TAGS)),
        lambda: Matching(f"_id={some}"),
        lambda: Matching(f"_id={drawing.one(IDS)}"),
        lambda: Matching(_selective(drawing, kind)),
        lambda: AnyOf(tuple(_parts(drawing, kind))) if deep else Anything(),
    ))()  # fmt: skip


def _parts(drawing: Drawing, kind: str) -> Iterator[Criteria]:
    for _ in range(2):
        part = draw_criteria(drawing, kind, deep=False)
        if part is not None:
            yield part


def _selective(drawing: Drawing, kind: str) -> str:
    """Draw a search that a policy may have: it knows no time for `ap`, and no base."""
    while True:
        name, value = drawing.criterion(kind)
        value = value.replace(f"{BASE}/", "")
        # Nor does a policy ask what other resources say: hierarchies, canonical URLs.
        if re.search(r"questionnaire[:.]|:(above|below)", name):
            continue
        if not any(one.startswith("ap") for one in re.split("[,$]", value)):
            return f"{name}={value}".replace("%", "%25").replace("&", "%26").replace("+", "%2B")


def is_seen(kept: Kept, criteria: Criteria | None, name: Name) -> bool:
    """Return whether criteria show a resource, by what R4 says of them."""
    match criteria:
        case Anything():
            return True
        case AnyOf(parts):
            return any(is_seen(kept, part, name) for part in parts)
        case Tagged(tag):
            return tag in kept.tags[name]
        case InPatientCompartment(patient):
            return patient in patients_of(kept, name)
        case Matching(query) if query == f"_id={name[1]}":
            return True
        case Matching(query) if query.startswith("_id="):
            ids = query.removeprefix("_id=").split(",")
            return name not in kept.gone and name[1] in ids
        case Matching(query):
            return name not in kept.gone and name[1] in kept.now.search(name[0], query)
        case _:
            return False


def patients_of(kept: Kept, name: Name) -> set[str]:
    """Return the Patients in whose compartment a resource is."""
    kind, identity = name
    if kind == "Patient":
        return {identity}
    params = COMPARTMENTS.get(kind, ())
    named = {
        place for param in params for place in kept.now.places(kept.last(name), PARAMS[kind][param])
    }
    return {one for target, one in named if target == "Patient"}


# --- two worlds ---------------------------------------------------------------------------


@dataclass
class Both:
    """The whole store under a policy, and one of what the policy shows."""

    whole: World
    bare: World
    policy: Any
    caller: Principal


async def _answer(world: World, caller: Principal, policy: Any, request: FhirRequest) -> Any:
    """Return all of an answer, of a refusal too."""
    world.ids = count(1)
    try:
        result = await perform(world.context(caller, policy=policy), request)
    except FhirError as refusal:
        return type(refusal), refusal.status, codec.dumps(refusal.outcome()), refusal.headers
    shown = result.version.body if result.version else codec.dumps(result.resource or {})
    body = result.body or shown
    more = (result.location, result.issues, result.refusals, result.headers, result.hidden)
    return result.status, body, more


def placeless(answer: Any) -> Any:
    """Return an answer without where its cursors stand."""
    if isinstance(answer[1], bytes):
        return answer[0], CURSOR.sub("_cursor=", answer[1].decode()), *answer[2:]
    return answer


async def filled(kept: Kept, store: Store, names: set[Name] | None = None) -> World:
    """Return a world in which this was written, or what of it has these names."""
    for write in kept.writes:
        if names is None or (write.resource_type, write.resource_id) in names:
            await store.commit(Batch(writes=[write]))
    return World(store=store)


async def both_of(kept: Kept, policy: Any, caller: Principal, names: set[Name]) -> Both:
    """Return both worlds over stores in memory."""
    whole = await filled(kept, MemoryStore())
    return Both(whole, await filled(kept, MemoryStore(), names), policy, caller)


# --- requests -----------------------------------------------------------------------------


def search_of(drawing: Drawing, kind: str) -> tuple[tuple[str, str], ...]:
    """Draw a search of a type with whatever brings along, counts or words it."""
    asked = drawing.search(kind) if drawing.chance(0.5) else ""
    named = (drawing.one(_named(drawing, kind)),) if drawing.chance(0.4) else ()
    more = drawing.random.sample((
        ("_include", "*"),
        ("_include:iterate", "*"),
        ("_revinclude", "*"),
        ("_revinclude:iterate", "Observation:has-member"),
        ("_revinclude", "Encounter:subject"),
        ("_total", "accurate"),
        ("_summary", "count"),
        ("_summary", "text"),
        ("_elements", "status,subject"),
        ("_count", "1"),
        ("_count", "3"),
        ("_content", drawing.one(("sốt", "ho", "nguyen"))),
        ("_text", drawing.one(("đau", "cao"))),
    ), drawing.random.randint(0, 3))  # fmt: skip
    once = {name: (name, value) for name, value in more}
    return (*parse_qsl(asked, keep_blank_values=True), *named, *once.values())


def _named(drawing: Drawing, kind: str) -> tuple[tuple[str, str], ...]:
    """Return searches that ask what other resources say: value sets, Lists, those of a chain."""
    one, other = drawing.one(IDS[:4]), drawing.one((*IDS, "never"))
    concepts = [
        code
        for code, param in PARAMS[kind].items()
        if param.kind == "token" and param.elements[0][1] in {"CodeableConcept", "Coding"}
    ]
    code = drawing.one(concepts)
    subject = "subject" if "subject" in PARAMS[kind] else ""
    found = [
        ("_list", one),
        (f"{code}:in", f"http://x.example/ValueSet/{one}"),
        (f"{code}:in", f"ValueSet/{one}"),
        (f"{code}:not-in", f"http://x.example/ValueSet/{one}"),
        (f"{code}:below", f"{drawing.one(CODED)}|x"),
        (f"{code}:above", f"{drawing.one(CODED)}|z"),
        ("_filter", f"{code} in ValueSet/{one} or _id eq {other}"),
        ("_filter", f"not (_list eq {one}) and {code} pr true"),
    ]
    # Whatever is there was updated since: such a link finds all that leads to what is shown.
    found += [(f"{link}._lastUpdated", "ge2024") for link in CHAINS[kind] if ":" in link] * 5
    found += [(f"_has:{link}:_lastUpdated", "ge2024") for link in REVERSED.get(kind, ())] * 5
    if subject:
        found += [
            (f"{subject}:Patient._list", one),
            ("_filter", f"{subject}:Patient.gender eq male or {code} ne x"),
            ("_filter", f'{subject}:Patient[active eq true].name co "n"'),
            ("_filter", f"not ({subject} re Patient/{other}) and {subject} pr true"),
        ]
    return tuple(found)


def request_of(drawing: Drawing, kept: Kept, kinds: tuple[str, ...]) -> FhirRequest:
    """Draw something that reads."""
    kind, identity = drawing.one((*kinds, *KINDS)), drawing.one((*IDS, "never"))
    known = kind if kind in PARAMS else drawing.kind()
    query = search_of(drawing, known)
    system = (("_type", ",".join({known: 1, drawing.kind(): 1})),) if drawing.chance(0.5) else ()
    one = {"resource_type": kind, "resource_id": identity}
    return drawing.one((
        *[FhirRequest("search-type", known, query=query)] * 6,
        *[FhirRequest("search-type", kind, query=_claimed(drawing, kind))] * 3,
        FhirRequest("search-system", query=(*system, ("_lastUpdated", "ge2024"), ("_count", "7"))),
        FhirRequest("search-system", query=(*system, ("_sort", "-_id"), ("_summary", "count"))),
        FhirRequest("search-system", compartment=("Patient", identity)),
        FhirRequest("search-type", known, query=query, compartment=("Patient", identity)),
        FhirRequest("search-type", known, query=query, compartment=("Encounter", identity)),
        FhirRequest("read", **one),
        FhirRequest("vread", **one, version_id=drawing.one(("1", "2", "3"))),
        FhirRequest("history-instance", **one),
        FhirRequest("history-type", kind),
        FhirRequest("history-type", kind, query=(("_summary", "count"),)),
        FhirRequest("history-system", query=(("_count", "1000"),)),
        FhirRequest("transaction", method="POST", resource=_batch(drawing, kept)),
    ))  # fmt: skip


def _claimed(drawing: Drawing, kind: str) -> tuple[tuple[str, str], ...]:
    """Draw a search of what insurers ask; of another type, of how claims name it."""
    other, who = f"{PAYER}|OTHER", f"Patient/{drawing.one(IDS)}"
    query = drawing.one({
        "Coverage": (
            "", f"beneficiary={who}", f"payor:identifier={other}", "_sort=payor,-beneficiary",
            "beneficiary:Patient.gender:not=male", f"_has:Claim:coverage:patient={who}",
            "payor:Organization.name:contains=n", "_revinclude=Claim:coverage&_include=*",
        ),
        "Claim": (
            "", f"patient={who}", f"coverage.payor:identifier:not={other}", "_sort=-created",
            f"coverage.payor:identifier={other}", "patient.name:contains=n", "_include=*",
            "provider.name:contains=n", "coverage.beneficiary:Patient.gender:missing=true",
            "encounter.status=planned", "_include=Claim:encounter&_include:iterate=*",
        ),
    }.get(kind, ("", "_total=accurate", "_sort=-_lastUpdated&_revinclude=*")))  # fmt: skip
    return tuple(parse_qsl(query, keep_blank_values=True))


def _batch(drawing: Drawing, kept: Kept) -> Resource:
    urls = [f"{kind}/{identity}" for kind, identity in drawing.random.sample(kept.names(), 4)]
    kind = drawing.kind()
    urls += [f"{kind}?{drawing.search(kind)}", f"{urls[0]}/_history", "Patient/never"]
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


async def check(both: Both, request: FhirRequest, seed: int) -> bool:
    """Ask a request, and its further pages, of both; return whether anything was shown."""
    ours = theirs = request
    shown = False
    while True:
        one = await _answer(both.whole, both.caller, both.policy, ours)
        other = await _answer(both.bare, both.caller, Open(both.policy), theirs)
        assert placeless(one) == placeless(other), (seed, ours, both.policy)
        if not isinstance(one[1], bytes):
            return shown
        shown = shown or b'"fullUrl"' in one[1]
        # The cursors of two stores differ: each is asked for its own next page.
        following = _next(one[1])
        if not following:
            return shown
        ours = replace(request, query=following)
        theirs = replace(request, query=_next(other[1]))


def _next(body: bytes) -> tuple[tuple[str, str], ...]:
    """Return the query of a page's next link; () where there is none."""
    answer = codec.loads(body)
    links = answer.get("link", ()) if answer["resourceType"] == "Bundle" else ()
    urls = [link["url"] for link in links if link["relation"] == "next"]
    return tuple(parse_qsl(urlsplit(urls[0]).query)) if urls else ()


# --- reading ------------------------------------------------------------------------------


async def test_what_a_drawn_policy_hides_is_as_if_absent() -> None:
    """Searches of all kinds, reads, histories and batches tell nothing of the hidden."""
    answered = 0
    for seed in (all_seeds := seeds(24)):
        drawing = Drawing(seed)
        kept = drawn(drawing)
        policy = Drawn({kind: draw_criteria(drawing, kind) for kind in KINDS})
        seen = {name for name in kept.names() if is_seen(kept, policy.criteria[name[0]], name)}
        both = await both_of(kept, policy, FACILITY, seen)
        for _ in range(REQUESTS):
            answered += await check(both, request_of(drawing, kept, KINDS), seed)

    assert answered > len(all_seeds) * REQUESTS / 5


PAYER_CALLER: Final = Principal(
    kind="payer", client_id="insurer", code="BHXH", display="BHXH", scopes=("system/*.rs",)
)
CALLERS: Final = {
    "citizen": citizen("a"),
    "facility": FACILITY,
    "another facility": OTHER,
    "payer": PAYER_CALLER,
}


@pytest.mark.parametrize("caller", CALLERS.values(), ids=CALLERS)
async def test_what_a_real_policy_hides_is_as_if_absent(caller: Principal) -> None:
    """A citizen, a facility and an insurer are answered as if there were nothing else."""
    answered = 0
    kinds = ("Coverage", "Claim")
    for seed in (all_seeds := seeds(9, first=1000)):
        drawing = Drawing(seed)
        kept = drawn(drawing, *kinds)
        policy = policy_for(caller)
        whole = await filled(kept, MemoryStore())
        seen = await _read_by(whole, caller, kept)
        bare = await filled(kept, MemoryStore(), seen)
        both = Both(whole, bare, policy, caller)
        for _ in range(REQUESTS):
            request = request_of(drawing, kept, (*kinds, *kinds, "Patient", "Encounter"))
            answered += await check(both, request, seed)

    assert answered > len(all_seeds)


async def _read_by(world: World, caller: Principal, kept: Kept) -> set[Name]:
    """Return what a caller reads: 404 and 403 are for what is hidden, 410 for what is not."""
    seen = set()
    for kind, identity in kept.names():
        asked = FhirRequest("read", kind, identity)
        answer = await _answer(world, caller, policy_for(caller), asked)
        if answer[0] == 200 or answer[1] == 410:
            seen.add((kind, identity))
    return seen


async def test_every_store_hides_the_same(each_store: Store) -> None:
    """Over SQLite and MongoDB, too, what is hidden is as if absent."""
    drawing = Drawing(2000)
    kept = drawn(drawing)
    whole = await filled(kept, each_store)
    for seed in seeds(4):
        policy = Drawn({kind: draw_criteria(drawing, kind) for kind in KINDS})
        names = {n for n in kept.names() if is_seen(kept, policy.criteria[n[0]], n)}
        # What is shown alone is in memory: that all stores answer the same is tested elsewhere.
        both = Both(whole, await filled(kept, MemoryStore(), names), policy, FACILITY)
        for _ in range(REQUESTS // 2):
            await check(both, request_of(drawing, kept, KINDS), seed)


# --- writing ------------------------------------------------------------------------------


def write_of(drawing: Drawing, kept: Kept) -> FhirRequest:
    """Draw something that writes, by id or by condition."""
    kind, identity = drawing.one([name for name in kept.names() if name[0] in PARAMS])
    identity = drawing.one((identity, identity, "never"))
    resource = drawing.resource()
    while resource["resourceType"] != kind:
        resource = drawing.resource()
    resource["id"] = identity
    name, value = drawing.criterion(kind)
    condition = f"{name}={value}".replace("%", "%25").replace("&", "%26").replace("+", "%2B")
    by_id = {"resource_type": kind, "resource_id": identity}
    by_query: dict[str, Any] = {"resource_type": kind, "query": ((name, value),)}
    match = drawing.one((None, None, 1, 2))
    change = {
        "raw": b'[{"op": "add", "path": "/language", "value": "vi"}]',
        "content_type": "application/json-patch+json",
    }
    new = {one: part for one, part in resource.items() if one != "id"}
    return drawing.one((
        FhirRequest("create", kind, resource=new, if_none_exist=condition, method="POST"),
        FhirRequest("create", kind, resource=new, if_none_exist=f"_id={identity}", method="POST"),
        FhirRequest("update", **by_id, resource=resource, if_match=match, method="PUT"),
        FhirRequest("update", **by_query, resource=new, method="PUT"),
        FhirRequest("patch", **by_id, **change, if_match=match, method="PATCH"),
        FhirRequest("patch", **by_query, **change, method="PATCH"),
        FhirRequest("delete", **by_id, if_match=match, method="DELETE"),
        FhirRequest("delete", **by_query, method="DELETE"),
        FhirRequest("transaction", resource=_conditional(new, kind, condition), method="POST"),
    ))  # fmt: skip


def _conditional(resource: Resource, kind: str, condition: str) -> Resource:
    entries = [
        {
            "fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
            "resource": resource,
            "request": {"method": "POST", "url": kind, "ifNoneExist": condition},
        },
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"text": "x"},
                "focus": [{"reference": f"{kind}?{condition}"}],
            },
            "request": {"method": "POST", "url": "Observation"},
        },
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


async def test_what_is_written_does_not_tell_of_the_hidden() -> None:
    """Conditions, versions and ids are answered as if the hidden were not there.

    Alone that something hidden refers to what is to be deleted is told (409), by no name.
    """
    written = 0
    for seed in (all_seeds := seeds(60, first=3000)):
        drawing = Drawing(seed)
        kept = drawn(drawing)
        policy = Drawn({kind: draw_criteria(drawing, kind) for kind in KINDS})
        seen = {name for name in kept.names() if is_seen(kept, policy.criteria[name[0]], name)}
        both = await both_of(kept, policy, FACILITY, seen)
        request = write_of(drawing, kept)

        one = await _answer(both.whole, FACILITY, policy, request)
        other = await _answer(both.bare, FACILITY, Open(policy), request)

        if one[0] is Conflict and request.interaction == "delete":
            assert b"is referred to by another resource" in one[2]
            continue
        assert one == other, (seed, request, policy)
        written += one[0] in {200, 201}

    assert written > len(all_seeds) / 8


def visit_of(drawing: Drawing) -> FhirRequest:
    """Draw a write that a facility may make: a visit, a person whom it asks for, who pays it."""
    identity = drawing.one(IDS)
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "AMB"},
        "identifier": [{"system": MA_LK, "value": "01999|1"}],
        "subject": {"reference": f"Patient/{drawing.one(IDS)}"},
    }
    number = drawing.one(CODES)
    asked = {"if_none_exist": f"identifier={CODED[0]}|{number}", "method": "POST"}
    numbered = {"identifier": [{"system": CODED[0], "value": number}]}
    person = {"resourceType": "Patient", **numbered}
    payer = {"resourceType": "Organization", "name": "x", **numbered}
    return drawing.one((
        FhirRequest("create", "Encounter", resource=visit, method="POST"),
        FhirRequest(
            "update", "Encounter", identity, resource={**visit, "id": identity}, method="PUT"
        ),
        FhirRequest("create", "Patient", resource=person, **asked),
        FhirRequest("create", "Organization", resource=payer, **asked),
    ))  # fmt: skip


@pytest.mark.parametrize("caller", [FACILITY, citizen("a")], ids=["facility", "citizen"])
async def test_what_a_real_caller_writes_does_not_tell_of_the_hidden(caller: Principal) -> None:
    """A facility's and a citizen's writes end as if nothing else were there.

    Alone that a visit cannot become another person's while records of it stay behind is told
    (409), of records that the facility does not see too, by no name.
    """
    policy = policy_for(caller)
    statuses = set()
    for seed in seeds(40, first=5000):
        drawing = Drawing(seed)
        kept = drawn(drawing)
        seen = await _read_by(await filled(kept, MemoryStore()), caller, kept)
        both = await both_of(kept, policy, caller, seen)
        request = drawing.one((write_of(drawing, kept), visit_of(drawing)))

        one = await _answer(both.whole, caller, policy, request)
        other = await _answer(both.bare, caller, Open(policy), request)

        if one[0] is Conflict:
            assert b"What belongs to the visit" in one[2]
            continue
        assert one == other, (seed, request)
        statuses.add(one[0] if isinstance(one[0], int) else one[1])

    assert statuses >= ({200, 201, 403, 404} if caller is FACILITY else {403})
