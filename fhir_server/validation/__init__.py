"""What makes a resource wrong, by HL7's own StructureDefinitions."""
