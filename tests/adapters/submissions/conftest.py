"""`/submissions` in memory, for the usual callers, on the day of the synthetic visits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import httpx2 as httpx
import pytest
from starlette.applications import Starlette

from adapters.submissions.routes import submissions_routes
from auth.principal import Principal
from fhir_server.store.port import Store
from tests.conftest import World, citizen

ORIGIN = "http://testserver"
INSURER = Principal(kind="payer", client_id="insurer-bhxh", code="BHXH", scopes=("system/*.rs",))
NO_SCOPE = Principal(
    kind="facility", client_id="reader", code="01999", scopes=("system/Patient.rs",)
)


@pytest.fixture
def store(each_store: Store) -> Store:
    """An empty store, once of each kind."""
    return each_store


@pytest.fixture
def world(world: World) -> World:
    """The world on 25 November 2026, over each store, with callers that may not submit."""
    world.clock.at = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
    world.callers |= {"insurer": INSURER, "reader": NO_SCOPE, "citizen": citizen("p1")}
    return world


@pytest.fixture
def client_of(world: World) -> Callable[..., httpx.AsyncClient]:
    """Make HTTP clients of `/submissions`, each with a caller's token."""
    app = Starlette(routes=submissions_routes(world.context_of, base_url=ORIGIN))

    def make(caller: str | None = "hospital") -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {caller}"} if caller else {}
        transport = httpx.ASGITransport(app)
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers)

    return make
