"""Clients of PyPI that others wrote do their whole job: fhirpy, and SMART's own fhirclient."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import pytest
from fhirclient.client import FHIRClient
from fhirclient.models.bundle import Bundle
from fhirclient.models.encounter import Encounter
from fhirclient.models.humanname import HumanName
from fhirclient.models.observation import Observation
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException, FHIRPermissionDeniedException
from fhirpy import AsyncFHIRClient, SyncFHIRClient
from fhirpy.base.exceptions import (
    AuthorizationError,
    ForbiddenError,
    MultipleResourcesFound,
    OperationOutcome,
    ResourceNotFound,
)
from requests import HTTPError

from tests.journeys.tokens import assertion, called_back, system_token
from tests.people import MOTHER
from tests.server import Server

MRN = "urn:example:mrn"


def fhirpy_of(server: Server, client_id: str = "system") -> SyncFHIRClient:
    """Return a fhirpy client with a token of its own."""
    return SyncFHIRClient(f"{server.url}/fhir", f"Bearer {system_token(server, client_id)}")


def test_fhirpy_creates_changes_and_deletes(server: Server) -> None:
    """Create, read, update, partial save (a merge patch as application/json), delete, 404/410."""
    client = fhirpy_of(server)
    number = uuid4().hex
    patient = client.resource(
        "Patient",
        name=[{"family": "Đặng", "given": ["Thị", "Thử"]}],
        identifier=[{"system": MRN, "value": number}],
        gender="female",
        birthDate="1990-01-02",
    )

    patient.create()
    read = client.reference("Patient", patient.id).to_resource()
    assert read == patient
    assert read["meta"]["versionId"] == "1"

    read["birthDate"] = "1991-01-02"
    read.update()
    assert (read["birthDate"], read["meta"]["versionId"]) == ("1991-01-02", "2")

    patient.refresh()  # If-None-Match: of another version
    assert patient["birthDate"] == "1991-01-02"
    patient.refresh()  # If-None-Match: of the same one, 304
    assert patient["meta"]["versionId"] == "2"

    patient["gender"], patient["birthDate"] = "other", "1800-01-01"
    patient.save(fields=["gender"])
    assert (patient["gender"], patient["birthDate"]) == ("other", "1991-01-02")
    patient.patch(active=True, birthDate=None)
    assert patient["active"] is True
    assert "birthDate" not in patient
    by_reference = client.reference("Patient", patient.id).patch(deceasedBoolean=False)
    assert by_reference["deceasedBoolean"] is False
    assert by_reference["name"][0]["family"] == "Đặng"

    assert patient.is_valid(raise_exception=True)
    history = client.execute(f"Patient/{patient.id}/_history", "get")
    assert [e["resource"]["meta"]["versionId"] for e in history["entry"]] == list("54321")

    patient.delete()
    with pytest.raises(ResourceNotFound, match="deleted"):
        client.reference("Patient", patient.id).to_resource()
    with pytest.raises(ResourceNotFound, match="not-found"):
        client.reference("Patient", uuid4().hex).to_resource()
    assert client.resources("Patient").search(identifier=f"{MRN}|{number}").first() is None


def test_fhirpy_is_told_what_is_wrong(server: Server) -> None:
    """Each refusal is the exception that it has for it, and holds the OperationOutcome."""
    client = fhirpy_of(server)

    with pytest.raises(OperationOutcome) as refusal:
        client.resource("Patient", gender="none of the four").create()
    issue = refusal.value.resource["issue"][0]
    assert issue["severity"] == "error"
    assert issue["expression"] == ["Patient.gender"]
    assert not client.resource("Observation", status="final").is_valid()
    with pytest.raises(AuthorizationError, match="OperationOutcome"):
        SyncFHIRClient(f"{server.url}/fhir", "Bearer nothing").resources("Patient").fetch()
    with pytest.raises(ForbiddenError, match="OperationOutcome"):
        fhirpy_of(server, "auditor").resources("Patient").fetch()


def test_fhirpy_searches_and_pages(server: Server) -> None:
    """Search, count, sort, include, revinclude, all pages, first, get, several matches."""
    client = fhirpy_of(server)
    group = uuid4().hex
    patient = client.resource("Patient", identifier=[{"system": MRN, "value": group}]).create()
    for number in range(23):
        client.resource(
            "Observation",
            status="final",
            identifier=[{"system": MRN, "value": group}],
            code={"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
            subject=patient.to_reference(),
            effectiveDateTime=f"2026-01-{number + 1:02d}",
            valueQuantity={"value": 60 + number, "unit": "/min"},
        ).create()
    ours = client.resources("Observation").search(identifier=f"{MRN}|{group}")

    assert ours.count() == 23
    paged = ours.sort("-date").limit(5).fetch_all()
    assert [o["valueQuantity"]["value"] for o in paged] == list(range(82, 59, -1))
    assert ours.sort("date").first()["valueQuantity"]["value"] == 60
    assert ours.search(date__ge="2026-01-20", date__lt="2026-01-22").count() == 2
    assert ours.search(value_quantity__gt="81").get()["valueQuantity"]["value"] == 82
    with pytest.raises(MultipleResourcesFound):
        ours.get()
    elements = ours.limit(1).elements("status").fetch_raw()["entry"][0]["resource"]
    assert "valueQuantity" not in elements
    assert elements["status"] == "final"

    included = ours.limit(1).include("Observation", "subject").fetch_raw()
    assert [e["search"]["mode"] for e in included["entry"]] == ["match", "include"]
    assert included["entry"][1]["resource"].reference == patient.reference
    back = client.resources("Patient").search(_id=patient.id)
    assert len(back.revinclude("Observation", "subject").fetch_raw()["entry"]) == 24
    assert back.has("Observation", "subject", code="http://loinc.org|8867-4").count() == 1
    chained = client.resources("Observation").search(subject__Patient__identifier=group)
    assert chained.count() == 23


def test_fhirpy_writes_by_condition(server: Server) -> None:
    """Update and patch of what a search finds; 412 where it finds several; delete."""
    client = fhirpy_of(server)
    number = uuid4().hex
    ours = client.resources("Organization").search(identifier=f"{MRN}|{number}")
    fields = {"name": "Trạm y tế", "identifier": [{"system": MRN, "value": number}]}

    made, was_made = ours.update(client.resource("Organization", **fields))
    again, was_made_again = ours.update(client.resource("Organization", **fields, active=True))
    patched = ours.patch(name="Trạm y tế xã")

    assert (was_made, was_made_again) == (True, False)
    assert made.id == again.id == patched.id
    assert (patched["name"], patched["active"]) == ("Trạm y tế xã", True)
    client.resource("Organization", **fields).create()
    with pytest.raises(MultipleResourcesFound, match="OperationOutcome"):
        ours.patch(name="Ai?")
    assert ours.count() == 2


async def test_fhirpy_transacts_from_asyncio(server: Server) -> None:
    """Its asynchronous client posts a transaction whose entries name one another."""
    client = AsyncFHIRClient(f"{server.url}/fhir", f"Bearer {system_token(server)}")
    urn = f"urn:uuid:{uuid4()}"
    bundle = client.resource(
        "Bundle",
        type="transaction",
        entry=[
            {
                "fullUrl": urn,
                "resource": {"resourceType": "Patient", "active": True},
                "request": {"method": "POST", "url": "Patient"},
            },
            {
                "resource": {
                    "resourceType": "Observation",
                    "status": "final",
                    "code": {"text": "Mạch"},
                    "subject": {"reference": urn},
                },
                "request": {"method": "POST", "url": "Observation"},
            },
        ],
    )

    answer = await client.execute("", data=bundle.serialize())
    patient, observation = (e["response"]["location"] for e in answer["entry"])
    read = await client.get("Observation", observation.split("/")[-3])

    assert [e["response"]["status"][:3] for e in answer["entry"]] == ["201", "201"]
    assert read["subject"]["reference"] == "/".join(patient.split("/")[-4:-2])


@pytest.fixture
def smart(server: Server) -> Iterator[list[FHIRClient]]:
    """A list whose clients' connections are closed at the end."""
    opened: list[FHIRClient] = []
    yield opened
    for client in opened:
        client.server.session.close()


def opened(smart: list[FHIRClient], **settings: str) -> FHIRClient:
    """Return a new client of SMART's own library."""
    client = FHIRClient(settings=settings)
    smart.append(client)
    return client


def test_smarts_python_client_reads_a_citizens_book(
    server: Server, smart: list[FHIRClient]
) -> None:
    """Discovery, the authorize URL with PKCE, the log-in, call-back, read, search, refresh."""
    client = opened(
        smart,
        app_id="vneid-app",
        api_base=f"{server.url}/fhir",
        redirect_uri=f"{server.url}/callback",
        scope="openid fhirUser offline_access patient/*.rs",
    )
    assert client.prepare() is False
    url = client.authorize_url
    asked = parse_qs(urlsplit(url).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["aud"] == [f"{server.url}/fhir"]

    client.handle_callback(called_back(server, url, MOTHER))

    assert client.ready
    assert client.launch_context["token_type"] == "Bearer"
    assert client.human_name(client.patient.name[0]) == "THỊ MẪU NGUYỄN"  # its order
    visits = list(
        Encounter.where({"patient": client.patient_id, "_count": "4"}).perform_resources_iter(
            client.server
        )
    )
    assert len(visits) >= 8
    assert {visit.subject.reference for visit in visits} == {f"Patient/{client.patient_id}"}
    with pytest.raises(FHIRNotFoundException):
        Patient.read("somebody-else", client.server)
    with pytest.raises(FHIRPermissionDeniedException):
        Patient({"active": True}).create(client.server)
    former = client.server.auth.access_token
    assert client.reauthorize()
    assert client.server.auth.access_token != former
    assert Patient.read(client.patient_id, client.server).id == client.patient_id


def test_smarts_python_client_works_for_a_system(server: Server, smart: list[FHIRClient]) -> None:
    """By an assertion: create, read, update, pages, delete; a gone one is 410."""
    client = opened(
        smart,
        app_id="system",
        api_base=f"{server.url}/fhir",
        scope="system/*.cruds",
        jwt_token=assertion(server, "system"),
    )
    client.wants_patient = False
    client.prepare()
    client.authorize()
    group = uuid4().hex
    name = HumanName({"family": "Võ", "given": ["Thử"]})
    for number in range(7):
        patient = Patient({"identifier": [{"system": MRN, "value": group}]})
        patient.name = [name]
        patient.multipleBirthInteger = number
        made = patient.create(client.server)
        patient.id = made["id"]

    patient.active = True
    assert patient.update(client.server)["meta"]["versionId"] == "2"
    search = Patient.where({"identifier": f"{MRN}|{group}", "_count": "3", "_sort": "_id"})
    found = list(search.perform_resources_iter(client.server))
    pages = list(search.perform_iter(client.server))
    assert sorted(p.multipleBirthInteger for p in found) == list(range(7))
    assert [len(page.entry) for page in pages] == [3, 3, 1]
    assert pages[0].total == 7

    observation = Observation({
        "status": "final",
        "code": {"text": "Cân nặng"},
        "subject": {"reference": f"Patient/{patient.id}"},
    })
    observation.create(client.server)
    with_subject = Observation.where({"subject": f"Patient/{patient.id}"}).include("subject")
    shown = list(with_subject.perform_resources_iter(client.server))
    assert [resource.resource_type for resource in shown] == ["Observation", "Patient"]

    bundle = Bundle({
        "type": "batch",
        "entry": [
            {"request": {"method": "GET", "url": f"Patient/{patient.id}"}},
            {"request": {"method": "GET", "url": "Patient/never-was"}},
        ],
    })
    answer = client.server.post_json("", bundle.as_json()).json()
    assert [e["response"]["status"][:3] for e in answer["entry"]] == ["200", "404"]

    patient = found[0]
    patient.delete(client.server)
    with pytest.raises(HTTPError, match="410"):
        Patient.read(patient.id, client.server)
