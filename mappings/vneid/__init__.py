"""What VNeID claims of a citizen, as FHIR."""
