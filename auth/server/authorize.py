"""`/auth/authorize`: the beginning of the code flow.

https://hl7.org/fhir/smart-app-launch/app-launch.html#obtain-authorization-code, RFC 9700
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from auth.client import Client
from auth.grants import hashed, secret
from auth.limits import LOGIN_BEGUN
from auth.ports import ProviderUnreachable
from auth.scopes import granted, parse, words
from auth.server.login import Login, answer, browser_of, keep, remember_browser
from auth.server.oauth import AuthorizationServer, OAuthError, fields, form_of, source_of
from auth.server.pages import page
from auth.server.token import challenge

CHALLENGE: Final = re.compile(r"[A-Za-z0-9\-_]{43}")
"""A SHA-256 in base64url (RFC 7636, 4.2)."""

MAX_STATE: Final = 2048


async def authorize(server: AuthorizationServer, request: Request) -> Response:
    """Send the browser to the identity provider, or back with what is wrong."""
    try:
        if request.method == "POST":
            asked = await form_of(request)
        else:
            asked = fields(request.url.query)
        client = await _client(server, asked)
    except OAuthError as error:
        # No redirect before client and redirect_uri are known: it would be an open one.
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return _refused_page(error)
    browser = browser_of(server, request)
    login = Login(
        client_id=client.client_id,
        redirect_uri=asked["redirect_uri"],
        scopes=(),
        challenge=asked.get("code_challenge", ""),
        browser=hashed(browser),
        state=asked.get("state", ""),
        nonce=asked.get("nonce", ""),
    )
    try:
        scopes = _scopes(server, client, asked)
    except OAuthError as error:
        return answer(server, login, error=error.error, error_description=error.description)
    # Each leaves a record, for whoever asks: that is what is counted.
    source = source_of(request)
    await server.limits.count(LOGIN_BEGUN, source)
    return await _to_provider(server, login, scopes, browser)


async def _to_provider(
    server: AuthorizationServer, login: Login, scopes: tuple[str, ...], browser: str
) -> Response:
    nonce, verifier = secret(), secret()
    state = await keep(
        server,
        Login(
            client_id=login.client_id,
            redirect_uri=login.redirect_uri,
            scopes=scopes,
            challenge=login.challenge,
            browser=login.browser,
            state=login.state,
            nonce=login.nonce,
            provider_nonce=nonce,
            provider_verifier=verifier,
        ),
    )
    try:
        url = await server.provider.authorization_url(
            redirect_uri=server.callback_url,
            state=state,
            nonce=nonce,
            challenge=challenge(verifier),
        )
    except ProviderUnreachable:
        return answer(
            server,
            login,
            error="temporarily_unavailable",
            error_description="The identity provider does not answer.",
        )
    response = RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store"})
    remember_browser(server, response, browser)
    return response


async def _client(server: AuthorizationServer, asked: Mapping[str, str]) -> Client:
    """The client, where the redirect URI is one of its own.

    Raises:
        OAuthError: It is not, or the client is not known.
    """
    client = await server.grants.client(asked.get("client_id", ""))
    if client is None or client.disabled or client.kind != "app":
        raise OAuthError("invalid_request", "The client_id is not that of an app.")
    uri = asked.get("redirect_uri", "")
    # The server's own client is one record for all processes, and names the origin of the last
    # that was started; each answers its own pages, whatever origin it is reached at.
    takes = uri == server.book_url if client.internal else client.takes_redirect(uri)
    if not takes:
        raise OAuthError("invalid_request", "The redirect_uri is not registered for the client.")
    return client


def _scopes(
    server: AuthorizationServer, client: Client, asked: Mapping[str, str]
) -> tuple[str, ...]:
    """The scopes that a request is good for.

    Raises:
        OAuthError: To be told to the client by redirect.
    """
    if asked.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code.")
    if "request" in asked:
        raise OAuthError("request_not_supported", "Request objects are not supported.")
    if "request_uri" in asked:
        raise OAuthError("request_uri_not_supported", "Request objects are not supported.")
    if asked.get("response_mode", "query") != "query":
        raise OAuthError("invalid_request", "response_mode must be query.")
    if asked.get("code_challenge_method") != "S256":
        raise OAuthError("invalid_request", "PKCE with S256 is required.")
    if not CHALLENGE.fullmatch(asked.get("code_challenge", "")):
        raise OAuthError("invalid_request", "The code_challenge is not one of S256.")
    if len(asked.get("state", "")) > MAX_STATE or len(asked.get("nonce", "")) > MAX_STATE:
        raise OAuthError("invalid_request", "state or nonce is too long.")
    if "none" in asked.get("prompt", "").split():
        raise OAuthError("login_required", "A person has to log in.")
    scopes = granted(words(asked.get("scope", " ".join(client.scopes))), client.scopes)
    # `openid` alone only says who it is: the token then opens no resource.
    if "openid" not in scopes and not any(map(parse, scopes)):
        raise OAuthError("invalid_scope", "The client is registered for none of these scopes.")
    _check_audience(server, asked)
    return scopes


def _check_audience(server: AuthorizationServer, asked: Mapping[str, str]) -> None:
    """Refuse a token for a server that only pretends to be this one (SMART: `aud`).

    Our tokens are for one FHIR base alone, whatever is asked, so a general OAuth client that
    does not know `aud` loses nothing; one that names another server is refused.
    """
    # RFC 8707's `resource` means the same (SMART 2.2).
    aud = asked.get("aud") or asked.get("resource")
    if aud is not None and aud.rstrip("/") != server.fhir_base:
        raise OAuthError("invalid_request", "aud must be the FHIR base of this server.")


def _refused_page(error: OAuthError) -> Response:
    return page(
        "refused.html",
        status=error.status,
        vi="Yêu cầu đăng nhập của ứng dụng không hợp lệ.",
        en=error.description,
    )
