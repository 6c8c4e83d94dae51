"""A citizen logs in through the stand-in VNeID and sees the own book and the child's."""

from __future__ import annotations

import time
from datetime import timedelta

from tests.journeys.conftest import log_in
from tests.people import MOTHER, STRANGER, S, now
from tests.server import Server


def test_the_mother_reads_her_book_as_a_document(server: Server) -> None:
    """Her token stands for her: one Patient, and a document with the four sections in order."""
    http = server.client(server.token(citizen=MOTHER))
    patients = http.get("/fhir/Patient").json()["entry"]

    book = http.get(f"/fhir/Patient/{patients[0]['resource']['id']}/$health-book").json()

    assert len(patients) == 1
    assert (book["resourceType"], book["type"]) == ("Bundle", "document")
    composition = book["entry"][0]["resource"]
    titles = [section["title"] for section in composition["section"]]
    assert titles == ["Hành chính", "Tiền sử", "Từng đợt khám chữa bệnh", "Tóm tắt"]
    assert len(composition["section"][2]["section"]) >= 8


def test_another_citizens_book_is_not_there(server: Server) -> None:
    """The mother's id answers a stranger as an id that never was: same status, same bytes."""
    mother = server.client(server.token(citizen=MOTHER)).get("/fhir/Patient").json()["entry"][0]
    stranger = server.client(server.token(citizen=STRANGER))
    mother_id = mother["resource"]["id"]

    hidden = stranger.get(f"/fhir/Patient/{mother_id}")
    absent = stranger.get(f"/fhir/Patient/{mother_id[:-1]}x")

    assert hidden.status_code == absent.status_code == 404
    assert hidden.text.replace(mother_id, "") == absent.text.replace(f"{mother_id[:-1]}x", "")
    assert stranger.get(f"/fhir/Patient/{mother_id}/$health-book").status_code == 404
    assert stranger.get("/fhir/Encounter", params={"patient": mother_id}).json()["total"] == 0


def test_the_child_is_found_and_read_by_a_verified_guardian_only(server: Server) -> None:
    """The mother finds her children by her number, acts for one; the stranger cannot."""
    mother = server.client(server.token(citizen=MOTHER))
    links = mother.get("/fhir/RelatedPerson", params={"identifier": f"{S}/cccd|{MOTHER}"}).json()
    children = sorted(e["resource"]["patient"]["reference"] for e in links["entry"])
    child = server.token(citizen=MOTHER, patient=children[0].partition("/")[2])

    own = server.client(child).get("/fhir/Patient").json()["entry"]

    assert len(children) == 2
    assert [e["resource"]["id"] for e in own] == [children[0].partition("/")[2]]
    refused = server.run(
        "token", "--citizen", STRANGER, "--patient", children[0].partition("/")[2], check=False
    )
    assert refused.returncode == 1


def test_the_book_page_shows_visits_and_the_childs_vaccinations(server: Server) -> None:
    """The page after the log-in shows card and visits; the child's page what is overdue."""
    browser = log_in(server, MOTHER)

    page = browser.get("/book")
    links = server.client(server.token(citizen=MOTHER)).get(
        "/fhir/RelatedPerson", params={"identifier": f"{S}/cccd|{MOTHER}"}
    )
    ids = [e["resource"]["patient"]["reference"].partition("/")[2] for e in links.json()["entry"]]
    pages = [browser.get(f"/book/children/{child}").text for child in ids]

    assert "NGUYỄN THỊ MẪU" in page.text
    assert "DN4010123456789" in page.text
    assert any("Sởi" in text and "Quá hạn" in text for text in pages)
    assert "Overdue" in browser.get(f"/book/children/{ids[0]}?lang=en").text or (
        "Overdue" in browser.get(f"/book/children/{ids[1]}?lang=en").text
    )


def test_a_strangers_page_is_404_and_no_session_leads_to_the_login(server: Server) -> None:
    """Without a session 303; with another's session the child's page is 404."""
    links = server.client(server.token(citizen=MOTHER)).get(
        "/fhir/RelatedPerson", params={"identifier": f"{S}/cccd|{MOTHER}"}
    )
    child = links.json()["entry"][0]["resource"]["patient"]["reference"].partition("/")[2]

    assert server.client().get(f"/book/children/{child}").status_code == 303
    assert log_in(server, STRANGER).get(f"/book/children/{child}").status_code == 404


def test_a_level_1_login_opens_no_book(server: Server) -> None:
    """A level-1 account is told to raise its level; no session is made."""
    browser = log_in(server, MOTHER, level="1")

    answer = browser.get("/book", follow_redirects=False)

    assert answer.status_code == 303


def test_a_newcomers_afternoon(server: Server) -> None:
    """An unknown citizen has an empty book; a clinic's CSV of a first visit shows at once."""
    number = "001190900001"
    browser = log_in(server, number, name="PHẠM THỊ MỚI", birthdate="1990-05-06")
    before = browser.get("/book").text
    moment = (now() - timedelta(days=1)).strftime("%Y%m%d0010")
    csv = (
        "MA_LK,HO_TEN,SO_CCCD,NGAY_SINH,GIOI_TINH,MA_THE_BHYT,MA_CSKCB,MA_LOAI_KCB,LY_DO_VV,"
        "NGAY_VAO,NGAY_RA,CHAN_DOAN_RV,MA_BENH_CHINH,MA_BENH_KT,KET_QUA_DTRI,MA_LOAI_RV\n"
        f"NEW-1,Phạm Thị Mới,{number},199005060000,2,,01998,01,Đau đầu,{moment},{moment},"
        "Đau nửa đầu,G43.9,,2,1\n"
    )
    clinic = server.client(server.token(client="clinic-01998"))

    answer = clinic.post("/submissions", content=csv.encode(), headers={"Content-Type": "text/csv"})
    began = time.monotonic()
    after = browser.get("/book").text

    assert answer.status_code == 200, answer.text
    assert answer.json()["dossiers"][0]["status"] == "created"
    assert "Đau nửa đầu" in after
    assert "Đau nửa đầu" not in before
    assert time.monotonic() - began < 1
