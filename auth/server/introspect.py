"""`/auth/introspect` and `/auth/revoke`: what a token is worth now, and the end of one.

RFC 7662, RFC 7009
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from auth.bearer import BearerTokens
from auth.server.assertion import authenticate
from auth.server.oauth import (
    NO_STORE,
    AuthorizationServer,
    OAuthError,
    form_of,
    json_answer,
)
from auth.tokens import OUTLIVED, AccessToken, InvalidToken, Verifier


async def introspect(server: AuthorizationServer, request: Request) -> Response:
    """Answer a confidential client about a token of its own; of every other, `active: false`."""
    form = await form_of(request)
    client = await authenticate(server, request, form, audience=server.url("introspect"))
    if client.public:
        raise OAuthError("invalid_client", "A public client cannot ask.", status=401)
    if "token" not in form:
        raise OAuthError("invalid_request", "token is missing.")
    claims = await _good_claims(server, form["token"])
    if claims is None or claims.client_id != client.client_id:
        return json_answer({"active": False}, headers=NO_STORE)
    return json_answer(_facts(claims), headers=NO_STORE)


async def revoke(server: AuthorizationServer, request: Request) -> Response:
    """End a token of the client's own; 200 whatever the token was (RFC 7009, 2.2)."""
    form = await form_of(request)
    client = await authenticate(server, request, form, audience=server.url("revoke"))
    text = form.get("token")
    if text is None:
        raise OAuthError("invalid_request", "token is missing.")
    try:
        claims = _verifier(server).verify(text, server.now().timestamp())
    except InvalidToken:
        await _revoke_refresh(server, text, client.client_id)
    else:
        if claims.client_id == client.client_id:
            await server.grants.end_token(claims.jti, claims.exp + OUTLIVED)
    return Response(status_code=200, headers=dict(NO_STORE))


async def _revoke_refresh(server: AuthorizationServer, text: str, client_id: str) -> None:
    """End the grant of a refresh token, also of one that was exchanged already."""
    family = await server.grants.family(text.partition(".")[0])
    if family is not None and family.client_id == client_id and family.refresh:
        await server.grants.revoke_family(family.id)


async def _good_claims(server: AuthorizationServer, text: str) -> AccessToken | None:
    verifier = _verifier(server)
    bearer = BearerTokens(verifier, server.grants, server.directory, server.now)
    try:
        await bearer.access_with(text)
        return verifier.verify(text, server.now().timestamp())
    except InvalidToken:
        return None


def _verifier(server: AuthorizationServer) -> Verifier:
    return Verifier(server.keys, issuer=server.origin, audience=server.fhir_base)


def _facts(claims: AccessToken) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "active": True,
        "token_type": "Bearer",
        "iss": claims.iss,
        "aud": claims.aud,
        "sub": claims.sub,
        "client_id": claims.client_id,
        "scope": claims.scope,
        "iat": claims.iat,
        "exp": claims.exp,
        "jti": claims.jti,
    }
    if claims.patient:
        facts |= {"patient": claims.patient, "fhirUser": claims.fhirUser}
    return facts
