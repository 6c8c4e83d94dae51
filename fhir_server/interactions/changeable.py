"""Whether what a write names is there for the caller, at the version it says, and the caller's.

Hidden is as never used: what is not shown is refused with the words of what is not there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from fhir_server.interactions import refusals
from fhir_server.interactions.audit import is_chained
from fhir_server.interactions.audit_event import is_recorded
from fhir_server.interactions.narrow import gone, is_shown, matches_criteria, unknown
from fhir_server.model.outcome import UnknownResource

if TYPE_CHECKING:
    from fhir_server.interactions.asked import Ask
    from fhir_server.interactions.context import Context
    from fhir_server.interactions.plan import Step
    from fhir_server.store.port import Name, Version


async def require_update(ctx: Context, step: Step, current: Version) -> None:
    """Refuse an update of what is there, or a patch, unless it may be made.

    Raises:
        UnknownResource: It is not shown.
        PreconditionFailed: It is not at the version of If-Match, or If-None-Match is `*` or names
            its version.
        Forbidden: It is shown, and not the caller's to change.
    """
    if not await is_shown(ctx, current):
        refuse_absent(step.ask)
    check_if_match(step.ask, current)
    none_match = step.ask.if_none_match
    # RFC 9110, 13.1.2: of another method than GET or HEAD, a condition that is false is 412.
    if none_match == "*" or str(current.version_id) in (none_match or "").split(","):
        raise refusals.already_there(named(step.name))
    await require_changeable(ctx, step, current)


async def require_there(ctx: Context, step: Step) -> Version:
    """Return what is to be patched, shown or not: unlike an update, a patch makes no resource.

    Raises:
        UnknownResource: There never was one, or what is deleted is not shown.
        Gone: It was deleted.
        PreconditionFailed: There is none, and If-Match is said.
        Forbidden: It is an entry of the server's own audit chain.
    """
    ask, current = step.ask, step.current
    if step.name is not None and is_chained(*step.name) and await is_recorded(ctx, step.name[1]):
        raise refusals.of_the_chain(named(step.name))
    if current is None:
        refuse_absent(ask)
    if not current.deleted:
        return current
    if ask.if_match is not None or not await is_shown(ctx, current):
        refuse_absent(ask)
    raise gone(current)


def refuse_absent(ask: Ask) -> NoReturn:
    """Refuse a write of what is not there, or not shown.

    Raises:
        PreconditionFailed: If-Match is said.
        UnknownResource: It is not.
    """
    if ask.if_match is not None:
        where = f"/{ask.resource_id}" if ask.resource_id else ""
        raise refusals.not_at_version(f"{ask.resource_type}{where}")
    if ask.resource_id is None:
        raise UnknownResource(
            f"No {ask.resource_type} that may be changed matches.",
            text_vi=f"Không có {ask.resource_type} nào khớp mà được phép sửa.",
        )
    raise unknown(ask.resource_type, ask.resource_id)


def check_if_match(ask: Ask, current: Version) -> None:
    """Refuse a write whose If-Match does not name the current version.

    Raises:
        PreconditionFailed: It does not.
    """
    # 0 is `If-Match: *`, which any version satisfies.
    wanted = ask.if_match
    listed = wanted if isinstance(wanted, tuple) else (wanted,)
    if wanted not in {None, 0} and current.version_id not in listed:
        raise refusals.not_at_version(f"{current.resource_type}/{current.resource_id}")


async def require_changeable(ctx: Context, step: Step, current: Version) -> None:
    """Refuse to change what is shown to the caller and not the caller's.

    Raises:
        Forbidden: It is not.
    """
    ask = step.ask
    criteria = ctx.policy.narrow(ask.interaction, ask.resource_type)
    if criteria is None or not await matches_criteria(ctx, criteria, current):
        raise refusals.not_changeable(named(step.name))
    if ctx.principal.kind != "system":
        tags = await ctx.store.tags((current.resource_type, current.resource_id))
        if not ctx.policy.may_change(ask.resource_type, tags):
            raise refusals.not_changeable(named(step.name))


def named(name: Name | None) -> str:
    """Return a resource's name as a refusal says it."""
    return "/".join(name) if name else "The resource"
