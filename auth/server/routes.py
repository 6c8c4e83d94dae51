"""The authorization server's routes: path, methods, function, whether other origins may ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from auth.server import authorize, callback, introspect, metadata, token
from auth.server.oauth import AuthorizationServer, Endpoint, OAuthError, error_answer
from auth.server.pages import page
from fhir_server.model.outcome import Throttled

Methods = Mapping[str, Endpoint]

ROUTES: Final[tuple[tuple[str, Methods, bool], ...]] = (
    ("/auth/authorize", {"GET": authorize.authorize, "POST": authorize.authorize}, False),
    ("/auth/callback", {"GET": callback.callback}, False),
    ("/auth/patient", {"POST": callback.choose_patient}, False),
    ("/auth/token", {"POST": token.token}, True),
    ("/auth/introspect", {"POST": introspect.introspect}, False),
    ("/auth/revoke", {"POST": introspect.revoke}, False),
    ("/auth/jwks", {"GET": metadata.jwks}, True),
    ("/.well-known/oauth-authorization-server", {"GET": metadata.oauth_document}, True),
    ("/.well-known/openid-configuration", {"GET": metadata.openid_document}, True),
    ("/fhir/.well-known/smart-configuration", {"GET": metadata.smart_document}, True),
)
"""Contract 4; the last column is CORS: any origin, without cookies."""


def auth_routes(server: AuthorizationServer) -> list[Route]:
    """Return the routes of the authorization server and its well-known documents."""
    return [
        Route(path, endpoint=_Endpoint(server, methods, cors=cors))
        for path, methods, cors in ROUTES
    ]


class _Endpoint:
    """One path, as an ASGI application, so that every answer of it is OAuth's own JSON."""

    def __init__(self, server: AuthorizationServer, methods: Methods, *, cors: bool) -> None:
        self._server = server
        self._methods = methods
        self._cors = cors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        response = await self._answer(request)
        if self._cors:
            response.headers["Access-Control-Allow-Origin"] = "*"
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        if method == "OPTIONS" and self._cors:
            return _preflight(list(self._methods))
        act = self._methods.get(method)
        if act is None:
            response = error_answer(
                OAuthError("invalid_request", "This method is not known here.", status=405)
            )
            response.headers["Allow"] = ", ".join(self._methods)
            return response
        try:
            return await act(self._server, request)
        except OAuthError as error:
            return error_answer(error)
        except Throttled as refusal:
            return _throttled(request, refusal)


def _throttled(request: Request, refusal: Throttled) -> Response:
    """Answer who tries too often: a page to a browser, else OAuth's JSON (RFC 6585, 4)."""
    issue = refusal.issues[0]
    if "text/html" in request.headers.get("accept", ""):
        response: Response = page(
            "refused.html", status=refusal.status, vi=issue.text_vi, en=issue.text
        )
    else:
        error = OAuthError("temporarily_unavailable", issue.text, status=refusal.status)
        response = error_answer(error)
    response.headers.update(refusal.headers)
    return response


def _preflight(methods: Sequence[str]) -> Response:
    return Response(
        status_code=204,
        headers={
            "Access-Control-Allow-Methods": ", ".join([*methods, "OPTIONS"]),
            "Access-Control-Allow-Headers": "Authorization, Content-Type, Accept",
            "Access-Control-Max-Age": "3600",
        },
    )
