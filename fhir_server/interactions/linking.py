"""References between the entries of a Bundle, and conditional ones, turned into literal ones.

https://hl7.org/fhir/R4/http.html#trules
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fhir_server.interactions.asked import at
from fhir_server.interactions.condition import criteria_of, find
from fhir_server.interactions.resolving import resolved
from fhir_server.model import reference
from fhir_server.model.definitions import RESOURCE_TYPES
from fhir_server.model.outcome import InvalidValue, MultipleMatches
from fhir_server.search.extract import index_values
from fhir_server.search.match import matches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fhir_server.interactions.asked import Ask
    from fhir_server.interactions.context import Context
    from fhir_server.search.expression import Expression
    from fhir_server.store.port import Name

_CONDITIONAL: Final = re.compile(r"[A-Za-z]+\?.+", re.DOTALL).fullmatch


@dataclass(slots=True)
class Slot:
    """One Reference element of a resource asked for, and what it said when it came."""

    element: dict[str, object]
    said: str


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
        for number, ask in enumerate(asks):
            links.slots.append(_slots_of(ask))
            if ask.full_url:
                links.full_urls[ask.full_url] = number
        return links

    @classmethod
    def settled(cls, asks: tuple[Ask, ...]) -> Links:
        """Return the links of writes whose references all say what they mean already."""
        return cls(asks, [[] for _ in asks])

    def put(self, number: int, ask: Ask) -> None:
        """Let a write be this one from now on, with the references of its resource."""
        self.asks = (*self.asks[:number], ask, *self.asks[number + 1 :])
        self.slots[number] = _slots_of(ask)

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
                target = self._target(slot.said, base)
                if target is not None and target in names:
                    kind, identity = names[target]
                    slot.element["reference"] = f"{kind}/{identity}" + _fragment(slot.said)
                elif _CONDITIONAL(slot.said):
                    with at(ask.place):
                        if slot.said not in known:
                            known[slot.said] = await self._conditional(ctx, slot.said, names)
                    slot.element["reference"] = known[slot.said]

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


def _slots_of(ask: Ask) -> list[Slot]:
    found = reference.walk(ask.resource) if ask.resource else ()
    return [Slot(element, str(element["reference"])) for element in found]


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
