"""A query while it is read: what is known of it so far, and how much it may still ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fhir_server.search.expression import Expression, Sort
from fhir_server.search.parameters import R4, Known

MAX_LENGTH: Final = 1_000_000
MAX_VALUES: Final = 5000
MAX_DEPTH: Final = 10
MAX_TARGETS: Final = 30
MAX_LINKS: Final = 5000
"""What one query may ask: its characters, its values, a chain's links, the types that an untyped
link may lead to, and the links that all of its chains may have once they are spelled out."""


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`, https://hl7.org/fhir/R4/search.html#revinclude.

    Attributes:
        source_type: The type that refers; `*` is any.
        param: The reference parameter; `*` is any.
        target_type: The type referred to, where the client names one.
        iterate: Applied to included resources too.
        reverse: A `_revinclude`: what refers to the matches.
    """

    source_type: str
    param: str = "*"
    target_type: str | None = None
    iterate: bool = False
    reverse: bool = False


@dataclass(slots=True)
class Reading:
    """What the parameters read so far have asked.

    Attributes:
        resource_type: The type searched; `Resource` is any.
        base_url: The FHIR base.
        now: Microseconds since 1970; None where a criterion has no now.
        known: The search parameters that there are.
        values: How many values were asked.
        links: How many links of chains were followed.
        where: What a match is: all of these.
        once: Parameters that may be given once.
    """

    resource_type: str
    base_url: str = ""
    now: int | None = None
    known: Known = R4
    values: int = 0
    links: int = 0
    where: list[Expression] = field(default_factory=list)
    sort: list[Sort] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    once: dict[str, str] = field(default_factory=dict)
    elements: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
