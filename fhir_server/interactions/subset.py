"""`_summary` and `_elements`: part of a resource, marked SUBSETTED.

https://hl7.org/fhir/R4/search.html#summary. Wherever resources are shown: reads, old versions,
searches, histories, and what operations answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from fhir_server.model import codec
from fhir_server.model.definitions import children, properties
from fhir_server.model.outcome import InvalidValue

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_server.interactions.context import Resource

_ALWAYS: Final = frozenset({"resourceType", "id", "meta"})
_SUBSETTED: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue",
    "code": "SUBSETTED",
}


@dataclass(frozen=True, slots=True)
class Part:
    """The part of resources that is asked for.

    Attributes:
        summary: The `_summary`; None is none.
        elements: The `_elements`; they win.
    """

    summary: str | None = None
    elements: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether it is the whole resource."""
        return self.summary in {None, "false", "count"} and not self.elements

    def of(self, body: bytes) -> bytes:
        """Return the part of a resource in its JSON bytes."""
        if self.is_all:
            return body
        return codec.dumps(subset_of(codec.loads_stored(body), self.summary, self.elements))


def part_of(
    query: Iterable[tuple[str, str]], *, counts: bool = False, strict: bool = False
) -> Part:
    """Return the part that the parameters of a request ask for.

    R4 has `_summary=count` for searches only, and obliges no server to return just a summary:
    where nothing is counted all is shown.

    Args:
        query: The parameters.
        counts: Whether `_summary=count` asks for something here.
        strict: `Prefer: handling=strict`: what asks for nothing here is refused, not ignored.

    Raises:
        InvalidValue: `_summary` is none of its values, or several.
    """
    summaries, elements = set(), []
    for name, value in query:
        if name == "_summary":
            summaries.add(value)
        elif name == "_elements":
            elements += [one for one in value.split(",") if one]
    counts = counts or not strict
    known = {"true", "text", "data", "false"} | ({"count"} if counts else set())
    if len(summaries) > 1 or not summaries <= known:
        among = "true, text, data, count or false" if counts else "true, text, data or false"
        raise InvalidValue(
            f"The parameter _summary is one of {among} here.",
            text_vi=f"Tham số _summary ở đây là một trong {among}.",
        )
    return Part(next(iter(summaries), None), tuple(elements))


def shortened(resource: Resource, part: Part) -> Resource:
    """Return the part of what an operation answers; of a searchset, that of each resource.

    What is only true as a whole stays whole: a document, an OperationOutcome, Parameters.
    """
    if part.is_all or resource["resourceType"] in {"OperationOutcome", "Parameters", "Binary"}:
        return resource
    if resource["resourceType"] != "Bundle":
        return subset_of(resource, part.summary, part.elements)
    if resource.get("type") not in {"searchset", "history"}:
        return resource
    entries = [
        {**entry, "resource": shortened(entry["resource"], part)} if "resource" in entry else entry
        for entry in resource.get("entry", ())
    ]
    return {**resource, "entry": entries} if entries else resource


def subset_of(resource: Resource, summary: str | None, elements: tuple[str, ...]) -> Resource:
    """Return the part of a resource that `_summary` or else `_elements` asks for."""
    kind = resource["resourceType"]
    if elements:
        wanted = {name.removeprefix(f"{kind}.").partition(".")[0] for name in elements}
        wanted |= _required(kind)
    elif summary == "true":
        # R4 leaves what must be there out of some summaries; without it the answer is not valid.
        wanted = {name for name, known in children(kind).items() if known.is_summary}
        wanted |= _required(kind)
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
    tags = meta.get("tag", ())
    meta["tag"] = list(tags) if _SUBSETTED in tags else [*tags, _SUBSETTED]
    return kept | {"meta": meta}


def _required(kind: str) -> set[str]:
    return {name for name, known in children(kind).items() if known.min > 0}
