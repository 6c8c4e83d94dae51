"""Stores of one engine that hold the same kind of people in different numbers, asked in turn."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from pymongo import AsyncMongoClient

from adapters.submissions.intake import submit_envelope
from fhir_server.interactions.context import FhirRequest
from fhir_server.interactions.perform import perform
from fhir_server.model import codec
from fhir_server.model.outcome import Unavailable
from fhir_server.operations.everything import everything
from fhir_server.search.expression import Search
from fhir_server.store.port import Batch, Store, Write
from tests.bench.__main__ import dossier
from tests.bench.load import SYSTEM, observation, patient
from tests.conftest import Clock, World
from tests.contracts.making import START, asked, made

EACH: Final = 20
"""Resources of one person: a Patient and nineteen Observations."""
CHANGED: Final = 25
"""One Patient of so many has VERSIONS versions."""
VERSIONS: Final = 6
ROUNDS: Final = 5
FLAT: Final = 1.25
TRIES: Final = 3
_AT_ONCE: Final = 20
"""People in a commit."""
_SAID_EVERY: Final = 10.0
"""Seconds between two lines about how far filling has come."""
_REFUSED: Final = 8
"""A batch that is refused so often in a row, in ever smaller parts, ends it."""
_PAUSE: Final = 5.0
"""Seconds that a busy store is left alone."""
_PAGE: Final = 5
_DAY: Final = datetime(2026, 11, 1, tzinfo=UTC)

Ask = Callable[["Grown", int], Awaitable[None]]


@dataclass(slots=True)
class Grown:
    """A store, and how many people it holds.

    Attributes:
        seconds: How long filling it took.
        refused: How often it refused a batch meanwhile, because it was busy.
        dossiers: The numbers of those that it has not had.
    """

    store: Store
    people: int
    seconds: float = 0
    refused: int = 0
    world: World = field(init=False)
    dossiers: Iterator[int] = field(default_factory=count)

    def __post_init__(self) -> None:
        self.world = World(store=self.store, clock=Clock(_DAY))

    @property
    def resources(self) -> int:
        """How many resources it was filled with."""
        return self.people * EACH

    def person(self, number: int) -> int:
        """Return one of its people, another for each number, from everywhere in it."""
        return Random(number).randrange(self.people)


Said = Callable[[str], None]
"""Is told how far filling has come."""


async def fill(grown: Grown, said: Said = lambda _: None) -> None:
    """Fill an empty store, a batch made ready while the one before is written."""
    began = shown = time.monotonic()
    written = 0
    batches = _batches(grown.people)
    ready = await asyncio.to_thread(next, batches, None)
    while ready is not None:
        coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
        await _put(grown, ready, said)
        written += len(ready)
        ready = await coming
        if (now := time.monotonic()) - shown > _SAID_EVERY:
            shown = now
            rate = written / (now - began)
            said(f"{written:,} written for {grown.resources:,} resources, {rate:,.0f} a second")
    grown.seconds = time.monotonic() - began
    said(f"{grown.resources:,} resources in {grown.seconds:.0f} s")


def _batches(people: int) -> Iterator[list[Write]]:
    for first in range(0, people, _AT_ONCE):
        yield [one for n in range(first, min(first + _AT_ONCE, people)) for one in _of(n)]
    for version in range(2, VERSIONS + 1):
        changed = range(0, people, CHANGED)
        for first in range(0, len(changed), _AT_ONCE * EACH):
            yield [_patient(n, version) for n in changed[first : first + _AT_ONCE * EACH]]


async def _put(grown: Grown, writes: list[Write], said: Said) -> None:
    """Commit, and where the store is too busy again, half of it at a time, as a loader does.

    A batch that is refused is said and counted; what goes on being refused is a failure.
    """
    waiting = [writes]
    refused = 0
    while waiting:
        part = waiting.pop()
        try:
            await grown.store.commit(Batch(writes=part))
        except Unavailable as error:
            grown.refused += 1
            refused += 1
            said(f"a batch of {len(part)} was refused: {error}")
            if refused > _REFUSED:
                raise
            await asyncio.sleep(_PAUSE)
            if not await _is_there(grown.store, part[-1]):
                half = (len(part) + 1) // 2
                waiting += [one for one in (part[half:], part[:half]) if one]
        else:
            refused = 0


async def _is_there(store: Store, write: Write) -> bool:
    """Whether a write was made, of which that was not known."""
    found = await store.vread(write.resource_type, write.resource_id, write.version_id)
    return found is not None


def _of(number: int) -> Iterator[Write]:
    yield _patient(number)
    for line in range(EACH - 1):
        whole = observation(number * EACH + line, f"Patient/p{number}")
        yield made({**whole, "id": f"o{number}-{line}"}, at=START + number)


def _patient(number: int, version: int = 1) -> Write:
    whole = {**patient(number), "id": f"p{number}", "active": version % 2 == 1}
    whole["name"][0]["given"].append(_given(number))
    return made(whole, version, at=START + number + (version - 1) * 1_000_000)


def _given(number: int) -> str:
    """Return a name that ten people share but for its last letter."""
    return f"Tổ{number // 10:06d}{'abcdefghij'[number % 10]}"


# --- what is asked -----------------------------------------------------------------------------


async def _read(grown: Grown, number: int) -> None:
    found = await grown.store.read("Observation", f"o{grown.person(number)}-{number % 19}")
    assert found is not None


async def _asked_read(grown: Grown, number: int) -> None:
    request = FhirRequest(
        "read", resource_type="Observation", resource_id=f"o{grown.person(number)}-{number % 19}"
    )
    result = await perform(grown.world.context(), request)
    assert result.version is not None


async def _search(grown: Grown, search: Search, least: int) -> None:
    assert len((await grown.store.search(search)).versions) >= least


async def _identifier(grown: Grown, number: int) -> None:
    value = f"{SYSTEM}|P{grown.person(number):08d}"
    await _search(grown, asked("Patient", f"identifier={value}", count=_PAGE), 1)


async def _newest(grown: Grown, number: int) -> None:
    of = f"patient=p{grown.person(number)}&code=http://loinc.org|718-7&_sort=-date"
    await _search(grown, asked("Observation", of, count=_PAGE), 2)


async def _date(grown: Grown, number: int) -> None:
    of = f"date=ge2024-{number % 12 + 1:02d}-01"
    await _search(grown, asked("Observation", of, count=_PAGE), _PAGE)


async def _name(grown: Grown, number: int) -> None:
    of = f"given={_given(grown.person(number)).lower()[:-1]}"
    await _search(grown, asked("Patient", of, count=_PAGE), _PAGE)


async def _names(grown: Grown, _number: int) -> None:
    await _search(grown, asked("Patient", "family=p", count=_PAGE), _PAGE)


async def _word(grown: Grown, number: int) -> None:
    of = f"_content=văn {_given(grown.person(number))}"
    await _search(grown, asked("Patient", of, count=_PAGE), 1)


async def _words(grown: Grown, _number: int) -> None:
    await _search(grown, asked("Observation", "_content=nghiệm", count=_PAGE), _PAGE)


async def _chain(grown: Grown, number: int) -> None:
    of = f"patient.identifier={SYSTEM}|P{grown.person(number):08d}"
    await _search(grown, asked("Observation", of, count=_PAGE), _PAGE)


async def _count(grown: Grown, _number: int) -> None:
    page = await grown.store.search(asked("Patient", count=0, total="accurate"))
    assert page.total is not None
    assert page.total >= grown.people


async def _history(grown: Grown, number: int) -> None:
    one = grown.person(number) // CHANGED * CHANGED
    page = await grown.store.history("Patient", f"p{one}")
    assert len(page.versions) == VERSIONS


async def _everything(grown: Grown, number: int) -> None:
    request = FhirRequest(
        "operation", resource_type="Patient", resource_id=f"p{grown.person(number)}",
        operation="$everything", method="GET", url="",
    )  # fmt: skip
    result = await everything(grown.world.context(), request)
    assert len(codec.loads(result.body or b"")["entry"]) == EACH


async def _dossier(grown: Grown, _number: int) -> None:
    # Three dossiers in a row are one person's: each of these is another's.
    body = dossier(3 * next(grown.dossiers))
    receipt = await submit_envelope(grown.world.context(), body)
    assert [one["status"] for one in receipt["dossiers"]] == ["created"], receipt


@dataclass(frozen=True, slots=True)
class Work:
    """One row.

    Attributes:
        ask: One call.
        times: How often in a round.
        flat_from: Resources from which on it is flat, and judged.
        why: Why it is not below that.
    """

    name: str
    ask: Ask
    times: int
    flat_from: int = 0
    why: str = ""


ROWS: Final = (
    Work("read by id: policy, store, AuditEvent", _asked_read, 100),
    Work("read by id: the store's part of it", _read, 200),
    Work("Patient by identifier", _identifier, 50),
    Work("Observation by patient and code, newest first", _newest, 25),
    Work("Observation by date", _date, 25),
    Work("Patient by beginning of a name, ten match", _name, 50),
    Work(
        "Patient by beginning of a name, a fifth match",
        _names,
        50,
        flat_from=100_000,
        why="up to 500 matches are all gathered, of more the newest are looked for",
    ),
    Work("Patient by two words, a rare one and a frequent one", _word, 50),
    Work("Observation by a word that all have", _words, 50),
    Work("Observation by a chain", _chain, 25),
    Work("count of a type", _count, 50),
    Work("history of a resource", _history, 50),
    Work("$everything of 20", _everything, 10),
    Work("dossier", _dossier, 8),
)


# --- measuring ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """A row as measured once.

    Attributes:
        micros: Median of a call at each size.
        reference: Median of the reference loop in each round meanwhile, in microseconds.
        ratios: Cost at each size by the cost at the smallest: median of the rounds.
        flat: The same by the cost at the first size from which on it is flat; 1 before that.
    """

    micros: tuple[float, ...]
    reference: tuple[float, ...]
    ratios: tuple[float, ...]
    flat: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row, and every measurement of it: the first, or it and those that were taken again."""

    work: Work
    tries: tuple[Measured, ...]

    @property
    def micros(self) -> list[float]:
        """Median of a call at each size, median of the tries."""
        return _medians(one.micros for one in self.tries)

    @property
    def ratios(self) -> list[float]:
        """Cost by the cost at the smallest size, median of the tries."""
        return _medians(one.ratios for one in self.tries)

    @property
    def worst(self) -> float:
        """The greatest of what is judged, median of the tries."""
        return max(_medians(one.flat for one in self.tries))

    @property
    def is_flat(self) -> bool:
        """Whether it costs as much at each size from which on it is to be flat."""
        return self.worst <= FLAT


def _medians(rows: Iterable[Sequence[float]]) -> list[float]:
    return [statistics.median(column) for column in zip(*rows, strict=True)]


async def row_of(work: Work, grown: Sequence[Grown]) -> Row:
    """Measure a row; where it was not flat, TRIES times, so that the median decides.

    The machine has other work, too. No try is left out, and none is preferred.
    """
    tries = [await measured(work, grown)]
    while not Row(work, tuple(tries[:1])).is_flat and len(tries) < TRIES:
        tries.append(await measured(work, grown))
    return Row(work, tuple(tries))


def _reference() -> float:
    """Return the seconds of a fixed piece of work, which holds no store."""
    began = time.perf_counter()
    for _ in range(20):
        codec.loads(codec.dumps(_PIECE))
    return time.perf_counter() - began


_PIECE: Final = observation(1, "Patient/1")
_NUMBERS: Final = iter(range(1, 1 << 30))
"""No number is asked for twice, so people are from all over the store."""


async def measured(work: Work, grown: Sequence[Grown]) -> Measured:
    """Measure a row: call by call the sizes take turns, and the reference loop after them."""
    rounds: list[list[float]] = []
    references: list[float] = []
    for _ in range(work.times):
        number = next(_NUMBERS)
        for one in grown:
            await work.ask(one, number)
    gc.collect()
    for _ in range(ROUNDS):
        taken: list[list[float]] = [[] for _ in grown]
        loops = []
        for time_of_it in range(work.times):
            number = next(_NUMBERS)
            turn = time_of_it % len(grown)
            for which in (*range(turn, len(grown)), *range(turn)):
                began = time.perf_counter()
                await work.ask(grown[which], number)
                taken[which].append(time.perf_counter() - began)
            loops.append(_reference())
        references.append(statistics.median(loops))
        rounds.append([statistics.median(times) for times in taken])
    flat = [at for at, one in enumerate(grown) if one.resources >= work.flat_from]
    sizes = range(len(grown))
    return Measured(
        tuple(statistics.median(costs) * 1e6 for costs in zip(*rounds, strict=True)),
        tuple(one * 1e6 for one in references),
        tuple(_ratio(rounds, at, 0) for at in sizes),
        tuple(_ratio(rounds, at, flat[0]) if at in flat else 1.0 for at in sizes),
    )


def _ratio(rounds: Sequence[Sequence[float]], at: int, base: int) -> float:
    return statistics.median(costs[at] / costs[base] for costs in rounds)


def table(engine: str, grown: Sequence[Grown], rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    sizes = [f"{one.resources:,}" for one in grown]
    costs = [*(f"µs at {one}" for one in sizes), *(f"× at {one}" for one in sizes[1:])]
    head = ["Work", *costs, f"flat (≤ {FLAT})", "measured", "reference µs"]
    lines = [f"## {engine}", "", *_filled(grown), "", _row(head), _row(["---"] * len(head))]
    for row in rows:
        cells = [f"{one:,.0f}" for one in row.micros] + [f"{one:.2f}" for one in row.ratios[1:]]
        loops = [loop for one in row.tries for loop in one.reference]
        reference = f"{statistics.median(loops):,.0f} ({min(loops):,.0f}-{max(loops):,.0f})"
        lines.append(_row([row.work.name, *cells, _judged(row, grown), _tries(row), reference]))
    return "\n".join(lines) + "\n"


def _filled(grown: Sequence[Grown]) -> list[str]:
    return [
        f"* {one.resources:,} resources filled in {one.seconds:.0f} s"
        + (f"; {one.refused} batches refused and sent again" if one.refused else "")
        for one in grown
    ]


def _judged(row: Row, grown: Sequence[Grown]) -> str:
    """Return what came of a row, and what of it was not judged."""
    since = row.work.flat_from
    judged = [one.resources for one in grown if one.resources >= since]
    said = "yes" if row.is_flat else "NO"
    if len(judged) < 2:
        said = "not judged"
    return f"{said}; from {since:,} on: {row.work.why}" if since > grown[0].resources else said


def _tries(row: Row) -> str:
    """Return how often a row was measured, and what each try came to."""
    if len(row.tries) == 1:
        return "once"
    return f"{len(row.tries)} times, " + ", ".join(f"{max(one.flat):.2f}" for one in row.tries)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


# --- bytes -------------------------------------------------------------------------------------


async def on_disk(url: str, resources: int) -> str:
    """Return the bytes a resource of each collection and index of a database, as a table."""
    lines = [_row(["Collection or index", "bytes", "bytes a resource"]), _row(["---"] * 3)]
    whole = 0
    async with AsyncMongoClient[dict[str, Any]](url) as client:
        await client.admin.command("fsync")
        database = client.get_default_database()
        for name in sorted(await database.list_collection_names()):
            stats = await database.command("collStats", name)
            parts = {name: stats["storageSize"]} | {
                f"{name}.{index}": size for index, size in stats["indexSizes"].items()
            }
            whole += sum(parts.values())
            lines += [
                _row([part, f"{size:,}", f"{size / resources:,.1f}"])
                for part, size in parts.items()
                if size > resources
            ]
    lines.append(_row(["all", f"{whole:,}", f"{whole / resources:,.1f}"]))
    return "\n".join(lines) + "\n"


def in_file(path: Path, resources: int) -> str:
    """Return the bytes a resource of a store's file, and what lies beside it."""
    size = sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*"))
    return f"On disk: {size:,} bytes, {size / resources:,.0f} a resource.\n"
