"""Whether what is to be written is the caller's to write, together with all else that is written.

Contract, section 6. What the content alone says is asked of the policy (`auth.writes`); here is
what depends on other resources, as they are or as the same request makes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from auth.criteria import AnyOf, Anything, Matching, Tagged
from auth.facility import SHARED, describes_another
from auth.needs import numbers
from auth.writes import COMPARTMENT
from fhir_server.interactions.asked import at
from fhir_server.interactions.condition import criteria_of
from fhir_server.interactions.narrow import both, expression_of, matches_criteria
from fhir_server.model import codec
from fhir_server.model.identifiers import BHYT, PAYER
from fhir_server.model.outcome import Conflict, Duplicate, Forbidden
from fhir_server.search import expression as ex
from fhir_server.search.expression import Search
from fhir_server.search.match import matches
from fhir_server.search.values import TokenValue
from fhir_server.store.port import Matches, Unreferenced, Write

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from auth.criteria import Criteria
    from auth.needs import Needs
    from fhir_server.interactions.context import Context, Resource
    from fhir_server.interactions.plan import Step
    from fhir_server.search.parameters import Known
    from fhir_server.store.port import Condition, Name

_ONLY_ONE: Final = {"Coverage": BHYT, "Organization": PAYER}
"""Identifiers that no store holds unique, and of which a facility makes no second one."""

_NAMING: Final = tuple(sorted(COMPARTMENT - {"Patient"}))
_HELD: Final = ("Coverage", "Encounter")
"""Types that a record of a Patient begins with: they are looked at again in the commit."""

_MOST_NAMING: Final = 10_000
"""A visit that more resources name is not given to another Patient."""


async def check_written(ctx: Context, steps: Sequence[Step]) -> list[Condition]:
    """Return what must still hold in the commit for all this to be the caller's to write.

    Raises:
        Forbidden: It is not.
        Duplicate: It would be made a second time.
    """
    if ctx.principal.kind == "system":
        return []
    made = {step.name: step.write for step in steps if step.write is not None}
    conditions: list[Condition] = []
    brought: set[tuple[str, ex.TokenIs]] = set()
    for step in steps:
        if step.ask.method == "DELETE" or step.is_settled:
            continue
        with at(step.ask.place):
            before = _before(ctx, step)
            for needs in _needs(ctx, step, before):
                if not await _is_met(ctx, needs, made):
                    raise Forbidden(
                        "What the resource refers to is not this client's own.",
                        text_vi="Tài nguyên tham chiếu đến dữ liệu không phải của ứng dụng này.",
                    )
            if ctx.policy.shares and step.write is not None and step.ask.resource_type in SHARED:
                conditions += await _shared(ctx, step, step.write, before, brought)
            if step.write is not None and step.ask.resource_type == "Encounter":
                conditions += await _moved_whole(ctx, step, step.write, made)
    return conditions


def _before(ctx: Context, step: Step) -> Resource | None:
    current = step.current
    if current is None or current.deleted or ctx.policy.chooses_ids:
        return None
    resource: Resource = codec.loads_stored(current.body)
    return resource


def _needs(ctx: Context, step: Step, before: Resource | None) -> tuple[Needs, ...]:
    resource = (step.ask.resource or {}) | {"id": step.name[1] if step.name else ""}
    is_new = step.status == 201  # noqa: PLR2004 - HTTP's Created
    return ctx.policy.check_write(
        "create" if is_new else step.ask.interaction,
        resource,
        conditional=step.ask.condition is not None,
        before=before,
        base_url=ctx.base_url,
    )


async def _is_met(ctx: Context, needs: Needs, made: Mapping[Name | None, Write]) -> bool:
    write = made.get(needs.name)
    if write is not None:
        # What the same request makes of it counts, not what it was.
        return _would_match(needs.criteria, write)
    (version,) = await ctx.store.read_many([needs.name])
    return (
        version is not None
        and not version.deleted
        and await matches_criteria(ctx, needs.criteria, version)
    )


def _would_match(criteria: Criteria, write: Write) -> bool:
    match criteria:
        case Anything():
            return True
        case Tagged(tag):
            return tag in write.tags
        case Matching():
            where = expression_of(criteria, write.resource_type)
            return _says(where, write)
        case AnyOf(parts):
            return any(_would_match(part, write) for part in parts)
        case _:
            return False


def _says(where: ex.Expression, write: Write) -> bool:
    name = (write.resource_type, write.resource_id)
    return matches(where, name, write.last_updated, write.index, write.tags, _no_target)


def _no_target(*_: object) -> tuple[()]:
    """Say that nothing is known of what a resource that is still to be made refers to."""
    return ()


async def _moved_whole(
    ctx: Context, step: Step, write: Write, made: Mapping[Name | None, Write]
) -> list[Condition]:
    """Refuse to give a visit to another Patient while what belongs to it stays the former's."""
    current = step.current
    of = set(write.index.patients)
    if current is None or current.deleted or of == set(current.patients):
        return []
    visit = (write.resource_type, write.resource_id)
    names = set(await ctx.store.referrers(visit, limit=_MOST_NAMING + 1))
    left = await ctx.store.read_many(sorted(names - made.keys()))
    # What the same request makes of it is asked, as all that is made, whose its visit is.
    staying = [set(one.patients) for one in left if one is not None and not one.deleted]
    if len(names) > _MOST_NAMING or any(not patients <= of for patients in staying):
        raise Conflict(
            "What belongs to the visit is of another Patient: change it in the same transaction.",
            text_vi="Dữ liệu của lần khám vẫn thuộc người bệnh khác: hãy sửa cùng một giao dịch.",
        )
    mine = {name for name in made if name is not None}
    return [Unreferenced(*visit, but_for=frozenset(names | mine))]


# What others need too


async def _shared(
    ctx: Context,
    step: Step,
    write: Write,
    before: Resource | None,
    brought: set[tuple[str, ex.TokenIs]],
) -> list[Condition]:
    condition = step.ask.condition
    if (
        condition is not None
        and before is None
        and not _names_itself(write, condition, ctx.searched)
    ):
        raise Forbidden(
            "The condition must be on an identifier that the resource has.",
            text_vi="Điều kiện phải là một định danh mà tài nguyên có.",
        )
    conditions: list[Condition] = []
    for where in _new_numbers(write, before):
        if (write.resource_type, where) in brought:
            raise _duplicate(where)
        brought.add((write.resource_type, where))
        conditions.append(await _only_one(ctx, write, where))
    patient: dict[str, Any] = step.ask.resource or {}
    if write.resource_type == "Patient" and before and describes_another(patient, before):
        conditions += await _named_by_no_other(ctx, write.resource_id)
    return conditions


def _names_itself(write: Write, condition: str, known: Known) -> bool:
    """Return whether the condition asks for an identifier, with its system, of the resource."""
    where = criteria_of(write.resource_type, condition, known=known)
    parts = where.operands if isinstance(where, ex.And) else (where,)
    return any(
        isinstance(part, ex.TokenIs)
        and part.param == "identifier"
        and bool(part.system and part.code)
        and _says(part, write)
        for part in parts
    )


def _new_numbers(write: Write, before: Resource | None) -> Iterator[ex.TokenIs]:
    system = _ONLY_ONE.get(write.resource_type)
    if system is None or numbers(before, system):
        # Numbers that it has are not changed by a facility.
        return
    for value in dict.fromkeys(write.index.values):
        if isinstance(value, TokenValue) and (value.param, value.system) == ("identifier", system):
            yield ex.TokenIs("identifier", system, value.code)


async def _only_one(ctx: Context, write: Write, where: ex.TokenIs) -> Matches:
    page = await ctx.store.search(Search(((write.resource_type, where),), count=1))
    if page.versions:
        raise _duplicate(where)
    return Matches(write.resource_type, where)


def _duplicate(where: ex.TokenIs) -> Duplicate:
    return Duplicate(
        f"Another resource holds the identifier of {where.system} that this one has.",
        text_vi=f"Một tài nguyên khác đã có định danh {where.system} này.",
    )


async def _named_by_no_other(ctx: Context, patient_id: str) -> list[Matches]:
    """Let a facility correct who a Patient is only while nobody else's record speaks of it."""
    where = both(ex.InPatient(frozenset({patient_id})), ex.Not(ex.Tagged(ctx.principal.tag)))
    page = await ctx.store.search(Search(tuple((kind, where) for kind in _NAMING), count=1))
    if page.versions:
        raise Forbidden(
            "Others' records are of this Patient: who it is, is not changed by this client.",
            text_vi="Bệnh nhân này có dữ liệu của cơ sở khác: không được sửa danh tính.",
        )
    return [Matches(kind, where) for kind in _HELD]
