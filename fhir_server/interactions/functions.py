"""FUNCTIONS: what runs for each interaction, but for Bundles, whose entries run these."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.capabilities import capabilities
from fhir_server.interactions.create import create
from fhir_server.interactions.delete import delete
from fhir_server.interactions.history import history_instance, history_system, history_type
from fhir_server.interactions.operation import operation
from fhir_server.interactions.patch import patch
from fhir_server.interactions.read import read
from fhir_server.interactions.search import search_system, search_type
from fhir_server.interactions.update import update
from fhir_server.interactions.vread import vread

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.context import Interaction

FUNCTIONS: Final[Mapping[str, Interaction]] = MappingProxyType({
    "read": read,
    "vread": vread,
    "history-instance": history_instance,
    "history-type": history_type,
    "history-system": history_system,
    "search-type": search_type,
    "search-system": search_system,
    "create": create,
    "update": update,
    "patch": patch,
    "delete": delete,
    "operation": operation,
    "capabilities": capabilities,
})
