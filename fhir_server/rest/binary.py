"""A Binary as the bytes that it holds: read and written under their own media type.

https://hl7.org/fhir/R4/binary.html#rest
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from fhir_server.model import codec
from fhir_server.model.outcome import NotAcceptable
from fhir_server.rest.media import JSON_TYPES, XML_TYPES, names_ours
from fhir_server.rest.response import Response, version_headers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.context import FhirRequest, FhirResult, Resource
    from fhir_server.rest.request import Query

BINARY: Final = "Binary"
_CONTEXT: Final = b"x-security-context"
_OF_RESOURCES: Final = frozenset({"_format", "_pretty", "_summary", "_elements"})
_OCTETS: Final = "application/octet-stream"
_MEDIA: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*").fullmatch
_REFERENCE: Final = re.compile(r"[A-Za-z0-9/.:_\-]{1,500}").fullmatch
# What somebody stored may be a page with scripts: here it is only a file.
_ONLY_A_FILE: Final = (
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"content-disposition", b"attachment"),
)


def is_read_raw(request: FhirRequest, query: Query, accept: str) -> bool:
    """Return whether a Binary is asked for as its bytes: by an Accept that names no type of FHIR.

    A range with a star names none; what chooses how or what of a resource is sent, does.
    """
    return (
        request.resource_type == BINARY
        and request.interaction in {"read", "vread"}
        and not names_ours(accept)
        and not any(name in _OF_RESOURCES for name, _ in query)
    )


def raw(result: FhirResult) -> Response:
    """Return the response of a Binary's bytes, under the media type that it says.

    Raises:
        NotAcceptable: Its data are no base64.
    """
    version = result.version
    headers = [] if version is None else version_headers(version)
    if result.status != 200:  # noqa: PLR2004 - 304: the client has it
        return Response(result.status, b"", headers)
    body = result.body if result.body is not None else version.body if version else b"{}"
    resource = codec.loads(body)
    media = resource.get("contentType", "")
    headers.append((b"content-type", (media if _MEDIA(media) else _OCTETS).encode("ascii")))
    context = resource.get("securityContext", {}).get("reference", "")
    if _REFERENCE(context):
        headers.append((_CONTEXT, context.encode("ascii")))
    try:
        data = base64.b64decode(resource.get("data", ""))
    except ValueError:
        raise NotAcceptable(
            "The data of this Binary are no bytes; read it as JSON or XML.",
            text_vi="Dữ liệu của Binary này không phải là các byte; hãy đọc dạng JSON hoặc XML.",
        ) from None
    return Response(200, data, [*headers, *_ONLY_A_FILE])


def is_sent_raw(request: FhirRequest, content_type: str) -> bool:
    """Return whether the body of a write is a Binary's bytes: of a type that is none of FHIR's."""
    media = content_type.partition(";")[0].strip().lower()
    return (
        request.resource_type == BINARY
        and request.interaction in {"create", "update"}
        and bool(media)
        and media not in JSON_TYPES | XML_TYPES
    )


def of_raw(
    request: FhirRequest, data: bytes, content_type: str, headers: Mapping[bytes, bytes]
) -> Resource:
    """Return the Binary of some bytes."""
    resource: Resource = {"resourceType": BINARY}
    if request.resource_id is not None:
        resource["id"] = request.resource_id
    resource["contentType"] = " ".join(content_type.split())
    context = headers.get(_CONTEXT, b"").decode("latin-1").strip()
    if context:
        resource["securityContext"] = {"reference": context}
    return resource | {"data": base64.b64encode(data).decode("ascii")}
