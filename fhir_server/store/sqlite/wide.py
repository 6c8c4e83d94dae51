"""Expressions of many criteria: how many they are, and which of them one entry can answer.

A subquery a criterion does not scale: past 1,000 of them SQLite refuses the statement, and each
cursor that it opens looks through those that are open.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fhir_server.search.expression import (
    And,
    Chain,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Not,
    Or,
    RefersTo,
    Says,
    Tagged,
    TokenIs,
)

WIDE: Final = 24
"""So many criteria stand in one statement at most; more are asked apart."""


def weight(where: Expression) -> int:
    """Return how many criteria an expression has."""
    match where:
        case Or(operands):
            lists, others = references_together(operands)
            return len(lists) + sum(map(weight, others))
        case And(operands):
            return sum(map(weight, operands))
        case Not(operand):
            return weight(operand)
        case Chain() | Has():
            return 1 + weight(where.where)
        case _:
            return 1


def is_of_values(where: Expression) -> bool:
    """Whether a resource's entry answers it, with nothing else of the store."""
    match where:
        case And(operands) | Or(operands):
            return all(map(is_of_values, operands))
        case Not(operand):
            return is_of_values(operand)
        case Chain() | Has() | Ids() | LastUpdated() | InPatient() | Tagged():
            return False
        case Says(_, words):
            return " " in words  # one word is looked up: a text may be long
        case _:
            return True


def any_of(operands: Sequence[Expression]) -> list[Expression]:
    """Return what an Or of these is the Or of: one alone inside another is taken out of it."""
    found: list[Expression] = []
    for one in operands:
        found += any_of(one.operands) if isinstance(one, Or) else [one]
    return found


def all_of(operands: Sequence[Expression]) -> list[Expression]:
    """Return what an And of these is the And of; what is denied is denied together."""
    found: list[Expression] = []
    denied: list[Expression] = []
    for one in operands:
        if isinstance(one, And):
            found += all_of(one.operands)
        elif isinstance(one, Not):
            denied.append(one.operand)
        else:
            found.append(one)
    return [*found, Not(Or(tuple(any_of(denied))))] if denied else found


def references_together(
    operands: Sequence[Expression],
) -> tuple[list[tuple[RefersTo, ...]], list[Expression]]:
    """Return what an Or asks in lists, and its other operands: each list is asked as one.

    A list are many references by one parameter to resources of one type: a hierarchy of places,
    say.
    """
    if len(operands) <= WIDE:
        return [], list(operands)
    lists: dict[tuple[str, str | None], list[RefersTo]] = {}
    others: list[Expression] = []
    for one in operands:
        if isinstance(one, RefersTo) and not one.url:
            lists.setdefault((one.param, one.resource_type), []).append(one)
        else:
            others.append(one)
    few = [one for some in lists.values() if len(some) <= WIDE for one in some]
    return [tuple(some) for some in lists.values() if len(some) > WIDE], [*others, *few]


def ids_together(operands: Sequence[Expression]) -> list[Expression]:
    """Return the operands of an Or with all that name ids as one."""
    named = [one for one in operands if isinstance(one, Ids)]
    found: list[Expression] = [one for one in operands if not isinstance(one, Ids)]
    if not named:
        return found
    together: Expression = Ids(frozenset[str]().union(*(one.ids for one in named)))
    return [*found, together]


def lookups(where: Expression) -> int:
    """Return how many tests of an entry answer it: all tokens of an Or are looked up at once."""
    match where:
        case And(operands):
            return sum(map(lookups, all_of(operands)))
        case Or(operands):
            lists, others = references_together(any_of(operands))
            few = sum(lookups(one) for one in others if not isinstance(one, TokenIs))
            return 1 + len(lists) + few
        case Not(operand):
            return lookups(operand)
        case _:
            return 1
