"""Index values of a resource: one normal form for what is stored and what is asked.

https://hl7.org/fhir/R4/search.html

Times are integers: microseconds since 1970-01-01T00:00:00Z. A date range is closed at both
ends: `low <= t <= high`, where `2020` is from its first to its last microsecond at +07:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

MIN_TIME = -(2**62)
MAX_TIME = 2**62


@dataclass(frozen=True, slots=True)
class TokenValue:
    """A coded value; `system` is "" where there is none; `text` is folded, for `:text`."""

    param: str
    system: str
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class StringValue:
    """A text, as `fold` makes it and as it was written (NFC)."""

    param: str
    folded: str
    exact: str


@dataclass(frozen=True, slots=True)
class DateValue:
    """A time range; an open end is MIN_TIME or MAX_TIME."""

    param: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class NumberValue:
    """A number, as the resource has it (a Range has two ends)."""

    param: str
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityValue:
    """A quantity; `unit` is its printed unit; a Range or comparator widens low and high."""

    param: str
    low: Decimal
    high: Decimal
    system: str
    code: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class ReferenceValue:
    """A reference: `resource_type` and `resource_id` where it is local, else `url` as written.

    A logical reference's identifier is a TokenValue of the parameter `<param>:identifier`.
    """

    param: str
    resource_type: str
    resource_id: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class UriValue:
    """A URI, as written."""

    param: str
    uri: str


@dataclass(frozen=True, slots=True)
class CompositeValue:
    """One repetition of a composite parameter: its components' values, in their order."""

    param: str
    parts: tuple[tuple[Value, ...], ...]


Value = (
    TokenValue
    | StringValue
    | DateValue
    | NumberValue
    | QuantityValue
    | ReferenceValue
    | UriValue
    | CompositeValue
)


@dataclass(frozen=True, slots=True)
class IndexValues:
    """All that is indexed of one version of a resource.

    Attributes:
        values: The values of all search parameters but `_id` and `_lastUpdated`,
            with `_tag`, `_security`, `_profile`, `_source` among them.
        patients: Ids of the Patients in whose compartment the resource is (itself, if a Patient).
        unique: Keys `system|value` that only this resource may hold while it is current.
    """

    values: tuple[Value, ...] = ()
    patients: tuple[str, ...] = ()
    unique: tuple[str, ...] = ()
