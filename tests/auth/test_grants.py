"""Codes, families, replay: over the ledger, with several at once."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from auth.client import Client
from auth.grants import REFRESH_LIFETIME, Code, Family, Grants, new_family
from tests.auth.world import World

APP = Client(client_id="vneid-app", name="App", kind="app")


async def opened(world: World, *scopes: str) -> Family:
    family = new_family(
        client=APP,
        patient="p",
        own_patient="p",
        number="001195012345",
        scopes=scopes or ("patient/*.rs", "offline_access"),
        now=world.server.time(),
    )
    await world.grants.open_family(family)
    return family


async def a_code(world: World, family: Family) -> tuple[str, Code]:
    code = Code(
        family=family.id,
        client_id="vneid-app",
        redirect_uri="r",
        challenge="c",
        until=world.server.time() + 60,
    )
    return await world.grants.issue_code(code, family), code


async def test_a_code_is_used_once(world: World) -> None:
    """The second use is refused, and ends the grant."""
    family = await opened(world)
    text, code = await a_code(world, family)

    assert await world.grants.use_code(text, code)
    assert await world.grants.family(family.id) is not None
    assert not await world.grants.use_code(text, code)
    assert await world.grants.family(family.id) is None


async def test_one_of_many_at_once_gets_a_code(world: World) -> None:
    """Of requests at the same time, one at most succeeds."""
    family = await opened(world)
    text, code = await a_code(world, family)

    used = await asyncio.gather(*(world.grants.use_code(text, code) for _ in range(8)))

    assert sum(used) == 1


async def test_a_used_code_is_remembered_as_long_as_its_grant(world: World) -> None:
    """Also an hour later a second use ends the grant."""
    family = await opened(world)
    text, code = await a_code(world, family)
    await world.grants.use_code(text, code)
    world.clock.pass_by(3600)

    kept = await world.grants.code(text)
    assert kept is not None
    assert kept.used
    assert not await world.grants.use_code(text, kept)
    assert await world.grants.family(family.id) is None


async def test_refresh_tokens_follow_one_another(world: World) -> None:
    """Each is good once, and gives the next."""
    token = await world.grants.first_refresh(await opened(world))

    for _ in range(3):
        assert token is not None
        found = await world.grants.refreshed(token, "vneid-app")
        assert found is not None
        token = found[1]


async def test_a_refresh_token_used_again_ends_the_grant(world: World) -> None:
    """An old one ends everything, also the newest."""
    family = await opened(world)
    first = await world.grants.first_refresh(family)
    assert first is not None
    found = await world.grants.refreshed(first, "vneid-app")
    assert found is not None

    assert await world.grants.refreshed(first, "vneid-app") is None
    assert await world.grants.refreshed(found[1], "vneid-app") is None
    assert await world.grants.family(family.id) is None


async def test_one_of_many_refreshes_at_once_succeeds(world: World) -> None:
    """A race is a reuse: at most one answer, and the grant ends."""
    family = await opened(world)
    token = await world.grants.first_refresh(family)
    assert token is not None

    found = await asyncio.gather(*(world.grants.refreshed(token, "vneid-app") for _ in range(5)))

    assert sum(one is not None for one in found) == 1
    assert await world.grants.family(family.id) is None


@pytest.mark.parametrize("token", ["", ".", "x", "x.y", "{id}", "{id}.", "{id}.wrong"])
async def test_a_made_up_refresh_token_is_refused(world: World, token: str) -> None:
    """Nothing that was not issued is taken."""
    family = await opened(world)
    await world.grants.first_refresh(family)

    assert await world.grants.refreshed(token.replace("{id}", family.id), "vneid-app") is None


async def test_another_clients_refresh_token_is_refused(world: World) -> None:
    """And it does not end the grant of the client that holds it."""
    family = await opened(world)
    token = await world.grants.first_refresh(family)
    assert token is not None

    assert await world.grants.refreshed(token, "web-book") is None
    assert await world.grants.refreshed(token, "vneid-app") is not None


async def test_an_ended_grant_gets_no_first_refresh_token(world: World) -> None:
    """A revocation between the code and the refresh token is not overwritten."""
    family = await opened(world)
    await world.grants.revoke_family(family.id)

    assert await world.grants.first_refresh(family) is None
    assert await world.grants.family(family.id) is None


async def test_secrets_are_not_in_the_ledger(world: World) -> None:
    """Neither a code nor a refresh token can be read from what is kept."""
    family = await opened(world)
    text, _ = await a_code(world, family)
    token = await world.grants.first_refresh(family)
    assert token is not None

    kept = b"".join([*await world.ledger.scan("code"), *await world.ledger.scan("family")])
    assert text.encode() not in kept
    assert token.partition(".")[2].encode() not in kept


async def test_first_use_is_true_once(world: World) -> None:
    """For an owner and a jti; of another owner the same jti is another."""
    until = world.server.time() + 300
    uses = await asyncio.gather(*(world.grants.first_use("a", "j", until) for _ in range(5)))

    assert sum(uses) == 1
    assert await world.grants.first_use("b", "j", until)


async def test_a_grant_ends_with_its_time(world: World) -> None:
    """After its lifetime there is no grant."""
    family = await opened(world)
    world.clock.pass_by(REFRESH_LIFETIME + 1000)

    assert await world.grants.family(family.id) is None


async def test_a_client_takes_the_place_of_one_of_its_id(world: World) -> None:
    """Registering says whether there was one; the newer one holds."""
    changed = msgspec.structs.replace(APP, name="Khác")

    assert await world.grants.register(changed)
    assert not await world.grants.register(msgspec.structs.replace(APP, client_id="new-app"))

    assert (await world.grants.client("vneid-app")) == changed
    assert {"vneid-app", "new-app"} <= {c.client_id for c in await world.grants.clients()}


async def test_a_disabled_client_is_enabled_where_that_is_asked(world: World) -> None:
    """A client that an operator adds again is good again."""
    await world.grants.disable("vneid-app")

    assert await world.grants.register(APP)
    still = await world.grants.client("vneid-app")
    assert await world.grants.register(APP, enable=True)

    assert still is not None
    assert still.disabled
    assert (await world.grants.client("vneid-app")) == APP


async def test_a_disabled_client_stays_registered(world: World) -> None:
    """Disabling keeps the record; an unknown client cannot be disabled."""
    assert await world.grants.disable("vneid-app")
    assert not await world.grants.disable("nobody")
    client = await world.grants.client("vneid-app")
    assert client is not None
    assert client.disabled


async def test_a_disabled_client_is_not_enabled_by_a_start(world: World) -> None:
    """The demo registers its clients at every start; one that was disabled stays disabled."""
    await world.grants.disable("hospital-01999")

    await world.start()

    client = await world.grants.client("hospital-01999")
    assert client is not None
    assert client.disabled


async def test_several_processes_agree(world: World) -> None:
    """Two servers over one store: what one ends, the other knows."""
    other = Grants(world.ledger)
    family = await opened(world)
    await world.grants.revoke_family(family.id)
    await world.grants.end_token("j", world.server.time() + 60)

    assert await other.family(family.id) is None
    assert await other.is_ended("j")
