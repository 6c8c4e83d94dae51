"""A dossier of QĐ 130/4750/3176 as FHIR resources."""
