"""A hospital pushes dossiers; a stranger to the code, with the contract in hand."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from fhir_server.demo_dossiers import CASES, envelope, visit
from tests.people import MOTHER_PERSON, NS, S, now
from tests.server import Server


def dossier(ma_lk: str, facility: str = "01999"):
    # Of yesterday: in the first hour of a day a visit of today would end in the future.
    start = (now() - timedelta(days=1)).replace(hour=0, minute=5, tzinfo=None)
    return visit(MOTHER_PERSON, facility, ma_lk, start, CASES[0], Random(7))


def push(server: Server, body: bytes, client: str = "hospital-01999", **parameters: str):
    http = server.client(server.token(client=client))
    return http.post(
        "/submissions", content=body, headers={"Content-Type": "application/xml"}, params=parameters
    )


def test_a_dossier_is_kept_once_and_read_back(server: Server) -> None:
    """A dossier is created, sent again it is unchanged, changed it is updated, and readable."""
    body = envelope("01999", [dossier("PUSH/1")])

    first, again = push(server, body), push(server, body)
    changed = dossier("PUSH/1")
    changed["XML1"][0]["LY_DO_VV"] = "Ho, sốt 3 ngày"
    third = push(server, envelope("01999", [changed]))

    statuses = [r.json()["dossiers"][0]["status"] for r in (first, again, third)]
    assert statuses == ["created", "unchanged", "updated"], first.text
    assert first.status_code == 200
    assert len({(r.json()["dossiers"][0]["encounter"]) for r in (first, again, third)}) == 1
    http = server.client(server.token(client="hospital-01999"))
    found = http.get("/fhir/Encounter", params={"identifier": f"{S}/ma-lk|01999|PUSH/1"}).json()
    assert [e["resource"]["id"] for e in found["entry"]] == [
        first.json()["dossiers"][0]["encounter"].partition("/")[2]
    ]
    assert found["entry"][0]["resource"]["meta"]["versionId"] == "2"
    assert found["entry"][0]["resource"]["reasonCode"][0]["text"] == "Ho, sốt 3 ngày"


def test_what_is_refused_is_said_in_two_languages_and_kept(server: Server) -> None:
    """One good and one bad dossier are 207; the bad one names field and rule, and is listed."""
    bad = dossier("PUSH-BAD")
    bad["XML1"][0]["NGAY_VAO"] = ""

    answer = push(server, envelope("01999", [dossier("PUSH-GOOD"), bad]))

    assert answer.status_code == 207, answer.text
    receipt = answer.json()
    assert (receipt["accepted"], receipt["rejected"]) == (1, 1)
    issue = next(i for i in receipt["dossiers"][1]["issues"] if i["severity"] == "error")
    assert (issue["rule"], issue["field"]) == ("G12-REQUIRED", "XML1.NGAY_VAO")
    assert issue["message"]
    assert issue["message_vi"]
    http = server.client(server.token(client="hospital-01999"))
    listed = http.get("/submissions", params={"status": "rejected"}).json()
    assert receipt["id"] in [item["id"] for item in listed["items"]]
    source = http.get(f"/submissions/{receipt['id']}/source")
    assert source.content == envelope("01999", [dossier("PUSH-GOOD"), bad])


def test_another_facilitys_receipt_is_not_there(server: Server) -> None:
    """A receipt of 01999 is 404 for 79999, and its visit cannot be read there."""
    receipt = push(server, envelope("01999", [dossier("PUSH-OWN")])).json()
    other = server.client(server.token(client="hospital-79999"))

    assert other.get(f"/submissions/{receipt['id']}").status_code == 404
    assert other.get(f"/fhir/{receipt['dossiers'][0]['encounter']}").status_code == 404


def test_a_hospital_submits_for_its_own_code_only(server: Server) -> None:
    """A dossier of 79999 sent by 01999 is refused by rule FACILITY."""
    answer = push(server, envelope("79999", [dossier("PUSH-F", "79999")]))

    assert answer.status_code == 422
    assert "FACILITY" in [i["rule"] for i in answer.json()["dossiers"][0]["issues"]]


def test_a_withdrawn_visit_is_entered_in_error(server: Server) -> None:
    """Code 8 withdraws the visit and cancels its claim; sent again it lives."""
    body = dossier("PUSH-W")
    created = push(server, envelope("01999", [body])).json()["dossiers"][0]
    withdrawal = {"XML1": [{"MA_LK": "PUSH-W", "MA_CSKCB": "01999", "MA_DOITUONG_KCB": "8"}]}

    withdrawn = push(server, envelope("01999", [withdrawal])).json()["dossiers"][0]

    http = server.client(server.token(client="hospital-01999"))
    assert withdrawn["status"] == "withdrawn"
    assert http.get(f"/fhir/{created['encounter']}").json()["status"] == "entered-in-error"
    claims = http.get("/fhir/Claim", params={"encounter": created["encounter"]}).json()
    assert [e["resource"]["status"] for e in claims["entry"]] == ["cancelled"]
    again = push(server, envelope("01999", [body])).json()["dossiers"][0]
    assert again["status"] == "updated"
    assert http.get(f"/fhir/{created['encounter']}").json()["status"] == "finished"


def test_a_dry_run_stores_nothing(server: Server) -> None:
    """A dry run answers the receipt without id and leaves no visit."""
    answer = push(server, envelope("01999", [dossier("PUSH-DRY")]), **{"dry-run": "true"})

    assert answer.status_code == 200
    assert answer.json()["id"] is None
    http = server.client(server.token(client="hospital-01999"))
    found = http.get("/fhir/Encounter", params={"identifier": f"{S}/ma-lk|01999|PUSH-DRY"})
    assert found.json().get("entry", []) == []


def test_no_token_is_refused_as_a_problem(server: Server) -> None:
    """Without a token a submission is 401 in problem+json."""
    answer = server.client().post(
        "/submissions", content=b"<x/>", headers={"Content-Type": "application/xml"}
    )

    assert answer.status_code == 401
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert NS not in answer.text
