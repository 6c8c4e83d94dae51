"""What every interaction is given, and what it gives back: no HTTP in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from auth.policy import AccessPolicy
    from auth.principal import Principal
    from fhir_server.model.outcome import Issue
    from fhir_server.store.port import Batch, Store, Version

Resource = dict[str, Any]
"""A resource as parsed by `model.codec`: decimals are `Decimal`, every digit kept."""


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """One interaction asked for, from HTTP, from a Bundle entry or from our own code.

    Attributes:
        interaction: The code in `interactions.table`: `read`, `vread`, `create`, `update`,
            `delete`, `search-type`, `history-instance`, `transaction`, `capabilities`,
            `operation`, and so on.
        operation: With its `$`, where the interaction is `operation`.
        query: Every parameter of the URL (and of a POST _search body), in order, repeats kept.
        resource: The parsed body.
        raw: The body as sent, for patches.
        if_match: The version number that If-Match names; -1 where it can match none.
        if_none_match: "*" or a version number.
        if_modified_since: Microseconds since 1970.
        if_none_exist: The query of a conditional create.
        handling: `Prefer: handling=`.
        method: HTTP's method; with `url` (path and query below the base) for audit and history.
        purpose: `X-Break-Glass` or another purpose of use, for the audit.
    """

    interaction: str
    resource_type: str | None = None
    resource_id: str | None = None
    version_id: str | None = None
    operation: str | None = None
    query: tuple[tuple[str, str], ...] = ()
    resource: Resource | None = None
    raw: bytes = b""
    content_type: str = ""
    if_match: int | None = None
    if_none_match: str | None = None
    if_modified_since: int | None = None
    if_none_exist: str | None = None
    handling: Literal["strict", "lenient"] = "lenient"
    method: str = "GET"
    url: str = ""
    purpose: str = ""


@dataclass(frozen=True, slots=True)
class FhirResult:
    """What an interaction gives back.

    Attributes:
        version: The stored version that is the answer: its bytes go out unparsed.
        resource: The answer where it was composed (a Bundle, an OperationOutcome).
        body: The composed answer already as canonical JSON bytes; wins over `resource`.
        location: `Type/id/_history/v` for create and update.
        issues: Findings that go along (warnings), for `Prefer: return=OperationOutcome`.
        patients: Ids of the Patients shown or written, for the AuditEvent.
        hidden: The answer must have no body, only a Location (contract 6: a hidden match).
    """

    status: int = 200
    version: Version | None = None
    resource: Resource | None = None
    body: bytes | None = None
    location: str | None = None
    issues: tuple[Issue, ...] = ()
    patients: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    hidden: bool = False


@dataclass(slots=True)
class AuditTrail:
    """The one AuditEvent of a request: whether it was already committed along with a write."""

    written: bool = False


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, what they may see, and the effects, passed in.

    Attributes:
        now: The clock; timezone-aware.
        new_id: A new resource id.
        base_url: The FHIR base, without a slash at its end.
        source: Where the request came from (an IP address), for the audit; "" if ours.
    """

    principal: Principal
    policy: AccessPolicy
    store: Store
    now: Callable[[], datetime]
    new_id: Callable[[], str]
    base_url: str
    source: str = ""
    request_id: str = ""
    trail: AuditTrail = field(default_factory=AuditTrail)


Interaction = Callable[[Context, FhirRequest], Awaitable[FhirResult]]
Commit = Callable[[Batch], Awaitable[None]] if TYPE_CHECKING else Callable
ContextOf = Callable[[str | None, str], Awaitable[Context]]
"""(the Authorization header's value, source address) -> Context; LoginRequired without one."""
