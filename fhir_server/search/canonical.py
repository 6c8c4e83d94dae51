"""Canonical URLs: what a definition is named by, and which of its versions is meant.

https://hl7.org/fhir/R4/references.html#canonical
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from fhir_server.search.parameters import Parameter, parameters
from fhir_server.search.path import Field

_MOST: Final = 8
_CUT: Final = re.compile(r"[.+-]")
_PIECE: Final = re.compile(r"\d+|[^\W\d_]+")
_VALUES: Final = frozenset({"canonical", "uri"})

VersionKey = tuple[tuple[int, int, str], ...]


def named_by(text: str) -> tuple[str, str]:
    """Return the URL and the version ("" is none) of a canonical; a fragment is cut.

    `http://x|1.0#a` is `("http://x", "1.0")`; a fragment alone names nothing: `("", "")`.
    """
    url, _, version = text.partition("#")[0].partition("|")
    return url, version


def beginnings(version: str) -> tuple[str, ...]:
    """Return the versions that a version is one of, and itself: `1`, `1.2` and `1.2.3`.

    Those of the first eight parts; each part ends before a dot, a hyphen or a plus.
    """
    ends = [found.start() for found in _CUT.finditer(version)][:_MOST]
    return tuple(dict.fromkeys([version[:end] for end in ends if end] + [version]))


def version_key(version: str) -> VersionKey:
    """Return what orders versions: numbers as numbers, `2.0-rc` before `2.0` before `2.0.1`.

    None at all ("") comes first.
    """
    if not version:
        return ()
    pieces = _PIECE.findall(version)
    found = [(2, int(one), "") if one.isdecimal() else (0, 0, one) for one in pieces]
    return (*found, (1, 0, ""))


@cache
def is_definition(resource_type: str) -> bool:
    """Return whether resources of a type have a canonical URL of their own, by which R4 searches.

    A Subscription's `url` is that of its channel, and a Device's that of its identifiers.
    """
    known = parameters(resource_type).get("url")
    return known is not None and any(
        len(item.steps) == 1 and isinstance(item.steps[0], Field) and item.steps[0].name == "url"
        for item in known.paths
    )


def is_canonical(known: Parameter) -> bool:
    """Return whether values of a reference parameter may be canonical URLs."""
    return known.type == "reference" and not known.value_types.isdisjoint(_VALUES)
