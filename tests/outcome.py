"""What every refusal over HTTP must look like."""

from __future__ import annotations

from typing import Any

from fhir_server.model import codec


def assert_outcome(
    response: Any, status: int, code: str, text: str | None = None
) -> dict[str, Any]:
    """Assert that a response is an OperationOutcome of one code, and return it."""
    assert response.status_code == status, response.content
    assert response.headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    outcome = codec.loads(response.content)
    assert outcome["resourceType"] == "OperationOutcome"
    assert code in [issue["code"] for issue in outcome["issue"]], outcome
    if text is not None:
        assert text in [issue["details"]["text"] for issue in outcome["issue"]], outcome
    return outcome
