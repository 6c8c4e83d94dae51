"""A small real world for tests of access: server, stand-in VNeID, citizens, one clock."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
from joserfc import jwk, jws
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from adapters.vneid.client import Registration, VneidClient
from adapters.vneid.keys import JwksCache
from adapters.vneid.stand_in.person import Person
from adapters.vneid.stand_in.provider import RelyingParty, StandIn
from adapters.vneid.stand_in.routes import stand_in_routes
from auth.bearer import Access, BearerTokens
from auth.grants import Grants
from auth.limits import Limits
from auth.policy import policy_for
from auth.ports import Child, Claims, Settled
from auth.server.assertion import ASSERTION_TYPE
from auth.server.demo import make_demo_clients
from auth.server.keys import FolderKeys
from auth.server.oauth import AuthorizationServer
from auth.server.routes import auth_routes
from auth.server.token import challenge
from auth.tokens import Verifier
from fhir_server.interactions.context import Context
from fhir_server.store.grants import LedgerGrants
from fhir_server.store.memory import MemoryStore
from fhir_server.web.session import BookSessions, login_url, session_of, session_routes

ORIGIN = "http://testserver"
MOTHER = "001195012345"
FATHER = "001093054321"
STRANGER = "079080099999"
APP_REDIRECT = "http://127.0.0.1:5555/callback"
APP_SCOPE = "openid fhirUser launch/patient offline_access patient/*.rs patient/Consent.cud"


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Citizens:
    """A CitizenDirectory over two dicts."""

    patients: dict[str, str] = field(default_factory=dict)
    links: dict[str, tuple[Child, ...]] = field(default_factory=dict)
    apart: tuple[str, ...] = ()
    claimed: list[Claims] = field(default_factory=list)

    async def settle(self, claims: Claims) -> Settled:
        self.claimed.append(claims)
        patient = self.patients.setdefault(claims.number, f"p-{len(self.patients) + 1}")
        return Settled(patient, self.apart)

    async def children(self, number: str) -> tuple[Child, ...]:
        return self.links.get(number, ())


class World:
    """The server's access, whole, over the memory store."""

    def __init__(self, folder: Path, *, origin: str = ORIGIN) -> None:
        self.origin = origin
        self.folder = folder
        self.clock = Clock()
        self.store = MemoryStore()
        self.ledger = LedgerGrants(self.store, self.clock)
        self.grants = Grants(self.ledger)
        self.citizens = Citizens(
            patients={MOTHER: "mother", FATHER: "father", STRANGER: "stranger"},
            links={
                MOTHER: (Child("bao", "link-bao-m", "TRẦN BẢO MẪU", "2025-03-20"),),
                FATHER: (Child("bao", "link-bao-f", "TRẦN BẢO MẪU", "2025-03-20"),),
            },
        )
        self.keys = FolderKeys(folder, self.clock)
        self.app = Starlette()
        self.back_http = self.new_http()
        self.jwks_cache = JwksCache(self.back_http, self.clock)
        self.registration = Registration(
            issuer=f"{origin}/vneid", client_id="fhir-server", client_secret="s3cret+/="
        )
        self.provider = VneidClient(self.registration, self.back_http, self.jwks_cache, self.clock)
        self.server = AuthorizationServer(
            origin=origin,
            grants=self.grants,
            keys=self.keys,
            directory=self.citizens,
            provider=self.provider,
            now=self.clock,
            limits=Limits(self.ledger, self.clock),
            remote_keys=self.jwks_cache,
        )
        self.idp = StandIn(
            issuer=f"{origin}/vneid",
            parties=(RelyingParty("fhir-server", "s3cret+/=", (f"{origin}/auth/callback",)),),
            store=self.ledger,
            keys=FolderKeys(folder / "vneid", self.clock),
            lookup=self.lookup,
            now=self.clock,
        )
        self.verifier = Verifier(self.keys, issuer=origin, audience=f"{origin}/fhir")
        self.bearer = BearerTokens(
            self.verifier, self.grants, self.citizens, self.clock, self.edition
        )
        self.sessions = BookSessions(self.server, self.context_for)
        self.app.state.book_sessions = self.sessions
        self.app.router.routes.extend([
            *auth_routes(self.server),
            *stand_in_routes(self.idp),
            *session_routes(self.sessions),
            Route("/book", book_page),
            Route("/book/children/{id}", child_page),
            Route("/book/notes", note, methods=["POST"]),
        ])
        self.http = self.new_http()

    async def edition(self) -> object:
        """What the store's edition is, where the citizens are in the store too."""
        return await self.store.edition(), dict(self.citizens.links)

    async def start(self) -> World:
        for client in make_demo_clients(self.folder, self.origin):
            await self.grants.register(client)
        return self

    async def stop(self) -> None:
        await self.http.aclose()
        await self.back_http.aclose()

    def new_http(self) -> httpx2.AsyncClient:
        """A browser of its own, with its own cookies."""
        transport = httpx2.ASGITransport(self.app)
        return httpx2.AsyncClient(transport=transport, base_url=self.origin)

    async def lookup(self, number: str) -> Person | None:
        if number == MOTHER:
            return Person("NGUYỄN THỊ MẪU", "1995-03-07", "female")
        return None

    def context_for(self, access: Access, source: str) -> Context:
        return Context(
            principal=access.principal,
            policy=access.policy,
            store=self.store,
            now=self.clock,
            new_id=lambda: secrets.token_hex(8),
            base_url=f"{self.origin}/fhir",
            source=source,
        )

    # --- as a client ---------------------------------------------------------------------

    def key_of(self, client_id: str) -> dict[str, Any]:
        path = self.folder / "demo" / f"{client_id}.jwk.json"
        return msgspec.json.decode(path.read_bytes())

    def assertion(
        self,
        client_id: str,
        *,
        key: Mapping[str, Any] | None = None,
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A client assertion; claims given as None are left out."""
        private = dict(key or self.key_of(client_id))
        now = self.clock().timestamp()
        body = {
            "iss": client_id,
            "sub": client_id,
            "aud": f"{self.origin}/auth/token",
            "exp": int(now) + 240,
            "jti": secrets.token_urlsafe(16),
        } | claims
        head = {"alg": "ES384", "kid": private["kid"], "typ": "JWT"} | dict(header or {})
        return jws.serialize_compact(
            {name: value for name, value in head.items() if value is not None},
            msgspec.json.encode({n: v for n, v in body.items() if v is not None}),
            jwk.import_key(private),
            algorithms=[head["alg"]],
        )

    async def backend(
        self, client_id: str, *, scope: str | None = None, assertion: str | None = None
    ) -> httpx2.Response:
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion or self.assertion(client_id),
        }
        if scope is not None:
            form["scope"] = scope
        return await self.http.post("/auth/token", data=form)

    async def backend_token(self, client_id: str, *, scope: str | None = None) -> str:
        answer = await self.backend(client_id, scope=scope)
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    # --- as the VNeID app ----------------------------------------------------------------

    def asked(self, verifier: str, **changes: str | None) -> dict[str, str]:
        """An authorization request of the app; parameters given as None are left out."""
        values: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "vneid-app",
            "redirect_uri": APP_REDIRECT,
            "scope": APP_SCOPE,
            "state": "the-state",
            "aud": f"{self.origin}/fhir",
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        values |= changes
        return {name: value for name, value in values.items() if value is not None}

    async def follow(
        self, browser: httpx2.AsyncClient, response: httpx2.Response
    ) -> httpx2.Response:
        """Follow redirects as long as they stay on this server."""
        while response.is_redirect and response.headers["location"].startswith((self.origin, "/")):
            response = await browser.get(response.headers["location"])
        return response

    async def log_in(
        self,
        browser: httpx2.AsyncClient,
        start: httpx2.Response,
        number: str,
        *,
        level: str = "2",
        patient: str | None = None,
        **more: str,
    ) -> httpx2.Response:
        """Go through the stand-in's page, and the page that asks whose book."""
        login = await self.follow(browser, start)
        assert 'name="cccd"' in login.text, login.text
        answer = await browser.post(str(login.url), data={"cccd": number, "level": level, **more})
        answer = await self.follow(browser, answer)
        if 'name="patient"' in answer.text and patient is not None:
            handle = re.search(r'name="login" value="([^"]+)"', answer.text)
            assert handle is not None
            answer = await browser.post(
                "/auth/patient", data={"login": handle[1], "patient": patient}
            )
        return answer

    async def code_for(
        self, number: str, *, patient: str = "", verifier: str = "v" * 43, **changes: str | None
    ) -> dict[str, str]:
        """The parameters that the app's redirect URI gets."""
        async with self.new_http() as browser:
            start = await browser.get("/auth/authorize", params=self.asked(verifier, **changes))
            own = self.citizens.patients.get(number, "")
            answer = await self.log_in(browser, start, number, patient=patient or own)
        assert answer.is_redirect, answer.text
        return query_of(answer.headers["location"])

    async def redeem(
        self, code: str, /, *, verifier: str = "v" * 43, **changes: str
    ) -> httpx2.Response:
        form = {
            "grant_type": "authorization_code",
            "client_id": "vneid-app",
            "code": code,
            "redirect_uri": APP_REDIRECT,
            "code_verifier": verifier,
        }
        return await self.http.post("/auth/token", data=form | changes)

    async def citizen(
        self, number: str, *, patient: str = "", **changes: str | None
    ) -> dict[str, Any]:
        """The token answer of the app for a citizen."""
        given = await self.code_for(number, patient=patient, **changes)
        answer = await self.redeem(given["code"])
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def refresh(self, token: str, **changes: str) -> httpx2.Response:
        form = {"grant_type": "refresh_token", "client_id": "vneid-app", "refresh_token": token}
        return await self.http.post("/auth/token", data=form | changes)

    async def access(self, token: str) -> Access:
        return await self.bearer.access_of(f"Bearer {token}")


def query_of(url: str) -> dict[str, str]:
    """The parameters of a URL, each once."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


async def book_page(request: Request) -> Response:
    """A page of the book, as small as can be."""
    session = await session_of(request)
    if session is None:
        return RedirectResponse(login_url(request), 303)
    ctx = session.context()
    return JSONResponse({
        "patient": ctx.principal.patient_id,
        "level": ctx.principal.level,
        "children": [child.patient_id for child in session.children],
        "kept_apart": list(session.kept_apart),
        "csrf": session.csrf,
        "sees_links": ctx.policy
        == policy_for(ctx.principal, links=tuple(child.link_id for child in session.children)),
    })


async def child_page(request: Request) -> Response:
    """A child's page: a stranger's id raises."""
    session = await session_of(request)
    if session is None:
        return RedirectResponse(login_url(request), 303)
    ctx = session.context(request.path_params["id"])
    return JSONResponse({"patient": ctx.principal.patient_id, "by": ctx.principal.fhir_user})


async def note(request: Request) -> Response:
    """Something that a form changes."""
    from fhir_server.web.session import csrf_holds

    return JSONResponse({"holds": await csrf_holds(request)})
