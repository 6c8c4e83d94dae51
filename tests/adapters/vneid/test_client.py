"""Our side of the log-in at VNeID, against providers that lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import httpx2
import msgspec
import pytest
from joserfc import jwk, jws
from joserfc.jwk import ECKey, OctKey, RSAKey

from adapters.vneid.client import Registration, VneidClient, new_http
from adapters.vneid.keys import JwksCache
from auth.ports import Identity, LoginFailed, ProviderUnreachable
from tests.auth.world import Clock

ISSUER = "https://idp.example"
OUR = Registration(ISSUER, "fhir-server", "a b+")


@dataclass
class Provider:
    """A provider whose every answer a test can change."""

    clock: Clock = field(default_factory=Clock)
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256", auto_kid=True))
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[httpx2.Request], httpx2.Response | None] = lambda _request: None
    published: list[dict[str, Any]] | None = None
    seen: list[httpx2.Request] = field(default_factory=list)

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        given = self.answer(request)
        if given is not None:
            return given
        path = request.url.path
        if path == "/.well-known/openid-configuration":
            return json(
                {
                    "issuer": ISSUER,
                    "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
                    "token_endpoint": f"{ISSUER}/token",
                    "jwks_uri": f"{ISSUER}/jwks",
                    "userinfo_endpoint": f"{ISSUER}/userinfo",
                }
                | self.document
            )
        if path == "/jwks":
            known = [self.key.as_dict(private=False)] if self.published is None else self.published
            return json({"keys": known})
        if path == "/userinfo":
            return json(self.userinfo)
        return json({"access_token": "at", "id_token": self.id_token()})

    def id_token(self) -> str:
        now = int(self.clock().timestamp())
        claims = {
            "iss": ISSUER,
            "aud": "fhir-server",
            "sub": "s",
            "nonce": "n",
            "iat": now,
            "exp": now + 300,
            "acr": "LoA2",
            "SoDinhDanh": "001195012345",
            "HoVaTen": "A",
            "NgayThangNamSinh": "19950307",
        } | self.claims
        alg = {"EC": "ES256", "RSA": "RS256", "oct": "HS256"}[self.key.key_type]
        header = {"alg": alg, "kid": self.key.kid} | self.header
        return jws.serialize_compact(
            {k: v for k, v in header.items() if v is not None},
            msgspec.json.encode({k: v for k, v in claims.items() if v is not None}),
            self.key,
            algorithms=[header["alg"]],
        )

    def client(self, our: Registration = OUR) -> VneidClient:
        http = httpx2.AsyncClient(transport=httpx2.MockTransport(self))
        return VneidClient(our, http, JwksCache(http, self.clock), self.clock)


def json(content: Any, status: int = 200) -> httpx2.Response:
    return httpx2.Response(status, content=msgspec.json.encode(content))


async def identify(client: VneidClient, issuer: str | None = None) -> Identity:
    return await client.identify(
        code="c", redirect_uri="https://us/cb", verifier="v", nonce="n", issuer=issuer
    )


async def test_a_level_2_login_says_who_it_is() -> None:
    """The claims of the id_token."""
    identity = await identify(Provider().client())

    assert identity.level == 2
    assert identity.claims is not None
    assert identity.claims.number == "001195012345"


async def test_the_code_is_exchanged_with_secret_and_verifier() -> None:
    """Basic, form-encoded first (RFC 6749, 2.3.1); `client_secret_post` where only it is known."""
    provider = Provider()
    await identify(provider.client())
    sent = next(request for request in provider.seen if request.url.path == "/token")
    assert sent.headers["authorization"] == "Basic Zmhpci1zZXJ2ZXI6YStiJTJC"
    assert b"code_verifier=v" in sent.content
    assert b"secret" not in sent.content

    post = Provider(document={"token_endpoint_auth_methods_supported": ["client_secret_post"]})
    await identify(post.client())
    sent = next(request for request in post.seen if request.url.path == "/token")
    assert "authorization" not in sent.headers
    assert b"client_secret=a+b%2B" in sent.content


async def test_the_authorization_url_keeps_the_providers_own_query() -> None:
    """And asks for the level that is needed."""
    url = (
        await Provider()
        .client(replace(OUR, scope="openid vneid"))
        .authorization_url(redirect_uri="https://us/cb", state="s", nonce="n", challenge="ch")
    )

    assert url.startswith(f"{ISSUER}/authorize?tenant=1&response_type=code&client_id=fhir-server")
    assert "scope=openid+vneid" in url
    assert "acr_values=LoA2" in url


@pytest.mark.parametrize("acr", ["LoA1", "loa2", "2", "", ["LoA2"], "LoA22"])
async def test_any_other_acr_is_too_low(acr: Any) -> None:
    """Only the configured value is level 2; of who it is nothing is taken."""
    assert await identify(Provider(claims={"acr": acr}).client()) == Identity(None, 1)


async def test_the_acr_of_level_2_is_a_setting() -> None:
    """FHIR_SERVER_VNEID_ACR_LEVEL2."""
    client = Provider(claims={"acr": "urn:2"}).client(replace(OUR, acr_level2="urn:2"))

    assert (await identify(client)).level == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": ISSUER + "/"},
        {"iss": None},
        {"aud": "other"},
        {"aud": ["other"]},
        {"aud": ["fhir-server", "other"]},
        {"azp": "other"},
        {"aud": None},
        {"nonce": "other"},
        {"nonce": "ế"},
        {"nonce": None},
        {"nonce": 1},
        {"exp": 1},
        {"exp": None},
        {"iat": 1},
        {"iat": None},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"sub": ""},
        {"SoDinhDanh": "1"},
        {"NgayThangNamSinh": None},
        {"HoVaTen": ""},
        {"exp": "soon"},
    ],
    ids=str,
)
async def test_an_id_token_with_a_wrong_claim_is_refused(claims: dict[str, Any]) -> None:
    """Every check of OpenID Connect, and the claims that a log-in must have."""
    provider = Provider(claims=claims)

    with pytest.raises(LoginFailed) as caught:
        await identify(provider.client())

    assert "001195012345" not in str(caught.value)


async def test_several_audiences_need_azp() -> None:
    """With `azp` naming us they are taken."""
    claims = {"aud": ["fhir-server", "other"], "azp": "fhir-server"}

    assert (await identify(Provider(claims=claims).client())).level == 2


async def test_another_key_is_refused() -> None:
    """A signature by a key that the provider does not publish, under a kid that it does."""
    real, theirs = Provider(), ECKey.generate_key("P-256")
    published = [theirs.as_dict(private=False) | {"kid": real.key.kid}]

    with pytest.raises(LoginFailed):
        await identify(Provider(key=real.key, published=published).client())


async def test_a_shared_secret_or_none_is_no_signature() -> None:
    """HS256 with the public key, and `none`, are refused."""
    real = ECKey.generate_key("P-256", auto_kid=True)
    published = [real.as_dict(private=False)]
    secret = OctKey.import_key(msgspec.json.encode(published[0]), {"kid": real.kid})
    forged = Provider(key=secret, header={"kid": real.kid}, published=published)
    with pytest.raises(LoginFailed):
        await identify(forged.client())

    body = Provider(key=real).id_token().split(".")[1]
    for token in (f"eyJhbGciOiJub25lIn0.{body}.", "", "x", "a.b.c", "..", None, 5):
        bad = Provider(
            key=real,
            answer=lambda r, t=token: (
                json({"id_token": t, "access_token": "a"}) if r.url.path == "/token" else None
            ),
        )
        with pytest.raises(LoginFailed):
            await identify(bad.client())


async def test_rs256_is_taken() -> None:
    """What most providers sign with."""
    assert (
        await identify(Provider(key=RSAKey.generate_key(2048, auto_kid=True)).client())
    ).level == 2


async def test_a_token_without_kid_takes_the_only_key_that_fits() -> None:
    """With two that fit it is refused."""
    provider = Provider(header={"kid": None})
    assert (await identify(provider.client())).level == 2

    other = ECKey.generate_key("P-256", auto_kid=True)
    provider.published = [k.as_dict(private=False) for k in (provider.key, other)]
    with pytest.raises(LoginFailed):
        await identify(provider.client())


async def test_claims_may_come_from_userinfo() -> None:
    """Where the id_token lacks the number; `acr` is the id_token's."""
    info = {
        "sub": "s",
        "SoDinhDanh": "001093054321",
        "HoVaTen": "B",
        "NgayThangNamSinh": "1993",
        "acr": "LoA2",
    }
    provider = Provider(
        claims={"SoDinhDanh": None, "HoVaTen": None, "NgayThangNamSinh": None}, userinfo=info
    )
    identity = await identify(provider.client())

    assert identity.claims is not None
    assert identity.claims.number == "001093054321"
    provider.claims["acr"] = "LoA1"
    assert (await identify(provider.client())).level == 1


async def test_the_level_may_come_from_userinfo() -> None:
    """Some providers put `acr` there alone; without one the level is too low."""
    provider = Provider(claims={"acr": None}, userinfo={"sub": "s", "acr": "LoA2"})
    assert (await identify(provider.client())).level == 2

    provider.userinfo = {"sub": "s"}
    assert (await identify(provider.client())).level == 1


async def test_userinfo_of_another_person_is_refused() -> None:
    """Another `sub` (OpenID Connect Core, 5.3.2)."""
    provider = Provider(
        claims={"SoDinhDanh": None}, userinfo={"sub": "other", "SoDinhDanh": "1" * 12}
    )

    with pytest.raises(LoginFailed):
        await identify(provider.client())


async def test_an_answer_of_another_provider_is_refused() -> None:
    """RFC 9207: a wrong `iss`; and none, where the provider says that it sends one."""
    with pytest.raises(LoginFailed):
        await identify(Provider().client(), "https://evil.example")
    assert (await identify(Provider().client(), ISSUER)).level == 2
    promised = Provider(document={"authorization_response_iss_parameter_supported": True})
    with pytest.raises(LoginFailed):
        await identify(promised.client())


async def test_a_refused_code_is_a_failed_login() -> None:
    """400 of the token endpoint."""
    provider = Provider(
        answer=lambda r: json({"error": "invalid_grant"}, 400) if r.url.path == "/token" else None
    )

    with pytest.raises(LoginFailed):
        await identify(provider.client())


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/token", "/jwks"])
@pytest.mark.parametrize("kind", ["500", "rubbish", "list", "down", "redirect", "large"])
async def test_a_provider_in_trouble_is_unreachable(path: str, kind: str) -> None:
    """Down, slow, wrong: one answer, and nothing else is raised."""

    def trouble(request: httpx2.Request) -> httpx2.Response | None:
        if request.url.path != path:
            return None
        if kind == "down":
            raise httpx2.ConnectError("down")
        return {
            "500": json({}, 500),
            "rubbish": httpx2.Response(200, content=b"<html>"),
            "list": json([]),
            "redirect": httpx2.Response(302, headers={"location": "http://169.254.169.254/"}),
            "large": httpx2.Response(200, content=b"{}" + b" " * 300_000),
        }[kind]

    provider = Provider(answer=trouble)
    with pytest.raises(ProviderUnreachable):
        await identify(provider.client())
    assert not any(request.url.host == "169.254.169.254" for request in provider.seen)


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": None},
        {"jwks_uri": "file:///etc/passwd"},
        {"issuer": 5},
    ],
    ids=str,
)
async def test_a_document_that_does_not_fit_is_refused(document: dict[str, Any]) -> None:
    """Another issuer's, or without an endpoint that can be asked."""
    with pytest.raises(ProviderUnreachable):
        await identify(Provider(document=document).client())


async def test_the_document_and_the_keys_are_kept() -> None:
    """An hour; after that what was read serves while the provider is down."""
    provider = Provider()
    client = provider.client()
    for _ in range(3):
        await identify(client)
    assert sum(r.url.path == "/jwks" for r in provider.seen) == 1
    assert sum("well-known" in r.url.path for r in provider.seen) == 1

    provider.clock.pass_by(3700)
    provider.answer = lambda r: None if r.url.path == "/token" else json({}, 503)
    assert (await identify(client)).level == 2


async def test_a_rotated_key_is_fetched_but_not_at_every_unknown_kid() -> None:
    """A new kid fetches the keys again, at most every 30 seconds."""
    provider = Provider()
    client = provider.client()
    await identify(client)
    provider.key = ECKey.generate_key("P-256", auto_kid=True)
    with pytest.raises(LoginFailed):
        await identify(client)
    provider.clock.pass_by(31)
    assert (await identify(client)).level == 2

    before = len(provider.seen)
    provider.published = [provider.key.as_dict(private=False)]
    for _ in range(5):
        provider.key = jwk.ECKey.generate_key("P-256", auto_kid=True)
        with pytest.raises(LoginFailed):
            await identify(client)
    assert sum(r.url.path == "/jwks" for r in provider.seen[before:]) == 0


async def test_the_http_client_is_bounded_and_follows_nothing() -> None:
    """Ten seconds, no redirects, no proxy of the environment."""
    async with new_http() as http:
        assert http.timeout.read == 10
        assert not http.follow_redirects
        assert not http.trust_env
