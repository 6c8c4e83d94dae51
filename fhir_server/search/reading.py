"""A query while it is read: what is known of it so far, and how much it may still ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from fhir_server.model.outcome import TooCostly, UnsupportedParameter
from fhir_server.search.expression import Expression, Sort
from fhir_server.search.parameters import R4, Known, Parameter
from fhir_server.search.wording import WORDED
from fhir_server.search.words import words_of

MAX_LENGTH: Final = 1_000_000
MAX_VALUES: Final = 5000
MAX_LOOKED_FOR: Final = 200
MAX_DEPTH: Final = 10
MAX_TARGETS: Final = 30
MAX_LINKS: Final = 5000
"""What one query may ask: its characters, its values, its words and places, a chain's links, the
types that an untyped link may lead to, and the links that all of its chains may have once they are
spelled out."""

_LOOKING: Final = frozenset({"near", *WORDED})


@dataclass(frozen=True, slots=True)
class Include:
    """One `_include` or `_revinclude`, https://hl7.org/fhir/R4/search.html#revinclude.

    Attributes:
        source_type: The type that refers; `*` is any.
        param: The reference parameter; `*` is any.
        target_type: The type referred to, where the client names one.
        iterate: Applied to included resources too.
        reverse: A `_revinclude`: what refers to the matches.
    """

    source_type: str
    param: str = "*"
    target_type: str | None = None
    iterate: bool = False
    reverse: bool = False


@dataclass(slots=True)
class Reading:
    """What the parameters read so far have asked.

    Attributes:
        resource_type: The type searched; `Resource` is any.
        base_url: The FHIR base.
        now: Microseconds since 1970; None where a criterion has no now.
        known: The search parameters that there are.
        values: How many values were asked.
        looked_for: How many words and places, each of which takes several questions.
        links: How many links of chains were followed.
        where: What a match is: all of these.
        once: Parameters that may be given once.
        own: How often a store's own parameters were named, by their codes.
    """

    resource_type: str
    base_url: str = ""
    now: int | None = None
    known: Known = R4
    values: int = 0
    looked_for: int = 0
    links: int = 0
    where: list[Expression] = field(default_factory=list)
    sort: list[Sort] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    once: dict[str, str] = field(default_factory=dict)
    elements: list[str] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    own: dict[str, int] = field(default_factory=dict)

    def find(self, resource_type: str, name: str) -> Parameter | None:
        """Return a parameter of a type; None where it is not known.

        Raises:
            UnsupportedParameter: It is the store's own, and not all resources are indexed by it
                yet, or who asks may not use it: left out, the search would be wider.
        """
        found = self.known.get(resource_type, name)
        if found is None or found.own is None:
            return found
        if self.known.is_closed:
            raise UnsupportedParameter(
                f"The search parameter '{name}' is this server's own, and not open to this client.",
                text_vi=f"Tham số tìm kiếm '{name}' là của riêng máy chủ này, "
                "không mở cho ứng dụng này.",
            )
        if not found.own.ready:
            raise UnsupportedParameter(
                f"The search parameter '{name}' is being indexed"
                f"{self.known.progress and f' ({self.known.progress} done)'}: "
                "it can be used once that is finished; please try again later.",
                text_vi=f"Tham số tìm kiếm '{name}' đang được lập chỉ mục"
                f"{self.known.progress and f' (đã xong {self.known.progress})'}: "
                "dùng được khi đã xong; hãy thử lại sau.",
            )
        self.own[found.code] = self.own.get(found.code, 0) + 1
        return found

    def follow(self, depth: int) -> None:
        """Count one more link of a chain, so deep in it.

        Raises:
            TooCostly: There are more than one search may have.
        """
        self.links += 1
        if depth > MAX_DEPTH or self.links > MAX_LINKS:
            raise TooCostly(
                "A chain has more links, or leads to more types, than a search may have.",
                text_vi="Một chuỗi tham số có nhiều mắt xích hoặc dẫn đến nhiều loại hơn mức "
                "cho phép.",
            )

    def look_for(self, known: Parameter, value: str) -> None:
        """Count the words or places of a value, where its parameter looks for such.

        Raises:
            TooCostly: There are more than one search may have.
        """
        if known.code not in _LOOKING:
            return
        self.looked_for += value.count(",") + len(words_of(value))
        if self.looked_for > MAX_LOOKED_FOR:
            raise TooCostly(
                f"A search may ask for at most {MAX_LOOKED_FOR} words or places.",
                text_vi=f"Một tìm kiếm hỏi nhiều nhất {MAX_LOOKED_FOR} từ hoặc vị trí.",
            )

    def ask(self, values: int) -> None:
        """Count so many more values.

        Raises:
            TooCostly: There are more than one search may have.
        """
        self.values += values
        if self.values > MAX_VALUES:
            raise TooCostly(
                f"A search may have at most {MAX_VALUES} values.",
                text_vi=f"Một tìm kiếm có nhiều nhất {MAX_VALUES} giá trị.",
            )
