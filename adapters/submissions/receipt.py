"""The receipt of a submission: what became of each dossier, and why (contract section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from fhir_server.model.primitives import VIETNAM
from fhir_server.operations.visit import Outcome
from mappings.xml130.record import RecordIssue

_LONGEST_ECHO: Final = 255

STATUSES: Final = ("created", "updated", "unchanged", "withdrawn", "rejected")


class DossierReceipt(msgspec.Struct, omit_defaults=True):
    """What became of one dossier; `encounter` and `patient` are absent where it was not taken."""

    ma_lk: str | None
    status: str
    issues: list[RecordIssue]
    encounter: str | msgspec.UnsetType = msgspec.UNSET
    patient: str | msgspec.UnsetType = msgspec.UNSET


class Receipt(msgspec.Struct):
    """The answer to a submission.

    Attributes:
        id: None of a dry run.
        received: At +07:00, to the second.
        facility: Whose it is; None where the dossiers of a `system` submission have none in common.
        issues: What concerns the envelope itself.
    """

    id: str | None
    received: str
    facility: str | None
    accepted: int
    rejected: int
    dossiers: list[DossierReceipt]
    issues: list[RecordIssue]

    @property
    def status(self) -> int:
        """The HTTP status: every dossier taken, some, none."""
        if not self.rejected:
            return 200
        return 207 if self.accepted else 422


def receipt_of(
    submission_id: str | None,
    received: datetime,
    facility: str | None,
    dossiers: Sequence[DossierReceipt],
    issues: Sequence[RecordIssue] = (),
) -> Receipt:
    """Return the receipt of these dossiers."""
    rejected = sum(dossier.status == "rejected" for dossier in dossiers)
    return Receipt(
        id=submission_id,
        received=received.astimezone(VIETNAM).isoformat(timespec="seconds"),
        facility=facility or None,
        accepted=len(dossiers) - rejected,
        rejected=rejected,
        dossiers=list(dossiers),
        issues=list(issues),
    )


def dossier_receipt(
    ma_lk: str | None, outcome: Outcome, issues: Sequence[RecordIssue], *, names: bool = True
) -> DossierReceipt:
    """Return one dossier's part of the receipt.

    Args:
        ma_lk: As it was read; None where it was not.
        outcome: What became of it.
        issues: What its own check found; intake's findings follow.
        names: Whether to name Encounter and Patient: not in a dry run.
    """
    named = names and outcome.status != "rejected"
    return DossierReceipt(
        ma_lk=ma_lk[:_LONGEST_ECHO] if ma_lk else None,
        status=outcome.status,
        issues=list(dict.fromkeys((*issues, *outcome.issues))),
        encounter=outcome.encounter if named and outcome.encounter else msgspec.UNSET,
        patient=outcome.patient if named and outcome.patient else msgspec.UNSET,
    )


def patients_in(receipt: Receipt) -> frozenset[str]:
    """Return the ids of the Patients that a receipt names."""
    said = (dossier.patient for dossier in receipt.dossiers)
    return frozenset(name.removeprefix("Patient/") for name in said if isinstance(name, str))


def encode(receipt: Receipt) -> bytes:
    """Return the receipt as JSON."""
    return msgspec.json.encode(receipt)


def decode(data: bytes) -> Receipt:
    """Return the receipt that was kept."""
    return msgspec.json.decode(data, type=Receipt)


def as_dict(receipt: Receipt) -> dict[str, Any]:
    """Return the receipt as plain values."""
    plain: dict[str, Any] = msgspec.to_builtins(receipt)
    return plain
