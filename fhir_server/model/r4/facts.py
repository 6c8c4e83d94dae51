"""The shape of the extracted facts: what `extract` writes and `model.definitions` reads."""

from __future__ import annotations

from importlib import resources
from typing import Literal

import msgspec

Kind = Literal["primitive", "type", "resource"]


class ElementFact(msgspec.Struct, frozen=True):
    """What is kept of one ElementDefinition."""

    min: int = 0
    max: str = "1"
    type: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    canonical: tuple[str, ...] = ()
    content: str | None = None
    binding: str | None = None
    summary: bool = False
    modifier: bool = False
    attribute: bool = False
    invariants: tuple[str, ...] = ()


class TypeFact(msgspec.Struct, frozen=True):
    """What is kept of one StructureDefinition."""

    kind: Kind
    base: str = ""
    abstract: bool = False
    regex: str | None = None
    invariants: tuple[str, ...] = ()
    elements: dict[str, ElementFact] = {}


class Types(msgspec.Struct):
    """The file `types.json`."""

    types: dict[str, TypeFact]


class ComponentFact(msgspec.Struct, frozen=True):
    """One component of a composite parameter."""

    id: str
    expression: str


class ParameterFact(msgspec.Struct, frozen=True):
    """What is kept of one SearchParameter."""

    code: str
    type: str
    base: tuple[str, ...]
    expression: str = ""
    target: tuple[str, ...] = ()
    comparator: tuple[str, ...] = ()
    modifier: tuple[str, ...] = ()
    multipleOr: bool = True  # noqa: N815 - FHIR's name in the file
    usage: str = "normal"
    component: tuple[ComponentFact, ...] = ()


class Parameters(msgspec.Struct):
    """The file `search_parameters.json`."""

    parameters: dict[str, ParameterFact]


class Compartments(msgspec.Struct):
    """The file `compartments.json`."""

    compartments: dict[str, dict[str, tuple[str, ...]]]


class ValueSets(msgspec.Struct):
    """The file `value_sets.json`."""

    value_sets: dict[str, dict[str, tuple[str, ...]] | None]


class Invariants(msgspec.Struct):
    """The file `invariants.json`."""

    invariants: dict[str, dict[str, str]]


def read(name: str) -> bytes:
    """Return one file of facts."""
    return resources.files("fhir_server.model.r4").joinpath(name).read_bytes()
