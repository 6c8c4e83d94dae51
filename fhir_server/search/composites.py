"""What a composite says of its components' own parameters.

A component of R4's composites has the name of a parameter of the same type, and finds what that
finds: where `code-value-quantity` matches, so does `value-quantity` by its second part alone.
"""

from __future__ import annotations

from functools import cache

from fhir_server.search.expression import (
    CompositeIs,
    DateIs,
    Expression,
    NumberIs,
    QuantityIs,
    StringIs,
    TokenIs,
)
from fhir_server.search.parameters import parameters

_LEAVES = TokenIs | StringIs | DateIs | NumberIs | QuantityIs


def implied(where: CompositeIs, resource_type: str) -> tuple[Expression, ...]:
    """Return what a resource that matches a composite matches too, of single parameters."""
    names = alike(resource_type, where.param)
    return tuple(part for part in where.parts if isinstance(part, _LEAVES) and part.param in names)


@cache
def alike(resource_type: str, code: str) -> frozenset[str]:
    """Return the components whose values are all among those of the parameter of their name."""
    known = parameters(resource_type)
    composite = known.get(code)
    if composite is None:
        return frozenset()
    found = []
    for component in composite.components:
        own = known.get(component.code)
        if own is None or own.type != component.type:
            continue
        steps = {
            (*outer.steps, *inner.steps)
            for outer in composite.paths
            for inner in component.paths
            if not inner.root
        }
        whole = all(not inner.root for inner in component.paths)
        if whole and steps <= {path.steps for path in own.paths}:
            found.append(component.code)
    return frozenset(found)
