"""What is indexed of versions that were kept elsewhere: made anew, as `reindex` makes it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from fhir_server.model import codec
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import R4, Known
from fhir_server.search.values import IndexValues
from fhir_server.store.bulk import Kept
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
