"""The social insurer asks for eligibility, finds the claims of its insured, and checks one."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from random import Random

from fhir_server.demo_dossiers import CASES, envelope, visit
from tests.people import MOTHER_PERSON, NS, S, now
from tests.server import Server


def push(server: Server, ma_lk: str, **changed: str) -> dict:
    start = (now() - timedelta(days=1)).replace(hour=1, minute=0, tzinfo=None)
    dossier = visit(MOTHER_PERSON, "01999", ma_lk, start, CASES[1], Random(3))
    dossier["XML1"][0] |= changed
    http = server.client(server.token(client="hospital-01999"))
    answer = http.post(
        "/submissions",
        content=envelope("01999", [dossier]),
        headers={"Content-Type": "application/xml"},
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["dossiers"][0]


def rules(response: dict) -> set[str]:
    """Return the rules of a ClaimResponse's findings, of the claim and of its lines."""
    found = list(response.get("adjudication", []))
    for item in response.get("item", []):
        found += item["adjudication"]
    return {
        a["reason"]["coding"][0]["code"]
        for a in found
        if a["category"]["coding"][0]["code"] == "finding"
    }


def test_a_claim_is_found_and_checked(server: Server) -> None:
    """A sum that does not agree is found by G19, with law, both languages and the amount."""
    visit_ = push(server, "CLAIM-1", T_BHTT="999999", T_BHTT_GDV="999999")
    insurer = server.client(server.token(client="insurer-bhxh"))
    claims = insurer.get("/fhir/Claim", params={"encounter": visit_["encounter"]}).json()

    answer = insurer.post(f"/fhir/Claim/{claims['entry'][0]['resource']['id']}/$check")

    response = answer.json()
    assert answer.status_code == 200, answer.text
    assert (response["resourceType"], response["outcome"]) == ("ClaimResponse", "complete")
    assert "G19" in rules(response)
    finding = next(a for a in response["adjudication"] if a["reason"]["coding"][0]["code"] == "G19")
    assert finding["reason"]["coding"][0]["system"] == f"{NS}/CodeSystem/rule"
    assert finding["reason"]["text"]
    assert Decimal(str(finding["amount"]["value"])) > 0
    assert f"{NS}/StructureDefinition/finding" in [e["url"] for e in finding["extension"]]
    again = insurer.post(f"/fhir/Claim/{claims['entry'][0]['resource']['id']}/$check").json()
    assert again["id"] == response["id"]


def test_a_second_dossier_of_one_visit_is_a_duplicate(server: Server) -> None:
    """The same patient, facility and arrival under another MA_LK is found by G01."""
    push(server, "CLAIM-2A")
    second = push(server, "CLAIM-2B")
    insurer = server.client(server.token(client="insurer-bhxh"))
    claims = insurer.get("/fhir/Claim", params={"encounter": second["encounter"]}).json()

    response = insurer.post(f"/fhir/Claim/{claims['entry'][0]['resource']['id']}/$check").json()

    assert "G01" in rules(response)


def test_eligibility_says_level_and_period(server: Server) -> None:
    """A card of benefit digit 4 is in force with a co-payment of 20 percent."""
    insurer = server.client(server.token(client="insurer-bhxh"))
    mother = insurer.get(
        "/fhir/Coverage", params={"identifier": f"{S}/bhyt|{MOTHER_PERSON.ma_the_bhyt}"}
    ).json()["entry"][0]["resource"]
    request = {
        "resourceType": "CoverageEligibilityRequest",
        "status": "active",
        "purpose": ["validation", "benefits"],
        "patient": mother["beneficiary"],
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

    answer = insurer.post("/fhir/CoverageEligibilityRequest/$submit", json=request)

    response = answer.json()
    assert answer.status_code == 200, answer.text
    assert response["insurance"][0]["inforce"] is True
    benefit = response["insurance"][0]["item"][0]["benefit"][0]
    assert benefit["type"]["coding"][0]["code"] == "copay-percent"
    assert benefit["allowedUnsignedInt"] == 20


def test_the_insurer_sees_nothing_that_the_claim_does_not_need(server: Server) -> None:
    """Observations are 403; a private insurer without consent finds no claim."""
    insurer = server.client(server.token(client="insurer-bhxh"))
    private = server.client(server.token(client="insurer-private-01"))

    assert insurer.get("/fhir/Observation").status_code == 403
    assert insurer.get("/fhir/Immunization").status_code == 403
    assert private.get("/fhir/Claim").json().get("entry", []) == []


def test_the_insurer_sees_what_a_claim_needs(server: Server) -> None:
    """Practitioners whom a claim names are shown; how the person lives and was advised is not."""
    visit_ = push(server, "CLAIM-3", GHI_CHU="Ăn nhạt", MA_DANTOC="01", DIEN_THOAI="0900000123")
    insurer = server.client(server.token(client="insurer-bhxh"))

    encounter = insurer.get(f"/fhir/{visit_['encounter']}")
    patient = insurer.get(f"/fhir/{visit_['patient']}")
    practitioners = insurer.get("/fhir/Practitioner").json()

    assert practitioners["entry"]
    assert encounter.json()["diagnosis"]
    assert patient.json()["name"]
    for hidden in ("Ăn nhạt", "ethnicity", "0900000123"):
        assert hidden not in encounter.text + patient.text


def test_a_bare_claim_over_rest_is_checked(server: Server) -> None:
    """Posted by the system without any of our extensions: complete, with G18, G19 and G04."""
    system = server.client(server.token(client="system"))

    def made(resource: dict) -> str:
        answer = system.post(f"/fhir/{resource['resourceType']}", json=resource)
        assert answer.status_code == 201, answer.text
        return f"{resource['resourceType']}/{answer.json()['id']}"

    def dong(value: int) -> dict:
        return {"value": value, "currency": "VND"}

    patient = {"reference": made({"resourceType": "Patient", "name": [{"text": "Trần Văn Mẫu"}]})}
    card = {
        "resourceType": "Coverage",
        "status": "active",
        "beneficiary": patient,
        "payor": [{"identifier": {"system": f"{S}/payer", "value": "BHXH"}}],
        "period": {"start": "2020-01-01", "end": "2020-12-31"},
    }
    item = {"sequence": 1, "productOrService": {"text": "Khám"}, "quantity": {"value": 2}}
    claim = {
        "resourceType": "Claim",
        "status": "active",
        "type": {"text": "institutional"},
        "use": "claim",
        "patient": patient,
        "created": "2026-03-01",
        "provider": {"display": "Bệnh viện Mẫu"},
        "priority": {"text": "normal"},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": made(card)}}],
        "item": [item | {"unitPrice": dong(50000), "net": dong(90000)}],
        "total": dong(120000),
    }

    name = made(claim)
    insurer = server.client(server.token(client="insurer-bhxh"))
    answer = insurer.post(f"/fhir/{name}/$check")

    assert answer.status_code == 200, answer.text
    assert answer.json()["outcome"] == "complete"
    assert rules(answer.json()) == {"G04", "G18", "G19"}
    amounts = {
        one["reason"]["coding"][0]["code"]: one["amount"]["value"]
        for one in answer.json()["adjudication"]
    }
    assert amounts == {"G04": 120000, "G19": 30000}
