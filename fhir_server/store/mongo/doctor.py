"""What is to be known of a store's database: facts, and what to do about what is wrong.

It is looked at while servers use it, and also where no server would start over it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pymongo import AsyncMongoClient
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from fhir_server.model.outcome import Unavailable
from fhir_server.search.values import CONTENT, NARRATIVE, TextValue
from fhir_server.store.bulk import BUCKET, MARK, UNFINISHED
from fhir_server.store.derive import LOOKED_AT, is_unsaid, units_fact, words_fact
from fhir_server.store.fact import Fact
from fhir_server.store.mongo import unfit
from fhir_server.store.mongo.address import Address, address_of
from fhir_server.store.mongo.calls import Calls
from fhir_server.store.mongo.connect import (
    Reached,
    client_of,
    compatibility_of,
    probe,
    reach,
    refusals,
    why_no_place,
)
from fhir_server.store.mongo.ends import GREATEST, LEAST
from fhir_server.store.mongo.entry import Entry, fields_of
from fhir_server.store.mongo.filters import ALIVE
from fhir_server.store.mongo.schema import (
    HEAD,
    INDEXES,
    VERSION,
    Collections,
    Document,
    compare,
    dropping,
    unordered,
)
from fhir_server.store.mongo.staging import record_key
from fhir_server.store.mongo.versions import SHOWN, versions_of

CLOCK_APART: Final = 5.0
"""Seconds between two clocks that want to be looked at."""

_LAGS: Final = 60.0
"""Seconds that a member may be behind the primary."""

_LEAST_OPLOG: Final = 24.0
"""Hours that a member may be away without having to copy everything again."""

_SAFE: Final = 3
"""Members that hold data: one may be lost, and a majority still has everything."""

_ANSWERS: Final = 5.0
"""Seconds in which a majority must answer."""

_GB: Final = 1e9
_NOT_SEEN: Final = "not seen: the account would need the role clusterMonitor"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the facts are drawn from."""

    address: Address
    client: AsyncMongoClient[Document]
    reached: Reached

    @property
    def collections(self) -> Collections:
        return Collections(self.client[self.address.database])


async def examine(
    url: str, *, patience: float = 5.0, now: Callable[[], float] = time.time
) -> list[Fact]:
    """Return the facts of the database that a URL names.

    Args:
        url: `mongodb://…`.
        patience: Seconds to wait for a primary.
        now: Our clock, in seconds since 1970.

    Raises:
        Unavailable: There is no primary to ask, or it refuses us; the text says why.
    """
    address = address_of(url)
    client = client_of(address)
    try:
        with refusals(address):
            reached = await reach(client, address, patience=patience, now=now)
            seen = _Seen(address, client, reached)
            facts = [way(address)]
            for look in (_account, _version, _members, _majority, _oplog, _store, _indexes, _disk):
                facts += await _facts(look, seen)
            return facts
    finally:
        await client.close()


async def _facts(look: Callable[[_Seen], Awaitable[list[Fact]]], seen: _Seen) -> list[Fact]:
    """Return the facts of one kind; a refusal is a fact too, and the others are still looked at."""
    name = look.__name__.removeprefix("_")
    try:
        with refusals(seen.address):
            return await look(seen)
    except Unavailable as error:
        return [Fact(name, well=False, text=str(error))]


# --- the way there ---------------------------------------------------------------------------


def way(address: Address) -> Fact:
    """Return whether others could listen in, or come in."""
    if address.is_local and not (address.has_tls and address.has_credentials):
        return Fact("connection", well=True, text="on this machine alone")
    if not address.has_tls:
        text = "not encrypted: start the members with TLS, and add tls=true to the address"
    elif not address.is_verified:
        text = "encrypted, but the members' certificates are not checked: take tlsInsecure, "
        text += "tlsAllowInvalid… out of the address, and name the authority by tlsCAFile"
    elif not address.has_credentials:
        text = "encrypted, but anybody may log in: start the members with --auth or --keyFile"
    else:
        return Fact("connection", well=True, text="encrypted, with a login")
    return Fact("connection", well=False, text=text)


async def _account(seen: _Seen) -> list[Fact]:
    database = seen.address.database
    await seen.client[database].list_collection_names()
    status = await seen.client.admin.command("connectionStatus", showPrivileges=True)
    if unfit.lacks_rights(status, database, frozenset(INDEXES)):
        return [Fact("account", well=False, text=unfit.no_rights(database))]
    roles = ", ".join(
        f"{one['role']} on {one['db']}" for one in status["authInfo"]["authenticatedUserRoles"]
    )
    return [Fact("account", well=True, text=f"may do all that is needed ({roles or 'no login'})")]


# --- what answers ----------------------------------------------------------------------------


async def _version(seen: _Seen) -> list[Fact]:
    build = await seen.client.admin.command("buildInfo")
    compatibility = await compatibility_of(seen.client)
    fault = unfit.of_version(tuple(build["versionArray"]), compatibility)
    as_old = f", working as {compatibility}" if compatibility else ""
    text = fault or f"MongoDB {build['version']}{as_old}"
    return [Fact("mongodb", well=fault is None, text=text)]


async def _members(seen: _Seen) -> list[Fact]:
    """Return how the members are, each asked alone; and whether the clocks agree."""
    hello = seen.reached.hello
    clock = unfit.of_clock(seen.reached.clock_ahead, most=CLOCK_APART)
    ahead = f"the primary's is {seen.reached.clock_ahead:+.1f} s from ours"
    facts = [Fact("database clock", well=clock is None, text=clock or ahead)]
    if seen.reached.is_sharded:
        return [*facts, await _shards(seen)]
    places = [*hello.get("hosts", ()), *hello.get("passives", ()), *hello.get("arbiters", ())]
    asked = await asyncio.gather(*(_ask(seen.address, place) for place in places))
    states = [state_of(seen.address, hello, one) for one in asked]
    text = "; ".join(text for _, text in states)
    wrong = [fault for fault, _ in states if fault]
    if len(hello.get("hosts", ())) < _SAFE and not seen.address.is_local:
        wrong.append("three members that hold data are safe, add members")
    if hello.get("arbiters"):
        wrong.append("an arbiter holds no data: with one member down a majority is no longer safe")
    advice = f" — {'; '.join(wrong)}" if wrong else ""
    if len(seen.address.hosts) == 1 < len(places) and not seen.address.is_srv:
        advice += " — the address names one of them: no server starts while that is down, name all"
    name = f"replica set {hello['setName']}"
    return [*facts, Fact(name, well=not wrong, text=text + advice)]


async def _ask(address: Address, place: str) -> unfit.Probe:
    host, _, port = place.rpartition(":")
    return await probe(address, host.strip("[]"), int(port))


def state_of(address: Address, primary: Mapping[str, Any], member: unfit.Probe) -> tuple[str, str]:
    """Return what is to be done about a member ("": nothing), and how it is."""
    hello = member.hello
    if hello is None:
        why = unfit.why_unreached(address, member)
        return f"start {member.name} again", f"{member.name} does not answer ({why})"
    if hello.get("isWritablePrimary"):
        return "", f"{member.name} primary"
    if hello.get("arbiterOnly"):
        return "", f"{member.name} arbiter"
    if not hello.get("secondary"):
        return f"look at the log of {member.name}", f"{member.name} is catching up or failing"
    newest = primary["lastWrite"]["lastWriteDate"]
    behind = (newest - hello["lastWrite"]["lastWriteDate"]).total_seconds()
    if behind > _LAGS:
        return f"look why {member.name} falls behind", f"{member.name} {behind:.0f} s behind"
    return "", f"{member.name} secondary"


async def _shards(seen: _Seen) -> Fact:
    try:
        found = await seen.client.admin.command("listShards")
    except OperationFailure:
        return Fact("shards", well=True, text=_NOT_SEEN)
    return Fact("shards", well=True, text=f"{len(found['shards'])} shards behind a mongos")


async def _majority(seen: _Seen) -> list[Fact]:
    calls = Calls(seen.client, seen.collections.meta, is_sharded=seen.reached.is_sharded)
    began = time.perf_counter()
    try:
        async with asyncio.timeout(_ANSWERS):
            await calls.settle()
    except TimeoutError:
        text = f"none answers within {_ANSWERS:.0f} s: more than half of the members must be up"
        return [Fact("majority", well=False, text=text)]
    took = (time.perf_counter() - began) * 1e3
    return [Fact("majority", well=True, text=f"a majority answers, in {took:.0f} ms")]


async def _oplog(seen: _Seen) -> list[Fact]:
    """Return for how long a member may be away and catch up by itself."""
    if seen.reached.is_sharded:
        return []
    local = seen.client.get_database("local", read_concern=ReadConcern("local"))
    try:
        stats = await local.command("collStats", "oplog.rs")
        first = await local["oplog.rs"].find_one({}, {"wall": 1}, sort=[("$natural", 1)])
        last = await local["oplog.rs"].find_one({}, {"wall": 1}, sort=[("$natural", -1)])
    except OperationFailure:
        return [Fact("oplog", well=True, text=_NOT_SEEN)]
    if first is None or last is None:
        return [Fact("oplog", well=True, text="empty")]
    hours = (last["wall"] - first["wall"]).total_seconds() / 3600
    return [oplog(hours, full=stats["size"] / stats["maxSize"])]


def oplog(hours: float, *, full: float) -> Fact:
    """Return whether the oplog reaches back far enough; while it is not full it still grows."""
    text = f"reaches back {hours:.1f} h ({full:.0%} full)"
    if full > 0.9 and hours < _LEAST_OPLOG:  # noqa: PLR2004 - it is cut at its end
        text += ": a member that is away longer must copy everything; make it larger by "
        text += "db.adminCommand({replSetResizeOplog: 1, size: megabytes}) on each member"
        return Fact("oplog", well=False, text=text)
    return Fact("oplog", well=True, text=text)


# --- what it holds ---------------------------------------------------------------------------


async def _store(seen: _Seen) -> list[Fact]:
    head = await seen.collections.meta.find_one({"_id": HEAD})
    if head is None:
        fault = await why_no_place(seen.client, seen.address)
        text = fault or f"{seen.address.database} holds none yet; the first start makes it"
        return [Fact("store", well=fault is None, text=text)]
    return [
        _schema(head),
        *await _whole(seen.collections),
        _contents(head),
        *await _behind(seen.collections, head["counts"]),
        _order(head),
        _sharding(head, is_mongos=seen.reached.is_sharded),
    ]


def _said(entry: Entry) -> set[str]:
    """Return the texts of which the words are indexed."""
    values = (*entry.values(CONTENT), *entry.values(NARRATIVE))
    return {one.text for one in values if isinstance(one, TextValue)}


async def _behind(collections: Collections, counts: Mapping[str, int]) -> list[Fact]:
    """Return whether what is stored is indexed as it would be now: the oldest of each type tell."""
    no_words, no_units = [], []
    for kind, count in counts.items():
        if not count:
            continue
        where: Document = {"t": kind, **ALIVE}
        shown = {**SHOWN, "e": 1, "o": 1, "x": 1}
        cursor = collections.resource.find(where, shown, limit=LOOKED_AT)
        documents = await cursor.sort([("t", -1), ("r", 1)]).hint("types").to_list()
        versions = await versions_of(collections, documents)
        entries = [Entry(document["e"]) for document in documents]
        if any(
            is_unsaid(version.body, _said(entry))
            for entry, version in zip(entries, versions, strict=True)
        ):
            no_words.append(kind)
        if any(
            _is_behind(fields_of(kind, entry.index(), ()), document)
            for entry, document in zip(entries, documents, strict=True)
        ):
            no_units.append(kind)
    return [words_fact(no_words), units_fact(no_units)]


def _is_behind(made: Document, stored: Document) -> bool:
    """Return whether the values of a resource would stand in indexes in which they do not.

    Compartments and access tags are no values: keys of these are stored alone. Of which types codes
    have an order, and their texts words, the head says.
    """
    ordered, there = (
        {path for path in document.get("o", {}) if path[0] not in {LEAST, GREATEST}}
        for document in (made, stored)
    )
    return ordered != there or not set(made["x"]) <= set(stored["x"])


def _order(head: Mapping[str, Any]) -> Fact:
    """Return of which types an order by token, reference or URI, and texts, are not indexed yet."""
    found = unordered(head)
    lacking = sorted(kind for kind, count in head["counts"].items() if count and kind in found)
    if not lacking:
        return Fact("order", well=True, text="tokens, references and URIs are indexed in order")
    types = ", ".join(lacking[:LOOKED_AT]) + (" …" if len(lacking) > LOOKED_AT else "")
    text = "_sort by tokens, references and URIs reads all matches, and :text all resources, of"
    text += f" types stored before: {types}"
    text += "; when no older server serves this store any more, fhir-server reindex mends it"
    return Fact("order", well=False, text=text)


async def _whole(collections: Collections) -> list[Fact]:
    """Return that a move into the store is not finished, where it is not."""
    if await _is_target(collections):
        return [Fact("store", well=False, text=UNFINISHED)]
    return []


async def _is_target(collections: Collections) -> bool:
    mark = {"_id": record_key(BUCKET, MARK)}
    return await collections.ledger.find_one(mark, {"_id": 1}) is not None


def _schema(head: Mapping[str, Any]) -> Fact:
    version = head["schema"]
    if version > VERSION:
        text = f"schema {version} is a newer server's: install that version (this knows {VERSION})"
        return Fact("schema", well=False, text=text)
    return Fact("schema", well=True, text=f"schema version {version}")


def _contents(head: Mapping[str, Any]) -> Fact:
    live = sum(head["counts"].values())
    text = f"{live} resources, {head['rid']} versions, {head['seq']} audit entries"
    return Fact("contents", well=True, text=text)


def _sharding(head: Mapping[str, Any], *, is_mongos: bool) -> Fact:
    how = "python -m fhir_server.store.mongo.sharding"
    if head["sharded"] and not is_mongos:
        text = "the store is sharded, but this is no mongos: name the cluster's mongos instead"
        return Fact("sharded", well=False, text=text)
    if is_mongos and not head["sharded"]:
        text = f"no: all of it is on one shard; divide it by: {how}"
        return Fact("sharded", well=False, text=text)
    return Fact("sharded", well=True, text="yes" if head["sharded"] else "no")


async def _indexes(seen: _Seen) -> list[Fact]:
    if await seen.collections.meta.find_one({"_id": HEAD}, {"_id": 1}) is None:
        return []  # that there is no store is said
    found = await compare(seen.collections)
    said: list[str] = []
    if found.different:
        text = f"{', '.join(found.different)} differ from what this server makes: stop the "
        said.append(f"{text}servers, do {dropping(found.different)}, start again")
    if found.missing and not await _is_target(seen.collections):
        said.append(f"{', '.join(found.missing)} missing: the next start makes them")
    well = not said
    if well and not found.missing:
        said.append(f"all {sum(map(len, INDEXES.values()))} as they should be")
    if found.strange:
        text = f"{', '.join(found.strange)} not this server's and paid for by every write: "
        said.append(f"{text}if nobody needs them, {dropping(found.strange)}")
    if found.missing and well:
        said.append("made by the move that is not finished")
    return [Fact("indexes", well=well, text="; ".join(said))]


async def _disk(seen: _Seen) -> list[Fact]:
    stats = await seen.client[seen.address.database].command("dbStats")
    used = (stats["storageSize"] + stats.get("indexSize", 0)) / _GB
    indexes = stats.get("indexSize", 0) / _GB
    text = f"{used:.2f} GB, {indexes:.2f} of it indexes"
    if not stats.get("fsTotalSize"):  # a mongos does not add them up; nor has a new database any
        return [Fact("disk", well=True, text=text)]
    return [disk(text, total=stats["fsTotalSize"], free=stats["fsTotalSize"] - stats["fsUsedSize"])]


def disk(text: str, *, total: float, free: float) -> Fact:
    """Return whether the primary's disk has room."""
    text += f"; {free / _GB:.1f} of {total / _GB:.1f} GB are free at the primary"
    if free < max(total * 0.05, _GB):
        return Fact("disk", well=False, text=text + ": make room, on every member")
    return Fact("disk", well=True, text=text)
