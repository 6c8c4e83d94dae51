"""The facility as Organization."""

from __future__ import annotations

from fhir_server.model.identifiers import MA_CSKCB
from mappings.xml130.draft import Draft, search_for


def organization(draft: Draft) -> None:
    """Add the facility, known by MA_CSKCB alone: a dossier does not name it."""
    code = draft.record.facility
    draft.add(
        f"Organization/{code}",
        {
            "resourceType": "Organization",
            "identifier": [{"use": "official", "system": MA_CSKCB, "value": code}],
            "active": True,
        },
        search_for(MA_CSKCB, code),
    )
