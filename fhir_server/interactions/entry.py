"""The entries of a transaction or batch, read: each is a request as HTTP would bring it.

https://hl7.org/fhir/R4/http.html#transaction
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import parse_qsl

from fhir_server.interactions.asked import Ask, Method, ask_of, at
from fhir_server.interactions.context import FhirRequest, Resource
from fhir_server.interactions.table import locate, require_id_form
from fhir_server.model import reference
from fhir_server.model.comments import Comments, inside
from fhir_server.model.outcome import (
    InvalidValue,
    Malformed,
    MissingRequired,
    UnknownResource,
    UnsupportedMethod,
)
from fhir_server.model.primitives import date_range

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_server.model.patch.refusal import Allowance

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
_WRITES: Final[dict[str, Method]] = {
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
# The order of http.html#trules; GET and HEAD come last.
_ORDER: Final = {"delete": 0, "create": 1, "update": 2, "patch": 2}
READS: Final = 3
"""When entries are done that change nothing."""
_ETAG: Final = re.compile(r'(?:W/)?"?([0-9]{1,18})"?').fullmatch
MOST_ENTRIES: Final = 50_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: where it stands, and what it asks for."""

    number: int
    request: FhirRequest
    full_url: str = ""

    @property
    def place(self) -> str:
        """FHIRPath of the entry."""
        return place_of(self.number)

    def commented(self, comments: Comments | None) -> Entry:
        """Return it with those of the comments of its Bundle that are its resource's."""
        if comments is None:
            return self
        own = inside(comments, "Bundle[0]", f"entry[{self.number}]", "resource[0]")
        return replace(self, request=replace(self.request, comments=own))

    @property
    def order(self) -> int:
        """When it is done in a transaction."""
        return _ORDER.get(self.request.interaction, READS)


def place_of(number: int) -> str:
    """Return the FHIRPath of an entry."""
    return f"Bundle.entry[{number}]"


def entries_of(bundle: Resource) -> list[dict[str, Any]]:
    """Return the entries of a Bundle that is asked to be done.

    Raises:
        Malformed: It is no Bundle of entries.
    """
    if bundle.get("resourceType") != "Bundle":
        raise Malformed("The body must be a Bundle.", expression=["resourceType"])
    if bundle.get("type") not in {"transaction", "batch"}:
        raise Malformed(
            "The Bundle's type must be transaction or batch.", expression=["Bundle.type"]
        )
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise Malformed("The Bundle's entries must be objects.", expression=["Bundle.entry"])
    if len(entries) > MOST_ENTRIES:
        raise InvalidValue(f"A Bundle may have at most {MOST_ENTRIES} entries.")
    return entries


def only_reads(request: FhirRequest) -> bool:
    """Return whether no entry of a Bundle that is asked to be done, read or not, can write."""
    entries = (request.resource or {}).get("entry", [])
    return isinstance(entries, list) and all(map(_is_read, entries))


def _is_read(entry: object) -> bool:
    asked = entry.get("request") if isinstance(entry, dict) else None
    if not isinstance(asked, dict):
        return False
    url = str(asked.get("url", "")).partition("?")[0]
    return asked.get("method") in {"GET", "HEAD"} or url.endswith("/_search")


def read_entry(
    entry: dict[str, Any],
    number: int,
    base_url: str,
    handling: Literal["strict", "lenient"] = "lenient",
) -> Entry:
    """Return what one entry asks for.

    Args:
        entry: The entry.
        number: Where it stands, from 0.
        base_url: The FHIR base.
        handling: What the Bundle's request prefers: it is meant of every entry.

    Raises:
        FhirError: The entry cannot be read; the issue names it.
    """
    with at(place_of(number)):
        full_url = entry.get("fullUrl", "")
        if not isinstance(full_url, str):
            raise Malformed("The fullUrl must be a text.")
        request = _request(entry, base_url, handling)
        if request.interaction == "update":
            _require_agreeing(full_url, request.resource or {}, base_url)
        return Entry(number, request, full_url)


def _require_agreeing(full_url: str, resource: Resource, base_url: str) -> None:
    """Refuse a fullUrl of this server that is another resource's, or a version's.

    R4, bundle-definitions.html#Bundle.entry.fullUrl: “The fullUrl SHALL NOT disagree with the id
    in the resource - i.e. if the fullUrl is not a urn:uuid, the URL shall be version-independent
    URL consistent with the Resource.id.” A URL of another server is taken: there the resource may
    have had another id, and what clients send is so (a good Bundle of the test data is). The id of
    what is to be created is ignored (http.html#create).
    """
    named = reference.parse(full_url, base_url)
    if named.kind != "local" or "id" not in resource:
        return
    own = (resource.get("resourceType"), resource["id"])
    if (named.resource_type, named.resource_id) != own or named.version is not None:
        raise InvalidValue(
            "The fullUrl does not agree with the type and id of the resource.",
            text_vi="fullUrl không khớp với loại và id của tài nguyên.",
        )


def ask_in(
    entry: Entry, new_id: Callable[[], str], patching: Allowance | None = None
) -> Ask | None:
    """Return the write that an entry asks for; None where it only reads.

    Raises:
        FhirError: What it asks for cannot be; the issue names the entry.
    """
    method = _WRITES.get(entry.request.interaction)
    if method is None:
        return None
    with at(entry.place):
        return ask_of(
            entry.request, method, new_id,
            place=entry.place, full_url=entry.full_url, patching=patching,
        )  # fmt: skip


def _request(
    entry: dict[str, Any], base_url: str, handling: Literal["strict", "lenient"]
) -> FhirRequest:
    asked = entry.get("request")
    if not isinstance(asked, dict):
        raise MissingRequired("The entry must have a request.")
    method, url = asked.get("method"), asked.get("url")
    if method not in _METHODS:
        raise InvalidValue("The request's method must be one of HTTP's that FHIR uses.")
    if not isinstance(url, str):
        raise MissingRequired("The request must have a url.")
    path, _, query = url.removeprefix(base_url).partition("?")
    path = path.strip("/")  # as over HTTP: http.html#delete itself writes [type]/?[criteria]
    place = locate(path)
    if place is None:
        if method == "PUT":
            require_id_form(path)
        raise UnknownResource(
            "The request's url names nothing that this server has.",
            text_vi="URL của yêu cầu không chỉ đến thứ gì trên máy chủ này.",
        )
    interaction = place.methods.get("GET" if method == "HEAD" else method)
    if interaction is None:
        raise UnsupportedMethod(
            f"The request's url does not know {method}.",
            text_vi=f"URL của yêu cầu không nhận phương thức {method}.",
        )
    if interaction == "transaction":
        raise InvalidValue(
            "A Bundle's entry may not be a Bundle to be done.",
            text_vi="Một mục của Bundle không được là một Bundle phải thực hiện.",
        )
    if interaction.startswith("job-"):
        raise InvalidValue(
            "An asynchronous request is asked after by itself, not in a Bundle.",
            text_vi="Trạng thái yêu cầu bất đồng bộ phải được hỏi riêng, không nằm trong Bundle.",
        )
    resource = entry.get("resource")
    if resource is not None and not (
        isinstance(resource, dict) and isinstance(resource.get("resourceType"), str)
    ):
        raise Malformed("The entry's resource must be a resource.")
    return FhirRequest(
        interaction,
        resource_type=place.resource_type,
        resource_id=place.resource_id,
        version_id=place.version_id,
        operation=place.operation,
        compartment=place.compartment,
        query=tuple(parse_qsl(query, keep_blank_values=True)),
        resource=resource,
        if_match=_if_match(asked),
        if_none_match=_if_none_match(asked),
        if_modified_since=_since(asked),
        if_none_exist=_if_none_exist(asked),
        handling=handling,
        method=method,
        url=url,
    )


def _text(asked: dict[str, Any], name: str) -> str | None:
    value = asked.get(name)
    if value is not None and not isinstance(value, str):
        raise Malformed(f"The request's {name} must be a text.")
    return value


def _if_none_exist(asked: dict[str, Any]) -> str | None:
    value = _text(asked, "ifNoneExist")
    if value is not None and not value.strip():
        raise InvalidValue("The request's ifNoneExist must be a search.")
    return value


def _if_match(asked: dict[str, Any]) -> int | tuple[int, ...] | None:
    value = _text(asked, "ifMatch")
    return None if value is None else if_match_of(value)


def if_match_of(text: str) -> int | tuple[int, ...]:
    """Return the version numbers that If-Match names: 0 for `*`, -1 for what is none of ours."""
    if text.strip() == "*":
        return 0
    # RFC 9110, 13.1.1: a list of entity tags, of which one must be the current one.
    named = tuple(map(_version_of, text.split(",")))
    return named[0] if len(named) == 1 else named


def if_none_match_of(text: str) -> str:
    """Return `*`, or the version numbers that If-None-Match names, with commas between them."""
    if text.strip() == "*":
        return "*"
    return ",".join(str(_version_of(part)) for part in text.split(","))


def _version_of(etag: str) -> int:
    """Return the version number that an ETag names; -1 where it can be none of ours."""
    match = _ETAG(etag.strip())
    return int(match[1]) if match else -1


def _if_none_match(asked: dict[str, Any]) -> str | None:
    value = _text(asked, "ifNoneMatch")
    return None if value is None else if_none_match_of(value)


def _since(asked: dict[str, Any]) -> int | None:
    value = _text(asked, "ifModifiedSince")
    if value is None:
        return None
    try:
        return date_range(value)[0]
    except ValueError:
        raise InvalidValue("The request's ifModifiedSince must be an instant.") from None
