"""The well-known documents: what this authorization server can do, and its keys.

RFC 8414; OpenID Connect Discovery 1.0;
https://hl7.org/fhir/smart-app-launch/conformance.html
"""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from auth.server.assertion import ALGORITHMS
from auth.server.oauth import AuthorizationServer, json_answer

CAPABILITIES: Final = (
    "launch-standalone",
    "client-public",
    "client-confidential-asymmetric",
    "context-standalone-patient",
    "context-banner",
    "permission-offline",
    "permission-patient",
    "permission-v1",
    "permission-v2",
    "authorize-post",
    "sso-openid-connect",
)
"""What of SMART App Launch 2.2 is here."""

SCOPES: Final = (
    "openid",
    "fhirUser",
    "launch/patient",
    "offline_access",
    "patient/*.rs",
    "patient/Consent.cud",
    "system/*.rs",
    "system/*.cruds",
)
CACHE: Final = {"Cache-Control": "public, max-age=300"}


def server_metadata(server: AuthorizationServer) -> dict[str, Any]:
    """Return what RFC 8414 and SMART both say."""
    return {
        "issuer": server.origin,
        "authorization_endpoint": server.url("authorize"),
        "token_endpoint": server.url("token"),
        "introspection_endpoint": server.url("introspect"),
        "revocation_endpoint": server.url("revoke"),
        "jwks_uri": server.url("jwks"),
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "token_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "revocation_endpoint_auth_methods_supported": ["private_key_jwt", "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
    }


def openid_configuration(server: AuthorizationServer) -> dict[str, Any]:
    """Return what OpenID Connect Discovery adds."""
    return server_metadata(server) | {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["iss", "sub", "aud", "exp", "iat", "nonce", "fhirUser"],
    }


def smart_configuration(server: AuthorizationServer) -> dict[str, Any]:
    """Return the content of `[base]/.well-known/smart-configuration`."""
    return server_metadata(server) | {"capabilities": list(CAPABILITIES)}


async def oauth_document(server: AuthorizationServer, _request: Request) -> Response:  # noqa: RUF029
    """Answer `/.well-known/oauth-authorization-server`."""
    return json_answer(server_metadata(server), headers=CACHE)


async def openid_document(server: AuthorizationServer, _request: Request) -> Response:  # noqa: RUF029
    """Answer `/.well-known/openid-configuration`."""
    return json_answer(openid_configuration(server), headers=CACHE)


async def smart_document(server: AuthorizationServer, _request: Request) -> Response:  # noqa: RUF029
    """Answer `/fhir/.well-known/smart-configuration`."""
    return json_answer(smart_configuration(server), headers=CACHE)


async def jwks(server: AuthorizationServer, _request: Request) -> Response:  # noqa: RUF029
    """Answer `/auth/jwks`."""
    return json_answer(server.keys.jwks(), headers=CACHE)
