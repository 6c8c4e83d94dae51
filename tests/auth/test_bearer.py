"""From a token to who asks: asked anew at every request."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from auth import tokens
from auth.bearer import BearerTokens
from auth.client import Client
from auth.tokens import AccessToken, InvalidToken
from fhir_server.model.outcome import LoginRequired
from tests.auth.server.test_introspect import ask
from tests.auth.world import FATHER, MOTHER, World


async def refused(world: World, token: str) -> LoginRequired:
    with pytest.raises(LoginRequired) as caught:
        await world.access(token)
    return caught.value


@pytest.mark.parametrize(
    ("client_id", "kind", "code", "tag"),
    [
        ("system", "system", "", ""),
        ("hospital-01999", "facility", "01999", "facility/01999"),
        ("clinic-01998", "facility", "01998", "facility/01998"),
        ("insurer-bhxh", "payer", "BHXH", ""),
        ("insurer-private-01", "payer", "PRIVATE-01", ""),
        ("auditor", "auditor", "", ""),
    ],
)
async def test_a_backend_token_is_its_clients(
    world: World, client_id: str, kind: str, code: str, tag: str
) -> None:
    """Kind and binding are the client's registration, not the token's."""
    principal = (await world.access(await world.backend_token(client_id))).principal

    assert (principal.kind, principal.code, principal.tag) == (kind, code, tag)
    assert principal.private is (client_id == "insurer-private-01")


async def test_a_citizens_token_stands_for_one_patient(world: World) -> None:
    """The own token is the own Patient with the links; a child's is the child's alone."""
    own = await world.access((await world.citizen(MOTHER))["access_token"])
    child = await world.access((await world.citizen(MOTHER, patient="bao"))["access_token"])

    assert (own.principal.patient_id, own.principal.fhir_user) == ("mother", "Patient/mother")
    assert own.policy.links == ("link-bao-m",)
    assert (child.principal.patient_id, child.principal.fhir_user) == ("bao", "Patient/mother")
    assert child.policy.links == ()
    assert own.principal.level == child.principal.level == 2
    for one in (own.principal, child.principal):
        # Who saw a book is the person, by the name that VNeID said; the app stands beside.
        assert (one.display, one.app) == ("NGUYỄN THỊ MẪU", "Ứng dụng VNeID (mẫu)")


@pytest.mark.parametrize("header", [None, ""])
async def test_no_token_asks_for_one(world: World, header: str | None) -> None:
    """401 with the scheme, and no error code (RFC 6750, 3.1)."""
    with pytest.raises(LoginRequired) as caught:
        await world.bearer.access_of(header)

    assert caught.value.headers == {"WWW-Authenticate": 'Bearer realm="fhir"'}


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Basic eDp5", "bearer x", "Bearer a b"])
async def test_what_is_no_bearer_token_is_refused(world: World, header: str) -> None:
    """401 with the error code."""
    with pytest.raises(LoginRequired) as caught:
        await world.bearer.access_of(header)

    assert 'error="invalid_token"' in caught.value.headers["WWW-Authenticate"]


async def test_the_scheme_is_read_in_any_case(world: World) -> None:
    """`bearer` is `Bearer` (RFC 9110, 11.1)."""
    token = await world.backend_token("system")

    assert (await world.bearer.access_of(f"bEaReR  {token}")).principal.kind == "system"


async def test_a_disabled_client_is_refused_at_the_next_request(world: World) -> None:
    """Its tokens end with it, those of citizens too."""
    hospital = await world.backend_token("hospital-01999")
    citizen = (await world.citizen(MOTHER))["access_token"]
    await world.access(hospital)
    await world.grants.disable("hospital-01999")
    await world.grants.disable("vneid-app")

    await refused(world, hospital)
    await refused(world, citizen)


async def test_an_ended_token_is_refused_at_the_next_request(world: World) -> None:
    """Though its signature was verified just before."""
    token = await world.backend_token("system")
    claims = world.verifier.verify(token, world.clock().timestamp())
    await world.access(token)
    await world.grants.end_token(claims.jti, claims.exp)

    await refused(world, token)


async def test_an_ended_grant_is_refused_at_the_next_request(world: World) -> None:
    """Every token of it."""
    token = (await world.citizen(MOTHER))["access_token"]
    claims = world.verifier.verify(token, world.clock().timestamp())
    await world.access(token)
    await world.grants.revoke_family(claims.family)

    await refused(world, token)


async def test_an_ended_guardianship_is_refused_at_the_next_request(world: World) -> None:
    """The child's token ends; the guardian's own goes on, without the link."""
    own = (await world.citizen(MOTHER))["access_token"]
    child = (await world.citizen(MOTHER, patient="bao"))["access_token"]
    fathers = (await world.citizen(FATHER, patient="bao"))["access_token"]
    world.citizens.links[MOTHER] = ()

    await refused(world, child)
    assert (await world.access(own)).policy.links == ()
    assert (await world.access(fathers)).principal.patient_id == "bao"


async def test_what_was_begun_with_a_token_outlives_its_time(world: World) -> None:
    """But not its client, nor the guardianship, nor the grant."""
    child = await _claims(world, (await world.citizen(MOTHER, patient="bao"))["access_token"])
    own = await _claims(world, (await world.citizen(MOTHER))["access_token"])
    backend = await _claims(world, await world.backend_token("hospital-01999"))
    world.clock.pass_by(3600)
    for claims in (child, own, backend):
        assert (await world.bearer.access_again(claims)).basis == claims

    world.citizens.links[MOTHER] = ()
    await world.grants.disable("hospital-01999")
    for claims in (child, backend):
        with pytest.raises(InvalidToken):
            await world.bearer.access_again(claims)
    assert (await world.bearer.access_again(own)).policy.links == ()
    await world.grants.revoke_family(own.family)
    with pytest.raises(InvalidToken):
        await world.bearer.access_again(own)


async def test_what_was_begun_with_a_token_ends_with_its_revocation(world: World) -> None:
    """It is remembered for as long as anything may go on."""
    token = await world.backend_token("hospital-01999")
    claims = await _claims(world, token)
    assert (await ask(world, "hospital-01999", token, "revoke")).status_code == 200

    for _ in range(12):
        world.clock.pass_by(3600)
        with pytest.raises(InvalidToken):
            await world.bearer.access_again(claims)


async def _claims(world: World, token: str) -> AccessToken:
    basis = (await world.access(token)).basis
    assert basis is not None
    return basis


async def test_scopes_taken_from_a_client_are_taken_from_its_tokens(world: World) -> None:
    """A registration that is cut cuts what tokens in use may do."""
    token = await world.backend_token("hospital-01999")
    client = await world.grants.client("hospital-01999")
    assert client is not None
    await world.grants.register(msgspec.structs.replace(client, scopes=("system/Patient.rs",)))

    access = await world.access(token)

    assert access.principal.scopes == ("system/Patient.rs",)
    assert access.policy.narrow("submit", None) is None


async def test_a_token_of_another_audience_is_refused(world: World) -> None:
    """A token that we signed for something else, such as an id_token, opens nothing."""
    answer = await world.citizen(MOTHER)

    await refused(world, answer["id_token"])
    await refused(world, answer["refresh_token"])


async def test_a_refusal_says_nothing_of_the_token(world: World) -> None:
    """One text for every cause, in both languages."""
    token = await world.backend_token("system")
    await world.grants.disable("system")

    wrong, ended = await refused(world, "rubbish"), await refused(world, token)

    assert wrong.issues == ended.issues
    assert wrong.issues[0].text_vi


def forged(world: World, **claims: Any) -> str:
    """A token that our own key signs, as if issuing had gone wrong."""
    now = world.server.time()
    base = {
        "iss": world.origin,
        "aud": f"{world.origin}/fhir",
        "sub": "hospital-01999",
        "client_id": "hospital-01999",
        "scope": "system/*.cruds",
        "iat": now,
        "exp": now + 60,
        "jti": "x",
    }
    return tokens.issue(AccessToken(**base | claims), world.keys)


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "system"},
        {"patient": "mother"},
        {"jti": "family.x"},
        {"client_id": "nobody"},
        {"client_id": "vneid-app"},
        {"client_id": "vneid-app", "jti": "nofamily.x"},
        {"client_id": "vneid-app", "patient": "mother"},
    ],
    ids=str,
)
async def test_a_token_that_does_not_fit_its_client_is_refused(
    world: World, claims: dict[str, Any]
) -> None:
    """A client's kind and a token's shape must agree, whoever signed it."""
    await refused(world, forged(world, **claims))


async def test_a_grant_serves_its_own_client_and_patient_alone(world: World) -> None:
    """A token that names another client's grant, or another patient, is refused."""
    token = (await world.citizen(MOTHER))["access_token"]
    family = world.verifier.verify(token, world.clock().timestamp()).family
    await world.grants.register(
        Client(
            client_id="other",
            name="O",
            kind="app",
            redirect_uris=("https://o/",),
            scopes=("patient/*.rs",),
        )
    )
    ours = {"client_id": "vneid-app", "sub": "s", "jti": f"{family}.x", "scope": "patient/*.rs"}

    assert await world.access(forged(world, **ours, patient="mother"))
    await refused(world, forged(world, **ours, patient="father"))
    await refused(world, forged(world, **ours | {"client_id": "other"}, patient="mother"))


async def test_what_cannot_have_changed_is_not_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within one edition of the store and one second, a token is looked up once."""
    os.utime(world.folder, ns=(1, 1))  # the keys have not changed for long
    token = (await world.citizen(MOTHER))["access_token"]
    first = await world.access(token)

    async def read_again(_bucket: str, _key: str) -> bytes | None:  # noqa: RUF029
        raise AssertionError

    monkeypatch.setattr(world.ledger, "get", read_again)

    assert await world.access(token) is first
    with pytest.raises(AssertionError):
        await world.access(await world.backend_token("system"))
    world.clock.pass_by(1)
    with pytest.raises(AssertionError):
        await world.access(token)


async def test_a_link_that_ended_ends_at_the_next_request(world: World) -> None:
    """A child's token is refused as soon as its holder is no guardian, though just looked up."""
    token = (await world.citizen(MOTHER, patient="bao"))["access_token"]
    await world.access(token)

    world.citizens.links[MOTHER] = ()

    await refused(world, token)


async def test_a_key_taken_from_the_folder_ends_its_tokens_at_once(world: World) -> None:
    """What an operator takes out of the key folder verifies nothing any more."""
    token = await world.backend_token("system")
    await world.access(token)
    world.keys.rotate()
    await world.access(token)

    min(world.folder.glob("signing-*.jwk.json")).unlink()

    await refused(world, token)


async def test_a_store_that_knows_no_edition_is_read_each_time(world: World) -> None:
    """Where changes cannot be told, nothing is kept."""
    bearer = BearerTokens(world.verifier, world.grants, world.citizens, world.clock)
    header = f"Bearer {await world.backend_token('system')}"
    await bearer.access_of(header)

    await world.grants.disable("system")

    with pytest.raises(LoginRequired):
        await bearer.access_of(header)
