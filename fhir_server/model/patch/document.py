"""Which patch a body is, by its media type, and what it makes of a resource.

https://hl7.org/fhir/R4/http.html#patch
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from fhir_server.model import codec
from fhir_server.model.outcome import Invalid, Issue, Malformed, UnsupportedMediaType
from fhir_server.model.patch import fhirpath_patch, json_patch, merge_patch, xml_patch
from fhir_server.model.patch.refusal import Allowance, malformed

if TYPE_CHECKING:
    from fhir_server.model.comments import Comments

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
XML_PATCH: Final = "application/xml-patch+xml"

FORMATS: Final = (
    "application/fhir+json",
    "application/fhir+xml",
    JSON_PATCH,
    MERGE_PATCH,
    XML_PATCH,
)
"""Media types of patches: `CapabilityStatement.patchFormat`."""

ACCEPT_PATCH: Final = ", ".join((*FORMATS, "application/json"))
"""The value of the header in RFC 5789, section 3.1."""

_PLAIN_JSON: Final = frozenset({"application/json", "text/json"})
_XML: Final = frozenset({"application/fhir+xml", "application/xml", "text/xml"})
_ONLY: Final = {
    "charset": frozenset({"utf-8", "utf8"}),
    "fhirversion": frozenset({"4.0", "4.0.1"}),
}
_BOM: Final = b"\xef\xbb\xbf"


class Patch(Protocol):
    """What is to be done with a resource."""

    @property
    def cost(self) -> float:
        """What it took to be read; 1 is the most that one patch may."""

    def apply(self, resource: Any, allowance: Allowance | None = None, /) -> Any:
        """Return the resource patched; the one that was given may be changed.

        Args:
            resource: The resource.
            allowance: What it may cost together with others; None: it is alone.

        Raises:
            Invalid: It cannot be done.
        """


def read(data: bytes, content_type: str) -> Patch:
    """Return the patch that a body is.

    `application/json` may be a JSON Patch (an array), a FHIRPath Patch (Parameters) or a merge
    patch (another object), which is how the client fhirpy saves.

    Raises:
        UnsupportedMediaType: No patch is of this media type; the refusal has Accept-Patch.
        Malformed: The body is no patch of this media type.
        Invalid: It has too many operations.
    """
    media = _media(content_type)
    data = data.removeprefix(_BOM)
    if media == XML_PATCH:
        return xml_patch.parse(data)
    if media in _XML:
        return of_parameters(codec.from_xml(data))
    if media == "application/fhir+json":
        return of_parameters(codec.parse_resource(data))
    if media not in {JSON_PATCH, MERGE_PATCH, *_PLAIN_JSON}:
        raise _unsupported()
    value = codec.loads(data)
    if media == JSON_PATCH or (media in _PLAIN_JSON and isinstance(value, list)):
        return json_patch.parse(value)
    is_parameters = isinstance(value, dict) and value.get("resourceType") == "Parameters"
    if media in _PLAIN_JSON and is_parameters:
        return of_parameters(value)
    return merge_patch.parse(value)


def of_parameters(resource: dict[str, Any]) -> Patch:
    """Return the FHIRPath Patch that a resource is.

    Raises:
        Malformed: It is none.
        Invalid: It has too many operations.
    """
    if resource.get("resourceType") != "Parameters":
        raise malformed(
            "A patch of this media type is a Parameters resource (FHIRPath Patch).",
            "Bản vá kiểu này phải là một tài nguyên Parameters (FHIRPath Patch).",
        )
    return fhirpath_patch.parse(resource)


def applied(
    patch: Patch, resource: dict[str, Any], allowance: Allowance | None = None
) -> dict[str, Any]:
    """Return what a patch makes of a resource of which no comments are known.

    Raises:
        Invalid: As `applied_commented`.
    """
    return applied_commented(patch, resource, None, allowance)[0]


def applied_commented(
    patch: Patch,
    resource: dict[str, Any],
    comments: Comments | None,
    allowance: Allowance | None = None,
) -> tuple[dict[str, Any], Comments | None]:
    """Return what a patch makes of a resource, read again as the body of an update would be.

    With it come the comments that an XML Patch makes of those that there are; None where they are
    not known, and of every other patch: it says nothing of them.

    Args:
        patch: The patch.
        resource: What it is applied to; it may be changed.
        comments: Those of the resource; None where they are not known.
        allowance: What the patches of one request may still cost together.

    Raises:
        Invalid: The patch cannot be applied, or what comes out is no resource of the same type
            and id.
    """
    kind, identity = resource.get("resourceType"), resource.get("id")
    said: Comments | None = None
    try:
        if comments is not None and isinstance(patch, xml_patch.XmlPatch):
            raw, said = patch.apply_commented(resource, comments, allowance)
        else:
            raw = patch.apply(resource, allowance)
        made = codec.as_resource(codec.loads(codec.dumps(raw)))
    except RecursionError:
        raise _deep() from None
    except Malformed as refusal:
        # The patch could be read; what it makes is none of FHIR's resources.
        raise Invalid(refusal.issues) from None
    if made["resourceType"] != kind or made.get("id") != identity:
        raise Invalid([
            Issue(
                "value",
                "A patch leaves the resource's type and id as they are.",
                expression=(f"{kind}.id",),
                text_vi="Bản vá không được đổi loại và id của tài nguyên.",
            )
        ])
    return made, said


def _media(content_type: str) -> str:
    """Return the media type, in small letters.

    Raises:
        UnsupportedMediaType: It says a charset or a version of FHIR that is not ours.
    """
    media, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if value.strip('" ') not in _ONLY.get(name.strip(), {value.strip('" ')}):
            raise _unsupported()
    return media


def _unsupported() -> UnsupportedMediaType:
    return UnsupportedMediaType(
        f"A patch in UTF-8 and one of these media types is taken: {ACCEPT_PATCH}.",
        text_vi=f"Bản vá phải ở dạng UTF-8 và thuộc một trong các kiểu: {ACCEPT_PATCH}.",
        headers={"Accept-Patch": ACCEPT_PATCH},
    )


def _deep() -> Invalid:
    return Invalid([
        Issue(
            "structure",
            "What the patch makes is nested too deeply.",
            text_vi="Kết quả của bản vá lồng nhau quá sâu.",
        )
    ])
