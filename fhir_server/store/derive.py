"""What is indexed of a version that was kept elsewhere: made anew, as `reindex` makes it."""

from __future__ import annotations

import msgspec

from fhir_server.model import codec
from fhir_server.search.extract import index_values
from fhir_server.search.values import IndexValues
from fhir_server.store.bulk import Kept
from fhir_server.store.port import Write


def derived(kept: Kept, base_url: str) -> Write:
    """Return the write of a version: with index values where it is indexed.

    Its compartments are those that it was kept with.

    Args:
        kept: The version.
        base_url: The FHIR base by which absolute references are local ones.
    """
    version = kept.version
    index = IndexValues(patients=version.patients)
    if kept.is_indexed:
        made = index_values(codec.loads_stored(version.body), base_url=base_url)
        same = made.patients == version.patients
        index = made if same else msgspec.structs.replace(made, patients=version.patients)
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
