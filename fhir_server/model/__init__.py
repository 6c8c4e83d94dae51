"""FHIR's vocabulary: resources, primitives, references, definitions and refusals."""
