"""Call an operation.

https://hl7.org/fhir/R4/operations.html
"""

from __future__ import annotations

from dataclasses import replace

from fhir_server.interactions.context import Context, FhirRequest, FhirResult, Level, Operation
from fhir_server.interactions.subset import part_of, shortened
from fhir_server.model import codec
from fhir_server.model.outcome import UnknownOperation, UnsupportedMethod


async def operation(ctx: Context, request: FhirRequest) -> FhirResult:
    """Return what the operation answers.

    Raises:
        UnknownOperation: There is no such operation at this level of this type.
        UnsupportedMethod: It answers another method.
        InvalidValue: `_summary` is none of its values.
    """
    run = operation_of(ctx, request).run
    part = part_of(request.query, strict=request.handling == "strict")
    result = await run(ctx, request)
    if part.is_all:
        return result
    if result.body is not None:
        shown = codec.loads_stored(result.body)
    elif result.resource is not None:
        shown = result.resource
    else:
        return result
    return replace(result, body=codec.dumps(shortened(shown, part)))


def operation_of(ctx: Context, request: FhirRequest) -> Operation:
    """Return the operation that a request calls.

    Raises:
        UnknownOperation: There is no such operation at this level of this type.
        UnsupportedMethod: It answers another method.
    """
    level = _level(request)
    for row in ctx.operations:
        if row.code == request.operation and level in row.levels and _is_of(row, request):
            if _method(request) not in row.methods:
                allow = ", ".join(sorted({*row.methods, "OPTIONS"}))
                raise UnsupportedMethod(
                    f"{row.code} does not answer {request.method}.",
                    text_vi=f"{row.code} không nhận phương thức {request.method}.",
                    headers={"Allow": allow},
                )
            return row
    raise UnknownOperation(
        f"The operation {request.operation} is not known here.",
        text_vi=f"Không có thao tác {request.operation} ở đây.",
    )


def _level(request: FhirRequest) -> Level:
    if request.resource_id is not None:
        return "instance"
    return "system" if request.resource_type is None else "type"


def _is_of(row: Operation, request: FhirRequest) -> bool:
    if request.resource_type is None or not row.resource_types:
        return True
    return request.resource_type in row.resource_types


def _method(request: FhirRequest) -> str:
    return "GET" if request.method == "HEAD" else request.method
