"""One link of a chain: from a reference parameter to what is asked of the types it may lead to.

https://hl7.org/fhir/R4/search.html#chaining
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue
from fhir_server.search.canonical import is_canonical, is_definition
from fhir_server.search.criterion import shown
from fhir_server.search.expression import (
    CanonicalChain,
    CanonicalHas,
    Chain,
    Expression,
    Has,
    Or,
)
from fhir_server.search.parameters import Parameter
from fhir_server.search.reading import MAX_TARGETS


def targets_of(known: Parameter, modifier: str, name: str) -> list[str]:
    """Return the types that a link leads to: the one that its modifier names, or all.

    A canonical URL, which R4 lets name any type, leads to those alone that have one.

    Raises:
        InvalidValue: The modifier is no resource type.
    """
    if modifier and modifier not in RESOURCE_TYPES:
        raise InvalidValue(
            f"The chain {shown(name)} has a modifier that is no resource type.",
            text_vi=f"Chuỗi tham số {shown(name)} có bổ từ không phải là loại tài nguyên.",
        )
    if modifier:
        return [modifier]
    targets = sorted(known.targets)
    defined = list(filter(is_definition, targets)) if is_canonical(known) else []
    return defined or targets


def _link(known: Parameter, target: str, asked: Expression) -> Expression:
    literal = Chain(known.code, target, asked)
    if not (is_canonical(known) and is_definition(target)):
        return literal
    return Or((literal, CanonicalChain(known.code, target, asked)))


def reversed_link(
    known: Parameter, source: str, resource_type: str, asked: Expression
) -> Expression:
    """Return a `_has`: what a source refers to by a parameter, as a reference or by its URL.

    Args:
        known: The reference parameter of the source.
        source: The type that refers.
        resource_type: The type referred to; `Resource` is any.
        asked: What is asked of the source.
    """
    literal = Has(source, known.code, asked)
    if not is_canonical(known) or not (resource_type == "Resource" or is_definition(resource_type)):
        return literal
    return Or((literal, CanonicalHas(source, known.code, asked)))


def chained(
    known: Parameter, targets: Iterable[str], inner: Callable[[str], Expression | None], name: str
) -> Expression | None:
    """Return a link to any of these types; a type that does not know what is asked is left out.

    Args:
        known: The reference parameter.
        targets: The types it may lead to.
        inner: What is asked of a type; None where the type does not know it.
        name: The chain as it is asked, for errors.

    Raises:
        InvalidValue: No type can be asked this, or too many can.
    """
    found: list[Expression] = []
    refusals: list[InvalidValue] = []
    for target in targets:
        try:
            asked = inner(target)
        except InvalidValue as refusal:
            refusals.append(refusal)
            continue
        if asked is not None:
            found.append(_link(known, target, asked))
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
