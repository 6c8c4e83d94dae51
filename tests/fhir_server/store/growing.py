"""Stores of one engine that hold the same kind of people in different numbers, asked in turn."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

from pymongo import AsyncMongoClient

from adapters.submissions.intake import submit_envelope
from fhir_server.interactions.context import FhirRequest
from fhir_server.model import codec
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
_AT_ONCE: Final = 50
"""People in a commit."""
_PAGE: Final = 5
_DAY: Final = datetime(2026, 11, 1, tzinfo=UTC)

Ask = Callable[["Grown", int], Awaitable[None]]


@dataclass(slots=True)
class Grown:
    """A store, and how many people it holds; the numbers of the dossiers that it has not had."""

    store: Store
    people: int
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


async def fill(grown: Grown) -> None:
    """Fill an empty store."""
    for first in range(0, grown.people, _AT_ONCE):
        people = range(first, min(first + _AT_ONCE, grown.people))
        await grown.store.commit(Batch(writes=[one for n in people for one in _of(n)]))
    for version in range(2, VERSIONS + 1):
        changed = range(0, grown.people, CHANGED)
        for first in range(0, len(changed), 500):
            writes = [_patient(n, version) for n in changed[first : first + 500]]
            await grown.store.commit(Batch(writes=writes))


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
        flat_from: Resources from which on it is flat. A fifth of all people are gathered and
            sorted while they are fewer than `plan.LEVELS[0]`, and else are looked for along
            the order: the cost grows up to there.
    """

    name: str
    ask: Ask
    times: int
    flat_from: int = 0


ROWS: Final = (
    Work("read by id", _read, 200),
    Work("Patient by identifier", _identifier, 50),
    Work("Observation by patient and code, newest first", _newest, 25),
    Work("Observation by date", _date, 25),
    Work("Patient by beginning of a name, ten match", _name, 50),
    Work("Patient by beginning of a name, a fifth match", _names, 50, flat_from=100_000),
    Work("Observation by a chain", _chain, 25),
    Work("count of a type", _count, 50),
    Work("history of a resource", _history, 50),
    Work("$everything of 20", _everything, 10),
    Work("dossier", _dossier, 8),
)


# --- measuring ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measured:
    """A row as measured.

    Attributes:
        micros: Median of a call at each size.
        reference: Median of the reference loop meanwhile, in microseconds.
        ratios: Cost at each size by the cost at the smallest: median of the rounds.
        worst: The greatest of the ratios to the first size from which on it is flat.
    """

    name: str
    micros: tuple[float, ...]
    reference: float
    ratios: tuple[float, ...]
    worst: float


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
    micros = [statistics.median(costs) * 1e6 for costs in zip(*rounds, strict=True)]
    flat = [at for at, one in enumerate(grown) if one.resources >= work.flat_from]
    return Measured(
        work.name,
        tuple(micros),
        statistics.median(references) * 1e6,
        tuple(_ratio(rounds, at, 0) for at in range(len(grown))),
        max((_ratio(rounds, at, flat[0]) for at in flat), default=1.0),
    )


def _ratio(rounds: Sequence[Sequence[float]], at: int, base: int) -> float:
    return statistics.median(costs[at] / costs[base] for costs in rounds)


def table(engine: str, grown: Sequence[Grown], rows: Sequence[Measured]) -> str:
    """Return rows as a Markdown table."""
    sizes = [f"{one.resources:,}" for one in grown]
    head = ["Work", *(f"µs at {one}" for one in sizes), *(f"× at {one}" for one in sizes[1:])]
    lines = [f"## {engine}", "", _row([*head, "reference µs"]), _row(["---"] * (len(head) + 1))]
    for row in rows:
        cells = [f"{one:,.0f}" for one in row.micros] + [f"{one:.2f}" for one in row.ratios[1:]]
        lines.append(_row([row.name, *cells, f"{row.reference:,.0f}"]))
    return "\n".join(lines) + "\n"


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
