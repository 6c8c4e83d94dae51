"""Divides a store, new or existing, over the shards of a cluster: `python -m` with this module.

    printenv FHIR_SERVER_STORE | python -m fhir_server.store.mongo.sharding

The address, on standard input since it may hold a password, is that of the cluster's mongos. Two
things are done, each step of which may be interrupted and repeated, while servers serve:

1. `place`, which says where each resource lives, is filled: chunk by chunk, each in a transaction
   that takes its turn at `head` as commits do. The last one sets `head.sharded` with it, and from
   then on every commit keeps `place`.
2. The collections are sharded by `schema.SHARD_KEYS`: citizens evenly, a book on one shard. The
   cluster's balancer then moves what is there.

A replica set becomes a cluster's first shard by its operator: its members started with --shardsvr,
a config server replica set and a mongos beside it, sh.addShard. Servers already running go on;
those started later ask the one shard where a resource is.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import OperationFailure

from fhir_server.model.outcome import Unavailable
from fhir_server.store.mongo.connect import Opened, open_database
from fhir_server.store.mongo.schema import HEAD, SHARD_KEYS, Collections, Document

MARK: Final = "sharding"
"""In `meta`: by resource type, after which version's number `place` is not filled yet."""

_CHUNK: Final = 1_000
_NO_SUCH_COMMAND: Final = 59


@dataclass(frozen=True, slots=True)
class Command:
    """One command of an administrator, and the database that it is given to."""

    database: str
    command: Document

    @property
    def line(self) -> str:
        """What is printed of it."""
        name, value = next(iter(self.command.items()))
        keys = self.command.get("key") or (self.command.get("indexes") or [{}])[0].get("key", "")
        return f"{name} {value} {keys}".rstrip()


def commands(database: str) -> list[Command]:
    """Return what shards a database's collections; each may be given again."""
    found = [Command("admin", {"enableSharding": database})]
    for name, keys in SHARD_KEYS.items():
        key: dict[str, Any] = dict(keys)
        if key != {"_id": 1}:
            index = {"key": key, "name": "shards"}
            found.append(Command(database, {"createIndexes": name, "indexes": [index]}))
        found.append(Command("admin", {"shardCollection": f"{database}.{name}", "key": key}))
    return found


async def fill_places(opened: Opened, said: Callable[[int], None] = lambda _: None) -> int:
    """Fill `place` and have it kept from now on; return how many were filled in this run.

    Args:
        opened: The database; it may be served meanwhile.
        said: Is told after each chunk how many are done.

    Raises:
        Unavailable: The database does not answer.
    """
    done = 0
    while True:
        filled, is_last = await opened.calls.transact(lambda s: _chunk(opened.collections, s))
        done += filled
        said(done)
        if is_last:
            return done


async def _chunk(collections: Collections, session: AsyncClientSession) -> tuple[int, bool]:
    """Fill some; return how many, and whether all are filled and kept now."""
    head = await collections.meta.find_one_and_update(
        {"_id": HEAD},
        {"$inc": {"turn": 1}},
        session=session,
        return_document=ReturnDocument.AFTER,
    )
    if head is None:
        raise Unavailable("The database holds no store.")
    if head["sharded"]:
        return 0, True
    mark = await collections.meta.find_one({"_id": MARK}, session=session)
    after: dict[str, int] = mark["after"] if mark else {}
    places: list[UpdateOne] = []
    for kind in sorted(head["counts"]):
        asked = {"t": kind, "r": {"$gt": after.get(kind, 0)}}
        found = collections.resource.find(asked, {"k": 1, "r": 1}, session=session)
        some = await found.sort([("r", 1)]).limit(_CHUNK - len(places)).to_list()
        places += [
            UpdateOne({"_id": one["_id"]}, {"$set": {"k": one["k"]}}, upsert=True) for one in some
        ]
        if some:
            after[kind] = some[-1]["r"]
        if len(places) == _CHUNK:
            break
    is_last = len(places) < _CHUNK
    if places:
        await collections.place.bulk_write(places, ordered=False, session=session)
    if is_last:
        await collections.meta.update_one(
            {"_id": HEAD}, {"$set": {"sharded": True}}, session=session
        )
    await collections.meta.replace_one(
        {"_id": MARK}, {"after": after}, upsert=True, session=session
    )
    return len(places), is_last


async def shard(url: str, say: Callable[[str], None]) -> None:
    """Shard the store that a mongos's address names; say each step.

    Raises:
        Unavailable: It is no mongos, or does not do it; the text says why.
    """
    opened = await open_database(url)
    try:
        hello = await opened.client.admin.command("hello")
        if hello.get("msg") != "isdbgrid":
            raise Unavailable(
                "this is a replica set, not a cluster: start its members with --shardsvr, a config "
                "server replica set and a mongos beside it, add it by sh.addShard, and give the "
                "address of the mongos"
            )
        filled = await fill_places(opened, lambda done: say(f"place: {done:,} filled"))
        say(f"place: {filled:,} filled in this run, kept from now on")
        for one in commands(opened.address.database):
            await _give(opened, one)
            say(one.line)
        say("done; sh.status() on the mongos shows how the balancer moves what is there")
    finally:
        await opened.close()


async def _give(opened: Opened, command: Command) -> None:
    try:
        await opened.client[command.database].command(command.command)
    except OperationFailure as error:
        if error.code == _NO_SUCH_COMMAND:
            raise Unavailable("this server shards nothing: give the address of a mongos") from None
        raise Unavailable(
            f"the cluster refuses `{command.line}` (code {error.code}): the account needs the role "
            "clusterManager, and the collection must not be sharded by another key"
        ) from None


def main() -> None:
    """Shard the store whose address stands on standard input."""
    try:
        asyncio.run(shard(sys.stdin.readline().strip(), _say))
    except Unavailable as error:
        sys.exit(str(error))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
