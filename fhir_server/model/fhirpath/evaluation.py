"""Running a syntax tree over a resource.

http://hl7.org/fhirpath/N1/#expressions
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fhir_server.model import definitions
from fhir_server.model.fhirpath import item as items_
from fhir_server.model.fhirpath import operators, types
from fhir_server.model.fhirpath.environment import CONSTANTS, PREFIXES, Environment
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.functions import table
from fhir_server.model.fhirpath.invocation import Invocation, Scope
from fhir_server.model.fhirpath.item import Item, Node
from fhir_server.model.fhirpath.tree import (
    Binary,
    Call,
    Constant,
    Indexer,
    Member,
    Polarity,
    Special,
    Tree,
    TypeOperation,
    spine,
)
from fhir_server.model.fhirpath.work import Work


@dataclass(frozen=True, slots=True)
class Place:
    """Where an evaluation stands.

    Attributes:
        context: What the expression is about.
        resource: The resource that holds it: `%resource`.
        root: What contains that resource, if it is a contained one; else itself: `%rootResource`.
        outermost: The whole of what was given, such as a Bundle.
    """

    context: Node
    resource: Node
    root: Node
    outermost: Node


class Evaluation:
    """One run of one expression."""

    def __init__(self, place: Place, environment: Environment) -> None:
        self.place = place
        self.environment = environment
        self.work = Work(environment.steps) if environment.work is None else environment.work

    def run(self, tree: Tree, scope: Scope) -> list[Item]:
        """Return what a tree gives.

        Raises:
            FhirPathError: It fails, with the position of what failed.
        """
        found: list[Item] = []
        for node in spine(tree):
            try:
                found = self.step(node, found, scope)
            except FhirPathError as error:
                if error.position is None:
                    error.position = node.position
                raise
        return found

    def step(self, node: Tree, before: list[Item], scope: Scope) -> list[Item]:
        """Return what one node of a tree gives, given what it begins with."""
        self.work.spend()
        match node:
            case Member(first, name):
                return self.member(
                    before if first is not None else scope.this, name, is_root=first is None
                )
            case Call():
                return self.call(node, before, scope)
            case Constant(value):
                return [] if value is None else [value]
            case Binary(operator, _, right):
                if operator in operators.DECIDED:
                    decided = operators.DECIDED[operator]
                    if operators.truth(before) is decided:
                        return [operator != "and"]
                return operators.apply(operator, before, self.run(right, scope), self.work)
            case TypeOperation(operator, _, names):
                return table.type_operation(self, operator, before, types.resolve(names))
            case Indexer(_, index):
                return self.indexed(before, self.run(index, scope))
            case Special(name, first):
                return self.special(name, before if first is not None else None, scope)
            case Polarity(sign, operand):
                found = self.run(operand, scope)
                return operators.negated(found) if sign == "-" else operators.signed(found)
            case _:
                return self.external(node.name)

    def member(self, focus: Sequence[Item], name: str, *, is_root: bool) -> list[Item]:
        """Return the elements of a name, or what is of the type of a name at the root of a path."""
        found: list[Item] = []
        is_type = is_root and name[:1].isupper() and definitions.is_type(name)
        for item in focus:
            if not isinstance(item, Node):
                found.extend(table.part(item, name))
            elif is_type and name in items_.lineage(item.type):
                found.append(item)
            else:
                found.extend(items_.child(item, name))
        self.work.spend(len(focus) + len(found))
        return found

    def call(self, node: Call, before: list[Item], scope: Scope) -> list[Item]:
        """Return what a function gives."""
        function = table.FUNCTIONS.get(node.name)
        if function is None:
            raise FhirPathError(
                "The expression calls a function that there is not.", kind="semantic"
            )
        if not function.least <= len(node.arguments) <= function.most:
            raise FhirPathError(
                "A function is called with too few or too many arguments.", kind="semantic"
            )
        focus = before if node.first is not None else list(scope.this)
        self.work.spend(len(focus))
        found = function.run(Invocation(self, node.name, focus, node.arguments, scope))
        self.work.spend(len(found))
        return found

    def indexed(self, before: list[Item], index: list[Item]) -> list[Item]:
        """Return the item at an index, from 0."""
        at = operators.single(index)
        if at is None:
            return []
        if isinstance(at, bool) or not isinstance(at, int):
            raise FhirPathError("An index is no integer.")
        return [before[at]] if 0 <= at < len(before) else []

    def special(self, name: str, before: list[Item] | None, scope: Scope) -> list[Item]:
        """Return `$this`, `$index` or `$total`."""
        if name == "this":
            return list(scope.this) if before is None else before
        found = scope.index if name == "index" else scope.total
        if found is None:
            raise FhirPathError(f"“${name}” stands where nothing is counted.", kind="semantic")
        return list(found)

    def external(self, name: str) -> list[Item]:
        """Return a variable of the environment."""
        place, variables = self.place, self.environment.variables
        match name:
            case "context":
                return [place.context]
            case "resource":
                return [place.resource]
            case "rootResource":
                return [place.root]
        if name in variables:
            return given(variables[name])
        if name in CONSTANTS:
            return [CONSTANTS[name]]
        for prefix, url in PREFIXES.items():
            if name.startswith(prefix):
                return [url + name.removeprefix(prefix)]
        raise FhirPathError("The expression names a variable that is not given.", kind="semantic")


def given(value: Any) -> list[Item]:
    """Return a value of the environment as items; objects are nodes that are nowhere."""
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [item for one in value for item in given(one)]
    return [items_.root(value, None)] if isinstance(value, dict) else [value]


def place_at(resource: dict[str, Any], keys: items_.Keys) -> Place:
    """Return the place of an element of a resource.

    Raises:
        KeyError: Nothing is there.
    """
    path = items_.at(resource, keys)
    holders = [node for node in path if definitions.kind(node.type) == "resource"]
    inner = holders[-1] if holders else path[0]
    root = inner
    if len(holders) > 1 and inner.keys and "contained" in inner.keys[-2:]:
        root = holders[-2]
    return Place(path[-1], inner, root, path[0])


def run(tree: Tree, place: Place, environment: Environment) -> list[Item]:
    """Return what a tree gives at a place.

    Raises:
        FhirPathError: It fails, or takes more work than it may.
    """
    evaluation = Evaluation(place, environment)
    try:
        return evaluation.run(tree, Scope([place.context]))
    except RecursionError:
        raise FhirPathError(
            "The expression or the resource is nested too deeply.", kind="too-costly"
        ) from None
