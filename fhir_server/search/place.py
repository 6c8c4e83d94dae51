"""Where a reference leads: to one of our own resources, or elsewhere.

https://hl7.org/fhir/R4/references.html#literal
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fhir_server.model import definitions, primitives

_SHORT: Final = 200


def located(text: str, base_url: str) -> tuple[str, str, str]:
    """Return a reference as (type, id, ""), or as ("", "", url) where it is not one of ours.

    A version is left out. Contained and conditional references are ("", "", "").
    """
    return _kept_place(text, base_url) if len(text) <= _SHORT else _place(text, base_url)


def _place(text: str, base_url: str) -> tuple[str, str, str]:
    local = text
    if base_url and text.startswith(base_url + "/"):
        local = text[len(base_url) + 1 :]
    kind, _, rest = local.partition("/")
    if kind in definitions.RESOURCE_TYPES:
        resource_id, bar, _ = rest.partition("/_history/")
        if primitives.is_id(resource_id) and (bar or "/" not in rest):
            return (kind, resource_id, "")
    if text.startswith("#") or "?" in text:
        return ("", "", "")
    return ("", "", text)


_kept_place: Final = lru_cache(maxsize=65536)(_place)


def versioned(text: str, resource_type: str, resource_id: str) -> str:
    """Return a versioned reference to one of our resources as it is indexed and searched."""
    return f"{resource_type}/{resource_id}/_history/{text.rpartition('/_history/')[2]}"


def is_versioned(url: str) -> bool:
    """Return whether an indexed URL is what `versioned` makes: a second value of a reference."""
    return "/_history/" in url and ":" not in url


def type_named(url: str) -> str:
    """Return the resource type that an absolute URL of a REST server names, or ""."""
    parts = url.partition("/_history/")[0].rsplit("/", 2)
    return parts[1] if len(parts) == 3 and parts[1] in definitions.RESOURCE_TYPES else ""  # noqa: PLR2004 - base, type, id
