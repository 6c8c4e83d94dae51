"""What every interaction is given, and what it gives back: no HTTP in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol

from fhir_server.model.comments import Comments
from fhir_server.model.patch.refusal import Allowance
from fhir_server.search.parameters import R4, Known

if TYPE_CHECKING:
    from auth.policy import AccessPolicy
    from auth.principal import Principal
    from auth.tokens import AccessToken
    from fhir_server.interactions.jobs.record import Jobs
    from fhir_server.interactions.plan import Plan
    from fhir_server.model.outcome import Issue
    from fhir_server.store.port import AuditRecord, Batch, Store, Version

Resource = dict[str, Any]
"""A resource as parsed by `model.codec`: decimals are `Decimal`, every digit kept."""


@dataclass(frozen=True, slots=True)
class FhirRequest:
    """One interaction asked for, from HTTP, from a Bundle entry or from our own code.

    Attributes:
        interaction: The code in `interactions.table`: `read`, `vread`, `create`, `update`,
            `delete`, `search-type`, `search-system`, `history-instance`, `transaction`,
            `capabilities`, `operation`, and so on.
        operation: With its `$`, where the interaction is `operation`.
        query: Every parameter of the URL (and of a POST _search body), in order, repeats kept.
        resource: The parsed body.
        comments: Those of the parsed body (`model.comments`); None where it did not come as XML.
        raw: The body as sent, for patches.
        if_match: The version number that If-Match names, or several; -1 where it can match none,
            0 for `*`.
        if_none_match: "*", or version numbers with commas between them.
        if_modified_since: Microseconds since 1970.
        if_none_exist: The query of a conditional create.
        handling: `Prefer: handling=`.
        prefer: `Prefer: return=`; "" where the client says nothing.
        compartment: The type and id of the resource in whose compartment is searched:
            `Patient` and `1` of `Patient/1/Observation`, where `resource_type` is what is sought.
        method: HTTP's method; with `url` (path and query below the base) for audit and history.
        purpose: `X-Break-Glass` or another purpose of use, for the audit.
        asynchronous: `Prefer: respond-async`.
        as_xml: Whether the answer goes out as XML, which has comments.
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
    if_match: int | tuple[int, ...] | None = None
    if_none_match: str | None = None
    if_modified_since: int | None = None
    if_none_exist: str | None = None
    handling: Literal["strict", "lenient"] = "lenient"
    prefer: Literal["", "minimal", "representation", "OperationOutcome"] = ""
    compartment: tuple[str, str] | None = None
    method: str = "GET"
    url: str = ""
    purpose: str = ""
    asynchronous: bool = False
    comments: Comments | None = None
    as_xml: bool = False


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
        refusals: How many entries of a batch were refused.
        denied: Ids of the Patients whom refused entries named, for the AuditEvent.
        hidden: The answer must have no body, only a Location (contract 6: a hidden match).
        media: The media type of `body` where it is no resource, but what is made of some that
            were masked already; it goes out as it is.
        xml: The answer parsed and its comments, where it goes out as XML and may have any.
    """

    status: int = 200
    version: Version | None = None
    resource: Resource | None = None
    body: bytes | None = None
    location: str | None = None
    issues: tuple[Issue, ...] = ()
    patients: frozenset[str] = frozenset()
    refusals: int = 0
    denied: frozenset[str] = frozenset()
    headers: tuple[tuple[str, str], ...] = ()
    hidden: bool = False
    media: str = ""
    xml: tuple[Resource, Comments] | None = None


@dataclass(slots=True)
class AuditTrail:
    """The one AuditEvent of a request: whether it was already committed along with a write.

    Attributes:
        draft: What makes the record, given the Patients concerned: a write puts it into its own
            Batch. None: nobody waits for a record here (an entry of a batch, the server's own act).
    """

    written: bool = False
    request_id: str = ""
    draft: Callable[[frozenset[str]], AuditRecord] | None = None


class Registry(Protocol):
    """What knows the search parameters of a store."""

    @property
    def known(self) -> Known:
        """The parameters as they were when the store was last asked."""

    async def look(self) -> Known:
        """Ask the store for them now.

        Raises:
            Unavailable: The store does not answer.
        """

    async def refreshed(self) -> Known:
        """Return them as they were at most a moment ago, where the store answers."""


class Standard:
    """The search parameters that every store knows, for a store that was given no others."""

    known: Known = R4

    async def look(self) -> Known:
        """Return R4's parameters and ours."""
        return self.known

    async def refreshed(self) -> Known:
        """Return R4's parameters and ours."""
        return self.known


STANDARD: Final = Standard()


class Superseded(Exception):
    """The job that something is done for is no longer as it was read: nothing was done."""


class Fence(Protocol):
    """Stands around the one commit of a step of a job (`jobs.fence`).

    Attributes:
        bucket: The ledger's bucket whose record, where it has changed, means Superseded.
        is_made: Whether the commit was made.
    """

    bucket: str
    is_made: bool

    def around(self, batch: Batch, plan: Plan) -> Batch:
        """Return the commit with what the job adds to it."""


@dataclass(frozen=True, slots=True)
class Context:
    """Who asks, what they may see, and the effects, passed in.

    Attributes:
        now: The clock; timezone-aware.
        new_id: A new resource id.
        base_url: The FHIR base, without a slash at its end.
        source: Where the request came from (an IP address), for the audit; "" if ours.
        operations: The rows of `operations.table`; app.py gives them.
        patching: What the patches of this request may still cost, all entries of a batch together.
        registry: What knows the store's search parameters.
        basis: The claims of the caller's token, where there is one.
        jobs: What makes a job of a request; None: every request is answered at once.
        fence: What every commit of this step of a job goes through.
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
    operations: tuple[Operation, ...] = ()
    patching: Allowance = field(default_factory=Allowance)
    registry: Registry = STANDARD
    basis: AccessToken | None = None
    jobs: Jobs | None = None
    fence: Fence | None = None

    @property
    def known(self) -> Known:
        """The search parameters by which what is asked is read, and what is written indexed."""
        return self.registry.known

    @property
    def searched(self) -> Known:
        """The search parameters that the caller may ask for.

        A store's own could ask for what a mask hides: they are closed to whoever has one.
        """
        known = self.registry.known
        return known.closed() if self.policy.masks else known


Interaction = Callable[[Context, FhirRequest], Awaitable[FhirResult]]

Level = Literal["system", "type", "instance"]


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of `operations.table`: one FHIR operation.

    Attributes:
        code: With its `$`.
        run: The function; it is called after `policy.narrow(code, resource_type)` allowed it,
            and itself checks that the instance is shown (`narrow.visible_version`).
        definition: The canonical URL of its OperationDefinition.
        resource_types: The types it is defined on; empty for every type.
        levels: Where it may be called.
        methods: HTTP methods it answers; GET only where it changes nothing.
        affects_state: Whether it changes something, as its OperationDefinition says: then it is
            no part of a transaction.
    """

    code: str
    run: Interaction
    definition: str
    resource_types: tuple[str, ...] = ()
    levels: AbstractSet[Level] = frozenset({"instance"})
    methods: AbstractSet[str] = frozenset({"GET", "POST"})
    affects_state: bool = False


class ContextOf(Protocol):
    """Makes the Context of a request from its credentials; LoginRequired without good ones."""

    async def __call__(
        self, authorization: str | None, source: str, purpose: str = "", /
    ) -> Context:
        """Return the Context.

        Args:
            authorization: The Authorization header's value.
            source: The address the request came from.
            purpose: The reason in `X-Break-Glass`, decoded; "" where it is not sent.
        """
