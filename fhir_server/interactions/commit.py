"""Plan, commit, and plan again where another was faster: no lost update, no duplicate.

Every precondition is checked by the store in the step that writes (`store.port`).
"""

from __future__ import annotations

import asyncio
import random
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from fhir_server.interactions.asked import Ask, placed
from fhir_server.interactions.context import Superseded
from fhir_server.interactions.linking import Links
from fhir_server.interactions.own_parameters import BUCKET as OWN_PARAMETERS
from fhir_server.interactions.plan import Plan
from fhir_server.interactions.removal import still_referenced
from fhir_server.model.outcome import Conflict, Duplicate, FhirError
from fhir_server.store.port import (
    Batch,
    ConditionChanged,
    IndexedOtherwise,
    KeyHeld,
    RecordChanged,
    Referenced,
    VersionConflict,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fhir_server.interactions.context import Context
    from fhir_server.store.port import Condition, Name, Put, Store, Tag

ATTEMPTS: Final = 24
_LONGEST_WAIT: Final = 0.2


async def write(
    ctx: Context,
    asks: Sequence[Ask] | Links,
    *,
    puts: Sequence[Put] = (),
    conditions: Sequence[Condition] = (),
    tag_all: frozenset[str] = frozenset(),
    tags: Sequence[Tag] = (),
    audit: bool = True,
    check: Callable[[Plan], Awaitable[None]] | None = None,
) -> Plan:
    """Make all that is asked for in one commit, or nothing of it.

    Args:
        ctx: Whose policy, clock and store count.
        asks: What is asked for, in the order in which it is done; `Links.settled` of it where
            every reference says already what it means.
        puts: Ledger records that go into the same commit, even where no resource changes.
        conditions: Conditions of the caller's own; where one fails, it comes out at once.
        tag_all: Access tags for every resource that is written or found.
        tags: Access tags for resources that are not asked for here.
        audit: Whether the request's audit record goes into the same commit.
        check: Asked of each plan before it is committed; raises to refuse it.

    Raises:
        Conflict: Others were faster each time, or what would be deleted is referred to.
        Duplicate: Another resource holds an identifier that only one may hold.
        CommitRefused: A condition or ledger record of the caller's own does not hold.
        Superseded: The job that this is a step of is no longer as it was read.
    """
    links = asks if isinstance(asks, Links) else Links.of(tuple(asks))
    held: KeyHeld | None = None
    turn: asyncio.Lock | nullcontext[None] = nullcontext()
    for attempt in range(ATTEMPTS):
        try:
            async with turn:
                plan = await Plan(ctx, links, tag_all, ctx.known).make()
                if check is not None:
                    await check(plan)
                batch = _batch(plan, Extras(puts, conditions, tags, audit))
                if batch is None:
                    return plan
                is_made = await _is_made(ctx, plan, batch)
        except VersionConflict as refusal:
            turn = _turn_of(ctx.store, refusal.name)
        except ConditionChanged:
            if conditions:
                raise
        except KeyHeld as refusal:
            if (held is not None and held.key == refusal.key) or not plan.conditions:
                raise _duplicate(plan, refusal) from refusal
            held = refusal
        except Referenced as refusal:
            place = plan.removals.places.get(refusal.name, "")
            raise _standing_at(still_referenced(refusal.name), place) from refusal
        else:
            if not is_made:
                continue
            ctx.trail.written = ctx.trail.written or bool(batch.audit)
            return plan
        await asyncio.sleep(random.random() * min(0.001 * 2**attempt, _LONGEST_WAIT))
    raise Conflict(
        "Others changed the same resources at the same time; please try again.",
        text_vi="Người khác vừa thay đổi cùng dữ liệu này; hãy thử lại.",
    )


async def _is_made(ctx: Context, plan: Plan, batch: Batch) -> bool:
    """Commit; return False where other search parameters than the plan's are there by now."""
    fence = ctx.fence
    try:
        await ctx.store.commit(batch if fence is None else fence.around(batch, plan))
    except IndexedOtherwise:
        await ctx.registry.look()
        return False
    except RecordChanged as refusal:
        if fence is not None and refusal.bucket == fence.bucket:
            raise Superseded from refusal
        if refusal.bucket != OWN_PARAMETERS:
            raise
        await ctx.registry.look()
        return False
    if fence is not None:
        fence.is_made = True
    if plan.puts:
        await ctx.registry.look()
    return True


_turns: WeakValueDictionary[tuple[int, Name], asyncio.Lock] = WeakValueDictionary()
"""Who tries again to write a resource waits here for the others who do; other processes do not."""


def _turn_of(store: Store, name: Name) -> asyncio.Lock:
    """Return what one attempt at a resource holds; nobody holds two, so none waits for ever."""
    return _turns.setdefault((id(store), name), asyncio.Lock())


@dataclass(frozen=True, slots=True)
class Extras:
    """What goes into the commit besides the resources asked for."""

    puts: Sequence[Put]
    conditions: Sequence[Condition]
    tags: Sequence[Tag]
    audit: bool


def _batch(plan: Plan, extras: Extras) -> Batch | None:
    writes = plan.writes()
    if not (writes or plan.tags or extras.tags or extras.puts):
        return None
    trail = plan.ctx.trail
    return Batch(
        writes=writes,
        tags=(*plan.tags, *extras.tags),
        conditions=(*plan.conditions, *plan.removals.conditions(), *extras.conditions),
        puts=(*plan.puts, *plan.comments, *extras.puts),
        audit=(trail.draft(plan.patients()),) if extras.audit and trail.draft else (),
        indexed=plan.known.generation,
    )


def _duplicate(plan: Plan, refusal: KeyHeld) -> FhirError:
    system = refusal.key.rpartition("|")[0].partition("|")[0]
    error = Duplicate(
        f"Another resource holds the identifier of {system} that this one has.",
        text_vi=f"Một tài nguyên khác đã có định danh {system} này.",
    )
    step = plan.step_holding(refusal.key, but_for=refusal.holder)
    return _standing_at(error, step.ask.place if step else "")


def _standing_at(error: FhirError, place: str) -> FhirError:
    """Return a refusal that names its Bundle entry."""
    if place:
        error.issues = tuple(placed(issue, place) for issue in error.issues)
    return error
