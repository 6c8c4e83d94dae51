"""Type names: which type they mean, and whether an item is of it.

http://hl7.org/fhirpath/N1/#types, https://hl7.org/fhir/R4/fhirpath.html#types
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fhir_server.model import definitions
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.item import Item, Node, TypeInfo, lineage, system_type
from fhir_server.model.fhirpath.tree import Member, Tree

SYSTEM: Final = frozenset({
    "Any", "Boolean", "Integer", "Decimal", "String", "Date", "DateTime", "Time", "Quantity",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type: its name, and in which of the two models it is looked for."""

    name: str
    is_fhir: bool
    is_system: bool


def named(tree: Tree) -> tuple[str, ...]:
    """Return the names of a type that is an argument: `Patient`, `FHIR.Patient`.

    Raises:
        FhirPathError: The argument is no name.
    """
    match tree:
        case Member(None, name):
            return (name,)
        case Member(Member(None, namespace), name):
            return namespace, name
        case _:
            raise FhirPathError(
                "A type's name is expected.", kind="semantic", position=tree.position
            )


def resolve(names: tuple[str, ...]) -> TypeName:
    """Return the type of a name: FHIR's is looked for first, then FHIRPath's own.

    Raises:
        FhirPathError: There is no such type.
    """
    name = names[-1]
    match names:
        case ("FHIR", _) if definitions.is_type(name):
            return TypeName(name, is_fhir=True, is_system=False)
        case ("System", _):
            # HL7's cases (testType22): no item is of a System type that there is not.
            return TypeName(name, is_fhir=False, is_system=True)
        case (_,):
            found = TypeName(name, definitions.is_type(name), name in SYSTEM)
            if found.is_fhir or found.is_system:
                return found
    raise FhirPathError("The expression names a type that there is not.", kind="semantic")


def is_of(item: Item, type_name: TypeName, *, cast: bool = False) -> bool:
    """Tell whether an item is of a type, or of one derived from it.

    A cast (`as`, `ofType`) of a primitive keeps its own type alone: HL7's cases have that a `code`
    is a `string`, but `as(string)` gives none (testFHIRPathAsFunction11).
    """
    match item:
        case Node():
            if not type_name.is_fhir:
                return type_name.is_system and type_name.name == "Any"
            if cast and definitions.kind(type_name.name) == "primitive":
                return item.type == type_name.name
            return type_name.name in lineage(item.type)
        case TypeInfo():
            return type_name.is_system and type_name.name == "Any"
        case _:
            return type_name.is_system and type_name.name in {"Any", system_type(item)}
