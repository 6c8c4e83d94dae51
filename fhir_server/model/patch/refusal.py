"""What a patch is refused with: 400 where it cannot be read, 422 where it cannot be applied.

RFC 5789, section 2.2. No text has anything of the resource or of the patch in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


def too_long() -> Invalid:
    """Return the refusal of a patch whose paths or selectors are too long together."""
    return Invalid([
        Issue(
            "too-costly",
            "The paths of the patch are too long together.",
            text_vi="Tổng độ dài các đường dẫn của bản vá quá lớn.",
        )
    ])


WHOLE_PATCHES: Final = 20.0
"""How many patches, each of as much work as one may be, the entries of one Bundle may be."""


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


class Allowance:
    """What all patches of one request may still cost: 1 is as much as one patch may.

    A Bundle has thousands of entries, and each may be a patch that is just not too costly.
    """

    __slots__ = ("left",)

    def __init__(self, patches: float = WHOLE_PATCHES) -> None:
        self.left = patches

    @contextmanager
    def budget(self, most: int) -> Iterator[Budget]:
        """Give the budget of one patch; what it costs is taken away, refused or not.

        Args:
            most: The units that one patch may cost.
        """
        units = min(most, max(int(self.left * most), 0))
        budget = Budget(units)
        try:
            yield budget
        finally:
            self.left -= (units - max(budget.left, 0)) / most

    def take(self, part: float) -> None:
        """Take away a part of what one patch may cost.

        Raises:
            Invalid: Nothing is left.
        """
        if self.left <= 0:
            raise Invalid([
                Issue(
                    "too-costly",
                    "The patches of the Bundle take more work than those of one request may.",
                    text_vi="Các bản vá trong Bundle đòi hỏi nhiều công việc hơn mức cho phép.",
                )
            ])
        self.left -= part
