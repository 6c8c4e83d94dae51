"""One file a FHIR interaction; perform is the one way in."""
