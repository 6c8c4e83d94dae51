"""The demo's clients, and tokens handed out by the command line."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from auth.server.demo import make_demo_clients, web_book
from auth.server.hand_out import NotHandedOut, citizen_token, client_token
from fhir_server.demo import FACILITIES
from mappings.vneid.claims import Claims
from tests.auth.world import MOTHER, World

CONFIDENTIAL = {
    "system",
    "hospital-01999",
    "hospital-79999",
    "clinic-01998",
    "insurer-bhxh",
    "insurer-private-01",
    "auditor",
}


def test_the_demo_has_the_contracts_clients(tmp_path: Path) -> None:
    """Their private keys lie in keys/demo, 0600, with kid and alg; a second start keeps them."""
    clients = make_demo_clients(tmp_path, "http://127.0.0.1:8080")
    again = make_demo_clients(tmp_path, "http://127.0.0.1:8080")

    assert {client.client_id for client in clients} == CONFIDENTIAL | {"vneid-app", "web-book"}
    assert clients == again
    for client_id in CONFIDENTIAL:
        path = tmp_path / "demo" / f"{client_id}.jwk.json"
        key = msgspec.json.decode(path.read_bytes())
        assert path.stat().st_mode & 0o777 == 0o600
        assert (key["alg"], key["crv"], key["kty"]) == ("ES384", "P-384", "EC")
        assert key["kid"]
        assert "d" in key
    assert all("d" not in c.jwks["keys"][0] for c in clients if c.jwks)


def test_the_demos_facilities_have_the_names_of_their_organizations(tmp_path: Path) -> None:
    """The history of a book names a hospital as the book does."""
    clients = make_demo_clients(tmp_path, "http://127.0.0.1:8080")

    assert {c.code: c.name for c in clients if c.kind == "hospital"} == FACILITIES


def test_the_apps_are_as_the_contract_says(tmp_path: Path) -> None:
    """vneid-app: public, its scopes, loopback redirects; web-book: the server's own pages."""
    clients = {c.client_id: c for c in make_demo_clients(tmp_path, "http://127.0.0.1:9000")}
    app = clients["vneid-app"]

    assert app.public
    assert " ".join(app.scopes) == (
        "openid fhirUser launch/patient offline_access patient/*.rs patient/Consent.cud"
    )
    assert app.takes_redirect("http://127.0.0.1:12345/callback")
    assert clients["web-book"] == web_book("http://127.0.0.1:9000")
    assert clients["web-book"].internal


def claims(number: str) -> Claims:
    return Claims(number, "NGUYỄN THỊ MẪU", "1995-03-07", "female")


async def patient_of(number: str) -> str | None:  # noqa: RUF029 - a port's shape
    return {"001225000017": "bao", MOTHER: "mother"}.get(number)


async def test_a_backends_token_has_all_its_scopes(world: World) -> None:
    """As the client would get it."""
    token = await client_token(world.server, "hospital-01999")

    assert (await world.access(token)).principal.scopes == ("system/*.cruds",)


@pytest.mark.parametrize("client_id", ["nobody", "vneid-app", "web-book", ""])
async def test_no_token_for_what_does_not_act_for_itself(world: World, client_id: str) -> None:
    """Unknown, or an app."""
    with pytest.raises(NotHandedOut):
        await client_token(world.server, client_id)


async def test_a_citizens_token_is_as_the_app_would_hold_it(world: World) -> None:
    """The number is settled; the token has all scopes of the app."""
    token = await citizen_token(world.server, claims(MOTHER), patient_of=patient_of)
    access = await world.access(token)

    assert access.principal.patient_id == "mother"
    assert access.principal.client_id == "vneid-app"
    assert "patient/Consent.cud" in access.principal.scopes
    assert [claim.number for claim in world.citizens.claimed] == [MOTHER]


@pytest.mark.parametrize("patient", ["bao", "Patient/bao", "001225000017", "mother", MOTHER])
async def test_a_guardian_gets_a_childs_token(world: World, patient: str) -> None:
    """By id or by number; the own one may be named too."""
    token = await citizen_token(
        world.server, claims(MOTHER), patient=patient, patient_of=patient_of
    )
    access = await world.access(token)

    assert access.principal.patient_id == (
        "bao" if "m" not in patient and patient != MOTHER else "mother"
    )
    assert access.principal.fhir_user == "Patient/mother"


@pytest.mark.parametrize("patient", ["father", "999999999999", "", "stranger"])
async def test_no_token_for_a_person_the_citizen_is_no_guardian_of(
    world: World, patient: str
) -> None:
    """Refused, whoever it is."""
    with pytest.raises(NotHandedOut):
        await citizen_token(world.server, claims(MOTHER), patient=patient, patient_of=patient_of)


async def test_no_token_of_a_disabled_client(world: World) -> None:
    """For neither kind."""
    await world.grants.disable("system")
    await world.grants.disable("vneid-app")

    with pytest.raises(NotHandedOut):
        await client_token(world.server, "system")
    with pytest.raises(NotHandedOut):
        await citizen_token(world.server, claims(MOTHER), patient_of=patient_of)
