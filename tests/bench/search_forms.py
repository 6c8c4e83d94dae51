"""Every form of search, timed at two sizes of a store beside one another, each answer checked.

    [STORE=mongodb] python -m tests.bench.search_forms [--sizes 20000 200000] [--calls 40]
                    [--only REGEX] [--keep PLACE]

Each form is a request to the FHIR app in this process, as `system`: routing, parsing, policy,
store, AuditEvent and the Bundle's bytes are in its time, the socket is not. The sizes take turns
call by call, so what else the machine does is in both alike. The 99th percentile of forty calls
is the slowest of them. The table is `test-results/<date>-search-forms-<store>.md`; the exit
status is 1 where an answer is wrong, or a form takes longer than it may (`Form.limit`).
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import hashlib
import itertools
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pymongo import AsyncMongoClient

from fhir_server.model import codec
from fhir_server.model.outcome import Unavailable
from fhir_server.model.primitives import format_instant, from_micros
from fhir_server.rest.routes import fhir_app
from fhir_server.store.mongo.store import MongoStore
from fhir_server.store.port import Batch, Put, Store, Write
from fhir_server.store.sqlite.store import SqliteStore
from tests.bench.search_forms_data import BASE, NOW, Population, Resource
from tests.bench.search_forms_table import FORMS_ASKED, GATE, PAGE, Form
from tests.conftest import Clock, World
from tests.contracts.making import made
from tests.data import ROOT
from tests.mongo import shared
from tests.mongo.replica_set import ReplicaSet, forget

ENGINE: Final = os.environ.get("STORE", "sqlite")
SIZES: Final = (20_000, 200_000)
COUNT: Final = 20
"""Resources of a page."""
CACHE: Final = 1.0
"""Gigabytes that each member of MongoDB caches."""
LONGEST: Final = 15.0
"""Seconds of one form, after which it is called no more than LEAST times."""
LEAST: Final = 5
_AT_ONCE: Final = 500
"""Resources of a commit."""
_SAID_EVERY: Final = 5.0
_BEAT: Final = 0.001
_REFUSED: Final = 8
_MADE: Final = ("bench", "search-forms")
"""The ledger record that says what a store was filled with, once it is whole."""


def said(line: str) -> None:
    """Show how far it has come."""
    print(f"  {datetime.now().astimezone():%H:%M:%S} {line}", file=sys.stderr, flush=True)


# --- filling -----------------------------------------------------------------------------------


def fingerprint(population: Population) -> bytes:
    """Return what tells a population from any other: a kept store may hold an older one."""
    digest = hashlib.sha256()
    for one in population.everything():
        digest.update(codec.dumps(one))
    return digest.hexdigest().encode()


async def fill(store: Store, population: Population) -> None:
    """Fill an empty store, a batch made ready while the one before is written.

    Raises:
        Unavailable: It goes on being too busy.
    """
    began = shown = time.monotonic()
    written = 0
    batches = _batches(population)
    ready = await asyncio.to_thread(next, batches, None)
    while ready is not None:
        coming = asyncio.create_task(asyncio.to_thread(next, batches, None))
        await _put(store, ready)
        written += len(ready)
        ready = await coming
        if (now := time.monotonic()) - shown > _SAID_EVERY:
            shown = now
            rate = written / (now - began)
            said(f"{written:,} of {population.size:,} written, {rate:,.0f} a second")
    said(f"{written:,} resources in {time.monotonic() - began:.0f} s")


def _batches(population: Population) -> Iterator[list[Write]]:
    numbered = enumerate(population.everything())
    while batch := [
        made(one, at=population.updated(number))
        for number, one in itertools.islice(numbered, _AT_ONCE)
    ]:
        yield batch


async def _put(store: Store, writes: list[Write]) -> None:
    """Commit; where the store is too busy again, as a loader does."""
    last = writes[-1]
    for tried in range(_REFUSED):
        try:
            await store.commit(Batch(writes=writes))
        except Unavailable as error:
            said(f"a batch was refused: {error}")
            if tried == _REFUSED - 1:
                raise
            await asyncio.sleep(2)
            if await store.read(last.resource_type, last.resource_id) is not None:
                return  # it was made, and the answer alone was lost
        else:
            return


# --- stores ------------------------------------------------------------------------------------


@asynccontextmanager
async def addresses(keep: str) -> AsyncIterator[Callable[[int], str]]:
    """Give the address of the store of each size: of a file, or of a database.

    Args:
        keep: Where stores are left, and found again: a folder, or of MongoDB an address without
            a database; "" is a folder, or members, that are gone at the end.
    """
    if ENGINE == "sqlite":
        with tempfile.TemporaryDirectory(prefix="search-forms-") as folder:
            yield lambda size: f"{keep or folder}/forms-{size}.db"
    elif keep or shared.NAMED:
        server = keep or shared.NAMED
        path, _, options = server.partition("?")
        yield lambda size: f"{path.rstrip('/')}/search_forms_{size}?{options}"
    else:
        members = ReplicaSet(Path(tempfile.mkdtemp(prefix="search-forms-")), cache=CACHE)
        try:
            members.start()
            yield lambda size: members.url(f"search_forms_{size}")
        finally:
            members.stop()
            forget(members.folder)


async def opened(address: str) -> Store:
    """Open a store."""
    if ENGINE == "sqlite":
        Path(address).parent.mkdir(parents=True, exist_ok=True)
        return await SqliteStore.open(Path(address))
    return await MongoStore.open(address)


async def _removed(address: str) -> None:
    if ENGINE == "sqlite":
        for file in Path(address).parent.glob(f"{Path(address).name}*"):
            file.unlink()
        return
    async with AsyncMongoClient[dict[str, Any]](address) as client:
        await client.drop_database(client.get_default_database().name)


async def filled(address: str, population: Population) -> Store:
    """Open the store of a size; where it is not there, or is of another population, make it."""
    mark = await asyncio.to_thread(fingerprint, population)
    store = await opened(address)
    if await store.get(*_MADE) == mark:
        said(f"{population.size:,} resources are there")
        return store
    await store.close()
    await _removed(address)
    store = await opened(address)
    await fill(store, population)
    await store.commit(Batch(puts=[Put(*_MADE, mark)]))
    return store


# --- asking ------------------------------------------------------------------------------------


class Wrong(Exception):
    """An answer is not what must be found."""


@dataclass
class Side:
    """A store of one size, and the app over it."""

    population: Population
    store: Store
    world: World = field(init=False)
    app: Any = field(init=False)
    matching: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(store=self.store, clock=Clock(NOW.replace(tzinfo=UTC)))
        self.app = fhir_app(self.world.context_of, base_url=BASE)

    async def ask(self, path: str, query: bytes) -> bytes:
        """Send one search to the app, and return the body of its answer.

        Raises:
            Wrong: It is none.
        """
        sent: list[Any] = []

        arriving = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> Any:
            # Behind the request there is nothing but the end of the connection: it is waited for.
            return next(arriving, None) or await asyncio.Event().wait()

        async def send(message: Any) -> None:  # noqa: RUF029 - of ASGI
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": path, "raw_path": path.encode(),
            "query_string": query, "headers": [(b"authorization", b"Bearer system")],
            "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http",
            "root_path": "", "state": {}, "http_version": "1.1",
        }  # fmt: skip
        await self.app(scope, receive, send)
        answer = b"".join(message.get("body", b"") for message in sent[1:])
        if sent[0]["status"] != 200:
            raise Wrong(f"{sent[0]['status']}: {_refusal(answer)}")
        return answer

    def url(self, form: Form, number: int) -> tuple[str, bytes]:
        """Return the path and query of a form; of one that varies, of a number."""
        population = self.population
        # 7919 is prime: the people are from everywhere, and no one comes twice in a row.
        text = form.url.format(
            p=number * 7919 % population.people,
            s=population.rare_person(number),
            l=2 + number % (population.lists - 2),
        )
        return _parts(text if form.counts_only else _with_count(text))

    def count(self, forms: Sequence[Form]) -> None:
        """Count what matches each form, once for all of them."""
        once = {form.url: form for form in forms if form.is_match is not None}
        by_type: dict[str, list[Form]] = {}
        everywhere = [form for form in once.values() if not form.types]
        for form in once.values():
            for kind in form.types:
                by_type.setdefault(kind, []).append(form)
        found: Counter[str] = Counter()
        for number, one in enumerate(self.population.everything()):
            stored = _as_stored(one, self.population.updated(number))
            for form in (*by_type.get(one["resourceType"], ()), *everywhere):
                if form.is_match is not None and form.is_match(stored, self.population):
                    found[form.url] += 1
        self.matching = {url: found[url] for url in once}

    async def start(self, form: Form) -> tuple[str, bytes] | None:
        """Return the page that a form asks for, of one that is turned to; None: the first.

        Raises:
            Wrong: The pages end before.
        """
        if not form.turns:
            return None
        here = self.url(form, 0)
        for relation in ["next"] * form.turns + ["previous"] * form.back:
            bundle = codec.loads(await self.ask(*here))
            links = {one["relation"]: one["url"] for one in bundle["link"]}
            if relation not in links:
                raise Wrong(f"there is no {relation} page")
            path, _, query = links[relation].removeprefix(BASE).partition("?")
            here = f"/fhir{path}", query.encode()
        return here

    def check(self, form: Form, body: bytes) -> None:
        """Look at an answer.

        Raises:
            Wrong: It is not what must be found.
        """
        bundle = codec.loads(body)
        by_mode: dict[str, list[Resource]] = {"match": [], "include": []}
        for entry in bundle.get("entry", []):
            by_mode.setdefault(entry["search"]["mode"], []).append(entry["resource"])
        matches = by_mode["match"]
        if "outcome" in by_mode:
            raise Wrong(f"an OperationOutcome: {by_mode['outcome']}")
        for one in matches:
            if form.types and form.types != ("*",) and one["resourceType"] not in form.types:
                raise Wrong(f"a {one['resourceType']} is no match")
            if form.is_match is not None and not form.is_match(one, self.population):
                raise Wrong(f"{one['resourceType']}/{one['id']} is no match")
        self._check_number(form, bundle, len(matches))
        missing = set(form.brings) - {one["resourceType"] for one in by_mode["include"]}
        if missing:
            raise Wrong(f"no {', '.join(missing)} came along")
        _check_order(form, matches)

    def _check_number(self, form: Form, bundle: Resource, found: int) -> None:
        total = bundle.get("total")
        if form.is_match is None:
            if found < min(form.least, COUNT):
                raise Wrong(f"{found} matches, not {form.least} at least")
            return
        matching = self.matching[form.url]
        if form.total and total is None:
            raise Wrong("there is no total")
        if total is not None and total != matching:
            raise Wrong(f"the total is {total}, not {matching}")
        expected = 0 if form.counts_only else min(COUNT, matching)
        if found != expected:
            raise Wrong(f"{found} matches on the page, not {expected}")


def _as_stored(resource: Resource, updated: int) -> Resource:
    """Return a resource with the time of its write."""
    meta = resource.get("meta", {}) | {"lastUpdated": format_instant(from_micros(updated))}
    return {**resource, "meta": meta}


def _check_order(form: Form, matches: Sequence[Resource]) -> None:
    if form.key is None:
        return
    keys = []
    for one in matches:
        try:
            keys.append(form.key(one))
        except KeyError:  # those without it are last, and then no more is to be seen
            break
    if keys != sorted(keys, reverse=form.descending):
        raise Wrong("the matches are in another order")


def _with_count(text: str) -> str:
    return f"{text}{'&' if '?' in text else '?'}_count={COUNT}"


def _parts(text: str) -> tuple[str, bytes]:
    path, _, query = text.partition("?")
    return f"/fhir/{path}".rstrip("/"), quote(query, safe="=&,:/|$*()'").encode()


def _refusal(answer: bytes) -> str:
    try:
        return str(codec.loads(answer)["issue"][0]["details"]["text"])
    except Exception:  # noqa: BLE001 - whatever it is, its beginning is shown
        return repr(answer[:200])


# --- measuring ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A form as measured.

    Attributes:
        p50: Median at each size, in milliseconds.
        p99: 99th percentile at each size.
        held: How long others waited for the event loop meanwhile, at the greatest size.
        wrong: What was wrong with an answer; "" where none was.
    """

    form: Form
    p50: tuple[float, ...] = ()
    p99: tuple[float, ...] = ()
    calls: int = 0
    held: float = 0.0
    wrong: str = ""

    @property
    def ratio(self) -> float:
        """Median at the greatest size by that at the smallest."""
        return self.p50[-1] / self.p50[0]

    @property
    def is_slow(self) -> bool:
        """Whether it takes longer than it may."""
        return not self.wrong and max(self.p50) > self.form.limit

    @property
    def verdict(self) -> str:
        """What is to be said of it."""
        if self.wrong:
            return f"WRONG: {self.wrong}"
        if self.is_slow:
            return f"over {self.form.limit:g}"
        return f"p99 over {self.form.limit:g}" if max(self.p99) > self.form.limit else ""


async def measured(form: Form, sides: Sequence[Side], calls: int) -> Row:
    """Measure a form: the sizes take turns, every answer of a first round is looked at."""
    starts = []
    try:
        for side in sides:
            starts.append(start := await side.start(form))
            for number in range(2):
                side.check(form, await side.ask(*(start or side.url(form, number))))
        return await _timed(form, sides, starts, calls)
    except Wrong as error:
        return Row(form, wrong=str(error))


async def _timed(
    form: Form, sides: Sequence[Side], starts: Sequence[tuple[str, bytes] | None], calls: int
) -> Row:
    gc.collect()
    taken: list[list[float]] = [[] for _ in sides]
    began = time.monotonic()
    last = b""
    for number in range(2, calls + 2):
        if number - 2 >= LEAST and time.monotonic() - began > LONGEST:
            break
        turn = number % len(sides)
        for at in (*range(turn, len(sides)), *range(turn)):
            url = starts[at] or sides[at].url(form, number)
            clock = time.perf_counter()
            last = await sides[at].ask(*url)
            taken[at].append((time.perf_counter() - clock) * 1e3)
    sides[at].check(form, last)
    url = starts[-1] or sides[-1].url(form, 0)
    held = min([await _held(sides[-1], url) for _ in range(3)])
    return Row(
        form,
        tuple(statistics.median(times) for times in taken),
        tuple(percentile(times, 0.99) for times in taken),
        len(taken[0]),
        held,
    )


async def _held(side: Side, url: tuple[str, bytes]) -> float:
    """Return the longest that one search keeps others from the event loop, in milliseconds."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await asyncio.sleep(_BEAT)
            longest = max(longest, time.perf_counter() - began - _BEAT)

    beating = asyncio.create_task(beat())
    await asyncio.sleep(2 * _BEAT)
    await side.ask(*url)
    await asyncio.sleep(2 * _BEAT)
    beating.cancel()
    return longest * 1e3


def percentile(times: Sequence[float], part: float) -> float:
    """Return the least of the times that so great a part is not above."""
    return sorted(times)[math.ceil(part * len(times)) - 1]


# --- telling -----------------------------------------------------------------------------------


def name_of(form: Form) -> str:
    """Return what a form is called in the table."""
    turned = f" — {form.turns} pages on" if form.turns else ""
    return f"`{form.url.replace('|', chr(92) + '|')}`{turned}{', one back' if form.back else ''}"


def head(sizes: Sequence[int]) -> list[str]:
    """Return the head of the table."""
    cells = ["Form", "Search"]
    cells += [f"{what} at {size:,}" for size in sizes for what in ("p50 ms", "p99 ms")]
    cells += ["ratio", "others wait ms", "matches", ""]
    return [f"| {' | '.join(cells)} |", f"|{' --- |' * len(cells)}"]


def line(row: Row, sides: Sequence[Side]) -> str:
    """Return a row of the table."""
    times = [f"{one:.1f}" for pair in zip(row.p50, row.p99, strict=True) for one in pair] or [
        "-"
    ] * (2 * len(sides))
    ratio, held = (f"{row.ratio:.2f}", f"{row.held:.0f}") if row.p50 else ("-", "-")
    matching = sides[-1].matching.get(row.form.url)
    gate = " gate" if row.form.is_gate else ""
    cells = (
        row.form.group + gate, name_of(row.form), *times, ratio, held,
        "" if matching is None else f"{matching:,}", row.verdict.replace("|", "/"),
    )  # fmt: skip
    return f"| {' | '.join(cells)} |"


def summary(rows: Sequence[Row], sizes: Sequence[int]) -> list[str]:
    """Return in a few lines how many are within their limits."""
    good = [row for row in rows if not row.wrong]
    slow = [row for row in good if row.is_slow]
    gates = [row for row in good if row.form.is_gate]
    wrong = len(rows) - len(good)
    limits = f"p50: {GATE:g} ms of a gate, {PAGE:g} ms of another"
    told = [f"{len(rows)} forms; {wrong} answered wrong; {len(slow)} above their limit ({limits})."]
    floor = [row for row in good if row.form == FORMS_ASKED[0]]
    if floor:
        told.append(f"Floor (nothing found, AuditEvent durable): {floor[0].p50[-1]:.1f} ms.")
    if gates:
        told.append(
            f"Gates: {len(gates)}, the slowest p50 at {sizes[-1]:,} "
            f"{max(row.p50[-1] for row in gates):.1f} ms."
        )
    if good:
        told.append(
            f"Ratio of {sizes[-1]:,} to {sizes[0]:,}: median "
            f"{statistics.median(row.ratio for row in good):.2f}, greatest "
            f"{max(row.ratio for row in good):.2f}."
        )
        told.append(
            f"Slowest call {max(max(row.p99) for row in good):,.0f} ms; "
            f"others wait for the event loop {max(row.held for row in good):.0f} ms at most."
        )
    return told


async def bench(sizes: Sequence[int], calls: int, only: str, keep: str) -> bool:
    """Fill the stores, or find them, measure, print and keep the table; return whether all is well.

    Raises:
        SystemExit: No form is named so.
    """
    forms = [form for form in FORMS_ASKED if re.search(only, f"{form.group} {form.url}")]
    if not forms:
        sys.exit(f"no form is found by {only!r}")
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(addresses(keep))
        sides = []
        for size in sizes:
            said(f"{ENGINE}: {size:,} resources")
            population = Population(size)
            side = Side(population, await filled(address(size), population))
            stack.push_async_callback(side.store.close)
            await asyncio.to_thread(side.count, forms)
            sides.append(side)
        gc.collect()
        gc.freeze()
        rows = []
        print("\n".join(head(sizes)), flush=True)
        for form in forms:
            rows.append(row := await measured(form, sides, calls))
            print(line(row, sides), flush=True)
        told = summary(rows, sizes)
        print("\n" + "\n".join(f"measured: {one}" for one in told))
        print("no table is kept of some" if only else _written(rows, sides, told, calls))
    return not any(row.wrong or row.is_slow for row in rows)


def _written(rows: Sequence[Row], sides: Sequence[Side], told: Sequence[str], calls: int) -> str:
    """Keep the table, and return where."""
    now = datetime.now().astimezone()
    path = ROOT / "test-results" / f"{now:%Y-%m-%d}-search-forms-{ENGINE}.md"
    path.parent.mkdir(exist_ok=True)
    sizes = [side.population.size for side in sides]
    busy = f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores"
    lines = [
        f"# {now:%Y-%m-%d %H:%M}: forms of search over {ENGINE}", "",
        *(f"* {one}" for one in told),
        f"* {calls} calls each at each size; the machine was busy at the end: {busy}.", "",
        *head(sizes), *(line(row, sides) for row in rows), "",
    ]  # fmt: skip
    with path.open("a", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return str(path.relative_to(ROOT))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.search_forms")
    sizes = [int(size) for size in os.environ.get("TEST_SEARCH_FORMS", "").split()] or SIZES
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="resources, ascending")
    parser.add_argument("--calls", type=int, default=40, help="of each form, at each size")
    parser.add_argument("--only", default="", help="a regular expression of group and search")
    parser.add_argument("--keep", default="", help="a folder or MongoDB where stores are left")
    asked = parser.parse_args()
    return 0 if asyncio.run(bench(asked.sizes, asked.calls, asked.only, asked.keep)) else 1


if __name__ == "__main__":
    sys.exit(main())
