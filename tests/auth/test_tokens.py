"""Access tokens, and attacks on them."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey

from auth import tokens
from auth.server.keys import FolderKeys
from auth.tokens import AccessToken, InvalidToken, Verifier
from tests.auth.world import Clock

NOW = 1_800_000_000
GOOD = {
    "iss": "http://us",
    "aud": "http://us/fhir",
    "sub": "s",
    "client_id": "c",
    "scope": "system/*.rs",
    "iat": NOW,
    "exp": NOW + 900,
    "jti": "j",
}
HEADER = {"alg": "ES256", "typ": "at+jwt"}


@pytest.fixture
def keys(tmp_path: Path) -> FolderKeys:
    return FolderKeys(tmp_path, Clock())


@pytest.fixture
def verifier(keys: FolderKeys) -> Verifier:
    return Verifier(keys, issuer="http://us", audience="http://us/fhir")


def sign(keys: FolderKeys, header: dict | None = None, **claims: object) -> str:
    head = HEADER | {"kid": keys.active().kid} | (header or {})
    body = {name: value for name, value in (GOOD | claims).items() if value is not None}
    return jws.serialize_compact(head, msgspec.json.encode(body), keys.active(), ["ES256"])


def test_an_issued_token_verifies(keys: FolderKeys, verifier: Verifier) -> None:
    """What we issue, we take, with the same claims; a second look too."""
    claims = AccessToken(**GOOD, patient="p", fhirUser="Patient/g")
    token = tokens.issue(claims, keys)

    assert verifier.verify(token, NOW) == claims
    assert verifier.verify(token, NOW + 899) == claims


def test_an_issued_token_has_the_contracts_claims(keys: FolderKeys) -> None:
    """`iss aud sub client_id scope patient fhirUser iat exp jti`, ES256, and nothing else."""
    token = tokens.issue(AccessToken(**GOOD, patient="p", fhirUser="Patient/g"), keys)
    head, body, _ = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))

    assert msgspec.json.decode(head) == HEADER | {"kid": keys.active().kid}
    assert set(msgspec.json.decode(body)) == {*GOOD, "patient", "fhirUser"}


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "http://them"},
        {"aud": "http://them/fhir"},
        {"aud": "http://us"},
        {"aud": ["http://us/fhir", "http://them"]},
        {"exp": NOW},
        {"exp": NOW - 1},
        {"iat": NOW + 60, "exp": NOW + 600},
        {"exp": NOW + 901},
        {"iat": NOW - 1000},
        {"sub": ""},
        {"client_id": ""},
        {"jti": ""},
        {"sub": None},
        {"exp": None},
        {"exp": str(NOW + 900)},
        {"scope": None},
        {"iat": None},
    ],
    ids=str,
)
def test_a_signed_token_with_a_wrong_claim_is_refused(
    keys: FolderKeys, verifier: Verifier, claims: dict
) -> None:
    """A good signature does not make up for a claim that is wrong or missing."""
    with pytest.raises(InvalidToken):
        verifier.verify(sign(keys, **claims), NOW)


def test_a_token_that_ends_is_refused_though_it_was_seen(
    keys: FolderKeys, verifier: Verifier
) -> None:
    """Only the signature is remembered: the end of a token is seen each time."""
    token = sign(keys)
    verifier.verify(token, NOW)

    with pytest.raises(InvalidToken):
        verifier.verify(token, NOW + 900)


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_alg_none_is_refused(keys: FolderKeys, verifier: Verifier) -> None:
    """An unsigned token is refused, whatever it writes for `none`."""
    for alg in ("none", "None", "NONE", ""):
        head = msgspec.json.encode({"alg": alg, "typ": "at+jwt", "kid": keys.active().kid})
        for signature in ("", "AA"):
            token = f"{b64(head)}.{b64(msgspec.json.encode(GOOD))}.{signature}"
            with pytest.raises(InvalidToken):
                verifier.verify(token, NOW)


def test_hs256_with_the_public_key_as_secret_is_refused(
    keys: FolderKeys, verifier: Verifier
) -> None:
    """The public key, which everybody has, is no shared secret."""
    public = keys.active().as_pem(private=False)
    der = keys.active().as_der(private=False)
    jwk = msgspec.json.encode(keys.active().as_dict(private=False))
    head = {"alg": "HS256", "typ": "at+jwt", "kid": keys.active().kid}
    for secret in (public, der, jwk):
        key = OctKey.import_key(b64(secret).encode())
        token = jws.serialize_compact(head, msgspec.json.encode(GOOD), key, ["HS256"])
        with pytest.raises(InvalidToken):
            verifier.verify(token, NOW)


def test_another_key_under_our_kid_is_refused(keys: FolderKeys, verifier: Verifier) -> None:
    """A header may name our key; the signature must be its."""
    theirs = ECKey.generate_key("P-256")
    head = HEADER | {"kid": keys.active().kid}
    token = jws.serialize_compact(head, msgspec.json.encode(GOOD), theirs, ["ES256"])

    with pytest.raises(InvalidToken):
        verifier.verify(token, NOW)


def test_a_key_in_the_header_is_not_used(keys: FolderKeys, verifier: Verifier) -> None:
    """`jwk` and `jku` in a header are not asked."""
    theirs = ECKey.generate_key("P-256")
    for extra in (
        {"jwk": theirs.as_dict(private=False)},
        {"jku": "https://evil.example/jwks", "kid": "x"},
    ):
        token = jws.serialize_compact(HEADER | extra, msgspec.json.encode(GOOD), theirs, ["ES256"])
        with pytest.raises(InvalidToken):
            verifier.verify(token, NOW)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "", None])
def test_a_token_of_another_type_is_refused(
    keys: FolderKeys, verifier: Verifier, typ: str | None
) -> None:
    """An id_token is no access token, though the same key signed it."""
    head = {"alg": "ES256", "kid": keys.active().kid} | ({} if typ is None else {"typ": typ})
    token = jws.serialize_compact(head, msgspec.json.encode(GOOD), keys.active(), ["ES256"])

    with pytest.raises(InvalidToken):
        verifier.verify(token, NOW)


@pytest.mark.parametrize(
    "token",
    ["", ".", "..", "a.b.c", "....", "é.è.ê", "x" * 9000, "\x00.\x00.\x00", "eyJ9.e30.e30", "💥"],
    ids=range(10),
)
def test_what_is_no_token_is_refused(verifier: Verifier, token: str) -> None:
    """Rubbish is refused, and nothing else is raised."""
    with pytest.raises(InvalidToken):
        verifier.verify(token, NOW)


def test_a_changed_byte_is_noticed(keys: FolderKeys, verifier: Verifier) -> None:
    """A token that was good is refused with any part of it changed."""
    head, body, signature = sign(keys).split(".")
    other = sign(keys, scope="system/*.cruds").split(".")[1]
    for forged in (f"{head}.{other}.{signature}", f"{head}.{body}.{signature[:-4]}AAAA"):
        with pytest.raises(InvalidToken):
            verifier.verify(forged, NOW)


def test_the_cache_of_signatures_is_bounded(
    keys: FolderKeys, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest verified signature is forgotten."""
    monkeypatch.setattr(tokens, "CACHE_SIZE", 3)
    for number in range(6):
        verifier.verify(sign(keys, jti=str(number)), NOW)

    assert len(verifier._verified) == 3


def test_a_refused_token_is_not_remembered(keys: FolderKeys, verifier: Verifier) -> None:
    """Bad signatures fill nothing."""
    theirs = ECKey.generate_key("P-256")
    head = HEADER | {"kid": keys.active().kid}
    token = jws.serialize_compact(head, msgspec.json.encode(GOOD), theirs, ["ES256"])
    with pytest.raises(InvalidToken):
        verifier.verify(token, NOW)

    assert not verifier._verified


def test_family_is_the_first_part_of_jti() -> None:
    """A token of a grant names it in its `jti`; of a client that acts for itself, none."""
    assert AccessToken(**GOOD | {"jti": "fam.x"}).family == "fam"
    assert AccessToken(**GOOD).family == ""
