"""The Parameters resource: what operations are given, and what they give.

https://hl7.org/fhir/R4/parameters.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fhir_server.model.definitions import element, properties


def make(*parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a Parameters resource; without parameters it has no empty array."""
    made: dict[str, Any] = {"resourceType": "Parameters"}
    if parameters:
        made["parameter"] = list(parameters)
    return made


def value(name: str, type_: str, content: Any) -> dict[str, Any]:
    """Return a parameter with a value of a FHIR type: `value("result", "boolean", True)`.

    Raises:
        ValueError: A parameter cannot have that type.
    """
    key = f"value{type_[0].upper()}{type_[1:]}"
    if key not in properties("Parameters.parameter"):
        message = f"A parameter cannot have the type {type_}."
        raise ValueError(message)
    return {"name": name, key: content}


def resource(name: str, content: Any) -> dict[str, Any]:
    """Return a parameter that is a resource."""
    return {"name": name, "resource": content}


def part(name: str, *parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a parameter made of parts."""
    return {"name": name, "part": list(parts)}


def named(parameters: Mapping[str, Any], name: str) -> Iterator[dict[str, Any]]:
    """Give the parameters (or, of a parameter, its parts) of a name, in their order."""
    found = parameters.get("parameter", parameters.get("part"))
    for one in found if isinstance(found, list) else ():
        if isinstance(one, dict) and one.get("name") == name:
            yield one


def content(parameter: Mapping[str, Any]) -> Any:
    """Return what a parameter holds: its value or resource; None if it has only parts."""
    if "resource" in parameter:
        return parameter["resource"]
    for key, found in parameter.items():
        if key.startswith("value"):
            return found
    return None


def first(parameters: Mapping[str, Any], name: str) -> Any:
    """Return the value or resource of the first parameter of a name, or None."""
    for parameter in named(parameters, name):
        return content(parameter)
    return None


def every(parameters: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values or resources of all parameters of a name."""
    return [content(parameter) for parameter in named(parameters, name)]


def value_types() -> tuple[str, ...]:
    """Return the types that a parameter's value may have."""
    found = element("Parameters.parameter.value[x]")
    return found.types if found else ()
