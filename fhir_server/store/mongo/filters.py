"""Filters of the database, and what two of them say together.

A filter is a document as `find` takes it; EVERYTHING matches all, NOTHING (None) matches none.
Keys are asked as `{"x": {"$in": [...]}}`, so that `either` can unite and `hide` can find them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fhir_server.store.mongo.schema import Document

Filter = Document | None

EVERYTHING: Final[Document] = {}
NOTHING: Final = None

ALIVE: Final[Document] = {"D": {"$ne": True}}
"""Not deleted: to be said where the index also has what is."""

_HELD_AGAINST: Final = 10
"""Of thousands of filters, none is compared with all the others."""


def keyed(keys: Iterable[int]) -> Filter:
    """Return what has one of these keys."""
    asked = list(dict.fromkeys(keys))
    return {"x": {"$in": asked}} if asked else NOTHING


def every(filters: Iterable[Filter]) -> Filter:
    """Return what all of these match."""
    parts: list[Document] = []
    for one in filters:
        if one is None:
            return NOTHING
        if one and one not in parts[:_HELD_AGAINST]:
            parts.append(one)
    if len(parts) <= 1:
        return parts[0] if parts else EVERYTHING
    return {"$and": parts}


def either(filters: Iterable[Filter]) -> Filter:
    """Return what any of these matches."""
    keys: list[int] = []
    parts: list[Document] = []
    for one in filters:
        if one is None:
            continue
        if not one:
            return EVERYTHING
        if (asked := keys_of(one)) is not None:
            keys += asked
        else:
            parts.append(one)
    if keys:
        parts.append({"x": {"$in": list(dict.fromkeys(keys))}})
    if len(parts) <= 1:
        return parts[0] if parts else NOTHING
    return {"$or": parts}


def neither(one: Filter) -> Filter:
    """Return what a filter does not match."""
    if one is None:
        return EVERYTHING
    return {"$nor": [one]} if one else NOTHING


def keys_of(one: Document) -> list[int] | None:
    """Return the keys of which a filter asks for one, or None where it is another filter."""
    if len(one) != 1 or "x" not in one:
        return None
    keys: list[int] = one["x"]["$in"]
    return keys


def hide(one: Document) -> Document:
    """Return a filter that no index of keys can serve: another one has been chosen for it."""
    keys = keys_of(one)
    if keys is not None:
        # Twice negated it is no range of an index (seen in plans of 6.0), and as quick as once.
        return {"$nor": [{"x": {"$nin": keys}}]}
    if len(one) == 1:
        ((name, parts),) = one.items()
        if name in {"$and", "$or", "$nor"}:
            return {name: [hide(part) for part in parts]}
    return one
