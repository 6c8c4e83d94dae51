"""Asynchronous requests over every store, https://hl7.org/fhir/R4/async.html."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2 as httpx
import pytest

from auth.limits import Limits
from auth.principal import SYSTEM, Principal
from auth.tokens import AccessToken
from fhir_server.interactions import audit
from fhir_server.interactions.context import Context, Superseded
from fhir_server.interactions.jobs import begin, bundles, pages, record, work
from fhir_server.interactions.jobs.kinds import KINDS, take_turn
from fhir_server.interactions.jobs.record import Jobs
from fhir_server.interactions.jobs.work import Work
from fhir_server.model import codec
from fhir_server.model.outcome import LoginRequired
from fhir_server.operations.table import OPERATIONS
from fhir_server.rest.routes import fhir_app
from fhir_server.store.grants import LedgerGrants
from fhir_server.store.leases import SECONDS, SKEW
from fhir_server.store.port import Store, Tag
from fhir_server.working import Worker
from tests.conftest import BASE, FACILITY, OTHER, Clock, World, citizen
from tests.fhir_server.interactions.test_transaction import bundle, entry
from tests.fhir_server.interactions.test_writes import observation, patient
from tests.fhir_server.operations import record as people

BUCKETS: Final = [
    record.JOB, record.PENDING, record.SLOT, record.KEPT, record.BODY, record.WRITTEN,
    record.PART, record.FILE, record.SHOWN, record.DATA,
]  # fmt: skip
ASYNC: Final = {"Prefer": "respond-async"}
ANA, BO = citizen("ana"), citizen("bo")


class Died(BaseException):
    """The process is gone: nothing more is done by it."""


@dataclass(slots=True)
class Server:
    """A server's asynchronous requests, worked on when a test says so."""

    world: World
    callers: dict[str, Principal] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    clients: list[httpx.AsyncClient] = field(default_factory=list)
    woken: int = 0
    worker: Worker = field(init=False)
    jobs: Jobs = field(init=False)

    def __post_init__(self) -> None:
        """Make what a request needs to become a job."""
        clock, store = self.world.clock, self.world.store
        self.callers |= {"system": SYSTEM, "hospital": FACILITY, "other": OTHER}
        self.callers |= {"ana": ANA, "bo": BO}
        self.jobs = Jobs(Limits(LedgerGrants(store, clock), clock), self.again, self._wake)
        self.worker = Worker(self.jobs, store, clock)

    def _wake(self) -> None:
        self.woken += 1

    async def context_of(
        self, authorization: str | None, source: str, _purpose: str = "", /
    ) -> Context:
        """Return the Context of `Bearer <name of a caller>`; `name#2` is another token of it."""
        token = (authorization or "").removeprefix("Bearer ")
        name = token.partition("#")[0]
        basis = AccessToken(
            iss="i", aud="a", sub=name, client_id=name, scope="", iat=0, exp=0, jti=token
        )
        return await self.again(basis, source)

    async def again(self, basis: AccessToken, _source: str) -> Context:
        """Return the Context of who has begun it, as it is now."""
        if basis.jti in self.revoked:
            raise LoginRequired("It was revoked.")
        return self.world.context(
            self.callers[basis.client_id], operations=OPERATIONS, basis=basis, jobs=self.jobs
        )

    def client(self, caller: str = "system") -> httpx.AsyncClient:
        """Return a caller's HTTP client."""
        app = fhir_app(self.context_of, base_url=BASE, operations=OPERATIONS)
        made = httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url=f"{BASE}/",
            headers={"Authorization": f"Bearer {caller}"},
        )
        self.clients.append(made)
        return made

    async def work(self) -> None:
        """Work until nothing is open that is free."""
        while await self.worker.turn():
            pass

    async def done(self, answer: httpx.Response, caller: str = "system") -> dict[str, Any]:
        """Return the manifest of a request that was begun, once it is done."""
        assert answer.status_code == 202, answer.text
        await self.work()
        status = await self.client(caller).get(answer.headers["Content-Location"])
        assert status.status_code == 200, status.text
        return status.json()

    async def lines(self, item: dict[str, Any], caller: str = "system") -> list[dict[str, Any]]:
        """Return the resources of one output."""
        answer = await self.client(caller).get(
            item["url"], headers={"Accept": "application/fhir+ndjson"}
        )
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"] == "application/fhir+ndjson"
        found = [codec.loads(line) for line in answer.content.splitlines()]
        assert [one["resourceType"] for one in found] == [item["type"]] * item["count"]
        return found

    async def left(self) -> dict[str, int]:
        """Return how many records there are of each bucket that has any."""
        found = {b: len(await self.world.store.scan(b)) for b in BUCKETS}
        return {bucket: count for bucket, count in found.items() if count}

    async def at(self, answer: httpx.Response) -> Work:
        """Return a process's turn at a request that was begun, as its record is now."""
        job_id = answer.headers["Content-Location"].rpartition("/")[2]
        raw = await self.world.store.get(record.JOB, job_id)
        assert raw is not None
        return Work(
            self.jobs, self.world.store, self.world.clock, job_id, raw,
            record.decode_job(raw), lambda: False,
        )  # fmt: skip


@pytest.fixture
async def server(each_store: Store) -> AsyncIterator[Server]:
    """A server over an empty store, once of each kind.

    Its clock is ahead: what has ended by the machine's own, the engines sweep away.
    """
    made = Server(World(store=each_store, clock=Clock(datetime(2040, 1, 1, tzinfo=UTC))))
    yield made
    for client in made.clients:
        await client.aclose()


async def observed(server: Server, count: int) -> list[str]:
    """Put Ana and so many Observations of hers; return their ids."""
    await server.world.put(patient() | {"id": "ana"})
    ids = [f"o{number:03d}" for number in range(count)]
    for identity in ids:
        await server.world.put(observation("Patient/ana") | {"id": identity})
    return ids


def ids_of(resources: list[dict[str, Any]]) -> list[str]:
    """Return their ids, sorted."""
    return sorted(one["id"] for one in resources)


# --- what can be asynchronous ----------------------------------------------------------------


async def test_a_search_is_accepted_then_done(server: Server) -> None:
    """202 and where to ask; 202 with progress while it is open; then R4's JSON, and NDJSON."""
    ids = await observed(server, 3)
    http = server.client()

    begun = await http.get("Observation?subject=Patient/ana", headers=ASYNC)

    assert (begun.status_code, begun.content) == (202, b"")
    assert begun.headers["Preference-Applied"] == "respond-async"
    place = begun.headers["Content-Location"]
    assert place.startswith(f"{BASE}/$async-status/")
    assert server.woken == 1
    waiting = await http.get(place)
    assert waiting.status_code == 202
    assert waiting.headers["X-Progress"] == "waiting"
    assert waiting.headers["Retry-After"] == "1"
    await server.work()
    done = await http.get(place, headers={"Accept": "application/json"})
    assert done.headers["Content-Type"] == "application/json"
    assert done.headers["Expires"] == "Sun, 01 Jan 2040 12:00:00 GMT"
    manifest = done.json()
    assert manifest | {"output": []} == {
        "transactionTime": "2040-01-01T07:00:00.000+07:00",
        "request": f"{BASE}/Observation?subject=Patient/ana",
        "requiresAccessToken": True,
        "output": [],
        "error": [],
    }
    (item,) = manifest["output"]
    assert (item["type"], item["count"]) == ("Observation", 3)
    assert ids_of(await server.lines(item)) == ids


@pytest.mark.parametrize(
    ("method", "url", "form", "names"),
    [
        ("GET", "Observation", None, ["Observation/o000", "Observation/o001"]),
        ("POST", "Observation/_search", {"_id": "o001"}, ["Observation/o001"]),
        ("GET", "?_type=Patient,Observation", None,
         ["Observation/o000", "Observation/o001", "Patient/ana"]),
        ("POST", "_search", {"_type": "Patient"}, ["Patient/ana"]),
        ("GET", "Patient/ana/Observation", None, ["Observation/o000", "Observation/o001"]),
        ("POST", "Patient/ana/*/_search", {"_type": "Observation"},
         ["Observation/o000", "Observation/o001"]),
        ("GET", "Observation?_id=o000&_include=Observation:subject", None,
         ["Observation/o000", "Patient/ana"]),
        ("GET", "Observation?_id=none", None, []),
    ],
    ids=["type", "post", "system", "system-post", "compartment", "compartment-post", "include",
         "none"],
)  # fmt: skip
async def test_every_form_of_search(
    server: Server, method: str, url: str, form: dict[str, str] | None, names: list[str]
) -> None:
    """A file for each type, with what the search finds."""
    await observed(server, 2)

    manifest = await server.done(
        await server.client().request(method, url, data=form, headers=ASYNC)
    )

    found = [one for item in manifest["output"] for one in await server.lines(item)]
    assert sorted(f"{one['resourceType']}/{one['id']}" for one in found) == names
    types = [item["type"] for item in manifest["output"]]
    assert len(types) == len(set(types))


@pytest.mark.parametrize(
    ("url", "versions"),
    [("Observation/o000/_history", 2), ("Observation/_history", 3), ("_history?_count=3", 4)],
)
async def test_a_history_is_bundles(
    server: Server, monkeypatch: pytest.MonkeyPatch, url: str, versions: int
) -> None:
    """A history's pages are Bundles of type history, without links to one another."""
    monkeypatch.setattr(pages, "PAGE", 1 if "_count" in url else 500)
    await observed(server, 2)
    await server.world.put(observation("Patient/ana", status="amended") | {"id": "o000"})

    manifest = await server.done(await server.client().get(url, headers=ASYNC))

    (item,) = manifest["output"]
    found = await server.lines(item)
    assert {one["type"] for one in found} == {"history"}
    assert sum(len(one["entry"]) for one in found) == versions
    assert len(found) == (versions if "_count" in url else 1)
    assert {link["relation"] for one in found for link in one["link"]} == {"self"}


async def test_a_count_is_a_bundle(server: Server) -> None:
    """A search that shows no resources gives how many there are."""
    await observed(server, 3)

    manifest = await server.done(
        await server.client().get("Observation?_summary=count", headers=ASYNC)
    )

    (item,) = manifest["output"]
    assert [one["total"] for one in await server.lines(item)] == [3]


REQUESTS: Final[dict[str, tuple[str, str, dict[str, Any] | None, str]]] = {
    "$health-book": ("GET", "Patient/mother/$health-book", None, "Bundle"),
    "$access-history": ("GET", "Patient/mother/$access-history", None, "Bundle"),
    "$everything": ("GET", "Patient/mother/$everything?_count=2", None, "Bundle"),
    "$validate": ("POST", "Patient/$validate", patient(), "OperationOutcome"),
    "$check": ("POST", f"Claim/{people.claim()['id']}/$check", {"resourceType": "Parameters"},
               "ClaimResponse"),
    "$submit": ("POST", "CoverageEligibilityRequest/$submit", None,
                "CoverageEligibilityResponse"),
}  # fmt: skip


@pytest.mark.parametrize("code", [row.code for row in OPERATIONS if row.code in REQUESTS])
async def test_every_operation(server: Server, monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """What it answers is a line of a file of that type: the same as at once."""
    monkeypatch.setattr(pages, "PAGE", 2)
    for one in (*people.people(), *people.visit(), people.claim()):
        await server.world.put(one)
    method, url, body, kind = REQUESTS[code]
    if code == "$submit":
        body = eligibility()
    http = server.client()

    manifest = await server.done(
        await http.request(method, url, json=body, headers=ASYNC)
        if body
        else await http.request(method, url, headers=ASYNC)
    )

    (item,) = manifest["output"]
    assert (item["type"], manifest["error"]) == (kind, [])
    found = await server.lines(item)
    if code == "$everything":
        assert len(found) > 1
        at_once = (await http.get("Patient/mother/$everything?_count=1000")).json()
        names = [e["fullUrl"] for one in found for e in one["entry"]]
        assert sorted(names) == sorted(e["fullUrl"] for e in at_once["entry"])
    elif code == "$check":
        assert (await http.get(f"ClaimResponse/{found[0]['id']}")).json() == found[0]
    elif code == "$submit":
        stored = (await http.get("CoverageEligibilityResponse")).json()
        assert [e["resource"] for e in stored["entry"]] == found


def test_every_operation_is_tried() -> None:
    """A new row of the table has a request here."""
    assert set(REQUESTS) >= {row.code for row in OPERATIONS}


def eligibility() -> dict[str, Any]:
    """Return a question about a card that nobody has."""
    return {
        "resourceType": "CoverageEligibilityRequest",
        "status": "active",
        "purpose": ["validation"],
        "patient": {"reference": "Patient/mother"},
        "created": "2024-01-01",
        "insurer": {"display": "BHXH"},
        "insurance": [{"coverage": {"display": "none"}}],
    }


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [("GET", "Patient/ana", 200), ("GET", "Patient/ana/_history/1", 200),
     ("POST", "Patient", 201), ("PUT", "Patient/ana", 200), ("DELETE", "Patient/bo", 204),
     ("GET", "metadata", 200)],
)  # fmt: skip
async def test_what_is_short_is_answered_at_once(
    server: Server, method: str, url: str, status: int
) -> None:
    """Read, vread and single writes ignore the preference."""
    await observed(server, 0)
    body = {"POST": patient("2"), "PUT": patient("1", active=True) | {"id": "ana"}}.get(method)

    answer = (
        await server.client().request(method, url, json=body, headers=ASYNC)
        if body
        else await server.client().request(method, url, headers=ASYNC)
    )

    assert answer.status_code == status
    assert await server.left() == {}


# --- transactions and batches ----------------------------------------------------------------


def two_creates(kind: str = "transaction") -> dict[str, Any]:
    """Return a Bundle that makes a Patient and an Observation of another, and reads one."""
    return bundle(
        entry("POST", "Patient", patient("9")),
        entry("POST", "Observation", observation("Patient/ana")),
        entry("GET", "Patient/ana"),
        kind=kind,
    )


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_a_bundle_is_answered_as_at_once(server: Server, kind: str) -> None:
    """One Bundle, the entries in their order; each written once, with its AuditEvent."""
    await observed(server, 0)
    asked = two_creates(kind)
    asked["entry"].append(entry("HEAD", "Patient/ana"))

    manifest = await server.done(await server.client().post("", json=asked, headers=ASYNC))

    (item,) = manifest["output"]
    ((answer),) = await server.lines(item)
    assert answer["type"] == f"{kind}-response"
    statuses = [one["response"]["status"][:3] for one in answer["entry"]]
    assert statuses == ["201", "201", "200", "200"]
    assert answer["entry"][2]["resource"]["id"] == "ana"
    assert "resource" not in answer["entry"][3], "HEAD shows nothing"
    assert manifest["request"] == BASE
    assert await server.world.store.count("Observation") == 1
    of_ana = [record_of(one.body) for one in await server.world.store.audit(patient="ana")]
    written = [one for one in of_ana if one[0] in {"transaction", "create"}]
    assert written == [("transaction" if kind == "transaction" else "create", 200)]


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_the_comments_of_xml_are_kept_until_it_is_done(server: Server, kind: str) -> None:
    """Each goes with what its entry makes; the results are JSON, which has none."""
    held = '<resource><Patient><!--its own--><id value="x"/></Patient></resource>'
    request = '<request><method value="PUT"/><url value="Patient/x"/></request>'
    text = f'<type value="{kind}"/><entry>{held}{request}</entry>'
    body = f'<Bundle xmlns="http://hl7.org/fhir">{text}</Bundle>'
    xml = {"Content-Type": "application/fhir+xml", "Accept": "application/fhir+xml"}

    manifest = await server.done(await server.client().post("", content=body, headers=ASYNC | xml))

    assert len(manifest["output"]) == 1
    read = await server.client().get("Patient/x", headers=xml)
    assert "<!--its own-->" in read.text


def record_of(body: bytes) -> tuple[str, int]:
    """Return the interaction and the status that an audit record tells."""
    facts = codec.loads(body)
    return facts[0], facts[4]


@pytest.mark.parametrize("prefer", ["minimal", "representation", "OperationOutcome"])
@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_preferences_hold_together(server: Server, kind: str, prefer: str) -> None:
    """respond-async beside return: the entries say what was preferred."""
    headers = {"Prefer": f"respond-async, return={prefer}"}

    manifest = await server.done(
        await server.client().post(
            "", json=bundle(entry("POST", "Patient", patient()), kind=kind), headers=headers
        )
    )

    ((answer),) = await server.lines(manifest["output"][0])
    (made,) = answer["entry"]
    assert ("resource" in made) == (prefer == "representation")
    assert ("outcome" in made["response"]) == (prefer == "OperationOutcome")


async def test_strict_handling_is_refused_at_once(server: Server) -> None:
    """What is wrong with the parameters is said before anything is begun."""
    http = server.client()
    strict = {"Prefer": "respond-async; handling=strict"}

    refused = await http.get("Patient?nonsense=1", headers=strict)
    lenient = await http.get("Patient?nonsense=1", headers=ASYNC)
    wrong = [
        await http.get("Patient?birthdate=x", headers=ASYNC),
        await http.get("Patient/_history?_since=x", headers=ASYNC),
        await http.post("", json={"resourceType": "Patient"}, headers=ASYNC),
        await http.get("Patient/ana/$nothing", headers=ASYNC),
    ]

    explained = await http.get("Patient?__explain=true", headers=strict)
    told = await server.done(explained)

    assert (refused.status_code, lenient.status_code) == (400, 202)
    assert [item["type"] for item in told["error"]] == ["OperationOutcome"]
    assert [one.status_code for one in wrong] == [400, 400, 400, 404]


async def test_what_is_never_granted_is_refused_at_once(server: Server) -> None:
    """403, and nothing is begun."""
    http = server.client("ana")

    answers = [
        await http.get("Group", headers=ASYNC),
        await http.get("?_type=Group,Patient", headers=ASYNC),
        await http.get("_history", headers=ASYNC),
        await http.post("Claim/1/$check", headers=ASYNC),
    ]

    assert [one.status_code for one in answers] == [403, 403, 403, 403]
    assert await server.left() == {}


async def test_what_is_refused_later_is_in_error(server: Server) -> None:
    """A transaction that cannot be done ends with its OperationOutcome, and did nothing."""
    refused = bundle(
        entry("POST", "Patient", patient()), entry("PUT", "Patient/x", patient() | {"id": "y"})
    )

    manifest = await server.done(await server.client().post("", json=refused, headers=ASYNC))

    assert manifest["output"] == []
    ((outcome),) = await server.lines(manifest["error"][0])
    assert outcome["issue"][0]["severity"] == "error"
    assert await server.world.store.count("Patient") == 0


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_a_worker_that_dies_after_its_commit_is_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What it wrote is not written again, and is answered as it would have been."""
    await observed(server, 0)
    begun = await server.client().post(
        "", json=two_creates(kind), headers={"Prefer": "respond-async, return=representation"}
    )

    deaths = 0
    while deaths < (2 if kind == "batch" else 1):
        with monkeypatch.context() as patched:
            patched.setattr(bundles, "response_of", _die)
            patched.setattr(bundles, "_answered", _die)
            with pytest.raises(Died):
                await server.worker.turn()
        deaths += 1
        server.world.clock.move(seconds=(SECONDS << deaths) + SKEW + 1)

    manifest = await server.done(begun)
    ((answer),) = await server.lines(manifest["output"][0])
    assert [one["response"]["status"][:3] for one in answer["entry"]] == ["201", "201", "200"]
    assert answer["entry"][0]["resource"]["identifier"][0]["value"] == "9"
    assert answer["entry"][0]["response"]["location"].endswith("/_history/1")
    assert await server.world.store.count("Patient") == 2
    assert await server.world.store.count("Observation") == 1
    of_ana = [record_of(one.body) for one in await server.world.store.audit(patient="ana")]
    assert len([one for one in of_ana if one[0] in {"transaction", "create"}]) == 1


async def test_an_operation_that_writes_does_so_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`$submit` stores question and answer: whoever dies after that is followed by the answer."""
    begun = await server.client().post(
        "CoverageEligibilityRequest/$submit", json=eligibility(), headers=ASYNC
    )
    with monkeypatch.context() as patched:
        patched.setattr(pages, "_add", _die)
        with pytest.raises(Died):
            await server.worker.turn()
    server.world.clock.move(seconds=2 * SECONDS + SKEW + 1)

    manifest = await server.done(begun)

    (found,) = await server.lines(manifest["output"][0])
    stored = (await server.client().get("CoverageEligibilityResponse")).json()["entry"]
    assert [one["resource"] for one in stored] == [found]
    assert await server.world.store.count("CoverageEligibilityRequest") == 1


async def test_an_operation_in_a_batch_writes_once(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an entry too."""
    asked = bundle(entry("POST", "CoverageEligibilityRequest/$submit", eligibility()), kind="batch")
    begun = await server.client().post("", json=asked, headers=ASYNC)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "response_of", _die)
        with pytest.raises(Died):
            await server.worker.turn()
    server.world.clock.move(seconds=2 * SECONDS + SKEW + 1)

    manifest = await server.done(begun)

    ((answer),) = await server.lines(manifest["output"][0])
    assert answer["entry"][0]["resource"]["resourceType"] == "CoverageEligibilityResponse"
    assert await server.world.store.count("CoverageEligibilityRequest") == 1


def _die(*_arguments: object, **_named: object) -> Any:
    raise Died


@pytest.mark.parametrize("kind", ["transaction", "batch"])
async def test_two_at_the_same_work_do_it_once(server: Server, kind: str) -> None:
    """One that slept past its lease, and the one that followed it, commit once together."""
    await observed(server, 0)
    begun = await server.client().post("", json=two_creates(kind), headers=ASYNC)
    await (await server.at(begun)).begin()
    turns = [take_turn(await server.at(begun)) for _ in range(3)]

    results = await asyncio.gather(*turns, return_exceptions=True)

    assert all(one is None or isinstance(one, Superseded) for one in results), results
    await server.done(begun)
    assert await server.world.store.count("Patient") == 2
    assert await server.world.store.count("Observation") == 1


# --- pages -----------------------------------------------------------------------------------


async def test_a_search_gathers_all_pages(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over many pages and turns each resource comes once, in the order that was asked for."""
    ids = await observed(server, 23)
    monkeypatch.setattr(pages, "PAGE", 4)
    begun = await server.client().get("Observation?_sort=_id&_count=2", headers=ASYNC)

    assert await server.worker.turn(0)
    status = await server.client().get(begun.headers["Content-Location"])
    assert status.headers["X-Progress"] == "1 pages, 4 resources"
    while await server.worker.turn(0):
        pass

    manifest = await server.done(begun)
    assert len(manifest["output"]) == 6
    lines = [one for item in manifest["output"] for one in await server.lines(item)]
    assert [one["id"] for one in lines] == ids


async def test_one_that_dies_between_pages_is_followed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept is not gathered again, and nothing is left out."""
    ids = await observed(server, 10)
    monkeypatch.setattr(pages, "PAGE", 3)
    begun = await server.client().get("Observation", headers=ASYNC)
    assert await server.worker.turn(0)
    with monkeypatch.context() as patched:
        patched.setattr(pages, "_add", _die)
        with pytest.raises(Died):
            await server.worker.turn(0)

    assert not await server.worker.turn(0), "its lease has not ended"
    server.world.clock.move(seconds=2 * SECONDS + SKEW + 1)

    manifest = await server.done(begun)
    lines = [one for item in manifest["output"] for one in await server.lines(item)]
    assert ids_of(lines) == ids


async def test_large_jobs_keep_no_small_ones_waiting(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Turns go round: a job of one page is done while one of many goes on."""
    await observed(server, 12)
    monkeypatch.setattr(pages, "PAGE", 2)
    large = await server.client().get("Observation", headers=ASYNC)
    small = await server.client().get("Patient", headers=ASYNC)

    for _ in range(2):
        assert await server.worker.turn(0)

    http = server.client()
    assert (await http.get(large.headers["Content-Location"])).status_code == 202
    assert (await http.get(small.headers["Content-Location"])).status_code == 200


# --- who may see it --------------------------------------------------------------------------


async def test_another_sees_nothing(server: Server) -> None:
    """To another person, and another client, it is as one that never was."""
    await observed(server, 1)
    begun = await server.client("ana").get("Observation", headers=ASYNC)
    (item,) = (await server.done(begun, "ana"))["output"]
    assert ids_of(await server.lines(item, "ana")) == ["o000"]
    place = begun.headers["Content-Location"]
    job_id = place.rpartition("/")[2]

    for caller in ("bo", "system", "hospital"):
        http = server.client(caller)
        for method, url in (("GET", place), ("GET", item["url"]), ("DELETE", place)):
            answer = await http.request(method, url)
            none = await http.request(method, url.replace(job_id, "none"))
            assert (answer.status_code, answer.content) == (404, none.content)
            assert answer.json()["resourceType"] == "OperationOutcome"
    assert (await server.client("ana").get(place)).status_code == 200


async def test_results_hold_what_the_policy_shows(server: Server) -> None:
    """A citizen's search finds the own book, not the others'."""
    await observed(server, 1)
    await server.world.put(patient("2") | {"id": "bo"})
    await server.world.put(observation("Patient/bo") | {"id": "of-bo"})

    manifest = await server.done(await server.client("bo").get("Observation", headers=ASYNC), "bo")

    assert ids_of(await server.lines(manifest["output"][0], "bo")) == ["of-bo"]


async def test_what_is_hidden_midway_is_not_in_later_pages(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each page is asked for under the policy as it is then."""
    await server.world.put(patient() | {"id": "ana"})
    ids = [f"o{number:03d}" for number in range(6)]
    for identity in ids:
        await server.world.put(observation("Patient/ana") | {"id": identity})
        await tag(server, identity, add=True)
    monkeypatch.setattr(pages, "PAGE", 2)
    begun = await server.client("hospital").get("Observation?_sort=_id", headers=ASYNC)
    assert await server.worker.turn(0)
    for identity in ids[2:]:
        await tag(server, identity, add=False)

    manifest = await server.done(begun, "hospital")

    lines = [one for i in manifest["output"] for one in await server.lines(i, "hospital")]
    assert ids_of(lines) == ids[:2]


async def tag(server: Server, identity: str, *, add: bool) -> None:
    """Show an Observation to the hospital, or hide it."""
    tags = frozenset({FACILITY.tag})
    one = Tag("Observation", identity, *((tags, frozenset()) if add else (frozenset(), tags)))
    await server.world.store.commit(begin.Batch(tags=(one,)))


async def test_a_right_that_is_taken_back_ends_it(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the scope the next page is refused, and so is what was gathered before."""
    await observed(server, 4)
    monkeypatch.setattr(pages, "PAGE", 2)
    begun = await server.client().get("Observation", headers=ASYNC)
    assert await server.worker.turn(0)
    server.callers["system"] = replace(SYSTEM, scopes=("system/Patient.rs",))

    await server.work()

    status = await server.client().get(begun.headers["Content-Location"])
    assert status.status_code == 404
    server.callers["system"] = SYSTEM
    manifest = await server.done(begun)
    assert len(manifest["error"]) == 1
    assert sum(item["count"] for item in manifest["output"]) == 2


async def test_results_end_with_what_they_were_begun_with(server: Server) -> None:
    """With the token revoked, another one of the same client finds nothing, and nothing is left."""
    await observed(server, 1)
    begun = await server.client().get("Observation", headers=ASYNC)
    (item,) = (await server.done(begun))["output"]
    other = server.client("system#2")
    assert (await other.get(item["url"])).status_code == 200
    server.revoked.add("system")

    assert (await other.get(item["url"])).status_code == 404

    server.revoked.clear()
    assert (await other.get(begun.headers["Content-Location"])).status_code == 404
    assert await server.left() == {}


async def test_a_token_of_fewer_scopes_finds_nothing(server: Server) -> None:
    """Of the same client: what was gathered under wide scopes is not given to narrow ones."""
    await observed(server, 1)
    server.callers["system"] = replace(SYSTEM, scopes=("system/Observation.rs", "openid"))
    begun = await server.client().get("Observation", headers=ASYNC)
    (item,) = (await server.done(begun))["output"]

    for scopes, status in (
        (("system/Observation.r",), 404),
        (("system/Patient.rs",), 404),
        (("system/*.cruds",), 200),
        (("system/Observation.rs",), 200),
    ):
        server.callers["system"] = replace(SYSTEM, scopes=scopes)
        for url in (begun.headers["Content-Location"], item["url"]):
            assert (await server.client().get(url)).status_code == status, scopes


async def test_a_token_that_is_revoked_ends_it(server: Server) -> None:
    """Nothing is done for it any more, and nothing of it is left."""
    await observed(server, 1)
    begun = await server.client().post("", json=two_creates(), headers=ASYNC)
    search = await server.client().get("Observation", headers=ASYNC)
    server.revoked.add("system")

    await server.work()

    server.revoked.clear()
    for one in (begun, search):
        assert (await server.client().get(one.headers["Content-Location"])).status_code == 404
    assert await server.world.store.count("Patient") == 1
    assert await server.left() == {}


async def test_masks_hold_in_results(server: Server) -> None:
    """A payer's file is what its search shows, masked; a facility's is without others' numbers."""
    for one in (*people.people(), *people.visit(), people.claim()):
        await server.world.put(one)
    server.callers["payer"] = Principal(
        kind="payer", client_id="payer", code="BHXH", scopes=("system/*.rs",)
    )
    http = server.client("payer")

    begun = await http.get("Patient", headers=ASYNC)
    manifest = await server.done(begun, "payer")

    found = await server.lines(manifest["output"][0], "payer")
    at_once = (await http.get("Patient")).json()
    assert found == [one["resource"] for one in at_once["entry"]]
    assert "address" not in found[0]
    assert "address" in (await server.client().get(f"Patient/{found[0]['id']}")).json()


async def test_what_was_committed_and_may_not_be_shown_is_said(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the right ends between commit and answer, the error tells that it was committed."""
    await observed(server, 0)
    begun = await server.client().post("", json=two_creates(), headers=ASYNC)
    with monkeypatch.context() as patched:
        patched.setattr(bundles, "_answered", _die)
        with pytest.raises(Died):
            await server.worker.turn()
    server.world.clock.move(seconds=2 * SECONDS + SKEW + 1)
    server.callers["system"] = replace(SYSTEM, scopes=())

    await server.work()

    server.callers["system"] = SYSTEM
    manifest = await server.done(begun)
    ((outcome),) = await server.lines(manifest["error"][0])
    assert [one["code"] for one in outcome["issue"]] == ["incomplete", "forbidden"]
    assert manifest["output"] == []
    assert await server.world.store.count("Patient") == 2


async def test_a_question_for_headers_begins_nothing(server: Server) -> None:
    """HEAD is safe: it is answered at once."""
    answer = await server.client().head("Patient", headers=ASYNC)

    assert answer.status_code == 200
    assert await server.left() == {}


# --- its end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["Observation", "Observation/_history"])
async def test_it_is_removed(server: Server, url: str) -> None:
    """DELETE is 202; afterwards it is 404 with an OperationOutcome, and nothing is left."""
    await observed(server, 3)
    http = server.client()
    begun = await http.get(url, headers=ASYNC)
    (item,) = (await server.done(begun))["output"]

    place = begun.headers["Content-Location"]
    assert (await http.delete(place)).status_code == 202

    for method, at in (("GET", place), ("DELETE", place), ("GET", item["url"])):
        answer = await http.request(method, at)
        assert answer.status_code == 404
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert await server.left() == {}


async def test_it_is_cancelled_before_it_is_done(server: Server) -> None:
    """What is at work on it commits nothing, and it is not begun again."""
    await observed(server, 0)
    begun = await server.client().post("", json=two_creates(), headers=ASYNC)
    at_work = await server.at(begun)

    assert (await server.client().delete(begun.headers["Content-Location"])).status_code == 202

    with pytest.raises(Superseded):
        await take_turn(at_work)
    await server.work()
    assert await server.world.store.count("Patient") == 1
    assert await server.left() == {}


async def test_it_is_cancelled_while_it_is_done(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch goes no further than the entry at hand, and what it had answered is gone."""
    await observed(server, 0)
    entries = [entry("POST", "Patient", patient(f"c{number}")) for number in range(3)]
    begun = await server.client().post("", json=bundle(*entries, kind="batch"), headers=ASYNC)
    assert await server.worker.turn(0)
    status = await server.client().get(begun.headers["Content-Location"])
    assert status.headers["X-Progress"] == "1 of 3 entries"
    assert (await server.client().delete(begun.headers["Content-Location"])).status_code == 202

    await server.work()

    assert await server.world.store.count("Patient") == 2
    assert await server.left() == {}


async def test_it_ends_by_itself(server: Server) -> None:
    """After its Expires nothing of it is shown."""
    await observed(server, 1)
    begun = await server.client().get("Observation", headers=ASYNC)
    (item,) = (await server.done(begun))["output"]
    status = await server.client().get(begun.headers["Content-Location"])
    expires = parsedate_to_datetime(status.headers["Expires"])
    assert (
        parsedate_to_datetime((await server.client().get(item["url"])).headers["Expires"])
        == expires
    )

    server.world.clock.at = expires

    for url in (begun.headers["Content-Location"], item["url"]):
        assert (await server.client().get(url)).status_code == 404


async def test_every_record_of_it_ends(server: Server) -> None:
    """Whatever a job leaves is swept away after its end, done or not."""
    await observed(server, 1)
    await server.client().post("", json=two_creates("batch"), headers=ASYNC)
    await server.done(await server.client().get("Observation", headers=ASYNC))
    await server.client().post("", json=two_creates(), headers=ASYNC)
    after = int(server.world.clock.at.timestamp() * 1_000_000) + record.ENDS

    for bucket in BUCKETS:
        for key, _ in await server.world.store.scan(bucket):
            assert await server.world.store.get(bucket, key, now=after) is None, bucket


async def test_one_that_takes_too_long_ends(server: Server) -> None:
    """It says so, and its slot is free."""
    begun = await server.client().get("Observation", headers=ASYNC)
    server.world.clock.move(hours=7)

    manifest = await server.done(begun)

    ((outcome),) = await server.lines(manifest["error"][0])
    assert outcome["issue"][0]["code"] == "too-costly"


async def test_one_that_fails_again_and_again_says_so(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of the server's own is tried again, then 500 with an OperationOutcome."""

    async def fault(_work: Work) -> None:  # noqa: RUF029 - a Kind
        raise ZeroDivisionError

    begun = await server.client().get("Observation", headers=ASYNC)
    monkeypatch.setattr("fhir_server.interactions.jobs.kinds.KINDS", dict(KINDS, search=fault))
    for _ in range(4):
        assert await server.worker.turn()
        server.world.clock.move(minutes=20)

    status = await server.client().get(begun.headers["Content-Location"])
    assert status.status_code == 500
    assert status.json()["issue"][0]["code"] == "exception"
    assert not await server.worker.turn()


# --- bounds ----------------------------------------------------------------------------------


async def test_so_many_may_be_open(server: Server) -> None:
    """The next is 429 with Retry-After; another's are not counted; what ends makes room."""
    http = server.client()
    for _ in range(record.MOST_OPEN):
        assert (await http.get("Patient", headers=ASYNC)).status_code == 202

    refused = await http.get("Patient", headers=ASYNC)

    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert (await server.client("ana").get("Patient", headers=ASYNC)).status_code == 202
    await server.work()
    assert (await http.get("Patient", headers=ASYNC)).status_code == 202


async def test_so_many_are_begun_at_once(server: Server) -> None:
    """Of more at the same moment, in any processes, no more than these are open."""
    http = server.client()

    answers = await asyncio.gather(*(http.get("Patient", headers=ASYNC) for _ in range(25)))

    statuses = sorted(one.status_code for one in answers)
    assert statuses == [202] * record.MOST_OPEN + [429] * 15


@pytest.mark.parametrize(("name", "most"), [("MOST_KEPT", 1), ("MOST_KEPT_BYTES", 1)])
async def test_so_much_is_kept(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, most: int
) -> None:
    """Who has that much must delete some first."""
    await observed(server, 1)
    http = server.client()
    begun = await http.get("Observation", headers=ASYNC)
    await server.done(begun)
    monkeypatch.setattr(begin, name, most)

    assert (await http.get("Observation", headers=ASYNC)).status_code == 429
    await http.delete(begun.headers["Content-Location"])
    assert (await http.get("Observation", headers=ASYNC)).status_code == 202


async def test_so_many_are_begun_in_a_minute(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next is 429, until the minute is over."""
    monkeypatch.setattr(begin, "BEGUN", replace(record.BEGUN, most=2))
    http = server.client()
    for _ in range(2):
        await http.get("Patient", headers=ASYNC)

    assert (await http.get("Patient", headers=ASYNC)).status_code == 429
    server.world.clock.move(minutes=1)
    assert (await http.get("Patient", headers=ASYNC)).status_code == 202


async def test_so_much_is_given(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was kept stays; the error says that there is more."""
    await observed(server, 9)
    monkeypatch.setattr(pages, "PAGE", 2)
    monkeypatch.setattr(work, "MOST_BYTES", 1000)
    begun = await server.client().get("Observation", headers=ASYNC)
    while await server.worker.turn(0):
        pass

    manifest = await server.done(begun)

    assert 0 < sum(item["count"] for item in manifest["output"]) < 9
    ((outcome),) = await server.lines(manifest["error"][0])
    assert outcome["issue"][0]["code"] == "too-costly"


# --- AuditEvents -----------------------------------------------------------------------------


async def test_who_fetches_is_audited_with_the_patients(server: Server) -> None:
    """The beginning, each question and each fetch leave one; the fetch names whom it shows."""
    await observed(server, 2)
    before = len(await server.world.store.audit(patient="ana"))
    begun = await server.client().get("Observation", headers=ASYNC)
    (item,) = (await server.done(begun))["output"]
    assert len(await server.world.store.audit(patient="ana")) == before

    await server.lines(item)
    await server.client().delete(begun.headers["Content-Location"])

    shown = await server.world.store.audit(patient="ana")
    assert record_of(shown[0].body) == ("job-output", 200)
    assert len(shown) == before + 1
    last = [record_of(one.body) for one in await server.world.store.audit(limit=4)]
    assert last == [
        ("job-cancel", 202), ("job-output", 200), ("job-status", 200), ("search-type", 202)
    ]  # fmt: skip


async def test_a_file_of_many_patients_leaves_several(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each AuditEvent names as many as one may; together they name all whom the file shows."""
    names = [f"p{number}" for number in range(5)]
    for name in names:
        await server.world.put(patient(name) | {"id": name})
    begun = await server.client().get("Patient", headers=ASYNC)
    (item,) = (await server.done(begun))["output"]
    monkeypatch.setattr(audit, "MOST_PATIENTS", 2)

    await server.lines(item)

    events = await server.world.store.audit(limit=3)
    assert {record_of(one.body) for one in events} == {("job-output", 200)}
    assert sorted(name for one in events for name in one.patients) == names


async def test_a_bundle_may_not_ask_after_one(server: Server) -> None:
    """What was begun is not read, nor cancelled, by an entry of a Bundle."""
    begun = await server.client().get("Observation", headers=ASYNC)
    url = begun.headers["Content-Location"]

    answer = await server.client().post(
        "", json=bundle(entry("GET", url), entry("DELETE", url), kind="batch")
    )

    assert [one["response"]["status"][:3] for one in answer.json()["entry"]] == ["400", "400"]
    assert (await server.client().get(url)).status_code == 202


async def test_the_statement_tells_of_it(server: Server) -> None:
    """CapabilityStatement.rest says that there are asynchronous requests, and where it is read."""
    (rest,) = (await server.client().get("metadata")).json()["rest"]

    assert "respond-async" in rest["documentation"]
