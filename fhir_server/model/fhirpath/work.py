"""The work that one evaluation may do: anybody may send an expression, none may hang the server."""

from __future__ import annotations

from typing import Final

from fhir_server.model.fhirpath.errors import FhirPathError

STEPS: Final = 500_000
"""What one evaluation may cost; measured, a second at most (README.md)."""

MAX_TEXT: Final = 1_048_576
"""Characters of a string that an expression makes: as long as FHIR's own strings may be."""

_CHARACTERS: Final = 64
"""Characters that are copied or searched for the price of one step."""


class Work:
    """The steps that are left.

    One step is one operator or function, one item that it looks at or gives, or 64 characters.
    """

    __slots__ = ("left",)

    def __init__(self, steps: int = STEPS) -> None:
        self.left = steps

    def spend(self, steps: int = 1) -> None:
        """Take steps away.

        Raises:
            FhirPathError: None is left.
        """
        self.left -= steps
        if self.left < 0:
            raise FhirPathError(
                "The expression takes more work than one evaluation may do.", kind="too-costly"
            )

    def spend_text(self, length: int) -> None:
        """Take away what a string of this many characters costs.

        Raises:
            FhirPathError: It is too long, or no step is left.
        """
        if length > MAX_TEXT:
            raise FhirPathError(
                "The expression makes a string that is too long.", kind="too-costly"
            )
        self.spend(1 + length // _CHARACTERS)
