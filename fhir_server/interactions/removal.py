"""Deletions of one request, and what they take with them where the client asks for that.

https://hl7.org/fhir/R4/http.html#delete
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.narrow import is_shown, matches_criteria
from fhir_server.interactions.stamp import moment_of
from fhir_server.model.outcome import Conflict, Forbidden, TooCostly
from fhir_server.store.port import Name, Unreferenced, Version, Write

if TYPE_CHECKING:
    from fhir_server.interactions.asked import Ask
    from fhir_server.interactions.context import Context

MOST_CASCADED: Final = 10_000


@dataclass(slots=True)
class Removals:
    """The current versions that are to be deleted, by name.

    Attributes:
        places: For each, FHIRPath of the Bundle entry that asks for it; "" outside a Bundle.
    """

    versions: dict[Name, Version] = field(default_factory=dict)
    places: dict[Name, str] = field(default_factory=dict)

    async def add(self, ctx: Context, version: Version, ask: Ask) -> None:
        """Mark a shown resource for deletion and, if asked, what refers to it.

        Raises:
            Forbidden: The caller may see it and may not delete it.
            Conflict: It is referred to by what the caller may not delete.
        """
        if not await _is_deletable(ctx, version):
            name = f"{version.resource_type}/{version.resource_id}"
            raise Forbidden(
                f"{name} may not be deleted by this client.",
                text_vi=f"Ứng dụng này không được xóa {name}.",
            )
        self._mark(version, ask)
        if ask.cascade:
            await self._cascade(ctx, version, ask)

    def _mark(self, version: Version, ask: Ask) -> None:
        name = (version.resource_type, version.resource_id)
        self.versions[name] = version
        self.places[name] = ask.place

    async def _cascade(self, ctx: Context, first: Version, ask: Ask) -> None:
        waiting = [first]
        while waiting:
            version = waiting.pop()
            for referrer in await _referrers(ctx, version):
                name = (referrer.resource_type, referrer.resource_id)
                if name in self.versions:
                    continue
                if len(self.versions) >= MOST_CASCADED:
                    raise TooCostly(f"More than {MOST_CASCADED} resources would be deleted.")
                if not (await is_shown(ctx, referrer) and await _is_deletable(ctx, referrer)):
                    raise still_referenced((version.resource_type, version.resource_id))
                self._mark(referrer, ask)
                waiting.append(referrer)

    def conditions(self) -> list[Unreferenced]:
        """Return the preconditions that nothing that stays refers to what goes."""
        names = frozenset(self.versions)
        return [Unreferenced(*name, but_for=names) for name in self.versions]

    def writes(self, ctx: Context, tags: frozenset[str]) -> list[Write]:
        """Return the deletions."""
        now = ctx.now()
        return [
            Write(
                *name,
                version.version_id + 1,
                moment_of(now, after=version.last_updated),
                b"",
                "DELETE",
                tags=tags,
            )
            for name, version in self.versions.items()
        ]

    def patients(self) -> set[str]:
        """Return the ids of the Patients concerned."""
        return {patient for version in self.versions.values() for patient in version.patients}


def still_referenced(name: Name) -> Conflict:
    """Return the refusal to delete what something refers to."""
    return Conflict(
        f"{name[0]}/{name[1]} is referred to by another resource.",
        text_vi=f"Một tài nguyên khác đang tham chiếu đến {name[0]}/{name[1]}.",
    )


async def _is_deletable(ctx: Context, version: Version) -> bool:
    criteria = ctx.policy.narrow("delete", version.resource_type)
    return criteria is not None and await matches_criteria(ctx, criteria, version)


async def _referrers(ctx: Context, version: Version) -> list[Version]:
    name = (version.resource_type, version.resource_id)
    names = await ctx.store.referrers(name, limit=MOST_CASCADED + 1)
    versions = await ctx.store.read_many(names)
    return [one for one in versions if one is not None and not one.deleted]
