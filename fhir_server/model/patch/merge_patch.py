"""JSON merge patch: RFC 7396. An array is replaced whole, null takes away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fhir_server.model.patch.refusal import Allowance, malformed
from fhir_server.model.patch.values import Container, cleared, fresh


@dataclass(frozen=True, slots=True)
class MergePatch:
    """An object that says what is other in the resource."""

    change: dict[str, Any]
    cost: float = 0.0

    def apply(self, document: Any, allowance: Allowance | None = None) -> Any:  # noqa: ARG002 - as all patches
        """Return the document with the change merged in; the one that was given is changed.

        An object that the nulls leave empty is taken away too. It costs what its length is.
        """
        emptied: list[Container] = []
        return cleared(_merged(document, self.change, emptied), emptied)


def parse(value: Any) -> MergePatch:
    """Return the patch that a value of JSON is.

    Raises:
        Malformed: It is no object: it would replace the resource by what is none.
    """
    if not isinstance(value, dict):
        raise malformed("A merge patch is an object.", "Merge patch phải là một đối tượng.")
    return MergePatch(value)


def _merged(target: Any, change: dict[str, Any], emptied: list[Container]) -> dict[str, Any]:
    made: dict[str, Any] = target if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            made.pop(name, None)
        elif isinstance(value, dict):
            made[name] = _merged(made.get(name), value, emptied)
        else:
            made[name] = fresh(value)
    if change:
        emptied.append(made)
    return made
