"""What a patch is refused with: 400 where it cannot be read, 422 where it cannot be applied.

RFC 5789, section 2.2. No text has anything of the resource or of the patch in it.
"""

from __future__ import annotations

from typing import Final, Literal

from fhir_server.model.outcome import Invalid, Issue, Malformed

MOST_OPERATIONS: Final = 5000
"""Of one patch: each may look at, or move, all that a long list holds."""


class Unfit(Exception):
    """An operation cannot be applied to this resource.

    Args:
        text: What is wrong, to follow "Operation 3: ".
        vi: The same in Vietnamese.
        code: The issue's code.
    """

    def __init__(
        self, text: str, vi: str, *, code: Literal["processing", "too-costly"] = "processing"
    ) -> None:
        super().__init__(text)
        self.text, self.vi, self.code = text, vi, code

    def at(self, number: int) -> Invalid:
        """Return the refusal that names the operation, counted from 1."""
        return Invalid([
            Issue(
                self.code,
                f"Operation {number} of the patch: {self.text}",
                text_vi=f"Thao tác {number} của bản vá: {self.vi}",
            )
        ])


def malformed(text: str, vi: str, number: int | None = None) -> Malformed:
    """Return the refusal of a patch that cannot be read, of its operation `number`."""
    if number is None:
        return Malformed(text, text_vi=vi)
    return Malformed(
        f"Operation {number} of the patch: {text}",
        text_vi=f"Thao tác {number} của bản vá: {vi}",
    )


def require_few(count: int, most: int = MOST_OPERATIONS) -> None:
    """Refuse a patch of too many operations.

    Raises:
        Invalid: There are more than this.
    """
    if count > most:
        raise Invalid([
            Issue(
                "too-costly",
                f"A patch may have at most {most} operations.",
                text_vi=f"Một bản vá có tối đa {most} thao tác.",
            )
        ])


class Budget:
    """What one patch may still cost, in units of its own."""

    __slots__ = ("left",)

    def __init__(self, units: int) -> None:
        self.left = units

    def spend(self, units: int) -> None:
        """Take units away.

        Raises:
            Unfit: None is left.
        """
        self.left -= units
        if self.left < 0:
            raise Unfit(
                "the patch takes more work than one patch may.",
                "bản vá đòi hỏi nhiều công việc hơn mức cho phép.",
                code="too-costly",
            )
