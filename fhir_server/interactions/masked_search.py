"""What may be asked of masked resources: a search answers as if what is masked were not there.

Each condition on a parameter becomes one that every store judges by its index, and that is true
of a resource where it is true of what the caller is shown of it. What that cannot say finds
nothing, or not HIV data, whatever is stored. The tables are `interactions.claim_needs`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions import claim_needs
from fhir_server.interactions.claim_needs import HIV, RECORD
from fhir_server.model.sensitivity import LABEL, is_hiv, is_labelled
from fhir_server.search import expression as ex
from fhir_server.search.parameters import parameter
from fhir_server.search.place import is_versioned

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from fhir_server.interactions.context import Resource
    from fhir_server.search.expression import Expression, Sort

    Shown = Callable[[str], Expression | None]
    """What the caller is shown of a type; None where it is never granted."""

_LABELLED: Final = ex.TokenIs("_security", LABEL["system"], LABEL["code"])
_NOT_LABELLED: Final = ex.Not(_LABELLED)
_CODED: Final = frozenset({"CodeableConcept", "Coding"})


def is_masked_code(masks: frozenset[str], code: str) -> bool:
    """Return whether a code is one that these masks hide, or the label of such data."""
    return HIV in masks and (code.upper() == LABEL["code"] or is_hiv(code))


def askable(masks: frozenset[str], kind: str, leaf: Expression) -> Expression:
    """Return a condition as one may ask it of a type of which these masks hide something.

    Args:
        masks: What is hidden.
        kind: The type.
        leaf: A condition on one parameter.
    """
    param = getattr(leaf, "param", None)
    if not masks or param is None:
        return leaf
    if isinstance(leaf, ex.Says):
        # A word of a text may be what any mask hides of it.
        return ex.NOTHING
    name = str(param).partition(":")[0]
    if RECORD in masks:
        if name in claim_needs.HIDDEN_PARAMETERS.get(kind, ()):
            return _of_absent(leaf)
        if kind == "Patient" and name == "identifier":
            return _of_papers(leaf)
    if HIV not in masks:
        return leaf
    if name == "_security":
        return _of_absent(leaf)
    if _asks_masked(masks, leaf):
        return ex.NOTHING
    if name in claim_needs.THERE_OF_HIV.get(kind, ()):
        return _of_unsaid(leaf, always=(kind, name) in claim_needs.ALWAYS_THERE)
    if name == "names" and kind in claim_needs.PARTS_OF_HIV:
        return _of_parts(leaf, claim_needs.PARTS_OF_HIV[kind])
    if name not in claim_needs.OPEN_OF_HIV.get(kind, ()):
        return _of_hidden(leaf)
    known = parameter(kind, name)
    if isinstance(leaf, ex.Chain) or known is None:
        return leaf
    if ":" in str(param) or "Identifier" in known.value_types:
        return _of_numbers(leaf)
    return _of_codes(leaf) if known.value_types & _CODED else leaf


def _asks_masked(masks: frozenset[str], leaf: Expression) -> bool:
    match leaf:
        case ex.TokenIs(_, _, code):
            return bool(code) and is_masked_code(masks, code or "")
        case ex.Differs(_, inner):
            return _asks_masked(masks, inner)
        case ex.Or(operands) | ex.CompositeIs(_, operands):
            return any(_asks_masked(masks, one) for one in operands)
        case _:
            return False


def _of_absent(leaf: Expression) -> Expression:
    """Return what is true of whatever has no value of the parameter."""
    return ex.EVERYTHING if leaf == ex.Missing(_param(leaf), missing=True) else ex.NOTHING


def _of_hidden(leaf: Expression) -> Expression:
    """Return a condition where HIV data has no value of the parameter."""
    if leaf == ex.Missing(_param(leaf), missing=True):
        return ex.Or((leaf, _LABELLED))
    return ex.And((leaf, _NOT_LABELLED))


def _of_unsaid(leaf: Expression, *, always: bool) -> Expression:
    """Return a condition where HIV data has a value that nobody can name."""
    match leaf:
        case ex.Missing(_, missing) if always:
            return ex.And((leaf, _NOT_LABELLED)) if missing else ex.Or((leaf, _LABELLED))
        case ex.Missing():
            return leaf
        case ex.Differs(param):
            # What is there, and is masked, is not what is asked for.
            there = ex.EVERYTHING if always else ex.Missing(param, missing=False)
            return ex.Or((ex.And((leaf, _NOT_LABELLED)), ex.And((there, _LABELLED))))
        case _:
            return _of_hidden(leaf)


def _of_parts(leaf: Expression, parts: Iterable[str]) -> Expression:
    """Return a condition on a parameter that for HIV data is what these are."""
    found = tuple(_renamed(leaf, one) for one in parts)
    shown = ex.And(found) if getattr(leaf, "missing", False) else ex.Or(found)
    return ex.Or((ex.And((leaf, _NOT_LABELLED)), ex.And((shown, _LABELLED))))


def _renamed(leaf: Expression, name: str) -> Expression:
    """Return a leaf on another parameter."""
    _, bar, form = _param(leaf).partition(":")
    changed: dict[str, Any] = {"param": name + bar + form}
    if isinstance(leaf, ex.Differs):
        changed["leaf"] = _renamed(leaf.leaf, name)
    return replace(leaf, **changed)


def _of_papers(leaf: Expression) -> Expression:
    """Return a condition on a Patient's identifiers, of which papers and cards are shown."""
    match leaf:
        case ex.TokenIs("identifier", None, code) if code:
            return _in(leaf.param, claim_needs.PERSONS, code)
        case ex.TokenIs("identifier", system, _) if system in claim_needs.PERSONS:
            return leaf
        case ex.Missing("identifier", missing):
            there = _in(leaf.param, claim_needs.PERSONS, None)
            return ex.Not(there) if missing else there
        case _:
            return ex.NOTHING


def _of_numbers(leaf: Expression) -> Expression:
    """Return a condition on identifiers, of which HIV data shows those of some systems."""
    if isinstance(leaf, ex.Missing):
        there = ex.Missing(leaf.param, missing=False)
        known = _in(leaf.param, claim_needs.KNOWN_IDENTIFIERS, None)
        shown = ex.Or((ex.And((there, _NOT_LABELLED)), known))
        return ex.Not(shown) if leaf.missing else shown
    return _of_some(
        leaf,
        lambda system: system.startswith(claim_needs.IDENTIFIERS),
        claim_needs.KNOWN_IDENTIFIERS,
    )


def _of_codes(leaf: Expression) -> Expression:
    """Return a condition on codes, of which HIV data shows those of some systems.

    Where it shows none, the code `masked` stands, so that one is there.
    """
    if isinstance(leaf, ex.Missing):
        return leaf
    return _of_some(leaf, claim_needs.is_kept, claim_needs.KNOWN_SYSTEMS)


def _of_some(leaf: Expression, is_kept: Callable[[str], bool], known: Iterable[str]) -> Expression:
    hidden = ex.And((leaf, _NOT_LABELLED))
    match leaf:
        case ex.TokenIs(param, None, code) if code and ":of-type" not in param:
            return ex.Or((hidden, _in(param, known, code)))
        case ex.TokenIs(param, system, _) if system and is_kept(system) and ":of-type" not in param:
            return leaf
        case _:
            return hidden


def _in(param: str, systems: Iterable[str], code: str | None) -> Expression:
    return ex.Or(tuple(ex.TokenIs(param, one, code) for one in sorted(systems)))


def _param(leaf: Expression) -> str:
    return str(getattr(leaf, "param", ""))


def is_sortable(masks: frozenset[str], kind: str, key: Sort) -> bool:
    """Return whether the order of a type by this says nothing of what these masks hide."""
    if key.kind in {"id", "last"}:
        return True
    leaf = ex.Missing(key.param, missing=False)
    return key.kind == "date" and askable(masks, kind, leaf) == leaf


def is_followed(masks: frozenset[str], resource: Resource, param: str) -> bool:
    """Return whether what a resource refers to may be brought along by this parameter.

    It may not where the parameter could not be asked: that it is brought would say what is hidden.
    """
    leaf = ex.RefersTo(param, None, "x")
    asked = askable(masks, str(resource.get("resourceType", "")), leaf)
    return asked == leaf or (asked != ex.NOTHING and not is_labelled(resource))


def referring(masks: frozenset[str], kind: str, param: str, where: Expression) -> Expression:
    """Return a `_has`: what is referred to by resources of a type as far as they are shown.

    Args:
        masks: What is hidden.
        kind: The type that refers.
        param: By which parameter.
        where: What is asked of it.
    """
    leaf = ex.RefersTo(param, None, "x")
    asked = askable(masks, kind, leaf)
    if param == "names" and asked != leaf and kind in claim_needs.PARTS_OF_HIV:
        hidden = ex.And((where, _LABELLED))
        parts = tuple(ex.Has(kind, one, hidden) for one in claim_needs.PARTS_OF_HIV[kind])
        return ex.Or((ex.Has(kind, param, ex.And((where, _NOT_LABELLED))), *parts))
    return ex.Has(kind, param, _each(asked, lambda one: where if one == leaf else one))


def _each(where: Expression, made: Callable[[Expression], Expression]) -> Expression:
    """Return what `askable` made, with each leaf in it as this makes it."""
    match where:
        case ex.And(operands):
            return ex.And(tuple(_each(one, made) for one in operands))
        case ex.Or(operands):
            return ex.Or(tuple(_each(one, made) for one in operands))
        case ex.Not(operand):
            return ex.Not(_each(operand, made))
        case _:
            return made(where)


# --- references ---------------------------------------------------------------------------


def askable_of_shown(
    masks: frozenset[str], kind: str, leaf: Expression, shown: Shown
) -> Expression:
    """Return a condition as `askable` does, where references to what is not shown are not there.

    Args:
        masks: What is hidden; where it is nothing, references stay.
        kind: The type.
        leaf: A condition on one parameter.
        shown: What the caller is shown of a type.
    """
    asked = askable(masks, kind, leaf)
    return _each(asked, lambda one: _led(kind, one, shown)) if masks else asked


def _led(kind: str, leaf: Expression, shown: Shown) -> Expression:
    """Return a condition on references to what is shown."""
    param = getattr(leaf, "param", None)
    if not isinstance(leaf, ex.RefersTo | ex.Missing | ex.Differs):
        return leaf
    known = parameter(kind, str(param))
    if known is None or known.type != "reference" or "Reference" not in known.value_types:
        return leaf
    code, targets = known.code, known.targets
    match leaf:
        case ex.RefersTo():
            target, identity = _named(leaf)
            named = ex.Ids(frozenset({identity}))
            found = _leads(code, {target} if target else targets, shown, lambda _: named)
            return ex.And((leaf, found)) if identity else leaf
        case ex.Missing(_, missing):
            found = _leads(code, targets, shown, lambda _: ex.EVERYTHING)
            return ex.Not(found) if missing else found
        case ex.Differs(_, ex.RefersTo() as other):
            target, identity = _named(other)
            rest = ex.Not(ex.Ids(frozenset({identity})))
            return _leads(
                code, targets, shown, lambda one: rest if target in {"", one} else ex.EVERYTHING
            )
        case _:
            return leaf


def _named(leaf: ex.RefersTo) -> tuple[str, str]:
    """Return the type ("" is any) and id that are asked for; no id of what is elsewhere."""
    if not leaf.url:
        return leaf.resource_type or "", leaf.resource_id
    if not is_versioned(leaf.url):
        return "", ""
    kind, _, rest = leaf.url.partition("/")
    return kind, rest.partition("/")[0]


def _leads(
    code: str, targets: Collection[str], shown: Shown, asked: Callable[[str], Expression]
) -> Expression:
    found = []
    for target in sorted(targets):
        where = shown(target)
        if where is not None:
            wanted = asked(target)
            inner = where if wanted == ex.EVERYTHING else ex.And((wanted, where))
            found.append(ex.Chain(code, target, inner))
    return found[0] if len(found) == 1 else ex.Or(tuple(found))
