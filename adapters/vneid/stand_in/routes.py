"""The stand-in's paths below `/vneid`: discovery, the log-in page, token, keys, userinfo."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from adapters.vneid.stand_in import provider
from adapters.vneid.stand_in.provider import StandIn, WrongEntry
from auth.server.oauth import NO_STORE, OAuthError, error_answer, fields, form_of, json_answer
from auth.server.pages import page, pages_of

Act = Callable[[StandIn, Request], Awaitable[Response]]
_PAGES: Final = pages_of("adapters.vneid.stand_in")


def stand_in_routes(idp: StandIn) -> list[Route]:
    """Return the routes of the stand-in VNeID."""
    return [Route(path, endpoint=_Endpoint(idp, methods)) for path, methods in ROUTES]


async def discovery(idp: StandIn, _request: Request) -> Response:  # noqa: RUF029 - of a table
    """Answer the discovery document."""
    return json_answer(provider.discovery(idp))


async def jwks(idp: StandIn, _request: Request) -> Response:  # noqa: RUF029 - of a table
    """Answer the stand-in's keys."""
    return json_answer(idp.keys.jwks())


async def authorize(idp: StandIn, request: Request) -> Response:
    """Show the log-in page, or take what was typed into it."""
    try:
        asked = fields(request.url.query)
        provider.check_party(idp, asked)
    except OAuthError as error:
        if "text/html" not in request.headers.get("accept", ""):
            raise
        return page("refused.html", status=error.status, environment=_PAGES, en=error.description)
    try:
        provider.check_request(asked)
    except OAuthError as error:
        return _back(idp, asked, error=error.error, error_description=error.description)
    if request.method != "POST":
        return _login_page(request)
    entered = await form_of(request)
    try:
        code = await provider.log_in(idp, asked, entered)
    except WrongEntry as wrong:
        return _login_page(request, wrong=str(wrong), entered=entered)
    return _back(idp, asked, code=code)


async def token(idp: StandIn, request: Request) -> Response:
    """Answer a token request."""
    form = await form_of(request)
    party = provider.authenticate(idp, request.headers.get("authorization", ""), form)
    return json_answer(await provider.exchange(idp, party, form), headers=NO_STORE)


async def userinfo(idp: StandIn, request: Request) -> Response:
    """Answer the claims of the access token."""
    claims = await provider.userinfo(idp, request.headers.get("authorization", ""))
    if claims is None:
        return json_answer(
            {"error": "invalid_token"},
            status=401,
            headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
        )
    return json_answer(claims, headers=NO_STORE)


ROUTES: Final[tuple[tuple[str, Mapping[str, Act]], ...]] = (
    ("/vneid/.well-known/openid-configuration", {"GET": discovery}),
    ("/vneid/authorize", {"GET": authorize, "POST": authorize}),
    ("/vneid/token", {"POST": token}),
    ("/vneid/jwks", {"GET": jwks}),
    ("/vneid/userinfo", {"GET": userinfo, "POST": userinfo}),
)
"""Path, and function by method."""


class _Endpoint:
    def __init__(self, idp: StandIn, methods: Mapping[str, Act]) -> None:
        self._idp = idp
        self._methods = methods

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        act = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if act is None:
            error = OAuthError("invalid_request", "This method is not known here.", status=405)
            response = error_answer(error)
            response.headers["Allow"] = ", ".join(self._methods)
            return response
        try:
            return await act(self._idp, request)
        except OAuthError as error:
            return error_answer(error)


def _back(idp: StandIn, asked: Mapping[str, str], **values: str) -> Response:
    url = provider.answer_url(idp, asked, **values)
    return RedirectResponse(url, status_code=303, headers={"Cache-Control": "no-store"})


def _login_page(
    request: Request, *, wrong: str = "", entered: Mapping[str, str] | None = None
) -> Response:
    return page(
        "login.html",
        status=400 if wrong else 200,
        environment=_PAGES,
        # The redirects that follow lead to whatever app began, which is not known here.
        form_action=None,
        action=f"{request.url.path}?{request.url.query}",
        wrong=wrong,
        entered=entered or {},
    )
