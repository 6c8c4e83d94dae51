"""The grants we give after a login, and what is kept of them: codes, families, replay, ends.

A family is one grant: the code, the refresh tokens that follow one another, and every access
token, whose `jti` begins with the family's id. Ending the family ends them all, in every
process, at the next request. RFC 6749 (10.4, 10.5), RFC 9700 (4.14).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from hashlib import sha256
from hmac import compare_digest
from typing import Final

import msgspec

from auth import client as clients
from auth.client import Client
from auth.ports import GrantStore
from auth.tokens import LIFETIME

CODE_LIFETIME: Final = 60
"""Seconds between the redirect with a code and its exchange."""

LOGIN_LIFETIME: Final = 900
"""Seconds that a person may take to log in."""

REFRESH_LIFETIME: Final = 90 * 24 * 3600
"""Seconds after which a person logs in again, however often the token was refreshed."""

SESSION_LIFETIME: Final = 4 * 3600
"""Seconds that a session of the web book lasts at most."""


_FAMILY: Final = re.compile(r"[A-Za-z0-9_-]{22}")


class Family(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One grant of a citizen to a client.

    Attributes:
        own_patient: The Patient of the person who logged in.
        patient: The Patient the tokens stand for: the own one, or a child's.
        number: The 12-digit number that the login proved; never in a token.
        name: The person's name that the login proved, for the AuditEvent; never in a token.
        refresh: Hash of the one refresh token that is good now; "" for none.
        until: Seconds since 1970 at which everything of it has ended.
        kept_apart: Facilities whose visits under the number are kept apart, to be told.
    """

    id: str
    client_id: str
    own_patient: str
    patient: str
    number: str
    level: int
    scopes: tuple[str, ...]
    until: int
    refresh: str = ""
    revoked: bool = False
    kept_apart: tuple[str, ...] = ()
    name: str = ""


class Code(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An authorization code, kept under its hash.

    Attributes:
        until: Seconds since 1970 at which it can no longer be exchanged; it is remembered
            longer, so that a second use is known for what it is.
    """

    family: str
    client_id: str
    redirect_uri: str
    challenge: str
    until: int
    nonce: str = ""
    used: bool = False


def secret() -> str:
    """Return 256 random bits, as text that a URL takes."""
    return secrets.token_urlsafe(32)


def hashed(text: str) -> str:
    """Return what is kept of a secret: nobody who reads the store can use it."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


def is_same(one: str, other: str) -> bool:
    """Return whether two texts are equal, in a time that does not tell where they differ."""
    return compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


class Grants:
    """Clients, codes, families and what has ended, over the ledger."""

    def __init__(self, store: GrantStore) -> None:
        self.store = store

    async def client(self, client_id: str) -> Client | None:
        """Return a registered client, disabled or not."""
        if not clients.ID.fullmatch(client_id):
            return None
        data = await self.store.get("client", client_id)
        return None if data is None else clients.decode(data)

    async def clients(self) -> list[Client]:
        """Return all registered clients."""
        return [clients.decode(data) for data in await self.store.scan("client")]

    async def register(self, client: Client, *, enable: bool = False) -> bool:
        """Keep a client, in the place of one of its id; return whether there was one.

        Args:
            client: The client.
            enable: One that was disabled is so no more; else it stays disabled: only who
                disabled it knows why.
        """
        while True:
            there = await self.store.get("client", client.client_id)
            if there is not None and not enable and clients.decode(there).disabled:
                client = msgspec.structs.replace(client, disabled=True)
            data = clients.encode(client)
            if await self.store.put("client", client.client_id, data, expected=there):
                return there is not None

    async def disable(self, client_id: str) -> bool:
        """Disable a client; its tokens end at the next request. False where it is unknown."""
        client = await self.client(client_id)
        if client is None:
            return False
        await self.register(msgspec.structs.replace(client, disabled=True))
        return True

    async def first_use(self, owner: str, jti: str, until: int) -> bool:
        """Return True once for an owner and a `jti`."""
        return await self.store.put(
            "jti", f"{owner}|{hashed(jti)}", b"1", expected=None, until=until
        )

    async def open_family(self, family: Family) -> None:
        """Keep a new grant."""
        await self._put_family(family)

    async def family(self, family_id: str) -> Family | None:
        """Return a grant that has not ended, else None."""
        if not _FAMILY.fullmatch(family_id):
            return None
        data = await self.store.get("family", family_id)
        if data is None:
            return None
        family = msgspec.json.decode(data, type=Family)
        # The record outlives the grant by an access token's lifetime; a refresh token does not.
        return None if family.revoked else family

    async def revoke_family(self, family_id: str) -> None:
        """End a grant and every token of it."""
        data = await self.store.get("family", family_id)
        if data is not None:
            family = msgspec.json.decode(data, type=Family)
            await self._put_family(msgspec.structs.replace(family, revoked=True, refresh=""))

    async def issue_code(self, code: Code, family: Family) -> str:
        """Return a new code for a grant that is open."""
        text = secret()
        await self.store.put("code", hashed(text), msgspec.json.encode(code), until=family.until)
        return text

    async def code(self, text: str) -> Code | None:
        """Return what is kept of a code, used or not."""
        data = await self.store.get("code", hashed(text))
        return None if data is None else msgspec.json.decode(data, type=Code)

    async def use_code(self, text: str, code: Code) -> bool:
        """Mark a code as used; False where another request did so first, which ends the grant."""
        family = await self.family(code.family)
        used = msgspec.json.encode(msgspec.structs.replace(code, used=True))
        if (
            not code.used
            and family is not None
            and await self.store.put(
                "code",
                hashed(text),
                used,
                expected=msgspec.json.encode(code),
                until=family.until,
            )
        ):
            return True
        # RFC 6749, 4.1.2: a code used twice ends all that came of it.
        await self.revoke_family(code.family)
        return False

    async def end_code(self, text: str, code: Code) -> None:
        """End a code that came without what belongs to it, and the grant: nothing comes of it."""
        await self.use_code(text, code)
        await self.revoke_family(code.family)

    async def first_refresh(self, family: Family) -> str | None:
        """Return the first refresh token of a grant; None where it has just been ended."""
        token, kept = _next_refresh(family)
        return token if await self._replace_family(family, kept) else None

    async def holder(self, token: str) -> str | None:
        """Return the id of the client that a refresh token is of, be it still good or not."""
        family = await self.family(token.partition(".")[0])
        return None if family is None else family.client_id

    async def refreshed(self, token: str, client_id: str) -> tuple[Family, str] | None:
        """Exchange a refresh token for the grant and its next one; None where it is refused.

        One that was exchanged before ends the grant: either it or its follower was stolen.
        """
        family_id, _, _ = token.partition(".")
        family = await self.family(family_id)
        if family is None or family.client_id != client_id or not family.refresh:
            return None
        new, kept = _next_refresh(family)
        if is_same(family.refresh, hashed(token)) and await self._replace_family(family, kept):
            return kept, new
        await self.revoke_family(family.id)
        return None

    async def end_token(self, jti: str, until: int) -> None:
        """End one access token before its time."""
        await self.store.put("revoked", hashed(jti), b"1", until=until)

    async def is_ended(self, jti: str) -> bool:
        """Return whether an access token was ended before its time."""
        return await self.store.get("revoked", hashed(jti)) is not None

    async def _replace_family(self, old: Family, new: Family) -> bool:
        return await self.store.put(
            "family",
            old.id,
            msgspec.json.encode(new),
            expected=msgspec.json.encode(old),
            until=new.until + LIFETIME,
        )

    async def _put_family(self, family: Family) -> None:
        # Access tokens of the last moment outlive the grant's own end by their lifetime.
        await self.store.put(
            "family", family.id, msgspec.json.encode(family), until=family.until + LIFETIME
        )


def new_family(
    *,
    client: Client,
    patient: str,
    own_patient: str,
    number: str,
    scopes: Sequence[str],
    now: float,
    kept_apart: tuple[str, ...] = (),
    name: str = "",
) -> Family:
    """Return a new grant of a level-2 login."""
    lasting = "offline_access" in scopes
    return Family(
        id=secrets.token_urlsafe(16),
        client_id=client.client_id,
        own_patient=own_patient,
        patient=patient,
        number=number,
        level=2,
        scopes=tuple(scopes),
        until=int(now) + (REFRESH_LIFETIME if lasting else SESSION_LIFETIME),
        kept_apart=kept_apart,
        name=name,
    )


def _next_refresh(family: Family) -> tuple[str, Family]:
    token = f"{family.id}.{secret()}"
    return token, msgspec.structs.replace(family, refresh=hashed(token))
