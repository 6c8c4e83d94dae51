"""CHUKYDONVI over HTTP, where `FHIR_SERVER_REQUIRE_SIGNATURE` is `yes`: contract sections 3 and 5.

The envelopes are the vectors of `tests/adapters/xml130/test_signature.py`.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from starlette.applications import Starlette

from adapters.submissions.intake import Submission, receive
from adapters.submissions.resume import resume_pending
from adapters.submissions.routes import submissions_routes
from adapters.xml130 import signature
from fhir_server.model import codec
from tests.conftest import World
from tests.xml130 import dossier, envelope, file, hoso, visit

DATA = Path(__file__).parents[2] / "data" / "xml130"
RSA = (DATA / "signed-rsa.xml").read_bytes()
EC = (DATA / "signed-ec.xml").read_bytes()
RECORD = {
    "MA_LK": "LK-16",
    "HO_TEN": "Nguyễn Thị Mẫu",
    "NGAY_SINH": "199503070000",
    "GIOI_TINH": "2",
    "MA_CSKCB": "01999",
    "MA_LOAI_KCB": "01",
    "LY_DO_VV": "Ho",
    "NGAY_VAO": "202611200815",
    "NGAY_RA": "202611200950",
    "CHAN_DOAN_RV": "Viêm họng cấp",
    "MA_BENH_CHINH": "J02.9",
    "KET_QUA_DTRI": "2",
    "MA_LOAI_RV": "1",
    "SO_CCCD": "001195012345",
}


@pytest.fixture
def client(world: World) -> httpx.AsyncClient:
    """The hospital's client of a server that requires signatures."""
    verify = partial(signature.verify, now=world.clock.at)
    routes = submissions_routes(world.context_of, base_url="http://testserver", verify=verify)
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=routes)),
        base_url="http://testserver",
        headers={"Authorization": "Bearer hospital", "Content-Type": "application/xml"},
    )


def _rules(part: dict[str, Any]) -> list[str]:
    return [issue["rule"] for issue in part["issues"] if issue["severity"] == "error"]


@pytest.mark.parametrize("body", [RSA, EC], ids=["rsa", "ec"])
async def test_a_signed_envelope_is_taken(
    client: httpx.AsyncClient, world: World, body: bytes
) -> None:
    """A valid CHUKYDONVI: the dossier is stored, and its source has the signature still."""
    answer = await client.post("/submissions", content=body)
    source = await client.get(f"/submissions/{answer.json()['id']}/source")

    (part,) = answer.json()["dossiers"]
    assert (answer.status_code, part["status"]) == (200, "created")
    assert "SIGNATURE" not in answer.text
    assert await world.store.count("Encounter") == 1
    assert source.content == body
    assert signature.verify(source.content)


@pytest.mark.parametrize(
    "body",
    [
        RSA.replace(b"<NGAYLAP>20261120", b"<NGAYLAP>20261121"),
        EC.replace(b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
        EC.replace(b"<CHUKYDONVI>", b"<CHUKYDONVI>x</CHUKYDONVI><CHUKYDONVI>"),
        envelope([dossier()]),
    ],
    ids=["content changed", "value changed", "two", "none"],
)
async def test_an_envelope_without_a_valid_signature_is_refused(
    client: httpx.AsyncClient, world: World, body: bytes
) -> None:
    """A changed, broken or absent signature: SIGNATURE, in both languages, and nothing stored."""
    for path in ("/submissions", "/submissions?dry-run=true"):
        answer = await client.post(path, content=body)

        (part,) = answer.json()["dossiers"]
        assert (answer.status_code, part["status"]) == (422, "rejected")
        assert _rules(part) == ["SIGNATURE"]
        (issue,) = (one for one in part["issues"] if one["rule"] == "SIGNATURE")
        assert issue["field"] == "CHUKYDONVI"
        assert issue["message"] != issue["message_vi"]
    assert await world.store.count("Encounter") == 0


async def test_every_dossier_of_an_unsigned_envelope_is_refused(client: httpx.AsyncClient) -> None:
    """SIGNATURE stands in each dossier, beside what else is wrong with it."""
    body = envelope([
        dossier(visit(MA_LK="A")),
        dossier(visit(MA_LK="B", NGAY_VAO="")),
        hoso(file("XML1", b"<TONG_HOP>")),
    ])

    answer = await client.post("/submissions", content=body)

    found = [_rules(part) for part in answer.json()["dossiers"]]
    assert answer.status_code == 422
    assert found == [["SIGNATURE"], ["G12-REQUIRED", "SIGNATURE"], ["XML", "SIGNATURE"]]


async def test_a_certificate_out_of_its_time_signs_nothing(
    client: httpx.AsyncClient, world: World
) -> None:
    """The certificate must be in force when the envelope comes."""
    verify = partial(signature.verify, now=world.clock.at.replace(year=2037))
    within = await world.context_of("Bearer hospital", "")

    receipt = await receive(within, Submission(EC, "xml", verify=verify))

    assert receipt.status == 422


async def test_records_of_the_sixteen_fields_have_no_signature(client: httpx.AsyncClient) -> None:
    """JSON is no envelope, and is asked for none."""
    answer = await client.post(
        "/submissions",
        content=codec.dumps(RECORD),
        headers={"Content-Type": "application/json"},
    )

    assert answer.status_code == 200, answer.text


async def test_nothing_is_pending_after_a_refusal(client: httpx.AsyncClient, world: World) -> None:
    """A refused envelope was answered: no start takes it up again without its signature."""
    await client.post("/submissions", content=envelope([dossier()]))

    assert await resume_pending(await world.context_of("Bearer system", "")) == 0
