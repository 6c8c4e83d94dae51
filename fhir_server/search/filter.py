"""`_filter`: what its tests ask of a type's resources, by the same parameters as a search.

https://hl7.org/fhir/R4/search_filter.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, Literal

from fhir_server.model.outcome import FhirError, InvalidValue, UnsupportedParameter
from fhir_server.search.criterion import LIST, Asked, criterion, one_of, shown
from fhir_server.search.expression import (
    And,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    LastUpdated,
    Not,
    Or,
    Prefix,
    RefersTo,
    StringIs,
    TokenIs,
    UriIs,
    is_version,
)
from fhir_server.search.filter_syntax import (
    Denied,
    Joined,
    Step,
    Test,
    Tree,
    parse_filter,
    place,
)
from fhir_server.search.link import chained, targets_of
from fhir_server.search.own import check_own
from fhir_server.search.parameters import Parameter
from fhir_server.search.reading import Reading


def filtered(reading: Reading, resource_type: str, text: str, depth: int = 0) -> Expression:
    """Return what a filter asks of a type's resources.

    Raises:
        InvalidValue: It cannot be read, or a value in it cannot; the error says where.
        UnsupportedParameter: A parameter is unknown, or has no such operator.
        TooCostly: It asks for more than one search may.
    """
    return _asked(reading, resource_type, parse_filter(text), depth)


def _asked(reading: Reading, kind: str, tree: Tree, depth: int) -> Expression:
    match tree:
        case Joined(word, parts):
            found = tuple(_asked(reading, kind, part, depth) for part in parts)
            return And(found) if word == "and" else Or(found)
        case Denied(part):
            return Not(_asked(reading, kind, part, depth))
        case Test():
            reading.ask(1)
            tested = _tested(reading, kind, tree, 0, depth)
            if tested is None:
                raise _unknown(tree, kind)
            return tested


def _tested(reading: Reading, kind: str, test: Test, at: int, depth: int) -> Expression | None:
    """Return what a test asks from one step of its path on; None where the type has no such."""
    if at:
        reading.follow(depth)
    step = test.path[at]
    if step.within is not None and (kind, step.name) in _ADDITIONAL:
        return _of_additional(reading, kind, step, test, at)
    known = LIST if step.name == LIST.code else reading.find(kind, step.name)
    if known is None:
        return None
    if at == len(test.path) - 1:
        return _leaf(reading, known, step, test)
    if known.type == "reference":
        return chained(
            known,
            targets_of(known, step.kind, test.name),
            lambda target: _behind(reading, target, test, at, depth + 1),
            test.name,
        )
    if known.type == "composite" and at == len(test.path) - 2:
        return _of_composite(reading, known, step, test)
    raise _unsupported(
        step.at,
        f"the search parameter {shown(step.name)} leads to nothing of its own",
        f"tham số {shown(step.name)} không dẫn đến tham số nào khác",
    )


def _behind(reading: Reading, kind: str, test: Test, at: int, depth: int) -> Expression | None:
    """Return what is asked of the resource that a reference leads to."""
    within = test.path[at].within
    try:
        rest = _tested(reading, kind, test, at + 1, depth)
        if within is None or rest is None:
            return rest
        return And((_asked(reading, kind, within, depth), rest))
    except UnsupportedParameter as refusal:
        # Of several types some may not know it; if none does, the chain is refused with this.
        raise InvalidValue(refusal.issues[0].text, text_vi=refusal.issues[0].text_vi) from refusal


# --- composites: what brackets ask of the same repetition --------------------------------


def _of_composite(reading: Reading, known: Parameter, step: Step, test: Test) -> CompositeIs:
    """Return what is asked of one repetition: of its components, each by itself."""
    parts: list[list[Expression]] = [[] for _ in known.components]
    last = replace(test, path=test.path[-1:])
    for tree in (*_conjuncts(step.within), last):
        number = _component_of(known, step.name, tree)
        parts[number].append(_of_component(reading, known.components[number], tree))
    return CompositeIs(
        known.code, tuple(one[0] if len(one) == 1 else And(tuple(one)) for one in parts)
    )


def _of_additional(
    reading: Reading, kind: str, step: Step, test: Test, at: int
) -> Expression | None:
    """Return what one of the names asks that R4 defines for filters alone."""
    composite, names = _ADDITIONAL[kind, step.name]
    known = reading.find(kind, composite)
    if known is None or at != len(test.path) - 2:
        return None
    last = test.path[-1]
    path = (replace(step, within=_renamed(step.within, names)), _step(last, names))
    return _of_composite(reading, known, path[0], replace(test, path=path))


def _renamed(tree: Tree | None, names: Mapping[str, str]) -> Tree | None:
    match tree:
        case Joined(_, parts):
            # Each is a tree, as it was before.
            found = tuple(one for part in parts if (one := _renamed(part, names)) is not None)
            return replace(tree, parts=found)
        case Denied(part):
            inner = _renamed(part, names)
            return tree if inner is None else replace(tree, part=inner)
        case Test(path):
            return replace(tree, path=tuple(_step(step, names) for step in path))
        case None:
            return None


def _step(step: Step, names: Mapping[str, str]) -> Step:
    return replace(step, name=names.get(step.name, step.name))


_ADDITIONAL: Final[Mapping[tuple[str, str], tuple[str, Mapping[str, str]]]] = {
    ("Group", "characteristic"): (
        "characteristic-value",
        {"code": "characteristic", "value": "value"},
    ),
    ("DocumentReference", "relatesTo"): (
        "relationship",
        {"code": "relation", "target": "relatesto"},
    ),
}
"""Names of search_filter.html#params, the composite that each is, and what its children are there.

“Any time these names are used in a parameter, they must have a filter and a chained name under
them.” Those of Observation and ServiceRequest equate to search parameters that R4 no
longer has.
"""


def _conjuncts(tree: Tree | None) -> tuple[Tree, ...]:
    if tree is None:
        return ()
    return tree.parts if isinstance(tree, Joined) and tree.word == "and" else (tree,)


def _tests(tree: Tree) -> list[Test]:
    match tree:
        case Joined(_, parts):
            return [test for part in parts for test in _tests(part)]
        case Denied(part):
            return _tests(part)
        case Test():
            return [tree]


def _component_of(known: Parameter, name: str, tree: Tree) -> int:
    """Return which component a tree speaks of; it must be one alone."""
    names = [one.own.name if one.own else one.code for one in known.components]
    tests = _tests(tree)
    for test in tests:
        if test.name not in names or test.path[0].within or test.path[0].kind:
            raise _unknown(test, shown(name))
    if len({test.name for test in tests}) != 1:
        raise _unsupported(
            tests[0].at,
            "brackets ask of several components what one index cannot say; join them by and",
            "trong ngoặc vuông, các thành phần khác nhau chỉ nối được bằng and",
        )
    return names.index(tests[0].name)


def _of_component(reading: Reading, component: Parameter, tree: Tree) -> Expression:
    match tree:
        case Joined(word, parts):
            found = tuple(_of_component(reading, component, part) for part in parts)
            return And(found) if word == "and" else Or(found)
        case Denied(part):
            return Not(_of_component(reading, component, part))
        case Test():
            reading.ask(1)
            if tree.operator != "pr":
                return _leaf(reading, component, tree.path[-1], tree)
            if tree.value == "true":
                return And(())
            raise _unsupported(
                tree.at,
                "that a component is absent is not indexed",
                "máy chủ không lập chỉ mục việc thiếu một thành phần",
            )


# --- one test ----------------------------------------------------------------------------


def _leaf(reading: Reading, known: Parameter, step: Step, test: Test) -> Expression:
    if step.kind and known.type != "reference":
        raise _unsupported(
            step.at,
            f"the search parameter {shown(step.name)} is no reference, so no type is named of it",
            f"tham số {shown(step.name)} không phải tham chiếu nên không nêu loại được",
        )
    asked = Asked(known, step.name, step.kind, reading.base_url, reading.now)
    operators = _OPERATORS.get(known.type, _ANY)
    if known.type == "string" and known.code.startswith("_"):
        operators = _ANY
    of_operator = operators.get(test.operator) or _ANY.get(test.operator)
    if of_operator is None or test.operator in _NOT_OF.get(known.code, ()):
        raise _unsupported(
            test.at,
            f"the operator {test.operator} is none of parameters of type {known.type}",
            f"toán tử {test.operator} không dùng cho tham số loại {known.type}",
        )
    try:
        if known.own is not None:
            check_own(reading, known.own, *_as_asked(asked, test))
        reading.look_for(known, test.value)
        return of_operator(asked, test.value)
    except (InvalidValue, UnsupportedParameter) as refusal:
        raise _placed(refusal, test.value_at) from None


def _as_asked(asked: Asked, test: Test) -> tuple[Asked, str]:
    """Return a test as a parameter would be asked it, with its modifier or prefix."""
    modifier = _MODIFIERS.get(test.operator, asked.modifier)
    prefix = "" if modifier else test.operator if test.operator in _NUMBERS else "eq"
    return replace(asked, modifier=modifier), prefix + test.value.replace(",", "\\,")


def _present(asked: Asked, value: str) -> Expression:
    missing = {"true": "false", "false": "true"}.get(value, "")
    return criterion(replace(asked, modifier="missing"), missing)


def _differing(asked: Asked, value: str) -> Expression:
    code, kinds = asked.parameter.code, asked.parameter.value_types
    found = one_of(asked, value)
    match found:
        case TokenIs(_, system, number) if "ContactPoint" in kinds:
            if system or number is None:
                raise _as_one(asked)
            return Differs(code, TokenIs(code, None, number))
        case UriIs(_, uri) if "canonical" in kinds:
            if "|" in uri:
                raise _as_one(asked)
            return Differs(code, found, plain=True)
        case RefersTo(_, _, _, url):
            if is_version(url):
                raise _as_one(asked)
            return Differs(code, found, plain=True)
        case TokenIs() | UriIs() | CompositeIs() | Or():
            return Differs(code, found)
        case _:
            return Not(found)


def _as_one(asked: Asked) -> UnsupportedParameter:
    """Return the refusal of what an index, that has a value in two forms, cannot tell."""
    return UnsupportedParameter(
        f"The operator ne of {shown(asked.name)} takes no version, and of a contact no system.",
        text_vi=f"Toán tử ne của {shown(asked.name)} không nhận phiên bản, cũng không nhận hệ "
        "(system) của thông tin liên hệ.",
    )


def _string(
    mode: Literal["equal", "contains", "starts", "ends"], *, differs: bool = False
) -> Callable[[Asked, str], Expression]:
    def of(asked: Asked, value: str) -> Expression:
        # In a filter a string has JSON's escapes and no others.
        found = one_of(asked, value.replace("\\", "\\\\"))
        assert isinstance(found, StringIs)  # noqa: S101 - of parameters of this type alone
        wanted = replace(found, mode=mode)
        return Differs(wanted.param, wanted) if differs else wanted

    return of


def _modified(modifier: str) -> Callable[[Asked, str], Expression]:
    return lambda asked, value: one_of(replace(asked, modifier=modifier), value)


def _beginning(asked: Asked, value: str) -> Expression:
    """Return what begins with a text: of a version too, as it is written."""
    found = one_of(asked, value)
    assert isinstance(found, UriIs)  # noqa: S101 - of parameters of this type alone
    return replace(found, mode="below")


def _in_none(asked: Asked, value: str) -> Expression:
    """Return what has no concept in a ValueSet: as `:not-in`, also what has none at all."""
    return Not(one_of(replace(asked, modifier="in"), value))


def _compared(prefix: str) -> Callable[[Asked, str], Expression]:
    return lambda asked, value: one_of(asked, prefix + value)


def _overlaps(asked: Asked, value: str) -> Expression:
    found = one_of(asked, Prefix.EQ + value)
    assert isinstance(found, DateIs | LastUpdated)  # noqa: S101 - of dates alone
    return replace(found, prefix=Prefix.AP)


_ANY: Final[Mapping[str, Callable[[Asked, str], Expression]]] = {
    "eq": one_of,
    "pr": _present,
}
_NOT_OF: Final[Mapping[str, frozenset[str]]] = {
    "_id": frozenset({"in", "ni", "ss", "sb"}),
    LIST.code: frozenset({"pr"}),
}
"""Operators of their types that some parameters do not have."""
_NUMBERS: Final = {
    name: _compared(name) for name in ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
}
_MODIFIERS: Final = {
    "co": "contains",
    "in": "in",
    "ni": "not-in",
    "ss": "below",
    "sb": "above",
    "pr": "missing",
}
_OPERATORS: Final[Mapping[str, Mapping[str, Callable[[Asked, str], Expression]]]] = {
    "string": {
        "eq": _string("equal"),
        "ne": _string("equal", differs=True),
        "co": _string("contains"),
        "sw": _string("starts"),
        "ew": _string("ends"),
    },
    "token": {
        "ne": _differing,
        "in": _modified("in"),
        "ni": _in_none,
        "ss": _modified("below"),
        "sb": _modified("above"),
    },
    "uri": {"ne": _differing, "sw": _beginning},
    "reference": {"ne": _differing, "re": one_of},
    "date": {**_NUMBERS, "po": _overlaps},
    "number": _NUMBERS,
    "quantity": _NUMBERS,
    "composite": {"ne": _differing},
}


# --- refusals ----------------------------------------------------------------------------


def _unknown(test: Test, of: str) -> UnsupportedParameter:
    english, vietnamese = place(test.at)
    return UnsupportedParameter(
        f"The search parameter {shown(test.name)} of {of} is not known to this server ({english}).",
        text_vi=f"Máy chủ này không biết tham số tìm kiếm {shown(test.name)} của {of} "
        f"({vietnamese}).",
    )


def _unsupported(at: int, english: str, vietnamese: str) -> UnsupportedParameter:
    where, where_vi = place(at)
    return UnsupportedParameter(
        f"The filter is not supported ({where}): {english}.",
        text_vi=f"Bộ lọc không được hỗ trợ ({where_vi}): {vietnamese}.",
    )


def _placed(refusal: FhirError, at: int) -> FhirError:
    """Return a refusal of one value with the place of the value in the filter."""
    where, where_vi = place(at)
    issue = refusal.issues[0]
    return type(refusal)(
        f"{issue.text.removesuffix('.')} ({where}).",
        text_vi=f"{(issue.text_vi or '').removesuffix('.')} ({where_vi}).",
    )
