"""References to what a caller is not shown, taken out of what it is shown.

A payer that reads `Encounter.diagnosis.condition` and is then told that there is no such Condition
knows that one is hidden. So of the references of a masked resource those stay that lead to what
the caller is shown; to it the others are not there, nor is what held nothing else.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.narrow import fetch_shown, matches_criteria
from fhir_server.interactions.refusals import too_costly
from fhir_server.model.definitions import RESOURCE_TYPES, Property, properties
from fhir_server.search.place import located
from fhir_server.store.port import WorkBudgetExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fhir_server.interactions.context import Context, Resource
    from fhir_server.store.port import Name, Version

_FEW: Final = 50
"""Resources that are asked about one by one: a Claim names ten."""
_CHUNK: Final = 500
"""Resources that are asked about at once."""

_WITHIN: Final = "#"
"""In the place of a type: the name is `#id`, of a contained resource."""

_DESCRIBES: Final = frozenset({"id", "sequence", "type", "category", "period", "use", "rank"})
"""Members of an element that say something of what it refers to, and nothing without it."""

_MASKED: Final = {
    "extension": [
        {
            "url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason",
            "valueCode": "masked",
        }
    ]
}
"""What stands for a reference that R4 requires of the resource itself."""

_NUMBERED: Final[Mapping[str, Mapping[str, str]]] = {
    "Claim": {
        "careTeamSequence": "careTeam",
        "diagnosisSequence": "diagnosis",
        "informationSequence": "supportingInfo",
        "procedureSequence": "procedure",
    },
    "CoverageEligibilityRequest": {"supportingInfoSequence": "supportingInfo"},
}
"""Members of an item that name what stands elsewhere in the resource by its sequence."""


async def pruned(ctx: Context, shown: Resource, said: Resource | None = None) -> Resource:
    """Return a resource, or a Bundle of them, without references to what the caller is not shown.

    What is not shown and what never was are the same; nothing says that something is gone. A
    reference keeps an identifier of its own; of a type that the caller is never granted it keeps
    its display too. Those to other servers, and to what is still contained, stay.

    Args:
        ctx: The caller's.
        shown: What it would be shown.
        said: What it said itself, whose references stay.

    Raises:
        TooCostly: To ask what of it is shown went past the work budget.
    """
    resources = list(_resources(shown))
    by_resource = [(one, set(_named(one, ctx.base_url))) for one in resources]
    is_lost = any(_lost(one, names) for one, names in by_resource)
    named = {name for _, names in by_resource for name in names if name[0] != _WITHIN}
    named -= {(str(one.get("resourceType", "")), str(one.get("id", ""))) for one in resources}
    named.difference_update(_named(said or {}, ctx.base_url))
    hidden = named - await _shown(ctx, named) if named else named
    if not hidden and not is_lost:
        return shown
    never = frozenset(one for one, _ in hidden if not _is_granted(ctx, one))
    return _Pruning(frozenset(hidden), never, ctx.base_url).of(shown)


def _resources(shown: Resource) -> Iterator[Resource]:
    if shown.get("resourceType") != "Bundle":
        yield shown
        return
    for entry in shown.get("entry", ()):
        if "resource" in entry:
            yield from _resources(entry["resource"])


def _named(resource: Resource, base_url: str) -> Iterator[Name]:
    """Give the names of the resources of this store that a resource refers to."""
    waiting: list[Any] = [resource]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            name = _name_of(node, base_url)
            if name is not None:
                yield name
            waiting.extend(node.values())


def _name_of(node: dict[str, Any], base_url: str) -> Name | None:
    text = node.get("reference")
    if not isinstance(text, str):
        return None
    if text.startswith(_WITHIN):
        return (_WITHIN, text) if len(text) > 1 else None
    kind_, identity, _ = located(text, base_url)
    return (kind_, identity) if kind_ else None


def _lost(resource: Resource, names: Iterable[Name]) -> frozenset[Name]:
    """Return which of these names are of contained resources that a mask has taken out."""
    there = {f"{_WITHIN}{one.get('id')}" for one in resource.get("contained", ())}
    return frozenset(one for one in names if one[0] == _WITHIN and one[1] not in there)


def _is_granted(ctx: Context, resource_type: str) -> bool:
    return any(ctx.policy.narrow(one, resource_type) is not None for one in ("read", "search-type"))


async def _shown(ctx: Context, names: set[Name]) -> set[Name]:
    waiting = sorted(one for one in names if _is_granted(ctx, one[0]))
    try:
        if len(waiting) <= _FEW:
            return await _shown_of_few(ctx, waiting)
        found: set[Name] = set()
        for at in range(0, len(waiting), _CHUNK):
            versions = await fetch_shown(ctx, waiting[at : at + _CHUNK])
            found.update((one.resource_type, one.resource_id) for one in versions)
    except WorkBudgetExceeded as failure:
        raise too_costly() from failure
    return found


async def _shown_of_few(ctx: Context, names: list[Name]) -> set[Name]:
    """Ask of each by itself: that needs no plan of a search, and at once it is one question."""
    versions = [one for one in await ctx.store.read_many(names) if one and not one.deleted]
    are = await asyncio.gather(*(_is_shown(ctx, one) for one in versions))
    return {
        (one.resource_type, one.resource_id)
        for one, is_so in zip(versions, are, strict=True)
        if is_so
    }


async def _is_shown(ctx: Context, version: Version) -> bool:
    kind = version.resource_type
    criteria = ctx.policy.narrow("read", kind) or ctx.policy.narrow("search-type", kind)
    return criteria is not None and await matches_criteria(ctx, criteria, version)


@dataclass(frozen=True, slots=True)
class _Pruning:
    """Takes references out.

    Attributes:
        hidden: Names of what is not shown.
        never: Types of which the caller is never shown anything.
        whole: What R4 requires of a resource, and cannot be left out: there it stands masked.
    """

    hidden: frozenset[Name]
    never: frozenset[str]
    base_url: str
    whole: bool = field(default=False)

    def of(self, resource: Resource) -> Resource:
        """Return a resource, or a Bundle of them, without the references."""
        type_ = str(resource.get("resourceType", ""))
        if type_ == "Bundle":
            entries = [
                entry | {"resource": self.of(entry["resource"])} if "resource" in entry else entry
                for entry in resource.get("entry", ())
            ]
            return resource | {"entry": entries} if entries else resource
        if type_ not in RESOURCE_TYPES:
            return resource
        lost = _lost(resource, _named(resource, self.base_url))
        pruning = _Pruning(self.hidden | lost, self.never, self.base_url) if lost else self
        return pruning.resource(type_, resource)

    def resource(self, type_: str, resource: Resource) -> Resource:
        """Return one resource, or one within another, without the references."""
        if not self._touches(resource):
            return resource
        made: Resource = {}
        for name, value in resource.items():
            known = properties(type_).get(name)
            left = value if known is None else self._value(value, known)
            if left is None and known is not None and known.element.min:
                masked = _Pruning(self.hidden, self.never, self.base_url, whole=True)
                left = _MASKED if known.type == "Reference" else masked._value(value, known)
            if left is not None:
                made[name] = left
        _renumber(type_, resource, made)
        return made

    def _touches(self, value: Any) -> bool:
        return any(name in self.hidden for name in _named(value, self.base_url))

    def _value(self, value: Any, known: Property) -> Any:
        """Return what is left of a member's value; None where nothing is."""
        if known.is_primitive or not self._touches(value):
            return value
        if isinstance(value, list):
            parts = [self._value(one, known) for one in value]
            return [one for one in parts if one is not None] or None
        if known.type == "Reference":
            return self._reference(value)
        if known.element.name == "contained":
            return self.resource(value["resourceType"], value)
        if known.type == "Resource":
            return self.of(value)
        return self._element(value, known.type)

    def _reference(self, value: dict[str, Any]) -> dict[str, Any] | None:
        name = _name_of(value, self.base_url)
        if name not in self.hidden:
            return value
        kept = {"identifier"} | ({"display"} if name[0] in self.never else set())
        if kept.isdisjoint(value):
            return _MASKED if self.whole else None
        return {one: part for one, part in value.items() if one in kept | {"type"}}

    def _element(self, value: dict[str, Any], type_: str) -> dict[str, Any] | None:
        made: dict[str, Any] = {}
        is_lost = False
        for name, member in value.items():
            known = properties(type_).get(name)
            left = member if known is None else self._value(member, known)
            if left is not None:
                made[name] = left
            elif known is not None:
                is_lost |= bool(known.element.min) or known.element.is_choice
        is_left = made.keys() - _DESCRIBES - ({"url"} if type_ == "Extension" else set())
        return None if is_lost or not is_left else made


def _renumber(type_: str, before: Resource, made: Resource) -> None:
    """Let nothing name what is gone by its number, nor a gap in an order tell of it."""
    for member, listed in _NUMBERED.get(type_, {}).items():
        if len(made.get(listed, ())) == len(before.get(listed, ())):
            continue
        left = {one.get("sequence") for one in made.get(listed, ())}
        made["item"] = [_naming(one, member, left) for one in made.get("item", ())]
        if not made["item"]:
            del made["item"]
    ranked = made.get("diagnosis", ())
    if type_ == "Encounter" and len(ranked) < len(before.get("diagnosis", ())):
        ranks = sorted({one["rank"] for one in ranked if "rank" in one})
        made["diagnosis"] = [
            one | {"rank": 1 + ranks.index(one["rank"])} if "rank" in one else one for one in ranked
        ]
        if not ranked:
            del made["diagnosis"]


def _naming(item: dict[str, Any], member: str, left: set[Any]) -> dict[str, Any]:
    numbers = [one for one in item.get(member, ()) if one in left]
    return {
        name: numbers if name == member else value
        for name, value in item.items()
        if name != member or numbers
    }
