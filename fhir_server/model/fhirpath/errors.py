"""What is wrong with an expression, or with running it."""

from __future__ import annotations

from typing import Literal

Kind = Literal["syntax", "semantic", "execution", "too-costly", "not-supported"]
"""`syntax`: it is not FHIRPath. `semantic`: it cannot be right for the type it is meant for.
`execution`: it fails on this resource. `too-costly`: it takes more work than is allowed.
`not-supported`: it asks for what this evaluation was not given, such as a terminology service."""


class FhirPathError(ValueError):
    """An expression cannot be read, or cannot be evaluated.

    The text is one whole sentence and has nothing of the resource in it.

    Attributes:
        kind: What it is about.
        position: Where in the expression, in characters from 0; None where it is not known.
    """

    def __init__(self, text: str, *, kind: Kind = "execution", position: int | None = None) -> None:
        super().__init__(text)
        self.kind: Kind = kind
        self.position = position
