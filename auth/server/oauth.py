"""What every endpoint of the authorization server shares: its parts, errors, forms, answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from auth.grants import Grants
from auth.limits import Limits, address_of
from auth.ports import CitizenDirectory, IdentityProvider, KeySource, RemoteKeys

MAX_FORM: Final = 65_536
MAX_FIELDS: Final = 40
NO_STORE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class AuthorizationServer:
    """The parts of the authorization server.

    Attributes:
        origin: The public origin, without a slash at its end; it is the issuer.
    """

    origin: str
    grants: Grants
    keys: KeySource
    directory: CitizenDirectory
    provider: IdentityProvider
    now: Callable[[], datetime]
    limits: Limits
    remote_keys: RemoteKeys | None = None

    @property
    def fhir_base(self) -> str:
        """The FHIR base, which is what access tokens are for."""
        return f"{self.origin}/fhir"

    @property
    def callback_url(self) -> str:
        """Where the identity provider sends the browser back."""
        return f"{self.origin}/auth/callback"

    @property
    def book_url(self) -> str:
        """Where we send the browser back for the server's own pages, under this very origin."""
        return f"{self.origin}/book/callback"

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach us over TLS."""
        return self.origin.startswith("https://")

    def url(self, endpoint: str) -> str:
        """Return the URL of one of our endpoints, such as `token`."""
        return f"{self.origin}/auth/{endpoint}"

    def time(self) -> int:
        """Return the second now."""
        return int(self.now().timestamp())


class OAuthError(Exception):
    """A refusal in OAuth's own form, RFC 6749 section 5.2.

    Args:
        error: One of OAuth's codes.
        description: One sentence, of ASCII without quotes, with nothing of the request in it.
    """

    def __init__(self, error: str, description: str, *, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


def json_answer(
    content: Mapping[str, Any], *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a JSON answer."""
    return Response(
        msgspec.json.encode(content),
        status_code=status,
        media_type="application/json",
        headers=dict(headers or {}),
    )


def error_answer(error: OAuthError) -> Response:
    """Return the answer that tells a refusal."""
    headers = dict(NO_STORE)
    if error.status == 401:  # noqa: PLR2004 - the status that RFC 6749 gives invalid_client
        headers["WWW-Authenticate"] = 'Bearer realm="auth"'
    content = {"error": error.error, "error_description": error.description}
    return json_answer(content, status=error.status, headers=headers)


def source_of(request: Request) -> str:
    """Return where a request comes from, as limits tell its senders apart."""
    peer = request.client.host if request.client else ""
    return address_of(peer, request.headers.get("x-forwarded-for"))


Endpoint = Callable[[AuthorizationServer, Request], Awaitable[Response]]


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form body, each at most once.

    Raises:
        OAuthError: It is no form, too large, or a field comes twice.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise OAuthError("invalid_request", "The body must be application/x-www-form-urlencoded.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            raise OAuthError("invalid_request", "The body is too large.", status=413)
    return fields(bytes(body))


def fields(encoded: bytes | str) -> dict[str, str]:
    """Return the parameters of a query or a form, each at most once (RFC 6749, 3.1).

    Raises:
        OAuthError: One comes twice, or it cannot be read.
    """
    try:
        text = encoded.decode("ascii") if isinstance(encoded, bytes) else encoded
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS)
    except ValueError:
        raise OAuthError("invalid_request", "The parameters cannot be read.") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise OAuthError("invalid_request", "A parameter comes more than once.")
    # RFC 6749, 3.1: a parameter without a value is as if it were not there.
    return {name: value for name, value in found.items() if value}
