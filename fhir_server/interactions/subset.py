"""`_summary` and `_elements`: part of a resource, marked SUBSETTED.

https://hl7.org/fhir/R4/search.html#summary
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fhir_server.model import codec
from fhir_server.model.definitions import children, properties

if TYPE_CHECKING:
    from fhir_server.interactions.context import Resource
    from fhir_server.store.port import Version

_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


def subset(version: Version, summary: str | None, elements: tuple[str, ...]) -> bytes | None:
    """Return the bytes of the part asked for; None where all of it is."""
    if summary in {None, "false", "count"} and not elements:
        return None
    return codec.dumps(subset_of(codec.loads_stored(version.body), summary, elements))


def subset_of(resource: Resource, summary: str | None, elements: tuple[str, ...]) -> Resource:
    """Return the part of a resource that `_summary` or else `_elements` asks for."""
    kind = resource["resourceType"]
    if elements:
        wanted = {name.removeprefix(f"{kind}.").partition(".")[0] for name in elements}
        wanted |= _required(kind)
    elif summary == "true":
        wanted = {name for name, known in children(kind).items() if known.is_summary}
    elif summary == "text":
        wanted = {"text"} | _required(kind)
    else:  # data
        wanted = set(children(kind)) - {"text"}
    names = {n for n, known in properties(kind).items() if known.element.name in wanted}
    kept: dict[str, Any] = {
        name: value
        for name, value in resource.items()
        if name in _ALWAYS or name.removeprefix("_") in names
    }
    meta = dict(kept.get("meta", {}))
    meta["tag"] = [*meta.get("tag", ()), _SUBSETTED]
    return kept | {"meta": meta}


def _required(kind: str) -> set[str]:
    return {name for name, known in children(kind).items() if known.min > 0}
