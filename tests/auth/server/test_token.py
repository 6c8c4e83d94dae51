"""`/auth/token`: codes, refresh tokens, client assertions, and attacks on them."""

from __future__ import annotations

import warnings
from typing import Any

import httpx2
import msgspec
import pytest
from joserfc import jwt
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from adapters.vneid.keys import JwksCache
from auth.client import Client
from auth.server.assertion import ASSERTION_TYPE
from tests.auth.world import MOTHER, World


async def test_a_backend_gets_all_it_is_registered_for(world: World) -> None:
    """Without `scope` a token has all; the answer is not to be stored."""
    answer = await world.backend("hospital-01999")

    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["pragma"] == "no-cache"
    body = answer.json()
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert body["scope"] == "system/*.cruds"
    assert set(body) == {"access_token", "token_type", "expires_in", "scope"}


async def test_a_backend_gets_what_it_asks_for(world: World) -> None:
    """`scope` narrows; of what is not registered nothing is granted."""
    answer = await world.backend("insurer-bhxh", scope="system/Claim.cruds system/Claim.read")

    assert answer.json()["scope"] == "system/Claim.rs system/Claim.c system/Claim.read"


@pytest.mark.parametrize("scope", ["patient/*.rs", "nonsense", "system/*.d", "openid"])
async def test_a_scope_that_is_not_registered_is_refused(world: World, scope: str) -> None:
    """Nothing of it is the client's: invalid_scope."""
    answer = await world.backend("insurer-bhxh", scope=scope)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "system"},
        {"sub": "system"},
        {"sub": None},
        {"aud": "http://testserver"},
        {"aud": "http://testserver/fhir"},
        {"aud": "http://evil/auth/token"},
        {"aud": []},
        {"aud": None},
        {"exp": None},
        {"exp": 0},
        {"exp": "soon"},
        {"jti": None},
        {"jti": ""},
        {"jti": "x" * 300},
        {"nbf": 4_000_000_000},
        {"iat": 4_000_000_000},
        {"iss": None},
        {"iss": "nobody", "sub": "nobody"},
        {"iss": ["hospital-01999"]},
    ],
    ids=str,
)
async def test_an_assertion_with_a_wrong_claim_is_refused(
    world: World, claims: dict[str, Any]
) -> None:
    """401 invalid_client; an unknown client and a wrong signature look the same."""
    answer = await world.backend(
        "hospital-01999", assertion=world.assertion("hospital-01999", **claims)
    )

    assert answer.status_code == 401
    assert answer.json()["error"] == "invalid_client"
    kind = "signature" if claims.get("iss") in ("system", "nobody") else "claims"
    assert kind in answer.json()["error_description"]
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "http://testserver/fhir"}, "aud must be http://testserver/auth/token"),
        ({"aud": None}, "aud is missing or of a wrong type"),
        ({"sub": "geheim"}, "iss and sub must be the client_id"),
        ({"exp": 0}, "exp has passed"),
        ({"exp": 4_000_000_000}, "exp must be at most 5 minutes ahead"),
        ({"exp": "geheim"}, "exp is missing or of a wrong type"),
        ({"jti": None}, "jti is missing or of a wrong type"),
        ({"jti": "geheim" * 300}, "jti must have 1 to 256 characters"),
        ({"iat": 4_000_000_000}, "iat is still to come"),
        ({"nbf": 4_000_000_000}, "nbf is still to come"),
    ],
    ids=lambda one: next(iter(one)) if isinstance(one, dict) else "",
)
async def test_the_claim_at_fault_is_named(world: World, claims: dict[str, Any], said: str) -> None:
    """What it must be, and nothing of what it is."""
    assertion = world.assertion("hospital-01999", **claims)

    told = (await world.backend("", assertion=assertion)).json()["error_description"]

    assert told.endswith(f"claims are not what they must be: {said}.")
    assert "geheim" not in told


async def test_a_refusal_says_in_general_what_was_wrong(world: World) -> None:
    """Header, signature, claims or replay; of a client that has not proved itself no more."""
    good = world.assertion("hospital-01999")
    stranger = ECKey.generate_key("P-384", auto_kid=True).as_dict(private=True)
    stranger["kid"] = world.key_of("hospital-01999")["kid"]
    unknown = world.assertion("hospital-01999", key=stranger, iss="nobody", sub="nobody")
    await world.backend("", assertion=good)

    said = [
        (await world.backend("", assertion=one)).json()["error_description"]
        for one in (
            "x.y.z",
            world.assertion("hospital-01999", exp=0),
            world.assertion("hospital-01999", key=stranger, exp=0),
            world.assertion("hospital-01999", key=stranger),
            unknown,
            good,
        )
    ]

    assert ["header" in said[0], "claims" in said[1], "used before" in said[5]] == [True] * 3
    assert said[2] == said[3] == said[4]
    assert "signature" in said[2]


async def test_an_assertion_without_kid_needs_one_key_that_fits(world: World) -> None:
    """The one key of the algorithm's kind is meant; of two neither is tried."""
    keys = [ECKey.generate_key("P-384") for _ in range(2)]
    rsa = RSAKey.generate_key(2048)
    small = ECKey.generate_key("P-256")
    public = [key.as_dict(private=False) for key in (*keys, rsa, small)]
    private = keys[0].as_dict(private=True) | {"kid": "x"}
    without = {"header": {"kid": None}}
    for registered, status in (
        (public[:1], 200),
        ([public[0], *public[2:]], 200),
        (public[:2], 401),
        (public[1:2], 401),
        (public[2:], 401),
        ([public[0] | {"use": "enc"}], 401),
    ):
        await world.grants.register(
            Client(
                client_id="bare",
                name="B",
                kind="system",
                scopes=("system/*.rs",),
                jwks={"keys": registered},
            )
        )
        assertion = world.assertion("bare", key=private, **without)
        assert (await world.backend("", assertion=assertion)).status_code == status


async def test_an_assertion_lives_five_minutes_at_most(world: World) -> None:
    """Just under is taken, more is refused; one that has ended too."""
    now = world.server.time()
    for exp, status in ((now + 300, 200), (now + 330, 401), (now, 401), (now - 1, 401)):
        assertion = world.assertion("hospital-01999", exp=exp)
        assert (await world.backend("hospital-01999", assertion=assertion)).status_code == status


async def test_an_assertion_is_used_once(world: World) -> None:
    """The same again is refused, in every process; another with the same jti too."""
    assertion = world.assertion("hospital-01999", jti="one")

    assert (await world.backend("", assertion=assertion)).status_code == 200
    assert (await world.backend("", assertion=assertion)).status_code == 401
    again = world.assertion("hospital-01999", jti="one")
    assert (await world.backend("", assertion=again)).status_code == 401
    other = world.assertion("hospital-79999", jti="one")
    assert (await world.backend("", assertion=other)).status_code == 200


async def test_an_aud_list_that_holds_the_token_url_is_taken(world: World) -> None:
    """`aud` may be a list (RFC 7519, 4.1.3)."""
    assertion = world.assertion("system", aud=["x", "http://testserver/auth/token"])

    assert (await world.backend("", assertion=assertion)).status_code == 200


@pytest.mark.parametrize(
    "header",
    [{"alg": "HS256"}, {"alg": "HS384"}, {"kid": "other"}, {"kid": ""}, {"alg": "ES256"}],
    ids=str,
)
async def test_an_assertion_with_another_header_is_refused(
    world: World, header: dict[str, Any]
) -> None:
    """ES384 and RS384 alone, and a kid of the client's own."""
    key: Any = world.key_of("hospital-01999")
    alg = header.get("alg", "ES384")
    if alg.startswith("HS"):
        public = {k: v for k, v in key.items() if k != "d"}
        key = OctKey.import_key(msgspec.json.encode(public)).as_dict() | {"kid": key["kid"]}
    elif alg == "ES256":
        key = ECKey.generate_key("P-256").as_dict(private=True) | {"kid": key["kid"]}
    assertion = world.assertion("hospital-01999", key=key, header=header)

    assert (await world.backend("", assertion=assertion)).status_code == 401


@pytest.mark.parametrize(
    "asked",
    [
        {"crit": []}, {"crit": ["exp"]}, {"crit": None}, {"crit": "b64"}, {"b64": False},
        {"b64": "no"}, {"crit": ["b64"], "b64": True}, {"crit": ["b64"], "b64": False},
    ],
    ids=str,
)  # fmt: skip
async def test_an_assertion_that_asks_for_an_extension_is_refused(
    world: World, asked: dict[str, Any]
) -> None:
    """`crit` names nothing that we know, and may not be empty (RFC 7515, 4.1.11)."""
    head, payload, _ = world.assertion("hospital-01999").split(".")
    header = msgspec.json.decode(urlsafe_b64decode(head.encode())) | asked
    signed = f"{urlsafe_b64encode(msgspec.json.encode(header)).decode()}.{payload}"
    key = ECKey.import_key(world.key_of("hospital-01999"))
    signature = JWSRegistry.algorithms["ES384"].sign(signed.encode(), key)
    assertion = f"{signed}.{urlsafe_b64encode(signature).decode()}"

    answer = await world.backend("", assertion=assertion)

    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_another_clients_key_is_refused(world: World) -> None:
    """A signature by anybody else's key, though it names the client's kid."""
    kid = world.key_of("hospital-01999")["kid"]
    for key in (world.key_of("hospital-79999"), ECKey.generate_key("P-384").as_dict(private=True)):
        assertion = world.assertion("hospital-01999", key=key | {"kid": kid})
        assert (await world.backend("", assertion=assertion)).status_code == 401


async def test_alg_none_is_refused(world: World) -> None:
    """An unsigned assertion is none."""
    _, body, _ = world.assertion("hospital-01999").split(".")
    for head in ("eyJhbGciOiJub25lIiwia2lkIjoieCJ9", "e30"):
        for text in (f"{head}.{body}.", f"{head}.{body}.AA", f"{head}.{body}"):
            assert (await world.backend("", assertion=text)).status_code == 401


@pytest.mark.parametrize(("bits", "status"), [(2048, 200), (1024, 401)])
async def test_rs384_is_taken_with_a_key_of_2048_bits(world: World, bits: int, status: int) -> None:
    """SMART's other algorithm; a short key is refused."""
    with warnings.catch_warnings():
        # The library warns of the short key that this test is about.
        warnings.simplefilter("ignore", SecurityWarning)
        key = RSAKey.generate_key(bits, auto_kid=True)
        public, private = key.as_dict(private=False), key.as_dict(private=True)
        assertion = world.assertion("rsa", key=private, header={"alg": "RS384"})
    client = Client(
        client_id="rsa", name="R", kind="system", scopes=("system/*.rs",), jwks={"keys": [public]}
    )
    await world.grants.register(client)

    assert (await world.backend("", assertion=assertion)).status_code == status


async def test_a_key_for_another_use_or_algorithm_is_refused(world: World) -> None:
    """What the client registered for encryption does not sign."""
    key = ECKey.generate_key("P-384", auto_kid=True)
    for extra in ({"use": "enc"}, {"alg": "ES512"}):
        client = Client(
            client_id="c",
            name="C",
            kind="system",
            scopes=("system/*.rs",),
            jwks={"keys": [key.as_dict(private=False) | extra]},
        )
        await world.grants.register(client)
        assertion = world.assertion("c", key=key.as_dict(private=True))
        assert (await world.backend("", assertion=assertion)).status_code == 401


async def test_a_disabled_client_gets_no_token(world: World) -> None:
    """Disabled is unknown."""
    await world.grants.disable("hospital-01999")

    assert (await world.backend("hospital-01999")).status_code == 401


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        ({"grant_type": "client_credentials", "client_id": "system"}, 401, "invalid_client"),
        (
            {"grant_type": "client_credentials", "client_id": "vneid-app"},
            400,
            "unauthorized_client",
        ),
        ({"grant_type": "authorization_code", "client_id": "vneid-app"}, 400, "invalid_grant"),
        ({"grant_type": "authorization_code", "client_id": "web-book"}, 400, "unauthorized_client"),
        (
            {"grant_type": "authorization_code", "client_id": "vneid-app", "client_secret": "x"},
            401,
            "invalid_client",
        ),
        ({"grant_type": "refresh_token", "client_id": "vneid-app"}, 400, "invalid_grant"),
        ({"grant_type": "client_credentials", "client_assertion": "x"}, 400, "invalid_request"),
        (
            {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE},
            401,
            "invalid_client",
        ),
    ],
    ids=str,
)
async def test_a_wrong_request_is_told_in_oauths_words(
    world: World, form: dict[str, str], status: int, error: str
) -> None:
    """JSON with `error`, never stored."""
    answer = await world.http.post("/auth/token", data=form)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.headers["cache-control"] == "no-store"


async def test_a_client_id_beside_an_assertion_names_the_same(world: World) -> None:
    """Another client_id is refused (RFC 7521, 4.2)."""
    for client_id, status in (("hospital-01999", 200), ("system", 401)):
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": world.assertion("hospital-01999"),
        }
        assert (await world.http.post("/auth/token", data=form)).status_code == status


@pytest.mark.parametrize(
    ("content", "content_type", "status"),
    [
        (b'{"grant_type":"client_credentials"}', "application/json", 400),
        (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%ff", "application/x-www-form-urlencoded", 400),
        (b"\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a%d=1" % n for n in range(100)), "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"", "", 400),
    ],
    ids=["json", "twice", "bad UTF-8", "bytes", "many", "large", "empty"],
)
async def test_a_body_that_is_no_form_is_refused(
    world: World, content: bytes, content_type: str, status: int
) -> None:
    """Never a 500."""
    answer = await world.http.post(
        "/auth/token", content=content, headers={"content-type": content_type}
    )

    assert answer.status_code == status
    assert answer.json()["error"] == "invalid_request"


async def test_a_code_gives_the_tokens_of_a_book(world: World) -> None:
    """Scope, patient, banner, refresh token and an id_token that our keys verify."""
    answer = await world.citizen(MOTHER, nonce="n-1")

    assert answer["patient"] == "mother"
    assert answer["need_patient_banner"] is True
    assert answer["scope"].split() == [
        "openid",
        "fhirUser",
        "launch/patient",
        "offline_access",
        "patient/*.rs",
        "patient/Consent.cud",
    ]
    jwks = (await world.http.get("/auth/jwks")).json()
    claims = jwt.decode(answer["id_token"], KeySet.import_key_set(jwks), ["ES256"]).claims
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (world.origin, "vneid-app", "n-1")
    assert claims["fhirUser"] == "Patient/mother"
    token = world.verifier.verify(answer["access_token"], world.clock().timestamp())
    assert token.sub == claims["sub"]
    assert MOTHER not in str(claims)
    assert MOTHER not in str(token)


async def test_refresh_and_id_tokens_are_only_for_who_asked(world: World) -> None:
    """Without offline_access and openid there are none."""
    answer = await world.citizen(MOTHER, scope="patient/*.rs")

    assert "refresh_token" not in answer
    assert "id_token" not in answer


async def test_a_code_used_twice_ends_its_tokens(world: World) -> None:
    """The second use is refused, and the access and refresh tokens of the first end."""
    code = (await world.code_for(MOTHER))["code"]
    first = (await world.redeem(code)).json()
    await world.access(first["access_token"])

    again = await world.redeem(code)

    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert (await world.http.post("/fhir", headers={})).status_code == 404
    with pytest.raises(Exception, match="not valid"):
        await world.access(first["access_token"])
    assert (await world.refresh(first["refresh_token"])).status_code == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"code_verifier": "w" * 43},
        {"code_verifier": ""},
        {"code_verifier": "v" * 42},
        {"code_verifier": "v" * 200},
        {"redirect_uri": "http://127.0.0.1:5556/callback"},
        {"redirect_uri": ""},
    ],
    ids=str,
)
async def test_a_code_without_what_belongs_to_it_ends(
    world: World, changes: dict[str, str]
) -> None:
    """Verifier and redirect URI must be those of the request that began it; no second try."""
    code = (await world.code_for(MOTHER))["code"]

    for tried in (changes, {}, changes):
        answer = await world.redeem(code, **tried)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


@pytest.mark.parametrize("code", ["x", ""])
async def test_a_code_that_never_was_is_refused(world: World, code: str) -> None:
    """It ends nothing: nobody else's code is tried by it."""
    good = (await world.code_for(MOTHER))["code"]

    assert (await world.redeem(code)).json()["error"] == "invalid_grant"
    assert (await world.redeem(good)).status_code == 200


async def test_the_challenge_itself_is_no_verifier(world: World) -> None:
    """PKCE is not `plain`: who sees the challenge cannot use the code."""
    given = await world.code_for(MOTHER)
    challenge = world.asked("v" * 43)["code_challenge"]

    assert (await world.redeem(given["code"], code_verifier=challenge)).status_code == 400


async def test_a_code_ends_after_a_minute(world: World) -> None:
    """Later it is refused."""
    code = (await world.code_for(MOTHER))["code"]
    world.clock.pass_by(61)

    assert (await world.redeem(code)).status_code == 400


async def test_anothers_code_is_refused_and_ends(world: World) -> None:
    """A code is its client's; in another's hands it was stolen, and nobody gets anything for it."""
    await world.grants.register(
        Client(
            client_id="other",
            name="O",
            kind="app",
            redirect_uris=("https://o/",),
            scopes=("patient/*.rs",),
        )
    )
    code = (await world.code_for(MOTHER))["code"]

    stolen = await world.redeem(code, client_id="other")

    assert (stolen.status_code, stolen.json()["error_description"]) == (
        400,
        "The code is not known.",
    )
    assert (await world.redeem(code)).status_code == 400


async def test_a_refresh_token_rotates(world: World) -> None:
    """Each is good once; the new access token is of the same book."""
    first = await world.citizen(MOTHER, patient="bao")
    second = (await world.refresh(first["refresh_token"])).json()

    assert second["patient"] == "bao"
    assert second["refresh_token"] != first["refresh_token"]
    assert (await world.access(second["access_token"])).principal.patient_id == "bao"
    assert (await world.refresh(second["refresh_token"])).status_code == 200


async def test_a_public_clients_refresh_token_says_whose_it_is(world: World) -> None:
    """RFC 6749, 6, asks for no client_id, and SMART's own client sends none; reuse ends all."""
    first = await world.citizen(MOTHER)
    form = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}

    second = await world.http.post("/auth/token", data=form)
    again = await world.http.post("/auth/token", data=form)
    after = await world.refresh(second.json()["refresh_token"])

    assert second.status_code == 200
    assert (await world.http.post("/auth/token", data=form)).json()["error"] == "invalid_grant"
    assert [(a.status_code, a.json()["error"]) for a in (again, after)] == [
        (400, "invalid_grant")
    ] * 2


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        ({"refresh_token": "nothing"}, 400, "invalid_grant"),
        ({"refresh_token": ""}, 400, "invalid_grant"),
        ({"client_id": "hospital-01999"}, 401, "invalid_client"),
        ({"client_secret": "any"}, 401, "invalid_client"),
    ],
    ids=["unknown", "none", "another", "secret"],
)
async def test_a_refresh_without_a_client_is_of_a_good_token_alone(
    world: World, changes: dict[str, str], status: int, error: str
) -> None:
    """Who names a client, or brings a secret, must still prove it."""
    token = (await world.citizen(MOTHER))["refresh_token"]
    form = {"grant_type": "refresh_token", "refresh_token": token}

    answer = await world.http.post("/auth/token", data=form | changes)

    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert (await world.http.post("/auth/token", data=form)).status_code == 200


async def test_a_refresh_token_of_a_client_with_a_key_needs_its_proof(world: World) -> None:
    """A confidential client's token alone is worth nothing, and stays good for who can prove it."""
    token = (await world.citizen(MOTHER))["refresh_token"]
    known = await world.grants.client("vneid-app")
    hospital = await world.grants.client("hospital-01999")
    await world.grants.register(msgspec.structs.replace(known, jwks=hospital.jwks))
    form = {"grant_type": "refresh_token", "refresh_token": token}

    refused = await world.http.post("/auth/token", data=form)
    await world.grants.register(known)

    assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")
    assert (await world.http.post("/auth/token", data=form)).status_code == 200


async def test_a_refresh_token_used_again_ends_everything(world: World) -> None:
    """Also the access token that came of the first use."""
    first = await world.citizen(MOTHER)
    second = (await world.refresh(first["refresh_token"])).json()

    assert (await world.refresh(first["refresh_token"])).status_code == 400
    for token in (first["access_token"], second["access_token"]):
        with pytest.raises(Exception, match="not valid"):
            await world.access(token)
    assert (await world.refresh(second["refresh_token"])).status_code == 400


async def test_a_refresh_may_ask_for_less(world: World) -> None:
    """And not for more than was granted."""
    first = await world.citizen(MOTHER, scope="offline_access patient/*.rs")
    less = (await world.refresh(first["refresh_token"], scope="patient/Patient.r")).json()

    assert less["scope"] == "patient/Patient.r"
    more = await world.refresh(less["refresh_token"], scope="patient/Consent.cud")
    assert (more.status_code, more.json()["error"]) == (400, "invalid_scope")


@pytest.mark.parametrize(
    "scope", ["patient/*.rs patient/Consent.cud", "patient/*.cruds", "patient/*.rs openid", " "]
)
async def test_a_refresh_that_asks_for_more_is_refused(world: World, scope: str) -> None:
    """One word beyond what was granted, and nothing is given (RFC 6749, 6)."""
    first = await world.citizen(MOTHER, scope="offline_access patient/*.rs")

    answer = await world.refresh(first["refresh_token"], scope=scope)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope")


async def test_a_refresh_after_the_guardianship_ended_ends_the_grant(world: World) -> None:
    """No token for a child whose guardian the citizen no longer is."""
    first = await world.citizen(MOTHER, patient="bao")
    world.citizens.links[MOTHER] = ()

    assert (await world.refresh(first["refresh_token"])).status_code == 400
    world.citizens.links[MOTHER] = ()


async def test_a_refresh_token_ends_after_ninety_days(world: World) -> None:
    """However often it was refreshed."""
    token = (await world.citizen(MOTHER))["refresh_token"]
    for _ in range(3):
        world.clock.pass_by(29 * 86400)
        token = (await world.refresh(token)).json()["refresh_token"]
    world.clock.pass_by(4 * 86400)

    assert (await world.refresh(token)).status_code == 400


async def test_a_client_may_publish_its_keys_at_a_url(world: World) -> None:
    """`jwks_uri`: read when needed; what cannot be read is no proof."""
    key = ECKey.generate_key("P-384", auto_kid=True)
    answers = {
        "/good": {"keys": [key.as_dict(private=False)]},
        "/other": {"keys": [ECKey.generate_key("P-384", auto_kid=True).as_dict(private=False)]},
        "/odd": {"keys": ["x", {"kid": key.kid}, {"kid": key.kid, "kty": "EC", "crv": "P-384"}]},
        "/none": {},
    }

    def serve(request: httpx2.Request) -> httpx2.Response:
        found = answers.get(request.url.path)
        return httpx2.Response(404 if found is None else 200, content=msgspec.json.encode(found))

    transport = httpx2.MockTransport(serve)
    async with httpx2.AsyncClient(transport=transport) as http:
        cache = JwksCache(http, world.clock)
        object.__setattr__(world.server, "remote_keys", cache)
        for path, status in (
            ("good", 200),
            ("other", 401),
            ("odd", 401),
            ("none", 401),
            ("x", 401),
        ):
            client = Client(
                client_id="remote",
                name="R",
                kind="system",
                scopes=("system/*.rs",),
                jwks_uri=f"https://r.example/{path}",
            )
            await world.grants.register(client)
            assertion = world.assertion("remote", key=key.as_dict(private=True))
            answer = await world.backend("", assertion=assertion)
            assert (path, answer.status_code) == (path, status)

    object.__setattr__(world.server, "remote_keys", None)
    assertion = world.assertion("remote", key=key.as_dict(private=True))
    assert (await world.backend("", assertion=assertion)).status_code == 401


@pytest.mark.parametrize("text", ["\x00", "x" * 5000, "ế", "../client", "%", "a\nb", "💥.💥"])
async def test_odd_names_and_tokens_are_unknown(world: World, text: str) -> None:
    """Whatever comes as a name, a code or a token is refused, never a 500."""
    for form in (
        {"grant_type": "authorization_code", "client_id": text, "code": text},
        {"grant_type": "authorization_code", "client_id": "vneid-app", "code": text},
        {"grant_type": "refresh_token", "client_id": "vneid-app", "refresh_token": text},
        {"grant_type": "refresh_token", "client_id": "vneid-app", "refresh_token": f"{text}.x"},
    ):
        assert (await world.http.post("/auth/token", data=form)).status_code in {400, 401}
    answer = await world.backend("", assertion=world.assertion("system", iss=text, sub=text))
    assert answer.status_code == 401
    form = {"client_id": "vneid-app", "token": text}
    assert (await world.http.post("/auth/revoke", data=form)).status_code == 200
