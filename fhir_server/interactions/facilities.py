"""What a facility is called, by its code: the name of the Organization that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_server.model import codec
from fhir_server.model.identifiers import MA_CSKCB

if TYPE_CHECKING:
    from fhir_server.store.port import Store


class Facilities:
    """The names of facilities, each read once; Organizations say nothing of a patient.

    Args:
        store: Where the Organizations are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[str, str] = {}

    async def name(self, code: str) -> str:
        """Return the name of the Organization that has this facility code; "" where none has."""
        if code not in self._names:
            holder = await self._store.holder(f"{MA_CSKCB}|{code}")
            version = await self._store.read(*holder) if holder else None
            known = version is not None and not version.deleted
            found = codec.loads_stored(version.body).get("name") if version and known else None
            self._names[code] = found or ""
        return self._names[code]
