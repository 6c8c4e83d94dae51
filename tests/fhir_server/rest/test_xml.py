"""XML as it is sent: its encoding, and the order of its elements."""

from __future__ import annotations

from typing import Any

import httpx2 as httpx
import pytest

from fhir_server.model import codec
from tests.conftest import BASE

Client = httpx.AsyncClient

START = '<Patient xmlns="http://hl7.org/fhir">'
IN_ORDER = START + '<active value="true"/><gender value="male"/></Patient>'
OUT_OF_ORDER = START + '<gender value="male"/><active value="true"/></Patient>'
XML = {"Content-Type": "application/fhir+xml"}
STRICT = {"Prefer": "handling=strict"}


def _declared(encoding: str) -> bytes:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{START}<name><text value="Nguyễn"/></name>'
    python = {"ISO-8859-1": "latin-1", "windows-1258": "cp1258"}.get(encoding, encoding)
    return (text + "</Patient>").encode(python, "xmlcharrefreplace")


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16", "utf-16-le", "windows-1258"])
@pytest.mark.parametrize("kind", ["application/fhir+xml", "application/fhir+xml; charset=utf-8"])
async def test_xml_in_another_encoding_is_refused(client: Client, encoding: str, kind: str) -> None:
    """R4: FHIR uses UTF-8 for all bodies; what is declared otherwise would be read wrongly."""
    response = await client.post(
        "Patient", content=_declared(encoding), headers={"Content-Type": kind}
    )

    assert response.status_code == 415
    assert "UTF-8" in response.json()["issue"][0]["details"]["text"]


@pytest.mark.parametrize("encoding", ["UTF-8", "utf-8", "US-ASCII"])
async def test_xml_in_utf_8_is_read(client: Client, encoding: str) -> None:
    """With a byte order mark, too."""
    mark = b"\xef\xbb\xbf" if encoding == "UTF-8" else b""

    response = await client.post("Patient", content=mark + _declared(encoding), headers=XML)

    assert response.status_code == 201, response.text
    assert response.json()["name"] == [{"text": "Nguyễn"}]


async def test_a_patch_in_another_encoding_is_refused(client: Client) -> None:
    """An XML Patch is a body of FHIR too."""
    await client.put("Patient/a", json={"resourceType": "Patient", "id": "a", "active": True})
    patch = '<?xml version="1.0" encoding="UTF-16"?><diff><remove sel="Patient/active"/></diff>'

    response = await client.patch(
        "Patient/a",
        content=patch.encode("utf-16"),
        headers={"Content-Type": "application/xml-patch+xml"},
    )

    assert response.status_code == 415


@pytest.mark.parametrize(
    ("body", "at"),
    [
        (OUT_OF_ORDER, "Patient.active"),
        (
            START + '<name><given value="A"/><family value="B"/></name></Patient>',
            "Patient.name.family",
        ),
        (
            START + '<name><family value="B"/></name><active value="true"/>'
            '<name><family value="C"/></name></Patient>',
            "Patient.active",
        ),
        (
            START + "<contained><Organization><name value='x'/><active value='true'/>"
            "</Organization></contained></Patient>",
            "Patient.contained.active",
        ),
    ],
    ids=["of the resource", "within", "parted", "contained"],
)
async def test_elements_out_of_order_are_refused_if_strict(
    client: Client, body: str, at: str
) -> None:
    """R4's schemas fix the order; whoever does not ask for strictness is understood anyway."""
    lenient = await client.post("Patient", content=body, headers=XML)
    strict = await client.post("Patient", content=body, headers=XML | STRICT)

    assert lenient.status_code in {201, 422}, lenient.text
    assert strict.status_code == 422
    first: dict[str, Any] = strict.json()["issue"][0]
    assert (first["code"], first["expression"]) == ("structure", [at])


async def test_what_is_in_order_is_taken_if_strict(client: Client) -> None:
    """Whatever this server writes as XML it takes back strictly."""
    rich = {
        "resourceType": "Patient",
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        "contained": [{"resourceType": "Organization", "id": "o", "active": True, "name": "x"}],
        "extension": [{"url": "http://x", "valueString": "y"}],
        "active": True,
        "name": [{"use": "official", "family": "A", "given": ["B", "C"]}, {"text": "A B"}],
        "_birthDate": {"extension": [{"url": "http://x", "valueCode": "z"}]},
        "managingOrganization": {"reference": "#o"},
        "deceasedBoolean": False,
    }
    for body in (codec.to_xml(rich), IN_ORDER.encode()):
        response = await client.post("Patient", content=body, headers=XML | STRICT)
        assert response.status_code == 201, (BASE, response.text)
