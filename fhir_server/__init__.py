"""A FHIR R4 server that keeps, finds and serves the health records of Viet Nam."""
