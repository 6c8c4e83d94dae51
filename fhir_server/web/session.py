"""The web book's log-in: the server's own client of the code flow, and the session of a browser.

The cookie is opaque and new at every log-in; what it stands for is kept in the ledger, so that
every process knows it and a log-out ends it everywhere. It stands for a grant: what ends that
(a revocation, a disabled client) ends the session, and whose guardian the citizen is, is asked
at every request.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from auth.bearer import Access, access_for
from auth.client import Client
from auth.grants import SESSION_LIFETIME, Family, hashed, is_same, secret
from auth.ports import Child
from auth.server.oauth import AuthorizationServer, OAuthError, fields
from auth.server.pages import page
from auth.server.token import challenge, exchange_code
from auth.tokens import InvalidToken
from fhir_server.interactions.context import Context
from fhir_server.model.outcome import UnknownResource
from fhir_server.web.pages import logged_out_page

CLIENT_ID: Final = "web-book"
LOGIN_PATH: Final = "/book/login"
_PAGE: Final = re.compile(r"/book(/[A-Za-z0-9\-][A-Za-z0-9.\-]*)*(\?lang=(vi|en))?")
"""Where a log-in may lead: pages of the book alone, so that it is no open redirect."""

_LOGIN_SECONDS: Final = 900


class _Record(msgspec.Struct, frozen=True):
    """What the ledger keeps of a session."""

    family: str
    csrf: str


class _Begun(msgspec.Struct, frozen=True):
    """What the browser itself keeps of a log-in that it began."""

    state: str
    verifier: str
    page: str


@dataclass(frozen=True, slots=True)
class BookSession:
    """Who is logged in at the web book, read anew for this request.

    Attributes:
        patient_id: The citizen's own Patient.
        children: The children whose verified guardian the citizen is now.
        kept_apart: Facilities whose visits under the number are kept apart, to be told.
        csrf: Goes into every form, as the field `csrf`.
    """

    patient_id: str
    children: tuple[Child, ...]
    kept_apart: tuple[str, ...]
    csrf: str
    _client: Client
    _family: Family
    _source: str
    _context_for: Callable[[Access, str], Context]

    def context(self, patient_id: str | None = None) -> Context:
        """Return the Context of the citizen, or acting for a child.

        Raises:
            UnknownResource: That Patient is not the citizen's own nor such a child.
        """
        try:
            access = access_for(
                self._client,
                self._family,
                self._family.scopes,
                self.children,
                patient_id or self.patient_id,
            )
        except InvalidToken:
            raise UnknownResource("There is no such book, or it is not shown to you.") from None
        return self._context_for(access, self._source)


@dataclass(frozen=True, slots=True)
class BookSessions:
    """The sessions of the web book; app.py sets one as `app.state.book_sessions`.

    Attributes:
        server: The authorization server, asked in this process.
        context_for: Makes the Context of an access and a source address.
    """

    server: AuthorizationServer
    context_for: Callable[[Access, str], Context]

    async def session_of(self, request: Request) -> BookSession | None:
        """Return the session of a browser, or None."""
        record = await self._record(request)
        if record is None:
            return None
        grants = self.server.grants
        family = await grants.family(record.family)
        client = await grants.client(CLIENT_ID)
        if family is None or client is None or client.disabled:
            return None
        return BookSession(
            patient_id=family.own_patient,
            children=await self.server.directory.children(family.number),
            kept_apart=family.kept_apart,
            csrf=record.csrf,
            _client=client,
            _family=family,
            _source=request.client.host if request.client else "",
            _context_for=self.context_for,
        )

    async def begin(self, request: Request) -> Response:
        """Send the browser to the authorization server."""
        wanted = request.query_params.get("page", "/book")
        begun = _Begun(
            state=secret(),
            verifier=secret(),
            page=wanted if _PAGE.fullmatch(wanted) else "/book",
        )
        client = await self.server.grants.client(CLIENT_ID)
        asked = {
            "response_type": "code",
            "client_id": CLIENT_ID,
            "redirect_uri": self.server.book_url,
            "scope": " ".join(client.scopes if client else ()),
            "state": begun.state,
            "aud": self.server.fhir_base,
            "code_challenge": challenge(begun.verifier),
            "code_challenge_method": "S256",
        }
        response = _redirect(f"{self.server.url('authorize')}?{urlencode(asked)}")
        kept = urlsafe_b64encode(msgspec.json.encode(begun)).decode()
        self._set(response, "book-login", kept, _LOGIN_SECONDS)
        return response

    async def callback(self, request: Request) -> Response:
        """Take the code, and give the browser a new session."""
        begun = self._begun(request)
        try:
            given = fields(request.url.query)
        except OAuthError:
            return _refused()
        is_ours = begun is not None and is_same(begun.state, given.get("state", ""))
        if begun is None or not is_ours or given.get("iss") != self.server.origin:
            return _refused()
        family_id = await self._redeem(given.get("code", ""), begun)
        if family_id is None:
            return _refused()
        await self._forget(request)
        value, record = secret(), _Record(family_id, secret())
        await self.server.grants.store.put(
            "session",
            hashed(value),
            msgspec.json.encode(record),
            until=self.server.time() + SESSION_LIFETIME,
        )
        response = _redirect(begun.page)
        self._set(response, "book", value, SESSION_LIFETIME)
        self._clear(response, "book-login")
        return response

    async def log_out(self, request: Request) -> Response:
        """End the session and its grant, for a form of ours.

        A form carries the session's own `csrf`; without the field, the request must not come
        from another site (the cookie is SameSite=Lax, so browsers do not send it from there).
        """
        record = await self._record(request)
        if record is not None:
            is_bare = "csrf" not in await request.form()
            if not (self._is_same_site(request) if is_bare else await self.csrf_holds(request)):
                return _refused(status=403)
            await self._forget(request)
        response = _redirect("/book/logged-out")
        self._clear(response, "book")
        return response

    def _is_same_site(self, request: Request) -> bool:
        """Return whether a browser says that a page of ours sent this, or nobody says anything."""
        if request.headers.get("origin", self.server.origin) != self.server.origin:
            return False
        return request.headers.get("sec-fetch-site", "none") in {"same-origin", "none"}

    async def csrf_holds(self, request: Request) -> bool:
        """Return whether a form carries the `csrf` of its browser's session."""
        record = await self._record(request)
        given = (await request.form()).get("csrf")
        return record is not None and isinstance(given, str) and is_same(given, record.csrf)

    async def _redeem(self, code: str, begun: _Begun) -> str | None:
        """Exchange the code in this process; the id of its grant, or None."""
        client = await self.server.grants.client(CLIENT_ID)
        kept = await self.server.grants.code(code) if code else None
        if client is None or client.disabled or kept is None:
            return None
        form = {
            "code": code,
            "redirect_uri": self.server.book_url,
            "code_verifier": begun.verifier,
        }
        try:
            await exchange_code(self.server, client, form)
        except OAuthError:
            return None
        return kept.family

    async def _record(self, request: Request) -> _Record | None:
        value = request.cookies.get(self._name("book"), "")
        if not value:
            return None
        data = await self.server.grants.store.get("session", hashed(value))
        return None if data is None else msgspec.json.decode(data, type=_Record)

    async def _forget(self, request: Request) -> None:
        """End the session that a browser has, and the grant behind it."""
        record = await self._record(request)
        if record is not None:
            await self.server.grants.revoke_family(record.family)
            key = hashed(request.cookies[self._name("book")])
            await self.server.grants.store.put("session", key, None)

    def _begun(self, request: Request) -> _Begun | None:
        kept = request.cookies.get(self._name("book-login"), "")
        try:
            begun = msgspec.json.decode(urlsafe_b64decode(kept.encode()), type=_Begun)
        except (ValueError, msgspec.MsgspecError):
            return None
        # A browser's owner may write what they like into their own cookie.
        return begun if begun.state and _PAGE.fullmatch(begun.page) else None

    def _name(self, name: str) -> str:
        # The prefix makes browsers refuse a cookie that another host of the domain has set.
        return f"__Host-{name}" if self.server.is_secure else name

    def _set(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(
            self._name(name),
            value,
            max_age=seconds,
            path="/",
            secure=self.server.is_secure,
            httponly=True,
            samesite="lax",
        )

    def _clear(self, response: Response, name: str) -> None:
        response.delete_cookie(
            self._name(name),
            path="/",
            secure=self.server.is_secure,
            httponly=True,
            samesite="lax",
        )


def session_routes(sessions: BookSessions) -> list[Route]:
    """Return the routes of logging in to the web book, and out of it."""
    return [
        Route(LOGIN_PATH, sessions.begin, methods=["GET"]),
        Route("/book/callback", sessions.callback, methods=["GET"]),
        Route("/book/logout", sessions.log_out, methods=["POST"]),
        Route("/book/logged-out", logged_out_page, methods=["GET"]),
    ]


async def session_of(request: Request) -> BookSession | None:
    """Return the session of a request, read once a request."""
    if not hasattr(request.state, "book_session"):
        request.state.book_session = await _sessions(request).session_of(request)
    session: BookSession | None = request.state.book_session
    return session


async def csrf_holds(request: Request) -> bool:
    """Return whether a form carries the `csrf` of its browser's session."""
    return await _sessions(request).csrf_holds(request)


def login_url(request: Request) -> str:
    """Return where a browser without a session is sent; it comes back to this page."""
    language = request.query_params.get("lang")
    wanted = request.url.path + (f"?lang={language}" if language in {"vi", "en"} else "")
    if request.method != "GET" or wanted == "/book" or not _PAGE.fullmatch(wanted):
        return LOGIN_PATH
    return f"{LOGIN_PATH}?{urlencode({'page': wanted})}"


def _sessions(request: Request) -> BookSessions:
    sessions = request.app.state.book_sessions
    if not isinstance(sessions, BookSessions):
        raise TypeError("app.state.book_sessions is not set")
    return sessions


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store"})


def _refused(status: int = 400) -> Response:
    return page(
        "refused.html",
        status=status,
        vi="Không đăng nhập được, hoặc yêu cầu đã hết hạn. Hãy mở lại sổ và đăng nhập lại.",
        en="The log-in did not succeed, or the request has ended. Please open the book again.",
        again=LOGIN_PATH,
    )
