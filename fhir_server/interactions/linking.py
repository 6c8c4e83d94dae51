"""References between the entries of a Bundle, and conditional ones, turned into literal ones.

Other links by `urn:uuid:` are turned likewise: elements of type uri, url, oid and uuid, and `href`
and `src` in narratives.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from fhir_server.interactions.asked import at
from fhir_server.interactions.condition import criteria_of, find
from fhir_server.interactions.resolving import resolved
from fhir_server.model import reference
from fhir_server.model.definitions import RESOURCE_TYPES, properties
from fhir_server.model.outcome import InvalidValue, MultipleMatches
from fhir_server.search.extract import index_values
from fhir_server.search.match import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from fhir_server.interactions.asked import Ask
    from fhir_server.interactions.context import Context
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Name

_CONDITIONAL: Final = re.compile(r"[A-Za-z]+\?.+", re.DOTALL).fullmatch
_URN: Final = "urn:uuid:"
_LINKING: Final = frozenset({"uri", "url", "oid", "uuid", "xhtml"})
"""Types whose values are links beside Reference; a canonical is none."""
_HTML: Final = re.compile(r"""(?<=\s)((?:href|src)\s*=\s*["'])(urn:uuid:[^"'#]+)""")


@dataclass(slots=True)
class Slot:
    """One link of a resource asked for: where it stands, and what it said when it came.

    Attributes:
        holder: The element or list of values that has it.
        key: Where in that; `reference` of a Reference, `div` of a narrative with links in it.
    """

    holder: Any
    said: str
    key: str | int = "reference"

    def say(self, text: str) -> None:
        """Let it say something else."""
        self.holder[self.key] = text


@dataclass(slots=True)
class Links:
    """The references of all resources of one request; they are rewritten at each attempt.

    Attributes:
        slots: For each write asked for, its references.
        full_urls: fullUrl of an entry, and the number of the write.
    """

    asks: tuple[Ask, ...]
    slots: list[list[Slot]] = field(default_factory=list)
    full_urls: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, asks: tuple[Ask, ...]) -> Links:
        """Return the links of these writes."""
        links = cls(asks)
        links.full_urls = {ask.full_url: n for n, ask in enumerate(asks) if ask.full_url}
        links.slots = list(map(links._slots_of, asks))
        return links

    @classmethod
    def settled(cls, asks: tuple[Ask, ...]) -> Links:
        """Return the links of writes whose references all say what they mean already."""
        return cls(asks, [[] for _ in asks])

    def put(self, number: int, ask: Ask) -> None:
        """Let a write be this one from now on, with the references of its resource."""
        self.asks = (*self.asks[:number], ask, *self.asks[number + 1 :])
        self.slots[number] = self._slots_of(ask)

    def _slots_of(self, ask: Ask) -> list[Slot]:
        if not ask.resource:
            return []
        found = [Slot(one, str(one["reference"])) for one in reference.walk(ask.resource)]
        if any(map(_is_urn, self.full_urls)):
            found += _urns_in(ask.resource)
        return found

    async def resolve(self, ctx: Context, names: Mapping[int, Name]) -> None:
        """Make every reference say the name that its target has now.

        Args:
            ctx: Who asks.
            names: For each number of a write, the resource that it makes or matched.

        Raises:
            InvalidValue: A conditional reference matches nothing.
            MultipleMatches: A conditional reference matches several.
        """
        known: dict[str, str] = {}
        for ask, slots in zip(self.asks, self.slots, strict=True):
            base = _base_of(ask.full_url)
            for slot in slots:
                if slot.key == "div":
                    slot.say(_HTML.sub(lambda link: self._html(link, names), slot.said))
                    continue
                target = self._target(slot.said, base)
                if target is not None and target in names:
                    kind, identity = names[target]
                    slot.say(f"{kind}/{identity}" + _fragment(slot.said))
                elif slot.key == "reference" and _CONDITIONAL(slot.said):
                    with at(ask.place):
                        if slot.said not in known:
                            known[slot.said] = await self._conditional(ctx, slot.said, names)
                    slot.say(known[slot.said])

    def _html(self, link: re.Match[str], names: Mapping[int, Name]) -> str:
        name = names.get(self.full_urls.get(link[2], -1))
        return link[0] if name is None else f"{link[1]}{name[0]}/{name[1]}"

    def _target(self, said: str, base: str) -> int | None:
        plain = said.partition("#")[0]
        if not plain:
            return None
        number = self.full_urls.get(plain)
        # FHIR, bundle.html#references, says that a relative one is relative to its entry's fullUrl.
        if number is None and base:
            number = self.full_urls.get(base + plain.partition("/_history/")[0])
        return number

    async def _conditional(self, ctx: Context, said: str, names: Mapping[int, Name]) -> str:
        resource_type, _, query = said.partition("?")
        if resource_type not in RESOURCE_TYPES:
            raise InvalidValue(
                "A conditional reference names a resource type that there is not.",
                text_vi="Một tham chiếu có điều kiện nêu loại tài nguyên không có.",
            )
        found = (await find(ctx, resource_type, query, anywhere=True)).only()
        if found is not None:
            return f"{resource_type}/{found.resource_id}"
        where = criteria_of(resource_type, query, ctx.base_url, known=ctx.searched)
        same = self._made(ctx, resource_type, await resolved(ctx, where, resource_type))
        made = {names[n] for n in same if n in names}
        if len(made) > 1:
            raise MultipleMatches("A conditional reference matches several entries of the Bundle.")
        for kind, identity in made:
            return f"{kind}/{identity}"
        raise InvalidValue(
            f"A conditional reference to {resource_type} matches no resource.",
            text_vi=f"Tham chiếu có điều kiện đến {resource_type} không khớp tài nguyên nào.",
        )

    def _made(self, ctx: Context, resource_type: str, where: Expression) -> Iterable[int]:
        for number, ask in enumerate(self.asks):
            if ask.resource_type == resource_type and ask.resource is not None:
                index = index_values(ask.resource, base_url=ctx.base_url, known=ctx.known)
                name = (resource_type, ask.new_id)
                if matches(where, name, 0, index, frozenset(), _no_target):
                    yield number


def _is_urn(text: object) -> bool:
    return isinstance(text, str) and text.startswith(_URN)


def _urns_in(resource: dict[str, Any]) -> Iterator[Slot]:
    """Give what may be a link by urn:uuid in a resource beside its references.

    FHIR: http.html#trules, "elements of type uri, url, oid, uuid, and <a href=""> and <img src="">
    in the narrative"; what a resource or an extension itself is called is no link.
    """
    waiting: list[tuple[dict[str, Any], str]] = [(resource, str(resource.get("resourceType")))]
    while waiting:
        node, type_ = waiting.pop()
        known = properties(type_)
        for key, value in node.items():
            one = known.get(key)
            if one is None or (type_, key) == ("Bundle", "entry"):
                continue
            if key == "url" and (type_ == "Extension" or "resourceType" in node):
                continue
            values = value if type(value) is list else (value,)
            if one.is_primitive:
                if one.type in _LINKING:
                    yield from _links(node, key, value, is_html=one.type == "xhtml")
                continue
            for inner in values:
                if type(inner) is dict:
                    below = str(inner.get("resourceType")) if one.type == "Resource" else one.type
                    waiting.append((inner, below))


def _links(node: dict[str, Any], key: str, value: object, *, is_html: bool) -> Iterator[Slot]:
    if is_html:
        if isinstance(value, str) and _URN in value:
            yield Slot(node, value, key)
    elif isinstance(value, list):
        yield from (Slot(value, one, at_) for at_, one in enumerate(value) if _is_urn(one))
    elif _is_urn(value):
        yield Slot(node, str(value), key)


def _no_target(*_: object) -> None:
    """Say that nothing is known of what a resource of the same Bundle refers to."""


def _base_of(full_url: str) -> str:
    if not full_url.startswith(("http://", "https://")):
        return ""
    parts = full_url.rsplit("/", 2)
    return f"{parts[0]}/" if len(parts) == 3 else ""  # noqa: PLR2004 - base, type, id


def _fragment(said: str) -> str:
    _, mark, fragment = said.partition("#")
    return mark + fragment
