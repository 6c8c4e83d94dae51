"""Where it all came from: one Provenance over the visit, naming the bytes as received."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fhir_server.model.identifiers import NS
from fhir_server.model.primitives import format_instant
from mappings.xml130.draft import Draft, prune

SUBMISSION: Final = f"{NS}/sid/submission"
"""Identifier system of a kept submission: its id, `#` and the dossier's number in it."""

_AGENT: Final = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"


def provenance(draft: Draft, recorded: datetime, source: str | None) -> None:
    """Add the Provenance, whose targets are all entries before it."""
    entity = None
    if source:
        what = {"identifier": {"system": SUBMISSION, "value": source}}
        entity = [{"role": "source", "what": what}]
    draft.add(
        "Provenance",
        prune({
            "resourceType": "Provenance",
            "target": [{"reference": entry["fullUrl"]} for entry in draft.entries],
            "recorded": format_instant(recorded),
            "agent": [
                {
                    "type": {"coding": [{"system": _AGENT, "code": "author"}]},
                    "who": draft.organization,
                }
            ],
            "entity": entity,
        }),
    )
