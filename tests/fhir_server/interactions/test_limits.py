"""What happens at the edges: a store that refuses, fails or is slow, masks, many matches."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auth.principal import Principal
from fhir_server.interactions import commit
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.masked_search import askable
from fhir_server.interactions.perform import perform, perform_with
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD, PAYER
from fhir_server.model.outcome import (
    Conflict,
    Duplicate,
    FhirError,
    Forbidden,
    InvalidValue,
    TooCostly,
    UnsupportedParameter,
)
from fhir_server.search.expression import NOTHING, Says
from fhir_server.search.values import CONTENT
from fhir_server.store.port import (
    BadCursor,
    Batch,
    RecordChanged,
    Store,
    VersionConflict,
    WorkBudgetExceeded,
)
from tests.conftest import AUDITOR, FACILITY, World
from tests.fhir_server.interactions.test_audit import events
from tests.fhir_server.interactions.test_hidden import ANA, names
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import patient

PAYER_OF_ALL = Principal(
    kind="payer", client_id="insurer-bhxh", code="BHXH", display="BHXH", scopes=("system/*.rs",)
)


class Failing:
    """A store that raises one exception where resources are searched or written."""

    def __init__(self, store: Store, failure: Exception) -> None:
        self._store, self._failure = store, failure

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> None:
        """Refuse what writes; keep the audit."""
        if batch.writes:
            raise self._failure
        await self._store.commit(batch)

    async def search(self, _search: Any) -> Any:
        """Fail."""
        raise self._failure


@pytest.mark.parametrize(
    ("failure", "refusal"),
    [
        (VersionConflict(("Patient", "a"), 3), Conflict),
        (RecordChanged("dossier", "k"), Conflict),
    ],
)
async def test_others_faster_every_time_is_a_conflict(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    failure: Exception,
    refusal: type[FhirError],
) -> None:
    """After a bounded number of attempts a write is 409, and the refusal is recorded."""
    monkeypatch.setattr(commit, "ATTEMPTS", 3)
    ctx = replace(world.context(), store=Failing(world.store, failure))

    with pytest.raises(refusal):
        await perform(ctx, FhirRequest("create", "Patient", resource=patient(), method="POST"))

    assert [one["outcome"] for one in await events(world)] == ["4"]


@pytest.mark.parametrize(
    ("failure", "refusal"), [(WorkBudgetExceeded(), TooCostly), (BadCursor(), InvalidValue)]
)
async def test_a_search_that_the_store_refuses(
    world: World, failure: Exception, refusal: type[FhirError]
) -> None:
    """A search past its budget is too-costly, a foreign cursor 400; in a batch likewise."""
    failing = Failing(world.store, failure)
    ctx = replace(world.context(), store=failing)

    with pytest.raises(refusal):
        await perform(ctx, FhirRequest("search-type", "Patient"))

    asked = bundle(entry("GET", "Patient"), kind="batch")
    ctx = replace(world.context(), store=failing)
    result = await perform(ctx, FhirRequest("batch", resource=asked, method="POST"))
    (one,) = codec.loads(result.body or b"")["entry"]
    assert one["response"]["status"].startswith(str(refusal.status))


async def test_a_condition_that_costs_the_commit_too_much_is_too_costly(world: World) -> None:
    """Where the store's look at a condition goes past its budget, the write is `too-costly`."""
    failing = Failing(world.store, WorkBudgetExceeded())
    ctx = replace(world.context(), store=failing)

    with pytest.raises(TooCostly):
        await perform(ctx, FhirRequest("create", "Patient", resource=patient(), method="POST"))
    result = await perform(
        ctx,
        FhirRequest("batch", resource=bundle(entry("POST", "Patient", patient()), kind="batch")),
    )

    (one,) = codec.loads(result.body or b"")["entry"]
    assert one["response"]["status"].startswith("403")


async def test_an_unforeseen_failure_is_recorded(world: World) -> None:
    """What fails unforeseen comes out as it is, and its AuditEvent says 4."""

    async def fail(ctx: Any, _request: FhirRequest) -> FhirResult:
        await ctx.store.ready()
        raise KeyError

    with pytest.raises(KeyError):
        await perform_with(world.context(), FhirRequest("read", "Patient", "a"), fail)

    assert [one["outcome"] for one in await events(world)] == ["4"]


async def test_a_duplicate_in_a_bundle_names_its_entry(world: World) -> None:
    """The entry whose identifier another holds is named."""
    number = [{"system": CCCD, "value": "001195012345"}]
    holder = {"resourceType": "Patient", "identifier": number}
    await world.put(holder | {"id": "a"})

    with pytest.raises(Duplicate) as refusal:
        await world.transaction(
            bundle(entry("POST", "Patient", patient()), entry("POST", "Patient", holder))
        )

    assert refusal.value.issues[0].expression == ("Bundle.entry[1]",)


async def test_a_condition_that_another_key_contradicts_is_a_duplicate(world: World) -> None:
    """A conditional create whose condition matches nothing, but whose number is held, is 409."""
    number = [{"system": CCCD, "value": "001195012345"}]
    holder = {"resourceType": "Patient", "identifier": number}
    await world.put(holder | {"id": "a"})

    with pytest.raises(Duplicate):
        await world.perform(
            "create", resource_type="Patient", resource=holder,
            if_none_exist="identifier=http://example.org/mrn|none",
        )  # fmt: skip


async def test_a_conditional_delete_of_many(world: World) -> None:
    """More matches than a page are all deleted."""
    urls = [entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": "x"}})] * 1005
    await world.transaction(bundle(*urls))

    await world.perform("delete", resource_type="Basic", query=(("code:missing", "false"),))

    assert await world.store.count("Basic") == 0


async def test_a_cascade_that_meets_what_may_not_be_deleted_deletes_nothing(world: World) -> None:
    """A citizen's cascade over what others wrote is 409, and nothing is deleted."""
    consent = {
        "resourceType": "Consent",
        "id": "c",
        "status": "active",
        "scope": {"text": "privacy"},
        "category": [{"text": "privacy"}],
        "patient": {"reference": "Patient/ana"},
        "policyRule": {"text": "OPTIN"},
    }
    await world.put(patient() | {"id": "ana"})
    await world.put(consent)
    await world.put({
        "resourceType": "Provenance",
        "id": "p",
        "target": [{"reference": "Consent/c"}],
        "recorded": "2024-01-01T00:00:00Z",
        "agent": [{"who": {"display": "x"}}],
    })

    with pytest.raises(Conflict):
        await world.perform(
            "delete", ANA, resource_type="Consent", resource_id="c",
            query=(("_cascade", "delete"),),
        )  # fmt: skip

    assert await world.store.count("Consent") == 1


async def test_what_is_seen_and_not_deleted_is_forbidden(world: World) -> None:
    """A facility's delete of an Organization is 403: never granted."""
    await world.put({"resourceType": "Organization", "id": "o", "name": "X"})

    with pytest.raises(Forbidden):
        await world.perform("delete", FACILITY, resource_type="Organization", resource_id="o")


async def test_audit_events_are_found_by_id_entity_and_counted(world: World) -> None:
    """`_id`, `entity` and `_summary=count` work over the chain."""
    await world.put(patient() | {"id": "ana"})
    await world.perform("read", resource_type="Patient", resource_id="ana")
    (first, *_) = (await events(world, AUDITOR, ("entity", "Patient/ana")))[::-1]

    found = await events(world, AUDITOR, ("_id", f"{first['id']},audit-77777"))
    counted = await world.perform(
        "search-type", AUDITOR, resource_type="AuditEvent",
        query=(("_summary", "count"), ("entity", "Patient/ana")),
    )  # fmt: skip

    assert found == [first]
    assert codec.loads(counted.body or b"")["total"] == 4


@pytest.fixture
async def insured(world: World) -> World:
    """A claim of an insured person, with HIV data and without."""
    icd = "http://hl7.org/fhir/sid/icd-10"
    await world.put(patient(name=[{"family": "Ana"}]) | {"id": "ana"})
    await world.put({
        "resourceType": "Coverage",
        "id": "card",
        "status": "active",
        "beneficiary": {"reference": "Patient/ana"},
        "payor": [{"identifier": {"system": PAYER, "value": "BHXH"}}],
    })
    for code in ("B20", "I10"):
        await world.put({
            "resourceType": "Condition",
            "id": code,
            "subject": {"reference": "Patient/ana"},
            "code": {"coding": [{"system": icd, "code": code}], "text": f"text of {code}"},
        })
    await world.put({
        "resourceType": "Claim",
        "id": "claim",
        "status": "active",
        "type": {"text": "institutional"},
        "use": "claim",
        "patient": {"reference": "Patient/ana"},
        "created": "2024-01-01",
        "provider": {"display": "01999"},
        "priority": {"text": "normal"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/card"}}],
        "diagnosis": [
            {"sequence": n, "diagnosisReference": {"reference": f"Condition/{code}"}}
            for n, code in enumerate(("B20", "I10"), start=1)
        ],
    })
    return world


async def test_the_insurer_sees_no_hiv_code(insured: World) -> None:
    """Read, search and include show the Condition that the claim names, its code masked."""
    read = await insured.perform("read", PAYER_OF_ALL, resource_type="Condition", resource_id="B20")
    found = await insured.perform("search-type", PAYER_OF_ALL, resource_type="Condition")
    included = await insured.perform(
        "search-type", PAYER_OF_ALL, resource_type="Claim", query=(("_include", "*"),)
    )

    assert read.version is not None
    for body in (read.version.body, found.body or b"", included.body or b""):
        assert b'"code":"B20"' not in body
        assert b"text of B20" not in body
    assert b"text of I10" in (found.body or b"")
    assert names(found) == ["Condition/B20", "Condition/I10"]


@pytest.mark.parametrize(
    ("kind", "query"),
    [
        ("Condition", ("_content", "text")),
        ("Condition", ("_text", "NOT text")),
        ("Patient", ("_has:Condition:subject:_content", "text")),
        ("Condition", ("subject:Patient._content", "text")),
    ],
)
async def test_the_insurer_may_not_search_by_words(
    insured: World, kind: str, query: tuple[str, str]
) -> None:
    """A word that is found would say what is masked: refused, in chains and `_has` too."""
    with pytest.raises(UnsupportedParameter):
        await insured.perform("search-type", PAYER_OF_ALL, resource_type=kind, query=(query,))

    leaf = Says(CONTENT, "text")
    assert askable(frozenset({"hiv"}), "Condition", leaf) == NOTHING
    assert askable(frozenset({"record"}), "Encounter", leaf) == NOTHING
    assert askable(frozenset(), "Condition", leaf) == leaf


@pytest.mark.parametrize(
    ("kind", "identity", "query", "along"),
    [
        ("Encounter", "e", ("_include", "Encounter:reason-reference"), set()),
        ("Encounter", "e", ("_include", "Encounter:*"), {"Patient/ana"}),
        ("Condition", "I10", ("_revinclude", "Encounter:reason-reference"), set()),
        ("Condition", "I10", ("_revinclude", "Encounter:*"), set()),
        ("Patient", "ana", ("_revinclude", "Encounter:subject"), {"Encounter/e"}),
    ],
)
async def test_what_is_hidden_brings_nothing_along(
    insured: World, kind: str, identity: str, query: tuple[str, str], along: set[str]
) -> None:
    """An include by an element that is not shown would say what stands in it."""
    await insured.put({
        "resourceType": "Encounter",
        "id": "e",
        "status": "finished",
        "class": {"code": "AMB"},
        "subject": {"reference": "Patient/ana"},
        "reasonReference": [{"reference": "Condition/I10"}],
    })
    claim = codec.loads((await insured.store.read("Claim", "claim")).body)  # type: ignore[union-attr]
    item = {"sequence": 1, "productOrService": {"text": "x"}}
    await insured.put(claim | {"item": [item | {"encounter": [{"reference": "Encounter/e"}]}]})

    async def found(ctx: Context) -> set[str]:
        request = FhirRequest("search-type", resource_type=kind, query=(("_id", identity), query))
        return set(names(await perform(ctx, request))) - {f"{kind}/{identity}"}

    assert await found(insured.context(PAYER_OF_ALL)) == along
    assert len(await found(insured.context())) >= 1


@pytest.mark.parametrize(
    "query",
    [
        ("code", "B20"),
        ("code", "http://hl7.org/fhir/sid/icd-10|B20"),
        ("code:text", "text of B20"),
        ("_has:Claim:names:patient:Patient._has:Condition:subject:code", "B20"),
    ],
)
async def test_what_is_masked_is_not_searched_for(insured: World, query: tuple[str, str]) -> None:
    """A search by a masked code matches nothing; neither does it order."""
    found = await insured.perform(
        "search-type", PAYER_OF_ALL, resource_type="Condition", query=(query,)
    )

    assert names(found) == []
    with pytest.raises(FhirError) as refusal:
        await insured.perform(
            "search-type", PAYER_OF_ALL, resource_type="Condition", query=(("_sort", "code"),)
        )
    assert refusal.value.status == 400
