"""The patch that is asked for, and what it makes of what the caller sees of a resource."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Final

from fhir_server.interactions import refusals
from fhir_server.interactions.elsewhere import as_seen
from fhir_server.interactions.redact import mask
from fhir_server.model import codec
from fhir_server.model.comments import without
from fhir_server.model.outcome import Malformed
from fhir_server.model.patch import document, narrative

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, FhirRequest, Resource
    from fhir_server.model.comments import Comments
    from fhir_server.model.patch.document import Patch
    from fhir_server.model.patch.refusal import Allowance
    from fhir_server.store.port import Version


_WHOLE: Final = 5_000_000
"""Bytes of a resource which take as long to be read and checked as the most that a patch may do."""

_COMMENTED: Final = 3
"""As many times as long takes one with comments: it is made XML before and after the patch."""


def patch_of(request: FhirRequest, allowance: Allowance | None = None) -> Patch:
    """Return the patch that a request brings: as its body, or as the resource of a Bundle's entry.

    An entry's resource is Parameters, or a Binary with the bytes and media type of any patch:
    https://hl7.org/fhir/R4/http.html#patch.

    Raises:
        UnsupportedMediaType: No patch is of this media type.
        Malformed: It is no patch.
        Invalid: It has too many operations, or the patches of the request took too much work.
    """
    patch = _read(request)
    if allowance is not None:
        allowance.take(patch.cost)
    return patch


def _read(request: FhirRequest) -> Patch:
    resource = request.resource
    if resource is None and request.raw:
        return document.read(request.raw, request.content_type)
    kind = (resource or {}).get("resourceType")
    if resource is not None and kind == "Parameters":
        return document.of_parameters(resource)
    if resource is None or kind != "Binary":
        raise Malformed(
            "What is patched is said by a Parameters, or by a Binary that holds a patch.",
            text_vi="Bản vá phải là một Parameters, hoặc một Binary chứa bản vá.",
        )
    return document.read(_data(resource), _text(resource, "contentType"))


def _data(binary: Resource) -> bytes:
    # White space between the characters is legal: https://hl7.org/fhir/R4/datatypes.html#base64Binary
    text = "".join(_text(binary, "data").split())
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Malformed(
            "The Binary's data must be base64.",
            text_vi="data của Binary phải là base64.",
            expression=["Binary.data"],
        ) from None


def _text(binary: Resource, name: str) -> str:
    value = binary.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(
            f"The Binary that holds a patch must have {name}.",
            text_vi=f"Binary chứa bản vá phải có {name}.",
            expression=[f"Binary.{name}"],
        )
    return value


def sees_comments(ctx: Context, current: Version) -> bool:
    """Return whether the caller sees a version whole, and so its comments (`comments`)."""
    if ctx.policy.masks:
        return False
    return not ctx.policy.facility or codec.dumps(_seen(ctx, current)) == current.body


def patched(
    ctx: Context, current: Version, patch: Patch, comments: Comments | None
) -> tuple[Resource, Comments | None]:
    """Return what a patch makes of the current version, which is shown to the caller.

    The patch sees what the caller sees: no `test` and no condition tells of the rest, which stays
    as it is (`elsewhere.left_as_it_was`).

    Args:
        ctx: Who asks.
        current: The version.
        patch: The patch.
        comments: Those of the version; None: the caller sees none.

    Returns:
        The resource, and the comments that an XML Patch leaves it with; None where the patch says
        nothing of any.

    Raises:
        Forbidden: Something of it is masked: a patch of the rest would take it away.
        Invalid: The patch cannot be applied, or those of the request take too much work.
    """
    size = len(current.body)
    if comments:
        size = _COMMENTED * (size + len(codec.dumps(comments)))
    ctx.patching.take(size / _WHOLE)
    before = _seen(ctx, current)
    masks = ctx.policy.masks
    if masks and mask(before, masks) != before:
        raise refusals.not_changeable(f"{current.resource_type}/{current.resource_id}")
    made, said = document.applied_commented(patch, _seen(ctx, current), comments, ctx.patching)
    safe = narrative.safe(before, made)
    if said and "text" in made and "text" not in safe:
        said = without(said, f"{made['resourceType']}[0]", "text[0]")
    return safe, said


def _seen(ctx: Context, current: Version) -> Resource:
    stored: Resource = codec.loads_stored(current.body)
    return as_seen(stored, ctx.policy.facility) if ctx.policy.facility else stored
