"""Names of search parameters: with a modifier, chained, and reversed with `_has`.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, TooCostly
from fhir_server.search.criterion import Asked, criterion, shown
from fhir_server.search.expression import Chain, Expression, Has, Or
from fhir_server.search.own import check_own
from fhir_server.search.parameters import R4, Known
from fhir_server.search.reading import (
    MAX_DEPTH,
    MAX_LINKS,
    MAX_LOOKED_FOR,
    MAX_TARGETS,
    MAX_VALUES,
    Reading,
)
from fhir_server.search.wording import WORDED
from fhir_server.search.words import words_of


def named(
    reading: Reading, resource_type: str, name: str, value: str, depth: int = 0
) -> Expression | None:
    """Return what a parameter asks of a type's resources; None where it is not known.

    Raises:
        InvalidValue: A value, a modifier or the form of the chain cannot be parsed.
        UnsupportedParameter: The modifier is not supported yet.
        TooCostly: The chain or the values are more than one search may have.
    """
    reading.links += 1
    if depth > MAX_DEPTH or reading.links > MAX_LINKS:
        raise TooCostly(
            "A chain has more links, or leads to more types, than a search may have.",
            text_vi="Một chuỗi tham số có nhiều mắt xích hoặc dẫn đến nhiều loại hơn mức cho phép.",
        )
    if name.startswith("_has:"):
        return _has(reading, resource_type, name, value, depth)
    head, dot, rest = name.partition(".")
    code, _, modifier = head.partition(":")
    known = reading.find(resource_type, code)
    if known is None or (head.endswith(":") and not modifier):
        return None
    if not dot:
        reading.values += value.count(",") + 1
        if reading.values > MAX_VALUES:
            raise TooCostly(
                f"A search may have at most {MAX_VALUES} values.",
                text_vi=f"Một tìm kiếm có nhiều nhất {MAX_VALUES} giá trị.",
            )
        if known.own is not None:
            check_own(reading, known.own, Asked(known, name, modifier), value)
        if known.code in WORDED or known.type == "special":
            reading.looked_for += value.count(",") + len(words_of(value))
            if reading.looked_for > MAX_LOOKED_FOR:
                raise TooCostly(
                    f"A search may ask for at most {MAX_LOOKED_FOR} words or places.",
                    text_vi=f"Một tìm kiếm hỏi nhiều nhất {MAX_LOOKED_FOR} từ hoặc vị trí.",
                )
        return criterion(Asked(known, name, modifier, reading.base_url, reading.now), value)
    if known.type != "reference":
        return None
    if modifier and modifier not in RESOURCE_TYPES:
        raise InvalidValue(
            f"The chain {shown(name)} has a modifier that is no resource type.",
            text_vi=f"Chuỗi tham số {shown(name)} có bổ từ không phải là loại tài nguyên.",
        )
    targets = {modifier} if modifier else known.targets
    return _chain(reading, (known.code, rest, value), sorted(targets), depth, name)


def is_linked(resource_type: str, name: str, known: Known = R4) -> bool:
    """Return whether a name is a `_has`, or a chain that begins with a known parameter."""
    head, dot, _ = name.partition(".")
    begun = dot and known.get(resource_type, head.partition(":")[0])
    return name.startswith("_has:") or bool(begun)


def _chain(
    reading: Reading, link: tuple[str, str, str], targets: list[str], depth: int, name: str
) -> Expression | None:
    code, rest, value = link
    found: list[Expression] = []
    refusals: list[InvalidValue] = []
    for target in targets:
        try:
            inner = named(reading, target, rest, value, depth + 1)
        except InvalidValue as refusal:
            refusals.append(refusal)
            continue
        if inner is not None:
            found.append(Chain(code, target, inner))
    if not found and refusals:
        raise refusals[0]
    if len(found) > MAX_TARGETS:
        raise InvalidValue(
            f"The chain {shown(name)} may lead to {len(found)} resource types; "
            "name one of them, as in subject:Patient.name.",
            text_vi=f"Chuỗi tham số {shown(name)} có thể dẫn đến {len(found)} loại tài nguyên; "
            "hãy nêu một loại, như subject:Patient.name.",
        )
    if not found:
        return None
    return found[0] if len(found) == 1 else Or(tuple(found))


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
    return None if inner is None else Has(source, known.code, inner)
