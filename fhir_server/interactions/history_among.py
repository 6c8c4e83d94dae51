"""Which types and resources a history is asked for: `_type` and `_list`.

https://hl7.org/fhir/R4/http.html#history
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.narrow import is_shown, require_type
from fhir_server.model import codec
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, TooCostly, UnsupportedParameter
from fhir_server.model.primitives import is_id
from fhir_server.search.place import located

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_server.interactions.context import Context, FhirRequest
    from fhir_server.store.port import Name, Some, Version

LIST: Final = "_list"
TYPE: Final = "_type"
_MOST_LISTED: Final = 5000


@dataclass(frozen=True, slots=True)
class Among:
    """Of what a history is.

    Attributes:
        some: These types or resources alone; () is none, None is all.
        versions: Of these resources only the versions that are named.
    """

    some: tuple[Some, ...] | None
    versions: Mapping[Name, frozenset[str]]

    def holds(self, version: Version) -> bool:
        """Return whether a version of one of these is asked for."""
        named = self.versions.get((version.resource_type, version.resource_id))
        return named is None or str(version.version_id) in named


def check_among(ctx: Context, request: FhirRequest, asked: Mapping[str, str]) -> None:
    """Refuse what `among` would refuse, before anything is read.

    Raises:
        Forbidden: The caller is never shown a type that is named.
        InvalidValue: `_type` names no type, or `_list` can be no List.
        UnsupportedParameter: `_list` names a functional list.
    """
    for kind in _types(asked):
        require_type(ctx, request.interaction, kind)
    _list_id(ctx, asked)


async def among(ctx: Context, request: FhirRequest, asked: Mapping[str, str]) -> Among:
    """Return of what a history is asked for; a List that the caller is not shown is empty.

    Raises:
        TooCostly: The List names too many resources.
        FhirError: As `check_among`.
    """
    check_among(ctx, request, asked)
    types, list_id = _types(asked), _list_id(ctx, asked)
    if list_id is None:
        return Among(tuple((kind, None) for kind in types) or None, {})
    wanted = frozenset(types or ([request.resource_type] if request.resource_type else ()))
    versions: dict[Name, frozenset[str]] = {}
    whole: set[Name] = set()
    for reference in await _references(ctx, list_id):
        kind, identity, _ = located(reference, ctx.base_url)
        named = (kind, identity)
        if (
            not kind
            or (wanted and kind not in wanted)
            or request.resource_id not in {None, identity}
        ):
            continue
        number = reference.rpartition("/_history/")[2] if "/_history/" in reference else None
        if number is None:
            whole.add(named)
        else:
            versions[named] = versions.get(named, frozenset()) | {number}
    names = sorted(whole | versions.keys())
    if len(names) > _MOST_LISTED:
        raise TooCostly(
            f"The List names more than {_MOST_LISTED} resources.",
            text_vi=f"List nêu hơn {_MOST_LISTED} tài nguyên.",
        )
    return Among(tuple(names), {name: versions[name] for name in versions.keys() - whole})


def _types(asked: Mapping[str, str]) -> list[str]:
    if TYPE not in asked:
        return []
    types = sorted(set(asked[TYPE].split(",")))
    if not RESOURCE_TYPES.issuperset(types):
        raise InvalidValue(
            "The parameter _type names what is no resource type.",
            text_vi="Tham số _type nêu một loại tài nguyên không có.",
        )
    return types


def _list_id(ctx: Context, asked: Mapping[str, str]) -> str | None:
    text = asked.get(LIST)
    if text is None:
        return None
    if text.startswith("$"):
        raise UnsupportedParameter(
            "Functional lists such as $current-problems are not supported in a history; "
            "name a List by its id.",
            text_vi="Danh sách chức năng như $current-problems chưa được hỗ trợ trong lịch sử "
            "phiên bản; hãy nêu id của một List.",
        )
    kind, identity, _ = located(text, ctx.base_url)
    named = identity if kind == "List" else text
    if not is_id(named):
        raise InvalidValue(
            "The parameter _list must be the id of a List, or List/id.",
            text_vi="Tham số _list phải là id của một List, hoặc List/id.",
        )
    return named


async def _references(ctx: Context, list_id: str) -> list[str]:
    version = await ctx.store.read("List", list_id)
    if version is None or version.deleted or not await is_shown(ctx, version):
        return []
    entries = codec.loads_stored(version.body).get("entry", ())
    # What is marked deleted was in the List and is no more.
    items = [one.get("item", {}) for one in entries if not one.get("deleted", False)]
    return [one["reference"] for one in items if "reference" in one]
