"""What a store is told ahead of a request: only for who was known to be good a moment ago."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2 as httpx
import pytest

from fhir_server.app import Composition, Serving
from fhir_server.model.outcome import LoginRequired
from fhir_server.prepare import prepare
from fhir_server.rest.routes import fhir_app
from fhir_server.settings import load_settings
from fhir_server.store.soon import expected, soon
from fhir_server.stores import open_store

NAME = ("Patient", "a")
BASE = "http://127.0.0.1:8080/fhir"


@pytest.fixture
async def composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Composition]:
    """Everything over a demo store."""
    monkeypatch.setenv("FHIR_SERVER_STORE", f"sqlite:///{tmp_path}/fhir.db")
    monkeypatch.setenv("FHIR_SERVER_KEYS", str(tmp_path / "keys"))
    settings = load_settings()
    store = await open_store(settings)
    made = Composition(settings, store, "http://127.0.0.1:8080")
    await prepare(made, Serving(demo=True))
    yield made
    await store.close()


async def test_nothing_is_looked_at_for_who_is_not_known(composition: Composition) -> None:
    """Before a token is found good, nothing tells that a resource is there; nor after it ended."""
    header = f"Bearer {await composition.token('system', None, None)}"

    async def is_told(authorization: str) -> bool:
        with soon(NAME):
            await composition.context_of(authorization, "")
            return expected() is not None

    with soon(NAME):
        with pytest.raises(LoginRequired):
            await composition.context_of("Bearer rubbish", "")
        assert expected() is None
    assert not await is_told(header)
    assert await is_told(header)
    with soon(NAME):
        with pytest.raises(LoginRequired):
            await composition.context_of("Bearer rubbish", "")
        assert expected() is None


async def test_only_a_read_says_what_it_will_read(composition: Composition) -> None:
    """By its path, and neither a version, nor a search, nor a write."""
    told: list[object] = []

    async def context_of(authorization: str | None, source: str, purpose: str = "", /) -> object:  # noqa: RUF029
        ahead = expected()
        told.append(ahead and ahead.name)
        raise LoginRequired("No.")

    app = fhir_app(context_of, base_url=BASE)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as client:
        for method, path in (
            ("GET", "Patient/a"),
            ("GET", "Patient/a?_summary=true"),
            ("HEAD", "Patient/a"),
            ("GET", "Patient/a/_history/1"),
            ("GET", "Patient?_id=a"),
            ("DELETE", "Patient/a"),
            ("GET", "Nothing/a"),
        ):
            answer = await client.request(method, f"{BASE}/{path}")
            assert answer.status_code == 401

    assert told == [NAME, NAME, None, None, None, None, None]
    assert expected() is None
