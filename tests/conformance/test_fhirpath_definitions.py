"""HL7's own FHIRPath: R4's constraints and search parameters, over HL7's own examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fhir_server.model import codec, definitions
from fhir_server.model.fhirpath import expression as fhirpath
from fhir_server.model.fhirpath import item
from fhir_server.model.fhirpath.environment import Environment
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import Node
from fhir_server.model.fhirpath.tree import Binary, Tree
from tests.data import ExamplesOf

# dom-3 has `descendants().as(canonical)`, which N1 refuses for several items.
R4 = Environment(html=lambda text: text.startswith("<div"), many_as=True)

NOT_HELD = {
    # R4 and N1 tell FHIR.boolean and System.Boolean apart (testType12), que-7 does not.
    "que-7": 1,
}
EVALUATIONS = 80_000
"""Of a constraint on an element, in all the examples; there are more."""


def constrained(node: Node) -> Iterator[tuple[Node, tuple[str, ...]]]:
    """Give each element of a resource, with the keys of the constraints on it."""
    of_type = definitions.type_invariants(node.type) if definitions.is_type(node.type) else ()
    yield node, of_type
    known = definitions.properties(node.type)
    for name, element in item.named_children(node):
        if name in known:
            yield element, known[name].element.invariants
        yield from constrained(element)


def alternatives(tree: Tree) -> Iterator[Tree]:
    """Give the parts of an expression that a bar joins."""
    while isinstance(tree, Binary) and tree.operator == "|":
        yield tree.right
        tree = tree.first
    yield tree


@pytest.mark.data
def test_the_examples_keep_r4_s_constraints(examples_of: ExamplesOf) -> None:
    """Every constraint holds for every element of every example; none fails or is refused."""
    constraints = {
        key: fhirpath.compile(found.expression) for key, found in definitions.invariants().items()
    }
    wrong: Counter[str] = Counter()
    many = 0
    for _, body in examples_of("json"):
        resource: dict[str, Any] = codec.parse_resource(body)
        for node, keys in constrained(item.root(resource)):
            for key in keys:
                many += key in constraints
                if key in constraints and not constraints[key].holds(resource, R4, at=node.keys):
                    wrong[key] += 1
    assert wrong == NOT_HELD
    assert many > EVALUATIONS


@pytest.mark.parametrize("key", sorted(definitions.invariants()))
def test_a_constraint_of_r4_is_read_and_shown(key: str) -> None:
    """It is FHIRPath, and the same again from its text."""
    read = fhirpath.compile(definitions.invariants()[key].expression)

    assert fhirpath.compile(str(read)) == read


def test_the_search_parameters_of_r4_are_right_for_their_types() -> None:
    """Each expression is read, and for each of its types one of its alternatives can be right."""
    wrong = []
    for parameter in definitions.parameters_by_url().values():
        expressions = [parameter.expression, *(part.expression for part in parameter.components)]
        trees = [fhirpath.compile(text).tree for text in expressions if text]
        for type_ in parameter.base if parameter.expression else ():
            for one in alternatives(trees[0]):
                try:
                    fhirpath.Expression(one).check(type_)
                except FhirPathError:
                    continue
                break
            else:
                wrong.append((type_, parameter.code))
    assert wrong == []
