"""The history of a resource, of a type, of all.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from auth.criteria import Anything
from fhir_server.interactions.answer import dumps, history_entry, links
from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.audit_event import recorded_version
from fhir_server.interactions.context import Context, FhirRequest, FhirResult
from fhir_server.interactions.history_among import LIST, TYPE, Among, among, check_among
from fhir_server.interactions.narrow import is_shown, is_version_shown, unknown
from fhir_server.interactions.subset import part_of
from fhir_server.model import bundle
from fhir_server.model.outcome import InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import date_range
from fhir_server.search.paging import Around
from fhir_server.search.query import DEFAULT_COUNT, MAX_COUNT
from fhir_server.store.port import Page

if TYPE_CHECKING:
    from fhir_server.store.port import Name, Version

_PASSED: Final = frozenset({"_format", "_pretty"})
_KNOWN: Final = frozenset({"_count", "_since", "_at", "_cursor", "_summary", LIST, TYPE}) | _PASSED
_SEVERAL: Final = frozenset({"_elements"})
_MOST_PAGES: Final = 50


async def history_instance(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the versions of one resource, newest first.

    Raises:
        UnknownResource: There never was one, or it is not shown to the caller.
    """
    kind, identity = request.resource_type or "", request.resource_id or ""
    if kind == AUDIT_EVENT:
        chained = await recorded_version(ctx, "history-instance", identity)
        if chained is not None:
            return await _only(ctx, request, chained)
    current = await ctx.store.read(kind, identity)
    if current is None or not await is_shown(ctx, current, "history-instance"):
        raise unknown(kind, identity)
    return await _answer(ctx, request, f"{kind}/{identity}/_history")


async def _only(ctx: Context, request: FhirRequest, version: Version) -> FhirResult:
    """Return the history of what has one version and never another: an entry of the audit chain."""
    asked = _parameters(request)
    part = part_of(request.query, counts=True)
    is_counted = part.summary == "count" or _count(asked.get("_count")) == 0
    since = _instant(asked["_since"], "_since")[0] if "_since" in asked else 0
    until = _instant(asked["_at"], "_at")[1] if "_at" in asked else None
    narrow = await among(ctx, request, asked)
    is_there = (
        version.last_updated >= since
        and (until is None or version.last_updated < until)
        and narrow.some != ()
        and narrow.holds(version)
    )
    used = [(k, v) for k, v in request.query if k in {*asked, *_SEVERAL} and k != "_cursor"]
    path = f"{version.resource_type}/{version.resource_id}/_history"
    body = None if part.is_all else part.of(version.body)
    shown = is_there and not is_counted
    answer = bundle.history(
        [history_entry(ctx.base_url, version, body)] if shown else (),
        links=links(ctx.base_url, path, used, Around()),
        total=int(is_there),
    )
    return FhirResult(body=dumps(answer), patients=frozenset(version.patients if shown else ()))


async def history_type(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the versions of a type's resources, newest first."""
    return await _answer(ctx, request, f"{request.resource_type}/_history")


async def history_system(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the versions of all resources, newest first."""
    return await _answer(ctx, request, "_history")


def check_history(ctx: Context, request: FhirRequest) -> None:
    """Refuse what a history would refuse of its parameters, before it is begun.

    Raises:
        Forbidden: The caller is never shown a type that is named.
        InvalidValue: A parameter's value cannot be parsed.
        UnsupportedParameter: A parameter is unknown and the client asked for strict handling.
    """
    asked = _parameters(request)
    part_of(request.query, counts=True)
    check_among(ctx, request, asked)
    _count(asked.get("_count"))
    for name in ("_since", "_at"):
        if name in asked:
            _instant(asked[name], name)


async def _answer(ctx: Context, request: FhirRequest, path: str) -> FhirResult:
    asked = _parameters(request)
    part = part_of(request.query, counts=True)
    count = 0 if part.summary == "count" else _count(asked.get("_count"))
    used = [(k, v) for k, v in request.query if k in {*asked, *_SEVERAL} and k != "_cursor"]
    narrow = await among(ctx, request, asked)
    if count == 0:
        found = links(ctx.base_url, path, used, Around())
        return await _counted(ctx, request, asked, narrow, found)
    versions, around = await _shown(ctx, request, asked, narrow, count)
    entries = [
        history_entry(ctx.base_url, version, None if part.is_all else part.of(version.body))
        if version.body
        else history_entry(ctx.base_url, version)
        for version in versions
    ]
    total = await _total(ctx, request, asked, narrow, len(versions), around.next)
    found = links(ctx.base_url, path, used, around, asked.get("_cursor"))
    answer = bundle.history(entries, links=found, total=total)
    patients = frozenset(patient for v in versions for patient in v.patients)
    return FhirResult(body=dumps(answer), patients=patients)


async def _counted(
    ctx: Context,
    request: FhirRequest,
    asked: dict[str, str],
    narrow: Among,
    found: list[tuple[str, str]],
) -> FhirResult:
    """Return how many versions are shown, and none of them.

    Raises:
        TooCostly: They are too many to be counted.
    """
    whole = {name: value for name, value in asked.items() if name != "_cursor"}
    versions, around = await _shown(ctx, request, whole, narrow, MAX_COUNT)
    if around.next is not None:
        raise TooCostly(
            f"The history has more than {MAX_COUNT} versions; name a time by _since.",
            text_vi=f"Lịch sử có hơn {MAX_COUNT} phiên bản; hãy nêu thời gian bằng _since.",
        )
    return FhirResult(body=dumps(bundle.history((), links=found, total=len(versions))))


async def _shown(
    ctx: Context, request: FhirRequest, asked: dict[str, str], narrow: Among, count: int
) -> tuple[list[Version], Around]:
    """Return a page of the versions that are shown; a page may be short, never too wide."""
    found: list[Version] = []
    currents: dict[Name, Version | None] = {}
    begun = page = await _page(ctx, request, asked, narrow, count, asked.get("_cursor"))
    for _ in range(_MOST_PAGES):
        held = filter(narrow.holds, page.versions)
        shown = [v for v in held if await _is_shown(ctx, request, v, currents)]
        found = [*shown, *found] if begun.backwards else [*found, *shown]
        further = page.previous if begun.backwards else page.next
        if further is None or len(found) >= count:
            break
        page = await _page(ctx, request, asked, narrow, count - len(found), further)
    if begun.backwards:
        return found, replace(begun.around, previous=page.previous)
    return found, replace(begun.around, next=page.next)


async def _total(
    ctx: Context,
    request: FhirRequest,
    asked: dict[str, str],
    narrow: Among,
    shown: int,
    following: str | None,
) -> int | None:
    """Return how many versions all pages show, where that is soon counted."""
    if "_cursor" not in asked and following is None:
        return shown
    if request.resource_id is None:
        return None
    whole = {name: value for name, value in asked.items() if name != "_cursor"}
    versions, around = await _shown(ctx, request, whole, narrow, MAX_COUNT)
    return len(versions) if around.next is None else None


async def _page(
    ctx: Context,
    request: FhirRequest,
    asked: dict[str, str],
    narrow: Among,
    count: int,
    cursor: str | None,
) -> Page:
    if narrow.some == ():
        return Page(())
    return await ctx.store.history(
        request.resource_type if narrow.some is None else None,
        request.resource_id if narrow.some is None else None,
        since=_instant(asked["_since"], "_since")[0] if "_since" in asked else None,
        at=_instant(asked["_at"], "_at") if "_at" in asked else None,
        count=max(count, 1),
        cursor=cursor,
        among=narrow.some or (),
    )


async def _is_shown(
    ctx: Context, request: FhirRequest, version: Version, currents: dict[Name, Version | None]
) -> bool:
    if ctx.policy.narrow(request.interaction, version.resource_type) == Anything():
        return True
    name = (version.resource_type, version.resource_id)
    if name not in currents:
        currents[name] = await ctx.store.read(*name)
    return await is_version_shown(ctx, version, currents[name], request.interaction)


def _parameters(request: FhirRequest) -> dict[str, str]:
    asked: dict[str, str] = {}
    # A history of a type or of a resource is of one type already.
    known = _KNOWN if request.resource_type is None else _KNOWN - {TYPE}
    for name, value in request.query:
        if name in known:
            if asked.setdefault(name, value) != value:
                raise InvalidValue(
                    f"The parameter {name} is given twice with different values.",
                    text_vi=f"Tham số {name} được nêu hai lần với giá trị khác nhau.",
                )
        elif request.handling == "strict" and name not in _SEVERAL:
            raise UnsupportedParameter(
                "A history knows _count, _since, _at, _list, _summary and _elements alone, "
                "and that of the whole system _type.",
                text_vi="Lịch sử phiên bản chỉ có các tham số _count, _since, _at, _list, "
                "_summary và _elements, và của toàn hệ thống thì có _type.",
            )
    return asked


def _count(value: str | None) -> int:
    if value is None:
        return DEFAULT_COUNT
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise InvalidValue(
            "The parameter _count is not a whole number from 0 on.",
            text_vi="Tham số _count không phải là số nguyên từ 0 trở lên.",
        )
    return min(int(value), MAX_COUNT)


def _instant(text: str, name: str) -> tuple[int, int]:
    try:
        # A plus sign in a query that was not percent-encoded arrives as a space.
        return date_range(text.replace(" ", "+"))
    except ValueError:
        raise InvalidValue(
            f"The parameter {name} is not a FHIR date or time.",
            text_vi=f"Tham số {name} không phải là ngày hoặc thời điểm FHIR.",
        ) from None
