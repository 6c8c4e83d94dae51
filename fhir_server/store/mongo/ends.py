"""Where the ends of ordered values stand: of a sort key the fields that give its order.

Of dates, numbers, quantities and strings the least is `o.a<path>`, and the greatest, where it is
another, `o.d<path>`. Of tokens (their codes), references (`Type/id`, else the URL) and URIs these
are `o.b<path>` and `o.e<path>`. A parameter whose ends are those of a narrower one (`subject` and
`patient`) has none of its own.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fhir_server.model import definitions
from fhir_server.search.expression import Sort
from fhir_server.store.keys import NARROWER
from fhir_server.store.mongo import keys
from fhir_server.store.mongo.schema import Document

ORDERED: Final = frozenset({"date", "number", "quantity", "string"})
"""Kinds of values whose ends every store has."""
CODED: Final = frozenset({"reference", "token", "uri"})
"""Kinds of values whose ends resources lack that an older server stored (`schema.unordered`)."""

LEAST, GREATEST = "b", "e"
"""What the fields of codes, references and URIs begin with."""

Column = tuple[str, Document]
"""A field that gives the order of some resources, and what these are asked, too."""


@lru_cache(maxsize=4_096)
def lent_by(kind: str, param: str) -> str:
    """Return the narrower parameter in whose ends those of one stand where they are the same.

    "" is none. One of the store's own is no narrower one, whatever its name.
    """
    narrower = NARROWER.get(param, ())
    known = definitions.search_parameters(kind)
    if len(narrower) == 1 and param in known and narrower[0] in known:
        return narrower[0]
    return ""


@lru_cache(maxsize=16_384)
def code_fields(kind: str, param: str) -> tuple[str, str, str]:
    """Return under which names in `o` the least and the greatest code stand, and who lends both."""
    path = keys.path(kind, param)
    return LEAST + path, GREATEST + path, lent_by(kind, param)


def columns(kind: str, sort: Sort) -> list[Column]:
    """Return the fields that give the order; each resource that has a value is under one."""
    least, greatest = _fields(kind, sort)
    found = _columns(least, greatest, descending=sort.descending)
    if sort.kind in CODED and (narrower := lent_by(kind, sort.param)):
        own = {least: {"$exists": False}}
        lent = _fields(kind, Sort(narrower, sort.kind))
        found += [
            (field, {**own, **also}) for field, also in _columns(*lent, descending=sort.descending)
        ]
    return found


def absent(kind: str, sort: Sort) -> Document:
    """Return what resources are asked that have no value of a key."""
    found: Document = {_fields(kind, sort)[0]: {"$exists": False}}
    if sort.kind in CODED and (narrower := lent_by(kind, sort.param)):
        found[_fields(kind, Sort(narrower, sort.kind))[0]] = {"$exists": False}
    return found


def _fields(kind: str, sort: Sort) -> tuple[str, str]:
    if sort.kind in CODED:
        least, greatest, _ = code_fields(kind, sort.param)
        return "o." + least, "o." + greatest
    path = keys.path(kind, sort.param)
    return "o.a" + path, "o.d" + path


def _columns(least: str, greatest: str, *, descending: bool) -> list[Column]:
    if not descending:
        return [(least, {})]
    return [(greatest, {}), (least, {greatest: {"$exists": False}})]
