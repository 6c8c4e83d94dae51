"""The CapabilityStatement, computed from the tables.

https://hl7.org/fhir/R4/capabilitystatement.html
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.audit import AUDIT_EVENT
from fhir_server.interactions.context import FhirResult
from fhir_server.interactions.subset import Part, part_of, subset_of
from fhir_server.interactions.table import INTERACTIONS
from fhir_server.model import codec
from fhir_server.model.definitions import COMPARTMENTS, RESOURCE_TYPES, children
from fhir_server.model.outcome import InvalidValue, UnsupportedParameter
from fhir_server.model.patch.document import FORMATS as PATCH_FORMATS
from fhir_server.search.parameters import R4, Known
from fhir_server.search.several import WHOLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fhir_server.interactions.context import Context, FhirRequest, Operation, Resource
    from fhir_server.search.parameters import Parameter

_COMPARTMENT: Final = "http://hl7.org/fhir/CompartmentDefinition/"
_SMART: Final = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
_SYSTEM: Final = frozenset({"transaction", "batch", "search-system", "history-system"})
_TYPE: Final = (
    "read", "vread", "update", "patch", "delete", "history-instance", "history-type", "create",
    "search-type",
)  # fmt: skip
_FORMATS: Final = ["application/fhir+json", "application/fhir+xml", "json", "xml"]
_DATE: Final = "2026-11-27"
"""When what is stated here was changed last: a test remembers what it says, and asks for this."""
WHOLLY: Final = Part()
VERSION: Final = "0.1.0"
"""The version in pyproject.toml."""

_OF_ALL: Final = (
    {
        "name": "_filter",
        "type": "special",
        "documentation": "https://hl7.org/fhir/R4/search_filter.html",
    },
    {
        "name": "_list",
        "type": "special",
        "documentation": "The id of a List; functional lists are refused.",
    },
)
"""Search parameters of every type that have no definition."""

_OWN_AUDIT: Final = (
    "The server's own AuditEvents (audit-N) are read and searched and never changed; what others "
    "report is a resource like any other. They are sorted by date or _lastUpdated (beside other "
    "types by _lastUpdated). A search of all types, _revinclude=* and chains to AuditEvents leave "
    "the server's own out."
)

_ASYNCHRONOUS: Final = (
    "Prefer: respond-async (http://hl7.org/fhir/R4/async.html) on searches, histories, "
    "transactions, batches and operations: 202 with Content-Location; results are NDJSON."
)


async def capabilities(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return the CapabilityStatement, or part of it, as an entry of a Bundle asks for it.

    Raises:
        InvalidValue: A parameter has a value that there is not.
        UnsupportedParameter: Its terminology is asked for.
    """
    part = part_of_statement(request.query, strict=request.handling == "strict")
    known = await ctx.registry.refreshed()
    return FhirResult(body=stated(ctx.base_url, ctx.operations, known, part))


def part_of_statement(query: Sequence[tuple[str, str]], *, strict: bool) -> Part:
    """Return which part of the statement is asked for: `mode`, `_summary`, `_elements`.

    https://hl7.org/fhir/R4/http.html#capabilities: servers may ignore `mode`, and `normative` is
    all of it, as `full` is; but who asks for TerminologyCapabilities is not given something else.

    Raises:
        InvalidValue: A parameter has a value that there is not.
        UnsupportedParameter: Its terminology is asked for.
    """
    modes = {value for name, value in query if name == "mode"}
    if len(modes) > 1 or not modes <= {"full", "normative", "terminology"}:
        raise InvalidValue(
            "The parameter mode is full, normative or terminology.",
            text_vi="Tham số mode là full, normative hoặc terminology.",
        )
    if "terminology" in modes:
        raise UnsupportedParameter(
            "This server has no terminology service, and no TerminologyCapabilities.",
            text_vi="Máy chủ này không có dịch vụ thuật ngữ, nên không có TerminologyCapabilities.",
        )
    part = part_of(query, strict=strict)
    known = children("CapabilityStatement")
    asked = {name.removeprefix("CapabilityStatement.").partition(".")[0] for name in part.elements}
    # Of names that there are not, one is as good as another: it is kept once for all of them.
    elements = tuple(sorted(asked & known.keys())) or (("id",) if part.elements else ())
    return Part(None if part.is_all or elements else part.summary, elements)


@lru_cache(maxsize=16)
def stated(
    base_url: str, operations: tuple[Operation, ...], known: Known = R4, part: Part = WHOLLY
) -> bytes:
    """Return the CapabilityStatement's JSON bytes; kept, for a Bundle may ask again and again."""
    statement = capability_statement(base_url, operations, known)
    if not part.is_all:
        statement = subset_of(statement, part.summary, part.elements)
    return codec.dumps(statement)


def capability_statement(
    base_url: str, operations: tuple[Operation, ...], known: Known = R4
) -> Resource:
    """Return what this server does, at this base.

    Args:
        base_url: The FHIR base.
        operations: The rows of `operations.table`.
        known: The search parameters that there are.
    """
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _DATE,
        "publisher": "vn-fhir-server",
        "kind": "instance",
        "software": {"name": "vn-fhir-server", "version": VERSION},
        "implementation": {
            "description": "FHIR R4 health-record server for Viet Nam",
            "url": base_url,
        },
        "fhirVersion": "4.0.1",
        "format": _FORMATS,
        "patchFormat": list(PATCH_FORMATS),
        "rest": [_rest(base_url, operations, known)],
    }


def _rest(base_url: str, operations: tuple[Operation, ...], known: Known) -> dict[str, Any]:
    codes = {code for _, _, code in INTERACTIONS}
    whole = sorted(codes & _SYSTEM | ({"batch"} if "transaction" in codes else set()))
    rest: dict[str, Any] = {
        "mode": "server",
        "documentation": _ASYNCHRONOUS,
        "security": _security(base_url),
        "resource": [_resource(kind, codes, operations, known) for kind in sorted(RESOURCE_TYPES)],
        "interaction": [{"code": code} for code in whole],
        "searchParam": _searched(WHOLE, known),
        "compartment": [f"{_COMPARTMENT}{kind.lower()}" for kind in COMPARTMENTS],
    }
    named = [_operation(row) for row in operations if "system" in row.levels]
    return rest | {"operation": named} if named else rest


def _security(base_url: str) -> dict[str, Any]:
    origin = base_url.removesuffix("/fhir")
    uris = {
        "authorize": f"{origin}/auth/authorize",
        "token": f"{origin}/auth/token",
        "introspect": f"{origin}/auth/introspect",
        "revoke": f"{origin}/auth/revoke",
    }
    return {
        "extension": [
            {
                "url": _SMART,
                "extension": [{"url": name, "valueUri": uri} for name, uri in uris.items()],
            }
        ],
        "cors": True,
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ]
            }
        ],
    }


def _resource(
    kind: str, codes: set[str], operations: tuple[Operation, ...], known: Known
) -> dict[str, Any]:
    references = [name for name, one in _ready(kind, known) if one.type == "reference"]
    resource: dict[str, Any] = {
        "type": kind,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{kind}",
        "interaction": [{"code": code} for code in _TYPE if code in codes],
        "versioning": "versioned-update",
        "readHistory": True,
        "updateCreate": True,
        "conditionalCreate": True,
        "conditionalRead": "full-support",
        "conditionalUpdate": True,
        "conditionalDelete": "multiple",
        "referencePolicy": ["literal", "local"],
        "searchInclude": ["*", *(f"{kind}:{name}" for name in references)],
        "searchParam": _searched(kind, known),
    }
    said = [_OWN_AUDIT] if kind == AUDIT_EVENT else []
    if waiting := sorted(name for name, one in known.of(kind).items() if not one.is_ready):
        progress = f" ({known.progress} done)" if known.progress else ""
        said.append(f"Being indexed{progress}, and refused until then: {', '.join(waiting)}.")
    if said:
        resource["documentation"] = " ".join(said)
    if reverse := _reverse_includes(known).get(kind):
        resource["searchRevInclude"] = reverse
    named = [_operation(row) for row in operations if _is_at(row, kind)]
    return resource | {"operation": named} if named else resource


def _ready(kind: str, known: Known) -> list[tuple[str, Parameter]]:
    """Return the parameters of a type that may be asked now, by name."""
    of = known.of(kind)
    return [(name, of[name]) for name in sorted(of) if of[name].is_ready]


def _searched(kind: str, known: Known) -> list[dict[str, str]]:
    found = [
        {"name": name, "definition": one.url, "type": one.type} for name, one in _ready(kind, known)
    ]
    return sorted([*_OF_ALL, *found], key=lambda one: one["name"])


@lru_cache(maxsize=4)
def _reverse_includes(known: Known) -> dict[str, list[str]]:
    """Return for each type the reference parameters of others that may name it."""
    found: dict[str, list[str]] = {}
    for source in sorted(RESOURCE_TYPES):
        for name, one in _ready(source, known):
            if one.type == "reference":
                for target in one.targets or RESOURCE_TYPES:
                    found.setdefault(target, []).append(f"{source}:{name}")
    return found


def _is_at(row: Operation, kind: str) -> bool:
    """Return whether an operation is called on a type or its resources."""
    if row.levels == {"system"}:
        return False
    return not row.resource_types or kind in row.resource_types


def _operation(row: Operation) -> dict[str, str]:
    return {"name": row.code.removeprefix("$"), "definition": row.definition}
