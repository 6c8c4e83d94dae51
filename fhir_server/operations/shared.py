"""Organizations, Practitioners and Coverages that visits share: found by identifier, or made.

Each is looked up by its unique key or its identifier; a Coverage by its card and its beneficiary.
The id of a new one follows from what it is known by, so that two dossiers that make it at once
make the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha1
from typing import Any, Final
from uuid import UUID

from fhir_server.interactions.context import Context
from fhir_server.model import codec
from fhir_server.operations.person import put_entry
from fhir_server.search.expression import And, Expression, RefersTo, TokenIs
from fhir_server.search.expression import Search as Find
from fhir_server.search.extract import unique_keys
from fhir_server.store.port import Condition, Matches, Tag, Version

Resource = dict[str, Any]

LASTING: Final = UUID("5c1b37d2-6f0e-5b52-9c53-20b40d0f8a11")
"""The name space of ids that follow from what a resource is known by."""


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """What a dossier does about a resource that it shares with others.

    Attributes:
        entry: The Bundle entry that makes or completes it; None where it is as it should be.
        tag: The access tag to add where there is no entry.
    """

    resource_type: str
    resource_id: str
    entry: Resource | None = None
    conditions: tuple[Condition, ...] = ()
    tag: Tag | None = None

    @property
    def reference(self) -> str:
        """The literal reference to it."""
        return f"{self.resource_type}/{self.resource_id}"


def lasting_id(*parts: str) -> str:
    """Return the id that follows from these parts; the same parts give the same id."""
    # RFC 9562, 5.5: a name-based UUID is made of SHA-1; nothing here rests on its strength.
    digest = sha1(LASTING.bytes + "|".join(parts).encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


async def by_identifier(ctx: Context, resource: Resource, access: str) -> SharedPlan:
    """Return the Organization or Practitioner of this identifier; what is there stays as it is.

    Args:
        ctx: The Context; its store is asked.
        resource: The resource as the dossier says it; its first identifier names it.
        access: The access tag of the sender.
    """
    resource_type = resource["resourceType"]
    identifier = (resource.get("identifier") or [{}])[0]
    system, value = str(identifier.get("system", "")), str(identifier.get("value", ""))
    if unique_keys(resource):
        name = await ctx.store.holder(f"{system}|{value}")
        if name is not None:
            return SharedPlan(*name, tag=await _tag(ctx, name, access))
        new_id = lasting_id(resource_type, system, value)
        return _made(resource, new_id, await ctx.store.read(resource_type, new_id))
    where = TokenIs("identifier", system, value)
    page = await ctx.store.search(Find(((resource_type, where),), count=1))
    if page.versions:
        name = (resource_type, page.versions[0].resource_id)
        return SharedPlan(*name, tag=await _tag(ctx, name, access))
    new_id = lasting_id(resource_type, system, value)
    return _made(resource, new_id, await ctx.store.read(resource_type, new_id), where)


async def coverage(
    ctx: Context, resource: Resource, patient_id: str, access: str, *, is_new: bool
) -> SharedPlan:
    """Return the Coverage of this card and beneficiary, completed; or of no card (self-pay).

    Args:
        ctx: The Context; its store is asked.
        resource: The Coverage as the dossier says it, its references resolved.
        patient_id: The beneficiary.
        access: The access tag of the sender.
        is_new: The beneficiary is made by this dossier, and has no Coverage yet.
    """
    identifier = (resource.get("identifier") or [{}])[0]
    system, value = str(identifier.get("system", "")), str(identifier.get("value", ""))
    new_id = lasting_id("Coverage", patient_id, system, value)
    if is_new:
        return _made(resource, new_id, None)
    current = await ctx.store.read("Coverage", new_id)
    where: Expression | None = None
    if value and (current is None or current.deleted):
        where = And((
            TokenIs("identifier", system, value),
            RefersTo("beneficiary", "Patient", patient_id),
        ))
        page = await ctx.store.search(Find((("Coverage", where),), count=1))
        if page.versions:
            current = page.versions[0]
    if current is None or current.deleted:
        return _made(resource, new_id, current, where)
    stored: Resource = codec.loads_stored(current.body)
    wanted = completed(stored, resource)
    if wanted == stored:
        # Also where it is there: another commit may take it away meanwhile (`let_go`).
        tag = Tag("Coverage", current.resource_id, frozenset({access}))
        return SharedPlan("Coverage", current.resource_id, tag=tag)
    entry = put_entry("Coverage", current.resource_id, wanted, current.version_id)
    return SharedPlan("Coverage", current.resource_id, entry)


def completed(stored: Resource, said: Resource) -> Resource:
    """Return a Coverage with what a dossier says: nothing is lost, the later period stands."""
    wanted = {
        **stored,
        **{k: v for k, v in said.items() if k not in {"resourceType", "id", "meta", "identifier"}},
    }
    ends = (stored.get("period", {}).get("end"), said.get("period", {}).get("end"))
    # A dossier of last year must not shorten a card that was renewed.
    if "period" in stored and ends[0] and (not ends[1] or ends[1] < ends[0]):
        wanted["period"] = stored["period"]
    return wanted


def _made(
    resource: Resource, new_id: str, before: Version | None, where: Expression | None = None
) -> SharedPlan:
    resource_type = resource["resourceType"]
    entry = put_entry(resource_type, new_id, resource, 0)
    # Nobody else's of the same identifier may have come in between; two of ours have one id.
    conditions = () if where is None else (Matches(resource_type, where),)
    if before is not None and not before.deleted:
        entry = put_entry(resource_type, new_id, resource, before.version_id)
    return SharedPlan(resource_type, new_id, entry, conditions)


async def _tag(ctx: Context, name: tuple[str, str], access: str) -> Tag | None:
    if access in await ctx.store.tags(name):
        return None
    return Tag(*name, frozenset({access}))
