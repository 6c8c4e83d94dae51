"""The rules of a Bundle as a whole: bdl-1 to bdl-4, bdl-7, bdl-9 to bdl-12.

https://hl7.org/fhir/R4/bundle.html#invs
"""

from __future__ import annotations

from typing import Any, Final

_COUNTED: Final = frozenset({"searchset", "history"})
_ASKED: Final = frozenset({"batch", "transaction", "history"})
_ANSWERED: Final = frozenset({"batch-response", "transaction-response", "history"})


def rules(bundle: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rules that a Bundle breaks: key, and where below `Bundle` ("" is the whole)."""
    type_ = bundle.get("type")
    if not isinstance(type_, str):
        return []  # its absence or form has its own issue
    entry = bundle.get("entry")
    entries = [one if isinstance(one, dict) else {} for one in _listed(entry)]
    broken: list[tuple[str, str]] = []
    if "total" in bundle and type_ not in _COUNTED:
        broken.append(("bdl-1", "total"))
    for index, one in enumerate(entries):
        place = f"entry[{index}]"
        if "search" in one and type_ != "searchset":
            broken.append(("bdl-2", f"{place}.search"))
        if ("request" in one) != (type_ in _ASKED):
            broken.append(("bdl-3", place))
        if ("response" in one) != (type_ in _ANSWERED):
            broken.append(("bdl-4", place))
    if type_ != "history":
        broken.extend(_repeated(entries))
    if type_ == "document":
        broken.extend(_document(bundle, entries))
    if type_ == "message" and _type_of(entries) != "MessageHeader":
        broken.append(("bdl-12", "entry"))
    return broken


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _repeated(entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return bdl-7 for each entry whose fullUrl and version an earlier one has."""
    seen: set[str] = set()
    broken = []
    for index, one in enumerate(entries):
        full_url = one.get("fullUrl")
        if not isinstance(full_url, str):
            continue
        resource = one.get("resource")
        meta = resource.get("meta") if isinstance(resource, dict) else None
        version = meta.get("versionId", "") if isinstance(meta, dict) else ""
        key = f"{full_url} {version}"
        if key in seen:
            broken.append(("bdl-7", f"entry[{index}].fullUrl"))
        seen.add(key)
    return broken


def _document(bundle: dict[str, Any], entries: list[dict[str, Any]]) -> list[tuple[str, str]]:
    broken = []
    identifier = bundle.get("identifier")
    if not isinstance(identifier, dict) or not {"system", "value"} <= identifier.keys():
        broken.append(("bdl-9", "identifier"))
    if "timestamp" not in bundle:
        broken.append(("bdl-10", "timestamp"))
    if _type_of(entries) != "Composition":
        broken.append(("bdl-11", "entry"))
    return broken


def _type_of(entries: list[dict[str, Any]]) -> Any:
    resource = entries[0].get("resource") if entries else None
    return resource.get("resourceType") if isinstance(resource, dict) else None
