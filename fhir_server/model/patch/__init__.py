"""Patches of a resource, pure: JSON Patch, merge patch, XML Patch and FHIRPath Patch.

https://hl7.org/fhir/R4/http.html#patch
"""
