"""Search parameters' expressions compiled once a type to one walk over a resource.

The paths of all parameters of a type are laid into one tree whose branches are JSON property
names. Extraction walks the resource's own properties, so a parameter that a resource has no
element for costs nothing, and elements that several parameters use are found once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from fhir_server.model import definitions
from fhir_server.model.identifiers import names_facility
from fhir_server.search import path
from fhir_server.search.leaves import leaf
from fhir_server.search.parameters import DECEASED, Known, Parameter, matching
from fhir_server.search.path import Field, NoFacility, Resolves, Where
from fhir_server.search.sink import Extract, Sink
from fhir_server.search.values import CompositeValue, TokenValue, Value

_FEW: Final = 2


@dataclass(slots=True)
class _Node:
    """What to do at an element: its own extractors, those of its properties, and conditions."""

    extractors: list[Extract] = field(default_factory=list)
    properties: dict[str, _Node] = field(default_factory=dict)
    conditions: dict[Where | NoFacility, _Node] = field(default_factory=dict)
    first: _Node | None = None

    def child(self, name: str) -> _Node:
        return self.properties.setdefault(name, _Node())


@dataclass(frozen=True, slots=True)
class _Leaf:
    """What stands at the end of a parameter's path: makes the extractor for the type found."""

    make: Callable[[str, definitions.Element | None, str | None], Extract | None]


def _lay(
    node: _Node,
    holder: str,
    steps: tuple[path.Step, ...],
    end: _Leaf,
    *,
    element: definitions.Element | None = None,
    only: str | None = None,
) -> None:
    """Lay a path into the tree, once for each JSON property that it may go through."""
    if not steps:
        extractor = end.make(holder, element, only)
        if extractor:
            node.extractors.append(extractor)
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, Field):
        for property_ in matching(holder, step):
            inside = bool(rest) and isinstance(rest[0], Field) and property_.is_primitive
            # JSON has the extensions of a primitive in a member of their own.
            child = node.child(f"_{property_.name}" if inside else property_.name)
            _lay(child, property_.type, rest, end, element=property_.element, only=only)
    elif isinstance(step, Resolves):
        _lay(node, holder, rest, end, element=element, only=step.resource_type)
    elif isinstance(step, Where | NoFacility):
        _lay(node.conditions.setdefault(step, _Node()), holder, rest, end, element=element)
    else:
        node.first = node.first or _Node()
        _lay(node.first, holder, rest, end, element=element)


# --- from the tree to functions ----------------------------------------------------------


def _all(extractors: list[Extract]) -> Extract:
    if len(extractors) == 1:
        return extractors[0]
    several = tuple(extractors)

    def extract(value: Any, out: Sink) -> None:
        for extractor in several:
            extractor(value, out)

    return extract


def _walk(table: dict[str, Extract]) -> Extract:
    """Return an extractor that goes through the properties of an object."""
    if len(table) <= _FEW:
        items = tuple(table.items())

        def look(value: Any, out: Sink) -> None:
            for name, extractor in items:
                found = value.get(name)
                if found is not None:
                    extractor(found, out)

        return look
    find = table.get

    def walk(value: Any, out: Sink) -> None:
        for name in value:
            extractor = find(name)
            if extractor is not None:
                extractor(value[name], out)

    return walk


def _if(condition: Where | NoFacility, then: Extract) -> Extract:
    if isinstance(condition, NoFacility):
        return _if_no_facility(then)
    name, code = condition.field, condition.code

    def extract(value: Any, out: Sink) -> None:
        if value.get(name) == code:
            then(value, out)

    return extract


def _if_no_facility(then: Extract) -> Extract:
    def extract(value: Any, out: Sink) -> None:
        if not names_facility(value):
            then(value, out)

    return extract


def _item(node: _Node) -> Extract:
    """Return the extractor of one element."""
    extractors = list(node.extractors)
    if node.properties:
        extractors.append(_walk({name: _each(child) for name, child in node.properties.items()}))
    extractors.extend(_if(where, _item(child)) for where, child in node.conditions.items())
    return _all(extractors) if extractors else _nothing


def _nothing(_value: Any, _out: Sink) -> None:
    """Take no value: the type is one that the parameter does not look at."""


def _each(node: _Node) -> Extract:
    """Return the extractor of a property, which JSON may give as a list."""
    item = _item(node)
    first = _item(node.first) if node.first else None

    def extract(value: Any, out: Sink) -> None:
        if type(value) is list:
            if first and value:
                first(value[0], out)
            for one in value:
                # A null keeps the place of a primitive that has only extensions.
                if one is not None:
                    item(one, out)
        else:
            item(value, out)

    return extract


# --- composites --------------------------------------------------------------------------


def _part(component: Parameter, context: str) -> tuple[Extract, frozenset[str]]:
    root = _Node()
    end = _Leaf(
        lambda found, element, only: leaf(
            component.code, component.type, found, element=element, only=only
        )
    )
    for item in component.paths:
        _lay(root, context, item.steps, end)
    table = {name: _each(child) for name, child in root.properties.items()}
    return _walk(table), frozenset(table)


def _composite(parameter: Parameter, context: str, resource_type: str) -> Extract:
    """Return the extractor of a composite: one value for each repetition that has all parts."""
    of_resource = [
        any(item.root == path.RESOURCE for item in component.paths)
        for component in parameter.components
    ]
    parts = tuple(
        (_part(component, resource_type if outer else context)[0], outer)
        for component, outer in zip(parameter.components, of_resource, strict=True)
    )
    # The last part tells soonest that there is none: its value is of another type.
    last = _part(parameter.components[-1], context)[1]
    code = parameter.code

    def extract(value: Any, out: Sink) -> None:
        if last.isdisjoint(value):
            return
        found: list[tuple[Value, ...]] = []
        start = len(out)
        for part, outer in parts:
            part(out.resource if outer else value, out)
            if len(out) == start:
                return
            found.append(tuple(out[start:]))
            del out[start:]
        out.append(CompositeValue(code, tuple(found)))

    return extract


# --- a type ------------------------------------------------------------------------------


def _deceased(value: Any, out: Sink) -> None:
    """Index `deceased`: false also of a Patient of whom nothing is said."""
    dead = value.get("deceasedBoolean", "deceasedDateTime" in value)
    out.append(TokenValue("deceased", "", "true" if dead else "false"))


def _end_of(parameter: Parameter, resource_type: str, *, in_patient: bool) -> _Leaf:
    if parameter.type == "composite":
        return _Leaf(lambda found, _element, _only: _composite(parameter, found, resource_type))
    return _Leaf(
        lambda found, element, only: leaf(
            parameter.code,
            parameter.type,
            found,
            element=element,
            only=only,
            targets=parameter.targets,
            in_patient=in_patient,
        )
    )


NOT_INDEXED: Final = frozenset({"_id", "_lastUpdated"})
"""What the store itself knows of every version."""


def compiled(resource_type: str, known: Known) -> Extract:
    """Return the extractor of a resource type: all its search parameters in one walk."""
    found = known.compiled.get(resource_type)
    if found is None:
        found = known.compiled[resource_type] = _compile(resource_type, known)
    return found


def _compile(resource_type: str, known: Known) -> Extract:
    root = _Node()
    # A Patient is in its own compartment only: a "seealso" link must not show one kept apart
    # in another's book (contract, section 6), so Patient.link opens no compartment.
    compartment = (
        ()
        if resource_type == "Patient"
        else definitions.compartment_parameters("Patient", resource_type)
    )
    for code, parameter in known.of(resource_type).items():
        if code in NOT_INDEXED:
            continue
        if parameter.expression == DECEASED:
            root.extractors.append(_deceased)
        end = _end_of(parameter, resource_type, in_patient=code in compartment)
        for item in parameter.paths:
            _lay(root, resource_type, item.steps, end)
    return _item(root)
