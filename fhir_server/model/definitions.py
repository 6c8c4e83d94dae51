"""The index of R4's definitions: types, elements, search parameters and compartments.

https://hl7.org/fhir/R4/definitions.html

Facts are read from `model/r4/*.json` when they are first asked for, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

import msgspec

from fhir_server.model.r4 import facts
from fhir_server.model.r4.facts import Kind

BACKBONES: Final = frozenset({"BackboneElement", "Element"})
"""Types whose elements stand below the path itself, as `Observation.component`."""

QUANTITY_PROFILES: Final = frozenset({"SimpleQuantity", "MoneyQuantity"})
"""Profiles of Quantity that R4 uses as types; in property names they are `Quantity`."""

CANONICAL: Final = "http://hl7.org/fhir/SearchParameter/"


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a type.

    Attributes:
        path: As in the definition, such as `Observation.value[x]`.
        name: Its last part without `[x]`: `value`.
        min: The fewest that must be there.
        max: The most that may be there; None is any number.
        types: Its types; several, or one, where it is a choice. A backbone has `BackboneElement`
            or `Element`; a content reference has none.
        targets: Resource types that a Reference may name; () is any.
        canonical: Resource types that a canonical may name; () is any.
        content: The path whose elements it has, where it is a content reference.
        binding: The URL of the value set that it is bound to with strength `required`.
        is_choice: Its JSON property carries the type in its name: `valueQuantity`.
        is_summary: It belongs to `_summary=true`.
        is_modifier: It changes the meaning of the element that holds it.
        is_attribute: It is an attribute in XML (`id` of elements, `url` of extensions).
        invariants: Keys of the constraints on it that are errors.
    """

    path: str
    name: str
    min: int
    max: int | None
    types: tuple[str, ...]
    targets: tuple[str, ...]
    canonical: tuple[str, ...]
    content: str | None
    binding: str | None
    is_choice: bool
    is_summary: bool
    is_modifier: bool
    is_attribute: bool
    invariants: tuple[str, ...]

    @property
    def is_many(self) -> bool:
        """Whether JSON has an array for it."""
        return self.max is None or self.max > 1


@dataclass(frozen=True, slots=True)
class Property:
    """One JSON property of a type: an element, or one type of a choice element.

    Attributes:
        name: The JSON name, such as `valueQuantity`.
        element: The element it stands for.
        type: The type of its value: a FHIR type, `Resource` for a slot that holds any resource,
            or the path of a backbone (`Observation.component`), where its properties are found.
        is_primitive: Its value is a JSON string, number or boolean, with `_name` beside it.
    """

    name: str
    element: Element
    type: str
    is_primitive: bool


@dataclass(frozen=True, slots=True)
class Component:
    """One component of a composite search parameter; `code` is that of its own parameter."""

    code: str
    type: str
    url: str
    expression: str
    target: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SearchParameter:
    """One search parameter, https://hl7.org/fhir/R4/searchparameter.html.

    Attributes:
        code: Its name in a URL.
        type: number, date, string, token, reference, composite, quantity, uri or special.
        expression: FHIRPath over all types of `base`, joined by `|`; "" where there is none.
        base: The resource types that have it.
        target: The resource types that a reference may name.
        comparators: The prefixes that it knows, where the definition lists them.
        modifiers: The modifiers that the definition lists (R4's own list none).
        multiple_or: Whether a value may be a list.
        usage: `normal`, `phonetic` or `nearby`: how the value is compared.
    """

    id: str
    code: str
    type: str
    url: str
    expression: str
    base: tuple[str, ...]
    target: tuple[str, ...]
    components: tuple[Component, ...]
    comparators: tuple[str, ...]
    modifiers: tuple[str, ...]
    multiple_or: bool
    usage: str


@dataclass(frozen=True, slots=True)
class Invariant:
    """A constraint that is an error: its FHIRPath and its sentence."""

    key: str
    expression: str
    human: str


@cache
def _types() -> Mapping[str, facts.TypeFact]:
    return msgspec.json.decode(facts.read("types.json"), type=facts.Types).types


def _resource_types() -> frozenset[str]:
    return frozenset(
        name for name, fact in _types().items() if fact.kind == "resource" and not fact.abstract
    )


RESOURCE_TYPES: Final = _resource_types()
"""The 146 resource types of R4."""


def is_type(name: str) -> bool:
    """Tell whether this is a FHIR type: a primitive, a datatype or a resource."""
    return name in _types()


def type_names() -> tuple[str, ...]:
    """Return the names of all types, abstract ones among them."""
    return tuple(_types())


@cache
def kind(name: str) -> Kind | None:
    """Return whether a type is a `primitive`, a datatype (`type`) or a `resource`."""
    fact = _types().get(name)
    return fact.kind if fact else None


def base(name: str) -> str:
    """Return the type that a type specializes, "" for Element and Resource."""
    return _types()[name].base


@cache
def ancestors(name: str) -> tuple[str, ...]:
    """Return a type and the types it specializes, the nearest first."""
    above = base(name)
    return (name, *ancestors(above)) if above else (name,)


def regex(name: str) -> str | None:
    """Return the lexical form that a primitive type's definition gives."""
    return _types()[name].regex


def _element(path: str, fact: facts.ElementFact) -> Element:
    name = path.rsplit(".", 1)[-1]
    return Element(
        path=path,
        name=name.removesuffix("[x]"),
        min=fact.min,
        max=None if fact.max == "*" else int(fact.max),
        types=fact.type,
        targets=fact.targets,
        canonical=fact.canonical,
        content=fact.content,
        binding=fact.binding,
        is_choice=name.endswith("[x]"),
        is_summary=fact.summary,
        is_modifier=fact.modifier,
        is_attribute=fact.attribute,
        invariants=fact.invariants,
    )


@cache
def _own(name: str) -> Mapping[str, Mapping[str, Element]]:
    """Return the elements that a type itself defines, by the path that holds them."""
    found: dict[str, dict[str, Element]] = {}
    for path, fact in _types()[name].elements.items():
        element_ = _element(path, fact)
        found.setdefault(path.rsplit(".", 1)[0], {})[element_.name] = element_
    return found


@cache
def children(type_or_path: str) -> Mapping[str, Element]:
    """Return the elements of a type or a backbone path by name, in the order of the definition.

    A choice stands once, under its name without `[x]`; a content reference's path has the elements
    of what it refers to. Unknown types have none.
    """
    root, _, rest = type_or_path.partition(".")
    fact = _types().get(root)
    if fact is None or fact.kind == "primitive":
        return MappingProxyType(dict(children("Element")) if fact and not rest else {})
    if not rest:
        inherited = children(fact.base) if fact.base else {}
        return MappingProxyType({**inherited, **_own(root).get(root, {})})
    holder, _, name = type_or_path.rpartition(".")
    here = children(holder).get(name.removesuffix("[x]"))
    if here is None:
        return MappingProxyType({})
    if here.content:
        return children(here.content)
    if len(here.types) != 1:
        return MappingProxyType({})
    inherited = children(here.types[0])
    return MappingProxyType({**inherited, **_own(root).get(type_or_path, {})})


def _value_type(path: str, element_: Element, type_: str) -> str:
    if element_.content:
        return element_.content
    return path if type_ in BACKBONES else type_


@cache
def properties(type_or_path: str) -> Mapping[str, Property]:
    """Return a type's or backbone's JSON properties in order, without `resourceType`, `_name`."""
    found: dict[str, Property] = {}
    for name, element_ in children(type_or_path).items():
        if element_.max == 0:
            continue
        for type_ in element_.types or ("",):
            suffix = "Quantity" if type_ in QUANTITY_PROFILES else type_
            key = name + suffix[0].upper() + suffix[1:] if element_.is_choice else name
            value = _value_type(f"{type_or_path}.{name}", element_, type_)
            found[key] = Property(key, element_, value, kind(value) == "primitive")
    return MappingProxyType(found)


def element(path: str) -> Element | None:
    """Return the element at a path, which may go on through types: `Patient.name.family`.

    A choice is found by its name with or without `[x]`, and by a JSON name (`valueQuantity`).
    """
    here, *names = path.split(".")
    found: Element | None = None
    for name in names:
        plain = name.removesuffix("[x]")
        property_ = properties(here).get(plain)
        found = property_.element if property_ else children(here).get(plain)
        if found is None:
            return None
        here = property_.type if property_ else f"{here}.{plain}"
    return found


@cache
def type_invariants(name: str) -> tuple[str, ...]:
    """Return the keys of the error constraints on a type itself, inherited ones first."""
    fact = _types()[name]
    return (*(type_invariants(fact.base) if fact.base else ()), *fact.invariants)


@cache
def invariants() -> Mapping[str, Invariant]:
    """Return every constraint that is an error, by its key.

    The second use of a key has its path behind `@`.
    """
    found = msgspec.json.decode(facts.read("invariants.json"), type=facts.Invariants).invariants
    return MappingProxyType({
        key: Invariant(key, fact["expression"], fact["human"]) for key, fact in found.items()
    })


@cache
def _value_sets() -> Mapping[str, Mapping[str, frozenset[str]] | None]:
    found = msgspec.json.decode(facts.read("value_sets.json"), type=facts.ValueSets).value_sets
    return {
        url: None
        if members is None
        else {system: frozenset(codes) for system, codes in members.items()}
        for url, members in found.items()
    }


def value_set(url: str) -> Mapping[str, frozenset[str]] | None:
    """Return the codes by system of a value set that R4 requires somewhere.

    None where it is not known, or no list (media types, currencies, UCUM).
    """
    return _value_sets().get(url)


@cache
def parameters_by_url() -> Mapping[str, SearchParameter]:
    """Return every search parameter of R4 by its canonical URL."""
    found = msgspec.json.decode(facts.read("search_parameters.json"), type=facts.Parameters)
    return MappingProxyType({
        CANONICAL + id_: _parameter(id_, found.parameters) for id_ in found.parameters
    })


def _parameter(id_: str, known: Mapping[str, facts.ParameterFact]) -> SearchParameter:
    fact = known[id_]
    return SearchParameter(
        id=id_,
        code=fact.code,
        type=fact.type,
        url=CANONICAL + id_,
        expression=fact.expression,
        base=fact.base,
        target=fact.target,
        components=tuple(
            Component(
                code=known[part.id].code,
                type=known[part.id].type,
                url=CANONICAL + part.id,
                expression=part.expression,
                target=known[part.id].target,
            )
            for part in fact.component
        ),
        comparators=fact.comparator,
        modifiers=fact.modifier,
        multiple_or=fact.multipleOr,
        usage=fact.usage,
    )


@cache
def _parameters_by_base() -> Mapping[str, Mapping[str, SearchParameter]]:
    found: dict[str, dict[str, SearchParameter]] = {}
    for parameter in parameters_by_url().values():
        for type_ in parameter.base:
            found.setdefault(type_, {})[parameter.code] = parameter
    return found


@cache
def search_parameters(resource_type: str) -> Mapping[str, SearchParameter]:
    """Return the search parameters of a type by code, with those of Resource and DomainResource."""
    if resource_type not in _types():
        return MappingProxyType({})
    own = _parameters_by_base()
    merged: dict[str, SearchParameter] = {}
    for type_ in reversed(ancestors(resource_type)):
        merged.update(own.get(type_, {}))
    return MappingProxyType(merged)


@cache
def _compartments() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return msgspec.json.decode(
        facts.read("compartments.json"), type=facts.Compartments
    ).compartments


COMPARTMENTS: Final = ("Device", "Encounter", "Patient", "Practitioner", "RelatedPerson")


def compartment_types(compartment: str) -> tuple[str, ...]:
    """Return the resource types that can be in a compartment."""
    return tuple(_compartments().get(compartment, {}))


def compartment_parameters(compartment: str, resource_type: str) -> tuple[str, ...]:
    """Return the codes of the search parameters that put a resource into a compartment.

    https://hl7.org/fhir/R4/compartmentdefinition-patient.html
    """
    return _compartments().get(compartment, {}).get(resource_type, ())
