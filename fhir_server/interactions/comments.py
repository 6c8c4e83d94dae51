"""XML comments: kept beside the version that they came with, and shown with the whole of it.

https://hl7.org/fhir/R4/xml.html; the JSON of R4 has none, and nothing but an answer in XML asks for
them: no search, no invariant, no path and no mask ever meets one. A comment may say anything of the
element that it stands at, so it is shown only beside content that is byte by byte what was stored:
where a part was asked for, or anything is hidden from the caller, there are none.

They are records of the ledger, made in the commit of their version and never changed.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakSet

import msgspec

from fhir_server.interactions.stamp import ASSIGNED
from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Issue, TooCostly
from fhir_server.store.port import Put

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fhir_server.interactions.context import Context, FhirResult, Resource
    from fhir_server.model.comments import Comments
    from fhir_server.store.port import Store, Version, Write

BUCKET: Final = "comment"
"""The ledger's bucket; a key is `Type/id/version`."""

MOST_KEPT: Final = 10_000_000
"""Bytes of comments that one version may have, about: each XML Patch may add some, and each version
holds them all again."""

MOST_SHOWN: Final = 100_000_000
"""Bytes of comments that one answer may hold, about."""

_AT_ONCE: Final = 100
_DONE: Final = frozenset({"transaction-response", "batch-response"})
_OURS: Final = _DONE | {"searchset", "history"}
"""Types of the Bundles that the server makes of stored versions."""


class _Kept(msgspec.Struct, frozen=True, array_like=True):
    """The digest of the version's body, and its comments."""

    digest: bytes
    comments: dict[str, Any]


_ENCODE: Final = msgspec.msgpack.Encoder().encode
_DECODE: Final = msgspec.msgpack.Decoder(_Kept).decode

_with_some: WeakSet[Store] = WeakSet()
"""Stores of which it is known that they hold comments: none is ever taken away."""


def kept(write: Write, comments: Comments) -> Put:
    """Return the record of the comments that a version came with.

    Raises:
        Invalid: They are more than a version may have.
    """
    value = _ENCODE(_Kept(_digest(write.body), comments))
    if len(value) > MOST_KEPT:
        most = MOST_KEPT // 1_000_000
        raise Invalid([
            Issue(
                "too-long",
                f"A resource may have at most {most} MB of XML comments.",
                text_vi=f"Một tài nguyên có tối đa {most} MB chú thích XML.",
                expression=(write.resource_type,),
            )
        ])
    return Put(BUCKET, _key(write.resource_type, write.resource_id, write.version_id), value)


async def are_same(store: Store, version: Version, comments: Comments | None) -> bool:
    """Return whether a version has these comments; what is no XML says nothing of any."""
    if comments is None:
        return True
    raw = await store.get(BUCKET, _key_of(version))
    return comments == ({} if raw is None else _DECODE(raw).comments)


async def of(store: Store, version: Version) -> Comments:
    """Return the comments that a version came with."""
    if not await _has_some(store):
        return {}
    return _comments(await store.get(BUCKET, _key_of(version)), version.body)


def left(comments: Comments, version: Version, made: Resource) -> Comments:
    """Return those of a version that stay where another is made of it (`model.comments.left`).

    What the server assigns at each write is no change.
    """
    stored: Resource = codec.loads_stored(version.body)
    meta = made["meta"] | {name: stored["meta"][name] for name in ASSIGNED}
    return codec.comments_left(comments, stored, made | {"meta": meta})


async def commented(ctx: Context, result: FhirResult) -> FhirResult:
    """Return a result that goes out as XML, with the comments of the versions shown in it.

    Raises:
        TooCostly: There are more of them than one answer may hold; of a Bundle that was done they
            are left out then.
    """
    if result.hidden or ctx.policy.masks or not await _has_some(ctx.store):
        return result
    version = result.version
    if version is not None:
        if result.body is not None or not version.body:
            return result  # a part of it
        raw = await ctx.store.get(BUCKET, _key_of(version))
        found = _comments(raw, version.body)
        return replace(result, xml=(codec.loads_stored(version.body), found)) if found else result
    if result.body is None:
        return result
    answer = codec.loads_stored(result.body)
    all_found = await _of(ctx.store, answer)
    if all_found is not None:
        return replace(result, xml=(answer, all_found))
    if answer.get("type") in _DONE:
        return result  # what is committed is answered
    raise TooCostly(
        f"The comments of what is asked for are more than {MOST_SHOWN // 1_000_000} MB: "
        "ask for less at once, or for JSON.",
        text_vi="Chú thích của dữ liệu được hỏi lớn hơn "
        f"{MOST_SHOWN // 1_000_000} MB: hãy hỏi ít hơn mỗi lần, hoặc hỏi JSON.",
    )


async def _has_some(store: Store) -> bool:
    if store not in _with_some:
        if not await store.scan(BUCKET, limit=1):
            return False
        _with_some.add(store)
    return True


async def _of(store: Store, answer: Resource) -> Comments | None:
    """Return the comments of the stored versions in an answer at their places; None: too many."""
    comments: Comments = {}
    size = 0
    shown = list(_versions_in(answer, ()))
    for first in range(0, len(shown), _AT_ONCE):
        some = shown[first : first + _AT_ONCE]
        keys = [_key(one["resourceType"], one["id"], one["meta"]["versionId"]) for _, one in some]
        raws = await asyncio.gather(*(store.get(BUCKET, key) for key in keys))
        size += sum(len(raw) for raw in raws if raw)
        if size > MOST_SHOWN:
            return None
        for (path, resource), raw in zip(some, raws, strict=True):
            if raw is not None and (found := _comments(raw, codec.dumps(resource))):
                _put(comments, path, found)
    return comments


def _versions_in(
    resource: Resource, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Give the stored versions in an answer, each with the path of the element that holds it.

    A stored Bundle is one of them: what its entries hold is its own content, whoever wrote it.
    """
    meta = resource.get("meta")
    if isinstance(meta, dict) and "versionId" in meta and "id" in resource:
        yield path, resource
    elif resource.get("resourceType") == "Bundle" and resource.get("type") in _OURS:
        for number, entry in enumerate(resource.get("entry", ())):
            if "resource" in entry:
                inner = (*path, "Bundle[0]", f"entry[{number}]", "resource[0]")
                yield from _versions_in(entry["resource"], inner)


def _put(comments: Comments, path: tuple[str, ...], found: Comments) -> None:
    for name in path:
        comments = comments.setdefault(name, {})
    comments.update(found)


def _comments(raw: bytes | None, shown: bytes) -> Comments:
    """Return the comments of a record whose version is shown as it was stored; else none."""
    if raw is None:
        return {}
    record = _DECODE(raw)
    return record.comments if record.digest == _digest(shown) else {}


def _digest(body: bytes) -> bytes:
    return sha256(body).digest()


def _key_of(version: Version) -> str:
    return _key(version.resource_type, version.resource_id, version.version_id)


def _key(resource_type: str, resource_id: str, version_id: object) -> str:
    return f"{resource_type}/{resource_id}/{version_id}"
