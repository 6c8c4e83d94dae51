"""A dossier's record as a transaction Bundle: what is made of it, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mappings.xml130.appointment import appointments
from mappings.xml130.claim import claim
from mappings.xml130.condition import conditions, is_restricted
from mappings.xml130.coverage import coverages
from mappings.xml130.draft import Draft
from mappings.xml130.encounter import encounter
from mappings.xml130.medication import medications
from mappings.xml130.observation import observations
from mappings.xml130.organization import organization
from mappings.xml130.patient import patient
from mappings.xml130.procedure import procedures
from mappings.xml130.provenance import provenance
from mappings.xml130.record import Kind, Record, RecordIssue


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a record became.

    Attributes:
        bundle: A transaction Bundle whose references resolve inside it.
        keys: The key of each entry, the same whenever the dossier is sent again.
        issues: What the mapping could not say; the rules of the record are asked elsewhere.
    """

    bundle: dict[str, Any]
    keys: tuple[str, ...]
    issues: tuple[RecordIssue, ...] = ()


def to_bundle(
    record: Record, *, recorded: datetime, source: str | None = None, kind: Kind = "xml"
) -> Mapped:
    """Return the Bundle of a dossier; the same record gives the same Bundle.

    Args:
        record: The dossier, without errors.
        recorded: When it was received, for the Provenance.
        source: What names the kept bytes, for the Provenance.
        kind: Whether it came as XML tables or as the sixteen fields.

    Raises:
        ValueError: The record withdraws its visit, which makes nothing.
    """
    if record.is_withdrawal:
        raise ValueError("A withdrawal is not mapped.")
    draft = Draft(record, kind, restricted=is_restricted(record))
    organization(draft)
    patient(draft)
    coverages(draft)
    encounter(draft)
    conditions(draft)
    medications(draft)
    procedures(draft)
    observations(draft)
    appointments(draft)
    claim(draft)
    provenance(draft, recorded, source)
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": draft.entries}
    return Mapped(bundle, tuple(draft.keys))
