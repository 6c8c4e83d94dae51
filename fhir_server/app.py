"""The composition root: the only file that knows every concrete class, but for the engines.

Which engine a store is in, `stores.py` knows.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx2

from adapters.submissions.intake import Verify, submit_envelope
from adapters.vneid.client import Registration, VneidClient, new_http
from adapters.vneid.keys import JwksCache
from adapters.vneid.stand_in.person import Person, claims_of, invented
from adapters.xml130 import signature
from auth.bearer import Access, BearerTokens, principal_of
from auth.client import BadClient, parse_client
from auth.grants import Grants
from auth.limits import Limits
from auth.policy import policy_for
from auth.principal import SYSTEM, Principal
from auth.server.hand_out import NotHandedOut, citizen_token, client_token
from auth.server.keys import FolderKeys, KeysUnusable
from auth.server.oauth import AuthorizationServer
from auth.tokens import AccessToken, InvalidToken, Verifier
from fhir_server.interactions.context import Context
from fhir_server.interactions.jobs.record import Jobs
from fhir_server.interactions.own_parameters import StoreRegistry
from fhir_server.loader import Counts, Loader
from fhir_server.model import codec
from fhir_server.model.identifiers import CCCD
from fhir_server.model.outcome import LoginRequired
from fhir_server.model.primitives import VIETNAM
from fhir_server.operations.settle import Directory
from fhir_server.operations.table import OPERATIONS
from fhir_server.settings import Settings
from fhir_server.store.bulk import BUCKET, MARK, UNFINISHED
from fhir_server.store.chain import broken_at
from fhir_server.store.grants import LedgerGrants
from fhir_server.store.port import Batch, Put, RecordChanged, Store
from fhir_server.store.soon import forget
from fhir_server.stores import Refused, at_work, open_store
from mappings.vneid.claims import NUMBER, Claims, from_claims

META: Final = "meta"
CCCD_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Serving:
    """How a server is started.

    Attributes:
        shared: The folder in which several workers share their counts; "" where there is one.
    """

    demo: bool = False
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    shared: str = ""

    def origin(self, settings: Settings) -> str:
        """The public origin."""
        return settings.base_url or f"http://127.0.0.1:{self.port}"


def now() -> datetime:
    """Return the time, in Viet Nam."""
    return datetime.now(VIETNAM)


def new_id() -> str:
    """Return a new id: a UUID of version 7, whose beginning is the time (RFC 9562, 5.7).

    Ids that grow with time keep the pages of an index together that are written together.
    """
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    value = value & ~(0xF << 76) | 0x7 << 76
    text = f"{value & ~(0x3 << 62) | 0x2 << 62:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Composition:
    """Everything over one store and one public origin."""

    def __init__(self, settings: Settings, store: Store, origin: str) -> None:
        self.settings = settings
        self.store = store
        self.origin = origin
        self.fhir_base = f"{origin}/fhir"
        self.registry = StoreRegistry(store)
        self.directory = Directory(self.system)
        self.grants = Grants(LedgerGrants(store, now))
        try:
            self.keys = FolderKeys(settings.keys, now)
        except KeysUnusable as error:
            raise Refused(f"FHIR_SERVER_KEYS: {error}") from None
        verifier = Verifier(self.keys, issuer=origin, audience=self.fhir_base)
        self._bearer = BearerTokens(
            verifier, self.grants, self.directory, now, edition=store.edition
        )
        self.work_to_do = asyncio.Event()
        self.jobs = Jobs(Limits(self.grants.store, now), self.again, self.work_to_do.set)

    @property
    def verify(self) -> Verify | None:
        """What verifies an envelope's CHUKYDONVI, where the settings require it."""
        if self.settings.require_signature == "no":
            return None
        return lambda body: signature.verify(body, now=now())

    def context(
        self,
        principal: Principal,
        policy: Any,
        source: str = "",
        basis: AccessToken | None = None,
    ) -> Context:
        """Return the Context of a caller."""
        return Context(
            principal=principal,
            policy=policy,
            store=self.store,
            now=now,
            new_id=new_id,
            base_url=self.fhir_base,
            source=source,
            operations=OPERATIONS,
            registry=self.registry,
            basis=basis,
            jobs=self.jobs,
        )

    def system(self) -> Context:
        """Return a Context of the server itself."""
        return self.context(SYSTEM, policy_for(SYSTEM))

    async def context_of(
        self, authorization: str | None, source: str, purpose: str = "", /
    ) -> Context:
        """Return the Context of a request's credentials (interactions.context.ContextOf).

        Raises:
            LoginRequired: They are absent, or not good now.
        """
        del purpose  # a break-glass reason opens nothing yet
        await self.registry.refreshed()
        if not self._bearer.knows(authorization):
            forget()  # nobody who is not known has anything looked at
        access = await self._bearer.access_of(authorization)
        return self.context(access.principal, access.policy, source, access.basis)

    async def again(self, basis: AccessToken, source: str) -> Context:
        """Return the Context of who began something, as it is now (interactions.jobs.Again).

        Raises:
            LoginRequired: What it was begun with was ended.
        """
        await self.registry.refreshed()
        try:
            access = await self._bearer.access_again(basis)
        except InvalidToken:
            raise LoginRequired("What this was begun with was ended.") from None
        return self.context(access.principal, access.policy, source, basis)

    def context_for(self, access: Access, source: str) -> Context:
        """Return the Context of a session of the web book."""
        return self.context(access.principal, access.policy, source)

    def authorization_server(
        self, http: httpx2.AsyncClient, our: Registration
    ) -> AuthorizationServer:
        """Return the authorization server, whose citizens log in at this provider."""
        cache = JwksCache(http, now)
        return AuthorizationServer(
            origin=self.origin,
            grants=self.grants,
            keys=self.keys,
            directory=self.directory,
            provider=VneidClient(our, http, cache, now),
            now=now,
            limits=Limits(self.grants.store, now),
            remote_keys=cache,
        )

    # --- what the commands do --------------------------------------------------------------

    async def loader(self, client_id: str, progress: Callable[[int, Counts], None]) -> Loader:
        """Return a loader that acts as this client; `system` is there in every store."""
        client = await self.grants.client(client_id)
        if client is None and client_id == SYSTEM.client_id:
            ctx = self.system()
        elif client is None or client.disabled or client.kind == "app":
            raise Refused(f"{client_id}: no client that can load; see `fhir-server client list`.")
        else:
            principal = principal_of(client, client.scopes)
            ctx = self.context(principal, policy_for(principal))
        return Loader(ctx, submit_envelope, progress)

    async def token(self, client_id: str | None, citizen: str | None, patient: str | None) -> str:
        """Return an access token for a demo client, or for a citizen as the VNeID app has it."""
        if await self.store.get(META, "demo") is None:
            raise Refused("This store is not a demo: tokens come from /auth/token alone.")
        async with new_http() as http:
            server = self.authorization_server(http, Registration(self.origin, "", ""))
            try:
                if client_id is not None:
                    return await client_token(server, client_id)
                return await citizen_token(
                    server,
                    await self._claims(str(citizen)),
                    patient=patient,
                    patient_of=self._patient_of,
                )
            except NotHandedOut as refusal:
                raise Refused(str(refusal)) from None

    async def _claims(self, number: str) -> Claims:
        """Return what the stand-in VNeID would claim of this number."""
        if not (len(number) == CCCD_LENGTH and number.isascii() and number.isdecimal()):
            raise Refused("--citizen: the number has 12 digits.")
        person = await self.person(number) or invented(number)
        said = claims_of(number, person, issuer=self.origin, acr="LoA2", number_claim=NUMBER)
        return from_claims(said)

    async def _patient_of(self, number: str) -> str | None:
        holder = await self.store.holder(f"{CCCD}|{number}")
        return holder[1] if holder else None

    async def person(self, number: str) -> Person | None:
        """Return what the Patient who holds a number says (the stand-in's PersonLookup)."""
        holder = await self.store.holder(f"{CCCD}|{number}")
        version = await self.store.read(*holder) if holder else None
        if version is None or version.deleted:
            return None
        patient = codec.loads_stored(version.body)
        name = (patient.get("name") or [{}])[0]
        text = name.get("text") or " ".join([name.get("family", ""), *name.get("given", ())])
        return Person(text, patient.get("birthDate", ""), patient.get("gender", ""))

    async def add_client(self, record: dict[str, Any]) -> tuple[str, bool]:
        """Register a client; one of its id is replaced, and enabled again.

        Returns:
            Its id, and whether it was there.

        Raises:
            Refused: The record has faults, or it is one of the server's own clients.
        """
        try:
            client = parse_client(record)
        except BadClient as error:
            faults = str(error).replace("\n", "\n  ")
            raise Refused(f"The client is not right:\n  {faults}") from None
        there = await self.grants.client(client.client_id)
        if there is not None and there.internal:
            raise Refused(f"{client.client_id}: this client is the server's own.")
        return client.client_id, await self.grants.register(client, enable=True)

    async def list_clients(self) -> list[str]:
        """Return a line for each client."""
        return [
            f"{c.client_id}\t{c.kind}\t{c.code or '-'}\t{'disabled' if c.disabled else 'enabled'}"
            f"\t{c.name}\t{' '.join(c.scopes)}"
            for c in await self.grants.clients()
        ]

    async def disable_client(self, client_id: str) -> None:
        """Disable a client; its tokens end at their next use."""
        if not await self.grants.disable(client_id):
            raise Refused(f"{client_id}: there is no such client.")

    async def verify_audit(self) -> tuple[bool, str]:
        """Return whether the audit chain is whole, and a line that says so or where it breaks."""
        count, broken = await broken_at(self.store.audit_chain())
        if broken is not None:
            return False, f"the chain is broken at AuditEvent {broken}, after {count:,} good ones"
        return True, f"{count:,} AuditEvents, the chain is whole"

    # --- marks in the ledger ---------------------------------------------------------------

    async def mark(self, key: str, value: str, *, once: bool = False) -> str:
        """Set a mark of the store (`once`: unless it is there), and return what it is now."""
        put = Put(META, key, value.encode(), **({"expected": None} if once else {}))
        try:
            await self.store.commit(Batch(puts=(put,)))
        except RecordChanged:
            there = await self.store.get(META, key)
            return there.decode() if there else value
        return value


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Composition]:
    """Open the configured store for a command, under the base URL it was last served at."""
    store = await open_store(settings)
    try:
        await _check_whole(settings, store)
        last = await store.get(META, "origin")
        origin = settings.base_url or (last.decode() if last else Serving().origin(settings))
        async with at_work(store):
            composition = Composition(settings, store, origin)
            await composition.registry.look()
            yield composition
    finally:
        await store.close()


async def _check_whole(settings: Settings, store: Store) -> None:
    if await store.get(BUCKET, MARK) is not None:
        raise Refused(f"{settings.shown_store}: {UNFINISHED}")


def rotate_keys(settings: Settings) -> str:
    """Make a new signing key and return its `kid`."""
    try:
        return FolderKeys(settings.keys, now).rotate()
    except KeysUnusable as error:
        raise Refused(f"FHIR_SERVER_KEYS: {error}") from None
