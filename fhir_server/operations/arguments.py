"""What an operation is given: parameters of the URL, or of a Parameters resource.

https://hl7.org/fhir/R4/operations.html#request
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.model import parameters
from fhir_server.model.outcome import InvalidValue
from fhir_server.model.primitives import date_range

if TYPE_CHECKING:
    from fhir_server.interactions.context import FhirRequest

MOST_ON_A_PAGE = 1000


def arguments(request: FhirRequest) -> list[tuple[str, str]]:
    """Return an operation's simple parameters, those of the URL first."""
    given = list(request.query)
    body = request.resource
    if body and body.get("resourceType") == "Parameters":
        for one in body.get("parameter") or ():
            value = parameters.content(one) if isinstance(one, dict) else None
            if isinstance(value, str | int):
                given.append((str(one.get("name", "")), str(value)))
    return given


def page_size(given: list[tuple[str, str]], default: int) -> int:
    """Return `_count`; above 1000 is taken as 1000.

    Raises:
        InvalidValue: It is no whole number from 0.
    """
    text = next((value for name, value in given if name == "_count"), None)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidValue("The parameter _count is not a whole number from 0.")
    # Longer than any page: not a number that has to be made of it.
    return MOST_ON_A_PAGE if len(text) > 4 else min(int(text), MOST_ON_A_PAGE)  # noqa: PLR2004


def time_of(given: list[tuple[str, str]], name: str) -> tuple[int, int] | None:
    """Return the range of microseconds that a time parameter covers, or None.

    Raises:
        InvalidValue: It is no FHIR date or time.
    """
    text = next((value for key, value in given if key == name), None)
    if text is None:
        return None
    try:
        # A plus sign of a zone arrives as a blank from clients that do not encode it.
        return date_range(text.replace(" ", "+"))
    except ValueError:
        raise InvalidValue(f"The parameter {name} is not a date or time.") from None
