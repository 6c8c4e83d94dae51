"""NGAY_TAI_KHAM as Appointment: the days on which the patient is to come again."""

from __future__ import annotations

from mappings.xml130.condition import MAIN_KEY
from mappings.xml130.draft import Draft


def appointments(draft: Draft) -> None:
    """Add one proposed Appointment a day."""
    for day in dict.fromkeys(draft.record.xml1.ngay_tai_kham):
        if day is None:
            continue
        text = day.isoformat()
        draft.add(
            f"Appointment/{text}",
            draft.labelled({
                "resourceType": "Appointment",
                "status": "proposed",
                "appointmentType": {
                    "coding": [
                        {
                            "system": "http://terminology.hl7.org/CodeSystem/v2-0276",
                            "code": "FOLLOWUP",
                        }
                    ],
                    "text": "Tái khám",
                },
                "reasonReference": [draft.to(MAIN_KEY)],
                "participant": [
                    {"actor": draft.patient, "status": "needs-action"},
                ],
                "requestedPeriod": [{"start": text, "end": text}],
            }),
        )
