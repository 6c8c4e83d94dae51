"""Facts extracted from HL7's FHIR R4 definitions (CC0)."""
