"""Transaction and batch, https://hl7.org/fhir/R4/http.html#transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fhir_server.interactions.asked import Ask
from fhir_server.interactions.condition import criteria_of
from fhir_server.interactions.linking import Links
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD
from fhir_server.model.outcome import (
    Conflict,
    Duplicate,
    FhirError,
    Gone,
    Invalid,
    InvalidValue,
    Malformed,
    MultipleMatches,
    PreconditionFailed,
    TooCostly,
    UnknownResource,
)
from fhir_server.store.port import Batch, Put, RecordChanged, Store
from tests.conftest import World
from tests.fhir_server.interactions.test_writes import observation, patient

URN = "urn:uuid:61ebe359-bfdc-4613-8bf2-c5e300945f0a"


def entry(
    method: str, url: str, resource: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """Return an entry of a Bundle; `more` goes to its request, but for `full_url`."""
    made: dict[str, Any] = {"request": {"method": method, "url": url}}
    if "full_url" in more:
        made["fullUrl"] = more.pop("full_url")
    made["request"] |= more
    return made | ({"resource": resource} if resource else {})


def bundle(*entries: dict[str, Any], kind: str = "transaction") -> dict[str, Any]:
    """Return a Bundle."""
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)}


async def test_a_deletion_refused_at_the_commit_names_its_entry(world: World) -> None:
    """The entry that deletes what is referred to is named, not the Bundle alone."""
    await world.put(patient() | {"id": "p"})
    await world.put(observation("Patient/p") | {"id": "o"})

    with pytest.raises(Conflict) as refusal:
        await world.transaction(
            bundle(
                entry("POST", "Basic", {"resourceType": "Basic", "code": {"text": "b"}}),
                entry("DELETE", "Patient/p"),
            )
        )

    assert refusal.value.issues[0].expression == ("Bundle.entry[1]",)


@pytest.mark.parametrize("held", [False, True])
async def test_the_entry_that_brings_a_held_number_is_named(world: World, held: bool) -> None:  # noqa: FBT001 - a case
    """Of two entries with one new number the second is at fault, of a held number the first."""
    number = {"identifier": [{"system": CCCD, "value": "001195099999"}]}
    if held:
        await world.put({"resourceType": "Patient", "id": "holder", **number})
    entries = [entry("POST", "Patient", {"resourceType": "Patient", **number}) for _ in range(2)]

    with pytest.raises(Duplicate) as refusal:
        await world.transaction(bundle(*entries))

    assert refusal.value.issues[0].expression == (f"Bundle.entry[{0 if held else 1}]",)


async def test_references_between_entries_are_resolved(world: World) -> None:
    """A urn:uuid in any reference, contained and extensions too, becomes the new name."""
    contained = {"resourceType": "Provenance", "target": [{"reference": URN}]}
    body = observation(URN) | {
        "performer": [{"reference": URN}],
        "extension": [{"url": "http://example.org/x", "valueReference": {"reference": URN}}],
    }
    del contained

    answer = await world.transaction(
        bundle(
            entry("POST", "Observation", body), entry("POST", "Patient", patient(), full_url=URN)
        )
    )

    statuses = [one["response"]["status"] for one in answer["entry"]]
    assert statuses == ["201 Created", "201 Created"]
    where = answer["entry"][1]["response"]["location"].split("/fhir/")[1].split("/_history")[0]
    stored = await world.perform("search-type", resource_type="Observation")
    assert stored.body is not None
    assert stored.body.count(f'"reference":"{where}"'.encode()) == 3
    assert b"urn:uuid" not in stored.body


LINKING = {
    "uri": ({"extension": [{"url": URN, "valueUri": URN}]}, "valueUri"),
    "url": ({"photo": [{"url": URN}]}, "url"),
    "uuid": ({"extension": [{"url": "urn:x", "valueUuid": URN}]}, "valueUuid"),
    "uri in a contained": (
        {"contained": [{"resourceType": "List", "entry": [{"item": {"type": URN}}]}]}, "type",
    ),
    "uris": ({"contained": [{"resourceType": "PlanDefinition", "relatedArtifact": [
        {"type": "citation", "url": URN + "#a"}]}]}, "url"),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "key"), LINKING.values(), ids=LINKING)
def test_links_beside_references_are_resolved(asked: dict[str, Any], key: str) -> None:
    """Elements of type uri, url, oid and uuid link too (http.html#trules)."""
    before = codec.dumps(asked).decode()

    after = linked(asked)

    fragment = "#a" if "#a" in before else ""
    assert f'"{key}":"Patient/new{fragment}"' in after
    assert after.count(URN) == before.count(URN) - 1, "what an extension is called is no link"


@pytest.mark.parametrize(
    "asked",
    [
        {"extension": [{"url": "urn:x", "valueString": URN}]},
        {"extension": [{"url": "urn:x", "valueCanonical": URN}]},
        {"identifier": [{"system": "urn:ietf:rfc:3986", "value": URN}]},
        {"photo": [{"url": "urn:uuid:00000000-bfdc-4613-8bf2-c5e300945f0a"}]},
        {"contained": [{"resourceType": "StructureDefinition", "url": URN}]},
        {"contained": [{"resourceType": "Bundle", "entry": [{"fullUrl": URN}]}]},
    ],
    ids=["string", "canonical", "identifier", "another", "own name", "a Bundle of its own"],
)
def test_what_is_no_link_stays(asked: dict[str, Any]) -> None:
    """A string, a canonical and an identifier only look like links."""
    assert linked(asked) == codec.dumps({"resourceType": "Patient", **asked}).decode()


def linked(asked: dict[str, Any]) -> str:
    """Return a resource once the entry of the URN is Patient/new."""
    resource = {"resourceType": "Patient", **codec.loads(codec.dumps(asked))}
    asks = (
        Ask("POST", "Patient", "x", resource=resource),
        Ask("POST", "Patient", "new", resource={"resourceType": "Patient"}, full_url=URN),
    )
    asyncio.run(Links.of(asks).resolve(World().context(), {1: ("Patient", "new")}))
    return codec.dumps(resource).decode()


async def test_links_in_a_narrative_are_resolved(world: World) -> None:
    """`href` and `src` of a narrative, with what follows `#`; its text stays."""
    told = (
        f'<a href="{URN}">{URN}</a><a title="href" href=\'{URN}#a\'>x</a><img src="{URN}" alt="y"/>'
    )
    div = f'<div xmlns="http://www.w3.org/1999/xhtml">{told}</div>'
    body = observation(URN) | {"text": {"status": "generated", "div": div}}

    answer = await world.transaction(
        bundle(
            entry("POST", "Observation", body), entry("POST", "Patient", patient(), full_url=URN)
        ),
        prefer="representation",
    )

    there = f"Patient/{answer['entry'][1]['resource']['id']}"
    shown = answer["entry"][0]["resource"]["text"]["div"]
    assert shown == div.replace(f'href="{URN}', f'href="{there}').replace(
        f"href='{URN}", f"href='{there}"
    ).replace(f'src="{URN}', f'src="{there}')
    assert f">{URN}</a>" in shown


async def test_the_order_is_delete_create_update_read(world: World) -> None:
    """Whatever the Bundle's order, deletes come first and reads see what was written."""
    await world.put(patient("1") | {"id": "old"})

    answer = await world.transaction(
        bundle(
            entry("GET", "Patient?identifier=http://example.org/mrn|1"),
            entry("PUT", "Patient/new", patient("1") | {"id": "new"}),
            entry("POST", "Patient", patient("2")),
            entry("DELETE", "Patient/old"),
        )
    )

    statuses = [one["response"]["status"].split()[0] for one in answer["entry"]]
    assert statuses == ["200", "201", "201", "204"]
    found = answer["entry"][0]["resource"]["entry"]
    assert [one["resource"]["id"] for one in found] == ["new"]


async def test_relative_references_to_an_entry_are_resolved(world: World) -> None:
    """A relative reference is resolved against the fullUrl of its own entry."""
    at = "http://example.org/fhir"

    await world.transaction(
        bundle(
            entry("POST", "Patient", patient(), full_url=f"{at}/Patient/77"),
            entry("POST", "Observation", observation("Patient/77"), full_url=f"{at}/Observation/1"),
        )
    )

    found = await world.perform(
        "search-type", resource_type="Observation", query=(("patient", "Patient/id-1"),)
    )
    assert found.body is not None
    assert b'"reference":"Patient/id-1"' in found.body


BAD = {
    "invalid resource": (entry("POST", "Patient", {"resourceType": "Patient", "x": 1}), Invalid),
    "other type than the url": (entry("POST", "Patient", observation("Patient/1")), Malformed),
    "a read of nothing": (entry("GET", "Patient/never"), UnknownResource),
    "a read of what is deleted": (entry("GET", "Patient/old"), Gone),
    "stale ifMatch": (
        entry("PUT", "Patient/kept", patient("9") | {"id": "kept"}, ifMatch='W/"7"'),
        PreconditionFailed,
    ),
    "unknown path": (entry("POST", "Nothing", patient()), UnknownResource),
    "unknown method": (entry("BREW", "Patient", patient()), InvalidValue),
    "no request": ({"resource": patient()}, FhirError),
    "conditional reference to nothing": (
        entry("POST", "Observation", observation("Patient?identifier=http://example.org/mrn|none")),
        InvalidValue,
    ),
    "conditional reference to several": (
        entry("POST", "Observation", observation("Patient?identifier=http://example.org/mrn|two")),
        MultipleMatches,
    ),
    "the same resource twice": (
        entry("PUT", "Patient/new", patient("3") | {"id": "new"}),
        InvalidValue,
    ),
    "the same fullUrl twice": (entry("POST", "Patient", patient(), full_url=URN), InvalidValue),
    "the fullUrl of another": (
        entry("PUT", "Patient/x", patient("3") | {"id": "x"}, full_url="Patient/y"),
        InvalidValue,
    ),
    "the same condition for two writes": (
        entry("PUT", "Patient?identifier=http://example.org/mrn|4", patient("4")),
        InvalidValue,
    ),
}


@pytest.mark.parametrize(("wrong", "refusal"), BAD.values(), ids=BAD.keys())
async def test_one_wrong_entry_refuses_all(
    world: World, wrong: dict[str, Any], refusal: type[FhirError]
) -> None:
    """A transaction is all or nothing, and the issue names the entry."""
    for identity, value in {"old": "1", "kept": "2", "two-a": "two", "two-b": "two"}.items():
        await world.put(patient(value) | {"id": identity})
    before = await world.store.history(None, None)

    with pytest.raises(refusal) as refused:
        await world.transaction(
            bundle(
                entry("DELETE", "Patient/old"),
                entry("PUT", "Patient/new", patient("5") | {"id": "new"}),
                entry("POST", "Patient", patient("6"), full_url=URN),
                entry(
                    "POST", "Patient", patient("4"),
                    ifNoneExist="identifier=http://example.org/mrn|4",
                ),
                wrong,
            )
        )  # fmt: skip

    assert refused.value.issues[0].expression[0].startswith("Bundle.entry[4]")
    assert (await world.store.history(None, None)).versions == before.versions


@pytest.mark.parametrize("kind", ["transaction", "batch"])
@pytest.mark.parametrize(
    ("full_url", "agrees"),
    [
        ("http://a.example/fhir/Patient/x", True),
        ("http://testserver/fhir/Patient/x", True),
        ("Patient/x", True),
        (URN, True),
        ("urn:oid:1.2.3", True),
        ("http://a.example/people?id=y", True),
        ("http://a.example/fhir/Patient/y", True),
        ("http://testserver/fhir/Patient/X", False),
        ("http://testserver/fhir/Person/x", False),
        ("Patient/y", False),
        ("http://testserver/fhir/Patient/x/_history/1", False),
    ],
)
@pytest.mark.parametrize("url", ["Patient/x", "Patient?identifier=http://example.org/mrn|1"])
async def test_a_full_url_agrees_with_what_is_put(
    world: World,
    kind: str,
    full_url: str,
    agrees: bool,  # noqa: FBT001 - a case
    url: str,
) -> None:
    """One of this server names the type and id of the resource; URNs and others' are free."""
    asked = bundle(entry("PUT", url, patient() | {"id": "x"}, full_url=full_url), kind=kind)

    if agrees or kind == "batch":
        answer = await world.transaction(asked)
        assert answer["entry"][0]["response"]["status"][:3] == ("201" if agrees else "400")
    else:
        with pytest.raises(InvalidValue) as refused:
            await world.transaction(asked)
        assert refused.value.issues[0].expression == ("Bundle.entry[0]",)
    assert await world.store.count("Patient") == agrees


async def test_the_id_of_what_is_created_is_ignored(world: World) -> None:
    """So it may be another than that of the fullUrl, by which others of the Bundle refer to it."""
    url = "http://a.example/fhir/Patient/old"

    answer = await world.transaction(
        bundle(
            entry("POST", "Patient", patient() | {"id": "other"}, full_url=url),
            entry("POST", "Observation", observation(url)),
        )
    )

    (made, referring) = (one["response"]["location"] for one in answer["entry"])
    (named, _, _) = made.removeprefix("http://testserver/fhir/").partition("/_history")
    kept = await world.store.read("Observation", referring.split("/")[-3])
    assert kept is not None
    assert codec.loads(kept.body)["subject"]["reference"] == named


@pytest.mark.parametrize(
    "condition",
    [
        "identifier=http://example.org/mrn|1",
        "family=An,Binh&birthdate=ge1990",
        "_lastUpdated=gt2020-01-01&_id=a,b",
        "organization.name:exact=A&general-practitioner:Practitioner.name=B",
        "_has:Observation:patient:code=x",
        "_filter=given eq a and (birthdate ge 1990 or not (active pr true))",
        "_text=words or more&_content=others",
        "deceased:missing=true&_tag:not=http://a.example|b&_profile:below=http://a.example/c",
    ],
)
async def test_a_condition_is_read_once_of_each_entry(
    world: World, condition: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of many entries each is not compared with all before it; equal ones make one resource."""
    read: list[str] = []

    def counted(kind: str, query: str, *args: Any, **named: Any) -> Any:
        read.append(query)
        return criteria_of(kind, query, *args, **named)

    monkeypatch.setattr("fhir_server.interactions.plan.criteria_of", counted)
    others = [
        entry("POST", "Patient", patient(f"{n}"), ifNoneExist=f"identifier=http://a.example|{n}")
        for n in range(20)
    ]
    twice = [entry("POST", "Patient", patient("x"), ifNoneExist=condition) for _ in range(2)]

    answer = await world.transaction(bundle(*others, *twice))

    assert len(read) == 22
    statuses = [one["response"]["status"][:3] for one in answer["entry"]]
    assert statuses == ["201"] * 21 + ["200"]
    assert await world.store.count("Patient") == 21


class Passed:
    """A store in which, right after the commit of a transaction, another client has its turn."""

    def __init__(self, store: Store, then: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._then = then
        self.is_done = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def commit(self, batch: Batch) -> None:
        """Commit, and let the other do what it does; once."""
        await self._store.commit(batch)
        if batch.writes and not self.is_done:
            self.is_done = True
            await self._then()


async def test_what_is_committed_is_answered_though_its_reads_are_gone(world: World) -> None:
    """An error of the whole would say that nothing was made, and have it sent again."""
    await world.put(patient("2") | {"id": "gone"})
    other = World(store=world.store)

    async def delete() -> None:
        await other.perform("delete", resource_type="Patient", resource_id="gone", method="DELETE")

    passed = Passed(world.store, delete)
    world.store = passed  # type: ignore[assignment] - it has all that the store has
    answer = await world.transaction(
        bundle(entry("GET", "Patient/gone"), entry("POST", "Patient", patient("1")))
    )

    assert passed.is_done
    told = [one["response"] for one in answer["entry"]]
    assert [one["status"][:3] for one in told] == ["410", "201"]
    assert told[0]["outcome"]["issue"][0]["expression"] == ["Bundle.entry[0]"]
    assert await world.store.count("Patient") == 1


async def test_equal_conditional_creates_make_one(world: World) -> None:
    """Two entries that would create the same resource if it is not there share it."""
    create = entry("POST", "Patient", patient(), ifNoneExist="identifier=http://example.org/mrn|1")

    answer = await world.transaction(
        bundle(create | {"fullUrl": URN}, create, entry("POST", "Observation", observation(URN)))
    )

    assert [one["response"]["status"].split()[0] for one in answer["entry"]] == [
        "201",
        "200",
        "201",
    ]
    assert await world.store.count("Patient") == 1


async def test_conditional_references_find_what_is_there_or_made(world: World) -> None:
    """A conditional reference finds a resource of the store, or one of the same Bundle."""
    await world.put(patient("1") | {"id": "there"})

    await world.transaction(
        bundle(
            entry("POST", "Patient", patient("2")),
            entry(
                "POST", "Observation", observation("Patient?identifier=http://example.org/mrn|1")
            ),
            entry(
                "POST", "Observation", observation("Patient?identifier=http://example.org/mrn|2")
            ),
        )
    )

    found = await world.perform("search-type", resource_type="Observation")
    subjects = [one["resource"]["subject"] for one in codec.loads(found.body or b"")["entry"]]
    assert sorted(s["reference"] for s in subjects) == ["Patient/id-1", "Patient/there"]


async def test_a_reference_to_nobody_is_kept(world: World) -> None:
    """A urn that no entry has stays as it is: a reference to what is not here is accepted."""
    answer = await world.transaction(bundle(entry("POST", "Observation", observation(URN))))

    assert answer["entry"][0]["response"]["status"] == "201 Created"


async def test_prefer_representation_gives_the_resources(world: World) -> None:
    """With `return=representation` a transaction's answer holds what was written."""
    answer = await world.transaction(
        bundle(entry("POST", "Patient", patient())), prefer="representation"
    )

    assert answer["entry"][0]["resource"]["id"] == "id-1"


async def test_a_batch_does_each_entry_on_its_own(world: World) -> None:
    """A wrong entry of a batch has its own status and outcome; the others are done."""
    answer = await world.transaction(
        bundle(
            entry("POST", "Patient", patient()),
            entry("POST", "Patient", {"resourceType": "Patient", "x": 1}),
            entry("GET", "Patient/never"),
            entry("GET", "Patient/id-1"),
            entry("POST", "", bundle()),
            kind="batch",
        )
    )

    statuses = [one["response"]["status"].split()[0] for one in answer["entry"]]
    assert statuses == ["201", "422", "404", "200", "400"]
    assert answer["type"] == "batch-response"
    assert answer["entry"][1]["response"]["outcome"]["resourceType"] == "OperationOutcome"
    assert answer["entry"][3]["resource"]["resourceType"] == "Patient"


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_a_bundle_leaves_one_audit_event(world: World, kind: str) -> None:
    """One AuditEvent a request, naming all Patients it wrote."""
    await world.transaction(
        bundle(
            entry("PUT", "Patient/a", patient("1") | {"id": "a"}),
            entry("PUT", "Patient/b", patient("2") | {"id": "b"}),
            kind=kind,
        )
    )

    (record,) = await world.store.audit()
    assert sorted(record.patients) == ["a", "b"]


@pytest.mark.parametrize(
    "asked",
    [
        {"resourceType": "Bundle"},
        {"resourceType": "Bundle", "type": "collection"},
        {"resourceType": "Bundle", "type": "transaction", "entry": [1]},
        {"resourceType": "Patient"},
    ],
    ids=["no type", "another type", "no objects", "no Bundle"],
)
async def test_what_is_no_bundle_to_be_done_is_refused(world: World, asked: dict[str, Any]) -> None:
    """A body that is no transaction or batch is 400."""
    with pytest.raises(Malformed):
        await world.transaction(asked)


async def test_ledger_records_are_committed_with_the_resources(world: World) -> None:
    """`run_transaction` puts records into the same commit, and nothing where one has changed."""
    asked = bundle(entry("PUT", "Patient/a", patient() | {"id": "a"}))
    put = Put("dossier", "key", b"1", expected=None)

    results = await run_transaction(world.context(), asked, puts=[put], tag_all=frozenset({"t"}))
    again = await run_transaction(
        world.context(), asked, puts=[Put("dossier", "key", b"2", expected=b"1")]
    )

    assert [(r.status, r.name, r.changed, r.created) for r in results] == [
        (201, ("Patient", "a"), True, True)
    ]
    assert [(r.status, r.changed) for r in again] == [(200, False)]
    assert await world.store.get("dossier", "key") == b"2"
    assert "t" in await world.store.tags(("Patient", "a"))
    with pytest.raises(RecordChanged):
        await run_transaction(world.context(), asked, puts=[put])


async def test_what_a_bundle_shows_is_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a batch the rest is refused; a transaction is refused whole, and has written nothing."""
    monkeypatch.setattr("fhir_server.interactions.transaction.MOST_SHOWN", 3000)
    await world.put(patient(name=[{"text": "x" * 1000}]) | {"id": "p"})
    reads = [entry("GET", url) for url in ("Patient/p", "Patient?_id=p", "Patient/p/_history") * 3]

    answer = await world.transaction(bundle(*reads, kind="batch"))

    status = [one["response"]["status"][:3] for one in answer["entry"]]
    assert status == ["200"] * 3 + ["403"] * 6
    assert answer["entry"][-1]["response"]["outcome"]["issue"][0]["code"] == "too-costly"
    for writes in ([], [entry("POST", "Patient", patient("2"))]):
        with pytest.raises(TooCostly) as refusal:
            await world.transaction(bundle(*writes, *reads))
        assert refusal.value.outcome()["issue"][0]["expression"] == [
            f"Bundle.entry[{3 + len(writes)}]"
        ]
    found = await world.perform("search-type", resource_type="Patient")
    assert codec.loads(found.body or b"")["total"] == 1
    assert len((await world.transaction(bundle(*reads[:3])))["entry"]) == 3
