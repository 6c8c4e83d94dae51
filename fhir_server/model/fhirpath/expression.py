"""FHIRPath expressions: read once, evaluated over any number of resources.

http://hl7.org/fhirpath/N1/ and https://hl7.org/fhir/R4/fhirpath.html
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import localcontext
from functools import lru_cache
from typing import Any, Final

from fhir_server.model.fhirpath import evaluation, number, operators
from fhir_server.model.fhirpath.check import check
from fhir_server.model.fhirpath.environment import Environment
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import Item, Keys, Node, TypeInfo, system_type
from fhir_server.model.fhirpath.parser import parse
from fhir_server.model.fhirpath.show import show
from fhir_server.model.fhirpath.tree import Member, Tree

__all__ = ["Environment", "Expression", "FhirPathError", "Place", "Result", "compile"]

_NOTHING: Final = Environment()

_LONG: Final = 1000
"""Characters; longer ones are not remembered: a thousand of 20,000 would fill the memory."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element is in a resource.

    Attributes:
        keys: The JSON names and indexes that lead to it: `("name", 0, "given", 1)`; () is the
            resource. What stands beside a primitive is under its `_name`.
        type: Its FHIR type; of a backbone the path, such as `Patient.contact`, under which
            `definitions.properties` has what may be in it.
    """

    keys: Keys
    type: str


@dataclass(frozen=True, slots=True)
class Result:
    """One item that an expression gives.

    Attributes:
        type: A FHIR type (`code`, `Patient.contact`), or a type of FHIRPath's (`System.Integer`).
        value: The JSON value, None for a primitive without one; or FHIRPath's value.
        place: Where it is in the resource; None for what is not in it.
    """

    type: str
    value: Any
    place: Place | None


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that has been read."""

    tree: Tree

    def __str__(self) -> str:
        """Its text, with single spaces and without needless brackets."""
        return show(self.tree)

    def check(self, type_: str) -> None:
        """See that the expression can be right for a type, or for a backbone's path.

        Raises:
            FhirPathError: It names an element that cannot be there, or it gives a function what the
                function never takes (`semantic`).
        """
        check(self.tree, type_)

    def evaluate(
        self, resource: dict[str, Any], environment: Environment = _NOTHING, *, at: Keys = ()
    ) -> list[Any]:
        """Return the values that it gives for a resource, or for the element at a place of it.

        Elements are as JSON has them, a primitive without a value is left out; other values are
        bool, int, Decimal, str, `temporal.Moment` and `quantity.Quantity`.

        Raises:
            FhirPathError: It fails, or takes more work than it may.
            KeyError: Nothing is at that place.
        """
        found = self.results(resource, environment, at=at)
        return [result.value for result in found if result.value is not None]

    def results(
        self, resource: dict[str, Any], environment: Environment = _NOTHING, *, at: Keys = ()
    ) -> list[Result]:
        """Return what it gives with types and places.

        Raises:
            FhirPathError: It fails, or takes more work than it may.
            KeyError: Nothing is at that place.
        """
        return [_result(item) for item in self._items(resource, environment, at)]

    def locate(
        self, resource: dict[str, Any], environment: Environment = _NOTHING, *, at: Keys = ()
    ) -> list[Place]:
        """Return where in the resource each item is that it gives.

        Raises:
            FhirPathError: It fails, takes more work than it may, or gives what is no element of
                the resource.
            KeyError: Nothing is at that place.
        """
        found = [result.place for result in self.results(resource, environment, at=at)]
        places = [place for place in found if place is not None]
        if len(places) != len(found):
            raise FhirPathError("The expression gives what is no element of the resource.")
        return places

    def is_true(
        self, resource: dict[str, Any], environment: Environment = _NOTHING, *, at: Keys = ()
    ) -> bool:
        """Tell whether it gives true, as a filter or a trigger asks: empty is not true.

        Raises:
            FhirPathError: It fails, takes more work than it may, or gives several items.
            KeyError: Nothing is at that place.
        """
        return operators.truth(self._items(resource, environment, at)) is True

    def holds(
        self, resource: dict[str, Any], environment: Environment = _NOTHING, *, at: Keys = ()
    ) -> bool:
        """Tell whether a constraint is kept: it gives anything but false.

        HL7's own constraints give nothing where they have nothing to say: `ref-1` for a reference
        that has only a display.

        Raises:
            FhirPathError: It fails, takes more work than it may, or gives several items.
            KeyError: Nothing is at that place.
        """
        return operators.truth(self._items(resource, environment, at)) is not False

    def parent(self) -> tuple[Expression | None, str] | None:
        """Return what stands before the last name, and that name; None where none is last.

        `Patient.contact.name` is `Patient.contact` and `name`: where an element would be that is
        not there. Without anything before the name it is about the resource itself: None.
        """
        if not isinstance(self.tree, Member):
            return None
        first = self.tree.first
        return (None if first is None else Expression(first)), self.tree.name

    def _items(self, resource: dict[str, Any], environment: Environment, at: Keys) -> list[Item]:
        place = evaluation.place_at(resource, at)
        with localcontext(number.CONTEXT):
            return evaluation.run(self.tree, place, environment)


def _result(item: Item) -> Result:
    match item:
        case Node(type_, value, _, keys):
            return Result(type_, value, None if keys is None else Place(keys, type_))
        case TypeInfo():
            return Result("System.TypeInfo", item, None)
        case _:
            return Result(f"System.{system_type(item)}", item, None)


def compile(text: str) -> Expression:  # noqa: A001 - a reader of FHIRPath looks for this word
    """Return an expression, read.

    Raises:
        FhirPathError: It is not FHIRPath; with the position of what is wrong (`syntax`), or it is
            too long or too deep (`too-costly`).
    """
    return _known(text) if len(text) <= _LONG else Expression(parse(text))


@lru_cache(maxsize=1024)
def _known(text: str) -> Expression:
    return Expression(parse(text))
