"""A write that is asked for, from HTTP or from a Bundle entry, and where a refusal of it stands."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlencode

from fhir_server.interactions.patched import patch_of
from fhir_server.interactions.refusals import costs_too_much
from fhir_server.model.outcome import (
    FhirError,
    InvalidValue,
    Issue,
    Malformed,
    UnsupportedParameter,
)
from fhir_server.store.port import WorkBudgetExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_server.interactions.context import FhirRequest, Resource
    from fhir_server.model.comments import Comments
    from fhir_server.model.patch.document import Patch
    from fhir_server.model.patch.refusal import Allowance

Method = Literal["POST", "PUT", "PATCH", "DELETE"]
INTERACTION_OF: dict[Method, str] = {
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One write asked for.

    Attributes:
        resource: What it is to be; of a patch, once a plan has applied it to what is there.
        comments: Those that the resource came with; None where it did not come as XML.
        condition: The search that chooses what is written, or of a create If-None-Exist.
        new_id: The id it gets if it is created and brings none of its own.
        place: FHIRPath of the Bundle entry, such as `Bundle.entry[3]`; "" outside a Bundle.
        full_url: The entry's fullUrl, by which others of the Bundle refer to it.
    """

    method: Method
    resource_type: str
    new_id: str
    resource_id: str | None = None
    resource: Resource | None = None
    condition: str | None = None
    if_match: int | tuple[int, ...] | None = None
    if_none_match: str | None = None
    cascade: bool = False
    place: str = ""
    full_url: str = ""
    patch: Patch | None = None
    comments: Comments | None = None

    @property
    def interaction(self) -> str:
        """The interaction that the policy is asked about."""
        return INTERACTION_OF[self.method]


def ask_of(
    request: FhirRequest,
    method: Method,
    new_id: Callable[[], str],
    *,
    place: str = "",
    full_url: str = "",
    patching: Allowance | None = None,
) -> Ask:
    """Return the write that a create, update, patch or delete asks for.

    Args:
        request: The interaction, from HTTP or from a Bundle entry.
        method: POST, PUT, PATCH or DELETE.
        new_id: Makes the id of what has none yet.
        place: FHIRPath of the Bundle entry.
        full_url: The entry's fullUrl.
        patching: What the patches of the request may still cost.

    Raises:
        Malformed: The body is missing, or of another type or id than the URL, or no patch.
        UnsupportedMediaType: The body is of no media type of a patch.
        InvalidValue: An update, patch or delete names neither an id nor criteria.
        UnsupportedParameter: A create has criteria and the client asked for strict handling.
    """
    if method in {"POST", "PUT"}:
        _require_body(request)
    condition, cascade = request.if_none_exist, False
    criteria = [(k, v) for k, v in request.query if not is_control(k)]
    if method == "POST":
        _require_no_criteria(request, criteria)
    else:
        condition = None if request.resource_id else _written(criteria)
        cascade = ("_cascade", "delete") in request.query
    return Ask(
        method=method,
        resource_type=request.resource_type or "",
        new_id=new_id() if request.resource_id is None and method != "DELETE" else "",
        resource_id=request.resource_id,
        resource=None if method == "PATCH" else request.resource,
        condition=condition,
        if_match=request.if_match,
        if_none_match=request.if_none_match,
        cascade=cascade,
        place=place,
        full_url=full_url,
        patch=patch_of(request, patching) if method == "PATCH" else None,
        comments=None if method == "PATCH" else request.comments,
    )


def own_ask(entry: Resource) -> Ask:
    """Return the write that an entry of our own making asks for: PUT or DELETE of `Type/id`."""
    request = entry["request"]
    resource_type, _, resource_id = request["url"].partition("/")
    if_match = request.get("ifMatch")
    return Ask(
        method=request["method"],
        resource_type=resource_type,
        new_id="",
        resource_id=resource_id,
        resource=entry.get("resource"),
        if_match=None if if_match is None else int(if_match[3:-1]),
    )


def is_control(parameter: str) -> bool:
    """Return whether a parameter steers the answer, and is no criterion."""
    return parameter in {"_format", "_pretty", "_cascade", "_summary", "_elements"}


def _written(criteria: list[tuple[str, str]]) -> str:
    if not criteria:
        raise InvalidValue("The URL must name an id, or search criteria that choose the resource.")
    return urlencode(criteria)


def _require_no_criteria(request: FhirRequest, criteria: list[tuple[str, str]]) -> None:
    # A create's criteria stand in If-None-Exist (http.html#ccreate). In the URL they are unknown
    # parameters, which are ignored unless the client asks for strict handling.
    if criteria and request.handling == "strict":
        raise UnsupportedParameter(
            "A create has no criteria in its URL; a conditional one names them in If-None-Exist "
            "(in a Bundle: request.ifNoneExist).",
            text_vi="URL của lệnh tạo không có điều kiện; lệnh tạo có điều kiện nêu chúng trong "
            "If-None-Exist (trong Bundle: request.ifNoneExist).",
        )


def _require_body(request: FhirRequest) -> None:
    resource = request.resource
    if resource is None:
        raise Malformed(
            "The body must be a resource.", text_vi="Nội dung gửi lên phải là một tài nguyên."
        )
    if resource.get("resourceType") != request.resource_type:
        raise Malformed(
            f"The body must be a {request.resource_type}, as the URL says.",
            text_vi=f"Nội dung phải là {request.resource_type} như URL nêu.",
            expression=["resourceType"],
        )
    wanted = request.resource_id
    if wanted is not None and resource.get("id") != wanted:
        raise InvalidValue(
            "The body's id must be there and be the URL's id.",
            text_vi="Nội dung phải có id, và là id của URL.",
            expression=[f"{request.resource_type}.id"],
        )


class at:  # noqa: N801 - read in its place: `with at(entry.place)`
    """Names the Bundle entry in the issues of a refusal that comes from it.

    A class of its own: a generator's context costs 1 µs, and each entry has several.
    """

    __slots__ = ("_place",)

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, refusal: BaseException | None, _: object
    ) -> None:
        if self._place and isinstance(refusal, WorkBudgetExceeded):
            costly = costs_too_much()
            costly.issues = tuple(placed(issue, self._place) for issue in costly.issues)
            raise costly from refusal
        if self._place and isinstance(refusal, FhirError):
            refusal.issues = tuple(placed(issue, self._place) for issue in refusal.issues)


def placed(issue: Issue, place: str) -> Issue:
    """Return an issue whose expression begins with the Bundle entry that it is about."""
    if any(one.startswith("Bundle.") for one in issue.expression):
        return issue
    inside = tuple(
        f"{place}.resource.{rest}" if rest else f"{place}.resource"
        for rest in (one.partition(".")[2] for one in issue.expression)
    )
    return replace(issue, expression=inside or (place,))
