"""Masks: what a policy shows of a resource without what it says, on every way out.

Contract, section 6: in a claim the social insurer sees amounts and rule results, and the codes
of HIV data masked.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from fhir_server.model import codec
from fhir_server.model.sensitivity import is_hiv

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, FhirResult, Resource

HIV: Final = "hiv"
"""The mask of HIV data: ICD-10 B20 to B24 and Z21, and resources labelled HIV."""

_LABELS: Final = frozenset({"HIV"})
_MASKED: Final = {
    "coding": [
        {
            "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
            "code": "masked",
            "display": "Masked",
        }
    ]
}
# What a claim is paid by stays readable: categories, kinds of adjudication, programmes.
_KEPT: Final = frozenset({
    "type", "category", "adjudication", "relationship", "payeeType", "fundsReserve", "class",
    "use", "status", "priority", "programCode", "modifier_amount",
})  # fmt: skip
_TEXTS: Final = frozenset({"text", "note", "description", "conclusion"})


def is_masked_code(masks: frozenset[str], code: str) -> bool:
    """Return whether a code is one that these masks hide, or the label of such data."""
    return HIV in masks and (code.upper() in _LABELS or is_hiv(code))


def redacted(ctx: Context, result: FhirResult) -> FhirResult:
    """Return the result as this caller may see it."""
    masks = ctx.policy.masks
    if HIV not in masks:
        return result
    if result.body is not None:
        return replace(result, body=_bytes(result.body))
    if result.resource is not None:
        return replace(result, resource=mask(result.resource))
    if result.version is not None and result.version.body:
        version = replace(result.version, body=_bytes(result.version.body))
        return replace(result, version=version)
    return result


def _bytes(body: bytes) -> bytes:
    return codec.dumps(mask(codec.loads(body)))


def mask(resource: Resource) -> Resource:
    """Return the resource, and those in its entries, with HIV codes masked."""
    if resource.get("resourceType") == "Bundle":
        entries = [
            entry | {"resource": mask(entry["resource"])} if "resource" in entry else entry
            for entry in resource.get("entry", ())
        ]
        return resource | {"entry": entries} if entries else resource
    whole = _is_labelled(resource)
    masked: Resource = {}
    found = whole
    for name, value in resource.items():
        kept = name in {"extension", *_KEPT}
        if name == "meta":
            masked[name] = _unlabelled(value)
            continue
        new, hit = _masked(value, whole=whole and not kept)
        masked[name] = new
        found = found or hit
    if found:
        # The narrative and the texts may say what the codes no longer do.
        masked = {name: value for name, value in masked.items() if name not in _TEXTS}
    return masked


def _is_labelled(resource: Resource) -> bool:
    labels = resource.get("meta", {}).get("security", ())
    return any(label.get("code") in _LABELS for label in labels)


def _unlabelled(meta: dict[str, Any]) -> dict[str, Any]:
    """Return the meta without the labels that would name what is masked."""
    labels = [one for one in meta.get("security", ()) if one.get("code") not in _LABELS]
    rest = {name: value for name, value in meta.items() if name != "security"}
    return rest | {"security": labels} if labels else rest


def _masked(value: Any, *, whole: bool) -> tuple[Any, bool]:
    """Return a value with its HIV codes (if `whole`, all its codes) masked, and if any was."""
    if isinstance(value, list):
        pairs = [_masked(item, whole=whole) for item in value]
        return [new for new, _ in pairs], any(hit for _, hit in pairs)
    if not isinstance(value, dict):
        return value, False
    if "resourceType" in value:
        return mask(value), False
    if isinstance(value.get("coding"), list):
        if whole or any(_is_hiv(coding) for coding in value["coding"]):
            return _MASKED, True
        return value, False
    if _is_hiv(value):
        return _MASKED["coding"][0], True
    return _members(value, whole=whole)


def _members(value: dict[str, Any], *, whole: bool) -> tuple[Any, bool]:
    masked: dict[str, Any] = {}
    found = False
    for name, member in value.items():
        new, hit = _masked(member, whole=whole and name not in _KEPT)
        masked[name] = new
        found = found or hit
    if found:
        masked = {name: member for name, member in masked.items() if name not in _TEXTS}
    return masked, found


def _is_hiv(coding: Any) -> bool:
    code = coding.get("code") if isinstance(coding, dict) else None
    return isinstance(code, str) and "system" in coding and is_hiv(code)
