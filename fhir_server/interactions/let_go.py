"""What a facility no longer sees once its last visit of a Patient is another's.

Contract, section 6: a facility reads the Patient that its visits name. A visit that was sent under
a wrong number and is corrected names another: the grant ends with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_server.search.expression import And, InPatient, RefersTo, Search, Tagged
from fhir_server.store.port import Condition, Matches, Tag

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.interactions.plan import Step

_CARDS: Final = 100


async def let_go(
    ctx: Context, patient_id: str, access: str, encounter_id: str
) -> tuple[list[Tag], list[Condition]]:
    """Return what takes a Patient and its cards away from a facility, and what must hold for that.

    Args:
        ctx: The Context; its store is asked.
        patient_id: The Patient that an Encounter is no longer of.
        access: The facility's access tag.
        encounter_id: That Encounter.
    """
    visits = And((InPatient(frozenset({patient_id})), Tagged(access)))
    page = await ctx.store.search(Search((("Encounter", visits),), count=2))
    ids = frozenset(version.resource_id for version in page.versions)
    if ids - {encounter_id}:
        return [], []
    cards = And((RefersTo("beneficiary", "Patient", patient_id), Tagged(access)))
    found = await ctx.store.search(Search((("Coverage", cards),), count=_CARDS))
    names = [("Coverage", version.resource_id) for version in found.versions]
    # A visit may have named a Patient that never was: there is nothing to take away.
    if await ctx.store.read("Patient", patient_id) is not None:
        names.insert(0, ("Patient", patient_id))
    tags = [Tag(*name, without=frozenset({access})) for name in names]
    # Another visit of it that comes meanwhile keeps the grant.
    return tags, [Matches("Encounter", visits, ids)]


async def moved(ctx: Context, steps: Sequence[Step]) -> tuple[list[Tag], list[Condition]]:
    """Return the same for Encounters that a facility itself gives to another Patient.

    A Patient of which nobody else wrote anything stays the facility's.
    """
    tags: list[Tag] = []
    conditions: list[Condition] = []
    if not ctx.policy.shares:
        return tags, conditions
    for step in steps:
        current, write = step.current, step.write
        if write is None or current is None or write.resource_type != "Encounter":
            continue
        for patient_id in sorted(set(current.patients) - set(write.index.patients)):
            if ctx.policy.may_change("Patient", await ctx.store.tags(("Patient", patient_id))):
                continue
            gone = await let_go(ctx, patient_id, ctx.principal.tag, write.resource_id)
            tags += gone[0]
            conditions += gone[1]
    return tags, conditions
