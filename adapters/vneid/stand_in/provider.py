"""The stand-in VNeID: what it checks and keeps, without its pages.

A strict OpenID provider, so that what works with it does not work by luck:
https://openid.net/specs/openid-connect-core-1_0.html, RFC 7636, RFC 9207
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import unquote_plus, urlencode

import msgspec
from joserfc import jws

from adapters.vneid.stand_in.person import Person, PersonLookup, claims_of, invented
from auth.grants import hashed, is_same, secret
from auth.guardianship import is_yet_to_come
from auth.ports import GrantStore, KeySource
from auth.server.authorize import CHALLENGE
from auth.server.oauth import OAuthError
from auth.server.token import VERIFIER, challenge
from mappings.vneid.claims import NUMBER, BadClaims, birth_date

BUCKET: Final = "vneid"
CODE_LIFETIME: Final = 60
TOKEN_LIFETIME: Final = 300
MAX_NAME: Final = 100
_NUMBER: Final = re.compile(r"[0-9]{12}")


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """Who may ask the stand-in for a log-in."""

    client_id: str
    client_secret: str
    redirect_uris: tuple[str, ...]


class WrongEntry(Exception):
    """What was typed into the log-in page is not right; the name says which field."""


class _Code(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    client_id: str
    redirect_uri: str
    challenge: str
    claims: dict[str, Any]
    nonce: str = ""
    used_for: str = ""


@dataclass(frozen=True, slots=True)
class StandIn:
    """The stand-in's parts.

    Attributes:
        issuer: Its URL, such as `http://127.0.0.1:8080/vneid`.
        levels: The `acr` of level 1 and of level 2.
    """

    issuer: str
    parties: tuple[RelyingParty, ...]
    store: GrantStore
    keys: KeySource
    lookup: PersonLookup
    now: Callable[[], datetime]
    number_claim: str = NUMBER
    levels: tuple[str, str] = ("LoA1", "LoA2")

    def time(self) -> int:
        """Return the second now."""
        return int(self.now().timestamp())


def discovery(idp: StandIn) -> dict[str, Any]:
    """Return the discovery document."""
    return {
        "issuer": idp.issuer,
        "authorization_endpoint": f"{idp.issuer}/authorize",
        "token_endpoint": f"{idp.issuer}/token",
        "userinfo_endpoint": f"{idp.issuer}/userinfo",
        "jwks_uri": f"{idp.issuer}/jwks",
        "scopes_supported": ["openid"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
        "acr_values_supported": list(idp.levels),
        "claims_supported": ["sub", idp.number_claim, "HoVaTen", "NgayThangNamSinh", "GioiTinh"],
        "authorization_response_iss_parameter_supported": True,
    }


def check_party(idp: StandIn, asked: Mapping[str, str]) -> RelyingParty:
    """Return who asks, where the redirect URI is one of theirs.

    Raises:
        OAuthError: It is not; to be shown, never sent by redirect.
    """
    for party in idp.parties:
        if party.client_id == asked.get("client_id"):
            if asked.get("redirect_uri") in party.redirect_uris:
                return party
            raise OAuthError("invalid_request", "The redirect_uri is not registered.")
    raise OAuthError("invalid_request", "The client_id is not known.")


def check_request(asked: Mapping[str, str]) -> None:
    """Check the rest of an authorization request.

    Raises:
        OAuthError: To be told by redirect.
    """
    if asked.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code.")
    if "openid" not in asked.get("scope", "").split():
        raise OAuthError("invalid_scope", "scope must hold openid.")
    if asked.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(
        asked.get("code_challenge", "")
    ):
        raise OAuthError("invalid_request", "PKCE with S256 is required.")
    if "none" in asked.get("prompt", "").split():
        raise OAuthError("login_required", "A person has to log in.")


def answer_url(idp: StandIn, asked: Mapping[str, str], **values: str) -> str:
    """Return the redirect URI with an answer."""
    if "state" in asked:
        values["state"] = asked["state"]
    values["iss"] = idp.issuer
    uri = asked["redirect_uri"]
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(values)}"


async def log_in(idp: StandIn, asked: Mapping[str, str], entered: Mapping[str, str]) -> str:
    """Return the code for what was typed into the log-in page.

    Raises:
        WrongEntry: A field is not right.
    """
    number = "".join(entered.get("cccd", "").split())
    level = entered.get("level", "2")
    if not _NUMBER.fullmatch(number):
        raise WrongEntry("cccd")
    if level not in {"1", "2"}:
        raise WrongEntry("level")
    claims = claims_of(
        number,
        await person_of(idp, number, entered),
        issuer=idp.issuer,
        acr=idp.levels[int(level) - 1],
        number_claim=idp.number_claim,
    )
    code = _Code(
        client_id=asked["client_id"],
        redirect_uri=asked["redirect_uri"],
        challenge=asked["code_challenge"],
        claims=claims | {"auth_time": idp.time()},
        nonce=asked.get("nonce", ""),
    )
    text = secret()
    await _keep(idp, f"code|{hashed(text)}", code, CODE_LIFETIME)
    return text


async def person_of(idp: StandIn, number: str, entered: Mapping[str, str]) -> Person:
    """Return whom the number belongs to, with what was filled in instead.

    Raises:
        WrongEntry: The name or the birth date filled in is not one.
    """
    person = await idp.lookup(number) or invented(number)
    name = " ".join(entered.get("name", "").split()) or person.name
    if len(name) > MAX_NAME:
        raise WrongEntry("name")
    born = person.birth_date
    if entered.get("birthdate", "").strip():
        try:
            born = birth_date(entered["birthdate"].strip())
        except BadClaims:
            raise WrongEntry("birthdate") from None
        if is_yet_to_come(born, idp.now()):
            raise WrongEntry("birthdate")
    return Person(name=name, birth_date=born, gender=person.gender)


async def exchange(idp: StandIn, party: RelyingParty, form: Mapping[str, str]) -> dict[str, Any]:
    """Return the tokens of a code, once.

    Raises:
        OAuthError: `invalid_grant` or another.
    """
    if form.get("grant_type") != "authorization_code":
        raise OAuthError("unsupported_grant_type", "grant_type must be authorization_code.")
    key = f"code|{hashed(form.get('code', ''))}"
    data = await idp.store.get(BUCKET, key)
    code = None if data is None else msgspec.json.decode(data, type=_Code)
    if code is None or code.client_id != party.client_id:
        raise OAuthError("invalid_grant", "The code is not known.")
    verifier = form.get("code_verifier", "")
    if code.redirect_uri != form.get("redirect_uri") or not VERIFIER.fullmatch(verifier):
        raise OAuthError("invalid_grant", "The redirect_uri or code_verifier does not fit.")
    if not is_same(challenge(verifier), code.challenge):
        raise OAuthError("invalid_grant", "The code_verifier does not fit.")
    token = secret()
    used = msgspec.structs.replace(code, used_for=hashed(token))
    if code.used_for or not await _replace(idp, key, data, used):
        await idp.store.put(BUCKET, f"token|{code.used_for}", None)
        raise OAuthError("invalid_grant", "The code was used before.")
    await _keep(idp, f"token|{hashed(token)}", code, TOKEN_LIFETIME)
    return {
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": TOKEN_LIFETIME,
        "scope": "openid",
        "id_token": _id_token(idp, code),
    }


async def userinfo(idp: StandIn, authorization: str) -> dict[str, Any] | None:
    """Return the claims of an access token; None where it is not good."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer":
        return None
    data = await idp.store.get(BUCKET, f"token|{hashed(token.strip())}")
    return None if data is None else msgspec.json.decode(data, type=_Code).claims


def authenticate(idp: StandIn, authorization: str, form: Mapping[str, str]) -> RelyingParty:
    """Return the relying party that a token request comes from.

    Raises:
        OAuthError: `invalid_client`.
    """
    client_id, client_secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            pair = b64decode(encoded, validate=True).decode()
        except ValueError:
            raise _unknown_party() from None
        client_id, client_secret = (unquote_plus(part) for part in pair.partition(":")[::2])
    for party in idp.parties:
        if party.client_id == client_id and is_same(
            hashed(party.client_secret), hashed(client_secret)
        ):
            return party
    raise _unknown_party()


def _unknown_party() -> OAuthError:
    return OAuthError(
        "invalid_client", "The client is not known or its secret differs.", status=401
    )


def _id_token(idp: StandIn, code: _Code) -> str:
    claims = code.claims | {
        "iss": idp.issuer,
        "aud": code.client_id,
        "iat": idp.time(),
        "exp": idp.time() + TOKEN_LIFETIME,
    }
    if code.nonce:
        claims["nonce"] = code.nonce
    key = idp.keys.active()
    header = {"alg": "ES256", "typ": "JWT", "kid": key.kid}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key, algorithms=["ES256"])


async def _keep(idp: StandIn, key: str, value: _Code, lifetime: int) -> None:
    await idp.store.put(BUCKET, key, msgspec.json.encode(value), until=idp.time() + lifetime)


async def _replace(idp: StandIn, key: str, old: bytes | None, new: _Code) -> bool:
    return await idp.store.put(
        BUCKET,
        key,
        msgspec.json.encode(new),
        expected=old,
        until=idp.time() + CODE_LIFETIME,
    )
