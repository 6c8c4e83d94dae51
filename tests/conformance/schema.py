"""The official schemas of R4: fhir.schema.json and the XSD, in which places they say no.

Both are in no registry, only in the shared test data (`r4-schema/`).
"""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import jsonschema_rs
from lxml import etree

_DRAFT = "http://json-schema.org/draft-06/schema#"
_ANY = "ResourceList"
"""The definition that is one of all resources: asked for what is wrong it takes seconds."""


@dataclass(slots=True)
class Schemas:
    """Both schemas; of the JSON's a validator is made for each type when it is first asked."""

    definitions: dict[str, Any]
    xsd: etree.XMLSchema
    made: dict[str, jsonschema_rs.Draft6Validator] = field(default_factory=dict)

    @classmethod
    def read(cls, data: Path, folder: Path) -> Self:
        """Read them from the shared test data; the XSD is unpacked to a folder."""
        with gzip.open(data / "r4-schema" / "fhir.schema.json.gz") as file:
            definitions = json.load(file)["definitions"]
        definitions[_ANY] = {"type": "object", "required": ["resourceType"]}
        with tarfile.open(data / "r4-schema" / "xsd.tar.gz") as packed:
            packed.extractall(folder, filter="data")
        return cls(definitions, etree.XMLSchema(etree.parse(folder / "fhir-single.xsd")))

    def of_json(self, body: bytes) -> list[str]:
        """Return the places where JSON is not valid, of each resource in it by itself."""
        return sorted(
            path + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path)
            for path, resource in _resources(json.loads(body), "")
            for error in self._validator(resource["resourceType"]).iter_errors(resource)
        )

    @staticmethod
    def types_of(body: bytes) -> set[str]:
        """Return the types of all resources in JSON."""
        return {one["resourceType"] for _, one in _resources(json.loads(body), "")}

    def of_xml(self, body: bytes) -> list[str]:
        """Return what is not valid in XML."""
        if self.xsd.validate(etree.fromstring(body)):
            return []
        return [str(error.message) for error in self.xsd.error_log]

    def _validator(self, type_: str) -> jsonschema_rs.Draft6Validator:
        if type_ not in self.made:
            self.made[type_] = jsonschema_rs.Draft6Validator({
                "$schema": _DRAFT,
                "$ref": f"#/definitions/{type_}",
                "definitions": self._reached(type_),
            })
        return self.made[type_]

    def _reached(self, type_: str) -> dict[str, Any]:
        """Return the definitions that a type leads to: compiling all of them takes a second."""
        found: dict[str, Any] = {}
        todo = [type_]
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self.definitions[name]
                todo += _references(found[name])
        return found


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield str(value["$ref"]).rpartition("/")[2]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from _references(part)


def _resources(value: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give each resource of a value, and where it is: itself, contained ones, those of entries."""
    if isinstance(value, list):
        for number, part in enumerate(value):
            yield from _resources(part, f"{path}[{number}]")
    elif isinstance(value, dict):
        place = path.rpartition(".")[2].partition("[")[0]
        if not path or (place in _PLACES and "resourceType" in value):
            path = f"{path}({value['resourceType']})" if path else value["resourceType"]
            yield path, value
        for name, part in value.items():
            yield from _resources(part, f"{path}.{name}")


_PLACES = frozenset({"contained", "resource", "outcome"})
"""Names of elements whose type is Resource, and of some others, that have no `resourceType`."""
