"""What the server sends is valid: JSON by the official fhir.schema.json, XML by the XSD."""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import httpx2 as httpx
import pytest
import pytest_asyncio

from fhir_server.app import Composition, Serving
from fhir_server.demo_dossiers import CASES, envelope, visit
from fhir_server.model import codec
from fhir_server.prepare import prepare
from fhir_server.serve import build_app
from fhir_server.settings import Settings
from fhir_server.stores import open_store
from tests.conformance.meaning import read
from tests.conformance.official import not_valid
from tests.conformance.schema import Schemas
from tests.conformance.test_json_robustness import naughty, refused_strings, strings
from tests.data import ExamplesOf, shared_data
from tests.people import MOTHER, MOTHER_PERSON, S, now
from tests.server import Server
from tests.sizes import TIMES

pytestmark = pytest.mark.data
in_one_loop = pytest.mark.asyncio(loop_scope="module")

COUNTS = {"json": 720, "xml": 875}
FORMS = {"json": "application/fhir+json", "xml": "application/fhir+xml"}

PARTS = (
    {"_summary": "true"},
    {"_summary": "text"},
    {"_summary": "data"},
    {"_elements": "id"},
)

Resource = dict[str, Any]


@pytest.fixture(scope="module")
def schemas(tmp_path_factory: pytest.TempPathFactory) -> Schemas:
    """The official schemas."""
    return Schemas.read(shared_data(), tmp_path_factory.mktemp("xsd"))


@cache
def rows(kind: str) -> tuple[dict[str, Any], ...]:
    """Return the rows of `not_schema.toml` of a kind."""
    text = Path(__file__).with_name("not_schema.toml").read_text(encoding="utf-8")
    found: tuple[dict[str, Any], ...] = tuple(tomllib.loads(text)[kind])
    assert all(row["reason"] for row in found)
    return found


def listed(kind: str) -> dict[str, list[str]]:
    """Return where an example is not valid as it is sent."""
    return {row["file"]: row["at"] for row in rows(kind)}


def sampled(kind: str, examples_of: ExamplesOf) -> list[tuple[str, bytes]]:
    """Return each twelfth example, all in `make test-long`, and those that are listed."""
    files = list(examples_of(kind))
    assert len(files) == COUNTS[kind]
    step = 1 if TIMES > 1 else 12
    some = dict(files[::step]) | {one: body for one, body in files if one in listed(kind)}
    return sorted((one, body) for one, body in some.items() if one not in not_valid(kind))


def test_the_schemas_say_no(schemas: Schemas) -> None:
    """An unknown element is found at its place, in a resource and in those in it; XML too."""
    bad = {"resourceType": "Patient", "x": 1}
    within = {"resourceType": "Basic", "code": {"text": "x"}, "contained": [bad]}
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": [{"resource": within}]}

    assert schemas.of_json(codec.dumps(bad)) == ["Patient"]
    assert schemas.of_json(codec.dumps(bundle)) == [
        "Bundle.entry[0].resource(Basic).contained[0](Patient)"
    ]
    assert schemas.of_xml(b'<Patient xmlns="http://hl7.org/fhir"><x value="1"/></Patient>')
    assert schemas.of_xml(b'<Patient xmlns="http://hl7.org/fhir"><active value="no"/></Patient>')


def test_naughty_strings_are_valid(schemas: Schemas) -> None:
    """All that is kept of them passes the XSD, and the JSON schema but for those listed."""
    said_no = set()
    for number, text in enumerate(strings()):
        if text not in refused_strings():
            one = naughty(number, text)
            assert schemas.of_xml(codec.to_xml(one)) == [], text
            if schemas.of_json(codec.dumps(one)):
                said_no.add(text)

    assert said_no == {text for row in rows("string") for text in row["texts"]}


@dataclass(slots=True)
class Demo:
    """The whole server in this process, over a real store, with the demo's people and dossiers.

    Attributes:
        types: The resource types of all that was looked at.
    """

    app: Any
    composition: Composition
    schemas: Schemas
    types: set[str] = field(default_factory=set)
    clients: dict[str, httpx.AsyncClient] = field(default_factory=dict)

    async def client(self, name: str) -> httpx.AsyncClient:
        """Return what calls as a client of the demo, as a citizen by number, or as nobody."""
        if name not in self.clients:
            headers = {}
            if name:
                who = (None, name, None) if name.isdecimal() else (name, None, None)
                headers["Authorization"] = f"Bearer {await self.composition.token(*who)}"
            self.clients[name] = httpx.AsyncClient(
                transport=httpx.ASGITransport(self.app),
                base_url=f"{self.composition.fhir_base}/",
                headers=headers,
                timeout=60,
            )
        return self.clients[name]

    async def get(self, caller: str, path: str, **more: Any) -> Resource:
        """Read something as JSON."""
        answer = await (await self.client(caller)).get(path, **more)
        assert answer.status_code == 200, (path, answer.text[:300])
        found: Resource = answer.json()
        return found

    async def wrong(
        self, status: int, caller: str, method: str, path: str, **more: Any
    ) -> list[str]:
        """Ask for JSON, and for XML; return what is not valid in the answers."""
        http, found = await self.client(caller), []
        for form, media in FORMS.items():
            headers = {"Accept": media} | more.get("headers", {})
            answer = await http.request(method, path, **more | {"headers": headers})
            assert answer.status_code == status, (method, path, answer.text[:500])
            assert answer.headers["Content-Type"].startswith(media), (path, answer.headers)
            found += self.invalid(form, answer.content)
        return [f"{method} {path}: {one}" for one in found]

    def invalid(self, form: str, body: bytes) -> list[str]:
        """Return what is not valid in an answer."""
        if form == "xml":
            return [f"XML: {one}" for one in self.schemas.of_xml(body)]
        self.types |= self.schemas.types_of(body)
        return self.schemas.of_json(body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(schemas: Schemas, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Demo]:
    """The server of a demo, in this process."""
    folder = tmp_path_factory.mktemp("sent")
    settings = Settings(store=Server(folder).store, keys=folder / "keys")
    serving = Serving(demo=True)
    store = await open_store(settings)
    composition = Composition(settings, store, serving.origin(settings))
    await prepare(composition, serving)
    async with httpx.AsyncClient() as out:
        made = Demo(await build_app(composition, serving, out), composition, schemas)
        yield made
        for client in made.clients.values():
            await client.aclose()
    await store.close()


@in_one_loop
async def test_what_is_read_and_found_is_valid(demo: Demo) -> None:
    """Reads, versions, searches of every kind, histories: of the demo's people and dossiers."""
    mother = (await demo.get(MOTHER, "Patient"))["entry"][0]["resource"]["id"]
    one = f"Patient/{mother}"
    paths = [
        "metadata",
        "metadata?_summary=true",
        one,
        f"{one}?_elements=birthDate",
        f"{one}?_summary=true",
        f"{one}?_summary=text",
        f"{one}?_summary=data",
        f"{one}?_pretty=true",
        f"{one}/_history",
        f"{one}/_history/1",
        "Patient/_history",
        "_history?_count=200",
        "_history?_summary=count",
        f"{one}/$everything",
        f"{one}/$everything?_count=3",
        f"{one}/$health-book",
        f"{one}/Encounter",
        f"{one}/*?_count=100",
        "Patient?_count=2",
        "Patient?_summary=count",
        "Patient?_summary=true",
        "Patient?_elements=name",
        "Patient?unknown=x",
        "Patient?name=zzzzzz",
        "Patient?__explain=true&name=nguyen",
        f"Observation?patient={mother}&_include=*&_sort=-date",
        f"Encounter?patient={mother}&_include=*&_revinclude=*&_count=100",
        "Encounter?_summary=true&_count=100",
        "Claim?_include=*&_count=100",
        "Claim?_summary=true",
        "MedicationRequest?_summary=text&_count=5",
        "?_type=Patient,Practitioner,Organization,Coverage,RelatedPerson&_count=100",
    ]
    wrong = [line for path in paths for line in await demo.wrong(200, "system", "GET", path)]

    assert wrong == []
    assert {"CapabilityStatement", "Composition", "Claim", "Encounter", "Coverage"} <= demo.types


@in_one_loop
async def test_what_citizens_and_payers_see_is_valid(demo: Demo) -> None:
    """What is left of a resource where a part is not shown is valid too."""
    mother = (await demo.get(MOTHER, "Patient"))["entry"][0]["resource"]["id"]
    asks = [
        (MOTHER, f"Patient/{mother}"),
        (MOTHER, f"Patient/{mother}/$health-book"),
        (MOTHER, f"Patient/{mother}/$everything?_count=100"),
        (MOTHER, f"Patient/{mother}/$access-history"),
        (MOTHER, "RelatedPerson"),
        ("insurer-bhxh", "Patient?_count=100"),
        ("insurer-bhxh", "Encounter?_count=100"),
        ("insurer-bhxh", "Claim?_count=100&_include=*"),
        ("insurer-bhxh", "Coverage?_count=100"),
        ("insurer-bhxh", "Practitioner?_count=100"),
        ("insurer-bhxh", "Condition?_count=100"),
        ("insurer-bhxh", "MedicationRequest?_count=100"),
        ("insurer-private-01", "Claim?_count=100"),
        ("hospital-01999", "Patient?_count=100"),
        ("hospital-79999", "Encounter?_count=100&_include=*"),
        ("auditor", "AuditEvent?_count=50"),
        ("auditor", "AuditEvent?_summary=true&_count=5"),
    ]
    wrong = [line for who, path in asks for line in await demo.wrong(200, who, "GET", path)]

    assert wrong == []
    assert {"AuditEvent", "Practitioner"} <= demo.types


def dossier() -> bytes:
    """Return a visit of the mother's, as a hospital pushes it, with a sum that does not agree."""
    start = (now() - timedelta(days=1)).replace(hour=1, minute=0, tzinfo=None)
    made = visit(MOTHER_PERSON, "01999", "SENT-1", start, CASES[1], Random(3))
    made["XML1"][0] |= {"T_BHTT": "999999", "T_BHTT_GDV": "999999"}
    return envelope("01999", [made])


@in_one_loop
async def test_what_operations_answer_is_valid(demo: Demo) -> None:
    """A pushed dossier, its claim checked, eligibility asked for, findings of `$validate`."""
    hospital = await demo.client("hospital-01999")
    url = f"{demo.composition.origin}/submissions"
    pushed = await hospital.post(
        url, content=dossier(), headers={"Content-Type": "application/xml"}
    )
    assert pushed.status_code == 200, pushed.text
    visit_ = pushed.json()["dossiers"][0]
    claims = await demo.get("insurer-bhxh", "Claim", params={"encounter": visit_["encounter"]})
    claim = claims["entry"][0]["resource"]["id"]
    number = f"{S}/bhyt|{MOTHER_PERSON.ma_the_bhyt}"
    card = (await demo.get("insurer-bhxh", f"Coverage?identifier={number}"))["entry"][0]["resource"]
    eligibility = {
        "resourceType": "CoverageEligibilityRequest",
        "status": "active",
        "purpose": ["validation", "benefits"],
        "patient": card["beneficiary"],
        "servicedDate": now().date().isoformat(),
        "created": now().date().isoformat(),
        "insurer": {"identifier": {"system": f"{S}/payer", "value": "BHXH"}},
        "insurance": [
            {
                "coverage": {
                    "identifier": {"system": f"{S}/bhyt", "value": MOTHER_PERSON.ma_the_bhyt}
                }
            }
        ],
    }
    nothing = {"resourceType": "Patient", "nothing": 1, "birthDate": "2020-02-30"}

    wrong = [
        *await demo.wrong(200, "insurer-bhxh", "POST", f"Claim/{claim}/$check"),
        *await demo.wrong(
            200, "insurer-bhxh", "POST", "CoverageEligibilityRequest/$submit", json=eligibility
        ),
        *await demo.wrong(200, "system", "POST", "Patient/$validate", json=nothing),
        *await demo.wrong(200, "system", "GET", "ClaimResponse?_include=*"),
        *await demo.wrong(200, "system", "GET", "CoverageEligibilityResponse?_include=*"),
        *await demo.wrong(200, "system", "GET", f"{visit_['patient']}/$everything?_count=500"),
    ]

    assert wrong == []
    assert {"ClaimResponse", "CoverageEligibilityResponse", "OperationOutcome"} <= demo.types


@in_one_loop
async def test_what_is_written_is_answered_valid(demo: Demo) -> None:
    """Creates, updates, patches, transactions, batches: the resource, or the OperationOutcome."""
    patient = {"resourceType": "Patient", "id": "sent", "name": [{"text": "Nguyễn Thị Mẫu"}]}
    patch = {"Content-Type": "application/json-patch+json"}
    change = [{"op": "add", "path": "/active", "value": True}]
    told = {"Prefer": "return=OperationOutcome"}
    entries = [
        {"resource": patient, "request": {"method": "PUT", "url": "Patient/sent"}},
        {"request": {"method": "GET", "url": "Patient/sent"}},
        {"request": {"method": "GET", "url": "Patient?_id=sent&_summary=true"}},
        {"request": {"method": "GET", "url": "metadata"}},
    ]
    failing = [
        {
            "resource": {"resourceType": "Patient", "x": 1},
            "request": {"method": "POST", "url": "Patient"},
        },
        {"request": {"method": "GET", "url": "Patient/never"}},
        {"request": {"method": "DELETE", "url": "Patient/never"}},
        {
            "resource": patient,
            "request": {"method": "PUT", "url": "Patient/sent", "ifMatch": 'W/"99"'},
        },
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    batch = {"resourceType": "Bundle", "type": "batch", "entry": [*entries, *failing]}

    wrong = [
        *await demo.wrong(201, "system", "POST", "Patient", json=patient),
        *await demo.wrong(201, "system", "POST", "Patient", json=patient, headers=told),
        *await demo.wrong(200, "system", "POST", "", json=bundle),
        *await demo.wrong(200, "system", "POST", "", json=bundle, headers=told),
        *await demo.wrong(200, "system", "POST", "", json=batch),
        *await demo.wrong(200, "system", "PUT", "Patient/sent", json=patient),
        *await demo.wrong(200, "system", "PATCH", "Patient/sent", json=change, headers=patch),
        *await demo.wrong(200, "system", "GET", "Patient/sent/_history"),
    ]

    assert wrong == []


@in_one_loop
async def test_refusals_are_valid(demo: Demo) -> None:
    """An OperationOutcome of each status that a client can come to."""
    system = await demo.client("system")
    await system.put("Patient/gone", json={"resourceType": "Patient", "id": "gone"})
    await system.delete("Patient/gone")
    held = {"resourceType": "Patient", "id": "held", "active": True}
    await system.put("Patient/held", json=held)
    json = {"Content-Type": "application/fhir+json"}
    mother = (await demo.get(MOTHER, "Patient"))["entry"][0]["resource"]
    twin = {**mother, "id": "twin"}
    asks: list[tuple[int, str, str, str, dict[str, Any]]] = [
        (400, "system", "POST", "Patient", {"content": b"{", "headers": json}),
        (400, "system", "POST", "Patient", {"json": {"resourceType": "Nothing"}}),
        (400, "system", "GET", "Patient?birthdate=yesterday", {}),
        (400, "system", "GET", "Patient?x=1", {"headers": {"Prefer": "handling=strict"}}),
        (400, "system", "PUT", "Patient/held", {"json": held | {"id": "other"}}),
        (400, "system", "GET", "Patient?_cursor=nothing", {}),
        (400, "system", "POST", "", {"json": {"resourceType": "Bundle", "type": "collection"}}),
        (401, "", "GET", "Patient", {}),
        (403, "insurer-bhxh", "GET", "Observation", {}),
        (403, MOTHER, "DELETE", f"Patient/{mother['id']}", {}),
        (404, "system", "GET", "Patient/never", {}),
        (404, "system", "GET", "Nothing/never", {}),
        (404, "system", "GET", "Patient/held/$nothing", {}),
        (404, "system", "GET", "Patient/held/_history/99", {}),
        (405, "system", "DELETE", "metadata", {}),
        (409, "system", "PUT", "Patient/twin", {"json": twin}),
        (410, "system", "GET", "Patient/gone", {}),
        (412, "system", "PUT", "Patient/held", {"json": held, "headers": {"If-Match": 'W/"9"'}}),
        (412, "system", "PUT", "Patient?_lastUpdated=gt2000", {"json": held}),
        (415, "system", "POST", "Patient", {"content": b"x", "headers": {"Content-Type": "x/y"}}),
        (422, "system", "POST", "Patient", {"json": {"resourceType": "Patient", "x": 1}}),
        (422, "system", "POST", "Patient", {"json": {"resourceType": "Patient", "contact": [{}]}}),
    ]  # fmt: skip

    wrong = []
    for status, caller, method, path, more in asks:
        wrong += await demo.wrong(status, caller, method, path, **more)

    assert wrong == []


@in_one_loop
@pytest.mark.parametrize("kind", FORMS)
async def test_official_examples_are_sent_valid(
    demo: Demo, examples_of: ExamplesOf, kind: str
) -> None:
    """What a create answers and what a read gives, whole and in parts; but for those listed."""
    http = await demo.client("system")
    wrong = {}
    for name, body in sampled(kind, examples_of):
        made = await http.post(
            read(kind, body)["resourceType"], content=body, headers={"Content-Type": FORMS[kind]}
        )
        assert made.status_code == 201, (name, made.text[:300])
        found = demo.invalid("json", made.content)
        path = made.headers["Location"]
        as_xml = await http.get(path, headers={"Accept": FORMS["xml"]})
        found += demo.invalid("xml", as_xml.content)
        for part in PARTS:
            answer = await http.get(path, params=part)
            found += [one for one in demo.invalid("json", answer.content) if one not in found]
        if found != listed(kind).get(name, []):
            wrong[name] = found

    assert wrong == {}
