"""Where extractors put the index values of one resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fhir_server.search.values import Value


class Sink(list[Value]):
    """Where extractors put the values of a resource, and the Patients it belongs to."""

    __slots__ = ("base_url", "patients", "resource")

    def __init__(self, resource: dict[str, Any], base_url: str = "") -> None:
        super().__init__()
        self.resource = resource
        self.base_url = base_url
        self.patients: list[str] = []


Extract = Callable[[Any, Sink], None]
"""Puts the values of one element into the sink; an element of another shape has none."""
