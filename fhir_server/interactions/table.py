"""INTERACTIONS: which path and method asks for which interaction, for all resource types at once.

https://hl7.org/fhir/R4/http.html#summary
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fhir_server.model.definitions import COMPARTMENTS, RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Mapping

INTERACTIONS: Final[tuple[tuple[str, str, str], ...]] = (
    ("", "GET", "search-system"),
    ("", "POST", "transaction"),
    ("_search", "POST", "search-system"),
    ("metadata", "GET", "capabilities"),
    ("_history", "GET", "history-system"),
    ("$async-status/{id}", "GET", "job-status"),
    ("$async-status/{id}", "DELETE", "job-cancel"),
    ("$async-status/{id}/{version}", "GET", "job-output"),
    ("{operation}", "GET", "operation"),
    ("{operation}", "POST", "operation"),
    ("{type}", "GET", "search-type"),
    ("{type}", "POST", "create"),
    ("{type}", "PUT", "update"),
    ("{type}", "PATCH", "patch"),
    ("{type}", "DELETE", "delete"),
    ("{type}/_search", "POST", "search-type"),
    ("{type}/_history", "GET", "history-type"),
    ("{type}/{operation}", "GET", "operation"),
    ("{type}/{operation}", "POST", "operation"),
    ("{type}/{id}", "GET", "read"),
    ("{type}/{id}", "PUT", "update"),
    ("{type}/{id}", "PATCH", "patch"),
    ("{type}/{id}", "DELETE", "delete"),
    ("{compartment}/{id}/*", "GET", "search-system"),
    ("{compartment}/{id}/*/_search", "POST", "search-system"),
    ("{compartment}/{id}/{type}", "GET", "search-type"),
    ("{compartment}/{id}/{type}/_search", "POST", "search-type"),
    ("{type}/{id}/_history", "GET", "history-instance"),
    ("{type}/{id}/_history/{version}", "GET", "vread"),
    ("{type}/{id}/{operation}", "GET", "operation"),
    ("{type}/{id}/{operation}", "POST", "operation"),
)
"""Path below the base, HTTP method, interaction. HEAD is wherever GET is."""

# No two forms that may stand in one place share a string, so the order of rows is free.
_FORMS: Final[Mapping[str, re.Pattern[str]]] = {
    "type": re.compile(r"[A-Z][A-Za-z]{1,63}"),
    "compartment": re.compile("|".join(COMPARTMENTS)),
    "id": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
    "version": re.compile(r"[A-Za-z0-9\-.]{1,64}"),
    "operation": re.compile(r"\$[a-z][a-z\-]{0,63}"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """A path below the base, read: its row, and what its parts name.

    Attributes:
        compartment: The type and id of the resource in whose compartment is searched; they are
            not `resource_type` and `resource_id` then, which say what is sought.
    """

    path: str
    methods: Mapping[str, str]
    resource_type: str | None = None
    resource_id: str | None = None
    version_id: str | None = None
    operation: str | None = None
    compartment: tuple[str, str] | None = None

    @property
    def allow(self) -> str:
        """The methods that the path knows, as the header Allow has them."""
        known = {*self.methods, "OPTIONS"} | ({"HEAD"} if "GET" in self.methods else set())
        return ", ".join(sorted(known))


def _by_path() -> dict[str, Mapping[str, str]]:
    paths: dict[str, dict[str, str]] = {}
    for path, method, interaction in INTERACTIONS:
        paths.setdefault(path, {})[method] = interaction
    return {path: MappingProxyType(methods) for path, methods in paths.items()}


PATHS: Final[Mapping[str, Mapping[str, str]]] = _by_path()
_SHAPES: Final = tuple((path, tuple(path.split("/"))) for path in PATHS)
_FIELDS: Final = {"type": "resource_type", "id": "resource_id", "version": "version_id"}


def locate(path: str) -> Place | None:
    """Return what a path below the base (no slash around it, no query) names; None if nothing."""
    parts = path.split("/")
    if len(parts) == 2 and parts[0] in RESOURCE_TYPES and _FORMS["id"].fullmatch(parts[1]):  # noqa: PLR2004 - type and id: the hot path
        return Place("{type}/{id}", PATHS["{type}/{id}"], parts[0], parts[1])
    return _located(path)


@lru_cache(maxsize=1024)
def _located(path: str) -> Place | None:
    parts = path.split("/")
    for row, shape in _SHAPES:
        if len(shape) == len(parts):
            named = _match(shape, parts)
            if named is None:
                continue
            inside = named.pop("compartment", None)
            compartment = None if inside is None else (inside, named.pop("resource_id"))
            return Place(row, PATHS[row], **named, compartment=compartment)
    return None


def require_id_form(path: str) -> None:
    """Refuse an update whose path would name a resource, were its id one.

    Raises:
        InvalidValue: The id has not the form of FHIR's ids.
    """
    kind, _, identity = path.partition("/")
    if kind in RESOURCE_TYPES and identity and "/" not in identity:
        raise InvalidValue(
            "An id has 1 to 64 of the letters A-Z and a-z, digits, '-' and '.'.",
            expression=[f"{kind}.id"],
            text_vi="Một id gồm 1 đến 64 chữ cái A-Z, a-z, chữ số, '-' và '.'.",
        )


def _match(shape: tuple[str, ...], parts: list[str]) -> dict[str, str] | None:
    named: dict[str, str] = {}
    for form, part in zip(shape, parts, strict=True):
        if not form.startswith("{"):
            if form != part:
                return None
            continue
        kind = form[1:-1]
        if not _FORMS[kind].fullmatch(part):
            return None
        if kind == "type" and part not in RESOURCE_TYPES:
            return None
        named[_FIELDS.get(kind, kind)] = part
    return named
