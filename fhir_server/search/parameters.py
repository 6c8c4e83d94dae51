"""The search parameters of a resource type: R4's own, those that this project adds, a store's own.

https://hl7.org/fhir/R4/searchparameter-registry.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.model import definitions, identifiers
from fhir_server.search import path
from fhir_server.search.path import Field, NoFacility, Path, Resolves, Step

if TYPE_CHECKING:
    from fhir_server.search.sink import Extract

UNSUPPORTED: Final = frozenset({"_query"})
"""Parameters of R4's list that this server does not have: always refused (`query.py`)."""

_RELATION: Final = "http://hl7.org/fhir/SearchParameter/DocumentReference-relat"
CORRECTED: Final[Mapping[tuple[str, str], str]] = MappingProxyType({
    (f"{_RELATION}ionship", f"{_RELATION}esto"): "target",
    (f"{_RELATION}ionship", f"{_RELATION}ion"): "code",
})
"""Expressions of components, by the composite and the component, that R4 has the wrong way round.

As they stand the reference `relatesto` were a code and the code `relation` a reference: no value of
any resource could be found. https://github.com/microsoft/fhir-server/issues/901
"""

OWN: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    # What a payer may see is what a claim on one of its Coverages names (contract, section 6);
    # R4 has no parameter from a Claim to its Coverage, nor one for all that a Claim names.
    "Claim": {
        "coverage": ("Claim.insurance.coverage",),
        "names": (
            "Claim.patient",
            "Claim.enterer",
            "Claim.insurer",
            "Claim.provider",
            "Claim.prescription",
            "Claim.originalPrescription",
            "Claim.payee.party",
            "Claim.referral",
            "Claim.facility",
            "Claim.careTeam.provider",
            "Claim.diagnosis.diagnosis.as(Reference)",
            "Claim.procedure.procedure.as(Reference)",
            "Claim.supportingInfo.value.as(Reference)",
            "Claim.insurance.coverage",
            "Claim.item.location.as(Reference)",
            "Claim.item.encounter",
        ),
    },
    "CoverageEligibilityRequest": {"coverage": ("CoverageEligibilityRequest.insurance.coverage",)},
    "CoverageEligibilityResponse": {
        "coverage": ("CoverageEligibilityResponse.insurance.coverage",)
    },
    "Encounter": {
        "names": (
            "Encounter.serviceProvider",
            "Encounter.participant.individual",
            "Encounter.diagnosis.condition",
        ),
    },
}
"""The project's own search parameters, all of type reference: type, code and expression."""

DECEASED: Final = "Patient.deceased.exists() and Patient.deceased != false"
"""The one expression of R4's list that is a condition, not a path."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A search parameter of one resource type.

    Attributes:
        code: What its index values carry: its name in a URL, but for a store's own parameter, where
            it also says which definition they were made by (`Own.code`).
        type: number, date, string, token, reference, composite, quantity or uri.
        url: Its canonical URL.
        expression: Its FHIRPath, as in its definition.
        paths: The alternatives of the expression that begin at this resource type.
        value_types: The FHIR types of the elements that it finds.
        targets: The resource types that a reference may name.
        components: Of a composite, its parts: a parameter each, with the part's own paths.
        own: What a store says of its own parameter; None of R4's and of this project's.
    """

    code: str
    type: str
    url: str
    expression: str
    paths: tuple[Path, ...] = ()
    value_types: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    components: tuple[Parameter, ...] = ()
    own: Own | None = None

    @property
    def is_ready(self) -> bool:
        """Whether all resources are indexed by it."""
        return self.own is None or self.own.ready


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """A component of a store's own composite parameter.

    Attributes:
        code: What tells the component's values within the composite's.
        type: Of the parameter that it is.
        expression: From the composite's element to the component's.
    """

    code: str
    type: str
    url: str
    expression: str
    target: tuple[str, ...] = ()


_MADE: Final = "~"


def name_of(code: str) -> str:
    """Return the name in a URL of the parameter whose index values carry this."""
    return code.partition(_MADE)[0]


class Own(msgspec.Struct, frozen=True, omit_defaults=True):
    """A parameter that a store was given as a SearchParameter resource.

    Attributes:
        name: Its name in a URL.
        url: Its canonical URL.
        base: The types that have it, `Resource` and `DomainResource` among them.
        made: Which of all definitions that the store ever had it is: index values that were made by
            another one are never taken for its own.
        ready: Whether all resources are indexed by it; until then nothing is searched by it.
        multiple_or: Whether several values may stand between commas.
        multiple_and: Whether it may be given several times.
        comparators: The prefixes that may be used; () is all.
        modifiers: The modifiers that may be used; () is all.
        source: Id of the SearchParameter.
    """

    name: str
    type: str
    url: str
    base: tuple[str, ...]
    expression: str
    made: int
    source: str = ""
    ready: bool = False
    target: tuple[str, ...] = ()
    components: tuple[Part, ...] = ()
    multiple_or: bool = True
    multiple_and: bool = True
    comparators: tuple[str, ...] = ()
    modifiers: tuple[str, ...] = ()

    @property
    def code(self) -> str:
        """What its index values carry; no R4 parameter has such a name."""
        return f"{self.name}{_MADE}{self.made}"


@dataclass(frozen=True, slots=True)
class Found:
    """An element at the end of a path: its type, and the resource types it may name."""

    type: str
    targets: frozenset[str]


def matching(holder: str, step: Field) -> Iterator[definitions.Property]:
    """Return the JSON properties of a type that a step leads to."""
    for property_ in definitions.properties(holder).values():
        if property_.element.name != step.name:
            continue
        # R4's list writes `value.as(DateTime)` for dateTime.
        if step.as_type is None or step.as_type.lower() == property_.type.lower():
            yield property_


def _ends(holder: str, steps: tuple[Step, ...], targets: frozenset[str]) -> Iterator[Found]:
    if not steps:
        yield Found(holder, targets)
        return
    step, rest = steps[0], steps[1:]
    if isinstance(step, Resolves):
        yield from _ends(holder, rest, frozenset({step.resource_type}))
    elif isinstance(step, Field):
        for property_ in matching(holder, step):
            element = property_.element
            named = element.canonical if property_.type == "canonical" else element.targets
            known = frozenset(named) & definitions.RESOURCE_TYPES
            yield from _ends(property_.type, rest, known or definitions.RESOURCE_TYPES)
    else:
        yield from _ends(holder, rest, targets)


def _begin_at(resource_type: str, expression: str) -> tuple[Path, ...]:
    roots = {"", *definitions.ancestors(resource_type)}
    if expression == DECEASED:
        return ()
    return tuple(found for found in path.parse(expression) if found.root in roots)


def ends_of(holder: str, steps: tuple[Step, ...]) -> Iterator[Found]:
    """Return what stands at the end of a path from a type; nothing where it leads nowhere."""
    return _ends(holder, steps, frozenset())


def _resolved(parameter: Parameter, context: str, target: frozenset[str]) -> Parameter:
    found = [end for item in parameter.paths for end in _ends(context, item.steps, target)]
    targets = frozenset(name for end in found for name in end.targets)
    return replace(
        parameter,
        value_types=frozenset(end.type for end in found),
        targets=(targets & target or target or targets)
        if parameter.type == "reference"
        else target,
    )


def _standard(resource_type: str, fact: definitions.SearchParameter) -> Parameter:
    own = Parameter(fact.code, fact.type, fact.url, fact.expression)
    parameter = _resolved(
        replace(own, paths=_begin_at(resource_type, fact.expression)),
        resource_type,
        frozenset(fact.target),
    )
    if fact.expression == DECEASED:
        return replace(parameter, value_types=frozenset({"boolean"}))
    contexts = sorted(parameter.value_types) or [resource_type]
    parts = [
        replace(part, expression=CORRECTED.get((fact.url, part.url), part.expression))
        for part in fact.components
    ]
    components = tuple(_component(part, contexts[0], resource_type) for part in parts)
    return replace(parameter, components=components)


def _component(part: definitions.Component | Part, context: str, resource_type: str) -> Parameter:
    paths = path.parse(part.expression)
    holder = resource_type if any(item.root == path.RESOURCE for item in paths) else context
    parameter = Parameter(part.code, part.type, part.url, part.expression, paths)
    return _resolved(parameter, holder, frozenset(part.target))


def _added(resource_type: str) -> dict[str, Parameter]:
    added: dict[str, Parameter] = {}
    for code, expressions in OWN.get(resource_type, {}).items():
        expression = " | ".join(expressions)
        url = f"{identifiers.NS}/SearchParameter/{resource_type}-{code}"
        parameter = Parameter(code, "reference", url, expression, path.parse(expression))
        added[code] = _resolved(parameter, resource_type, frozenset())
    return added


@cache
def parameters(resource_type: str) -> Mapping[str, Parameter]:
    """Return R4's and our search parameters of a type by code; of `Resource`, those of every type.

    What a store knows beside them, its `Known` says.
    """
    found = {
        code: _standard(resource_type, fact)
        for code, fact in definitions.search_parameters(resource_type).items()
        if code not in UNSUPPORTED
    }
    return MappingProxyType({**found, **_added(resource_type)})


def parameter(resource_type: str, code: str) -> Parameter | None:
    """Return one of R4's or our search parameters of a type."""
    return parameters(resource_type).get(code)


_PARTS: Final = frozenset({"partOf", "parent"})


@cache
def parent_of(resource_type: str) -> str | None:
    """Return the code of the parameter that names what a resource is part of, of its own type.

    https://hl7.org/fhir/R4/search.html#hierarchy: `Location.partof`, `Specimen.parent`; None
    where a type has none.
    """
    for known in parameters(resource_type).values():
        if known.type == "reference" and resource_type in known.targets:
            for item in known.paths:
                step = item.steps[0] if len(item.steps) == 1 else None
                if isinstance(step, Field) and step.name in _PARTS:
                    return known.code
    return None


class Known:
    """The search parameters that a store knows, which never change: others are another Known.

    Attributes:
        own: The store's own.
        generation: Grows with each change of what resources are indexed by.
        compiled: The extractors of types, kept by `search.compile`.
        is_closed: Whether who asks may not use the store's own.
        progress: How far the indexing of those that are not ready is, to be shown: `40 %`.
    """

    __slots__ = (
        "__weakref__", "_by_type", "compiled", "generation", "is_closed", "own", "progress",
    )  # fmt: skip

    def __init__(self, own: tuple[Own, ...] = (), generation: int = 0) -> None:
        self.own = own
        self.generation = generation
        self.is_closed = False
        self.progress = ""
        self.compiled: dict[str, Extract] = {}
        self._by_type: dict[str, Mapping[str, Parameter]] = {}

    def of(self, resource_type: str) -> Mapping[str, Parameter]:
        """Return the parameters of a type by their names in a URL, those not ready among them."""
        found = self._by_type.get(resource_type)
        if found is None:
            found = self._by_type[resource_type] = self._of(resource_type)
        return found

    def get(self, resource_type: str, name: str) -> Parameter | None:
        """Return one parameter of a type."""
        return self.of(resource_type).get(name)

    def _of(self, resource_type: str) -> Mapping[str, Parameter]:
        standard = parameters(resource_type)
        kinds = definitions.ancestors(resource_type) if definitions.is_type(resource_type) else ()
        own = {one.name: one for one in self.own if not set(one.base).isdisjoint(kinds)}
        if not own:
            return standard
        return MappingProxyType({
            **standard,
            **{name: own_parameter(one, resource_type) for name, one in own.items()},
        })

    def closed(self) -> Known:
        """Return the same for who may not use the store's own: asking for one is refused."""
        return self._like(is_closed=True, progress=self.progress) if self.own else self

    def at(self, progress: str) -> Known:
        """Return the same, with how far the indexing is."""
        return self._like(is_closed=self.is_closed, progress=progress)

    def _like(self, *, is_closed: bool, progress: str) -> Known:
        other = Known(self.own, self.generation)
        other.compiled, other._by_type = self.compiled, self._by_type
        other.is_closed, other.progress = is_closed, progress
        return other

    def __reduce__(self) -> tuple[object, tuple[tuple[Own, ...], int]]:
        return known_of, (self.own, self.generation)


@lru_cache(maxsize=16)
def known_of(own: tuple[Own, ...], generation: int) -> Known:
    """Return what a store knows, the same object for the same parameters: it keeps what it made."""
    return Known(own, generation)


R4: Final = Known()
"""R4's parameters and ours, as every store knows them."""


def own_parameter(one: Own, resource_type: str) -> Parameter:
    """Return a store's own parameter as one type has it."""
    plain = Parameter(one.code, one.type, one.url, one.expression, own=one)
    paths = tuple(
        _guarded(resource_type, item) for item in _begin_at(resource_type, one.expression)
    )
    found = _resolved(replace(plain, paths=paths), resource_type, frozenset(one.target))
    contexts = sorted(found.value_types) or [resource_type]
    components = tuple(_component(part, contexts[0], resource_type) for part in one.components)
    guarded = tuple(
        replace(part, paths=tuple(_guarded(resource_type, item) for item in part.paths))
        for part in components
    )
    return replace(found, components=guarded)


_NAMING_FACILITIES: Final = frozenset({"extension", "identifier"})


def _guarded(resource_type: str, item: Path) -> Path:
    """Return a path that finds nothing of a Patient which a facility may not see of it.

    Where else a Patient was is hidden from facilities (`interactions.elsewhere`): a store's own
    parameter would tell by what it finds.
    """
    if resource_type != "Patient" or not item.steps:
        return item
    first, *rest = item.steps
    if not isinstance(first, Field) or first.name not in _NAMING_FACILITIES:
        return item
    return Path(item.root, (first, NoFacility(), *rest))
