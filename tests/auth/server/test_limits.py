"""The brake on guessing at the endpoints: 429 in each part's own form."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from auth.limits import BUCKET, CLIENT_FAILED, LOGIN_BEGUN, LOGIN_FAILED, Limit
from auth.server import assertion, authorize, callback
from tests.auth.world import MOTHER, World

VERIFIER = "v" * 43


@contextmanager
def coming_from(world: World, address: str) -> Iterator[httpx2.AsyncClient]:
    """Give a client at another address."""
    transport = httpx2.ASGITransport(world.app, client=(address, 5000))
    before = world.http
    world.http = httpx2.AsyncClient(transport=transport, base_url=world.origin)
    yield world.http
    world.http = before


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits that a test reaches soon, and whose names are the real ones."""
    for module, limit in (
        (assertion, CLIENT_FAILED),
        (assertion, assertion.ADDRESS_FAILED),
        (callback, LOGIN_FAILED),
        (authorize, LOGIN_BEGUN),
    ):
        name = limit.name.upper().replace("-", "_")
        most = 20 if limit is assertion.ADDRESS_FAILED else 5
        monkeypatch.setattr(module, name, Limit(limit.name, most))


async def fail(world: World, client_id: str = "hospital-01999") -> httpx2.Response:
    """Authenticate with another client's key."""
    wrong = world.assertion(client_id, key=world.key_of("auditor"))
    return await world.backend(client_id, assertion=wrong)


@pytest.mark.usefixtures("few")
async def test_a_client_that_fails_again_and_again_is_throttled(world: World) -> None:
    """429 as OAuth's JSON, with a time to come back."""
    for _ in range(5):
        assert (await fail(world)).status_code == 401

    answer = await fail(world)

    assert answer.status_code == 429
    assert answer.json()["error"] == "temporarily_unavailable"
    assert answer.headers["cache-control"] == "no-store"
    assert 0 < int(answer.headers["retry-after"]) <= 60
    world.clock.pass_by(60)
    assert (await fail(world)).status_code == 401


@pytest.mark.usefixtures("few")
async def test_a_client_that_proves_itself_is_not_refused_for_what_others_do(world: World) -> None:
    """Strangers at its own address, as behind one NAT, fail in its name and in others'."""
    for number in range(30):
        await fail(world)
        form = {"grant_type": "client_credentials", "client_id": f"no-{number}"}
        await world.http.post("/auth/token", data=form)
    assert (await fail(world)).status_code == 429
    kept = await world.store.scan(BUCKET)

    for client_id in ("hospital-01999", "hospital-79999"):
        answer = await world.backend(client_id)
        assert answer.status_code == 200, client_id
    assert await world.store.scan(BUCKET) == kept


@pytest.mark.usefixtures("few")
async def test_nobody_is_locked_out_from_elsewhere(world: World) -> None:
    """Another client, and the same one at another address, come in."""
    for _ in range(6):
        await fail(world)

    assert (await world.backend("hospital-79999")).status_code == 200
    with coming_from(world, "192.0.2.9"):
        assert (await world.backend("hospital-01999")).status_code == 200


@pytest.mark.usefixtures("few")
async def test_an_address_that_tries_one_client_after_another_is_throttled(world: World) -> None:
    """Names that are nobody's count, too; another address is not concerned."""
    form = {"grant_type": "client_credentials", "client_id": "nobody"}
    for number in range(20):
        answer = await world.http.post("/auth/token", data=form | {"client_id": f"no-{number}"})
        assert answer.status_code == 401

    for path in ("token", "introspect", "revoke"):
        answer = await world.http.post(f"/auth/{path}", data=form)
        assert answer.status_code == 429, path
    with coming_from(world, "192.0.2.9"):
        assert (await world.backend("system")).status_code == 200


async def test_what_goes_well_is_not_counted(world: World) -> None:
    """Hundreds of log-ins of a client in one minute: all are answered, and none leaves a count."""
    for _ in range(400):
        assert (await world.backend("system")).status_code == 200

    assert await world.store.scan(BUCKET) == []


async def test_the_limits_are_wider_than_any_honest_use(world: World) -> None:
    """A day's mistakes of a client in one minute."""
    for _ in range(200):
        assert (await fail(world)).status_code == 401

    assert (await world.backend("hospital-01999")).status_code == 200


@pytest.mark.usefixtures("few")
async def test_log_ins_that_are_begun_are_counted_by_address(world: World) -> None:
    """Each leaves a record without a log-in: to a browser a page, to a program JSON."""
    asked = world.asked(VERIFIER)
    for _ in range(5):
        assert (await world.http.get("/auth/authorize", params=asked)).status_code == 303
    kept = len(await world.store.scan("login"))

    page = await world.http.get(
        "/auth/authorize", params=asked, headers={"accept": "text/html,*/*"}
    )
    other = await world.http.post("/auth/authorize", data=asked)

    assert (page.status_code, other.status_code) == (429, 429)
    assert "Có quá nhiều lần thử" in page.text
    assert page.headers["content-type"].startswith("text/html")
    assert other.json()["error"] == "temporarily_unavailable"
    assert page.headers["retry-after"] == other.headers["retry-after"]
    assert len(await world.store.scan("login")) == kept == 5
    with coming_from(world, "192.0.2.9") as http:
        assert (await http.get("/auth/authorize", params=asked)).status_code == 303


@pytest.mark.usefixtures("few")
async def test_callbacks_that_prove_nothing_are_counted(world: World) -> None:
    """A state that is nobody's, a code that the provider refuses, a choice that is none."""
    for state in ("a", "b", "c"):
        answer = await world.http.get("/auth/callback", params={"state": state, "code": "x"})
        assert answer.status_code == 400
    begun = await world.http.get("/auth/authorize", params=world.asked(VERIFIER))
    state = httpx2.URL(begun.headers["location"]).params["state"]
    answer = await world.http.get("/auth/callback", params={"state": state, "code": "guessed"})
    assert "error=access_denied" in answer.headers["location"]
    choice = await world.http.post("/auth/patient", data={"login": "guessed", "patient": "p"})
    assert choice.status_code == 400

    for answer in (
        await world.http.get("/auth/callback", params={"state": "d", "code": "x"}),
        await world.http.post("/auth/patient", data={"login": "guessed", "patient": "p"}),
    ):
        assert answer.status_code == 429
    with coming_from(world, "192.0.2.9") as http:
        answer = await http.get("/auth/callback", params={"state": "d", "code": "x"})
        assert answer.status_code == 400
    # Whose log-in was begun here, and is good, comes in whatever others at his address do.
    assert "code" in await world.code_for(MOTHER)
