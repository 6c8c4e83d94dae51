"""The OpenID provider that citizens log in at: the code exchange, and what it proves.

https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636, RFC 9207
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote_plus, urlencode

import httpx2
import msgspec
from joserfc import jwk, jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol, OKPKey, RSAKey

from adapters.vneid.keys import JwksCache, fetch_json, json_of
from auth.grants import is_same
from auth.ports import Identity, LoginFailed, ProviderUnreachable
from mappings.vneid.claims import NUMBER, BadClaims, from_claims

ALGORITHMS: Final = ("ES256", "ES384", "PS256", "RS256")
"""What an id_token may be signed with; never none, never a shared secret."""

DISCOVERY_LIFETIME: Final = 3600
SKEW: Final = 60
"""Seconds that the provider's clock may differ from ours."""

MAX_AGE: Final = 900
"""Seconds that an id_token may be old."""

TIMEOUT: Final = 10.0


@dataclass(frozen=True, slots=True)
class Registration:
    """How we are known at the provider.

    Attributes:
        acr_level2: The `acr` that says level 2.
        number_claim: The claim that carries the 12-digit number.
    """

    issuer: str
    client_id: str
    client_secret: str
    scope: str = "openid"
    number_claim: str = NUMBER
    acr_level2: str = "LoA2"


@dataclass(frozen=True, slots=True)
class _Expected:
    issuer: str
    client_id: str
    nonce: str
    now: float


_CHECKS: Final[tuple[tuple[str, Callable[[Mapping[str, Any], _Expected], bool]], ...]] = (
    ("iss is the provider", lambda c, want: c.get("iss") == want.issuer),
    ("aud is this server", lambda c, want: want.client_id in _list(c.get("aud"))),
    ("azp is this server", lambda c, want: c.get("azp", want.client_id) == want.client_id),
    ("azp is there for several aud", lambda c, _: len(_list(c.get("aud"))) == 1 or "azp" in c),
    ("nonce is ours", lambda c, want: is_same(_text(c.get("nonce")), want.nonce)),
    ("exp has not passed", lambda c, want: want.now < _number(c.get("exp")) + SKEW),
    ("iat has come", lambda c, want: _number(c.get("iat")) <= want.now + SKEW),
    ("it is fresh", lambda c, want: _number(c.get("iat")) > want.now - MAX_AGE),
    ("sub is there", lambda c, _: bool(_text(c.get("sub")))),
)
"""Every check of an id_token's claims (OpenID Connect Core, 3.1.3.7)."""


class VneidClient:
    """The identity provider (auth.ports.IdentityProvider), asked over HTTP."""

    def __init__(
        self,
        registration: Registration,
        http: httpx2.AsyncClient,
        keys: JwksCache,
        now: Callable[[], datetime],
    ) -> None:
        self._our = registration
        self._http = http
        self._keys = keys
        self._now = now
        self._document: dict[str, Any] = {}
        self._read_at = 0.0

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, challenge: str
    ) -> str:
        """Return where to send the browser.

        Raises:
            ProviderUnreachable: Its discovery document cannot be read.
        """
        endpoint = await self._endpoint("authorization_endpoint")
        values = {
            "response_type": "code",
            "client_id": self._our.client_id,
            "redirect_uri": redirect_uri,
            "scope": self._our.scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "acr_values": self._our.acr_level2,
        }
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(values)}"

    async def identify(
        self, *, code: str, redirect_uri: str, verifier: str, nonce: str, issuer: str | None
    ) -> Identity:
        """Exchange a code for who logged in.

        Raises:
            LoginFailed: The answer does not prove it.
            ProviderUnreachable: It does not answer.
        """
        document = await self._discovered()
        # RFC 9207: an answer of another provider must not be taken for this one's.
        if issuer is not None and issuer != document["issuer"]:
            raise LoginFailed("the answer is another provider's")
        if issuer is None and document.get("authorization_response_iss_parameter_supported"):
            raise LoginFailed("the answer does not say whose it is")
        answer = await self._exchange(code, redirect_uri, verifier)
        claims = await self._proved(_text(answer.get("id_token")), nonce)
        claims = await self._with_userinfo(claims, _text(answer.get("access_token")))
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        if claims.get("acr") != self._our.acr_level2:
            return Identity(claims=None, level=1)
        try:
            person = from_claims(claims, number_claim=self._our.number_claim)
        except BadClaims as error:
            raise LoginFailed(str(error)) from None
        return Identity(claims=person, level=2)

    async def _exchange(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        methods = (await self._discovered()).get("token_endpoint_auth_methods_supported")
        headers = {}
        if methods is None or "client_secret_basic" in methods:
            # RFC 6749, 2.3.1: both are form-encoded before they are joined.
            pair = f"{quote_plus(self._our.client_id)}:{quote_plus(self._our.client_secret)}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._our.client_id, "client_secret": self._our.client_secret}
        endpoint = await self._endpoint("token_endpoint")
        try:
            response = await self._http.post(endpoint, data=form, headers=headers)
        except httpx2.HTTPError as error:
            raise ProviderUnreachable(type(error).__name__) from None
        if httpx2.codes.is_client_error(response.status_code):
            raise LoginFailed("the provider refused the code")
        return json_of(response)

    async def _proved(self, id_token: str, nonce: str) -> dict[str, Any]:
        """The claims of an id_token whose signature and checks are good."""
        kid = _kid_of(id_token)
        keys = await self._keys.keys(await self._endpoint("jwks_uri"), kid)
        try:
            signature = jws.deserialize_compact(
                id_token, lambda guest: _key_for(guest, keys), algorithms=list(ALGORITHMS)
            )
            claims = msgspec.json.decode(signature.payload, type=dict[str, Any])
        except (JoseError, ValueError, TypeError, msgspec.MsgspecError) as error:
            raise LoginFailed(f"the id_token is not good: {type(error).__name__}") from None
        document = await self._discovered()
        now = self._now().timestamp()
        want = _Expected(document["issuer"], self._our.client_id, nonce, now)
        for name, holds in _CHECKS:
            if not holds(claims, want):
                raise LoginFailed(f"the id_token is not good: not so, {name}")
        return claims

    async def _with_userinfo(self, claims: dict[str, Any], access_token: str) -> dict[str, Any]:
        """The claims, with userinfo's where the id_token lacks number or level; its own stay."""
        if {self._our.number_claim, "acr"} <= claims.keys() or not access_token:
            return claims
        endpoint = (await self._discovered()).get("userinfo_endpoint")
        if not isinstance(endpoint, str):
            return claims
        headers = {"Authorization": f"Bearer {access_token}"}
        more = await fetch_json(self._http, endpoint, headers=headers)
        # OpenID Connect Core, 5.3.2: another sub is another person's answer.
        if more.get("sub") != claims["sub"]:
            raise LoginFailed("userinfo speaks of another person")
        return more | claims

    async def _endpoint(self, name: str) -> str:
        endpoint = (await self._discovered()).get(name)
        if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
            raise ProviderUnreachable(f"its discovery document has no {name}")
        return endpoint

    async def _discovered(self) -> dict[str, Any]:
        now = self._now().timestamp()
        if self._document and now - self._read_at < DISCOVERY_LIFETIME:
            return self._document
        url = f"{self._our.issuer}/.well-known/openid-configuration"
        try:
            document = await fetch_json(self._http, url)
        except ProviderUnreachable:
            if self._document:
                return self._document
            raise
        # OpenID Connect Discovery, 4.3: it must speak of the issuer that was asked for.
        if _text(document.get("issuer")).rstrip("/") != self._our.issuer.rstrip("/"):
            raise ProviderUnreachable("its discovery document is another issuer's")
        self._document, self._read_at = document, now
        return document


def new_http() -> httpx2.AsyncClient:
    """Return the HTTP client for the provider: bounded in time, no proxy from the environment."""
    return httpx2.AsyncClient(timeout=TIMEOUT, trust_env=False, follow_redirects=False)


def _kid_of(id_token: str) -> str:
    try:
        header = jws.extract_compact(id_token.encode()).headers()
    except (JoseError, ValueError) as error:
        raise LoginFailed(f"the id_token is not good: {type(error).__name__}") from None
    return _text(header.get("kid"))


def _key_for(guest: GuestProtocol, keys: Mapping[str, Any]) -> ECKey | RSAKey | OKPKey:
    """The key that the header names; without a `kid`, the only one that fits."""
    header = guest.headers()
    family = "EC" if _text(header.get("alg")).startswith("ES") else "RSA"
    fitting = [
        key
        for key in keys["keys"]
        if isinstance(key, dict)
        and key.get("kty") == family
        and key.get("use", "sig") == "sig"
        and key.get("alg", header.get("alg")) == header.get("alg")
        and header.get("kid", key.get("kid")) == key.get("kid")
    ]
    if len(fitting) != 1:
        raise ValueError("no key")
    found = jwk.import_key({name: value for name, value in fitting[0].items() if name != "x5c"})
    if isinstance(found, ECKey | RSAKey):
        return found
    raise ValueError("no key")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
