"""JSON Patch: RFC 6902, with the pointers of RFC 6901."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.model.patch.refusal import Allowance, Budget, Unfit, malformed, require_few
from fhir_server.model.patch.values import Container, cleared, equal, fresh, size

Pointer = tuple[str, ...]

MOST_COPIED: Final = 10_000_000
"""Values and characters that the `copy` operations of one patch may add: copying the whole into
itself doubles it each time."""

MOST_MOVED: Final = 1_000_000_000
"""Items of arrays that may move up or down for those that are put in or taken away: measured, a
second."""

_COPY: Final = MOST_MOVED // MOST_COPIED

_BAD_ESCAPE: Final = re.compile(r"~(?![01])").search
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}").fullmatch
_WITH_VALUE: Final = frozenset({"add", "replace", "test"})
_WITH_SOURCE: Final = frozenset({"move", "copy"})
_OPS: Final = _WITH_VALUE | _WITH_SOURCE | {"remove"}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation; `source` is its member `from`."""

    op: str
    path: Pointer
    source: Pointer = ()
    value: Any = None


@dataclass(frozen=True, slots=True)
class JsonPatch:
    """Operations, to be done in their order, all or none."""

    operations: tuple[Operation, ...]
    cost: float = 0.0

    def apply(self, document: Any, allowance: Allowance | None = None) -> Any:
        """Return the document with the operations done; the one that was given is changed.

        What an operation leaves empty by taking away from it is taken away too.

        Raises:
            Invalid: An operation cannot be applied.
        """
        with (allowance or Allowance()).budget(MOST_MOVED) as budget:
            run = _Run(document, budget)
            for number, operation in enumerate(self.operations, start=1):
                try:
                    run.do(operation)
                except Unfit as unfit:
                    raise unfit.at(number) from None
        return cleared(run.document, run.emptied)


def parse(value: Any) -> JsonPatch:
    """Return the patch that a value of JSON is.

    Raises:
        Malformed: It is none.
        Invalid: It has too many operations.
    """
    if not isinstance(value, list):
        raise malformed(
            "A JSON Patch is an array of operations.", "JSON Patch phải là một mảng các thao tác."
        )
    require_few(len(value))
    return JsonPatch(tuple(_operation(one, number) for number, one in enumerate(value, start=1)))


def _operation(value: Any, number: int) -> Operation:
    if not isinstance(value, dict):
        raise malformed("it must be an object.", "phải là một đối tượng.", number)
    op = value.get("op")
    if not isinstance(op, str) or op not in _OPS:
        raise malformed(
            "its op must be add, remove, replace, move, copy or test.",
            "op phải là add, remove, replace, move, copy hoặc test.",
            number,
        )
    path = _pointer(value, "path", number)
    if op in _WITH_VALUE and "value" not in value:
        raise malformed("it must have a value.", "phải có value.", number)
    source = _pointer(value, "from", number) if op in _WITH_SOURCE else ()
    if op == "move" and len(source) < len(path) and path[: len(source)] == source:
        # RFC 6902, 4.4: the from location MUST NOT be a proper prefix of the path location.
        raise malformed(
            "nothing can be moved into itself.", "không thể chuyển một phần vào chính nó.", number
        )
    return Operation(op, path, source, value.get("value"))


def _pointer(value: dict[str, Any], name: str, number: int) -> Pointer:
    text = value.get(name)
    if not isinstance(text, str) or (text and not text.startswith("/")) or _BAD_ESCAPE(text):
        raise malformed(
            f"its {name} must be a JSON Pointer.", f"{name} phải là một JSON Pointer.", number
        )
    # RFC 6901, 4: `~1` first, so that `~01` becomes `~1`.
    names = text.split("/")[1:]
    return tuple(one.replace("~1", "/").replace("~0", "~") for one in names)


def _nothing_there() -> Unfit:
    return Unfit(
        "its path names nothing in the resource.",
        "đường dẫn không chỉ đến gì trong tài nguyên.",
    )


class _Run:
    """The document on its way; what was taken from stands in `emptied`."""

    def __init__(self, document: Any, budget: Budget) -> None:
        self.document = document
        self.emptied: list[Container] = []
        self.budget = budget

    def do(self, operation: Operation) -> None:
        """Do one operation.

        Raises:
            Unfit: It cannot be applied.
        """
        path = operation.path
        match operation.op:
            case "add":
                self.add(path, fresh(operation.value))
            case "remove":
                self.remove(path)
            case "replace":
                self.replace(path, fresh(operation.value))
            case "move":
                self.move(operation.source, path)
            case "copy":
                found = self.at(operation.source)
                self.budget.spend(_COPY * size(found))
                self.add(path, fresh(found))
            case _:
                self.test(path, operation.value)

    def at(self, pointer: Pointer) -> Any:
        """Return what is at a place."""
        found = self.document
        for name in pointer:
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list):
                found = found[_index(name, len(found) - 1)]
            else:
                raise _nothing_there()
        return found

    def add(self, path: Pointer, value: Any) -> None:
        """Put a value into an object, or before an item of an array; `-` is behind the last."""
        if not path:
            self.document = value
            return
        holder, name = self.at(path[:-1]), path[-1]
        if isinstance(holder, dict):
            holder[name] = value
        elif isinstance(holder, list):
            at = len(holder) if name == "-" else _index(name, len(holder))
            self.budget.spend(len(holder) - at)
            holder.insert(at, value)
        else:
            raise _nothing_there()

    def remove(self, path: Pointer) -> Any:
        """Take away what is at a place, and return it."""
        found = self.at(path)
        if not path:
            raise Unfit("the whole cannot be removed.", "không thể xóa toàn bộ tài nguyên.")
        holder = self.at(path[:-1])
        self.emptied.append(holder)
        if isinstance(holder, dict):
            del holder[path[-1]]
        else:
            self.budget.spend(len(holder) - int(path[-1]))
            del holder[int(path[-1])]
        return found

    def replace(self, path: Pointer, value: Any) -> None:
        """Put a value in the place of what is there."""
        self.at(path)
        if not path:
            self.document = value
            return
        holder = self.at(path[:-1])
        if isinstance(holder, dict):
            holder[path[-1]] = value
        else:
            holder[int(path[-1])] = value

    def move(self, source: Pointer, path: Pointer) -> None:
        """Take away what is at one place and put it at another."""
        if source == path:
            self.at(path)
        else:
            self.add(path, self.remove(source))

    def test(self, path: Pointer, value: Any) -> None:
        """Refuse unless a value is what is at a place."""
        if not equal(self.at(path), value):
            raise Unfit(
                "the value tested for is not what is there.",
                "giá trị kiểm tra không phải là giá trị hiện có.",
            )


def _index(text: str, last: int) -> int:
    """Return the index that a text says, if it is at most the last one that there may be."""
    # RFC 6901, 4: no leading zeros, no sign.
    if _INDEX(text) is None or int(text) > last:
        raise _nothing_there()
    return int(text)
