"""Names of search parameters: with a modifier, chained, and reversed with `_has`.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue
from fhir_server.search.criterion import LIST, Asked, criterion, shown
from fhir_server.search.expression import Expression
from fhir_server.search.filter import filtered
from fhir_server.search.link import chained, reversed_link, targets_of
from fhir_server.search.own import check_own
from fhir_server.search.parameters import R4, Known
from fhir_server.search.reading import Reading


def named(
    reading: Reading, resource_type: str, name: str, value: str, depth: int = 0
) -> Expression | None:
    """Return what a parameter asks of a type's resources; None where it is not known.

    Raises:
        InvalidValue: A value, a modifier or the form of the chain cannot be parsed.
        UnsupportedParameter: The modifier is not supported yet.
        TooCostly: The chain or the values are more than one search may have.
    """
    reading.follow(depth)
    if name == "_filter":
        return filtered(reading, resource_type, value, depth)
    if name.startswith("_has:"):
        return _has(reading, resource_type, name, value, depth)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    known = LIST if code == LIST.code else reading.find(resource_type, code)
    if known is None or (head.endswith(":") and not modifier):
        return None
    if not dot:
        reading.ask(value.count(",") + 1)
        if known.own is not None:
            check_own(reading, known.own, Asked(known, name, modifier), value)
        reading.look_for(known, value)
        return criterion(Asked(known, name, modifier, reading.base_url, reading.now), value)
    if known.type != "reference":
        return None
    targets = targets_of(known, modifier, name)
    return chained(
        known, targets, lambda target: named(reading, target, rest, value, depth + 1), name
    )


def is_linked(resource_type: str, name: str, known: Known = R4) -> bool:
    """Return whether a name is a `_has`, or a chain that begins with a known parameter."""
    head, dot, _ = name.partition(".")
    begun = dot and known.get(resource_type, head.partition(":")[0])
    return name.startswith("_has:") or bool(begun)


def _has(
    reading: Reading, resource_type: str, name: str, value: str, depth: int
) -> Expression | None:
    _, *links = name.split(":", 3)
    if len(links) != 3:  # noqa: PLR2004 - type, parameter, what is asked of it
        raise InvalidValue(
            "A _has is written _has:Type:reference parameter:parameter.",
            text_vi="_has được viết là _has:Loại:tham số tham chiếu:tham số.",
        )
    source, code, rest = links
    known = reading.find(source, code) if source in RESOURCE_TYPES else None
    if known is None or known.type != "reference":
        return None
    if resource_type not in known.targets and resource_type != "Resource":
        raise InvalidValue(
            f"The reference parameter of {shown(name)} never refers to {resource_type}.",
            text_vi=f"Tham số tham chiếu của {shown(name)} không bao giờ dẫn đến {resource_type}.",
        )
    inner = named(reading, source, rest, value, depth + 1)
    return None if inner is None else reversed_link(known, source, resource_type, inner)
