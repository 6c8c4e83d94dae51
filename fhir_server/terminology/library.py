"""What an expansion knows of other resources, and what it still needs: whoever asks fetches it.

Nothing here reads a store: an expansion that lacks a resource says which (Needed), and is asked
again when the library has it, or knows that there is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fhir_server.model import definitions
from fhir_server.terminology.code_system import CodeSystem

Kind = Literal["ValueSet", "CodeSystem"]
Resource = dict[str, Any]

MOST_WORK: Final = 2_000_000
"""So many concepts are looked at for one question, however often each."""


class Needed(Exception):
    """A resource that the library must be asked about first; `url` may carry a `|version`."""

    def __init__(self, kind: Kind, url: str) -> None:
        super().__init__(kind)
        self.kind: Kind = kind
        self.url = url


class Unexpandable(Exception):
    """The codes cannot be told, and why: a whole sentence in English, and in Vietnamese."""

    def __init__(self, english: str, vietnamese: str) -> None:
        super().__init__(english)
        self.english = english
        self.vietnamese = vietnamese


class TooMany(Exception):
    """There are more codes than were asked for at most, or too much to be looked at for them."""


def unknown(what: str, what_vi: str) -> Unexpandable:
    """Return the refusal of what is not here or not shown: the same words for both."""
    return Unexpandable(
        f"A {what} that is named is not known to this server, or not shown to this client.",
        f"Máy chủ này không biết {what_vi} được nêu, hoặc không cho ứng dụng này xem.",
    )


@dataclass(slots=True)
class Library:
    """The resources that are known so far, by URL; None says that there is none to be had.

    Attributes:
        work: How many concepts may still be looked at.
    """

    value_sets: dict[str, Resource | None] = field(default_factory=dict)
    code_systems: dict[str, CodeSystem | None] = field(default_factory=dict)
    work: int = MOST_WORK

    def spend(self, concepts: int) -> None:
        """Look at so many concepts.

        Raises:
            TooMany: That is more than one question may look at.
        """
        self.work -= concepts
        if self.work < 0:
            raise TooMany

    def value_set(self, url: str) -> Resource | None:
        """Return a ValueSet.

        Raises:
            Needed: It was not looked for yet.
        """
        if url not in self.value_sets:
            raise Needed("ValueSet", url)
        return self.value_sets[url]

    def code_system(self, url: str) -> CodeSystem | None:
        """Return a code system with all of its concepts; None also where some are not here.

        Raises:
            Needed: It was not looked for yet.
        """
        if url not in self.code_systems:
            raise Needed("CodeSystem", url)
        found = self.code_systems[url]
        return found if found is not None and found.complete else None


def built_in(url: str) -> dict[str, frozenset[str]] | None:
    """Return the codes, by system, of a value set that R4 itself requires somewhere."""
    bare, _, version = url.partition("|")
    if version not in {"", "4.0.1", "4.0"}:
        return None
    members = definitions.value_set(bare)
    return None if members is None else dict(members)
