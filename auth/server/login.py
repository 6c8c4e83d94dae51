"""A log-in under way: what is kept of it between the redirects, bound to one browser."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from auth.grants import LOGIN_LIFETIME, hashed, is_same, secret
from auth.server.oauth import AuthorizationServer
from auth.server.pages import page

_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Login(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One authorization request on its way through the identity provider.

    Attributes:
        browser: Hash of the cookie of the browser that asked.
        provider_nonce: Ours towards the identity provider.
        provider_verifier: Ours towards the identity provider.
        own_patient: Set when the person has logged in and is to choose a book.
    """

    client_id: str
    redirect_uri: str
    scopes: tuple[str, ...]
    challenge: str
    browser: str
    state: str = ""
    nonce: str = ""
    provider_nonce: str = ""
    provider_verifier: str = ""
    own_patient: str = ""
    number: str = ""
    name: str = ""
    kept_apart: tuple[str, ...] = ()


def browser_of(server: AuthorizationServer, request: Request) -> str:
    """Return the value of this browser's cookie; a new one where it has none of ours."""
    value = request.cookies.get(_cookie(server), "")
    return value if _BROWSER.fullmatch(value) else secret()


def remember_browser(server: AuthorizationServer, response: Response, browser: str) -> None:
    """Set the cookie that ties a log-in to the browser that began it."""
    response.set_cookie(
        _cookie(server),
        browser,
        max_age=LOGIN_LIFETIME,
        path="/" if server.is_secure else "/auth",
        secure=server.is_secure,
        httponly=True,
        samesite="lax",
    )


async def keep(server: AuthorizationServer, login: Login) -> str:
    """Keep a log-in, and return the handle it is taken up again with, once."""
    handle = secret()
    await server.grants.store.put(
        "login", hashed(handle), msgspec.json.encode(login), until=server.time() + LOGIN_LIFETIME
    )
    return handle


async def take(server: AuthorizationServer, request: Request, handle: str) -> Login | None:
    """Return the log-in of a handle and forget it; None where it is not this browser's."""
    data = await server.grants.store.get("login", hashed(handle))
    if data is None:
        return None
    login = msgspec.json.decode(data, type=Login)
    browser = request.cookies.get(_cookie(server), "")
    # Somebody else's browser must not finish it: that would log a person into another's book.
    if not is_same(login.browser, hashed(browser)):
        return None
    if not await server.grants.store.put("login", hashed(handle), None, expected=data):
        return None
    return login


def answer(server: AuthorizationServer, login: Login, **values: str) -> RedirectResponse:
    """Return the redirect that carries an answer to the client (RFC 6749, 4.1.2; RFC 9207)."""
    return RedirectResponse(answer_url(server, login, **values), status_code=303)


def answer_url(server: AuthorizationServer, login: Login, **values: str) -> str:
    """Return the client's redirect URI with an answer."""
    if login.state:
        values["state"] = login.state
    values["iss"] = server.origin
    mark = "&" if "?" in login.redirect_uri else "?"
    return f"{login.redirect_uri}{mark}{urlencode(values)}"


def again_url(server: AuthorizationServer, login: Login) -> str:
    """Return the authorization request once more."""
    values = {
        "response_type": "code",
        "client_id": login.client_id,
        "redirect_uri": login.redirect_uri,
        "scope": " ".join(login.scopes),
        "state": login.state,
        "nonce": login.nonce,
        "aud": server.fhir_base,
        "code_challenge": login.challenge,
        "code_challenge_method": "S256",
    }
    kept = {name: value for name, value in values.items() if value}
    return f"{server.url('authorize')}?{urlencode(kept)}"


def stale_page() -> Response:
    """Return the page for a log-in that is unknown, ended, or another browser's."""
    return page(
        "refused.html",
        status=400,
        vi="Lần đăng nhập này đã hết hạn hoặc được mở ở trình duyệt khác. Hãy bắt đầu lại.",
        en="This log-in has ended, or was begun in another browser. Please start again.",
    )


def _cookie(server: AuthorizationServer) -> str:
    # The prefix makes browsers refuse a cookie that another host of the domain has set.
    return "__Host-login" if server.is_secure else "login"
