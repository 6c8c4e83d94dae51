"""References: what a `Reference.reference` says, and every reference in a resource.

https://hl7.org/fhir/R4/references.html
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal

from fhir_server.model.definitions import RESOURCE_TYPES

Kind = Literal["local", "absolute", "urn", "conditional", "contained"]

_LONG: Final = 256
"""Longer ones are not remembered: a megabyte each would fill the memory."""

_RELATIVE: Final = re.compile(
    r"([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})(?:/_history/([A-Za-z0-9\-.]{1,64}))?"
).fullmatch
_RESTFUL: Final = re.compile(
    r"https?://[^?#\s]+/([A-Z][A-Za-z]+)/([A-Za-z0-9\-.]{1,64})"
    r"(?:/_history/([A-Za-z0-9\-.]{1,64}))?(?:#\S*)?"
).fullmatch
_CONDITIONAL: Final = re.compile(r"([A-Z][A-Za-z]+)\?(.+)", re.DOTALL).fullmatch


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference, taken apart.

    Attributes:
        kind: `local` is `Type/id` of this server (relative, or below its base URL); `absolute`
            any other URL or text; `urn` a urn:uuid or urn:oid; `conditional` `Type?query`;
            `contained` `#id`.
        url: As written.
        resource_type: Of a local or conditional one, and of an absolute one in RESTful form.
        resource_id: Likewise; of a contained one the part behind `#`, "" for the container.
        version: The version it names, if it does.
        query: The query of a conditional one.
    """

    kind: Kind
    url: str
    resource_type: str | None = None
    resource_id: str | None = None
    version: str | None = None
    query: str | None = None

    @property
    def name(self) -> str | None:
        """`Type/id` where it is local, else None."""
        return f"{self.resource_type}/{self.resource_id}" if self.kind == "local" else None


_FRAGMENT: Final = re.compile(r"#\S*").sub
_URI: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:\S+").fullmatch


def is_well_formed(text: str) -> bool:
    """Tell whether a literal reference has one of FHIR's forms, and names a type that there is.

    `Type/id` with or without a version, a URI or URN without blanks, `#id`, or `Type?query` where
    a Bundle is done. https://hl7.org/fhir/R4/references.html#literal
    """
    return _known_form(text) if len(text) <= _LONG else _has_form(text)


def _has_form(text: str) -> bool:
    if text.startswith("#"):
        return True
    match = _RELATIVE(text) or _RELATIVE(_FRAGMENT("", text)) or _CONDITIONAL(text)
    return match[1] in RESOURCE_TYPES if match else _URI(text) is not None


_known_form: Final = lru_cache(maxsize=8192)(_has_form)


def parse(text: str, base_url: str | None = None) -> Reference:
    """Return what a reference says; `base_url` is this server's FHIR base, without a slash."""
    return _known(text, base_url) if len(text) <= _LONG else _parse(text, base_url)


def _parse(text: str, base_url: str | None) -> Reference:
    if text.startswith("#"):
        return Reference("contained", text, resource_id=text[1:])
    if text[:4].lower() == "urn:":
        return Reference("urn", text)
    rest = text
    if base_url and text.startswith(base_url) and text[len(base_url) : len(base_url) + 1] == "/":
        rest = text[len(base_url) + 1 :]
    match = _RELATIVE(rest)
    if match and match[1] in RESOURCE_TYPES:
        return Reference("local", text, match[1], match[2], match[3])
    match = _CONDITIONAL(rest)
    if match and match[1] in RESOURCE_TYPES:
        return Reference("conditional", text, match[1], query=match[2])
    match = _RESTFUL(text)
    if match and match[1] in RESOURCE_TYPES:
        return Reference("absolute", text, match[1], match[2], match[3])
    return Reference("absolute", text)


_known: Final = lru_cache(maxsize=8192)(_parse)


def walk(resource: dict[str, Any], *, entries: bool = False) -> Iterator[dict[str, Any]]:
    """Give every element that has a `reference`, those of contained and extensions included.

    The elements are the resource's own: whoever sets `reference` in one changes the resource,
    which is allowed while walking.

    Args:
        resource: Any resource, however deep; no recursion is needed.
        entries: Whether the resources in a Bundle's entries are walked too.
    """
    is_closed_bundle = not entries and resource.get("resourceType") == "Bundle"
    waiting: list[Any] = [value for key, value in reversed(resource.items()) if key != "entry"]
    if "entry" in resource:
        waiting.insert(0, _own_parts(resource["entry"]) if is_closed_bundle else resource["entry"])
    while waiting:
        node = waiting.pop()
        if type(node) is dict:
            if type(node.get("reference")) is str and node.keys() <= _PROPERTIES:
                yield node
            waiting.extend([v for v in reversed(node.values()) if type(v) in _HOLDERS])
        elif type(node) is list:
            waiting.extend([v for v in reversed(node) if type(v) in _HOLDERS])


_HOLDERS: Final = frozenset({dict, list})
# Expression.reference and DetectedIssue.reference are uris: their holders have other names too.
_PROPERTIES: Final = frozenset({
    "id", "extension", "reference", "_reference", "type", "_type", "identifier", "display",
    "_display",
})  # fmt: skip


def _own_parts(entry: Any) -> list[Any]:
    """Return a Bundle's entries without the resources in them."""
    return [
        {key: value for key, value in one.items() if key != "resource"}
        for one in (entry if isinstance(entry, list) else ())
        if isinstance(one, dict)
    ]


def of(resource_type: str, resource_id: str) -> dict[str, str]:
    """Return a Reference element to a resource of this server."""
    return {"reference": f"{resource_type}/{resource_id}"}
