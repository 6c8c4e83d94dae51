"""What a caller's tags say."""

from __future__ import annotations

import pytest

from auth.principal import SYSTEM, Principal
from tests.auth.access_table import AUDITOR, BHXH, CHILD, DOCTOR, HOSPITAL, MOTHER


@pytest.mark.parametrize(
    ("principal", "tag", "author"),
    [
        (HOSPITAL, "facility/01999", "author/facility/01999"),
        (DOCTOR, "facility/01999", "author/facility/01999"),
        (MOTHER, "", "author/citizen/mother"),
        (CHILD, "", "author/citizen/bao"),
        (BHXH, "", "author/payer/BHXH"),
        (AUDITOR, "", "author/auditor"),
        (SYSTEM, "", "author/system"),
    ],
    ids=str,
)
def test_tags_say_who_may_see_and_who_wrote(principal: Principal, tag: str, author: str) -> None:
    """A facility's tag opens what it wrote to it; the author is known of every caller."""
    assert (principal.tag, principal.author) == (tag, author)
