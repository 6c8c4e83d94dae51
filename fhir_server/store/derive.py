"""What is indexed of versions that were kept elsewhere: made anew, as `reindex` makes it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from fhir_server.model import codec
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import R4, Known
from fhir_server.search.values import IndexValues
from fhir_server.search.words import spoken
from fhir_server.store.bulk import Kept
from fhir_server.store.fact import Fact
from fhir_server.store.port import Write


def index_of(kept: Kept, base_url: str, known: Known = R4) -> IndexValues:
    """Return the index values of a version: of one that is not indexed, its compartments alone.

    They are those that it was kept with.

    Args:
        kept: The version.
        base_url: The FHIR base by which absolute references are local ones.
        known: The search parameters of the store that it is of.
    """
    version = kept.version
    if not kept.is_indexed:
        return IndexValues(patients=version.patients)
    made = index_values(codec.loads_stored(version.body), base_url=base_url, known=known)
    if made.patients == version.patients:
        return made
    return msgspec.structs.replace(made, patients=version.patients)


LOOKED_AT: Final = 5
"""Of each type so many resources, the oldest, tell the doctor whether words are indexed."""


def is_unsaid(body: bytes, said: Collection[str]) -> bool:
    """Return whether a resource says texts that are not among those which are indexed of it."""
    return any(one.text not in said for one in spoken(codec.loads_stored(body)))


def words_fact(lacking: Sequence[str]) -> Fact:
    """Return what the doctor says of the types of which some resource lacks its words."""
    return _indexed(
        "words",
        lacking,
        "what resources say is indexed",
        "stored before _content found all that it does",
    )


def units_fact(lacking: Sequence[str]) -> Fact:
    """Return what the doctor says of types whose quantities or composites are not indexed so."""
    return _indexed(
        "units",
        lacking,
        "quantities and composites are indexed by their units and parts",
        "stored before units and parts of composites had indexes",
    )


def _indexed(name: str, lacking: Sequence[str], well: str, since: str) -> Fact:
    if not lacking:
        return Fact(name, well=True, text=well)
    types = ", ".join(sorted(lacking)[:LOOKED_AT]) + (" …" if len(lacking) > LOOKED_AT else "")
    text = f"{since}: {types}; fhir-server reindex makes them found by it"
    return Fact(name, well=False, text=text)


def indexes_of(items: Sequence[Kept], base_url: str, known: Known = R4) -> list[IndexValues]:
    """Return the index values of each version."""
    return [index_of(one, base_url, known) for one in items]


def write_of(kept: Kept, index: IndexValues) -> Write:
    """Return the write that made a version, or would have."""
    version = kept.version
    return Write(
        version.resource_type,
        version.resource_id,
        version.version_id,
        version.last_updated,
        version.body,
        version.method,
        index,
        frozenset(kept.tags),
    )
