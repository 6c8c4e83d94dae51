"""The well-known documents, methods and CORS."""

from __future__ import annotations

import pytest

from auth.server.routes import ROUTES
from tests.auth.world import World

DOCUMENTS = (
    "/.well-known/oauth-authorization-server",
    "/.well-known/openid-configuration",
    "/fhir/.well-known/smart-configuration",
)


@pytest.mark.parametrize("path", DOCUMENTS)
async def test_a_document_names_the_endpoints(world: World, path: str) -> None:
    """Every URL in it is ours; what it names answers."""
    document = (await world.http.get(path)).json()

    assert document["issuer"] == world.origin
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert "private_key_jwt" in document["token_endpoint_auth_methods_supported"]
    assert document["token_endpoint_auth_signing_alg_values_supported"] == ["ES384", "RS384"]
    for name in (
        "authorization_endpoint",
        "token_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
        "jwks_uri",
    ):
        assert document[name].startswith(f"{world.origin}/auth/")
        assert (await world.http.get(document[name])).status_code != 404


async def test_smart_configuration_says_what_is_here(world: World) -> None:
    """SMART's required members and capabilities."""
    document = (await world.http.get(DOCUMENTS[2])).json()

    assert {
        "launch-standalone",
        "client-public",
        "client-confidential-asymmetric",
        "permission-v2",
        "permission-patient",
    } <= set(document["capabilities"])
    assert {"authorization_code", "client_credentials"} <= set(document["grant_types_supported"])


async def test_openid_configuration_says_how_id_tokens_are_signed(world: World) -> None:
    """OpenID's required members."""
    document = (await world.http.get(DOCUMENTS[1])).json()

    assert document["id_token_signing_alg_values_supported"] == ["ES256"]
    assert document["subject_types_supported"] == ["public"]
    assert document["response_types_supported"] == ["code"]


async def test_the_jwks_has_public_parts_alone(world: World) -> None:
    """No private member of any key."""
    keys = (await world.http.get("/auth/jwks")).json()["keys"]

    assert len(keys) == 1
    assert set(keys[0]) == {"kty", "crv", "x", "y", "kid", "use", "alg"}


@pytest.mark.parametrize(("path", "methods", "cors"), ROUTES, ids=[path for path, _, _ in ROUTES])
async def test_only_what_browsers_need_from_elsewhere_has_cors(
    world: World, path: str, methods: dict, cors
) -> None:
    """Any origin, without cookies, for the token, the keys and the documents; else none."""
    headers = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": next(iter(methods)),
    }
    preflight = await world.http.options(path, headers=headers)
    real = await world.http.request(next(iter(methods)), path, headers=headers)

    for answer in (preflight, real):
        assert answer.headers.get("access-control-allow-origin") == ("*" if cors else None)
        assert "access-control-allow-credentials" not in answer.headers
    assert preflight.status_code == (204 if cors else 405)


@pytest.mark.parametrize(("path", "methods"), [(path, methods) for path, methods, _ in ROUTES])
async def test_another_method_is_refused_in_oauths_words(
    world: World, path: str, methods: dict
) -> None:
    """405 with `Allow` and JSON."""
    answer = await world.http.delete(path)

    assert answer.status_code == 405
    assert answer.headers["allow"] == ", ".join(methods)
    assert answer.json()["error"] == "invalid_request"
