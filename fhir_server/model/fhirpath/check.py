"""Whether an expression can be right for a type, seen before there is a resource.

http://hl7.org/fhirpath/N1/#type-safety-and-strict-evaluation

What cannot be told is let through: elements below `resolve()`, `children()`, `contained`, an
entry's resource, and whatever an operator makes. An error is only what no resource of the type
could make right: an element that no type here has, another type at the root, a function of strings
on what has elements, a place in an order on what has none, an unknown function or type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from fhir_server.model import definitions
from fhir_server.model.fhirpath import item, types
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.functions import conversion, table, text
from fhir_server.model.fhirpath.item import ANY_RESOURCE, lineage, system_type
from fhir_server.model.fhirpath.tree import (
    Binary,
    Call,
    Constant,
    Indexer,
    Member,
    Polarity,
    Special,
    Tree,
    TypeOperation,
    spine,
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a collection.

    Attributes:
        types: The types that its items may be of, those of FHIRPath's with `System.` before them;
            None if nothing is known.
        is_ordered: Its order means something.
    """

    types: frozenset[str] | None
    is_ordered: bool = True

    @property
    def is_elements(self) -> bool:
        """Whether every item surely has elements, and so is no string or number."""
        return bool(self.types) and all(_has_elements(name) for name in self.types or ())

    @property
    def is_no_boolean(self) -> bool:
        """Whether every item is of a type of FHIRPath's that is not Boolean."""
        return bool(self.types) and all(
            name.startswith("System.") and name != BOOLEAN for name in self.types or ()
        )


def _has_elements(name: str) -> bool:
    is_fhir = not name.startswith("System.") and name not in ANY_RESOURCE
    return is_fhir and definitions.kind(name) != "primitive" and name not in item.QUANTITIES


BOOLEAN: Final = "System.Boolean"
UNKNOWN: Final = Kind(None)
_TRUTH: Final = Kind(frozenset({BOOLEAN}))

_MEMBERS: Final = {
    "System.Quantity": frozenset({"value", "unit"}),
    "System.TypeInfo": frozenset({"namespace", "name", "baseType"}),
}
_SAME: Final = frozenset({
    "where", "distinct", "exclude", "trace", "intersect", "single", "checkModifiers",
})  # fmt: skip
_IN_ORDER: Final = frozenset({"first", "last", "tail", "skip", "take"})
_BY_ITEM: Final = frozenset({
    "where", "exists", "all", "select", "repeat", "aggregate", "iif", "sort", "trace",
})  # fmt: skip
_BOOLEANS: Final = frozenset({
    "empty", "exists", "not", "all", "allTrue", "anyTrue", "allFalse", "anyFalse", "subsetOf",
    "supersetOf", "isDistinct", "is", "contains", "startsWith", "endsWith", "matches",
    "matchesFull", "hasValue", "memberOf", "conformsTo", "subsumes", "subsumedBy", "htmlChecks",
    "comparable", *(name for name in conversion.FUNCTIONS if name.startswith("converts")),
})  # fmt: skip
_TYPES: Final = frozenset({"is", "as", "ofType"})
_RESULTS: Final = {
    "count": "System.Integer", "length": "System.Integer", "indexOf": "System.Integer",
    "toInteger": "System.Integer", "toDecimal": "System.Decimal", "toString": "System.String",
    "toDate": "System.Date", "toDateTime": "System.DateTime", "toTime": "System.Time",
    "toQuantity": "System.Quantity", "toBoolean": BOOLEAN, "type": "System.TypeInfo",
    "substring": "System.String", "upper": "System.String", "lower": "System.String",
    "replace": "System.String", "replaceMatches": "System.String", "toChars": "System.String",
    "join": "System.String", "trim": "System.String", "now": "System.DateTime",
    "today": "System.Date", "timeOfDay": "System.Time", "extension": "Extension",
}  # fmt: skip
_LOGIC: Final = frozenset({
    "=", "!=", "~", "!~", "<", "<=", ">", ">=", "and", "or", "xor", "implies", "in", "contains",
})  # fmt: skip


def check(tree: Tree, type_: str) -> None:
    """See that an expression can be right for a type, or for the path of a backbone.

    Raises:
        FhirPathError: It cannot (`semantic`).
    """
    known = Kind(frozenset({type_})) if type_ else UNKNOWN
    _of(tree, known)


def _wrong(reason: str, tree: Tree) -> FhirPathError:
    return FhirPathError(reason, kind="semantic", position=tree.position)


def _of(tree: Tree, this: Kind) -> Kind:
    """Return what is known of what a tree gives, where `$this` is so."""
    found = UNKNOWN
    for node in spine(tree):
        found = _step(node, found, this)
    return found


def _step(node: Tree, before: Kind, this: Kind) -> Kind:
    match node:
        case Constant(value):
            return Kind(frozenset(() if value is None else {f"System.{system_type(value)}"}))
        case Special("this", first):
            return this if first is None else before
        case Member(None, name):
            return _root(node, name, this)
        case Member(_, name):
            return _member(node, name, before)
        case Call(first):
            return _call(node, this if first is None else before, this)
        case Indexer(_, index):
            _of(index, this)
            return _in_order(node, before)
        case Polarity(_, operand):
            return _of(operand, this)
        case TypeOperation(operator, _, names):
            return _typed(node, names, is_test=operator == "is")
        case Binary(operator, _, right):
            other = _of(right, this)
            if operator == "|":
                return _merged(before, other)
            return _TRUTH if operator in _LOGIC else UNKNOWN
        case _:
            return UNKNOWN


def _merged(*kinds: Kind) -> Kind:
    if any(kind.types is None for kind in kinds):
        return Kind(None, is_ordered=all(kind.is_ordered for kind in kinds))
    merged: frozenset[str] = frozenset().union(*(kind.types or () for kind in kinds))
    return Kind(merged, is_ordered=all(kind.is_ordered for kind in kinds))


def _root(node: Tree, name: str, this: Kind) -> Kind:
    """Return what a name at the root of a path is: a type that the context is of, or elements."""
    if not (name[:1].isupper() and definitions.is_type(name)) or this.types is None:
        return _member(node, name, this)
    here = {type_ for type_ in this.types if name in lineage(type_)}
    if not here and not this.types & ANY_RESOURCE:
        raise _wrong("The expression begins with a type that the context is not of.", node)
    return replace(this, types=frozenset(here or {name}))


def _member(node: Tree, name: str, before: Kind) -> Kind:
    if before.types is None or before.types & ANY_RESOURCE or not before.types:
        return replace(before, types=None)
    found: set[str] = set()
    is_known = False
    for type_ in before.types:
        if type_.startswith("System."):
            is_known = is_known or name in _MEMBERS.get(type_, ())
        elif item.knows(type_, name):
            is_known = True
            found.update(item.child_types(type_, name))
    if not is_known:
        raise _wrong("The expression names an element that there is not.", node)
    return Kind(frozenset(found) or None, is_ordered=before.is_ordered)


def _in_order(node: Tree, before: Kind) -> Kind:
    if not before.is_ordered:
        raise _wrong("The expression asks for a place in a collection that has no order.", node)
    return before


def _typed(node: Tree, names: tuple[str, ...], *, is_test: bool) -> Kind:
    try:
        type_name = types.resolve(names)
    except FhirPathError as error:
        raise _wrong(str(error), node) from None
    if is_test:
        return _TRUTH
    found = {type_name.name} if type_name.is_fhir else set()
    return Kind(frozenset(found | ({f"System.{type_name.name}"} if type_name.is_system else set())))


def _call(node: Call, focus: Kind, this: Kind) -> Kind:
    name, arguments = node.name, node.arguments
    row = table.FUNCTIONS.get(name)
    if row is None:
        raise _wrong("The expression calls a function that there is not.", node)
    if not row.least <= len(arguments) <= row.most:
        raise _wrong("A function is called with too few or too many arguments.", node)
    if name in _TYPES:
        return _typed(node, types.named(arguments[0]), is_test=name == "is")
    if name in text.FUNCTIONS and focus.is_elements:
        raise _wrong(f"“{name}” takes a string.", node)
    inner = focus if name in _BY_ITEM else this
    if name == "repeat":
        return _repeated(arguments[0], focus)
    given = [_of(argument, inner) for argument in arguments]
    if name in _RULES:
        return _RULES[name](node, focus, given)
    if name in _IN_ORDER:
        return _in_order(node, focus)
    if name in _SAME:
        return focus
    if name in _BOOLEANS:
        return _TRUTH
    result = _RESULTS.get(name)
    return Kind(frozenset({result})) if result else UNKNOWN


def _repeated(projection: Tree, focus: Kind) -> Kind:
    """Return what a projection gives for what it is called on, and for what it gives itself.

    Of that it need not be right: `Patient.repeat(extension | name)`.
    """
    found = _of(projection, focus)
    try:
        again = _merged(found, _of(projection, found))
    except FhirPathError:
        return replace(found, types=None)
    return found if again == found else replace(again, types=None)


def _conditional(node: Call, _: Kind, given: list[Kind]) -> Kind:
    if given[0].is_no_boolean:
        raise _wrong("The criterion of “iif” is no Boolean.", node)
    return _merged(*given[1:])


_RULES: Final[dict[str, Callable[[Call, Kind, list[Kind]], Kind]]] = {
    "select": lambda _, __, given: given[0],
    "union": lambda _, focus, given: _merged(focus, *given),
    "combine": lambda _, focus, given: _merged(focus, *given),
    "children": lambda *_: Kind(None, is_ordered=False),
    "descendants": lambda *_: Kind(None, is_ordered=False),
    "sort": lambda _, focus, __: replace(focus, is_ordered=True),
    "iif": _conditional,
}
