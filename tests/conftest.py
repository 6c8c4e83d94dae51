"""The world of the tests: a clock that stands still, ids counting up, a store in memory."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from auth.policy import policy_for
from auth.principal import SYSTEM, Principal
from fhir_server.interactions.context import AuditTrail, Context, FhirRequest, FhirResult
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import LoginRequired
from fhir_server.rest.routes import fhir_app
from fhir_server.store.memory import MemoryStore
from fhir_server.store.port import Store
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.conftest import STORES

BASE = "http://testserver/fhir"
FACILITY = Principal(
    kind="facility",
    client_id="hospital-01999",
    code="01999",
    display="Hospital 01999",
    scopes=("system/*.cruds",),
)
OTHER = replace(FACILITY, client_id="hospital-79999", code="79999", display="Hospital 79999")
AUDITOR = Principal(
    kind="auditor", client_id="auditor", display="auditor", scopes=("system/AuditEvent.rs",)
)


def citizen(patient_id: str) -> Principal:
    """Return a citizen who logged in at level 2."""
    return Principal(
        kind="citizen",
        client_id="vneid-app",
        patient_id=patient_id,
        fhir_user=f"Patient/{patient_id}",
        display="citizen",
        scopes=("patient/*.rs", "patient/Consent.cud"),
        level=2,
    )


@dataclass(slots=True)
class Clock:
    """A clock that stands still until it is moved."""

    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.at

    def move(self, **by: int) -> None:
        """Let time pass."""
        self.at += timedelta(**by)


@dataclass(slots=True)
class World:
    """A store, a clock and ids; a Context for anybody."""

    store: Store = field(default_factory=MemoryStore)
    clock: Clock = field(default_factory=Clock)
    ids: Iterator[int] = field(default_factory=lambda: count(1))
    callers: dict[str, Principal] = field(default_factory=dict)

    def new_id(self) -> str:
        """Return the next id."""
        return f"id-{next(self.ids)}"

    def context(self, principal: Principal = SYSTEM, **fields: Any) -> Context:
        """Return a new Context, as each request gets one."""
        return Context(
            principal=principal,
            policy=fields.pop("policy", None) or policy_for(principal),
            store=self.store,
            now=self.clock,
            new_id=self.new_id,
            base_url=BASE,
            source="192.0.2.1",
            trail=AuditTrail(),
            **fields,
        )

    async def context_of(
        self, authorization: str | None, _source: str, _purpose: str = "", /
    ) -> Context:
        """Return the Context of `Bearer <name of a caller>`; `system` is the server's own."""
        name = (authorization or "").removeprefix("Bearer ")
        principal = SYSTEM if name == "system" else self.callers.get(name)
        if principal is None:
            raise LoginRequired(
                "A valid access token is needed.", headers={"WWW-Authenticate": "Bearer"}
            )
        return self.context(principal)

    async def perform(
        self, interaction: str, principal: Principal = SYSTEM, **fields: Any
    ) -> FhirResult:
        """Perform one interaction for a caller."""
        return await perform(self.context(principal), FhirRequest(interaction, **fields))

    async def put(self, resource: dict[str, Any], principal: Principal = SYSTEM) -> FhirResult:
        """Update, or make, a resource under its own id."""
        kind, identity = resource["resourceType"], resource["id"]
        return await self.perform(
            "update", principal, resource_type=kind, resource_id=identity, resource=resource,
            method="PUT", url=f"{kind}/{identity}",
        )  # fmt: skip

    async def transaction(
        self, bundle: dict[str, Any], principal: Principal = SYSTEM, **fields: Any
    ) -> dict[str, Any]:
        """Do a Bundle and return the answer."""
        result = await self.perform(
            "transaction", principal, resource=bundle, method="POST", **fields
        )
        return codec.loads(result.body or b"")


@pytest.fixture
def clock() -> Clock:
    """A clock at 2024-01-01T00:00:00Z."""
    return Clock()


@pytest.fixture(scope="session")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a new SQLite store, once it was made: to be copied, which is quicker."""
    return tmp_path_factory.mktemp("new") / "fhir.db"


async def _empty(kind: str, folder: Path, new_file: Path) -> Store:
    """Open an empty store of a kind."""
    if kind == "sqlite":
        if not new_file.exists():  # noqa: ASYNC240 - once a run
            await (await SqliteStore.open(new_file)).close()
        shutil.copyfile(new_file, folder / "fhir.db")
    return await STORES[kind](folder)


@pytest.fixture
async def store(tmp_path: Path, new_file: Path) -> AsyncIterator[Store]:
    """The store in memory, or the one that the variable STORE names."""
    engine = await _empty(os.environ.get("STORE", "memory"), tmp_path, new_file)
    yield engine
    await engine.close()


@pytest.fixture(params=STORES)
async def each_store(
    request: pytest.FixtureRequest, tmp_path: Path, new_file: Path
) -> AsyncIterator[Store]:
    """An empty store, once of each kind."""
    opened = await _empty(request.param, tmp_path, new_file)
    yield opened
    await opened.close()


@pytest.fixture
def world(clock: Clock, store: Store) -> World:
    """A world with the usual callers."""
    callers = {"hospital": FACILITY, "other": OTHER, "auditor": AUDITOR}
    return World(store=store, clock=clock, callers=callers)


@pytest.fixture
def ctx(world: World) -> Context:
    """The system's Context."""
    return world.context()


@pytest.fixture
def new_client(world: World) -> Callable[..., httpx.AsyncClient]:
    """Make HTTP clients of the FHIR app, each with a caller's token."""
    app = fhir_app(world.context_of, base_url=BASE, operations=(), max_body=1_000_000)

    def make(caller: str | None = "system") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {caller}"} if caller else {}
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url=BASE + "/", headers=headers)

    return make


@pytest.fixture
async def client(new_client: Callable[..., httpx.AsyncClient]) -> AsyncIterator[httpx.AsyncClient]:
    """The system's HTTP client, relative to the FHIR base."""
    async with new_client() as one:
        yield one
