"""UCUM: what a unit is worth in base units, so that quantities of unlike units can be compared.

https://ucum.org/ucum

`ucum.csv` has what each unit is defined by: code, whether prefixes stand before it, value, unit.
The numbers are UCUM's (copyright Regenstrief Institute, Inc.; free to use and to spread).
Numbers are exact fractions. A unit that UCUM calls arbitrary (`[iU]`), or whose scale is not linear
(`[pH]`, `B[SPL]`), is a dimension of its own: it can be compared with itself alone.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final

SYSTEM: Final = "http://unitsofmeasure.org"

MAX_CODE: Final = 200
"""Characters of a unit; real ones have fewer than 40."""

_MAX_EXPONENT: Final = 24
_MAX_POWER: Final = 400
"""Of a factor's ten: no product of real units comes near, and no number grows without end."""

_BASE: Final = frozenset({"m", "s", "g", "rad", "K", "C", "cd"})

PREFIXES: Final = MappingProxyType({
    "Y": Fraction(10**24), "Z": Fraction(10**21), "E": Fraction(10**18), "P": Fraction(10**15),
    "T": Fraction(10**12), "G": Fraction(10**9), "M": Fraction(10**6), "k": Fraction(1000),
    "h": Fraction(100), "da": Fraction(10), "d": Fraction(1, 10), "c": Fraction(1, 100),
    "m": Fraction(1, 1000), "u": Fraction(1, 10**6), "n": Fraction(1, 10**9),
    "p": Fraction(1, 10**12), "f": Fraction(1, 10**15), "a": Fraction(1, 10**18),
    "z": Fraction(1, 10**21), "y": Fraction(1, 10**24),
    "Ki": Fraction(2**10), "Mi": Fraction(2**20), "Gi": Fraction(2**30), "Ti": Fraction(2**40),
})  # fmt: skip

# Arbitrary units, and those on a scale that is not linear; each is a dimension.
_ALONE: Final = frozenset({
    "[iU]", "[arb'U]", "[USP'U]", "[GPL'U]", "[MPL'U]", "[APL'U]", "[beth'U]", "[anti'Xa'U]",
    "[todd'U]", "[dye'U]", "[smgy'U]", "[bdsk'U]", "[ka'U]", "[knk'U]", "[mclg'U]", "[tb'U]",
    "[CCID_50]", "[TCID_50]", "[EID_50]", "[PFU]", "[FFU]", "[CFU]", "[IR]", "[BAU]", "[AU]",
    "[Amb'a'1'U]", "[PNU]", "[Lf]", "[D'ag'U]", "[FEU]", "[ELU]", "[EU]",
    "[pH]", "Np", "B", "B[SPL]", "B[V]", "B[mV]", "B[uV]", "B[10.nV]", "B[W]", "B[kW]",
    "[p'diop]", "%[slope]", "bit_s", "[m/s2/Hz^(1/2)]", "[hp'_X]", "[hp'_C]", "[hp'_M]",
    "[hp'_Q]", "[hp_X]", "[hp_C]", "[hp_M]", "[hp_Q]", "[kp_X]", "[kp_C]", "[kp_M]", "[kp_Q]",
    "[hnsf'U]",
})  # fmt: skip
_ALONE_WITH_PREFIXES: Final = frozenset({
    "[iU]", "[IU]", "Np", "B", "B[SPL]", "B[V]", "B[mV]", "B[uV]", "B[10.nV]", "B[W]", "B[kW]",
})  # fmt: skip
_SAME: Final = MappingProxyType({"[IU]": "[iU]"})

# Temperatures: the zero lies elsewhere. Value in K = (value + offset) * factor.
_TEMPERATURES: Final = MappingProxyType({
    "Cel": (Fraction(1), Fraction("273.15")),
    "[degF]": (Fraction(5, 9), Fraction("459.67")),
    "[degRe]": (Fraction(5, 4), Fraction("218.52")),
})

_ANNOTATION: Final = re.compile(r"\{[\x21-\x7a|~]*\}")
_TOKEN: Final = re.compile(r"[./()]|[^./()\s\[\]]*(?:\[[^\]]*\][^./()\s\[\]]*)*")
_ATOM: Final = re.compile(r"(?P<symbol>10[*^]|.*?[^0-9+-])(?P<exponent>[+-]?[0-9]+)?", re.DOTALL)
_INTEGER: Final = re.compile(r"[0-9]{1,30}").fullmatch

Dimensions = tuple[tuple[str, int], ...]
"""Base unit and exponent, in the order of names, without zeros."""


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a unit is: `(value + offset) * factor` of its base units.

    Attributes:
        factor: How many of the base units.
        dimensions: The base units; () where it is a plain number.
        offset: Of a temperature's zero, in this unit; 0 for all others.
    """

    factor: Fraction
    dimensions: Dimensions
    offset: Fraction = Fraction(0)

    def base(self, value: Decimal) -> Fraction:
        """Return a value of this unit in base units."""
        return (Fraction(value) + self.offset) * self.factor

    def from_base(self, value: Fraction) -> Fraction:
        """Return a value of base units in this unit."""
        return value / self.factor - self.offset


class _UnknownUnit(ValueError):
    """The text is no unit of UCUM."""


@cache
def _table() -> dict[str, tuple[bool, Fraction, str]]:
    """Return each unit's row: whether it takes prefixes, value and unit of its definition."""
    text = resources.files("fhir_server.model").joinpath("ucum.csv").read_text(encoding="utf-8")
    return {
        row["code"]: (row["prefixes"] == "yes", Fraction(row["value"]), row["unit"])
        for row in csv.DictReader(text.splitlines())
    }


def _dimensions(found: dict[str, int]) -> Dimensions:
    return tuple(sorted((name, exponent) for name, exponent in found.items() if exponent))


def _times(one: Unit, other: Unit, exponent: int) -> Unit:
    """Return one unit multiplied by another to a power."""
    if one.offset or (other.offset and exponent != 1):
        raise _UnknownUnit
    if other.offset and (one.factor != 1 or one.dimensions):
        raise _UnknownUnit  # a temperature with a zero of its own stands alone: UCUM, section 22
    found = dict(one.dimensions)
    for name, power in other.dimensions:
        found[name] = found.get(name, 0) + power * exponent
    factor = one.factor * other.factor**exponent
    if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > 4 * _MAX_POWER:
        raise _UnknownUnit
    return Unit(factor, _dimensions(found), other.offset)


_ONE: Final = Unit(Fraction(1), ())


@lru_cache(maxsize=2048)
def _symbol(symbol: str) -> Unit:
    """Return the unit of a symbol, with or without a prefix."""
    plain = _plain(symbol)
    if plain is not None:
        return plain[0]
    for size in (1, 2):
        prefix = PREFIXES.get(symbol[:size])
        stem = _plain(symbol[size:]) if prefix is not None else None
        if prefix is not None and stem is not None and stem[1]:
            unit = stem[0]
            return Unit(unit.factor * prefix, unit.dimensions, unit.offset / prefix)
    raise _UnknownUnit


def _plain(symbol: str) -> tuple[Unit, bool] | None:
    """Return the unit of a symbol that has no prefix, and whether one may stand before it."""
    if symbol in _BASE:
        return Unit(Fraction(1), ((symbol, 1),)), True
    row = _table().get(symbol)
    if row is not None:
        unit = _times(_parsed(row[2]), _ONE, 1)
        return Unit(unit.factor * row[1], unit.dimensions), row[0]
    if symbol in _TEMPERATURES:
        factor, offset = _TEMPERATURES[symbol]
        return Unit(factor, (("K", 1),), offset), symbol == "Cel"
    if symbol in _ALONE or symbol in _SAME:
        name = _SAME.get(symbol, symbol)
        return Unit(Fraction(1), ((name, 1),)), symbol in _ALONE_WITH_PREFIXES
    return None


def _atom(text: str) -> tuple[Unit, int]:
    """Return the unit and exponent of one component: `cm2`, `10*3`, `[in_i]`, `12`."""
    if _INTEGER(text):
        if not int(text):
            raise _UnknownUnit
        return Unit(Fraction(int(text)), ()), 1
    match = _ATOM.fullmatch(text)
    if match is None:
        raise _UnknownUnit
    exponent = match["exponent"]
    if exponent and len(exponent) > len("+00"):
        raise _UnknownUnit
    power = int(exponent or 1)
    if abs(power) > _MAX_EXPONENT:
        raise _UnknownUnit
    return _symbol(match["symbol"]), power


class _Parser:
    """One code, from left to right: `/` and `.` bind alike, as UCUM has it."""

    def __init__(self, code: str) -> None:
        self.tokens = [token for token in _TOKEN.findall(code) if token]
        if "".join(self.tokens) != code:
            raise _UnknownUnit
        self.at = 0

    def take(self) -> str:
        token = self.tokens[self.at] if self.at < len(self.tokens) else ""
        self.at += 1
        return token

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def terms(self) -> Unit:
        sign = 1
        if self.peek() == "/":
            self.take()
            sign = -1
        found = self.component(_ONE, sign)
        while self.peek() in {".", "/"}:
            found = self.component(found, 1 if self.take() == "." else -1)
        return found

    def component(self, before: Unit, sign: int) -> Unit:
        token = self.take()
        if token == "(":  # noqa: S105 - a bracket
            inside = self.terms()
            if self.take() != ")":
                raise _UnknownUnit
            return _times(before, inside, sign)
        if token in {"", ")", ".", "/"}:
            raise _UnknownUnit
        unit, exponent = _atom(token)
        return _times(before, unit, sign * exponent)


def _parsed(code: str) -> Unit:
    parser = _Parser(code)
    unit = parser.terms()
    if parser.at != len(parser.tokens):
        raise _UnknownUnit
    return unit


def _without_annotations(code: str) -> str:
    """Return a code without what stands in braces; where nothing else stood, it is a 1."""
    if "{" not in code:
        return code
    marked = _ANNOTATION.sub("\x00", code)
    marked = re.sub(r"(?<=[^./(\x00])\x00", "", marked)
    return marked.replace("\x00", "1")


@lru_cache(maxsize=4096)
def _known(code: str) -> Unit | None:
    try:
        return _parsed(_without_annotations(code))
    except (_UnknownUnit, RecursionError):
        return None


def unit(code: str) -> Unit | None:
    """Return what a code of UCUM (case sensitive) is worth; None where it is no such code."""
    return _known(code) if 0 < len(code) <= MAX_CODE else None


def convert(value: Decimal, source: str, target: str) -> Fraction | None:
    """Return a value of one unit in another; None where they measure different things."""
    one, other = unit(source), unit(target)
    if one is None or other is None or one.dimensions != other.dimensions:
        return None
    return other.from_base(one.base(value))
