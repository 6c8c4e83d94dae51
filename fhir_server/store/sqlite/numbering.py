"""Numbers for what the writer meets: resources, and the names in index values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import apsw

from fhir_server.search.values import QuantityValue
from fhir_server.store.port import Name
from fhir_server.store.sqlite.names import (
    OTHER,
    REFERENCE,
    SEVERAL,
    WHOLE,
    Kind,
    NewNames,
    paired,
)

_RESOURCES: Final = 200_000
_NAMES: Final = 10_000
"""So many numbers of resources, and of a type's systems and units, are kept in memory."""
_TEXT: Final = 200
"""A longer text of a token has no number: each is its own."""
_SHAPES: Final = 1_000
"""So many shapes of a type are numbered."""


def as_numbers(value: Any) -> tuple[int, ...]:
    """Return the numbers of a column that holds none, one, or several in a text."""
    if value is None:
        return ()
    return (value,) if isinstance(value, int) else tuple(map(int, value.split()))


def as_column(values: Iterable[int]) -> int | str | None:
    """Return the column of `as_numbers`."""
    several = tuple(values)
    if not several:
        return None
    return several[0] if len(several) == 1 else " ".join(map(str, several))


class Numbering:
    """Numbers of resources and names, on the writer's connection.

    What a savepoint numbered is forgotten if it is rolled back.
    """

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.names = NewNames(db)
        self.last = 0
        self._numbers: dict[Name, int] = {}
        self._fresh: list[Name] = []
        self._makers: dict[str, TypeNumbers] = {}

    def begin(self, last: int) -> None:
        """Begin a transaction; `last` is the greatest number of a resource."""
        self.last = last
        if len(self._numbers) > _RESOURCES:
            self._numbers.clear()

    def of_type(self, resource_type: str) -> TypeNumbers:
        """Return the numbers of one resource type's index values."""
        maker = self._makers.get(resource_type)
        if maker is None:
            maker = self._makers[resource_type] = TypeNumbers(self, resource_type)
        return maker

    def resource(self, resource_type: str, resource_id: str) -> int:
        """Return a resource's number; what was never heard of is given one."""
        name = (resource_type, resource_id)
        nr = self._numbers.get(name)
        if nr is not None:
            return nr
        key = (self.names.give_type(resource_type), resource_id)
        nr = self._db.execute("SELECT nr FROM resource WHERE type = ? AND id = ?", key).get
        if nr is None:
            nr = self.next(name)
            self._db.execute(
                "INSERT INTO resource (nr, type, id, version_id, live) VALUES (?, ?, ?, 0, 0)",
                (nr, *key),
            )
        else:
            self._remember(name, nr)
        return int(nr)

    def next(self, name: Name) -> int:
        """Return the number of a new resource, whose row the caller makes."""
        self.last += 1
        self._remember(name, self.last)
        return self.last

    def _remember(self, name: Name, nr: int) -> None:
        self._numbers[name] = nr
        self._fresh.append(name)

    def settle(self) -> None:
        """Keep what was numbered: the savepoint was released."""
        self.names.settle()
        self._fresh = []

    def forget_fresh(self) -> None:
        """Forget what was numbered since `settle`: the savepoint was rolled back."""
        if self.names.forget_fresh():
            self._forget_makers()
        for name in self._fresh:
            self._numbers.pop(name, None)
        self._fresh = []

    def forget(self) -> None:
        """Forget everything: the transaction was rolled back."""
        self._numbers.clear()
        self._fresh = []
        self.names.forget()
        self._forget_makers()

    def _forget_makers(self) -> None:
        for maker in self._makers.values():
            maker.forget()


class TypeNumbers:
    """Gives numbers for the index values of one resource type, most of them from its own tables."""

    def __init__(self, numbering: Numbering, resource_type: str) -> None:
        self._names = numbering.names
        self._type = resource_type
        self._params: dict[str, int] = {}
        self._references: dict[tuple[str, str], int] = {}
        self._tokens: dict[tuple[str, str], tuple[int, int]] = {}
        self._quantities: dict[tuple[str, str, str, str], tuple[int, int]] = {}
        self._pairs: dict[tuple[str, int, str, int], int] = {}
        self._shapes: dict[tuple[int, ...], int] = {}
        self.resource = numbering.resource

    def forget(self) -> None:
        """Forget the numbers: some may have been rolled back."""
        self._params.clear()
        self._references.clear()
        self._tokens.clear()
        self._quantities.clear()
        self._pairs.clear()
        self._shapes.clear()

    def param(self, code: str) -> int:
        """Return the number of a parameter."""
        found = self._params.get(code)
        if found is None:
            found = self._params[code] = self._names.give_param(self._type, code)
        return found

    def reference(self, code: str, resource_type: str) -> int:
        """Return the number of a parameter, which has references to a type from now on."""
        found = self._references.get((code, resource_type))
        if found is None:
            found = self._references[code, resource_type] = self.param(code)
            self._names.see(found, REFERENCE)
            self._names.see(found, REFERENCE - self._names.give_type(resource_type))
        return found

    def several_dates(self, param: int) -> None:
        """Remember that a resource has more than one date of a parameter."""
        self._names.see(param, SEVERAL)

    def token(self, code: str, system: str) -> tuple[int, int]:
        """Return the numbers of a parameter and of a system that it has from now on."""
        found = self._tokens.get((code, system))
        if found is None:
            found = (self.param(code), self._names.give(Kind.SYSTEM, system) if system else 0)
            self._names.see(*found)
            if len(self._tokens) > _NAMES:
                self._tokens.clear()
            self._tokens[code, system] = found
        return found

    def quantity(self, value: QuantityValue) -> tuple[int, int]:
        """Return the numbers of a parameter and of a unit that it has from now on."""
        key = (value.param, value.system, value.code, value.unit)
        found = self._quantities.get(key)
        if found is None:
            found = (self.param(value.param), self._names.give_unit(value))
            self._names.see(*found)
            if len(self._quantities) > _NAMES:
                self._quantities.clear()
            self._quantities[key] = found
        return found

    def text(self, text: str) -> int:
        """Return the number of a token's text, or OTHER of one that is long."""
        return OTHER if len(text) > _TEXT else self._names.give(Kind.TEXT, text)

    def pair(self, code: str, system: int, token: str, unit: int) -> int:
        """Return the number of a composite with one token, which has a unit from now on."""
        key = (code, system, token, unit)
        found = self._pairs.get(key)
        if found is None:
            found = self._names.give_param(self._type, paired(code, system, token))
            self._names.see(found, unit)
            if len(self._pairs) > _NAMES:
                self._pairs.clear()
            self._pairs[key] = found
        return found

    def shape(self, params: Iterable[int], rid: int) -> tuple[int, int]:
        """Return under which number shapes are indexed, and that of a resource's own."""
        key = tuple(params)
        param, found = self.param(""), self._shapes.get(key)
        if found is None:
            seen = self._names.seen(param)
            text = " ".join(map(str, sorted(key)))
            known = self._names.find(Kind.SHAPE, text)
            found = known or (OTHER if len(seen) >= _SHAPES else self._names.give(Kind.SHAPE, text))
            if not seen and self._names.is_alone(self._type, rid):
                self._names.see(param, WHOLE)
            self._names.see(param, found)
            if len(self._shapes) > _NAMES:
                self._shapes.clear()
            self._shapes[key] = found
        return param, found
