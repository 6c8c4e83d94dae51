"""What the server assigns: id, `meta.versionId`, `meta.lastUpdated`; and whether content is new.

https://hl7.org/fhir/R4/resource.html#Meta
"""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fhir_server.model import codec, xml
from fhir_server.model.outcome import Malformed
from fhir_server.model.primitives import format_instant, from_micros, micros

if TYPE_CHECKING:
    from datetime import datetime

    from fhir_server.interactions.context import Resource

ASSIGNED: Final = ("versionId", "lastUpdated")
"""Elements of meta that each version has anew."""


def moment_of(now: datetime, *, after: int = 0) -> int:
    """Return the instant of a write in microseconds, to the millisecond, never before `after`."""
    return max(micros(now) // 1000 * 1000, after)


@lru_cache(maxsize=64)
def _instant(moment: int) -> str:
    """Return a moment as text: the entries of a Bundle share it."""
    return format_instant(from_micros(moment))


def stamped(resource: Resource, resource_id: str, version_id: int, moment: int) -> Resource:
    """Return the resource as it is stored: type, id and meta first, the server's meta in it."""
    said = resource.get("meta", {})
    if not isinstance(said, dict):  # validation, which comes next, refuses it
        return {"resourceType": resource["resourceType"], "id": resource_id, "meta": said} | {
            k: v for k, v in resource.items() if k != "id"
        }
    kept = {k: v for k, v in said.items() if k not in ASSIGNED}
    meta = {
        "versionId": str(version_id),
        "lastUpdated": _instant(moment),
        **kept,
    }
    head = {"resourceType": resource["resourceType"], "id": resource_id, "meta": meta}
    return head | {k: v for k, v in resource.items() if k not in head}


def is_same(stored: bytes, asked: Resource) -> bool:
    """Return whether a stored body says what is asked, but for what the server assigns."""
    return _equal(_content(codec.loads_stored(stored)), _content(asked))


def _content(resource: Resource) -> Resource:
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ASSIGNED}
    rest = {k: v for k, v in resource.items() if k not in {"meta", "id"}}
    return rest | {"meta": meta} if meta else rest


def _is_same_div(left: Any, right: Any) -> bool:
    """Return whether two narratives are one XHTML: `&quot;` and `"` in a text are the same."""
    if not (isinstance(left, str) and isinstance(right, str)):
        return False
    try:
        return xml.canonical_div(left) == xml.canonical_div(right)
    except Malformed:
        return False


def _equal(left: Any, right: Any) -> bool:
    # 1.10 is not 1.1: FHIR keeps the precision of a decimal, which Decimal's own == does not.
    if isinstance(left, dict):
        return (
            isinstance(right, dict)
            and left.keys() == right.keys()
            and all(
                _equal(value, right[key]) or (key == "div" and _is_same_div(value, right[key]))
                for key, value in left.items()
            )
        )
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        # A decimal written without a point is read as an int, and so a stored -0 as 0.
        return (
            isinstance(left, Decimal | int)
            and isinstance(right, Decimal | int)
            and left == right
            and str(left).removeprefix("-") == str(right).removeprefix("-")
        )
    return type(left) is type(right) and bool(left == right)
