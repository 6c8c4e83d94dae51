"""`/auth/introspect` and `/auth/revoke`."""

from __future__ import annotations

from typing import Any

import pytest

from auth.server.assertion import ASSERTION_TYPE
from fhir_server.model.outcome import LoginRequired
from tests.auth.world import MOTHER, World


async def ask(world: World, client_id: str, token: str, endpoint: str = "introspect") -> Any:
    form = {
        "token": token,
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": world.assertion(client_id, aud=f"{world.origin}/auth/{endpoint}"),
    }
    return await world.http.post(f"/auth/{endpoint}", data=form)


async def is_good(world: World, token: str) -> bool:
    try:
        await world.access(token)
    except LoginRequired:
        return False
    return True


async def test_a_client_is_told_of_its_own_token(world: World) -> None:
    """Active, with the claims; not to be stored."""
    token = await world.backend_token("hospital-01999", scope="system/*.rs")

    answer = await ask(world, "hospital-01999", token)

    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert body["active"] is True
    assert (body["client_id"], body["scope"]) == ("hospital-01999", "system/*.rs")
    assert {"exp", "iat", "sub", "aud", "iss"} <= set(body)


async def test_of_anothers_token_nothing_is_said(world: World) -> None:
    """`active: false` and no more, whoever asks, also `system`."""
    hospital = await world.backend_token("hospital-01999")
    citizen = (await world.citizen(MOTHER))["access_token"]
    for client_id in ("hospital-79999", "system"):
        for token in (hospital, citizen, "rubbish", ""):
            answer = await ask(world, client_id, token or "x")
            assert answer.json() == {"active": False}


async def test_a_token_that_ended_is_not_active(world: World) -> None:
    """By time, by revocation, with its client."""
    token = await world.backend_token("hospital-01999")
    await ask(world, "hospital-01999", token, "revoke")
    assert (await ask(world, "hospital-01999", token)).json() == {"active": False}

    other = await world.backend_token("hospital-01999")
    world.clock.pass_by(901)
    assert (await ask(world, "hospital-01999", other)).json() == {"active": False}


async def test_who_does_not_prove_itself_is_not_answered(world: World) -> None:
    """A public client, or none, cannot ask."""
    token = (await world.citizen(MOTHER))["access_token"]
    for form in ({"token": token}, {"token": token, "client_id": "vneid-app"}):
        answer = await world.http.post("/auth/introspect", data=form)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_an_assertion_for_the_token_url_serves_here_too(world: World) -> None:
    """`aud` may be the token URL; another endpoint's it may not be."""
    token = await world.backend_token("system")
    for aud, status in (("token", 200), ("introspect", 200), ("revoke", 401), ("authorize", 401)):
        form = {
            "token": token,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": world.assertion("system", aud=f"{world.origin}/auth/{aud}"),
        }
        assert (await world.http.post("/auth/introspect", data=form)).status_code == status


@pytest.mark.parametrize("endpoint", ["introspect", "revoke"])
async def test_a_request_without_a_token_is_refused(world: World, endpoint: str) -> None:
    """`token` is required."""
    form = {
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": world.assertion("system"),
    }
    answer = await world.http.post(f"/auth/{endpoint}", data=form)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_client_ends_its_own_token(world: World) -> None:
    """And no other's: those answer 200 as well, and go on."""
    own = await world.backend_token("hospital-01999")
    other = await world.backend_token("hospital-79999")

    for token in (own, other, "rubbish"):
        assert (await ask(world, "hospital-01999", token, "revoke")).status_code == 200

    assert not await is_good(world, own)
    assert await is_good(world, other)


async def test_an_app_ends_its_grant_by_its_refresh_token(world: World) -> None:
    """Access and refresh tokens end together."""
    answer = await world.citizen(MOTHER)
    other = await world.citizen(MOTHER)
    form = {"client_id": "vneid-app", "token": answer["refresh_token"]}

    assert (await world.http.post("/auth/revoke", data=form)).status_code == 200

    assert not await is_good(world, answer["access_token"])
    assert (await world.refresh(answer["refresh_token"])).status_code == 400
    assert await is_good(world, other["access_token"])


async def test_an_app_ends_one_access_token(world: World) -> None:
    """The grant goes on."""
    answer = await world.citizen(MOTHER)
    form = {"client_id": "vneid-app", "token": answer["access_token"]}

    await world.http.post("/auth/revoke", data=form)

    assert not await is_good(world, answer["access_token"])
    assert (await world.refresh(answer["refresh_token"])).status_code == 200
