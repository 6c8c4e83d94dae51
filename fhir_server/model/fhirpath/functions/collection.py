"""Functions on collections: existence, filtering, subsets, combining, the tree, and tools.

http://hl7.org/fhirpath/N1/#existence and the sections behind it
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cmp_to_key
from typing import Final

from fhir_server.model.fhirpath import equality, item, operators
from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.invocation import Function, Invocation
from fhir_server.model.fhirpath.item import Item, Node
from fhir_server.model.fhirpath.tree import Polarity


def _keys(call: Invocation, items: Sequence[Item]) -> list[Hashable]:
    call.evaluation.work.spend(len(items))
    return [equality.key(one, call.evaluation.work) for one in items]


def empty(call: Invocation) -> list[Item]:
    """`empty() : Boolean`."""
    return [not call.focus]


def exists(call: Invocation) -> list[Item]:
    """`exists([criteria]) : Boolean`."""
    if not call.arguments:
        return [bool(call.focus)]
    return [any(operators.truth(found) is True for _, found in call.each())]


def not_(call: Invocation) -> list[Item]:
    """`not() : Boolean`."""
    value = operators.truth(call.focus)
    return operators.logic(None if value is None else not value)


def all_(call: Invocation) -> list[Item]:
    """`all(criteria) : Boolean`."""
    return [all(operators.truth(found) is True for _, found in call.each())]


def _booleans(call: Invocation) -> list[bool]:
    found = []
    for one in call.focus:
        value = item.plain(one)
        if not isinstance(value, bool):
            raise FhirPathError(f"“{call.name}” takes Booleans.")
        found.append(value)
    return found


def _of_booleans(test: Callable[[list[bool]], bool]) -> Function:
    return lambda call: [test(_booleans(call))]


def subset_of(call: Invocation) -> list[Item]:
    """`subsetOf(other) : Boolean`."""
    return [set(_keys(call, call.focus)) <= set(_keys(call, call.argument()))]


def superset_of(call: Invocation) -> list[Item]:
    """`supersetOf(other) : Boolean`."""
    return [set(_keys(call, call.focus)) >= set(_keys(call, call.argument()))]


def count(call: Invocation) -> list[Item]:
    """`count() : Integer`."""
    return [len(call.focus)]


def distinct(call: Invocation) -> list[Item]:
    """`distinct() : collection`."""
    return equality.distinct(call.focus, call.evaluation.work)


def is_distinct(call: Invocation) -> list[Item]:
    """`isDistinct() : Boolean`."""
    return [len(set(_keys(call, call.focus))) == len(call.focus)]


def where(call: Invocation) -> list[Item]:
    """`where(criteria) : collection`."""
    return [one for one, found in call.each() if operators.truth(found) is True]


def select(call: Invocation) -> list[Item]:
    """`select(projection) : collection`."""
    return [one for _, found in call.each() for one in found]


def repeat(call: Invocation) -> list[Item]:
    """`repeat(projection) : collection`: what is found is looked at again, equal items once."""
    found: dict[Hashable, Item] = {}
    todo = call.focus
    while todo:
        new = []
        for index, one in enumerate(todo):
            for inner in call.of(0, [one], [index]):
                (key,) = _keys(call, [inner])
                if key not in found:
                    found[key] = inner
                    new.append(inner)
        todo = new
    return list(found.values())


def single(call: Invocation) -> list[Item]:
    """`single() : collection`."""
    operators.single(call.focus)
    return call.focus


def skip(call: Invocation) -> list[Item]:
    """`skip(num) : collection`."""
    many = call.integer_argument()
    return [] if many is None else call.focus[max(many, 0) :]


def take(call: Invocation) -> list[Item]:
    """`take(num) : collection`."""
    many = call.integer_argument()
    return [] if many is None else call.focus[: max(many, 0)]


def intersect(call: Invocation) -> list[Item]:
    """`intersect(other) : collection`: none twice."""
    others = set(_keys(call, call.argument()))
    both = dict(zip(_keys(call, call.focus), call.focus, strict=True))
    return [one for key, one in both.items() if key in others]


def exclude(call: Invocation) -> list[Item]:
    """`exclude(other) : collection`: what is there twice stays twice."""
    others = set(_keys(call, call.argument()))
    pairs = zip(_keys(call, call.focus), call.focus, strict=True)
    return [one for key, one in pairs if key not in others]


def union(call: Invocation) -> list[Item]:
    """`union(other) : collection`."""
    return operators.union(call.focus, call.argument(), call.evaluation.work)


def combine(call: Invocation) -> list[Item]:
    """`combine(other) : collection`."""
    return [*call.focus, *call.argument()]


def iif(call: Invocation) -> list[Item]:
    """`iif(criterion, true-result [, otherwise-result])`: only what is needed is evaluated.

    `$this` is the item that it is called on; without one, that of what surrounds it.
    """
    if len(call.focus) > 1:
        raise FhirPathError("“iif” is called on one item at most.")
    index, total = call.scope.index, call.scope.total
    if operators.truth(call.of(0, call.focus, index, total)) is True:
        return call.of(1, call.focus, index, total)
    otherwise = 2
    if len(call.arguments) > otherwise:
        return call.of(otherwise, call.focus, index, total)
    return []


def aggregate(call: Invocation) -> list[Item]:
    """`aggregate(aggregator [, init]) : value`."""
    total = call.argument(1)
    for index, one in enumerate(call.focus):
        total = call.of(0, [one], [index], total)
    return total


def children(call: Invocation) -> list[Item]:
    """`children() : collection`."""
    found: list[Item] = []
    for one in call.focus:
        if isinstance(one, Node):
            found.extend(item.children(one))
    return found


def descendants(call: Invocation) -> list[Item]:
    """`descendants() : collection`, each before what is in it."""
    found: list[Item] = []
    todo = [one for one in reversed(call.focus) if isinstance(one, Node)]
    while todo:
        inner = list(item.children(todo.pop()))
        call.evaluation.work.spend(1 + len(inner))
        found.extend(inner)
        todo.extend(reversed(inner))
    return found


def sort(call: Invocation) -> list[Item]:
    """`sort([key, ..])`: ascending; descending by what has a minus before it.

    What has no key comes first either way, as HL7's case testSort10 has it.
    """
    descending = []
    keys: list[list[list[Item]]] = [[] for _ in call.focus]
    for at, argument in enumerate(call.arguments):
        is_negative = isinstance(argument, Polarity) and argument.sign == "-"
        descending.append(is_negative)
        sought = argument.operand if isinstance(argument, Polarity) else argument
        asked = Invocation(call.evaluation, call.name, call.focus, (sought,), call.scope)
        for key, (_, found) in zip(keys, asked.each(), strict=True):
            operators.single(found)
            key.insert(at, found)
    if not call.arguments:
        descending, keys = [False], [[[one]] for one in call.focus]

    def order(one: tuple[int, list[list[Item]]], other: tuple[int, list[list[Item]]]) -> int:
        for left, right, is_down in zip(one[1], other[1], descending, strict=True):
            call.evaluation.work.spend()
            if not left or not right:
                if left or right:
                    return bool(left) - bool(right)
                continue
            found = equality.compare(left[0], right[0], call.evaluation.work)
            if found:
                return -found if is_down else found
        return 0

    ordered = sorted(enumerate(keys), key=cmp_to_key(order))
    return [call.focus[at] for at, _ in ordered]


def trace(call: Invocation) -> list[Item]:
    """`trace(name [, projection])`: the collection as it is; what listens is told."""
    name = call.text_argument()
    listen = call.evaluation.environment.trace
    if listen is not None and name is not None:
        told = call.focus
        if len(call.arguments) > 1:
            told = [one for _, found in call.each(1) for one in found]
        listen(name, told)
    return call.focus


FUNCTIONS: Final[dict[str, tuple[int, int, Function]]] = {
    "empty": (0, 0, empty),
    "exists": (0, 1, exists),
    "not": (0, 0, not_),
    "all": (1, 1, all_),
    "allTrue": (0, 0, _of_booleans(all)),
    "anyTrue": (0, 0, _of_booleans(any)),
    "allFalse": (0, 0, _of_booleans(lambda values: not any(values))),
    "anyFalse": (0, 0, _of_booleans(lambda values: not all(values))),
    "subsetOf": (1, 1, subset_of),
    "supersetOf": (1, 1, superset_of),
    "count": (0, 0, count),
    "distinct": (0, 0, distinct),
    "isDistinct": (0, 0, is_distinct),
    "where": (1, 1, where),
    "select": (1, 1, select),
    "repeat": (1, 1, repeat),
    "single": (0, 0, single),
    "first": (0, 0, lambda call: call.focus[:1]),
    "last": (0, 0, lambda call: call.focus[-1:]),
    "tail": (0, 0, lambda call: call.focus[1:]),
    "skip": (1, 1, skip),
    "take": (1, 1, take),
    "intersect": (1, 1, intersect),
    "exclude": (1, 1, exclude),
    "union": (1, 1, union),
    "combine": (1, 1, combine),
    "iif": (2, 3, iif),
    "aggregate": (1, 2, aggregate),
    "children": (0, 0, children),
    "descendants": (0, 0, descendants),
    "sort": (0, 8, sort),
    "trace": (1, 2, trace),
}
"""The fewest and the most arguments, and the function."""
