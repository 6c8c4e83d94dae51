"""Refusals and failures as OperationOutcomes, in the format that was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.model.outcome import Issue, operation_outcome
from fhir_server.rest.response import Response, composed

if TYPE_CHECKING:
    from fhir_server.model.outcome import FhirError
    from fhir_server.rest.media import Wanted


def refusal(error: FhirError, wanted: Wanted) -> Response:
    """Return the response of a refusal."""
    headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
    return composed(error.status, error.outcome(), wanted, headers)


def failure(wanted: Wanted) -> Response:
    """Return the response of a failure of our own: it says nothing of what went wrong."""
    issue = Issue(
        "exception",
        "The server failed; quote the request id.",
        severity="fatal",
        text_vi="Máy chủ gặp lỗi; hãy nêu mã yêu cầu.",
    )
    return composed(500, operation_outcome([issue]), wanted)
