"""Access tokens: issue and verify JWTs against given keys and a table of claim checks.

RFC 9068; the claims are those of the contract's section 6.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, GuestProtocol

from auth.ports import KeySource

ALGORITHM: Final = "ES256"
TYPE: Final = "at+jwt"
LIFETIME: Final = 900
"""Seconds that an access token is good for, at most."""

OUTLIVED: Final = 12 * 3600
"""Seconds after its time for which what was begun with a token may go on, and in which it is
remembered that the token was ended (asynchronous requests)."""

CLOCK_SKEW: Final = 10
"""Seconds that the clocks of two of our machines may differ."""

MAX_LENGTH: Final = 8192
CACHE_SIZE: Final = 8192


class InvalidToken(Exception):
    """The token is refused; the text says why, without its content."""


class AccessToken(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The claims of an access token.

    Attributes:
        sub: Opaque; of a client that acts for itself, its id.
        scope: Space-separated.
        patient: The one Patient a citizen's token stands for.
        fhirUser: Who logged in, `Patient/…`.
        jti: `family.random` where the token belongs to a grant, else random alone.
    """

    iss: str
    aud: str
    sub: str
    client_id: str
    scope: str
    iat: int
    exp: int
    jti: str
    patient: str = ""
    fhirUser: str = ""  # noqa: N815 - SMART's name of the claim

    @property
    def family(self) -> str:
        """The grant that the token belongs to; "" for none."""
        return self.jti.partition(".")[0] if "." in self.jti else ""


@dataclass(frozen=True, slots=True)
class Expected:
    """What a token is checked against."""

    issuer: str
    audience: str
    now: float


CHECKS: Final[tuple[tuple[str, Callable[[AccessToken, Expected], bool]], ...]] = (
    ("iss is this server", lambda token, want: token.iss == want.issuer),
    ("aud is this server's FHIR base", lambda token, want: token.aud == want.audience),
    ("exp has not passed", lambda token, want: want.now < token.exp),
    ("iat has come", lambda token, want: token.iat <= want.now + CLOCK_SKEW),
    ("exp is at most 15 minutes after iat", lambda token, _: 0 < token.exp - token.iat <= LIFETIME),
    (
        "client_id, sub and jti are there",
        lambda token, _: bool(token.client_id and token.sub and token.jti),
    ),
)
"""Every claim check: what must hold, and the function that tells."""


def issue(claims: AccessToken, keys: KeySource) -> str:
    """Return the signed token."""
    key = keys.active()
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
    return jws.serialize_compact(header, msgspec.json.encode(claims), key, algorithms=[ALGORITHM])


class Verifier:
    """Verifies access tokens; only that a signature was good is remembered, and only so many."""

    def __init__(self, keys: KeySource, *, issuer: str, audience: str) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._verified: OrderedDict[bytes, tuple[str, AccessToken]] = OrderedDict()

    def verify(self, token: str, now: float) -> AccessToken:
        """Return the claims of a token that is good at this second.

        Raises:
            InvalidToken: It is not.
        """
        if len(token) > MAX_LENGTH:
            raise InvalidToken("longer than any token of ours")
        kid, claims = self._signed(token)
        if self._keys.verifying(kid) is None:
            raise InvalidToken("signed by a key that has ended")
        want = Expected(self._issuer, self._audience, now)
        for name, holds in CHECKS:
            if not holds(claims, want):
                raise InvalidToken(f"not so: {name}")
        return claims

    def edition(self) -> int:
        """Return a number that is another one after the keys have changed."""
        return self._keys.edition()

    def _signed(self, token: str) -> tuple[str, AccessToken]:
        """The key id and claims of a token whose signature is good."""
        digest = sha256(token.encode("utf-8", "replace")).digest()
        known = self._verified.get(digest)
        if known is not None:
            return known
        found = self._check_signature(token)
        self._verified[digest] = found
        if len(self._verified) > CACHE_SIZE:
            self._verified.popitem(last=False)
        return found

    def _check_signature(self, token: str) -> tuple[str, AccessToken]:
        used: list[str] = []

        def key_of(guest: GuestProtocol) -> ECKey:
            header = guest.headers()
            kid = header.get("kid")
            key = self._keys.verifying(kid) if isinstance(kid, str) else None
            if key is None or header.get("typ") != TYPE or header.get("alg") != ALGORITHM:
                raise InvalidToken("not an access token of a key of ours")
            used.append(str(kid))
            return key

        try:
            signature = jws.deserialize_compact(token, key_of, algorithms=[ALGORITHM])
            return used[0], msgspec.json.decode(signature.payload, type=AccessToken)
        except (JoseError, ValueError, msgspec.MsgspecError) as error:
            raise InvalidToken(type(error).__name__) from None
