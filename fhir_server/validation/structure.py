"""Validate a resource against the base definitions of R4.

https://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from typing import Any

from fhir_server.model.codec import as_resource
from fhir_server.model.outcome import Invalid, Issue
from fhir_server.validation.findings import Findings
from fhir_server.validation.verdict import is_surely_valid


def validate(resource: dict[str, Any]) -> list[Issue]:
    """Return all that is wrong with a resource by base R4; nothing means valid.

    Raises:
        Malformed: It is not a resource of R4.
    """
    as_resource(resource)
    try:
        if is_surely_valid(resource):
            return []
    except RecursionError:
        pass  # the findings say so
    return Findings(spare=is_surely_valid).of(resource)


def check(resource: dict[str, Any]) -> None:
    """Refuse a resource that is not valid.

    Raises:
        Malformed: It is not a resource of R4.
        Invalid: It is not valid; with one issue for each error.
    """
    errors = [issue for issue in validate(resource) if issue.severity in {"error", "fatal"}]
    if errors:
        raise Invalid(errors)
