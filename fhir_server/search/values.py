"""Index values of a resource: one normal form for what is stored and what is asked.

https://hl7.org/fhir/R4/search.html

Times are integers: microseconds since 1970-01-01T00:00:00Z. A date range is closed at both
ends: `low <= t <= high`, where `2020` is from its first to its last microsecond at +07:00.

The classes are msgspec Structs: made ten times faster than frozen dataclasses, and equal,
hashable and matched in the same ways. A resource's values may hold the same value twice.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

MIN_TIME: Final = -(2**62)
MAX_TIME: Final = 2**62

MIN_NUMBER: Final = Decimal("-Infinity")
"""The open lower end of a Range or of a quantity with the comparator `<` or `<=`."""

MAX_NUMBER: Final = Decimal("Infinity")
"""The open upper end of a Range or of a quantity with the comparator `>` or `>=`."""


ELSEWHERE: Final = ":elsewhere"
"""The name of the references that no search parameter covers: in extensions, contained resources
and elements without a parameter. What is referred to is not deleted; no client can ask for it.
"""

NARRATIVE: Final = ":narrative"
"""The name of the words of a resource's narrative; `_text` asks for them."""

CONTENT: Final = ":content"
"""The name of the words of all else that a resource says; `_content` asks for both."""


def identifier_of(param: str) -> str:
    """Return the name under which a reference's logical identifier is indexed as a token."""
    return f"{param}:identifier"


def version_of(param: str) -> str:
    """Return the name under which it is indexed which versions a canonical is one of.

    `url|1.2.3` stands under it as `url|1`, `url|1.2` and `url|1.2.3`; one without as `url|`.
    """
    return f"{param}:version"


def of_type(param: str) -> str:
    """Return the name under which identifiers with a type are indexed: `type code|value`."""
    return f"{param}:of-type"


class TokenValue(msgspec.Struct, frozen=True, gc=False):
    """A coded value; `system` is "" where there is none; `text` is folded, for `:text`.

    A concept that has only a text has system and code ""; the system of an element of type
    `code` is that of its value set.
    """

    param: str
    system: str
    code: str
    text: str = ""


class StringValue(msgspec.Struct, frozen=True, gc=False):
    """A text, as `fold` makes it and as it was written (NFC)."""

    param: str
    folded: str
    exact: str


class DateValue(msgspec.Struct, frozen=True, gc=False):
    """A time range; an open end is MIN_TIME or MAX_TIME."""

    param: str
    low: int
    high: int


class NumberValue(msgspec.Struct, frozen=True, gc=False):
    """A number, as the resource has it (a Range has two ends)."""

    param: str
    low: Decimal
    high: Decimal


class QuantityValue(msgspec.Struct, frozen=True, gc=False):
    """A quantity; `unit` is its printed unit; a Range or comparator widens low and high."""

    param: str
    low: Decimal
    high: Decimal
    system: str
    code: str
    unit: str = ""


class ReferenceValue(msgspec.Struct, frozen=True, gc=False):
    """A reference: `resource_type` and `resource_id` where it is local, else `url` as written.

    A logical reference's identifier is a TokenValue of the parameter `<param>:identifier`.
    A versioned reference is also, as written, a value of its own with `url`; a canonical with
    a version is also one without, and a fragment is cut (and see `version_of`).
    """

    param: str
    resource_type: str
    resource_id: str
    url: str = ""


class UriValue(msgspec.Struct, frozen=True, gc=False):
    """A URI, as written."""

    param: str
    uri: str


class TextValue(msgspec.Struct, frozen=True, gc=False):
    """The words of a text (`words.py`), one space between two, `|` between two elements."""

    param: str
    text: str


class PositionValue(msgspec.Struct, frozen=True, gc=False):
    """A place on the earth, in degrees (WGS84)."""

    param: str
    latitude: float
    longitude: float


class CompositeValue(msgspec.Struct, frozen=True):
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
    | TextValue
    | PositionValue
    | CompositeValue
)


class IndexValues(msgspec.Struct, frozen=True):
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
