"""A regular expression engine whose work is bounded: anybody may send an expression.

Backtracking over a program, each instruction at each place at most once: so a search takes at most
(instructions x characters) steps, which are counted. It finds what Perl would find; only where
what may be empty is repeated, `(^|.)*`, it goes on where Perl stops, as RE2 does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from fhir_server.model.fhirpath.errors import FhirPathError
from fhir_server.model.fhirpath.pattern_syntax import (
    MAX_PROGRAM,
    Assertion,
    CharSet,
    Choice,
    Group,
    One,
    Part,
    Repeat,
    Series,
    parse,
    refused,
)
from fhir_server.model.fhirpath.work import Work

Captures = tuple[int, ...]
"""Begin and end of each group, the whole match first; -1 where it took no part."""

_BATCH: Final = 256
_PRICE: Final = 128
"""Steps that a batch of instructions costs."""

_CELLS: Final = 4096
"""Bytes of that table for the price of one step."""

_MAX_CELLS: Final = 16_000_000
"""Of the table; to fill a larger one would take more work than one evaluation may do."""

_GROUPS_COPIED: Final = 64
"""Places of groups that are copied for the price of one instruction more."""

_GROUP: Final = re.compile(r"\$(?:\{(\w+)\}|(\d))|\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction.

    Attributes:
        kind: `one`: a character of `chars`. `fork`: go on at `to`, or else at `other`. `jump`: go
            on at `to`. `save`: remember the place as `to`. `assert`: `what` holds here. `look`:
            `program` fits here (or does not). `end`: it fits.
    """

    kind: Literal["one", "fork", "jump", "save", "assert", "look", "end"]
    chars: CharSet | None = None
    to: int = 0
    other: int = 0
    what: str = ""
    program: tuple[Step, ...] = ()


class Pattern:
    """A regular expression, ready to be run."""

    def __init__(self, regex: str) -> None:
        syntax = parse(regex)
        self.program = _compiled(syntax.part)
        self.groups = syntax.groups + 1
        self.names = syntax.names
        first = self.program[0]
        self.is_anchored = first.kind == "assert" and first.what == "start"

    def search(self, text: str, work: Work, start: int = 0) -> Captures | None:
        """Return the first match from a place on; None where there is none.

        Raises:
            FhirPathError: It takes more work than is left.
        """
        return self._found(text, start, _Run(work, self._table(text, work), self.groups))

    def _table(self, text: str, work: Work) -> _Seen:
        work.spend(1 + len(self.program) * len(text) // _CELLS)
        return _Seen(len(self.program), len(text))

    def _found(self, text: str, start: int, run: _Run) -> Captures | None:
        last = start if self.is_anchored else len(text)
        for begin in range(start, last + 1):
            found = _run(self.program, text, begin, run)
            if found is not None:
                return (begin, *found[1:])
        return None

    def all(self, text: str, work: Work) -> Iterator[Captures]:
        """Give the matches that do not overlap, from left to right.

        Raises:
            FhirPathError: It takes more work than is left.
        """
        run = _Run(work, self._table(text, work), self.groups)
        at = 0
        while at <= len(text):
            found = self._found(text, at, run)
            if found is None:
                return
            yield found
            at = found[1] + (found[1] == found[0])
            run.seen.clear(at)

    def replace(self, text: str, put: str, work: Work) -> str:
        """Return a text with each match replaced; `$1`, `${1}` and `${name}` are groups.

        Raises:
            FhirPathError: The replacement names a group that there is not, or it takes more work
                than is left.
        """
        parts = []
        at = 0
        for found in self.all(text, work):
            new = self._filled(put, text, found)
            parts += [text[at : found[0]], new]
            work.spend_text(found[0] - at + len(new))
            at = found[1]
        parts.append(text[at:])
        work.spend_text(sum(map(len, parts)))
        return "".join(parts)

    def _filled(self, put: str, text: str, found: Captures) -> str:
        def group(match: re.Match[str]) -> str:
            name, digit, escaped = match.groups()
            if escaped is not None:
                return escaped if escaped in "$\\" else match[0]
            name = name or digit
            index = self.names.get(name, int(name[:4]) if name.isdecimal() else -1)
            if not 0 <= index < self.groups:
                raise refused("has no group of that name")
            begin, end = found[2 * index : 2 * index + 2]
            return text[begin:end] if begin >= 0 else ""

        return _GROUP.sub(group, put)


@lru_cache(maxsize=64)
def compiled(regex: str) -> Pattern:
    """Return a regular expression ready to be run.

    Raises:
        FhirPathError: It is none, or not supported, or too long.
    """
    return Pattern(regex)


def _compiled(tree: Part) -> tuple[Step, ...]:
    steps: list[Step] = []
    _emit(tree, steps)
    steps.append(Step("end"))
    return tuple(steps)


def _add(steps: list[Step], step: Step) -> int:
    if len(steps) >= MAX_PROGRAM:
        raise FhirPathError("The regular expression repeats too much.", kind="too-costly")
    steps.append(step)
    return len(steps) - 1


def _emit(part: Part, steps: list[Step]) -> None:
    """Append the instructions of a part."""
    match part:
        case One(chars):
            _add(steps, Step("one", chars))
        case Series(parts):
            for one in parts:
                _emit(one, steps)
        case Choice(parts):
            _emit_choice(parts, steps)
        case Repeat():
            _emit_repeat(part, steps)
        case Group(inner, index):
            _add(steps, Step("save", to=2 * index))
            _emit(inner, steps)
            _add(steps, Step("save", to=2 * index + 1))
        case Assertion(kind):
            _add(steps, Step("assert", what=kind))
        case _:
            what = "not" if part.is_negated else "is"
            _add(steps, Step("look", what=what, program=_compiled(part.part)))


def _emit_choice(parts: tuple[Part, ...], steps: list[Step]) -> None:
    jumps = []
    for one in parts[:-1]:
        fork = _add(steps, Step("fork"))
        _emit(one, steps)
        jumps.append(_add(steps, Step("jump")))
        steps[fork] = Step("fork", to=fork + 1, other=len(steps))
    _emit(parts[-1], steps)
    for jump in jumps:
        steps[jump] = Step("jump", to=len(steps))


def _emit_repeat(repeat: Repeat, steps: list[Step]) -> None:
    for _ in range(repeat.least):
        _emit(repeat.part, steps)
    if repeat.most is None:
        fork = _add(steps, Step("fork"))
        _emit(repeat.part, steps)
        _add(steps, Step("jump", to=fork))
        steps[fork] = _fork(fork + 1, len(steps), is_greedy=repeat.is_greedy)
        return
    forks = []
    for _ in range(repeat.most - repeat.least):
        forks.append(_add(steps, Step("fork")))
        _emit(repeat.part, steps)
    for fork in forks:
        steps[fork] = _fork(fork + 1, len(steps), is_greedy=repeat.is_greedy)


def _fork(inside: int, behind: int, *, is_greedy: bool) -> Step:
    if is_greedy:
        return Step("fork", to=inside, other=behind)
    return Step("fork", to=behind, other=inside)


class _Seen:
    """Which instruction was tried at which place: it cannot do better the second time."""

    __slots__ = ("furthest", "marks", "size")

    def __init__(self, size: int, length: int) -> None:
        cells = size * (length + 1)
        if cells > _MAX_CELLS:
            raise FhirPathError(
                "The regular expression is too large for a string of this length.",
                kind="too-costly",
            )
        self.size = size
        self.marks = bytearray(cells)
        self.furthest = 0

    def add(self, step: int, at: int) -> bool:
        """Mark a pair; False where it was marked before."""
        cell = at * self.size + step
        if self.marks[cell]:
            return False
        self.marks[cell] = 1
        self.furthest = max(self.furthest, at)
        return True

    def clear(self, start: int) -> None:
        """Forget what was tried from a place on: a match was found, and the next is looked for."""
        if start <= self.furthest:
            begin, end = start * self.size, (self.furthest + 1) * self.size
            self.marks[begin:end] = bytes(end - begin)
        self.furthest = start


@dataclass(frozen=True, slots=True)
class _Run:
    work: Work
    seen: _Seen
    groups: int


def _run(program: tuple[Step, ...], text: str, begin: int, run: _Run) -> Captures | None:
    """Return the groups of the match that begins at a place; None where there is none."""
    stack: list[tuple[int, int, Captures]] = [(0, begin, (-1,) * (2 * run.groups))]
    counted = 0
    while stack:
        at, place, groups = stack.pop()
        while run.seen.add(at, place):
            counted += 1
            if counted >= _BATCH:
                run.work.spend(_PRICE)
                counted -= _BATCH
            step = program[at]
            at += 1
            match step.kind:
                case "one":
                    if place >= len(text) or text[place] not in step.chars:  # type: ignore[operator] # it has a set
                        break
                    place += 1
                case "fork":
                    stack.append((step.other, place, groups))
                    at = step.to
                case "jump":
                    at = step.to
                case "save":
                    groups = (*groups[: step.to], place, *groups[step.to + 1 :])
                    counted += len(groups) // _GROUPS_COPIED
                case "assert":
                    if not _holds(step.what, text, place):
                        break
                case "look":
                    run.work.spend(1 + counted // (_BATCH // _PRICE))
                    counted = 0
                    if _looks(step, text, place, run) is (step.what == "not"):
                        break
                case _:
                    run.work.spend(1)
                    return (begin, place, *groups[2:])
    run.work.spend(1 + counted // (_BATCH // _PRICE))
    return None


def _looks(step: Step, text: str, place: int, run: _Run) -> bool:
    # Each look has a table of its own, and to fill one takes time: as for the whole expression.
    run.work.spend(1 + len(text) // _BATCH + len(step.program) * len(text) // _CELLS)
    seen = _Seen(len(step.program), len(text))
    return _run(step.program, text, place, _Run(run.work, seen, run.groups)) is not None


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at] == "_" or text[at].isalnum())


def _holds(what: str, text: str, at: int) -> bool:
    match what:
        case "start":
            return at == 0
        case "end":
            return at == len(text)
        case "line-start":
            return at == 0 or text[at - 1] == "\n"
        case "line-end":
            return at == len(text) or text[at] == "\n"
    is_edge = _is_word(text, at - 1) != _is_word(text, at)
    return is_edge if what == "word" else not is_edge
