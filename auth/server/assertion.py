"""How a client proves itself: private_key_jwt, or, where it can keep no secret, its name alone.

https://hl7.org/fhir/smart-app-launch/client-confidential-asymmetric.html, RFC 7523
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import urlsafe_b64decode
from starlette.requests import Request

from auth.client import Client
from auth.limits import ADDRESS_FAILED, CLIENT_FAILED
from auth.ports import ProviderUnreachable
from auth.server.oauth import AuthorizationServer, OAuthError, source_of
from auth.tokens import CLOCK_SKEW

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ALGORITHMS: Final = {"ES384": "EC", "RS384": "RSA"}
"""SMART's algorithms, and the kind of key of each; nothing else is ever tried."""

CURVE: Final = "P-384"
"""ES384's curve (RFC 7518, 3.4)."""

_HEADER: Final = "the assertion is no JWT with a header of ES384 or RS384"
_CLAIMS: Final = "the assertion's claims are not what they must be"
_SIGNATURE: Final = "the client is not known, or the signature is not by its key"
_REPLAY: Final = "the assertion was used before"
"""What a refusal says: the header and the form of the claims are looked at before the client is
known; only who has signed rightly learns which claim is at fault, or that the `jti` is."""

_FIELD: Final = re.compile(r"(?:field `|\$\.)(iss|sub|aud|exp|jti|iat|nbf)\b")
"""Where msgspec names the claim that is missing or of a wrong type."""

UNKNOWN_REFRESH: Final = "The refresh token is not good, or was used before."

LIFETIME: Final = 300
"""Seconds ahead that an assertion may end."""

MAX_LENGTH: Final = 8192
MIN_RSA_BITS: Final = 2048
MAX_JTI: Final = 256


class _Claims(msgspec.Struct, frozen=True):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    jti: str
    iat: float | None = None
    nbf: float | None = None


class _Header(msgspec.Struct, frozen=True):
    alg: str
    kid: str | None = None
    crit: Any = msgspec.UNSET
    b64: bool = True

    @property
    def is_plain(self) -> bool:
        """Whether it asks for no extension: we know none (RFC 7515, 4.1.11; RFC 7797, 7)."""
        return self.crit is msgspec.UNSET and self.b64


@dataclass(frozen=True, slots=True)
class _Expected:
    client_id: str
    audiences: frozenset[str]
    now: float


_CHECKS: Final[tuple[tuple[str, Callable[[_Claims, _Expected], bool]], ...]] = (
    ("iss and sub must be the client_id", lambda c, want: c.iss == c.sub == want.client_id),
    ("aud must be {aud}", lambda c, want: not want.audiences.isdisjoint(_audiences(c))),
    ("exp has passed", lambda c, want: want.now < c.exp),
    (
        "exp must be at most 5 minutes ahead",
        lambda c, want: c.exp <= want.now + LIFETIME + CLOCK_SKEW,
    ),
    ("nbf is still to come", lambda c, want: c.nbf is None or c.nbf <= want.now + CLOCK_SKEW),
    ("iat is still to come", lambda c, want: c.iat is None or c.iat <= want.now + CLOCK_SKEW),
    (f"jti must have 1 to {MAX_JTI} characters", lambda c, _: 0 < len(c.jti) <= MAX_JTI),
)
"""Every check of an assertion's claims, and what is said where it does not hold: what must be, and
nothing of what is."""


class _Unproved(OAuthError):
    """The client has not proved itself; `client_id` is the known one that it says it is, or ""."""

    def __init__(self, text: str, client_id: str = "") -> None:
        super().__init__("invalid_client", text, status=401)
        self.client_id = client_id


async def authenticate(
    server: AuthorizationServer, request: Request, form: Mapping[str, str], *, audience: str = ""
) -> Client:
    """Return the client that a request proves to come from.

    Args:
        server: The authorization server.
        request: The request.
        form: Its fields.
        audience: Another endpoint's URL that an assertion may be meant for, too.

    Raises:
        OAuthError: `invalid_client`.
        Throttled: It has not proved itself, as too often of late.
    """
    try:
        return await _proved(server, form, audience)
    except _Unproved as refusal:
        # Only now: a hospital's client comes in whatever others do in its name, at its address.
        source = source_of(request)
        if refusal.client_id:
            await server.limits.count(CLIENT_FAILED, refusal.client_id, source)
        await server.limits.count(ADDRESS_FAILED, source)
        raise


async def _proved(server: AuthorizationServer, form: Mapping[str, str], audience: str) -> Client:
    if "client_assertion" in form or "client_assertion_type" in form:
        if form.get("client_assertion_type") != ASSERTION_TYPE or "client_secret" in form:
            raise OAuthError("invalid_request", "The client_assertion_type is not jwt-bearer.")
        client = await _by_assertion(server, form.get("client_assertion", ""), audience)
        # RFC 7521, 4.2: a client_id beside an assertion names the same client.
        if form.get("client_id", client.client_id) != client.client_id:
            raise _unknown(client)
        return client
    said = form.get("client_id")
    if said is None and form.get("grant_type") == "refresh_token":
        # RFC 6749, 6: nothing names a public client but the token that was given to it.
        said = await server.grants.holder(form.get("refresh_token", ""))
        if said is None:
            raise OAuthError("invalid_grant", UNKNOWN_REFRESH)
    found = await server.grants.client(said or "")
    if found is None or not found.public or found.disabled or "client_secret" in form:
        raise _unknown(found)
    return found


async def _by_assertion(server: AuthorizationServer, assertion: str, audience: str) -> Client:
    header, claims = _read(assertion)
    client = await server.grants.client(claims.iss)
    if client is None or client.public or client.disabled:
        raise _refused(_SIGNATURE, client)
    await _check_signature(server, client, assertion, header)
    audiences = frozenset({server.url("token"), audience} - {""})
    want = _Expected(client.client_id, audiences, server.now().timestamp())
    for text, holds in _CHECKS:
        if not holds(claims, want):
            aud = " or ".join(sorted(audiences, reverse=True))
            raise _refused(f"{_CLAIMS}: {text.format(aud=aud)}", client)
    until = int(claims.exp) + CLOCK_SKEW + 1
    if not await server.grants.first_use(client.client_id, claims.jti, until):
        raise _refused(_REPLAY, client)
    return client


def _read(assertion: str) -> tuple[_Header, _Claims]:
    """Header and claims as they stand, not yet proved."""
    parts = assertion.split(".")
    if len(assertion) > MAX_LENGTH or len(parts) != 3:  # noqa: PLR2004 - RFC 7515, compact form
        raise _refused(_HEADER)
    try:
        header = msgspec.json.decode(urlsafe_b64decode(parts[0].encode()), type=_Header)
    except (ValueError, msgspec.MsgspecError):
        raise _refused(_HEADER) from None
    if header.alg not in ALGORITHMS or not header.is_plain:
        raise _refused(_HEADER)
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(parts[1].encode()), type=_Claims)
    except (ValueError, msgspec.MsgspecError) as error:
        named = _FIELD.search(str(error)) if isinstance(error, msgspec.ValidationError) else None
        fault = f"{named[1]} is missing or of a wrong type" if named else "they are no JSON object"
        raise _refused(f"{_CLAIMS}: {fault}") from None
    return header, claims


async def _check_signature(
    server: AuthorizationServer, client: Client, assertion: str, header: _Header
) -> None:
    fitting = [
        known
        for known in (await _key_set(server, client, header.kid or "")).get("keys", ())
        # What a URL gives need not be what it should be.
        if isinstance(known, Mapping) and _fits(known, header)
    ]
    # Without a kid there is one key that it can be, or none: keys are not tried in turn.
    if header.kid is None and len(fitting) != 1:
        raise _refused(_SIGNATURE, client)
    for known in fitting:
        try:
            key = _import(known)
            jws.deserialize_compact(assertion, key, algorithms=[header.alg])
        except (JoseError, ValueError, TypeError, KeyError, AttributeError):
            continue
        return
    raise _refused(_SIGNATURE, client)


def _fits(known: Mapping[str, Any], header: _Header) -> bool:
    """Return whether an assertion with this header may be signed by this key."""
    if header.kid is not None and known.get("kid") != header.kid:
        return False
    if known.get("kty") != ALGORITHMS[header.alg]:
        return False
    if known["kty"] == "EC" and known.get("crv") != CURVE:
        return False
    return bool(known.get("alg", header.alg) == header.alg and known.get("use", "sig") == "sig")


def _import(known: Mapping[str, Any]) -> ECKey | RSAKey:
    if known["kty"] == "RSA" and 8 * len(urlsafe_b64decode(known["n"].encode())) < MIN_RSA_BITS:
        raise ValueError("the key is too short")
    key = jwk.import_key({name: value for name, value in known.items() if name != "key_ops"})
    if isinstance(key, ECKey | RSAKey):
        return key
    raise ValueError("not a key that signs")


async def _key_set(server: AuthorizationServer, client: Client, kid: str) -> Mapping[str, Any]:
    if client.jwks is not None:
        return client.jwks
    if server.remote_keys is None:
        raise _refused(_SIGNATURE, client)
    try:
        return await server.remote_keys.keys(client.jwks_uri, kid)
    except ProviderUnreachable:
        # One whose keys are read from its URL is told no more than one that is not known.
        raise _refused(_SIGNATURE, client) from None


def _audiences(claims: _Claims) -> list[str]:
    return [claims.aud] if isinstance(claims.aud, str) else claims.aud


def _refused(what: str, client: Client | None = None) -> OAuthError:
    said = client.client_id if client else ""
    return _Unproved(f"The client has not proved itself: {what}.", said)


def _unknown(client: Client | None = None) -> OAuthError:
    # One text for every cause: nobody learns which clients there are.
    said = client.client_id if client else ""
    return _Unproved("The client is not known or has not proved it.", said)
