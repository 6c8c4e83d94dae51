"""What access needs from outside, as Protocols: the ledger, the citizens, keys, VNeID."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from joserfc.jwk import ECKey


class GrantStore(Protocol):
    """Small records that every process sees, changed only from what was read."""

    async def get(self, bucket: str, key: str) -> bytes | None:
        """Return a record that has not ended, or None."""

    async def put(
        self,
        bucket: str,
        key: str,
        value: bytes | None,
        *,
        expected: bytes | Literal["any"] | None = "any",
        until: int | None = None,
    ) -> bool:
        """Set a record (None deletes), durable on return; False where it was not as expected.

        Args:
            bucket: The kind of record.
            key: Its key.
            value: The record.
            expected: `any`, or what must be there now (None: nothing).
            until: Seconds since 1970 at which it ends; None never.
        """

    async def scan(self, bucket: str) -> list[bytes]:
        """Return all records of a bucket, by key."""


class KeySource(Protocol):
    """Our signing keys."""

    def active(self) -> ECKey:
        """Return the key to sign with; its `kid` is in it."""

    def verifying(self, kid: str) -> ECKey | None:
        """Return the key of this `kid` while it verifies, else None."""

    def edition(self) -> int:
        """Return a number that is another one after the keys have changed, in any process."""

    def jwks(self) -> dict[str, Any]:
        """Return the public keys that verify, as a JSON Web Key Set."""


class RemoteKeys(Protocol):
    """Another party's public keys at a URL."""

    async def keys(self, url: str, kid: str) -> dict[str, Any]:
        """Return the key set at the URL, fetched again where it lacks this `kid`."""


class Claims(Protocol):
    """What a level-2 login says of a person; `mappings.vneid.claims.Claims` is one."""

    @property
    def number(self) -> str:
        """The 12-digit number."""

    @property
    def name(self) -> str:
        """The full name."""

    @property
    def birth_date(self) -> str:
        """The birth date as a FHIR date."""

    @property
    def gender(self) -> str | None:
        """FHIR's code, or None where it was not said."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Whose book a login opens.

    Attributes:
        patient_id: The Patient that holds the number now.
        kept_apart: Codes of facilities whose visits under the number are kept apart.
    """

    patient_id: str
    kept_apart: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """A Patient whose verified guardian somebody is now.

    Attributes:
        patient_id: The child's Patient.
        link_id: The RelatedPerson that is the link.
    """

    patient_id: str
    link_id: str
    name: str
    birth_date: str = ""


class CitizenDirectory(Protocol):
    """The citizens, as the store knows them."""

    async def settle(self, claims: Claims) -> Settled:
        """Settle the number of a level-2 login, and return whose book it opens."""

    async def children(self, number: str) -> tuple[Child, ...]:
        """Return the children whose verified guardian the holder of this number is now."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who logged in at the identity provider, and how well that was proved.

    Attributes:
        claims: None where the level is too low to say.
        level: 2 where the provider's `acr` says so, else 1.
    """

    claims: Claims | None
    level: int


class LoginFailed(Exception):
    """The identity provider's answer is refused; the text is for the log, not for the person."""


class ProviderUnreachable(Exception):
    """The identity provider does not answer now."""


class IdentityProvider(Protocol):
    """The OpenID provider that citizens log in at."""

    async def authorization_url(
        self, *, redirect_uri: str, state: str, nonce: str, challenge: str
    ) -> str:
        """Return where to send the browser.

        Raises:
            ProviderUnreachable: Its discovery document cannot be read.
        """

    async def identify(
        self, *, code: str, redirect_uri: str, verifier: str, nonce: str, issuer: str | None
    ) -> Identity:
        """Exchange a code for who logged in.

        Raises:
            LoginFailed: The answer does not prove it.
            ProviderUnreachable: It does not answer.
        """
