"""All that is wrong with a resource by base R4: one issue an error, with its place.

https://hl7.org/fhir/R4/validation.html

This walk is the authority; `verdict` only spares it where nothing can be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fhir_server.model import definitions, primitives, reference
from fhir_server.model.definitions import RESOURCE_TYPES, Element, Property
from fhir_server.model.outcome import Issue, Severity
from fhir_server.validation import contained, sentences, terminology
from fhir_server.validation.bundle import rules as bundle_rules
from fhir_server.validation.invariants import CHECKS
from fhir_server.validation.narrative import problem
from fhir_server.validation.sentences import Sentence

MAX_ISSUES: Final = 200
"""Of one resource; a Bundle of thousands of wrong entries must not make an answer of megabytes."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}").fullmatch


class _TooMany(Exception):
    """The list of issues is full."""


class Findings:
    """A walk over one resource, and the issues it found.

    Args:
        spare: Tells whether a resource in a Bundle or Parameters is surely valid, so that one
            doubtful entry among thousands does not make all of them be walked.
    """

    def __init__(self, spare: Callable[[dict[str, Any]], bool] = lambda _: False) -> None:
        self.issues: list[Issue] = []
        self._spare = spare

    def of(self, resource: dict[str, Any]) -> list[Issue]:
        """Return the issues of a resource whose type is known."""
        path = str(resource["resourceType"])
        try:
            self._resource(resource, path, contained.ids(resource))
        except _TooMany:
            self.issues.append(_issue("too-long", sentences.more(path), path))
        except RecursionError:
            self.issues.append(_issue("structure", sentences.too_deep(path), path))
        return self.issues

    def _add(self, code: str, sentence: Sentence, path: str, severity: Severity = "error") -> None:
        if len(self.issues) >= MAX_ISSUES:
            raise _TooMany
        self.issues.append(_issue(code, sentence, path, severity))

    def _break(self, key: str, path: str) -> None:
        rule = definitions.invariants().get(key)
        self._add("invariant", sentences.invariant(path, key, rule.human if rule else key), path)

    # --- resources

    def _resource(self, node: Any, path: str, ids: frozenset[str], *, inner: bool = False) -> None:
        """Walk a resource; `ids` are those that `#id` may name from here."""
        if not _is_resource(node):
            self._add("structure", sentences.resource_type(path), path)
            return
        type_ = node["resourceType"]
        keys = definitions.type_invariants(type_)
        self._object(node, type_, path, ids, keys, skip="resourceType")
        if "contained" in node and not inner:
            for key, place in contained.rules(node):
                self._break(key, f"{path}.{place}")
        if type_ == "Bundle":
            for key, place in bundle_rules(node):
                self._break(key, f"{path}.{place}")

    def _slot(self, node: Any, element: Element, path: str, ids: frozenset[str]) -> None:
        """Walk the resource in a place that holds any resource."""
        if element.name != "contained":
            # FHIR: an entry is a resource of its own, `#id` means its own contained ones.
            if not (_is_resource(node) and self._spare(node)):
                self._resource(node, path, contained.ids(node))
            return
        if isinstance(node, dict) and "contained" in node:
            self._break("dom-2", f"{path}.contained")
            node = {key: value for key, value in node.items() if key != "contained"}
        self._resource(node, path, ids, inner=True)

    # --- objects

    def _object(
        self,
        node: Any,
        type_: str,
        path: str,
        ids: frozenset[str],
        keys: tuple[str, ...],
        *,
        skip: str = "",
    ) -> None:
        if not isinstance(node, dict):
            self._add("structure", sentences.expected(path, "an object", "một đối tượng"), path)
            return
        if not node or (not skip and node.keys() == {"id"}):
            self._add("structure", sentences.empty(path), path)
            return
        known = definitions.properties(type_)
        done: set[str] = set()
        for key in node:
            name = key[1:] if key.startswith("_") and _has_sibling(known.get(key[1:])) else key
            if name == skip or name in done:
                continue
            done.add(name)
            property_ = known.get(name)
            if property_ is None:
                self._unknown(name, path)
            else:
                self._property(node, property_, f"{path}.{property_.element.name}", ids)
        self._count(node, type_, path)
        if type_ == "Extension":
            self._extension(node, path)
        for key in keys:
            if not _holds(key, node):
                self._break(key, path)

    def _unknown(self, name: str, path: str) -> None:
        is_name = _NAME(name) is not None
        place = f"{path}.{name}" if is_name else path
        self._add("structure", sentences.unknown(path, name if is_name else ""), place)

    def _count(self, node: Mapping[str, Any], type_: str, path: str) -> None:
        """Check that what must be there is, and that of a choice only one type is."""
        present: dict[str, set[str]] = {}
        known = definitions.properties(type_)
        for key in node:
            property_ = known.get(key) or known.get(key[1:])
            if property_ is not None:
                present.setdefault(property_.element.name, set()).add(property_.name)
        for name, element in definitions.children(type_).items():
            found = present.get(name, set())
            if element.min and not found:
                self._add("required", sentences.required(f"{path}.{name}"), f"{path}.{name}")
            if len(found) > 1:
                self._add("structure", sentences.one_choice(f"{path}.{name}"), f"{path}.{name}")

    def _extension(self, node: Mapping[str, Any], path: str) -> None:
        has_value = any(key.lstrip("_").startswith("value") for key in node)
        if has_value == ("extension" in node):
            human = "Must have either extensions or value[x], not both"
            self._add("invariant", sentences.invariant(path, "ext-1", human), path)

    # --- properties

    def _property(
        self, node: Mapping[str, Any], property_: Property, path: str, ids: frozenset[str]
    ) -> None:
        element, name = property_.element, property_.name
        if property_.is_primitive:
            self._primitives(node, property_, path, ids)
            return
        value = node[name]
        if not element.is_many:
            if isinstance(value, list):
                self._single(path)
            else:
                self._value(value, property_, path, ids)
            return
        if self._is_array(value, path):
            for index, one in enumerate(value):
                self._value(one, property_, f"{path}[{index}]", ids)

    def _single(self, path: str) -> None:
        english, vietnamese = "one value, not an array", "một giá trị, không phải mảng"
        self._add("structure", sentences.expected(path, english, vietnamese), path)

    def _is_array(self, value: Any, path: str) -> bool:
        if not isinstance(value, list):
            self._add("structure", sentences.expected(path, "an array", "một mảng"), path)
            return False
        if not value:
            self._add("structure", sentences.empty(path), path)
        return True

    def _value(self, value: Any, property_: Property, path: str, ids: frozenset[str]) -> None:
        element, type_ = property_.element, property_.type
        if type_ == "Resource":
            self._slot(value, element, path, ids)
            return
        keys = element.invariants
        if definitions.kind(type_) is not None:
            keys = (*definitions.type_invariants(type_), *keys)
        self._object(value, type_, path, ids, keys)
        if not isinstance(value, dict):
            return
        if type_ == "Reference":
            self._reference(value, element, path, ids)
        if element.binding and not terminology.is_bound(element.binding, type_, value):
            self._add("code-invalid", sentences.binding(path, element.binding), path)

    # --- primitives

    def _primitives(
        self, node: Mapping[str, Any], property_: Property, path: str, ids: frozenset[str]
    ) -> None:
        name, element = property_.name, property_.element
        beside = f"_{name}"
        if not element.is_many:
            if name in node:
                self._primitive(node[name], property_, path)
            if beside in node:
                self._beside(node[beside], path, ids)
            return
        values, others = node.get(name), node.get(beside)
        if name in node and not self._is_array(values, path):
            return
        if beside in node and not self._is_array(others, path):
            return
        values, others = values or [], others or []
        if values and others and len(values) != len(others):
            self._add("structure", sentences.aligned(path), path)
            return
        for index in range(max(len(values), len(others))):
            place = f"{path}[{index}]"
            value = values[index] if values else None
            other = others[index] if others else None
            if value is None and other is None:
                self._add("structure", sentences.aligned(place), place)
            if value is not None:
                self._primitive(value, property_, place)
            if other is not None:
                self._beside(other, place, ids)

    def _beside(self, value: Any, path: str, ids: frozenset[str]) -> None:
        """Walk the id and extensions of a primitive; an id alone is enough beside its value."""
        if isinstance(value, dict) and value.keys() == {"id"}:
            self._primitive(value["id"], _ELEMENT_ID, f"{path}.id")
            return
        if not isinstance(value, dict):
            head, _, name = path.rpartition(".")
            beside = f"{head}._{name}"
            self._add("structure", sentences.expected(beside, "an object", "một đối tượng"), path)
            return
        self._object(value, "Element", path, ids, ())

    def _primitive(self, value: Any, property_: Property, path: str) -> None:
        type_, binding = property_.type, property_.element.binding
        if isinstance(value, list) and not property_.element.is_many:
            self._single(path)
        elif isinstance(value, (dict, list)):
            english, vietnamese = "a primitive value", "một giá trị nguyên thủy"
            self._add("structure", sentences.expected(path, english, vietnamese), path)
        elif value is None or value == "":
            self._add("structure", sentences.empty(path), path)
        elif not primitives.is_valid(type_, value):
            is_long = isinstance(value, str) and len(value) > primitives.MAX_STRING
            sentence = sentences.too_long(path) if is_long else sentences.form(path, type_)
            self._add("too-long" if is_long else "value", sentence, path)
        elif type_ == "xhtml":
            self._narrative(value, path)
        elif binding and not terminology.is_bound(binding, type_, value):
            self._add("code-invalid", sentences.binding(path, binding), path)

    def _narrative(self, value: str, path: str) -> None:
        wrong = problem(value)
        if wrong is not None:
            key, english, vietnamese = wrong
            # Four of HL7's own examples have an empty div: it harms nobody, and is written.
            severity: Severity = "warning" if key == "txt-2" else "error"
            sentence = (f"{english} ({key})", f"{vietnamese} ({key})")
            self._add("invariant", sentence, path, severity)

    # --- references

    def _reference(
        self, node: Mapping[str, Any], element: Element, path: str, ids: frozenset[str]
    ) -> None:
        text, type_ = node.get("reference"), node.get("type")
        named = reference.parse(text).resource_type if isinstance(text, str) else None
        # FHIR: Reference.type names a resource by its name, or a logical model by its URL.
        said = type_ if isinstance(type_, str) and type_ in RESOURCE_TYPES else None
        if named and said and named != said:
            self._add("value", sentences.type_differs(path), f"{path}.type")
        found = named or said
        if found and element.targets and found not in element.targets:
            self._add("value", sentences.target(path, element.targets), path)
        if isinstance(text, str) and text and not reference.is_well_formed(text):
            self._add("value", sentences.reference(f"{path}.reference"), f"{path}.reference")
        if isinstance(text, str) and text.startswith("#") and text != "#" and text[1:] not in ids:
            self._break("ref-1", path)


_ELEMENT_ID: Final = definitions.properties("Element")["id"]


def _is_resource(node: Any) -> bool:
    type_ = node.get("resourceType") if isinstance(node, dict) else None
    return isinstance(type_, str) and type_ in RESOURCE_TYPES


def _holds(key: str, node: dict[str, Any]) -> bool:
    check = CHECKS.get(key)
    try:
        return check is None or check(node)
    except (TypeError, AttributeError):
        return True  # a value of another JSON kind, which has its own issue


def _has_sibling(property_: Property | None) -> bool:
    """Tell whether a property may have a `_name` beside it."""
    return property_ is not None and property_.is_primitive and not property_.element.is_attribute


def _issue(code: str, sentence: Sentence, path: str, severity: Severity = "error") -> Issue:
    return Issue(code, sentence[0], severity, expression=(path,), text_vi=sentence[1])
