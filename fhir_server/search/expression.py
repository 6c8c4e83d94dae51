"""The expression tree of a search: what is asked, with no database in it.

https://hl7.org/fhir/R4/search.html

Every leaf speaks of one search parameter by its code (`subject`, `birthdate`), and means
"any of the resource's values of that parameter does". Negation is `Not` around a leaf,
so `gender:not=male` also finds resources without a gender, as the specification says.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final, Literal

from fhir_server.search.parameters import R4, Known


class Prefix(StrEnum):
    """How a value is compared with a range, https://hl7.org/fhir/R4/search.html#prefix."""

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"
    AP = "ap"


@dataclass(frozen=True, slots=True)
class And:
    """All of these; none given is true."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of these; none given is false."""

    operands: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Not this."""

    operand: Expression


@dataclass(frozen=True, slots=True)
class Ids:
    """`_id`: the resource's id is one of these."""

    ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class LastUpdated:
    """`_lastUpdated` against the range [low, high] of the value asked."""

    prefix: Prefix
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class TokenIs:
    """A token: `system|code`. System None is any, "" is none; code None is any of the system."""

    param: str
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class TokenText:
    """`:text`: the token's folded display text begins with, or holds at a word's start, this."""

    param: str
    folded: str


@dataclass(frozen=True, slots=True)
class StringIs:
    """A string; `value` is as written (NFC) for `exact`, folded for all others.

    `ends` and `equal` are asked by a `_filter` alone.
    """

    param: str
    value: str
    mode: Literal["starts", "contains", "exact", "ends", "equal"] = "starts"


@dataclass(frozen=True, slots=True)
class UriIs:
    """A URI: equal, `:below` (begins with) or `:above` (is a beginning of the value asked)."""

    param: str
    uri: str
    mode: Literal["exact", "below", "above"] = "exact"


@dataclass(frozen=True, slots=True)
class DateIs:
    """A date range against the range [low, high] of the value asked.

    eq: inside it; ne: not eq; gt/lt: part of it lies above/below; ge/le: gt/lt or overlaps it;
    sa/eb: wholly after/before; ap: overlaps it (already widened by the parser).
    """

    param: str
    prefix: Prefix
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class NumberIs:
    """A number against the range [low, high) that the precision of the value asked gives.

    eq and ne (and ap, widened) use the range; the others compare with `value`, as written.
    """

    param: str
    prefix: Prefix
    value: Decimal
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True)
class QuantityIs:
    """A quantity, as NumberIs; system None and code None are any; a bare code is also a unit."""

    param: str
    prefix: Prefix
    value: Decimal
    low: Decimal
    high: Decimal
    system: str | None
    code: str | None


@dataclass(frozen=True, slots=True)
class RefersTo:
    """A reference to a local resource (type None: any type), or to this absolute `url`."""

    param: str
    resource_type: str | None
    resource_id: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Differs:
    """`ne` of a `_filter`: one of the parameter's values is not what this leaf on it asks.

    It is not `Not`: a resource without a value has none that differs. Dates, numbers and
    quantities have Prefix.NE for it. A token that is a text alone is no value here.

    Attributes:
        plain: What has a version (`is_version`) is passed over: it stands beside the same without.
    """

    param: str
    leaf: TokenIs | StringIs | UriIs | RefersTo | CompositeIs | Or
    plain: bool = False


def is_version(text: str) -> bool:
    """Return whether a URI or reference of an index value names a version: `url|1`, `…/_history/1`.

    Such a value stands beside another one without it; but not where it is another server's.
    """
    return "|" in text or ("/_history/" in text and "://" not in text)


@dataclass(frozen=True, slots=True)
class Missing:
    """`:missing`: there is no value of the parameter (or, with False, there is one)."""

    param: str
    missing: bool


@dataclass(frozen=True, slots=True)
class Chain:
    """A reference to a current resource of `target_type` that matches `where`."""

    param: str
    target_type: str
    where: Expression


@dataclass(frozen=True, slots=True)
class Has:
    """`_has`: a current resource of `source_type` that matches `where` refers to this one."""

    source_type: str
    param: str
    where: Expression


@dataclass(frozen=True, slots=True)
class CompositeIs:
    """A composite: one repetition whose components match these leaves, in their order."""

    param: str
    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Says:
    """`_text`, `_content`: a text has this word, or these (between spaces) beside one another."""

    param: str
    words: str


@dataclass(frozen=True, slots=True)
class Near:
    """`near`: a place no farther than so many metres from this one, given in degrees."""

    param: str
    latitude: float
    longitude: float
    metres: float


@dataclass(frozen=True, slots=True)
class InValueSet:
    """`:in`: a token is in a value set, named by its URL (`url|version`) or as `ValueSet/id`.

    Attributes:
        bare: A code without a system counts: the parameter's elements have none of their own.
    """

    param: str
    value_set: str
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Subsumed:
    """`:below` and `:above`: a token is subsumed by this code, or subsumes it, or is it."""

    param: str
    system: str
    code: str
    mode: Literal["below", "above"]


@dataclass(frozen=True, slots=True)
class Listed:
    """`_list`: the resource is named by this List."""

    list_id: str
    param: str = "_list"


@dataclass(frozen=True, slots=True)
class InHierarchy:
    """`:below` (`:above`): a reference to this resource, or to one that is part of it (it of)."""

    param: str
    resource_type: str
    resource_id: str
    mode: Literal["below", "above"]


@dataclass(frozen=True, slots=True)
class CanonicalChain:
    """A canonical URL of a current resource of `target_type` that matches `where`."""

    param: str
    target_type: str
    where: Expression


@dataclass(frozen=True, slots=True)
class CanonicalHas:
    """`_has`: a current resource of `source_type` that matches `where` has this one's URL."""

    source_type: str
    param: str
    where: Expression


@dataclass(frozen=True, slots=True)
class InPatient:
    """The resource is in the compartment of one of these Patients."""

    patients: frozenset[str]


@dataclass(frozen=True, slots=True)
class Tagged:
    """The resource carries this access tag (store.port.Write.tags); never asked by a client."""

    tag: str


Expression = (
    And
    | Or
    | Not
    | Ids
    | LastUpdated
    | TokenIs
    | TokenText
    | StringIs
    | UriIs
    | DateIs
    | NumberIs
    | QuantityIs
    | RefersTo
    | Differs
    | Missing
    | Chain
    | Has
    | CompositeIs
    | Says
    | Near
    | InValueSet
    | Subsumed
    | Listed
    | InHierarchy
    | CanonicalChain
    | CanonicalHas
    | InPatient
    | Tagged
)

EVERYTHING = And(())
NOTHING = Or(())

Open = InValueSet | Subsumed | Listed | InHierarchy | CanonicalChain | CanonicalHas
"""What other resources must be read for, before a store is asked: it is never given these."""


def unresolved(leaf: Open) -> TypeError:
    """Return the error of a leaf that nothing can judge yet: that it is unknown must not say no."""
    return TypeError(f"{type(leaf).__name__} was not resolved before it was asked")


SortKind = Literal[
    "token", "string", "date", "number", "quantity", "reference", "uri", "id", "last"
]


@dataclass(frozen=True, slots=True)
class Sort:
    """One `_sort` key; kind `id` is `_id`, `last` is `_lastUpdated`. Resources without it last."""

    param: str
    kind: SortKind
    descending: bool = False


MOST_COUNTED: Final = 1_000
"""So many matches are counted where no accurate total is asked for."""
COUNTED_AMONG: Final = 100_000
"""In a type of so many resources they are always counted, whatever is asked."""
COUNTED_OF: Final = 20_000
"""In a larger type they are where one index leaves fewer than so many."""


@dataclass(frozen=True, slots=True)
class Search:
    """One page of a search over one or several types, each with its own (narrowed) expression.

    Attributes:
        by_type: Resource type and its expression; a type that is absent is not searched.
        sort: Sort keys; none means newest first, by the store's own order.
        count: Resources on the page; 0 asks for no resource, only for the total.
        total: `accurate` asks for the number of all matches; `estimate` for the same where it is
            soon counted: of whole types always, else up to MOST_COUNTED. It depends on the search
            and the data alone: not on the page, nor on the clock.
        cursor: Where the page begins, from a Page (`next`, `previous`, `first`); None is the
            first page.
        asked: What the client asked, before a policy narrowed it: a cursor belongs to it.
        base_url: The FHIR base, for the order by references: those below it are our own.
        explain: How it was done goes along (Page.explained).
        known: The search parameters that there are, for the order of what was current once.
        defines: The cursor of the first page as it is now goes along with it (Page.defined).
    """

    by_type: tuple[tuple[str, Expression], ...]
    sort: tuple[Sort, ...] = ()
    count: int = 20
    total: Literal["none", "estimate", "accurate"] = "none"
    cursor: str | None = None
    asked: bytes = b""
    base_url: str = ""
    explain: bool = False
    known: Known = R4
    defines: bool = False
