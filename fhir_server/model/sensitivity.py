"""The label of HIV data: which content must carry it, and the resource with it.

Luật 64/2006/QH11 (điều 30) and contract section 6: ICD-10 B20 to B24 and Z21. The server labels
what it stores, so that no writer can leave the label out.
https://hl7.org/fhir/R4/security-labels.html
"""

from __future__ import annotations

import re
from typing import Any, Final

LABEL: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode",
    "code": "HIV",
    "display": "HIV/AIDS information sensitivity",
}
"""The coding of `meta.security`, https://terminology.hl7.org/CodeSystem-v3-ActCode.html."""

_CODE: Final = re.compile(r"(?:B2[0-4]|Z21)(?:\.?[0-9A-Z]*)?[*+†]?", re.IGNORECASE).fullmatch
# HL7's, the national and local ones, and the OIDs of ICD-10 and ICD-10-CM.
_ICD10: Final = re.compile(
    r"icd[-_.]?10|urn:oid:2\.16\.840\.1\.113883\.6\.(?:3|4|90)(?:\.|$)", re.IGNORECASE
).search
# ICD-10-PCS names procedures: its B20 is an X-ray of the heart.
_PROCEDURES: Final = re.compile(r"pcs|cms\.gov", re.IGNORECASE).search
_MAY_CARRY: Final = re.compile(rb'"(?:B2[0-4]|Z21)', re.IGNORECASE).search


def is_hiv(code: str) -> bool:
    """Return whether an ICD-10 code is one of HIV: B20 to B24, Z21, with or without more digits."""
    return _CODE(code.strip()) is not None


def may_carry_hiv(body: bytes) -> bool:
    """Return whether canonical JSON may have such a code; most have none, and are not walked."""
    return _MAY_CARRY(body) is not None


def carries_hiv(resource: dict[str, Any]) -> bool:
    """Return whether any ICD-10 coding in a resource, contained ones included, is one of HIV."""
    waiting: list[Any] = [resource]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting.extend(node)
        elif isinstance(node, dict):
            if _is_coding_of_hiv(node):
                return True
            coding = node.get("coding")
            if isinstance(coding, list) and any(map(_is_bare_hiv, coding)):
                return True
            waiting.extend(node.values())
    return False


def _is_coding_of_hiv(node: dict[str, Any]) -> bool:
    code, system = node.get("code"), node.get("system")
    if not (isinstance(code, str) and isinstance(system, str)):
        return False
    return is_hiv(code) and bool(_ICD10(system)) and not _PROCEDURES(system)


def _is_bare_hiv(coding: Any) -> bool:
    """Return whether a coding has such a code and does not say of which system it is."""
    if not isinstance(coding, dict) or "system" in coding:
        return False
    code = coding.get("code")
    return isinstance(code, str) and is_hiv(code)


def is_labelled(resource: dict[str, Any]) -> bool:
    """Return whether a resource has the label of HIV data."""
    meta = resource.get("meta")
    labels = meta.get("security") if isinstance(meta, dict) else None
    return isinstance(labels, list) and any(
        isinstance(one, dict)
        and one.get("system") == LABEL["system"]
        and one.get("code") == LABEL["code"]
        for one in labels
    )


def labelled(resource: dict[str, Any]) -> dict[str, Any]:
    """Return the resource with the label, behind those that it has."""
    if is_labelled(resource):
        return resource
    meta = resource.get("meta", {})
    labels = meta.get("security", []) if isinstance(meta, dict) else None
    if not isinstance(labels, list):
        return resource  # it is not valid, and is not stored
    return resource | {"meta": meta | {"security": [*labels, dict(LABEL)]}}
