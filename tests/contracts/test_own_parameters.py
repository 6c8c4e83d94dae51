"""A store's own search parameters over every store: posted, indexed by a job, then searched."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
import pytest

from auth.policy import policy_for
from auth.principal import SYSTEM, Principal
from fhir_server import indexing
from fhir_server.indexing import index_parameters
from fhir_server.interactions.context import AuditTrail, Context, FhirRequest, FhirResult
from fhir_server.interactions.own_parameters import (
    JOB,
    SECONDS,
    StoreRegistry,
    definitions_of,
    job_of,
)
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.identifiers import MA_CSKCB
from fhir_server.model.outcome import (
    BusinessRule,
    Duplicate,
    Forbidden,
    UnsupportedParameter,
)
from fhir_server.search.expression import Search, TokenIs
from fhir_server.store.leases import Leases
from fhir_server.store.port import Batch, Put, Store, Tag
from fhir_server.stores import walkable
from tests.conftest import Clock

BASE = "http://127.0.0.1:8080/fhir"
EYE = "http://example.vn/fhir/StructureDefinition/eye"
COLOURS = ("brown", "blue", "green")


@dataclass(slots=True)
class Process:
    """One process over a store, with what it knows of its parameters, and its own clock."""

    store: Store
    name: str = "one"
    fhir_base: str = BASE
    seconds: float = 0.0
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    registry: StoreRegistry = field(init=False)
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        """Know nothing yet."""
        self.registry = StoreRegistry(self.store, clock=lambda: self.seconds)

    def context(self, principal: Principal = SYSTEM, policy: Any = None) -> Context:
        """Return the Context of a request."""
        return Context(
            principal=principal,
            policy=policy or policy_for(principal),
            store=self.store,
            now=self.clock,
            new_id=lambda: f"{self.name}-{next(self.ids)}",
            base_url=BASE,
            source="192.0.2.1",
            trail=AuditTrail(),
            registry=self.registry,
        )

    async def ask(self, interaction: str, ctx: Context | None = None, **fields: Any) -> FhirResult:
        """Perform an interaction."""
        return await perform(ctx or self.context(), FhirRequest(interaction, **fields))

    async def put(self, resource: dict[str, Any]) -> FhirResult:
        """Make or update a resource under its own id."""
        kind, identity = resource["resourceType"], resource["id"]
        return await self.ask(
            "update", resource_type=kind, resource_id=identity, resource=resource, method="PUT"
        )

    async def delete(self, kind: str, identity: str) -> FhirResult:
        """Delete a resource."""
        return await self.ask("delete", resource_type=kind, resource_id=identity, method="DELETE")

    async def found(
        self, kind: str, *query: tuple[str, str], ctx: Context | None = None
    ) -> list[str]:
        """Return the ids that a search finds."""
        result = await self.ask("search-type", ctx, resource_type=kind, query=query)
        assert result.body is not None
        entries = codec.loads(result.body).get("entry", [])
        return [one["resource"]["id"] for one in entries]

    async def ready(self) -> None:
        """Index by all parameters that are not ready."""
        assert await index_parameters(self)


@pytest.fixture
def one(store: Store) -> Process:
    """A process."""
    return Process(store)


@pytest.fixture
def other(store: Store) -> Process:
    """Another one over the same store."""
    return Process(store, "other")


def definition(**fields: Any) -> dict[str, Any]:
    """Return a SearchParameter for an extension of Patient."""
    return {
        "resourceType": "SearchParameter",
        "id": "eye",
        "url": "http://example.vn/fhir/SearchParameter/eye",
        "name": "Eye",
        "status": "active",
        "description": "Colour of the eyes",
        "code": "eye",
        "base": ["Patient"],
        "type": "token",
        "expression": f"Patient.extension.where(url='{EYE}').value",
    } | fields


def patient(identity: str, colour: str | None = "brown", **more: Any) -> dict[str, Any]:
    """Return a Patient with such eyes."""
    resource: dict[str, Any] = {"resourceType": "Patient", "id": identity, **more}
    if colour is not None:
        resource["extension"] = [{"url": EYE, "valueCode": colour}]
    return resource


async def fill(process: Process, number: int) -> None:
    """Make so many Patients, in three colours."""
    for at in range(number):
        await process.put(patient(f"p{at}", COLOURS[at % 3]))


# --- from posted to ready ------------------------------------------------------------------


async def test_what_was_there_before_is_found_once_it_is_ready(one: Process) -> None:
    """Refused until then, also in a lenient search; afterwards every resource is found."""
    await fill(one, 7)
    await one.put(definition())

    with pytest.raises(UnsupportedParameter, match="being indexed"):
        await one.found("Patient", ("eye", "brown"))
    await one.ready()

    assert sorted(await one.found("Patient", ("eye", "brown"))) == ["p0", "p3", "p6"]
    assert sorted(await one.found("Patient", ("eye:not", "brown"))) == ["p1", "p2", "p4", "p5"]
    assert await one.found("Patient", ("eye:missing", "true")) == []
    assert await one.store.get(*JOB) is None


async def test_what_is_written_from_then_on_is_found(one: Process) -> None:
    """Creates, updates and deletions before, between and after keep the index right."""
    await fill(one, 3)
    await one.put(definition())
    await one.put(patient("new"))
    await one.put(patient("p1", "brown"))
    await one.ready()
    await one.put(patient("late"))
    await one.put(patient("p0", "grey"))
    await one.delete("Patient", "new")

    assert sorted(await one.found("Patient", ("eye", "brown"))) == ["late", "p1"]
    assert await one.found("Patient", ("eye", "grey")) == ["p0"]


async def test_it_is_used_in_every_form(one: Process) -> None:
    """In chains, `_has`, order, includes, conditions and conditional references."""
    await fill(one, 3)
    await one.put(definition())
    await one.put(
        definition(
            id="kin", url="http://example.vn/kin", code="kin", type="reference",
            target=["Patient"], expression="Patient.extension('http://example.vn/kin').value",
        )
    )  # fmt: skip
    await one.put(
        {
            "resourceType": "Observation", "id": "o", "status": "final", "code": {"text": "x"},
            "subject": {"reference": "Patient/p0"},
        }
    )  # fmt: skip
    kin = {"url": "http://example.vn/kin", "valueReference": {"reference": "Patient/p0"}}
    await one.put(patient("child", None, extension=[kin]))
    await one.ready()

    assert await one.found("Observation", ("subject:Patient.eye", "brown")) == ["o"]
    assert await one.found("Observation", ("subject:Patient.eye", "blue")) == []
    assert await one.found("Patient", ("_has:Observation:subject:status", "final"),
                           ("eye", "brown")) == ["p0"]  # fmt: skip
    assert await one.found("Patient", ("_has:Patient:kin:_id", "child")) == ["p0"]
    assert await one.found("Patient", ("kin.eye", "brown")) == ["child"]
    assert await one.found("Patient", ("_sort", "eye")) == ["p1", "p0", "p2", "child"]
    assert await one.found("Patient", ("_id", "child"), ("_include", "Patient:kin")) == [
        "child", "p0",
    ]  # fmt: skip
    assert await one.found("Patient", ("_id", "p0"), ("_revinclude", "Patient:kin")) == [
        "p0", "child",
    ]  # fmt: skip
    assert await one.found("Patient", ("_id", "p0"), ("_revinclude", "Patient:*")) == [
        "p0", "child",
    ]  # fmt: skip

    again = await one.ask(
        "create", resource_type="Patient", resource=patient("x", "blue"), method="POST",
        if_none_exist="eye=blue",
    )  # fmt: skip
    assert again.version is not None
    assert again.version.resource_id == "p1"


async def test_an_explanation_calls_it_by_its_name(one: Process) -> None:
    """Not by what its index values carry."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()
    query = (("eye", "brown"), ("__explain", "true"))

    result = await one.ask("search-type", resource_type="Patient", query=query)

    explained = (result.body or b"").rpartition(b"OperationOutcome")[2]
    assert re.search(rb": eye\b", explained)
    assert b"eye~" not in (result.body or b"")


async def test_every_conditional_form_is_refused_until_it_is_ready(one: Process) -> None:
    """A condition that left it out would match more, and change what was not meant."""
    await fill(one, 2)
    await one.put(definition())

    conditional = {"resource_type": "Patient", "query": (("eye", "brown"),)}
    for interaction, fields in (
        ("create", {"resource": patient("x"), "if_none_exist": "eye=brown", "method": "POST",
                    "resource_type": "Patient"}),
        ("update", {"resource": patient("p0"), "method": "PUT", **conditional}),
        ("delete", {"method": "DELETE", **conditional}),
    ):  # fmt: skip
        with pytest.raises(UnsupportedParameter, match="being indexed"):
            await one.ask(interaction, **fields)
    assert sorted(await one.found("Patient")) == ["p0", "p1"]


async def test_a_page_of_another_definition_is_no_next_page(one: Process) -> None:
    """A search goes on from page to page; under a new definition it must be begun anew."""
    await fill(one, 7)
    await one.put(definition())
    await one.ready()
    ids: list[str] = []
    query: list[tuple[str, str]] = [("eye", "brown,blue"), ("_sort", "eye"), ("_count", "2")]
    links: list[str] = []
    while True:
        result = await one.ask("search-type", resource_type="Patient", query=tuple(query))
        assert result.body is not None
        page = codec.loads(result.body)
        ids += [entry["resource"]["id"] for entry in page.get("entry", [])]
        await one.put(patient(f"p{len(links)}", "green"))
        following = [link["url"] for link in page["link"] if link["relation"] == "next"]
        if not following:
            break
        links += following
        query = [*query[:3], ("_cursor", following[0].partition("_cursor=")[2].partition("&")[0])]

    # p0, brown on the first page, was green before its turn on a later one.
    assert len(ids) == len(set(ids))
    assert set(ids) <= {"p0", "p1", "p3", "p4", "p6"}


# --- several processes ---------------------------------------------------------------------


async def test_a_process_that_does_not_know_yet_cannot_miss_it(
    one: Process, other: Process
) -> None:
    """Its next write is refused by the store, planned again, and indexed by the parameter."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()
    assert other.registry.known.generation == 0

    await other.put(patient("late"))

    assert other.registry.known.generation == 1
    assert sorted(await one.found("Patient", ("eye", "brown"))) == ["late", "p0"]


async def test_searches_of_other_processes_know_within_a_moment(
    one: Process, other: Process
) -> None:
    """They ask again after two seconds, and once for all that comes meanwhile."""
    await fill(one, 3)
    await other.registry.refreshed()
    await one.put(definition())
    await one.ready()

    with pytest.raises(UnsupportedParameter, match="not known"):
        await other.ask("search-type", resource_type="Patient", query=(("eye", "brown"),),
                        handling="strict")  # fmt: skip
    await other.registry.refreshed()
    assert other.registry.known.generation == 0
    other.seconds += SECONDS
    await other.registry.refreshed()

    assert await other.found("Patient", ("eye", "brown")) == ["p0"]


async def test_what_is_known_costs_no_question_of_a_request(one: Process) -> None:
    """Of requests that come within two seconds the first alone asks: for two records, at once."""
    asked = 0
    get = one.store.get

    async def counting(*args: Any, **more: Any) -> bytes | None:
        nonlocal asked
        asked += 1
        return await get(*args, **more)

    one.store.get = counting  # type: ignore[method-assign]
    await asyncio.gather(*(one.registry.refreshed() for _ in range(50)))
    for _ in range(50):
        await one.registry.refreshed()

    assert asked == 2


async def test_of_two_that_bring_the_same_code_one_is_refused(one: Process, other: Process) -> None:
    """Whoever is first has it, though neither knew of the other's."""
    definitions = [definition(id=f"eye{at}", url=f"http://example.vn/eye{at}") for at in range(6)]
    answers = await asyncio.gather(
        *((one, other)[at % 2].put(each) for at, each in enumerate(definitions)),
        return_exceptions=True,
    )

    refused = [each for each in answers if isinstance(each, BaseException)]
    assert len(refused) == 5
    assert all(isinstance(each, Duplicate) for each in refused)
    there, _ = await definitions_of(one.store)
    assert len(there.own) == 1


async def test_several_that_come_at_once_are_all_there(one: Process, other: Process) -> None:
    """No definition is lost where two processes take them in at the same moment."""
    definitions = [
        definition(id=f"e{at}", url=f"http://example.vn/e{at}", code=f"eye-{at}") for at in range(8)
    ]
    await asyncio.gather(*((one, other)[at % 2].put(each) for at, each in enumerate(definitions)))
    await one.put(patient("p"))
    await other.ready()

    there, _ = await definitions_of(one.store)
    assert len({each.made for each in there.own}) == 8
    for at in range(8):
        assert await other.found("Patient", (f"eye-{at}", "brown")) == ["p"]


# --- the job -------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


async def test_a_job_whose_process_was_killed_goes_on_elsewhere(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From where it was, not from the beginning; what is shown meanwhile is how far it is."""
    monkeypatch.setattr(indexing, "CHUNK", 4)
    await fill(one, 19)
    await one.put(definition())
    told: list[tuple[int, int]] = []

    def die(done: int, total: int) -> None:
        told.append((done, total))
        if done >= 8:
            raise Killed

    with pytest.raises(Killed):
        await index_parameters(one, said=die)
    assert told == [(4, 19), (8, 19)]
    other.seconds += SECONDS
    await other.registry.refreshed()
    with pytest.raises(UnsupportedParameter, match=r"\(42 % done\)"):
        await other.found("Patient", ("eye", "brown"))

    # Nobody else has it before the lease has ended: whoever is alive may be at it.
    assert not await index_parameters(other)
    await _end_lease(one.store)
    rest: list[tuple[int, int]] = []
    assert await index_parameters(other, said=lambda done, total: rest.append((done, total)))

    assert rest[0] == (12, 19)
    assert len(await other.found("Patient", ("eye", "brown"))) == 7


async def _end_lease(store: Store) -> None:
    """Let the lease of a process that does not live any more be free."""
    await store.commit(Batch(puts=(Put("lease", indexing.LEASE, None),)))


async def test_who_has_lost_the_job_ends_it(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that slept past its lease writes no more of the job's record."""
    monkeypatch.setattr(indexing, "CHUNK", 4)
    await fill(one, 12)
    await one.put(definition())

    async def taken() -> None:
        await _end_lease(one.store)
        assert await Leases(one.store, Clock(), by="other").take(indexing.LEASE)

    tasks: list[asyncio.Task[None]] = []

    def lose(done: int, _total: int) -> None:
        if done == 4:
            tasks.append(asyncio.create_task(taken()))

    walked = walkable(one.store).walk

    async def walk(*args: Any, **more: Any) -> Any:
        if tasks:
            await tasks[0]
        return await walked(*args, **more)

    one.store.walk = walk  # type: ignore[attr-defined]
    assert not await index_parameters(one, said=lose)

    job = await job_of(one.store)
    assert job is not None
    assert job.done == 4


async def test_writes_while_the_job_runs_are_found_once(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes write all along, one of which knows nothing; nothing is missed or doubled."""
    monkeypatch.setattr(indexing, "CHUNK", 3)
    await fill(one, 30)
    await one.put(definition())
    expected = {f"p{at}": COLOURS[at % 3] for at in range(30)}

    async def write(process: Process, first: int) -> None:
        for at in range(first, first + 40):
            identity, colour = f"p{at * 7 % 60}", COLOURS[(at + 1) % 3]
            await process.put(patient(identity, colour, birthDate=f"20{at % 100:02d}-01-01"))
            expected[identity] = colour

    await asyncio.gather(write(one, 0), write(other, 100), index_parameters(one))
    await other.registry.look()

    for process in (one, other):
        for colour in COLOURS:
            found = await process.found("Patient", ("eye", colour), ("_count", "100"))
            assert len(found) == len(set(found))
            versions = {each: await one.store.read("Patient", each) for each in expected}
            now = sorted(
                each
                for each, version in versions.items()
                if version and f'"{colour}"'.encode() in version.body
            )
            assert sorted(found) == now


async def test_one_that_comes_while_a_job_runs_is_indexed_as_well(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that runs ends what it was begun for; the next one is begun at once."""
    monkeypatch.setattr(indexing, "CHUNK", 4)
    await fill(one, 12)
    await one.put(definition())
    second = definition(
        id="sex", url="http://example.vn/sex", code="sex", expression="Patient.gender"
    )
    tasks: list[asyncio.Task[FhirResult]] = []

    def more(done: int, _total: int) -> None:
        if done == 4 and not tasks:
            tasks.append(asyncio.create_task(other.put(second)))

    await one.put(patient("m", "brown", gender="male"))
    assert await index_parameters(one, said=more)
    await tasks[0]
    await one.ready()

    assert await one.found("Patient", ("sex", "male")) == ["m"]
    assert len(await one.found("Patient", ("eye", "brown"))) == 5
    there, _ = await definitions_of(one.store)
    assert there.is_settled


# --- changed and deleted -------------------------------------------------------------------


async def test_a_deleted_one_is_not_known_any_more(one: Process) -> None:
    """At once; and its values are taken out of the index."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()
    assert await _indexed(one, "eye~1") == ["p0"]

    await one.delete("SearchParameter", "eye")

    with pytest.raises(UnsupportedParameter, match="not known"):
        await one.ask("search-type", resource_type="Patient", query=(("eye", "brown"),),
                      handling="strict")  # fmt: skip
    assert not one.registry.is_settled
    await one.ready()
    assert one.registry.is_settled
    assert await _indexed(one, "eye~1") == []


async def _indexed(process: Process, code: str) -> list[str]:
    """Return the ids of what has a value `brown` of this code in the index."""
    page = await process.store.search(Search((("Patient", TokenIs(code, None, "brown")),)))
    return sorted(version.resource_id for version in page.versions)


async def test_another_expression_under_the_same_code_never_finds_former_values(
    one: Process,
) -> None:
    """Until it is ready it is refused; then its own values are found, and none of the former."""
    await fill(one, 3)
    await one.put(patient("m", None, gender="male"))
    await one.put(definition())
    await one.ready()

    await one.put(definition(expression="Patient.gender"))
    with pytest.raises(UnsupportedParameter, match="being indexed"):
        await one.found("Patient", ("eye", "brown"))
    await one.ready()

    assert await one.found("Patient", ("eye", "brown")) == []
    assert await one.found("Patient", ("eye", "male")) == ["m"]
    assert await _indexed(one, "eye~1") == []


async def test_retired_and_active_again(one: Process) -> None:
    """Retired it is as if deleted; active again it is indexed anew, with what came meanwhile."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()
    await one.put(definition(status="retired"))
    await one.put(patient("meanwhile"))
    await one.put(definition())

    with pytest.raises(UnsupportedParameter, match="being indexed"):
        await one.found("Patient", ("eye", "brown"))
    await one.ready()
    assert sorted(await one.found("Patient", ("eye", "brown"))) == ["meanwhile", "p0"]


async def test_another_description_changes_nothing(one: Process) -> None:
    """What is indexed stays ready."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()

    await one.put(definition(description="Iris"))

    assert one.registry.is_settled
    assert await one.found("Patient", ("eye", "brown")) == ["p0"]


async def test_deleted_while_the_job_runs(
    one: Process, other: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job ends without it, and what it has indexed goes again."""
    monkeypatch.setattr(indexing, "CHUNK", 4)
    await fill(one, 12)
    await one.put(definition())
    tasks: list[asyncio.Task[FhirResult]] = []

    def delete(done: int, _total: int) -> None:
        if done == 4 and not tasks:
            tasks.append(asyncio.create_task(other.delete("SearchParameter", "eye")))

    assert await index_parameters(one, said=delete)
    await tasks[0]
    await one.ready()

    there, _ = await definitions_of(one.store)
    assert (there.own, there.is_settled) == ((), True)
    assert await _indexed(one, "eye~1") == []


# --- how they come -------------------------------------------------------------------------


async def test_a_transaction_brings_several_or_none(one: Process) -> None:
    """A composite before its component too; one that is refused takes the whole Bundle with it."""
    both = definition(
        id="both", url="http://example.vn/both", code="eye-and-sex", type="composite",
        expression="Patient",
        component=[
            {"definition": "http://example.vn/fhir/SearchParameter/eye",
             "expression": f"extension('{EYE}').value"},
            {"definition": "http://hl7.org/fhir/SearchParameter/individual-gender",
             "expression": "gender"},
        ],
    )  # fmt: skip
    bad = definition(id="bad", url="http://example.vn/bad", code="bad", expression="Patient.nme")

    def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
        entries = [
            {"resource": each, "request": {"method": "PUT", "url": f"SearchParameter/{each['id']}"}}
            for each in resources
        ]
        return {"resourceType": "Bundle", "type": "transaction", "entry": entries}

    with pytest.raises(BusinessRule, match="nme") as refused:
        await one.ask("transaction", resource=bundle(both, definition(), bad), method="POST")
    assert refused.value.issues[0].expression == ("Bundle.entry[2].resource.expression",)
    assert await one.store.read("SearchParameter", "eye") is None
    await one.ask("transaction", resource=bundle(both, definition()), method="POST")
    await one.put(patient("m", "brown", gender="male"))
    await one.put(patient("f", "brown", gender="female"))
    await one.ready()

    assert await one.found("Patient", ("eye-and-sex", "brown$male")) == ["m"]


async def test_a_patch_changes_it_too(one: Process) -> None:
    """Whatever way a SearchParameter is written, the same becomes of it."""
    await fill(one, 3)
    await one.put(definition(status="draft"))
    assert one.registry.is_settled
    patch = [{"op": "replace", "path": "/status", "value": "active"}]

    await one.ask(
        "patch", resource_type="SearchParameter", resource_id="eye", method="PATCH",
        raw=msgspec.json.encode(patch), content_type="application/json-patch+json",
    )  # fmt: skip
    await one.ready()

    assert await one.found("Patient", ("eye", "brown")) == ["p0"]


async def test_the_code_of_a_deleted_one_is_free_in_the_same_transaction(one: Process) -> None:
    """Deletions come first, as everywhere."""
    await fill(one, 3)
    await one.put(definition())
    await one.ready()
    new = definition(id="new", url="http://example.vn/new", expression="Patient.gender")
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [
            {"resource": new, "request": {"method": "PUT", "url": "SearchParameter/new"}},
            {"request": {"method": "DELETE", "url": "SearchParameter/eye"}},
        ],
    }

    await one.ask("transaction", resource=bundle, method="POST")
    await one.ready()

    assert await one.found("Patient", ("eye", "brown")) == []


async def test_only_the_system_may_write_one(one: Process) -> None:
    """No client's scopes reach so far: a definition is every caller's."""
    for scopes in (("system/*.cruds",), ("user/*.cruds",)):
        facility = Principal(
            kind="facility", client_id="c", code="01999", display="F", scopes=scopes
        )
        ctx = one.context(facility)
        with pytest.raises(Forbidden):
            await one.ask("update", ctx, resource_type="SearchParameter", resource_id="eye",
                          resource=definition(), method="PUT")  # fmt: skip
        with pytest.raises(Forbidden):
            await one.ask("create", ctx, resource_type="SearchParameter", resource=definition(),
                          method="POST")  # fmt: skip
    assert one.registry.is_settled


PAYER = Principal(
    kind="payer", client_id="insurer", code="BHXH", display="BHXH", scopes=("system/*.rs",)
)
HOSPITAL = Principal(
    kind="facility", client_id="h", code="01999", display="H", scopes=("system/*.cruds",)
)


@pytest.mark.parametrize(
    "query",
    [("eye", "brown"), ("eye:missing", "true"), ("_sort", "eye"), ("_filter", "eye eq brown"),
     ("_has:Patient:kin:eye", "brown"), ("_include", "Patient:kin")],
    ids=lambda query: query[0],
)  # fmt: skip
async def test_who_does_not_see_all_may_use_none(one: Process, query: tuple[str, str]) -> None:
    """A payer is refused in every form, lenient or not: an extension is no business of its."""
    await one.put(definition())
    await one.put(
        definition(
            id="kin", url="http://example.vn/kin", code="kin", type="reference",
            target=["Patient"], expression="Patient.link.other",
        )
    )  # fmt: skip
    await one.put(patient("p"))
    await one.ready()

    with pytest.raises(UnsupportedParameter, match="not open to this client"):
        await one.found("Patient", query, ctx=one.context(PAYER))
    assert await one.found("Patient", ("_include", "*"), ctx=one.context(PAYER)) == []


async def test_a_hospital_finds_its_own_and_nothing_of_where_else_a_patient_was(
    one: Process,
) -> None:
    """What it may see it searches by; what names another facility nobody's parameter finds."""
    elsewhere = {
        "url": "http://example.vn/sent-by",
        "valueIdentifier": {"system": MA_CSKCB, "value": "01998"},
    }
    await one.put(definition(expression="Patient.extension.value", code="any"))
    for identity in ("mine", "other"):
        resource = patient(identity)
        resource["extension"].append(elsewhere)
        await one.put(resource)
    await one.store.commit(Batch(tags=[Tag("Patient", "mine", frozenset({"facility/01999"}))]))
    await one.ready()
    hospital = one.context(HOSPITAL)

    assert await one.found("Patient", ("any", "brown"), ctx=hospital) == ["mine"]
    assert sorted(await one.found("Patient", ("any", "brown"))) == ["mine", "other"]
    for asked in ("01998", f"{MA_CSKCB}|01998", f"{MA_CSKCB}|"):
        assert await one.found("Patient", ("any", asked), ctx=hospital) == []
