"""`__explain`: how a search was done, told to those alone who may see all there is.

What an index gives is counted before it is narrowed by any policy, of other types too that a chain
leads to: to whom anything may be hidden the parameter is as one that there is not.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from auth.criteria import Anything
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, Issue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_server.interactions.context import Context, FhirRequest
    from fhir_server.store.explained import Explained

EXPLAIN: Final = "__explain"


def explaining(ctx: Context, request: FhirRequest) -> tuple[FhirRequest, bool]:
    """Return a search without `__explain`, and whether it is to be explained.

    Of a caller to whom something may be hidden the request stays as it is.

    Raises:
        InvalidValue: Its value is neither true nor false.
    """
    values = {value for name, value in request.query if name == EXPLAIN}
    if not values or not _sees_all(ctx):
        return request, False
    if len(values) > 1 or not values <= {"true", "false"}:
        raise InvalidValue(
            f"The parameter {EXPLAIN} is true or false.",
            text_vi=f"Tham số {EXPLAIN} là true hoặc false.",
        )
    others = tuple(pair for pair in request.query if pair[0] != EXPLAIN)
    return replace(request, query=others), "true" in values


def _sees_all(ctx: Context) -> bool:
    if ctx.policy.masks:
        return False
    return all(ctx.policy.narrow("search-type", kind) == Anything() for kind in RESOURCE_TYPES)


def explanation(explained: Iterable[Explained]) -> dict[str, Any]:
    """Return the OperationOutcome that tells how a search was done, an issue for each type."""
    issues = [_issue(one).to_fhir() | {"diagnostics": _told(one)} for one in explained]
    return {"resourceType": "OperationOutcome", "issue": issues}


def _issue(one: Explained) -> Issue:
    took = f"{one.milliseconds:.1f} ms"
    kind = one.resource_type
    if one.driver is None:
        text = f"{kind}: no index drives; {took}."
        text_vi = f"{kind}: không có chỉ mục dẫn; {took}."
    else:
        text = f"{kind}: the index of {one.driver} drives; {took}."
        text_vi = f"{kind}: chỉ mục của {one.driver} dẫn; {took}."
    return Issue("informational", text, severity="information", text_vi=text_vi)


def _told(one: Explained) -> str:
    found = [f"{c.asked} = {c.rows}{' or more' if c.is_more else ''}" for c in one.candidates]
    rows = "" if one.rows is None else f" = {one.rows}"
    lines = [
        f"driver: {one.driver or 'none'}{rows}",
        f"candidates: {'; '.join(found) or 'none'}",
        f"judged row by row: {'; '.join(one.judged) or 'nothing'}",
        f"way: {'; then '.join(one.ways)}",
        f"work: {one.work} of {one.budget} {one.unit}; {one.milliseconds:.1f} ms",
    ]
    return "\n".join(lines)
