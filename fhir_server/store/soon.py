"""The resource that a request is about to read: a store may look at it with the edition.

Every request asks for the edition first, to know whether its token is good still, and most then
read one resource: over a network these are two round trips one after the other. So who takes a
request in says here what it will read, in the context of the request's task. A store may answer
both together, and keep the resource for the one read that follows; whoever reads it again asks
anew. Nothing is looked at so for a caller who is not known to be good: see `forget`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from fhir_server.store.port import Name


class Soon:
    """What will be read, and what a store has found of it, which is its own affair.

    Attributes:
        found: `(what,)`, to be taken once; None where nothing was looked at.
    """

    __slots__ = ("found", "name")

    def __init__(self, name: Name) -> None:
        self.name = name
        self.found: tuple[Any] | None = None

    def take(self, name: Name) -> tuple[Any] | None:
        """Return what was found, if it is of this name, the first time it is asked for."""
        if self.name != name:
            return None
        found, self.found = self.found, None
        return found


_SOON: Final[ContextVar[Soon | None]] = ContextVar("soon", default=None)


@contextmanager
def soon(name: Name | None) -> Iterator[None]:
    """Say within this context what will be read; None: it is not known."""
    token = _SOON.set(None if name is None else Soon(name))
    try:
        yield
    finally:
        _SOON.reset(token)


def forget() -> None:
    """Look at nothing ahead for this request."""
    _SOON.set(None)


def expected() -> Soon | None:
    """Return what the request at work will read."""
    return _SOON.get()
