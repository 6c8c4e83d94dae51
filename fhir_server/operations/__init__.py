"""One file a FHIR operation."""
