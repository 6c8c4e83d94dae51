"""What of a file of results is shown now: what ended since it was gathered ends here too.

The caller's own rights are asked by `status`; here each resource in the file is asked of the
policy as it is at this moment, in chunks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from auth.criteria import Anything
from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.claim_needs import HIV
from fhir_server.interactions.dangling import pruned
from fhir_server.interactions.jobs.kept import unknown_job
from fhir_server.interactions.narrow import both, is_version_shown, where_shown
from fhir_server.model import codec
from fhir_server.model.sensitivity import carries_hiv, is_labelled
from fhir_server.search.expression import Ids, Search

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.interactions.jobs.record import Job
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Name, Version

_CHUNK: Final = 500
"""Resources that are asked about at once."""
_SHOWING: Final = ("read", "search-type", "update", "create")
"""Interactions that show a resource, each where the ones before are not granted: what is included
is read, and who may only write is answered what was written."""


class _Meta(msgspec.Struct, frozen=True):
    versionId: str = ""  # noqa: N815 - FHIR's name


class _Entry(msgspec.Struct, frozen=True):
    resource: _Resource | None = None


class _Resource(msgspec.Struct, frozen=True):
    """What is looked at of a resource, or of those in a Bundle."""

    resourceType: str  # noqa: N815 - FHIR's name
    id: str = ""
    meta: _Meta = _Meta()
    entry: tuple[_Entry, ...] = ()

    @property
    def name(self) -> Name:
        """Its type and id."""
        return self.resourceType, self.id


_RESOURCE: Final = msgspec.json.Decoder(_Resource)


async def still_shown(
    ctx: Context, job: Job, data: bytes, patients: tuple[str, ...]
) -> tuple[bytes, tuple[str, ...]]:
    """Return what is still shown of a file, and the Patients whom that shows.

    Of a search's resources those are left out that the caller is not shown now, or not so.

    Raises:
        UnknownResource: It is of Bundles or answers, and something in it is not shown now.
    """
    lines = data.splitlines(keepends=True)
    found = [_RESOURCE.decode(line) for line in lines]
    if job.kind == "search" and not any(one.resourceType == "Bundle" for one in found):
        return await _lines(ctx, job, list(zip(found, lines, strict=True)), patients)
    await _require_whole(ctx, job, [inner for one in found for inner in _within(one)])
    return data, patients


# A search


async def _lines(
    ctx: Context, job: Job, lines: list[tuple[_Resource, bytes]], patients: tuple[str, ...]
) -> tuple[bytes, tuple[str, ...]]:
    kept: list[bytes] = []
    shown: set[str] = set()
    is_as_gathered = True
    for at in range(0, len(lines), _CHUNK):
        chunk = lines[at : at + _CHUNK]
        asked = (job.asked.interaction, *_SHOWING)
        now = await _shown(ctx, {one.name for one, _ in chunk}, asked)
        for one, line in chunk:
            version = now.get(one.name)
            if one.resourceType == AUDIT_EVENT and _where(ctx, AUDIT_EVENT, asked) is not None:
                kept.append(line)  # it never changes, and whose it is neither
                is_as_gathered = False
            elif version is not None and not _is_masked_since(ctx, one, version):
                kept.append(line)
                shown.update(version.patients)
                is_as_gathered &= one.meta.versionId == str(version.version_id)
    if ctx.policy.masks:
        kept = await _pruned(ctx, kept)
    # What a changed one said of whom is known of the whole file only.
    return b"".join(kept), tuple(sorted(shown)) if is_as_gathered else patients


async def _pruned(ctx: Context, lines: list[bytes]) -> list[bytes]:
    """Return lines without references to what is not shown now, though it was."""
    found: list[bytes] = []
    for at in range(0, len(lines), _CHUNK):
        resources = [codec.loads(line) for line in lines[at : at + _CHUNK]]
        entries = [{"resource": one} for one in resources]
        left = await pruned(ctx, {"resourceType": "Bundle", "entry": entries})
        found += [codec.dumps(one["resource"]) + b"\n" for one in left["entry"]]
    return found


async def _shown(
    ctx: Context, names: Iterable[Name], interactions: Sequence[str]
) -> dict[Name, Version]:
    """Return the current versions of these that the first interaction that is granted shows."""
    by_type: dict[str, set[str]] = {}
    for kind, identity in names:
        by_type.setdefault(kind, set()).add(identity)
    found: dict[Name, Version] = {}
    for kind, ids in sorted(by_type.items()):
        shown = _where(ctx, kind, interactions)
        if shown is None or kind == AUDIT_EVENT:
            continue
        where = both(Ids(frozenset(ids)), shown)
        page = await ctx.store.search(
            Search(((kind, where),), count=len(ids), base_url=ctx.base_url, known=ctx.known)
        )
        found |= {(kind, version.resource_id): version for version in page.versions}
    return found


def _where(ctx: Context, kind: str, interactions: Sequence[str]) -> Expression | None:
    shown = (where_shown(ctx, interaction, kind) for interaction in interactions)
    return next((one for one in shown if one is not None), None)


def _is_masked_since(ctx: Context, one: _Resource, version: Version) -> bool:
    """Return whether what was gathered may say what a mask hides of what the resource is now."""
    if HIV not in ctx.policy.masks or one.meta.versionId == str(version.version_id):
        return False
    now = codec.loads_stored(version.body)
    return is_labelled(now) or carries_hiv(now)


# Bundles and answers


def _within(one: _Resource) -> Iterator[_Resource]:
    """Give a resource, or those in a Bundle and its Bundles."""
    if one.resourceType != "Bundle":
        yield one
    for entry in one.entry:
        if entry.resource is not None:
            yield from _within(entry.resource)


async def _require_whole(ctx: Context, job: Job, found: Iterable[_Resource]) -> None:
    """Refuse what names a resource that is not shown now, or not so.

    What was made for the answer, and is no resource that is kept, is no one's to hide.
    """
    stored = [one for one in found if one.id and one.resourceType != AUDIT_EVENT]
    for at in range(0, len(stored), _CHUNK):
        chunk = stored[at : at + _CHUNK]
        names = sorted({one.name for one in chunk})
        versions = await ctx.store.read_many(names)
        current = {
            name: version
            for name, version in zip(names, versions, strict=True)
            if version is not None
        }
        if job.kind == "history":
            await _require_history(ctx, job, chunk, current)
        else:
            await _require_answer(ctx, chunk, current)


async def _require_history(
    ctx: Context, job: Job, chunk: Iterable[_Resource], current: dict[Name, Version]
) -> None:
    interaction = job.asked.interaction
    for one in chunk:
        now = current.get(one.name)
        criteria = ctx.policy.narrow(interaction, one.resourceType)
        if now is None or criteria is None:
            raise unknown_job()
        if criteria != Anything():
            version = await _version(ctx, one, now)
            if version is None or not await is_version_shown(ctx, version, now, interaction):
                raise unknown_job()
        if not now.deleted and _is_masked_since(ctx, one, now):
            raise unknown_job()


async def _version(ctx: Context, one: _Resource, now: Version) -> Version | None:
    number = one.meta.versionId
    if number == str(now.version_id):
        return now
    if not (number.isascii() and number.isdecimal()):
        return None
    return await ctx.store.vread(one.resourceType, one.id, int(number))


async def _require_answer(
    ctx: Context, chunk: Iterable[_Resource], current: dict[Name, Version]
) -> None:
    shown = await _shown(ctx, current, _SHOWING)
    for one in chunk:
        if one.name in current and (
            one.name not in shown or _is_masked_since(ctx, one, shown[one.name])
        ):
            raise unknown_job()
