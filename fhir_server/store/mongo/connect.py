"""Opens the database that an address names: waits for a primary, checks it, makes what is missing.

Nothing here hangs, and each refusal is one plain sentence: what is wrong, and what to do.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pymongo import AsyncMongoClient
from pymongo.errors import (
    ConfigurationError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo import unfit
from fhir_server.store.mongo.address import DEFAULTS, FIXED, Address, address_of, named
from fhir_server.store.mongo.calls import Calls, is_passing
from fhir_server.store.mongo.schema import (
    HEAD,
    INDEXES,
    Collections,
    Document,
    others_in,
    prepare,
)

log = structlog.stdlib.get_logger("store")

PATIENCE: Final = 10.0
"""Seconds that a command waits for a primary."""
_SOON: Final = 3.0
"""Seconds after which a start that waits for its first answer looks why, and says so."""

CLOCK_APART: Final = 60.0
"""Seconds between the database's clock and ours with which no start is made: the times in tokens
and versions are ours, and other servers over this database have theirs."""

_PROBE: Final = 2.0
"""Seconds in which a member must answer that is asked alone."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that can be used."""

    address: Address
    client: AsyncMongoClient[Document]
    collections: Collections
    calls: Calls

    async def close(self) -> None:
        """Let go of the connections."""
        await self.client.close()


async def open_database(
    url: str, *, patience: float = PATIENCE, now: Callable[[], float] = time.time
) -> Opened:
    """Open the database that a URL names, checked, with its collections and indexes made.

    Args:
        url: `mongodb://…` or `mongodb+srv://…`.
        patience: Seconds to wait for a primary; at least one attempt is made.
        now: Our clock, in seconds since 1970.

    Raises:
        Unavailable: It cannot be used; the text says why, in one sentence.
    """
    address = address_of(url)
    client = client_of(address)
    try:
        with refusals(address):
            return await _opened(client, address, patience, now)
    except BaseException:
        await client.close()
        raise


async def _opened(
    client: AsyncMongoClient[Document],
    address: Address,
    patience: float,
    now: Callable[[], float],
) -> Opened:
    """Check it and make what is missing; from the beginning where the primary changes meanwhile."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while True:
        reached = await reach(client, address, patience=until - loop.time(), now=now)
        try:
            await _check(client, address, reached)
            collections = Collections(client[address.database])
            await prepare(collections, secrets.token_bytes(32))
        except PyMongoError as error:
            if not _may_pass(error) or loop.time() >= until:
                raise
        else:
            calls = Calls(client, collections.meta, is_sharded=reached.is_sharded)
            await calls.settle()
            return Opened(address, client, collections, calls)


def _may_pass(error: PyMongoError) -> bool:
    return is_passing(error) or isinstance(error, WTimeoutError)


def client_of(address: Address) -> AsyncMongoClient[Document]:
    """Return a client of an address; nothing is connected yet.

    Raises:
        Unavailable: The files that it names for TLS are not what they should be.
    """
    there = {name for name in DEFAULTS if name.lower() in address.options}
    options = {name: value for name, value in DEFAULTS.items() if name not in there}
    fixed = {name: value for name, value in FIXED.items() if not _is_refused_by_srv(address, name)}
    try:
        return AsyncMongoClient(address.url, **options, **fixed)
    except (PyMongoError, ValueError, OSError, ssl.SSLError):
        raise Unavailable(
            "the options for TLS or login do not go together, or a file they name holds no "
            "certificate and key in PEM form"
        ) from None


def _is_refused_by_srv(address: Address, name: str) -> bool:
    return address.is_srv and name == "directConnection"


# --- a primary -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reached:
    """What the primary (or a mongos) said, and its clock before ours, in seconds."""

    hello: Mapping[str, Any]
    clock_ahead: float

    @property
    def is_sharded(self) -> bool:
        """Whether it is a mongos, before a sharded cluster."""
        return self.hello.get("msg") == "isdbgrid"


async def reach(
    client: AsyncMongoClient[Document],
    address: Address,
    *,
    patience: float,
    now: Callable[[], float],
) -> Reached:
    """Return what the primary says of itself, waited for.

    Raises:
        Unavailable: There is none within the patience, or never will be.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    said = ""
    while True:
        try:
            began = now()
            asked = asyncio.ensure_future(client.admin.command("hello"))
            asked.add_done_callback(lambda one: one.cancelled() or one.exception())
            try:
                if not said and not (await asyncio.wait({asked}, timeout=_SOON))[0]:
                    said = _told(await _why(client, address), said)
                hello = await asked
            finally:
                asked.cancel()
            ahead = hello["localTime"].timestamp() - (began + now()) / 2
        except ConfigurationError:
            raise Unavailable(_not_found(address)) from None
        except ConnectionFailure:
            why = await _why(client, address)
            if loop.time() >= until:
                raise Unavailable(why) from None
            said = _told(why, said)
        else:
            text = unfit.of_hello(address, address.label, hello)
            if text is not None:
                raise Unavailable(text)
            return Reached(hello, ahead)


def _told(why: str, said: str) -> str:
    """Say why it is waited, where that was not said already."""
    if why != said:
        log.warning("store.waiting", why=why)
    return why


def _not_found(address: Address) -> str:
    if address.is_srv:
        return f"{address.hosts[0][0]}: no cluster is found under this name in the DNS; correct it"
    return f"{address.label}: MongoDB 6.0 or later is needed"


async def _why(client: AsyncMongoClient[Document], address: Address) -> str:
    """Return why there is no primary: every member is asked alone.

    Raises:
        Unavailable: What was found does not get better by waiting.
    """
    found = [where for where in client.topology_description.server_descriptions() if where[1]]
    places = [(host, port or 27017) for host, port in found] or list(address.hosts)
    if not address.is_srv:
        places += [one for one in address.hosts if one not in places]
    probes = await asyncio.gather(*(probe(address, *place) for place in sorted(places)))
    for one in probes:
        is_waiting = (one.hello or {}).get("isreplicaset")
        if one.hello is not None and not is_waiting:
            text = unfit.of_hello(address, one.name, one.hello)
            if text is not None:
                raise Unavailable(text)
    return unfit.without_primary(address, probes)


async def probe(address: Address, host: str, port: int) -> unfit.Probe:
    """Ask one member alone; first whether its port can be reached at all."""
    name = named(host, port)
    try:
        async with asyncio.timeout(_PROBE):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
    except OSError as error:  # TimeoutError is one
        return unfit.Probe(name, error=error)
    within = int(_PROBE * 1000)
    alone: AsyncMongoClient[Document] = AsyncMongoClient(
        address.alone(host, port),
        directConnection=True,
        serverSelectionTimeoutMS=within,
        connectTimeoutMS=within,
        socketTimeoutMS=within,
    )
    try:
        return unfit.Probe(name, hello=await alone.admin.command("hello"))
    except PyMongoError as error:
        return unfit.Probe(name, error=error)
    finally:
        await alone.close()


# --- what it is ------------------------------------------------------------------------------


async def _check(client: AsyncMongoClient[Document], address: Address, reached: Reached) -> None:
    """Refuse a database that will not do."""
    build = await client.admin.command("buildInfo")
    version = tuple(build["versionArray"])
    faults = (
        unfit.of_clock(reached.clock_ahead, most=CLOCK_APART),
        unfit.of_version(version, await compatibility_of(client)),
    )
    for text in faults:
        if text is not None:
            raise Unavailable(text)
    await client[address.database].list_collection_names()  # refused without a login
    status = await client.admin.command("connectionStatus", showPrivileges=True)
    if unfit.lacks_rights(status, address.database, frozenset(INDEXES)):
        raise Unavailable(unfit.no_rights(address.database))
    text = await why_no_place(client, address)
    if text is not None:
        raise Unavailable(text)


async def why_no_place(client: AsyncMongoClient[Document], address: Address) -> str | None:
    """Return why no store can be made in a database; None where one can, or is there."""
    collections = Collections(client[address.database])
    others = await others_in(collections)
    # Asked last: another server may be making the store, and writing to it.
    if await collections.meta.find_one({"_id": HEAD}, {"_id": 1}) is not None:
        return None
    if others:
        return unfit.of_strangers(address.database, others)
    for name in await _databases(client):
        if name != address.database and name.lower() == address.database.lower():
            return unfit.of_case(address.database, name)
    return None


async def _databases(client: AsyncMongoClient[Document]) -> list[str]:
    """Return the names of the databases, as far as the account may see them."""
    try:
        return await client.list_database_names()
    except OperationFailure:
        return []


async def compatibility_of(client: AsyncMongoClient[Document]) -> str | None:
    """Return the feature compatibility version; None where the account may not ask for it."""
    try:
        found = await client.admin.command({"getParameter": 1, "featureCompatibilityVersion": 1})
    except OperationFailure:
        return None
    return str(found["featureCompatibilityVersion"]["version"])


@contextmanager
def refusals(address: Address) -> Iterator[None]:
    """Turn what the driver raises into Unavailable, in plain words."""
    try:
        yield
    except PyMongoError as error:
        text = unfit.of_refusal(address, error)
        if text is None and _may_pass(error):
            text = "the database went away while it was opened; try again"
        if text is None:
            log.exception("store.refused", code=getattr(error, "code", None))
            text = "the database refuses what is needed to open it; look at its log"
        raise Unavailable(text) from None
