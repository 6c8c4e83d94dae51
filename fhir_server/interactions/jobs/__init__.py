"""Asynchronous requests: begun with 202, done by any process, asked after, fetched, cancelled.

https://hl7.org/fhir/R4/async.html
"""
