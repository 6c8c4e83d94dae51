"""`/auth/token`: codes, refresh tokens and client assertions against access tokens.

RFC 6749; https://hl7.org/fhir/smart-app-launch/app-launch.html
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec
from joserfc import jws
from starlette.requests import Request
from starlette.responses import Response

from auth import tokens
from auth.bearer import citizen_access
from auth.client import Client
from auth.grants import Code, Family, is_same
from auth.scopes import format_scopes, granted, is_covered, words
from auth.server.assertion import UNKNOWN_REFRESH, authenticate
from auth.server.oauth import (
    NO_STORE,
    AuthorizationServer,
    OAuthError,
    form_of,
    json_answer,
)
from auth.tokens import AccessToken, InvalidToken

VERIFIER: Final = re.compile(r"[A-Za-z0-9\-._~]{43,128}")
"""RFC 7636, 4.1."""


async def token(server: AuthorizationServer, request: Request) -> Response:
    """Answer a token request."""
    form = await form_of(request)
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise OAuthError("invalid_request", "grant_type is missing.")
    act = _GRANT_TYPES.get(grant_type)
    if act is None:
        raise OAuthError("unsupported_grant_type", "This grant_type is not supported.")
    client = await authenticate(server, request, form)
    if client.internal:
        raise OAuthError("unauthorized_client", "This client belongs to the server itself.")
    return json_answer(await act(server, client, form), headers=NO_STORE)


async def client_credentials(  # noqa: RUF029 - one of a table whose other functions wait
    server: AuthorizationServer, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    """Return a token for a client that acts for itself (SMART Backend Services)."""
    if client.kind == "app" or client.public:
        raise OAuthError("unauthorized_client", "This client cannot act for itself.")
    scopes = scopes_for(client, form.get("scope"))
    return {
        "access_token": issue_for_client(server, client, scopes),
        "token_type": "Bearer",
        "expires_in": tokens.LIFETIME,
        "scope": format_scopes(scopes),
    }


async def exchange_code(
    server: AuthorizationServer, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    """Return the tokens that a code stands for, once."""
    text = form.get("code", "")
    code = await server.grants.code(text) if text else None
    if code is None:
        raise OAuthError("invalid_grant", "The code is not known.")
    if code.used:
        await server.grants.use_code(text, code)
        raise OAuthError("invalid_grant", "The code was used before.")
    wrong = _wrong_with(code, client, form, server.time())
    if wrong:
        # RFC 9700, 4.5: who brings a code without what belongs to it may have stolen it.
        await server.grants.end_code(text, code)
        raise OAuthError("invalid_grant", wrong)
    family = await server.grants.family(code.family)
    if not await server.grants.use_code(text, code) or family is None:
        raise OAuthError("invalid_grant", "The code was used before.")
    refresh = None
    if "offline_access" in family.scopes:
        refresh = await server.grants.first_refresh(family)
        if refresh is None:
            raise OAuthError("invalid_grant", "The code was used before.")
    return await citizen_answer(server, client, family, family.scopes, refresh=refresh, code=code)


def _wrong_with(code: Code, client: Client, form: Mapping[str, str], now: float) -> str:
    """Return what is wrong with the exchange of a code; "" where nothing is."""
    verifier = form.get("code_verifier", "")
    if code.client_id != client.client_id:
        # Another client is not told that there is such a code.
        return "The code is not known."
    if code.until <= now or code.redirect_uri != form.get("redirect_uri"):
        return "The code has ended, or the redirect_uri differs."
    if not VERIFIER.fullmatch(verifier) or not is_same(challenge(verifier), code.challenge):
        return "The code_verifier does not fit."
    return ""


async def exchange_refresh(
    server: AuthorizationServer, client: Client, form: Mapping[str, str]
) -> dict[str, Any]:
    """Return new tokens for a refresh token, which is good once."""
    found = await server.grants.refreshed(form.get("refresh_token", ""), client.client_id)
    if found is None or found[0].until <= server.time():
        raise OAuthError("invalid_grant", UNKNOWN_REFRESH)
    family, refresh = found
    scopes = family.scopes
    if "scope" in form:
        # RFC 6749, 6: the scope must not include any that was not granted at first.
        if not is_covered(words(form["scope"]), family.scopes):
            raise OAuthError("invalid_scope", "One of these scopes was not granted.")
        scopes = granted(words(form["scope"]), family.scopes)
    return await citizen_answer(server, client, family, scopes, refresh=refresh)


async def citizen_answer(
    server: AuthorizationServer,
    client: Client,
    family: Family,
    scopes: tuple[str, ...],
    *,
    refresh: str | None = None,
    code: Code | None = None,
) -> dict[str, Any]:
    """Return the token answer of a citizen's grant."""
    try:
        await citizen_access(server.directory, client, family, scopes)
    except InvalidToken:
        await server.grants.revoke_family(family.id)
        raise OAuthError("invalid_grant", "The guardianship has ended.") from None
    answer: dict[str, Any] = {
        "access_token": issue_for_family(server, family, scopes),
        "token_type": "Bearer",
        "expires_in": tokens.LIFETIME,
        "scope": format_scopes(scopes),
        "patient": family.patient,
        "need_patient_banner": True,
    }
    if refresh is not None:
        answer["refresh_token"] = refresh
    if "openid" in scopes:
        answer["id_token"] = _id_token(server, family, scopes, code.nonce if code else "")
    return answer


_GRANT_TYPES: Final = {
    "authorization_code": exchange_code,
    "refresh_token": exchange_refresh,
    "client_credentials": client_credentials,
}
"""What a token request may bring."""


def issue_for_client(server: AuthorizationServer, client: Client, scopes: tuple[str, ...]) -> str:
    """Return an access token of a client that acts for itself."""
    now = server.time()
    claims = AccessToken(
        iss=server.origin,
        aud=server.fhir_base,
        sub=client.client_id,
        client_id=client.client_id,
        scope=format_scopes(scopes),
        iat=now,
        exp=now + tokens.LIFETIME,
        jti=secrets.token_urlsafe(18),
    )
    return tokens.issue(claims, server.keys)


def issue_for_family(server: AuthorizationServer, family: Family, scopes: tuple[str, ...]) -> str:
    """Return an access token of a citizen's grant."""
    now = server.time()
    claims = AccessToken(
        iss=server.origin,
        aud=server.fhir_base,
        sub=subject_of(family),
        client_id=family.client_id,
        scope=format_scopes(scopes),
        iat=now,
        exp=now + tokens.LIFETIME,
        jti=f"{family.id}.{secrets.token_urlsafe(18)}",
        patient=family.patient,
        fhirUser=f"Patient/{family.own_patient}",
    )
    return tokens.issue(claims, server.keys)


def scopes_for(client: Client, asked: str | None) -> tuple[str, ...]:
    """Return the scopes a client gets: all it is registered for where it asks for none.

    Raises:
        OAuthError: `invalid_scope`, where nothing asked for is registered.
    """
    scopes = client.scopes if asked is None else granted(words(asked), client.scopes)
    if not scopes:
        raise OAuthError("invalid_scope", "The client is registered for none of these scopes.")
    return scopes


def challenge(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def subject_of(family: Family) -> str:
    """Return the opaque name of the person who logged in: it says nothing, and stays the same."""
    return sha256(f"sub|{family.own_patient}".encode()).hexdigest()[:32]


def _id_token(
    server: AuthorizationServer, family: Family, scopes: tuple[str, ...], nonce: str
) -> str:
    now = server.time()
    claims: dict[str, Any] = {
        "iss": server.origin,
        "aud": family.client_id,
        "sub": subject_of(family),
        "iat": now,
        "exp": now + tokens.LIFETIME,
    }
    if "fhirUser" in scopes or "profile" in scopes:
        claims["fhirUser"] = f"Patient/{family.own_patient}"
    if nonce:
        claims["nonce"] = nonce
    key = server.keys.active()
    header = {"alg": tokens.ALGORITHM, "typ": "JWT", "kid": key.kid}
    return jws.serialize_compact(
        header, msgspec.json.encode(claims), key, algorithms=[tokens.ALGORITHM]
    )
