"""Places on the earth: how far two are apart, and the cells in which a store looks for them.

https://hl7.org/fhir/R4/location.html#search

Positions are WGS84 and distances those on a sphere of the earth's mean radius: wrong by 0.6 % at
most. A cell is one of 4^LEVELS equal parts of the square of all longitudes and latitudes; its name
has a digit for each halving of both, so a larger cell's name is the beginning of those within.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from fhir_server.search.expression import Near

RADIUS: Final = 6_371_008.8
"""The earth's mean radius in metres."""
LEVELS: Final = 20
"""The smallest cells are 38 m wide at most."""
MOST_CELLS: Final = 16
"""A circle is covered by so many cells at most."""

DEFAULT: Final = 10_000.0
"""Metres that are near where no distance is said; R4 leaves it to the server."""

UNITS: Final[Mapping[str, float]] = {
    "km": 1_000,
    "m": 1,
    "dm": 0.1,
    "cm": 0.01,
    "mm": 0.001,
    "[mi_i]": 1_609.344,
    "[mi_us]": 5_280 * 1_200 / 3_937,
    "[nmi_i]": 1_852,
    "[yd_i]": 0.9144,
    "[ft_i]": 0.3048,
    "[ft_us]": 1_200 / 3_937,
}
"""Metres of each unit of length by its UCUM code, https://ucum.org/ucum."""

_NUMBER: Final = re.compile(r"[+-]?\d{1,30}(\.\d{1,30})?([eE][+-]?\d{1,2})?", re.ASCII)
_SLACK: Final = 1.000_001
_LEAST: Final = 1e-9
"""So much more is covered than is asked, of it and in degrees, for what rounding does."""


def asked_near(param: str, parts: Sequence[str]) -> Near:
    """Return what `latitude|longitude|distance|unit` asks; the last two may be left out.

    Raises:
        ValueError: It is not of this form, or no place on the earth.
    """
    if not 2 <= len(parts) <= 4:  # noqa: PLR2004 - the last two may be left out
        raise ValueError
    latitude, longitude, far, unit = [*parts, "", ""][:4]
    north, east = _number(latitude), _number(longitude)
    if abs(north) > 90 or abs(east) > 180:  # noqa: PLR2004 - degrees
        raise ValueError
    if not far:
        return Near(param, north, east, DEFAULT)
    metres = _number(far) * UNITS.get(unit or "km", math.nan)
    if not 0 <= metres < math.inf:
        raise ValueError
    return Near(param, north, east, metres)


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return float(text)


def distance(latitude: float, longitude: float, other: tuple[float, float]) -> float:
    """Return the metres between two places, by the haversine formula."""
    here, there = math.radians(latitude), math.radians(other[0])
    across = math.radians(other[1] - longitude)
    part = (
        math.sin((there - here) / 2) ** 2
        + math.cos(here) * math.cos(there) * math.sin(across / 2) ** 2
    )
    return 2 * RADIUS * math.asin(math.sqrt(min(1.0, part)))


def is_near(asked: Near, latitude: float, longitude: float) -> bool:
    """Return whether a place is where it is asked for."""
    return distance(asked.latitude, asked.longitude, (latitude, longitude)) <= asked.metres


def cell(latitude: float, longitude: float) -> str:
    """Return the smallest cell of a place."""
    column, row = _column(longitude, LEVELS), _row(latitude, LEVELS)
    return _name(column, row, LEVELS)


def cells(asked: Near) -> list[str]:
    """Return the beginnings of the cells of every place that is near, and of some more.

    The cell "" is the whole earth.
    """
    around = math.degrees(asked.metres * _SLACK / RADIUS) + _LEAST
    south, north = asked.latitude - around, asked.latitude + around
    if south <= -90 or north >= 90:  # noqa: PLR2004 - degrees
        west, wide = -180.0, 360.0  # a pole is within: every longitude is
    else:
        # The circle is widest where a meridian touches it, which is nearer to the pole.
        share = math.sin(math.radians(around)) / math.cos(math.radians(asked.latitude))
        half = math.degrees(math.asin(min(1.0, share))) * _SLACK + _LEAST
        west, wide = asked.longitude - half, 2 * half
    south, north = max(south, -90.0), min(north, 90.0)
    for level in range(LEVELS, 0, -1):
        size = 360 / (1 << level)
        columns = min(math.floor((west + wide) / size) - math.floor(west / size) + 1, (1 << level))
        rows = _row(north, level) - _row(south, level) + 1
        if columns * rows <= MOST_CELLS:
            first = math.floor((west + 180) / size)
            return [
                _name((first + column) % (1 << level), row, level)
                for column in range(columns)
                for row in range(_row(south, level), _row(north, level) + 1)
            ]
    return [""]


def _column(longitude: float, level: int) -> int:
    # The meridian of 180 degrees has two names, and is one place.
    return math.floor((longitude + 180) / 360 * (1 << level)) % (1 << level)


def _row(latitude: float, level: int) -> int:
    return min(math.floor((latitude + 90) / 180 * (1 << level)), (1 << level) - 1)


def _name(column: int, row: int, level: int) -> str:
    return "".join(
        "0123"[(column >> bit & 1) * 2 + (row >> bit & 1)] for bit in range(level - 1, -1, -1)
    )
