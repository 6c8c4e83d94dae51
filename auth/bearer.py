"""From a bearer token to who asks and what they may see, asked anew at every request.

That a signature was good is remembered. That the client is enabled, the grant and the token not
ended, and a guardian still one is read again whenever anything at all may have changed: a commit
by any process, the keys, the second of the clock. So what ends, ends now.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from auth.client import Client
from auth.grants import Family, Grants
from auth.policy import AccessPolicy, policy_for
from auth.ports import Child, CitizenDirectory
from auth.principal import Principal
from auth.scopes import held
from auth.tokens import AccessToken, InvalidToken, Verifier
from fhir_server.model.outcome import LoginRequired


@dataclass(frozen=True, slots=True)
class Access:
    """Who asks, and what they may see.

    Attributes:
        basis: The claims of the token that gives it; None for a session of the web book.
    """

    principal: Principal
    policy: AccessPolicy
    basis: AccessToken | None = None


class BearerTokens:
    """Reads `Authorization: Bearer …`."""

    def __init__(
        self,
        verifier: Verifier,
        grants: Grants,
        directory: CitizenDirectory,
        now: Callable[[], datetime],
        edition: Callable[[], Awaitable[object | None]] | None = None,
    ) -> None:
        """Keep what is asked at each request.

        Args:
            verifier: Of signatures and claims.
            grants: The clients, and what was granted and ended.
            directory: The citizens' links.
            now: The clock.
            edition: The store's (`Store.edition`); None where it is not known, and all is read.
        """
        self._verifier = verifier
        self._grants = grants
        self._directory = directory
        self._now = now
        self._edition = edition
        self._moment: object = None
        self._known: dict[str, Access] = {}

    def knows(self, authorization: str | None) -> bool:
        """Return whether an Authorization header was good when the edition was last asked for."""
        return authorization in self._known

    async def access_of(self, authorization: str | None) -> Access:
        """Return the access that an Authorization header gives.

        Raises:
            LoginRequired: There is no token, or it is not good now.
        """
        if not authorization:
            raise LoginRequired(
                "A bearer token is needed.",
                text_vi="Cần có mã truy cập (bearer token).",
                headers={"WWW-Authenticate": 'Bearer realm="fhir"'},
            )
        edition = None if self._edition is None else await self._edition()
        if edition is None:
            return await self._read(authorization)
        # Times in claims and records are whole seconds: within one, no answer changes by itself.
        moment = (edition, int(self._now().timestamp()), self._verifier.edition())
        if moment != self._moment:
            self._moment, self._known = moment, {}
        known = self._known
        access = known.get(authorization)
        if access is None:
            access = known[authorization] = await self._read(authorization)
        return access

    async def _read(self, authorization: str) -> Access:
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            raise _refused()
        try:
            return await self.access_with(token.strip())
        except InvalidToken:
            raise _refused() from None

    async def access_with(self, token: str) -> Access:
        """Return the access that a token gives.

        Raises:
            InvalidToken: It is not good now.
        """
        return await self.access_again(self._verifier.verify(token, self._now().timestamp()))

    async def access_again(self, claims: AccessToken) -> Access:
        """Return the access that a token gives whose claims were verified before.

        What was begun with it may go on when its time is over, but not when it was ended, its
        client disabled, or its grant taken back.

        Raises:
            InvalidToken: It has been.
        """
        client = await self._grants.client(claims.client_id)
        if client is None or client.disabled:
            raise InvalidToken("the client is not enabled")
        if await self._grants.is_ended(claims.jti):
            raise InvalidToken("the token was ended")
        if client.kind == "app":
            return await self._citizen(claims, client)
        if claims.sub != client.client_id or claims.family or claims.patient:
            raise InvalidToken("the client's kind has changed")
        principal = principal_of(client, held(claims.scope, client.scopes))
        return Access(principal, policy_for(principal), claims)

    async def _citizen(self, claims: AccessToken, client: Client) -> Access:
        family = await self._grants.family(claims.family) if claims.family else None
        if family is None or family.client_id != client.client_id:
            raise InvalidToken("the grant has ended")
        if claims.patient != family.patient:
            raise InvalidToken("the grant is of another patient")
        scopes = held(claims.scope, client.scopes)
        access = await citizen_access(self._directory, client, family, scopes)
        return replace(access, basis=claims)


async def citizen_access(
    directory: CitizenDirectory, client: Client, family: Family, scopes: tuple[str, ...]
) -> Access:
    """Return what a grant of a citizen gives now, for the Patient its tokens stand for.

    Raises:
        InvalidToken: The citizen is not a verified guardian of that child now.
    """
    children = await directory.children(family.number)
    return access_for(client, family, scopes, children, family.patient)


def access_for(
    client: Client,
    family: Family,
    scopes: tuple[str, ...],
    children: tuple[Child, ...],
    patient_id: str,
) -> Access:
    """Return what a grant of a citizen gives for the own book or a child's.

    Args:
        client: The client of the grant.
        family: The grant.
        scopes: What of the grant's scopes is used.
        children: The verified links of the citizen, as just read.
        patient_id: Whose book.

    Raises:
        InvalidToken: The citizen is not a verified guardian of that child.
    """
    is_own = patient_id == family.own_patient
    if not is_own and all(child.patient_id != patient_id for child in children):
        raise InvalidToken("not a verified guardian now")
    principal = Principal(
        kind="citizen",
        client_id=client.client_id,
        patient_id=patient_id,
        fhir_user=f"Patient/{family.own_patient}",
        display=family.name or client.name,
        scopes=scopes,
        level=family.level,
        app=client.name if family.name else "",
    )
    # A token for a child sees the child only: no links to the guardian's other children.
    links = tuple(child.link_id for child in children) if is_own else ()
    return Access(principal, policy_for(principal, links=links))


def principal_of(client: Client, scopes: tuple[str, ...]) -> Principal:
    """Return the principal of a client that acts for itself."""
    return Principal(
        kind=client.principal_kind,
        client_id=client.client_id,
        code=client.code,
        display=client.name,
        scopes=scopes,
        private=client.private,
    )


def _refused() -> LoginRequired:
    return LoginRequired(
        "The bearer token is not valid, or has ended.",
        text_vi="Mã truy cập không hợp lệ hoặc đã hết hạn.",
        headers={"WWW-Authenticate": 'Bearer realm="fhir", error="invalid_token"'},
    )
