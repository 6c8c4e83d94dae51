"""FHIR over HTTP; nothing else of the FHIR path knows HTTP."""
