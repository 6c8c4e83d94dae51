"""What a function is called with, and how it asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_server.model.fhirpath import operators
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import Item, Node, TypeInfo
from fhir_server.model.fhirpath.tree import Tree, Value

if TYPE_CHECKING:
    from fhir_server.model.fhirpath.evaluation import Evaluation


@dataclass(frozen=True, slots=True)
class Scope:
    """What `$this`, `$index` and `$total` are; None where there is none."""

    this: Sequence[Item]
    index: Sequence[Item] | None = None
    total: Sequence[Item] | None = None


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of a function.

    Attributes:
        evaluation: The run that it belongs to.
        name: The function's.
        focus: The collection it is called on.
        arguments: Not evaluated yet.
        scope: Of what surrounds the call: there the arguments are evaluated, unless each item of
            the focus is looked at.
    """

    evaluation: Evaluation
    name: str
    focus: list[Item]
    arguments: tuple[Tree, ...]
    scope: Scope

    def argument(self, at: int = 0) -> list[Item]:
        """Return an argument's items; none where it is not given."""
        if at >= len(self.arguments):
            return []
        return self.evaluation.run(self.arguments[at], self.scope)

    def each(self, at: int = 0) -> Iterator[tuple[Item, list[Item]]]:
        """Give each item of the focus, and what an argument gives for it as `$this`."""
        for index, item in enumerate(self.focus):
            yield item, self.of(at, [item], [index], self.scope.total)

    def of(
        self,
        at: int,
        this: Sequence[Item],
        index: Sequence[Item] | None = None,
        total: Sequence[Item] | None = None,
    ) -> list[Item]:
        """Return what an argument gives with a `$this`, `$index` and `$total` of its own."""
        return self.evaluation.run(self.arguments[at], Scope(this, index, total))

    def value(self) -> Value | Node | TypeInfo | None:
        """Return the one value of the focus; None where it has none.

        Raises:
            FhirPathError: It has several.
        """
        return operators.single(self.focus)

    def text(self) -> str | None:
        """Return the one string of the focus; None where it is empty.

        Raises:
            FhirPathError: It has several items, or one that is no string.
        """
        return self._string(self.focus)

    def text_argument(self, at: int = 0) -> str | None:
        """Return an argument that is one string; None where it is empty.

        Raises:
            FhirPathError: It has several items, or one that is no string.
        """
        return self._string(self.argument(at))

    def _string(self, items: Sequence[Item]) -> str | None:
        value = operators.single(items)
        if value is None or isinstance(value, str):
            return value
        raise FhirPathError(f"“{self.name}” takes a string.", kind="semantic")

    def integer_argument(self, at: int = 0) -> int | None:
        """Return an argument that is one integer; None where it is empty.

        Raises:
            FhirPathError: It has several items, or one that is no integer.
        """
        value = operators.single(self.argument(at))
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise FhirPathError(f"“{self.name}” takes an integer.", kind="semantic")


Function = Callable[[Invocation], list[Item]]
