"""An expression as filters: one that has all that match, one that has nothing else, and its arms.

What keys tell is exact but for chance (two values may share a key), so that what is shown is
judged by its entry all the same (`judge.py`); what is counted is not. What keys do not tell has
no `sure` filter, or a narrower one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from bson import Regex

from fhir_server.model import definitions
from fhir_server.search.composites import implied
from fhir_server.search.earth import cells
from fhir_server.search.expression import (
    And,
    Chain,
    CompositeIs,
    DateIs,
    Differs,
    Expression,
    Has,
    Ids,
    InPatient,
    LastUpdated,
    Missing,
    Near,
    Not,
    NumberIs,
    Open,
    Or,
    Prefix,
    QuantityIs,
    RefersTo,
    Says,
    StringIs,
    Tagged,
    TokenIs,
    TokenText,
    UriIs,
    unresolved,
)
from fhir_server.search.fold import fold
from fhir_server.search.units import UNIT, in_base
from fhir_server.store.keys import NARROWER, prefix_end
from fhir_server.store.mongo import keys, spans
from fhir_server.store.mongo.filters import (
    ALIVE,
    EVERYTHING,
    NOTHING,
    Filter,
    either,
    every,
    keyed,
    keys_of,
    neither,
)
from fhir_server.store.mongo.schema import Document

MERGED: Final = 200
"""Keys that the database walks at once, newest first; of more it would sort all that they have."""
APART: Final = 20
"""So many texts are asked one by one; of more, as many in one question as there are keys."""
MOST: Final = 100
"""Alternatives that need more parts of indexes are not looked up; of more, each is told roughly."""

_T = TypeVar("_T")

_LONG_URI: Final = 2_000
"""Of a longer URI the beginnings are not asked one by one."""


@dataclass(frozen=True, slots=True)
class Arm:
    """A part of an index.

    Attributes:
        where: What it is asked.
        hint: The index.
        ordered: Whether it comes newest first.
        also: What of it is read: what the index alone does not tell.
    """

    where: Document
    hint: str
    ordered: bool = False
    also: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clause:
    """What an expression becomes.

    Attributes:
        may: Has all that match.
        sure: Has nothing that does not match.
        arms: Together they have all that `may` has; None where no index helps.
        whole: Whether they have nothing else than `may` has.
        apart: Whether none has what another has.
        bounds: Of a range, one of its indexed ends, in which all are that its parts by the same
            path have.
        open: Keys of which what `may` has and `sure` has not has one; EVERYTHING where none tell.
        weak: Whether most resources of the type are among them: another index is better.
    """

    may: Filter
    sure: Filter
    arms: tuple[Arm, ...] | None = None
    whole: bool = True
    weak: bool = False
    apart: bool = False
    bounds: tuple[Document, ...] = ()
    open: Filter = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the filter tells all."""
        return self.may is self.sure or self.may == self.sure

    @property
    def ordered(self) -> bool:
        """Whether all arms come newest first."""
        return self.arms is not None and all(arm.ordered for arm in self.arms)


_NONE: Final = Clause(NOTHING, NOTHING, ())
_MAYBE: Final = Clause(EVERYTHING, NOTHING)

Link = Chain | Has
_INNER: Final = (And, Or, Not, Chain, Has)
"""What has links, or is one; of many alternatives most are none of these."""
Links = Mapping[tuple[str, Link], frozenset[str] | None]
"""By type and link: ids of those at the other end of a chain, or of those that a `_has` finds."""


class Known(dict[tuple[str, Link], frozenset[str] | None]):
    """What is known of links (`Links`), and of what is indexed.

    Attributes:
        lacking: Types of which resources lack what an older server did not index
            (`schema.unordered`); all, until it is said.
    """

    lacking: Collection[str] = definitions.RESOURCE_TYPES


def _is_lacking(kind: str, links: Links) -> bool:
    return isinstance(links, Known) and kind in links.lacking


def clause(kind: str, where: Expression, links: Links) -> Clause:
    """Return what an expression on a type becomes, as far as its links are known."""
    match where:
        case And(operands):
            return _every([clause(kind, one, links) for one in operands])
        case Or(operands):
            if alike := _references(kind, operands):
                return alike
            each = _coarse if len(operands) > MOST else clause
            return _either([each(kind, one, links) for one in operands])
        case Not(operand):
            inner = clause(kind, operand, links)
            if inner.exact:
                filter_ = neither(inner.may)
                return Clause(filter_, filter_)
            return Clause(neither(inner.sure), neither(inner.may))
        case Chain() | Has():
            return _linked(kind, where, links)
        case TokenText() if not _is_lacking(kind, links):
            return _texted(kind, where)
        case Missing(param, missing) if keys.is_told(param) and not _is_lacking(kind, links):
            return _missing(keyed([keys.present(kind, param)]), missing=missing)
        case _:
            return _leaf(kind, where)


def _coarse(kind: str, where: Expression, links: Links) -> Clause:
    """Return what one of very many alternatives becomes.

    Of a range, or a reference to whatever type, that there is a value.
    """
    match where:
        case DateIs(param) | NumberIs(param) | QuantityIs(param) | RefersTo(param, None, _, ""):
            return _valued(kind, param)
        case _:
            return clause(kind, where, links)


def _every(parts: list[Clause]) -> Clause:
    may = every(one.may for one in parts)
    sure = may if all(one.exact for one in parts) else every(one.sure for one in parts)
    if may is None:
        return _NONE
    # Which of them has the fewest is not counted inside another expression.
    some = [one for one in parts if one.arms is not None]
    best = min(some, key=lambda one: (one.weak, not one.ordered, len(one.arms or ())), default=None)
    if best is None:
        return Clause(may, sure)
    whole = best.whole and len(parts) == 1
    return Clause(may, sure, best.arms, whole, best.weak, best.apart)


def _either(parts: list[Clause]) -> Clause:
    may = either(one.may for one in parts)
    sure = may if all(one.exact for one in parts) else either(one.sure for one in parts)
    if may is None:
        return _NONE
    if any(one.arms is None for one in parts):
        return Clause(may, sure)
    arms = merged(arm for one in parts for arm in one.arms or ())
    if len(arms) > MOST:
        return Clause(may, sure)
    whole, weak = all(one.whole for one in parts), any(one.weak for one in parts)
    return Clause(may, sure, arms, whole, weak)


def merged(arms: Iterable[Arm]) -> tuple[Arm, ...]:
    """Return arms of which those that are keys are walked together, so many at once.

    Texts and their beginnings are, where they are many: then they do not come newest first.
    """
    rest: list[Arm] = []
    asked: dict[int, None] = {}
    texts: dict[str, Arm] = {}
    for arm in arms:
        found = keys_of(arm.where)
        if found is not None:
            asked.update(dict.fromkeys(found))
        elif arm.hint == "texts":
            texts.setdefault(str(arm.where), arm)
        else:
            rest.append(arm)
    together = _texts(list(texts.values())) if len(texts) > APART else texts.values()
    keyed_ = (
        Arm({"x": {"$in": some}}, "keys", ordered=True) for some in _some(list(asked), MERGED)
    )
    return (*rest, *together, *keyed_)


def _texts(arms: list[Arm]) -> list[Arm]:
    """Return arms of the index of texts, of which those that it can be asked together are one."""
    texts: list[str | Regex[str]] = []
    rest: list[Arm] = []
    for arm in arms:
        asked = arm.where["s"]
        if isinstance(asked, str):
            texts.append(asked)
        elif "$regex" in asked:
            texts.append(Regex(asked["$regex"]))
        else:
            rest.append(arm)
    return [*rest, *(Arm({"s": {"$in": some}}, "texts") for some in _some(texts, MERGED))]


def _some(items: list[_T], most: int) -> Iterator[list[_T]]:
    """Give items, at most so many at a time."""
    for at in range(0, len(items), most):
        yield items[at : at + most]


def _keys(asked: Iterable[int]) -> Clause:
    filter_ = keyed(asked)
    if filter_ is None:
        return _NONE
    arm = Arm(filter_, "keys", ordered=True)
    few = len(filter_["x"]["$in"]) <= MERGED  # as one of thousands of alternatives has
    return Clause(filter_, filter_, (arm,) if few else merged([arm]))


def present(kind: str, param: str) -> Filter:
    """Return what has a value of a parameter, or all where no key tells it."""
    return EVERYTHING if ":" in param else keyed([keys.present(kind, param)])


def _valued(kind: str, param: str) -> Clause:
    """Return what may match because it has a value of the parameter at all."""
    filter_ = present(kind, param)
    arms = (Arm(filter_, "keys", ordered=True),) if filter_ else None
    return Clause(filter_, NOTHING, arms, weak=True)


def names_of(param: str) -> tuple[str, ...]:
    """Return the parameters under which a value of this one may be indexed."""
    return (param, *NARROWER.get(param, ()))


def _leaf(kind: str, where: Expression) -> Clause:  # noqa: C901, PLR0912 - one case a leaf
    match where:
        case Ids(ids):
            names = sorted(f"{kind}/{one}" for one in ids)
            return named(names)
        case LastUpdated():
            return _updated(kind, where)
        case InPatient(patients):
            return _keys(keys.in_patient(kind, one) for one in sorted(patients))
        case Tagged(tag):
            return _keys([keys.tagged(kind, tag)])
        case Missing(param, missing):
            return _missing(present(kind, param), missing=missing)
        case TokenIs():
            return _token(kind, where.param, where)
        case TokenText(param) | Differs(param):
            return _valued(kind, param)
        case CompositeIs():
            return _composite(kind, where)
        case StringIs():
            return _string(kind, where)
        case UriIs():
            return _uri(kind, where)
        case RefersTo():
            return _refers(kind, where)
        case Says():
            return _says(kind, where)
        case Near():
            return _near(kind, where)
        case DateIs():
            return _spans(spans.dates(where, kind))
        case NumberIs():
            return _spans(spans.numbers(where, kind))
        case QuantityIs():
            return _quantity(kind, where)
        case _ if isinstance(where, Open):
            raise unresolved(where)
        case _:
            return _MAYBE


def _quantity(kind: str, where: QuantityIs) -> Clause:
    """Return what a quantity becomes: its number, among those of the unit that is asked.

    In a unit of UCUM it is compared in base units, with all that measures the same.
    """
    if where.code is None:
        return _spans(spans.numbers(where, kind), sure=where.system is None)
    found = []
    for name in names_of(where.param):
        leaf = replace(where, param=name)
        base = in_base(leaf)
        if base is not None:
            found.append(_spans(spans.numbers(base, kind)))
        else:
            printed = replace(leaf, param=f"{name}{UNIT}{where.code}")
            found.append(_spans(spans.numbers(printed, kind), sure=where.system is None))
    return found[0] if len(found) == 1 else _either(found)


def named(names: list[str]) -> Clause:
    """Return the resources of these names."""
    if not names:
        return _NONE
    filter_: Document = {"_id": {"$in": names}}
    return Clause(filter_, filter_, (Arm({**filter_, **ALIVE}, "_id_"),))


def _updated(kind: str, where: LastUpdated) -> Clause:
    low, high = where.low, where.high
    asked = {
        Prefix.EQ: {"$gte": low, "$lte": high},
        Prefix.AP: {"$gte": low, "$lte": high},
        Prefix.GT: {"$gt": high},
        Prefix.SA: {"$gt": high},
        Prefix.GE: {"$gte": low},
        Prefix.LT: {"$lt": low},
        Prefix.EB: {"$lt": low},
        Prefix.LE: {"$lte": high},
    }.get(where.prefix)
    if asked is None:
        outside = either([{"u": {"$lt": low}}, {"u": {"$gt": high}}])
        return Clause(outside, outside)
    filter_: Document = {"u": asked}
    return Clause(filter_, filter_, (Arm({"t": kind, **filter_, **ALIVE}, "updated"),))


def _missing(filter_: Filter, *, missing: bool) -> Clause:
    if not filter_:
        return _MAYBE
    if missing:
        absent = neither(filter_)
        return Clause(absent, absent)
    return Clause(filter_, filter_, (Arm(filter_, "keys", ordered=True),))


def _token(kind: str, param: str, leaf: TokenIs) -> Clause:
    system, code = leaf.system, leaf.code
    if system == "" and code == "":
        return _NONE
    if system is None and code:
        return _keys(keys.token_code(kind, one, code) for one in names_of(param))
    if system and code is None:
        return _keys(keys.token_system(kind, one, system) for one in names_of(param))
    if system is not None and code is not None:
        return _keys(keys.token(kind, one, system, code) for one in names_of(param))
    return _valued(kind, param)


def _texted(kind: str, leaf: TokenText) -> Clause:
    """Return what has a token whose text says this from the start of a word on.

    Of several words the last may be a beginning; that they are beside one another the entry tells.
    """
    *whole, last = leaf.folded.split(" ")
    if not leaf.folded:
        return _valued(kind, leaf.param)
    names = [keys.said_by(one) for one in names_of(leaf.param)]
    starts = [_begins(keys.text_key(kind, one, last)) for one in names]
    parts = [either({"s": keys.text_key(kind, one, word)} for one in names) for word in whole]
    may = every([*parts, either(starts)])
    if whole:
        first = [{"s": keys.text_key(kind, one, whole[0])} for one in names]
        arms = tuple(Arm(one, "texts", ordered=True) for one in first)
        return Clause(may, NOTHING, arms, whole=False)
    sure = may if len(last) <= keys.LONGEST else NOTHING
    return Clause(may, sure, tuple(Arm(one, "texts") for one in starts))


def _composite(kind: str, where: CompositeIs) -> Clause:
    """Return what a composite becomes.

    Single parameters tell, where all their values stand in one value of it; of others the entry
    decides.
    """
    param, parts = where.param, where.parts
    if not parts or not isinstance(parts[0], TokenIs):
        return _valued(kind, param)
    first = _token(kind, param, parts[0])
    sure: Filter = NOTHING
    open_: Filter = EVERYTHING
    alike = implied(where, kind)
    if all(part in alike for part in parts[1:]):
        parted = keyed([keys.parted(kind, param)])
        others = [_leaf(kind, part) for part in parts[1:]]
        sure = every([first.sure, *(one.sure for one in others), neither(parted)])
        if all(one.exact for one in (first, *others)):
            open_ = parted  # what is said of single parameters is asked beside it (`plan.driven`)
    return Clause(first.may, sure, first.arms, first.whole, first.weak, open=open_)


def _string(kind: str, leaf: StringIs) -> Clause:
    if not leaf.value:
        return _valued(kind, leaf.param)
    match leaf.mode:
        case "contains":
            return _containing(kind, leaf.param, leaf.value)
        case "ends":
            return _containing(kind, leaf.param, leaf.value, at_end=True)
        case "exact":
            return _equal(kind, leaf.param, fold(leaf.value), sure=False)
        case "equal":
            return _equal(kind, leaf.param, leaf.value, sure=len(leaf.value) < keys.LONGEST)
        case "starts":
            return _beginning(kind, leaf.param, leaf.value)


def _equal(kind: str, param: str, folded: str, *, sure: bool) -> Clause:
    texts = [keys.text_key(kind, one, folded) for one in names_of(param)]
    may = either({"s": one} for one in texts)
    arms = tuple(Arm({"s": one}, "texts", ordered=True) for one in texts)
    return Clause(may, may if sure else NOTHING, arms)


def _containing(kind: str, param: str, text: str, *, at_end: bool = False) -> Clause:
    """Return what has a text somewhere in a value, or at its end; of what is cut the entry tells.

    What is cut may seem to end with the text and does not.
    """
    valued = _valued(kind, param)
    if "\0" in text:  # a pattern has no such letter
        return valued
    paths = "|".join(keys.path(kind, one) for one in names_of(param))
    cut: Document = {"s": {"$regex": f"^({paths}).{{{keys.LONGEST}}}", "$options": "s"}}
    if len(text) > keys.LONGEST:  # which is also more than a pattern may have
        return Clause(cut, NOTHING, valued.arms, whole=False, weak=True)
    pattern = f"^({paths}).*{re.escape(text)}"
    if at_end:
        pattern = f"^({paths})(?!.{{{keys.LONGEST}}}).*{re.escape(text)}$"
    sure: Document = {"s": {"$regex": pattern, "$options": "s"}}
    return Clause(either([sure, cut]), sure, valued.arms, whole=False, weak=True)


def _beginning(kind: str, param: str, text: str) -> Clause:
    parts = [_begins(keys.text_key(kind, one, text)) for one in names_of(param)]
    may = either(parts)
    sure = may if len(text) <= keys.LONGEST else NOTHING
    return Clause(may, sure, tuple(Arm(one, "texts") for one in parts))


def _begins(start: str) -> Document:
    if "\0" not in start:
        # Of a beginning that is a pattern the index alone tells what has it.
        return {"s": {"$regex": "^" + re.escape(start)}}
    # An element of an array is in a range only where one element is above and below.
    return {"s": {"$elemMatch": {"$gte": start, "$lt": prefix_end(start)}}}


def _uri(kind: str, leaf: UriIs) -> Clause:
    if leaf.mode == "below":
        return _beginning(kind, leaf.param, leaf.uri) if leaf.uri else _valued(kind, leaf.param)
    if leaf.mode == "exact":
        return _keys([keys.uri(kind, leaf.param, leaf.uri)])
    if len(leaf.uri) > _LONG_URI:
        return _valued(kind, leaf.param)
    # A value is among the beginnings of what is asked.
    beginnings = (leaf.uri[:end] for end in range(len(leaf.uri), -1, -1))
    return _keys(keys.uri(kind, leaf.param, one) for one in beginnings)


def _refers(kind: str, leaf: RefersTo) -> Clause:
    names = names_of(leaf.param)
    if leaf.url:
        return _keys(keys.uri(kind, one, leaf.url) for one in names)
    kinds = (leaf.resource_type,) if leaf.resource_type else definitions.RESOURCE_TYPES
    targets = [f"{target}/{leaf.resource_id}" for target in kinds]
    return _keys(keys.reference(kind, one, target) for target in targets for one in names)


def _says(kind: str, leaf: Says) -> Clause:
    words = leaf.words.split()
    if len(words) == 1:
        return _keys([keys.word(kind, leaf.param, words[0])])
    # That they are beside one another the entry tells.
    each = [_keys([keys.word(kind, leaf.param, one)]) for one in words]
    found = _every(each)
    return Clause(found.may, NOTHING, found.arms, whole=False)


def _near(kind: str, leaf: Near) -> Clause:
    """Return what is in the cells around a place; how far it is the entry tells."""
    parts = [_begins(keys.text_key(kind, leaf.param, one)) for one in cells(leaf)]
    arms = tuple(Arm(one, "texts") for one in parts)
    return Clause(either(parts), NOTHING, arms, apart=True)


def _spans(found: spans.Spans, *, sure: bool = True) -> Clause:
    surely = found.sure if sure else NOTHING
    arms = None
    if found.arms is not None:
        arms = tuple(Arm(part, "ordered", also=also) for part, also in found.arms)
    bounds = () if found.bound is None else (found.bound,)
    return Clause(found.may, surely, arms, apart=True, bounds=bounds)


def _references(kind: str, operands: tuple[Expression, ...]) -> Clause | None:
    """Return what references by one parameter to any of many become; None where it is not that.

    Hundreds, as a hierarchy has, would be what takes longest of a plan, one by one.
    """
    first = operands[0] if len(operands) > APART else None
    if not isinstance(first, RefersTo):
        return None
    asked: list[str] = []
    for one in operands:
        if not isinstance(one, RefersTo) or one.param != first.param or not one.resource_type:
            return None
        asked.append(f"{one.resource_type}/{one.resource_id}")
    names = names_of(first.param)
    return _keys(keys.reference(kind, name, target) for target in asked for name in names)


def _linked(kind: str, link: Link, links: Links) -> Clause:
    ids = links.get((kind, link))
    if ids is None:
        if isinstance(link, Has):
            return _MAYBE
        return _valued(kind, link.param)
    if isinstance(link, Has):
        return named(sorted(f"{kind}/{one}" for one in ids))
    targets = [f"{link.target_type}/{one}" for one in sorted(ids)]
    return _keys(keys.reference(kind, one, to) for to in targets for one in names_of(link.param))


def flat(where: Expression) -> list[Expression]:
    """Return what an expression is the conjunction of."""
    if isinstance(where, And):
        return [part for one in where.operands for part in flat(one)]
    if isinstance(where, Or) and len(where.operands) == 1:
        return flat(where.operands[0])
    return [where]


def links_in(where: Expression) -> list[Link]:
    """Return the links of an expression, not those inside other links."""
    match where:
        case And(operands) | Or(operands):
            inner = [one for one in operands if isinstance(one, _INNER)]
            return [link for one in inner for link in links_in(one)]
        case Not(operand):
            return links_in(operand)
        case Chain() | Has():
            return [where]
        case _:
            return []
