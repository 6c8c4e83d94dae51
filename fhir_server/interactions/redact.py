"""Masks: what a policy shows of a resource without what it says, on every way out.

Contract, section 6: a payer sees nothing of the record that a claim does not need; of HIV data it
sees amounts and rule results, the codes masked. The tables are `interactions.claim_needs`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fhir_server.interactions import claim_needs
from fhir_server.interactions.answer import made
from fhir_server.interactions.claim_needs import HIV, MASKED, PLAIN, RECORD
from fhir_server.interactions.dangling import pruned
from fhir_server.interactions.subset import referred
from fhir_server.model import codec
from fhir_server.model.sensitivity import LABEL, carries_hiv, is_labelled

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fhir_server.interactions.context import Context, FhirRequest, FhirResult, Resource
    from fhir_server.store.port import Name

ALL: Final = frozenset({HIV, RECORD})

_OLD: Final = frozenset({
    "vread", "history-instance", "history-type", "history-system", "transaction", "batch",
})  # fmt: skip
"""Interactions that may show versions from before a resource was labelled."""

_ABSENT: Final = {
    "system": "http://terminology.hl7.org/CodeSystem/data-absent-reason",
    "code": "masked",
    "display": "Masked",
}
_FREE: Final = frozenset({
    "display", "text", "div", "unit", "note", "comment", "title", "description", "contained",
    "modifierExtension",
})  # fmt: skip
"""Members, at any depth, in which anything may be written."""

_TEXT_ALONE: Final = frozenset({"text", "id", "extension"})
_WORDED: Final = frozenset({"name", "address", "contact"})
"""Members whose values may be a text alone, and no CodeableConcept."""
_KEY: Final = re.compile(r"[A-Za-z0-9./:+-]{1,32}").fullmatch
"""A code, a key or a time: `XML2/3`, `2026-11`, `G04`."""


async def redacted(ctx: Context, request: FhirRequest, result: FhirResult) -> FhirResult:
    """Return the result as this caller may see it."""
    masks = ctx.policy.masks
    version = result.version
    if result.body is not None:
        shown = codec.loads_stored(result.body)
    elif result.resource is not None:
        shown = result.resource
    elif version is not None and version.body:
        shown = codec.loads_stored(version.body)
    else:
        return result
    now = await _labelled_now(ctx, shown) if HIV in masks and request.interaction in _OLD else ()
    masked = await made(len(result.body or b""), lambda: mask(shown, masks, now))
    body = codec.dumps(await pruned(ctx, masked, _asked(request)))
    if result.body is None and version is not None and version.body:
        return replace(result, version=msgspec.structs.replace(version, body=body))
    return replace(result, body=body)


def _asked(request: FhirRequest) -> Resource:
    """Return what the caller said, which an operation may answer: it tells of nothing stored."""
    return (request.resource or {}) if request.interaction == "operation" else {}


async def _labelled_now(ctx: Context, shown: Resource) -> Collection[Name]:
    """Return which of the resources whose old versions are shown are HIV data by now."""
    names = sorted(set(_names_in(shown)))
    versions = await ctx.store.read_many(names)
    return {
        name
        for name, version in zip(names, versions, strict=True)
        if version is not None and version.body and is_labelled(codec.loads_stored(version.body))
    }


def _names_in(resource: Resource) -> Iterator[Name]:
    """Give the names of a resource, or of those in a Bundle and its Bundles."""
    if resource.get("resourceType") != "Bundle":
        yield _name_of(resource)
        return
    for entry in resource.get("entry", ()):
        if "resource" in entry:
            yield from _names_in(entry["resource"])


def _name_of(resource: Resource) -> Name:
    return str(resource.get("resourceType", "")), str(resource.get("id", ""))


def mask(
    resource: Resource, masks: frozenset[str] = ALL, labelled: Collection[Name] = ()
) -> Resource:
    """Return the resource, and those in its entries, without what these masks hide.

    Args:
        resource: A resource, or a Bundle of them.
        masks: What is hidden.
        labelled: Resources that are HIV data, whether the version at hand says so or not.
    """
    kind = resource.get("resourceType", "")
    if kind == "Bundle":
        entries = [
            entry | {"resource": mask(entry["resource"], masks, labelled)}
            if "resource" in entry
            else entry
            for entry in resource.get("entry", ())
        ]
        return resource | {"entry": entries} if entries else resource
    shown = _of_record(kind, resource) if RECORD in masks else resource
    if HIV in masks:
        is_hiv_data = is_labelled(resource) or _name_of(resource) in labelled
        if is_hiv_data or carries_hiv(resource):
            shown = _of_hiv(kind, shown)
        shown = _unlabelled(shown)
    return shown


# What a claim needs


def _of_record(kind: str, resource: Resource) -> Resource:
    """Return what a claim needs of a resource, and of those within it that this refers to."""
    shown = _needed(kind, resource)
    if "contained" in resource:
        shown.pop("contained", None)
        kinds = claim_needs.CONTAINED
        within = [
            _needed(one["resourceType"], one)
            for one in resource["contained"]
            if one.get("resourceType") in kinds
        ]
        _keep(shown, "contained", referred(shown, within))
    return shown


def _needed(kind: str, resource: Resource) -> Resource:
    needed = claim_needs.NEEDED.get(kind)
    if needed is None:
        dropped = claim_needs.NOT_NEEDED.get(kind, frozenset())
        return {name: value for name, value in resource.items() if _plain(name) not in dropped}
    shown = {
        name: value
        for name, value in resource.items()
        if name in {"resourceType", "id", "meta"} or _plain(name) in needed
    }
    if kind == "Encounter":
        _trim_visit(shown)
    if kind == "Patient":
        _trim_person(shown)
    return shown


def _plain(name: str) -> str:
    return name.removeprefix("_")


def _trim_visit(shown: Resource) -> None:
    """Keep of extensions and stay what the benefit depends on."""
    _keep(shown, "extension", [e for e in shown.get("extension", ()) if _is_needed_extension(e)])
    stay = {
        name: value
        for name, value in shown.get("hospitalization", {}).items()
        if name in claim_needs.NEEDED_STAY
    }
    _keep(shown, "hospitalization", stay)


def _is_needed_extension(one: dict[str, Any]) -> bool:
    return one.get("url") in claim_needs.NEEDED_EXTENSIONS


def _trim_person(shown: Resource) -> None:
    """Keep the person's papers and cards, and no tag that says how he is kept."""
    numbers = [
        one for one in shown.get("identifier", ()) if one.get("system") in claim_needs.PERSONS
    ]
    _keep(shown, "identifier", numbers)
    meta = dict(shown.get("meta", {}))
    tags = [one for one in meta.get("tag", ()) if one.get("code") == "SUBSETTED"]
    _keep(meta, "tag", tags)
    _keep(shown, "meta", meta)


def _keep(owner: dict[str, Any], name: str, value: Any) -> None:
    """Set a member, or take it away where nothing of it is left."""
    owner.pop(name, None)
    if value:
        owner[name] = value


# HIV data


def _of_hiv(kind: str, resource: Resource) -> Resource:
    table = claim_needs.OF_HIV.get(kind)
    head = {name: resource[name] for name in ("resourceType", "id", "meta") if name in resource}
    if table is None:
        rest = {name: value for name, value in resource.items() if name not in head}
        return head | _named_members(rest)
    return head | _shown(resource, table)


def _shown(value: dict[str, Any], table: claim_needs.Shown) -> dict[str, Any]:
    """Return the members that a table shows."""
    found: dict[str, Any] = {}
    for name, member in value.items():
        how = table.get(name)
        if how == MASKED:
            # A choice keeps one of its forms; a reference would say what the code does.
            found[name.replace("Reference", "CodeableConcept")] = {"coding": [_ABSENT]}
        elif how == PLAIN:
            _put(found, name, _extensions(member) if name == "extension" else _bare(member))
        elif isinstance(how, dict):
            parts = member if isinstance(member, list) else [member]
            kept = [_shown(part, how) for part in parts]
            found[name] = kept if isinstance(member, list) else kept[0]
    return found


def _extensions(some: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value if name == "url" else _said(value) for name, value in one.items()}
        for one in some
        if one.get("url") in claim_needs.AMOUNTS
    ]


def _said(value: Any) -> Any:
    """Return an extension's value, or its parts; of texts only what is as short as a key."""
    if isinstance(value, list):
        return [{name: _said(one) for name, one in part.items()} for part in value]
    return _bare(value) if not isinstance(value, str) or _KEY(value) else "masked"


def _bare(value: Any, *, is_concept: bool = True) -> Any:
    """Return a value without free text, and of its codes only those that say a kind.

    Args:
        value: An element, or several.
        is_concept: What has a text alone is a CodeableConcept.
    """
    if isinstance(value, list):
        bare = (_bare(item, is_concept=is_concept) for item in value)
        return [one for one in bare if one not in ({}, [])]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("coding"), list):
        codings = [_bare(one) for one in value["coding"] if _says_a_kind(one)]
        return {"coding": codings or [_ABSENT]}
    if "code" in value and "system" in value and "value" not in value:
        return _named_members(value) if _says_a_kind(value) else _ABSENT
    if "value" in value and "system" in value and not _is_key(value):
        return {}
    if is_concept and isinstance(value.get("text"), str) and value.keys() <= _TEXT_ALONE:
        return {"coding": [_ABSENT]}
    return _named_members(value)


def _named_members(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, member in value.items():
        if name == "extension":
            _put(found, name, _extensions(member))
        elif name not in _FREE and not name.startswith("_"):
            _put(found, name, _bare(member, is_concept=name not in _WORDED))
    return found


def _put(owner: dict[str, Any], name: str, value: Any) -> None:
    """Set a member unless nothing is left of it; false and zero are something."""
    if value not in ({}, []):
        owner[name] = value


def _says_a_kind(coding: dict[str, Any]) -> bool:
    system, code = coding.get("system"), coding.get("code")
    if not (isinstance(system, str) and isinstance(code, str)) or code.upper() == LABEL["code"]:
        return False
    return claim_needs.is_kept(system)


def _is_key(value: dict[str, Any]) -> bool:
    """Return whether a thing with system and value is an amount, or an identifier of ours."""
    return not isinstance(value["value"], str) or str(value["system"]).startswith(
        claim_needs.IDENTIFIERS
    )


def _unlabelled(resource: Resource) -> Resource:
    """Return the resource without the label that would name what is masked."""
    meta = resource.get("meta", {})
    if "security" not in meta:
        return resource
    labels = [one for one in meta["security"] if one.get("code") != LABEL["code"]]
    shown, rest = dict(resource), dict(meta)
    _keep(rest, "security", labels)
    _keep(shown, "meta", rest)
    return shown
