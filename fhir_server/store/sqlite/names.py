"""Small numbers for long names: types, parameters, code systems, units, tags, words.

A number once given never changes, so what was found may be kept; what was not found may come.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

import apsw

from fhir_server.search.values import QuantityValue
from fhir_server.store.keys import code_key, prefix_end

SEPARATOR: Final = "\x1f"
"""Between the parts of a name; no FHIR string can hold it."""

_LIMIT: Final = 200_000
"""So many names are kept; somebody who invents code systems must not fill the memory."""


REFERENCE: Final = -1
"""Stands in `seen` for a parameter that has references; less a type's number, for one to it."""
SEVERAL: Final = -(2**31)
"""Stands in `seen` for a parameter of dates of which some resource has had more than one."""


WHOLE: Final = -(2**31) + 1
"""Stands in `seen` under the number of a type's shapes, where all its resources have one."""
OTHER: Final = 0
"""The number of what is not numbered by itself: a long text, one of very many shapes."""


class Kind(IntEnum):
    """What is numbered.

    A TEXT is that of a token, folded; a SHAPE is which parameters a resource has values of.
    """

    TYPE = 1
    PARAM = 2
    SYSTEM = 3
    UNIT = 4
    TAG = 5
    WORD = 6
    TEXT = 7
    SHAPE = 8


class Names:
    """The numbers of names, as one connection sees them."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._nrs: dict[tuple[int, str], int] = {(Kind.SYSTEM, ""): 0}
        self._texts: dict[tuple[int, int], str] = {(Kind.SYSTEM, 0): ""}

    def find(self, kind: Kind, text: str) -> int | None:
        """Return a name's number, or None where it has none yet."""
        nr = self._nrs.get((kind, text))
        if nr is None:
            nr = self._db.execute(
                "SELECT nr FROM name WHERE kind = ? AND text = ?", (kind, text)
            ).get
            if nr is not None:
                self._keep(kind, text, nr)
        return nr

    def text(self, kind: Kind, nr: int) -> str:
        """Return the name that has this number."""
        text = self._texts.get((kind, nr))
        if text is None:
            text = self._db.execute(
                "SELECT text FROM name WHERE kind = ? AND nr = ?", (kind, nr)
            ).get
            self._keep(kind, str(text), nr)
        return str(text)

    def type(self, resource_type: str) -> int | None:
        """Return a resource type's number."""
        return self.find(Kind.TYPE, resource_type)

    def param(self, resource_type: str, code: str) -> int | None:
        """Return the number of a search parameter of a type."""
        return self.find(Kind.PARAM, resource_type + SEPARATOR + code)

    def seen(self, param: int) -> list[int]:
        """Return the numbers of the systems or units that occur in a parameter."""
        text = "SELECT nr FROM seen WHERE param = ? AND nr >= 0"
        return [nr for (nr,) in self._db.execute(text, (param,))]

    def is_reference(self, param: int) -> bool:
        """Return whether a parameter has had references to local resources."""
        text = "SELECT 1 FROM seen WHERE param = ? AND nr = ?"
        return bool(self._db.execute(text, (param, REFERENCE)).get)

    def referred(self, param: int) -> list[int]:
        """Return the numbers of the types to which a parameter has had references."""
        text = "SELECT nr FROM seen WHERE param = ? AND nr < ? AND nr > ?"
        rows = self._db.execute(text, (param, REFERENCE, SEVERAL))
        return [REFERENCE - nr for (nr,) in rows]

    def is_single(self, param: int) -> bool:
        """Return whether no resource has had more than one date of a parameter."""
        text = "SELECT 1 FROM seen WHERE param = ? AND nr = ?"
        return not self._db.execute(text, (param, SEVERAL)).get

    def shapes(self, resource_type: str) -> int | None:
        """Return the number under which the shapes of a type's resources are indexed.

        None: some are not, nor the texts of their tokens and their composites' quantities.
        """
        param = self.param(resource_type, "")
        if param is None:
            return None
        text = "SELECT 1 FROM seen WHERE param = ? AND nr = ?"
        return param if self._db.execute(text, (param, WHOLE)).get else None

    def shape(self, nr: int) -> frozenset[int]:
        """Return the numbers of the parameters of a shape."""
        return frozenset(map(int, self.text(Kind.SHAPE, nr).split()))

    def texts(self, folded: str) -> list[int]:
        """Return the numbers of the texts that begin with this, or hold it at a word's start."""
        if any("\ud800" <= one <= "\udfff" for one in folded):
            return []  # nothing stored holds a lone surrogate
        rows = self._db.execute(
            "SELECT DISTINCT nr FROM tail WHERE text >= ? AND text < ?",
            (folded, prefix_end(folded)),
        )
        return [nr for (nr,) in rows]

    def pair(self, resource_type: str, code: str, system: int, token: str) -> int | None:
        """Return the number under which a composite's quantities of one token are indexed."""
        return self.param(resource_type, paired(code, system, token))

    def types(self) -> list[tuple[int, str]]:
        """Return all numbered resource types."""
        return list(self._db.execute("SELECT nr, text FROM name WHERE kind = ?", (Kind.TYPE,)))

    def units(self) -> list[tuple[int, str]]:
        """Return all numbered units; 0, the unit of plain numbers, is not among them."""
        return list(self._db.execute("SELECT nr, text FROM name WHERE kind = ?", (Kind.UNIT,)))

    def _keep(self, kind: Kind, text: str, nr: int) -> None:
        if len(self._nrs) > _LIMIT:
            self._nrs = {(Kind.SYSTEM, ""): 0}
            self._texts = {(Kind.SYSTEM, 0): ""}
        self._nrs[kind, text] = nr
        self._texts[kind, nr] = text


class NewNames(Names):
    """Names as the writer sees them: what has no number is given one."""

    def __init__(self, db: apsw.Connection) -> None:
        super().__init__(db)
        self._seen: set[tuple[int, int]] = set()
        self._fresh: list[tuple[int, str, int]] = []
        self._fresh_seen: list[tuple[int, int]] = []

    def give(self, kind: Kind, text: str) -> int:
        """Return a name's number, a new one where it has none."""
        nr = self._nrs.get((kind, text))
        if nr is not None:
            return nr
        nr = self.find(kind, text)
        if nr is None:
            nr = self._db.execute(
                "INSERT INTO name SELECT ?1, ?2, 1 + coalesce(max(nr), 0) FROM name "
                "WHERE kind = ?1 RETURNING nr",
                (kind, text),
            ).get
            if kind is Kind.TEXT:
                self._db.executemany(
                    "INSERT OR IGNORE INTO tail VALUES (?, ?)", [(tail, nr) for tail in tails(text)]
                )
            self._keep(kind, text, nr)
            self._fresh.append((kind, text, nr))
        return int(nr)

    def give_type(self, resource_type: str) -> int:
        """Return a resource type's number."""
        return self.give(Kind.TYPE, resource_type)

    def give_param(self, resource_type: str, code: str) -> int:
        """Return the number of a search parameter of a type."""
        return self.give(Kind.PARAM, resource_type + SEPARATOR + code)

    def give_unit(self, value: QuantityValue) -> int:
        """Return the number of a quantity's unit: its system, code and printed unit."""
        return self.give(
            Kind.UNIT,
            SEPARATOR.join(
                part.replace(SEPARATOR, " ") for part in (value.system, value.code, value.unit)
            ),
        )

    def is_alone(self, resource_type: str, rid: int) -> bool:
        """Return whether no other resource of a type is current."""
        text = (
            "SELECT 1 FROM resource INDEXED BY resource_live "
            "WHERE type = ? AND live = 1 AND rid <> ? LIMIT 1"
        )
        return not self._db.execute(text, (self.type(resource_type), rid)).get

    def see(self, param: int, nr: int) -> None:
        """Remember that a system or unit occurs in a parameter."""
        if (param, nr) not in self._seen:
            self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (param, nr))
            if len(self._seen) > _LIMIT:
                self._seen.clear()
            self._seen.add((param, nr))
            self._fresh_seen.append((param, nr))

    def settle(self) -> None:
        """Keep what was numbered: the savepoint was released."""
        if self._fresh:
            self._fresh = []
        if self._fresh_seen:
            self._fresh_seen = []

    def forget_fresh(self) -> bool:
        """Forget what was numbered since `settle`, and return whether there was any."""
        fresh = bool(self._fresh or self._fresh_seen)
        for kind, text, nr in self._fresh:
            self._nrs.pop((kind, text), None)
            self._texts.pop((kind, nr), None)
        self._seen.difference_update(self._fresh_seen)
        self.settle()
        return fresh

    def forget(self) -> None:
        """Forget everything: the whole transaction was rolled back."""
        self._nrs = {(Kind.SYSTEM, ""): 0}
        self._texts = {(Kind.SYSTEM, 0): ""}
        self._seen.clear()
        self.settle()


def paired(code: str, system: int, token: str) -> str:
    """Return the name of a composite with one token."""
    return SEPARATOR.join((code, str(system), code_key(token)))


def tails(text: str) -> list[str]:
    """Return what is left of a text from the start of each of its words on."""
    starts = [0, *(at + 1 for at, one in enumerate(text) if one == " ")]
    return [text[at:] for at in starts if at < len(text)]


def unit_parts(text: str) -> tuple[str, str, str]:
    """Return a unit's system, code and printed unit."""
    system, code, unit = text.split(SEPARATOR)
    return system, code, unit
