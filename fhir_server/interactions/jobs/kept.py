"""A job in the ledger: its bytes kept in bounded records, read again, and removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec
import zstandard

from fhir_server.interactions.jobs.record import (
    BODY,
    CHUNK,
    DATA,
    FILE,
    JOB,
    KEPT,
    PART,
    PENDING,
    SHOWN,
    SLOT,
    WRITTEN,
    File,
    Job,
    decode_file,
    decode_job,
    encode,
    numbered,
    parts_of,
    put,
)
from fhir_server.model.outcome import UnknownResource
from fhir_server.store.port import Batch, Put, RecordChanged, Store

if TYPE_CHECKING:
    from collections.abc import Iterable

_INLINE: Final = 256 * 1024
"""Bytes up to which they are compressed at once; more of them beside the event loop."""
_LEVEL: Final = 3
_PAGE: Final = 100
_FEW: Final = 20
_PATIENTS: Final = msgspec.json.Decoder(tuple[str, ...])


def unknown_job() -> UnknownResource:
    """Return the refusal of a job that is not there, has ended, or is another's."""
    return UnknownResource(
        "There is no such asynchronous request, or it has ended.",
        text_vi="Không có yêu cầu bất đồng bộ này, hoặc yêu cầu đã kết thúc.",
    )


async def packed(data: bytes) -> bytes:
    """Return the bytes compressed."""
    return await asyncio.to_thread(_packed, data) if len(data) > _INLINE else _packed(data)


async def unpacked(data: bytes, length: int) -> bytes:
    """Return the bytes that were compressed, which are so many."""
    if length > _INLINE:
        return await asyncio.to_thread(_unpacked, data, length)
    return _unpacked(data, length)


def _packed(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(level=_LEVEL).compress(data)


def _unpacked(data: bytes, length: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=max(length, 1))


def chunks_of(data: bytes) -> list[bytes]:
    """Return the bytes in parts that a record may hold; at least one."""
    return [data[at : at + CHUNK] for at in range(0, len(data), CHUNK)] or [b""]


async def job_of(store: Store, job_id: str, now: int) -> tuple[bytes, Job]:
    """Return a job that has not ended, as it is kept and read.

    Raises:
        UnknownResource: There is none.
    """
    raw = await store.get(JOB, job_id, now=now)
    if raw is None:
        raise unknown_job()
    return raw, decode_job(raw)


async def body_of(store: Store, job_id: str, job: Job) -> bytes:
    """Return the body that came with a job; b"" where none did."""
    return await _joined(store, BODY, [numbered(job_id, n) for n in range(job.body)], job.length)


async def file_of(store: Store, job_id: str, number: int) -> tuple[File, bytes, tuple[str, ...]]:
    """Return what one output URL gives, its bytes, and the ids of the Patients whom it shows.

    Raises:
        UnknownResource: There is none of this number.
    """
    key = numbered(job_id, number)
    raw, shown = await store.get(FILE, key), await store.get(SHOWN, key)
    if raw is None or shown is None:
        raise unknown_job()
    file = decode_file(raw)
    keys = [numbered(job_id, number, n) for n in range(file.chunks)]
    return file, await _joined(store, DATA, keys, file.size), _PATIENTS.decode(shown)


async def _joined(store: Store, bucket: str, keys: list[str], length: int) -> bytes:
    parts = [await store.get(bucket, key) for key in keys]
    if not parts:
        return b""
    if None in parts:
        raise unknown_job()  # it was removed meanwhile
    return await unpacked(b"".join(part or b"" for part in parts), length)


async def files_of(store: Store, job_id: str) -> list[tuple[int, File]]:
    """Return all that a job gives, in the order in which it was gathered."""
    found: list[tuple[int, File]] = []
    last = ""
    while rows := await parts_of(store, FILE, job_id, after=last, limit=_PAGE):
        found += [(int(key.rpartition("/")[2]), decode_file(raw)) for key, raw in rows]
        last = rows[-1][0]
    return found


async def file_puts(
    job_id: str, job: Job, file: File, data: bytes, patients: Iterable[str]
) -> list[Put]:
    """Return the records of a file that becomes the job's next one."""
    parts = chunks_of(await packed(data))
    known = File(file.type, file.count, len(data), len(parts), error=file.error)
    key = numbered(job_id, job.files)
    return [
        put(FILE, key, encode(known), job),
        put(SHOWN, key, msgspec.json.encode(sorted(patients)), job),
        *(put(DATA, numbered(job_id, job.files, n), part, job) for n, part in enumerate(parts)),
    ]


def released(job_id: str, job: Job) -> list[Put]:
    """Return what goes with the end of the work: its slot, its body, what it wrote."""
    names = [numbered(job_id, number) for number in range(job.body)]
    return [
        Put(PENDING, job_id, None),
        Put(SLOT, numbered(job.owner, job.slot), None),
        Put(WRITTEN, job_id, None),
        *(Put(BODY, name, None) for name in names),
    ]


async def remove(store: Store, job_id: str, raw: bytes, job: Job) -> bool:
    """Leave nothing of a job; False where it has changed since it was read.

    Whoever is at work on it commits nothing more.
    """
    puts = released(job_id, job) if job.state == "open" else []
    puts += [Put(JOB, job_id, None, expected=raw), Put(KEPT, f"{job.owner}/{job_id}", None)]
    try:
        await store.commit(Batch(puts=puts))
    except RecordChanged:
        return False
    while rows := await parts_of(store, FILE, job_id, limit=_FEW):
        gone = [Put(bucket, key, None) for key, _ in rows for bucket in (FILE, SHOWN)]
        for key, record in rows:
            number = int(key.rpartition("/")[2])
            chunks = decode_file(record).chunks
            gone += [Put(DATA, numbered(job_id, number, n), None) for n in range(chunks)]
        await store.commit(Batch(puts=gone))
    while rows := await parts_of(store, PART, job_id, limit=_FEW):
        await store.commit(Batch(puts=[Put(PART, key, None) for key, _ in rows]))
    return True
