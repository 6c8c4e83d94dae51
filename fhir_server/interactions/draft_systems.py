"""The Ministry draft's identifier systems, taken on input and kept as the ones they mean.

Contract, section 7. Searches, unique keys and policies know both; what is stored, and so every
read, says ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fhir_server.model import codec
from fhir_server.model.identifiers import DRAFT, meanings

if TYPE_CHECKING:
    from fhir_server.interactions.context import Resource

_MARK: Final = DRAFT.encode()


def in_our_systems(made: Resource, body: bytes) -> tuple[Resource, bytes]:
    """Return a valid resource and its bytes with every identifier in a system of ours."""
    if _MARK not in body:
        return made, body
    meant: Resource = _meant(made)
    return meant, codec.dumps(meant)


def _meant(value: Any) -> Any:
    if isinstance(value, list):
        return [_meant(item) for item in value]
    if not isinstance(value, dict):
        return value
    said = {name: _meant(item) for name, item in value.items()}
    system = said.get("system")
    # A coding has a system too; the draft's name identifiers alone.
    if isinstance(system, str) and "code" not in said:
        said["system"] = meanings(system, str(said.get("value", "")))[0]
    return said
