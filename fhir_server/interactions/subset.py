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
    if summary == "true" and not elements:
        kept = _in_summary(resource, kind)
    else:
        if elements:
            wanted = {name.removeprefix(f"{kind}.").partition(".")[0] for name in elements}
            wanted |= _required(kind)
        elif summary == "text":
            wanted = {"text"} | _required(kind)
        else:  # data
            wanted = set(children(kind)) - {"text"}
        names = {n for n, known in properties(kind).items() if known.element.name in wanted}
        kept = {
            name: value
            for name, value in resource.items()
            if name in _ALWAYS or name.removeprefix("_") in names
        }
    if "contained" in resource and "contained" not in kept:
        some = referred(kept, resource["contained"])
        if some:
            kept["contained"] = some
    meta = dict(kept.get("meta", {}))
    tags = meta.get("tag", ())
    meta["tag"] = list(tags) if _SUBSETTED in tags else [*tags, _SUBSETTED]
    return kept | {"meta": meta}


def _in_summary(element: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return of a resource, or of a backbone element of one, what belongs to its summary.

    R4 leaves what must be there out of some summaries; without it the answer is not valid.
    """
    known = properties(kind)
    kept: dict[str, Any] = {}
    for name, value in element.items():
        if name in _ALWAYS and "." not in kind:
            kept[name] = value
            continue
        found = known.get(name.removeprefix("_"))
        if found is None:
            continue
        is_required = found.element.min > 0
        if not (found.element.is_summary or is_required):
            continue
        inner = found.type
        if "." not in inner:
            kept[name] = value
        elif type(value) is list:
            some = [
                part for one in value if (part := _in_summary(one, inner) or (is_required and one))
            ]
            if some:
                kept[name] = some
        elif part := _in_summary(value, inner) or (is_required and value):
            kept[name] = part
    return kept


def referred(kept: dict[str, Any], contained: list[Resource]) -> list[Resource]:
    """Return the contained resources that what is kept refers to, and that these refer to.

    A reference that leads nowhere is not valid (ref-1), and nobody could ask for what it meant.
    """
    left = {one.get("id"): one for one in contained}
    found: set[str] = set()
    asked: list[Any] = [kept]
    while asked:
        value = asked.pop()
        if type(value) is list:
            asked += value
        elif type(value) is dict:
            text = value.get("reference")
            if type(text) is str and text.startswith("#"):
                name = text.removeprefix("#")
                if name in left:
                    found.add(name)
                    asked.append(left.pop(name))
            asked += value.values()
    return [one for one in contained if one.get("id") in found]


def _required(kind: str) -> set[str]:
    return {name for name, known in children(kind).items() if known.min > 0}
