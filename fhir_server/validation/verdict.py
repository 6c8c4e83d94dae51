"""The fast verdict: a resource is surely valid, or the findings must say.

A check is a function compiled once for each type out of the definitions. True means valid. False
means only that it is not sure: nulls in arrays, extensions with an id and other rare things are
left to `findings`, which alone decides what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any, Final

from fhir_server.model import definitions, primitives, reference
from fhir_server.model.definitions import RESOURCE_TYPES, Element, Property
from fhir_server.validation import contained, terminology
from fhir_server.validation.bundle import rules as bundle_rules
from fhir_server.validation.invariants import CHECKS
from fhir_server.validation.narrative import problem

Check = Callable[[Any], bool]

_LOCK: Final = Lock()
_PLAIN: Final[dict[str, Check]] = {}
_WITH_CONTAINED: Final[dict[str, Check]] = {}
"""Checks by type: of resources without contained ones, and of those with, where `#id` may stand."""


def is_surely_valid(resource: dict[str, Any]) -> bool:
    """Tell whether a resource is surely valid; False asks for a closer look."""
    type_ = resource["resourceType"]
    if "contained" not in resource:
        return (_PLAIN.get(type_) or _made(type_, _PLAIN))(resource)
    if contained.rules(resource) or not contained.names_all(resource):
        return False
    return (_WITH_CONTAINED.get(type_) or _made(type_, _WITH_CONTAINED))(resource)


def _made(type_or_path: str, known: dict[str, Check]) -> Check:
    with _LOCK:
        return _compile(type_or_path, known)


def _never(_: Any) -> bool:
    return False


def _always(_: Any) -> bool:
    return True


def _compile(type_or_path: str, known: dict[str, Check]) -> Check:
    """Make the check of a type, and of the types it reaches, which may reach it again."""
    made = known.get(type_or_path)
    if made is not None:
        return made
    is_resource = definitions.kind(type_or_path) == "resource"
    checks: dict[str, Check] = {}
    if type_or_path == "Extension":
        check = _extension(checks)
    else:
        check = _object(
            checks,
            required=_required(type_or_path),
            choices=_choices(type_or_path),
            rules=_rules(type_or_path),
            is_resource=is_resource,
        )
    known[type_or_path] = check  # another thread that comes too early finds no name: not sure
    if is_resource:
        checks["resourceType"] = _always  # the caller chose the check by it
    for name, property_ in definitions.properties(type_or_path).items():
        checks[name] = _value(property_, known)
        if property_.is_primitive and not property_.element.is_attribute:
            is_many = property_.element.is_many
            checks[f"_{name}"] = _never if is_many else _compile("Element", known)
    return check


def _required(type_or_path: str) -> frozenset[str]:
    return frozenset(
        name
        for name, element in definitions.children(type_or_path).items()
        if element.min and not element.is_choice
    )


def _choices(type_or_path: str) -> tuple[dict[str, str], frozenset[str]]:
    """Return the choice element of each name that is one's, and those that must be there."""
    choice_of: dict[str, str] = {}
    for name, property_ in definitions.properties(type_or_path).items():
        if property_.element.is_choice:
            choice_of[name] = choice_of[f"_{name}"] = property_.element.name
    elements = definitions.children(type_or_path)
    return choice_of, frozenset(name for name in choice_of.values() if elements[name].min)


def _rules(type_or_path: str) -> tuple[Check, ...]:
    if type_or_path == "Bundle":
        return (lambda node: not bundle_rules(node),)
    if "." in type_or_path or type_or_path not in RESOURCE_TYPES:
        return ()  # those of datatypes and backbones are put in where they are used
    return _invariants(definitions.type_invariants(type_or_path))


def _invariants(keys: tuple[str, ...]) -> tuple[Check, ...]:
    return tuple(CHECKS[key] for key in keys if key in CHECKS)


def _object(
    checks: dict[str, Check],
    *,
    required: frozenset[str],
    choices: tuple[dict[str, str], frozenset[str]],
    rules: tuple[Check, ...],
    is_resource: bool,
) -> Check:
    choice_of, must_choose = choices

    def check(node: Any) -> bool:
        if type(node) is not dict:
            return False
        try:
            for key, value in node.items():
                if not checks[key](value):
                    return False
        except (KeyError, TypeError):  # an unknown name; a list where a code is looked up
            return False
        if required and not required <= node.keys():
            return False
        if choice_of:
            chosen = [choice_of[key] for key in node if key in choice_of]
            if len(chosen) > 1 and len(set(chosen)) < len(chosen):
                return False
            if must_choose and not must_choose.issubset(chosen):
                return False
        for rule in rules:
            if not rule(node):
                return False
        # ele-1: an id alone is no content; a resource may be empty.
        return is_resource or len(node) > ("id" in node)

    return check


def _extension(checks: dict[str, Check]) -> Check:
    """Return the check of an extension: its url, and a value or extensions, not both."""

    def check(node: Any) -> bool:
        if type(node) is not dict or len(node) != 2 or "url" not in node:  # noqa: PLR2004
            return False
        try:
            for key, value in node.items():
                if key == "id" or not checks[key](value):
                    return False
        except (KeyError, TypeError):
            return False
        return True

    return check


def _value(property_: Property, known: dict[str, Check]) -> Check:
    one = _one(property_, known)
    if not property_.element.is_many:
        return one

    def many(values: Any) -> bool:
        if type(values) is not list or not values:
            return False
        for value in values:  # noqa: SIM110 - a loop is faster than all() of a generator
            if not one(value):
                return False
        return True

    return many


def _one(property_: Property, known: dict[str, Check]) -> Check:
    element, type_ = property_.element, property_.type
    if type_ == "xhtml":
        return lambda value: type(value) is str and problem(value) is None
    if property_.is_primitive:
        return _primitive(element, type_)
    if type_ == "Resource":
        return _contained if element.name == "contained" else _resource
    base = _compile(type_, known)
    keys = element.invariants
    if definitions.kind(type_) is not None:
        keys = (*definitions.type_invariants(type_), *keys)
    rules = _invariants(keys)
    if type_ == "Reference":
        targets = frozenset(element.targets or RESOURCE_TYPES)
        return _reference(base, targets, may_be_inside=known is _WITH_CONTAINED)
    if element.binding and type_ in terminology.CODED:
        binding = element.binding
        return lambda node: base(node) and terminology.is_bound(binding, type_, node)
    if not rules:
        return base
    if len(rules) == 1:
        rule = rules[0]
        return lambda node: base(node) and rule(node)
    return lambda node: base(node) and all(rule(node) for rule in rules)


def _resource(node: Any) -> bool:
    return (
        type(node) is dict and node.get("resourceType") in RESOURCE_TYPES and is_surely_valid(node)
    )


def _contained(node: Any) -> bool:
    if type(node) is not dict or "contained" in node:
        return False
    type_ = node.get("resourceType")
    return (
        type(type_) is str
        and type_ in RESOURCE_TYPES
        and (_WITH_CONTAINED.get(type_) or _compile(type_, _WITH_CONTAINED))(node)
    )


def _reference(base: Check, targets: frozenset[str], *, may_be_inside: bool) -> Check:
    """Return the check of a Reference to these types; `#id` only where contained may be."""

    def check(node: Any) -> bool:
        if not base(node):
            return False
        type_ = node.get("type")
        if type_ is not None and type_ not in targets:
            return False
        text = node.get("reference")
        if text is None:
            return True
        head, slash, _ = text.partition("/")
        if slash and head in targets:
            return (type_ is None or type_ == head) and reference.is_well_formed(text)
        if text.startswith("#"):
            return may_be_inside  # that each `#id` is there was seen before
        if text.startswith(("http:", "https:")):
            named = reference.parse(text).resource_type
            if named is not None and (named not in targets or type_ not in {None, named}):
                return False
            return reference.is_well_formed(text)
        is_known = text.startswith("urn:") or text.partition("?")[0] in targets
        return is_known and reference.is_well_formed(text)

    return check


def _text(value: Any) -> bool:
    if type(value) is str and value and value.isprintable() and len(value) <= _SHORT:
        return True
    return primitives.CHECKS["string"](value)


def _uri(value: Any) -> bool:
    if type(value) is str and value and value.isprintable() and " " not in value:
        return len(value) <= _SHORT
    return False


def _code(value: Any) -> bool:
    return (type(value) is str and value.isalnum()) or primitives.CHECKS["code"](value)


_SHORT: Final = primitives.MAX_STRING
_FAST: Final[dict[str, Check]] = {
    "string": _text,
    "markdown": _text,
    "uri": _uri,
    "url": _uri,
    "canonical": _uri,
    "code": _code,
}


def _primitive(element: Element, type_: str) -> Check:
    if element.invariants:
        return _never  # eld-3 alone; the findings look
    if type_ == "code" and element.binding:
        codes = terminology.codes(element.binding)
        if codes is not None:
            return codes.__contains__
        binding = element.binding
        return lambda value: _code(value) and terminology.has_code(binding, value)
    return _FAST.get(type_) or primitives.CHECKS[type_]
