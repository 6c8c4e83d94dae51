"""The bytes of a submission as received: durable before they are parsed, kept with their receipt.

A mark says that a submission is not answered yet, and by its lease who is at work on it; what a
process left behind when it died is finished by another (`resume.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final, ParamSpec, TypeVar

import msgspec
import zstandard

from auth.principal import Kind
from fhir_server.store.leases import Lease
from fhir_server.store.port import Batch, Put, Store

P = ParamSpec("P")
T = TypeVar("T")

SOURCE: Final = "submission-source"
PENDING: Final = "submission-pending"
SUBMISSION: Final = "submission"

CHUNK: Final = 8 * 1024 * 1024
"""Bytes of one record: no store need hold a larger one (MongoDB's documents end at 16 MB)."""
_INLINE: Final = 256 * 1024
"""A body up to this size is compressed at once; a larger one beside the event loop."""
_LEVEL: Final = 3
_PAGE: Final = 100


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a submission before it is read.

    Attributes:
        media_type: The Content-Type as it was sent.
        form: Which reader takes it: xml, json or csv.
        received: Microseconds since 1970.
        chunks: How many records hold the compressed bytes.
        kind: The caller's kind; with `client_id` and `code`, who submitted.
    """

    media_type: str
    form: str
    received: int
    length: int
    chunks: int
    kind: Kind
    client_id: str
    code: str = ""
    display: str = ""


def _compress(body: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(body)


def _decompress(data: bytes, length: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=max(length, 1))


async def aside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run it here where there is little to do, else on a thread, beside the event loop."""
    if size <= _INLINE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _chunk(submission_id: str, number: int) -> str:
    return f"{submission_id}/{number:04d}"


async def keep(store: Store, submission_id: str, source: Source, body: bytes, lease: Lease) -> None:
    """Make the bytes durable, and the mark that they are not answered yet: the lease on them."""
    data = await aside(len(body), _compress, body)
    parts = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)] or [b""]
    known = msgspec.structs.replace(source, length=len(body), chunks=len(parts))
    puts = [
        Put(SOURCE, submission_id, msgspec.json.encode(known), expected=None),
        lease.taken(),
        *(Put(SOURCE, _chunk(submission_id, n), part) for n, part in enumerate(parts)),
    ]
    await store.commit(Batch(puts=puts))


async def source_of(store: Store, submission_id: str) -> Source | None:
    """Return what is known of a submission's bytes."""
    raw = await store.get(SOURCE, submission_id)
    return None if raw is None else msgspec.json.decode(raw, type=Source)


async def body_of(store: Store, submission_id: str, source: Source) -> bytes:
    """Return the bytes as received (a gzip body decoded)."""
    parts = [await store.get(SOURCE, _chunk(submission_id, n)) for n in range(source.chunks)]
    data = b"".join(part for part in parts if part is not None)
    return await aside(source.length, _decompress, data, source.length)


async def forget(store: Store, submission_id: str) -> None:
    """Leave nothing of a submission that turned out to be none."""
    source = await source_of(store, submission_id)
    chunks = source.chunks if source else 0
    names = [submission_id, *(_chunk(submission_id, n) for n in range(chunks))]
    puts = [Put(PENDING, submission_id, None), *(Put(SOURCE, name, None) for name in names)]
    await store.commit(Batch(puts=puts))


async def pending(store: Store) -> AsyncIterator[tuple[str, bytes]]:
    """Return the submissions that were kept and are not answered, each with its mark."""
    start = ""
    while True:
        rows = await store.scan(PENDING, start=start, limit=_PAGE)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        start = rows[-1][0] + "\x00"
