"""What a withdrawn visit's resources become: entered in error, its Claim cancelled.

MA_DOITUONG_KCB 8 (QĐ 3276/2025, annex 1) takes a visit back. What was said of it stays readable,
marked as what never was; who was in it (Patient, Coverage, Organization, Practitioner) stays.
"""

from __future__ import annotations

from typing import Any, Final

Resource = dict[str, Any]

ENTERED_IN_ERROR: Final = frozenset({
    "Appointment", "CarePlan", "CareTeam", "Communication", "CommunicationRequest", "Composition",
    "DeviceRequest", "DeviceUseStatement", "DiagnosticReport", "DocumentReference", "Encounter",
    "EpisodeOfCare", "Flag", "Goal", "ImagingStudy", "Immunization", "List", "Media", "Medication",
    "MedicationAdministration", "MedicationDispense", "MedicationRequest", "MedicationStatement",
    "NutritionOrder", "Observation", "Procedure", "QuestionnaireResponse", "RequestGroup",
    "RiskAssessment", "ServiceRequest", "SupplyDelivery", "Task",
})  # fmt: skip
"""Types whose `status` has the code `entered-in-error`."""

_GOAL: Final = {"Goal": "lifecycleStatus"}
_VERIFICATION: Final = {
    "Condition": "http://terminology.hl7.org/CodeSystem/condition-ver-status",
    "AllergyIntolerance": "http://terminology.hl7.org/CodeSystem/allergyintolerance-verification",
}
CLINICAL: Final = (*sorted(ENTERED_IN_ERROR - {"List", "Medication", "Task"}), *_VERIFICATION)
"""Types that a withdrawal looks for at a visit that no dossier made."""


def withdrawn(resource: Resource) -> Resource | None:
    """Return the resource as it is once its visit is withdrawn; None where it stays as it is."""
    resource_type = resource["resourceType"]
    if resource_type == "Claim":
        return None if resource.get("status") == "cancelled" else resource | {"status": "cancelled"}
    if system := _VERIFICATION.get(resource_type):
        coding = {"system": system, "code": "entered-in-error"}
        # FHIR: con-5, ait-2: no clinicalStatus beside entered-in-error.
        kept = {k: v for k, v in resource.items() if k != "clinicalStatus"}
        made = kept | {"verificationStatus": {"coding": [coding]}}
        return None if made == resource else made
    if resource_type not in ENTERED_IN_ERROR:
        return None
    element = _GOAL.get(resource_type, "status")
    if resource.get(element) == "entered-in-error":
        return None
    return resource | {element: "entered-in-error"}
