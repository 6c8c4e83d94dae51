"""What a version that is no longer current was sorted by.

Only current versions are indexed. A page that others write beside needs the place of what they
changed: it is read from the body of the version that was current on the first page's time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import apsw

from fhir_server.model import codec
from fhir_server.search.expression import Sort
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import Known
from fhir_server.search.values import (
    DateValue,
    NumberValue,
    QuantityValue,
    ReferenceValue,
    StringValue,
    TokenValue,
    UriValue,
    Value,
)
from fhir_server.store.keys import decimal_key, time_key
from fhir_server.store.sqlite.budget import Budget
from fhir_server.store.sqlite.packing import Packing

_KEPT: Final = 20_000
_STEPS: Final = 4_000
"""What reading and indexing a version again costs, in SQLite's steps."""


class Former:
    """Reads the sort values of old versions, on one connection; what was read is kept."""

    def __init__(self, db: apsw.Connection, packing: Packing, budget: Budget) -> None:
        self._db = db
        self._packing = packing
        self._budget = budget
        self._kept: dict[tuple[int, Sort, str], Any] = {}

    def column(
        self, sort: Sort, rids: Sequence[int], base_url: str, known: Known
    ) -> dict[int, Any]:
        """Return the sort value of each version that has one.

        Raises:
            WorkBudgetExceeded: There are too many.
        """
        if len(self._kept) > _KEPT:
            self._kept.clear()
        found: dict[int, Any] = {}
        for rid in rids:
            at = (rid, sort, base_url)
            if at not in self._kept:
                self._budget.charge(_STEPS)
                self._budget.check()
                self._kept[at] = self._value(sort, rid, base_url, known)
            if self._kept[at] is not None:
                found[rid] = self._kept[at]
        return found

    def _value(self, sort: Sort, rid: int, base_url: str, known: Known) -> Any:
        packing, packed = next(
            self._db.execute("SELECT packing, body FROM version WHERE rid = ?", (rid,))
        )
        resource = codec.loads_stored(self._packing.unpack(packing, packed))
        index = index_values(resource, base_url=base_url, known=known, words=False)
        values = [
            key
            for value in index.values
            if value.param == sort.param and (key := _key(value)) is not None
        ]
        best = max if sort.descending else min
        return best(values) if values else None


def _key(value: Value) -> Any:
    """Return a value as `sorting.py` orders it."""
    match value:
        case TokenValue():
            return value.code or None
        case StringValue():
            return value.folded
        case DateValue():
            return time_key(value.low)
        case NumberValue() | QuantityValue():
            return decimal_key(value.low)
        case ReferenceValue():
            if value.resource_id:
                return f"{value.resource_type}/{value.resource_id}"
            return value.url
        case UriValue():
            return value.uri
        case _:
            return None
