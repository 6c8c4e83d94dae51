"""The narrative of a resource whose data a patch has changed.

https://hl7.org/fhir/R4/http.html#patch: the server SHALL ensure that it is not clinically unsafe
after the patch. Of what the page proposes: a narrative that was made of the data is taken away, for
whoever makes it anew; where a person wrote it, the patch must say it anew.
"""

from __future__ import annotations

from typing import Any, Final

from fhir_server.model.outcome import Invalid, Issue
from fhir_server.model.patch.values import equal

_MADE: Final = frozenset({"generated", "extensions"})
_NOT_TOLD: Final = frozenset({"id", "implicitRules", "language", "meta", "text"})
"""Elements of which a narrative tells nothing."""


def safe(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return a patched resource without a narrative that no longer tells what the data say.

    Args:
        before: The resource as it was; of it and `after` no narrative is looked into.
        after: The resource as the patch made it.

    Raises:
        Invalid: A person wrote the narrative, and the patch leaves it as it was.
    """
    text = before.get("text")
    if not isinstance(text, dict) or not equal(text, after.get("text")) or _tells(before, after):
        return after
    status = text.get("status")
    if status in _MADE:
        return {name: value for name, value in after.items() if name != "text"}
    if status == "additional":
        raise Invalid([
            Issue(
                "business-rule",
                "A person wrote the narrative: a patch of the data must say it anew, too.",
                expression=(f"{before.get('resourceType')}.text",),
                text_vi="Phần tường thuật do người viết: bản vá dữ liệu phải sửa cả phần này.",
            )
        ])
    return after


def _tells(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Return whether all is the same of which a narrative may tell."""
    names = (before.keys() | after.keys()) - _NOT_TOLD
    return all(
        name in before and name in after and equal(before[name], after[name]) for name in names
    )
