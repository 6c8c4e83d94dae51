"""Sources of one parameter's values: where in its index the rids of a leaf stand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.search.earth import cells
from fhir_server.search.expression import (
    DateIs,
    Near,
    NumberIs,
    Prefix,
    QuantityIs,
    StringIs,
    UriIs,
)
from fhir_server.search.fold import fold
from fhir_server.store.keys import DAY, decimal_key, prefix_end, time_key
from fhir_server.store.sqlite.search_sql import LISTED, Sql, as_json, listed, numbers, range_sql

ARMS: Final = 24
"""So many arms are merged at most; more are gathered."""

_TEXT_MAX: Final = 2_000


@dataclass(frozen=True, slots=True)
class Source:
    """The rids of a leaf.

    Attributes:
        arms: `FROM table AS d WHERE ...` of which each gives some rids; together they give all.
        ordered: Whether each arm is in the order of rid by its index.
        exact: Whether a rid that it gives needs no further check of the leaf.
        lone: Whether no rid is given twice by one arm.
        costly: Whether to ask one resource costs more than to gather it.
        apart: Whether no rid is given by two arms.
    """

    arms: tuple[Sql, ...]
    ordered: bool
    exact: bool = True
    lone: bool = True
    costly: bool = False
    apart: bool = False

    @property
    def mergeable(self) -> bool:
        """Whether the arms can be walked newest first, all at once."""
        return self.ordered and self.is_few

    @property
    def is_few(self) -> bool:
        """Whether all arms fit into one statement."""
        return len(self.arms) <= ARMS


def references(targets: Sequence[int], params: tuple[int, ...]) -> Source:
    """Return where references to these resources stand; to many of them in one arm."""
    if len(targets) * len(params) <= ARMS:
        text = "FROM ref AS d WHERE d.target = ? AND d.param = ?"
        arms = tuple(Sql(text, (target, param)) for target in targets for param in params)
        return Source(arms, ordered=True)
    text = f"FROM ref AS d NOT INDEXED WHERE d.target IN {LISTED} AND d.param IN {numbers(params)}"
    return Source((Sql(text, (as_json(targets),)),), ordered=False, lone=False)


def text_arm(param: int, text: str) -> Sql:
    """Return where one exact text (a URI, a URL) stands."""
    return Sql("FROM string AS d WHERE d.param = ? AND d.text = ? AND d.exact = ''", (param, text))


def strings(leaf: StringIs, params: tuple[int, ...]) -> Source | None:
    """Return where a string stands: a range of the index, or all of it."""
    match leaf.mode:
        case "starts":
            arm = "FROM string AS d WHERE d.param = ? AND d.text >= ? AND d.text < ?"
            ends: tuple[Any, ...] = (leaf.value, prefix_end(leaf.value))
        case "contains":
            arm = "FROM string AS d WHERE d.param = ? AND instr(d.text, ?)"
            ends = (leaf.value,)
        case "ends":
            arm = "FROM string AS d WHERE d.param = ? AND substr(d.text, -length(?)) = ?"
            ends = (leaf.value, leaf.value)
        case "equal":
            arm = "FROM string AS d WHERE d.param = ? AND d.text = ?"
            ends = (leaf.value,)
        case "exact":
            folded = fold(leaf.value)
            arm = "FROM string AS d WHERE d.param = ? AND d.text = ? AND d.exact = ?"
            ends = (folded, "" if folded == leaf.value else leaf.value)
    lone = leaf.mode == "exact"
    arms = tuple(Sql(arm, (p, *ends)) for p in params)
    return Source(arms, ordered=lone, lone=lone, costly=True)


def uris(leaf: UriIs, params: tuple[int, ...]) -> Source | None:
    """Return where a URI stands."""
    uri = leaf.uri
    match leaf.mode:
        case "exact":
            return Source(tuple(text_arm(p, uri) for p in params), ordered=True)
        case "below":
            arm = "FROM string AS d WHERE d.param = ? AND d.text >= ? AND d.text < ?"
            arms = tuple(Sql(arm, (p, uri, prefix_end(uri))) for p in params)
            return Source(arms, ordered=False, lone=False, costly=True)
        case "above":
            if len(uri) > _TEXT_MAX:
                return None
            starts = [uri[:end] for end in range(1, len(uri) + 1)]
            arm = f"FROM string AS d WHERE d.param = ? AND d.text IN {LISTED} AND d.exact = ''"
            binds = listed(starts)
            return Source(tuple(Sql(arm, (p, binds)) for p in params), ordered=False, lone=False)


def places(leaf: Near, params: tuple[int, ...]) -> Source:
    """Return where places stand that may be near: in cells, each a range of the index."""
    arm = "FROM string AS d WHERE d.param = ? AND d.text >= ? AND d.text < ?"
    arms = tuple(Sql(arm, (p, one, prefix_end(one))) for p in params for one in cells(leaf))
    return Source(arms, ordered=False, exact=False, costly=True)


def dates(leaf: DateIs, params: tuple[int, ...]) -> Source | None:
    """Return where a date stands."""
    arms = [arm for param in params for arm in _date_arms(leaf, param)]
    if not arms and params:
        return None
    return Source(tuple(arms), ordered=False, lone=False, costly=True)


def _date_arms(leaf: DateIs, param: int) -> Iterable[Sql]:
    low, high = time_key(leaf.low), time_key(leaf.high)
    base = "FROM date AS d WHERE d.param = ?"
    # Short ranges are found by their low end, which is near; long ones by an index of their own.
    short = f"{base} AND d.span <= {DAY} AND d.low >= ? AND d.low + d.span >= ?"
    long = (
        "FROM date AS d INDEXED BY date_long WHERE d.param = ? "
        f"AND d.span > {DAY} AND d.low + d.span >= ?"
    )
    match leaf.prefix:
        case Prefix.EQ:
            text = f"{base} AND d.low >= ? AND d.low <= ? AND d.low + d.span <= ?"
            return [Sql(text, (param, low, high, high))]
        case Prefix.GT | Prefix.GE:
            least = high + 1 if leaf.prefix is Prefix.GT else low
            return [Sql(short, (param, least - DAY, least)), Sql(long, (param, least))]
        case Prefix.AP:
            return [
                Sql(f"{short} AND d.low <= ?", (param, low - DAY, low, high)),
                Sql(f"{long} AND d.low <= ?", (param, low, high)),
            ]
        case Prefix.LT:
            return [Sql(f"{base} AND d.low < ?", (param, low))]
        case Prefix.LE:
            return [Sql(f"{base} AND d.low <= ?", (param, high))]
        case Prefix.SA:
            return [Sql(f"{base} AND d.low > ?", (param, high))]
        case Prefix.EB:
            return [Sql(f"{base} AND d.low < ? AND d.low + d.span < ?", (param, low, low))]
        case Prefix.NE:
            return []


def date_ranges(leaves: Sequence[DateIs], param: int) -> Source | None:
    """Return where dates stand that all of these leaves on a parameter find, each by itself.

    None: they do not bound it from both sides.
    """
    lows, highs, tops = [], [], []
    for leaf in leaves:
        low, high = time_key(leaf.low), time_key(leaf.high)
        match leaf.prefix:
            case Prefix.EQ:
                lows.append(low)
                tops.append(high)
            case Prefix.GT | Prefix.GE:
                highs.append(high + 1 if leaf.prefix is Prefix.GT else low)
            case Prefix.LT | Prefix.EB:
                tops.append(low - 1)
            case Prefix.LE:
                tops.append(high)
            case Prefix.SA:
                lows.append(high + 1)
            case Prefix.AP:
                highs.append(low)
                tops.append(high)
            case Prefix.NE:
                pass
    if not tops or not (lows or highs):
        return None
    parts = [range_sql(leaf) for leaf in leaves]
    rest = " AND ".join(part.text for part in parts)
    binds = tuple(bind for part in parts for bind in part.binds)
    least = max([*lows, *(high - DAY for high in highs)])
    short = f"FROM date AS d WHERE d.param = ? AND d.low >= ? AND d.low <= ? AND d.span <= {DAY}"
    long = (
        "FROM date AS d INDEXED BY date_long WHERE d.param = ? "
        f"AND d.span > {DAY} AND d.low + d.span >= ? AND d.low <= ?"
    )
    return Source(
        (
            Sql(f"{short} AND {rest}", (param, least, min(tops), *binds)),
            Sql(f"{long} AND {rest}", (param, max([*lows, *highs]), min(tops), *binds)),
        ),
        ordered=False,
        exact=False,
        costly=True,
    )


def quantity_arms(leaf: NumberIs | QuantityIs, param: int, unit: int) -> list[Sql]:
    """Return where a quantity of one unit, or a plain number (unit 0), stands."""
    at, first, end = decimal_key(leaf.value), decimal_key(leaf.low), decimal_key(leaf.high)
    base = "FROM quantity AS d WHERE d.param = ? AND d.unit = ?"
    point = f"{base} AND d.high = x''"
    wide = (
        "FROM quantity AS d INDEXED BY quantity_wide WHERE d.param = ? AND d.unit = ? "
        "AND d.high <> x''"
    )
    match leaf.prefix:
        case Prefix.EQ:
            text = f"{base} AND d.low >= ? AND d.low < ? AND d.high < ?"
            return [Sql(text, (param, unit, first, end, end))]
        case Prefix.GT | Prefix.GE:
            sign = ">" if leaf.prefix is Prefix.GT else ">="
            return [
                Sql(f"{point} AND d.low {sign} ?", (param, unit, at)),
                Sql(f"{wide} AND d.high {sign} ?", (param, unit, at)),
            ]
        case Prefix.AP:
            return [
                Sql(f"{point} AND d.low >= ? AND d.low < ?", (param, unit, first, end)),
                Sql(f"{wide} AND d.high >= ? AND d.low < ?", (param, unit, first, end)),
            ]
        case Prefix.SA:
            return [Sql(f"{base} AND d.low > ?", (param, unit, at))]
        case Prefix.LT | Prefix.LE:
            sign = "<" if leaf.prefix is Prefix.LT else "<="
            return [Sql(f"{base} AND d.low {sign} ?", (param, unit, at))]
        case _:
            return [
                Sql(f"{point} AND d.low < ?", (param, unit, at)),
                Sql(f"{wide} AND d.high < ?", (param, unit, at)),
            ]
