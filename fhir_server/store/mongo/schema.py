"""The collections and their indexes: made at the start, never left to an operator.

| Collection | Document |
| --- | --- |
| `meta` | `head`: the last commit's numbers (below), and what a store has once |
| `resource` | every resource as it is now, also a deleted one |
| `history` | every version that was replaced |
| `unique` | who holds a unique key: `_id` the key, `n` the resource's `Type/id` |
| `ledger` | `_id`: `bucket`, U+001F, `key`; `b` value (or `B`, `O`); `x`, `z` its end |
| `audit` | `_id` is `seq`; `a` recorded, `b` body, `h` digest, `p` patients |
| `chunk` | what is too large for one document, in pieces (`chunks.py`) |
| `place` | sharded stores: `_id` the resource's `Type/id`, `k` its shard key |

A resource's document: `_id` `Type/id`, `k` shard key (its first Patient, else its own id),
`t` type, `v` version, `r` the number of the version (grows with every version of the store),
`c` the number of its first version, `u` last updated (microseconds), `m` method (a place in
`METHODS`), `D` true where it is deleted, `p` patients, `g` access tags, `q` the unique keys that it
holds, `b` body (or `B`, `O`: `chunks.py`), and what is indexed (`entry.py`). In `history`
`_id` is the number, `n` the resource's `Type/id`, `w` when the next version replaced it
(microseconds); `t v u m D p k b B O` are the same.

Every commit writes `head` first, in its transaction: so commits follow one another, a number that
is greater was committed later, and what a commit looks at is not changed by another meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog
from pymongo import IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import NetworkTimeout, OperationFailure

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import Unavailable

log = structlog.stdlib.get_logger("store")

Document = dict[str, Any]

METHODS: Final = ("", "POST", "PUT", "PATCH", "DELETE")
"""A version's method is kept as its place in this list."""

VERSION: Final = 2
"""Of the schema; in `head` as `schema`. 1: resources may lack the ends of codes, references and
URIs, the words of tokens' texts, and that a reference has an identifier; and servers write that do
not know them; who reindexes takes the store to 2."""

ORDERED_SINCE: Final = 2
"""The version from which on nobody writes a resource without the ends of its codes."""

_NAMESPACE_EXISTS: Final = 48
_OF_EVERY_INDEX: Final = frozenset({"v", "key", "name", "ns", "background"})

HEAD: Final = "head"
INDEXED: Final = "indexed"
"""The head's member that repeats the record `port.INDEXED_BY`; absent where that one is."""
SEPARATOR: Final = "\x1f"
"""Between a ledger record's bucket and key."""


@dataclass(frozen=True, slots=True)
class Index:
    """An index of a collection.

    Attributes:
        keys: Fields and directions, in their order.
        options: As createIndexes takes them.
    """

    name: str
    keys: tuple[tuple[str, int], ...]
    options: tuple[tuple[str, Any], ...] = ()


INDEXES: Final[dict[str, tuple[Index, ...]]] = {
    "meta": (),
    "resource": (
        Index("keys", (("x", 1), ("r", -1))),
        Index("texts", (("s", 1), ("r", -1))),
        Index("ordered", (("o.$**", 1),)),
        Index("types", (("t", 1), ("r", -1))),
        Index("updated", (("t", 1), ("u", 1), ("r", -1))),
    ),
    "history": (
        Index("versions", (("n", 1), ("v", -1))),
        Index("types", (("t", 1), ("_id", -1))),
        Index("updated", (("t", 1), ("u", 1), ("_id", -1))),
    ),
    "unique": (),
    "ledger": (Index("ended", (("z", 1),), (("expireAfterSeconds", 0),)),),
    "audit": (
        Index("patients", (("p", 1), ("_id", -1))),
        Index("recorded", (("a", 1), ("_id", -1))),
    ),
    "chunk": (Index("marks", (("at", 1),), (("sparse", True),)),),
    "place": (),
}
"""Every collection, and its indexes beside `_id`."""

SHARD_KEYS: Final[dict[str, tuple[tuple[str, Any], ...]]] = {
    "resource": (("k", "hashed"),),
    "history": (("k", "hashed"),),
    "unique": (("_id", "hashed"),),
    "ledger": (("_id", 1),),
    "audit": (("_id", "hashed"),),
    "chunk": (("_id", "hashed"),),
    "place": (("_id", "hashed"),),
}
"""How a sharded cluster divides the collections: citizens evenly, a book in one place."""

OPTIONS: Final[dict[str, Any]] = {
    "storageEngine": {"wiredTiger": {"configString": "block_compressor=zstd"}}
}
"""Of every collection: bodies of one kind compress one another in a block."""


class Collections:
    """The collections of one database."""

    def __init__(self, database: AsyncDatabase[Document]) -> None:
        self.database = database
        self.meta: AsyncCollection[Document] = database["meta"]
        self.resource: AsyncCollection[Document] = database["resource"]
        self.history: AsyncCollection[Document] = database["history"]
        self.unique: AsyncCollection[Document] = database["unique"]
        self.ledger: AsyncCollection[Document] = database["ledger"]
        self.audit: AsyncCollection[Document] = database["audit"]
        self.chunk: AsyncCollection[Document] = database["chunk"]
        self.place: AsyncCollection[Document] = database["place"]


def head_of_a_new_store(cursor_key: bytes) -> Document:
    """Return the `head` of a store in which nothing was committed.

    Its fields: `rid` the last version's number, `seq` and `digest` of the last audit entry,
    `edition` counts the commits that changed more than the audit, `counts` the current resources
    by type, `schema`, `cursor_key` seals cursors, `sharded` whether `place` is kept, `turn` counts
    the transactions, `large` names the ledger's buckets that have had values in pieces,
    `unordered` the types of which resources lack what schema 2 indexes (of schema 1 there is
    nothing of it to rely on, and no such field).
    """
    return {
        "_id": HEAD,
        "rid": 0,
        "seq": 0,
        "digest": bytes(32),
        "edition": 0,
        "counts": {},
        "schema": VERSION,
        "cursor_key": cursor_key,
        "sharded": False,
        "turn": 0,
        "large": [],
        "unordered": [],
    }


def unordered(head: Mapping[str, Any]) -> Collection[str]:
    """Return the types of which the index lacks what schema 2 has: order, words of texts."""
    if head["schema"] < ORDERED_SINCE:
        return RESOURCE_TYPES
    found: list[str] = head["unordered"]
    return found


@dataclass(frozen=True, slots=True)
class Indexes:
    """How the indexes that are there differ from those that are wanted, as `collection.index`.

    Attributes:
        missing: Wanted, and not there.
        different: In the way of one that is wanted, of its name or of its fields; or another's that
            deletes documents after a time, or refuses some.
        strange: There, and not this server's; they are in nobody's way, and cost every write.
    """

    missing: tuple[str, ...] = ()
    different: tuple[str, ...] = ()
    strange: tuple[str, ...] = ()


def dropping(names: Sequence[str]) -> str:
    """Return the commands of MongoDB's shell that drop indexes, given as `collection.index`."""
    pairs = (name.split(".", 1) for name in names)
    return ", ".join(f"db.{collection}.dropIndex('{index}')" for collection, index in pairs)


async def compare(collections: Collections) -> Indexes:
    """Return which indexes are missing, in the way, or not this server's."""
    missing: list[str] = []
    different: list[str] = []
    strange: list[str] = []
    for name, wanted in INDEXES.items():
        there = {one["name"]: one async for one in await collections.database[name].list_indexes()}
        kept = {(("_id", 1),), SHARD_KEYS.get(name)}
        absent: set[tuple[tuple[str, Any], ...]] = set()
        for index in wanted:
            found = there.pop(index.name, None)
            if found is None:
                missing.append(f"{name}.{index.name}")
                absent.add(index.keys)
            elif not _is_same(index, found):
                different.append(f"{name}.{index.name}")
        for other, found in there.items():
            keys = tuple(found["key"].items())
            is_harmful = "expireAfterSeconds" in found or found.get("unique", False)
            # MongoDB has no two of the same fields; one may delete what we keep, or refuse it.
            if keys in absent or is_harmful:
                different.append(f"{name}.{other}")
            elif keys not in kept:
                strange.append(f"{name}.{other}")
    return Indexes(tuple(missing), tuple(different), tuple(strange))


async def others_in(collections: Collections) -> list[str]:
    """Return the collections of a database that a store which is not made yet cannot have.

    A start that was interrupted leaves its collections empty: `head` is written last.
    """
    there = await collections.database.list_collection_names()
    others = [one for one in there if one not in INDEXES and not one.startswith("system.")]
    ours = [one for one in there if one in INDEXES]
    found = [await collections.database[one].find_one({}, {"_id": 1}) for one in ours]
    return others + [one for one, some in zip(ours, found, strict=True) if some is not None]


def _is_same(wanted: Index, found: Mapping[str, Any]) -> bool:
    options = {key: value for key, value in found.items() if key not in _OF_EVERY_INDEX}
    return tuple(found["key"].items()) == wanted.keys and options == dict(wanted.options)


async def prepare(collections: Collections, cursor_key: bytes, *, is_said: bool = True) -> None:
    """Make what is not there yet: collections, indexes, the head.

    Args:
        collections: Of the store.
        cursor_key: Of a new one.
        is_said: Whether it is worth a warning that indexes of an existing store are made.

    Raises:
        Unavailable: The store is a newer version's, or an index of a wanted name is another's.
    """
    head = await collections.meta.find_one({"_id": HEAD}, {"schema": 1})
    if head is not None and head["schema"] > VERSION:
        raise Unavailable(
            f"the store was written by a newer version of this server (schema {head['schema']}, "
            f"this one knows {VERSION}); install that version"
        )
    there = await collections.database.list_collection_names()
    absent = [name for name in INDEXES if name not in there]
    await asyncio.gather(*(_make_collection(collections.database, name) for name in absent))
    indexes = await compare(collections)
    if indexes.different:
        raise Unavailable(
            f"{', '.join(indexes.different)}: not the indexes that this server makes; stop the "
            f"servers, do {dropping(indexes.different)}, and start again: what is needed is made"
        )
    to_make = {
        name: [one for one in wanted if f"{name}.{one.name}" in indexes.missing]
        for name, wanted in INDEXES.items()
    }
    await asyncio.gather(
        *(
            _make_indexes(collections.database[name], wanted, is_said=is_said and head is not None)
            for name, wanted in to_make.items()
            if wanted
        )
    )
    if head is None:
        await collections.meta.update_one(
            {"_id": HEAD}, {"$setOnInsert": head_of_a_new_store(cursor_key)}, upsert=True
        )


async def _make_collection(database: AsyncDatabase[Document], name: str) -> None:
    try:
        await database.create_collection(name, check_exists=False, **OPTIONS)
    except OperationFailure as error:
        if error.code != _NAMESPACE_EXISTS:  # another process was faster
            raise


async def _make_indexes(
    collection: AsyncCollection[Document], wanted: Sequence[Index], *, is_said: bool
) -> None:
    """Make indexes; over much data that takes long, and goes on where we do not wait for it."""
    if is_said:
        log.warning("store.indexing", collection=collection.name, made=[one.name for one in wanted])
    models = [IndexModel(list(one.keys), name=one.name, **dict(one.options)) for one in wanted]
    while True:
        try:
            # A member that is down does not hold it up.
            await collection.create_indexes(models, commitQuorum="majority")
        except NetworkTimeout:
            continue
        return
