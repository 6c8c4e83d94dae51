"""Where the time of a read, a create, a 20-entry transaction and a dossier goes, stage by stage.

`python -m tests.bench.stages` builds the whole app over a demo store of its own in this process,
sends each request to it as ASGI, one after the other, and prints a Markdown table each: what a
stage computes (CPU of its thread), and how long it takes, what else the machine does included.
Sockets and uvicorn are not in it (25 µs a request); one client alone waits for an fsync of its own,
which many clients at once share.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import inspect
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters.submissions import intake, keep
from adapters.submissions import routes as submissions
from adapters.vneid.client import new_http
from fhir_server import log
from fhir_server.app import Composition, Serving
from fhir_server.interactions import audit, label, plan, transaction
from fhir_server.interactions.linking import Links
from fhir_server.model import codec
from fhir_server.operations import dossier as dossiers
from fhir_server.operations.visit import Visit
from fhir_server.prepare import prepare
from fhir_server.rest import request as rest_request
from fhir_server.rest import routes
from fhir_server.rest.access_log import AccessLog
from fhir_server.serve import build_app
from fhir_server.settings import Settings
from fhir_server.store.sqlite.apply import Applier
from fhir_server.store.sqlite.store import SqliteStore
from fhir_server.store.sqlite.writer import Writer
from fhir_server.stores import open_store
from tests.bench.__main__ import dossier, ids
from tests.bench.load import patient
from tests.bench.load import transaction as bundle_of_twenty

OTHER = "routing, policy, headers, log"
WAIT = "wait for the commit: hand over, wake up"

COMMON: tuple[tuple[Any, str, str], ...] = (
    (routes, "authenticated", "who asks"),
    (audit, "record", "audit record"),
    (SqliteStore, "commit", WAIT),
    (Writer, "_commit", "COMMIT: WAL and fsync"),
    (Applier, "begin", "store: apply"),
    (Applier, "apply", "store: apply"),
    (Applier, "flush", "store: index rows"),
)
WRITING: tuple[tuple[Any, str, str], ...] = (
    (plan, "validate", "validate"),
    (plan, "index_values", "index values"),
    (plan, "labelled", "label"),
    (label.codec, "dumps", "encode"),
    (Links, "of", "references: find"),
    (Links, "resolve", "references: resolve"),
    (plan.Plan, "make", "plan: names, preconditions, stamps"),
)
STAGES: dict[str, tuple[tuple[Any, str, str], ...]] = {
    "read by id": (
        *COMMON,
        (SqliteStore, "read", "store: read"),
        (routes, "rendered", "answer"),
    ),
    "create": (*COMMON, *WRITING, (rest_request, "parsed", "parse")),
    "20-entry transaction": (
        *COMMON,
        *WRITING,
        (rest_request, "parsed", "parse"),
        (transaction, "_ordered", "entries: read"),
        (transaction, "ask_in", "entries: read"),
        (transaction, "response_of", "answer"),
        (transaction, "dumps", "answer"),
    ),
    "dossier (XML1-5)": (
        *COMMON,
        *WRITING,
        (intake.Intake, "read", "parse: XML, base64, rows"),
        (intake, "check", "check the rules"),
        (intake, "receive", "intake: keep, receipt"),
        (keep, "_compress", "keep: compress"),
        (dossiers, "fingerprint", "fingerprint"),
        (intake, "commit_dossier", "the visit's ledger record, entries"),
        (dossiers, "to_bundle", "map to FHIR"),
        (Visit, "of", "person, shared resources, references"),
        (Visit, "overlaps", "overlapping visits"),
        (submissions, "encode", "answer"),
    ),
}
"""What is timed for each work: where the function is called by its name, and the stage it is."""


@dataclass(slots=True)
class Spent:
    """Seconds by the clock, and of them those that the processor worked."""

    wall: float = 0.0
    cpu: float = 0.0

    def add(self, other: Spent, sign: int = 1) -> None:
        """Add another's, or take it off."""
        self.wall += sign * other.wall
        self.cpu += sign * other.cpu


def now() -> Spent:
    """Return both clocks, of this thread."""
    return Spent(time.perf_counter(), time.thread_time())


def since(began: Spent) -> Spent:
    """Return what has passed."""
    passed = now()
    passed.add(began, -1)
    return passed


@dataclass(slots=True)
class Clock:
    """Time by stage; what a timed function calls that is timed too is not counted twice."""

    spent: defaultdict[str, Spent] = field(default_factory=lambda: defaultdict(Spent))
    _local: threading.local = field(default_factory=threading.local)

    def _begin(self) -> tuple[Spent, Spent]:
        stack: list[tuple[Spent, Spent]] = self._local.__dict__.setdefault("stack", [])
        stack.append((now(), Spent()))
        return stack[-1]

    def _end(self, stage: str, frame: tuple[Spent, Spent]) -> None:
        stack = self._local.stack
        passed = since(frame[0])
        stack.remove(frame)
        self.spent[stage].add(passed)
        self.spent[stage].add(frame[1], -1)
        if stack:
            stack[-1][1].add(passed)
        elif threading.current_thread() is not threading.main_thread():
            # The loop waits for the writer's thread: its time is no time of waiting.
            self.spent[WAIT].wall -= passed.wall

    def timed(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time taken."""
        if inspect.iscoroutinefunction(function):

            async def timed_later(*args: Any, **kwargs: Any) -> Any:
                frame = self._begin()
                try:
                    return await function(*args, **kwargs)
                finally:
                    self._end(stage, frame)

            return timed_later

        def timed(*args: Any, **kwargs: Any) -> Any:
            frame = self._begin()
            try:
                return function(*args, **kwargs)
            finally:
                self._end(stage, frame)

        return timed

    @contextmanager
    def over(self, stages: tuple[tuple[Any, str, str], ...]) -> Iterator[None]:
        """Time these functions."""
        kept = [(owner, name, inspect.getattr_static(owner, name)) for owner, name, _ in stages]
        for owner, name, stage in stages:
            function = inspect.getattr_static(owner, name)
            is_class_method = isinstance(function, classmethod)
            inner = function.__func__ if is_class_method else function
            made = self.timed(stage, inner)
            setattr(owner, name, classmethod(made) if is_class_method else made)
        try:
            yield
        finally:
            for owner, name, function in kept:
                setattr(owner, name, function)


WRITERS = frozenset({"COMMIT: WAL and fsync", "store: apply", "store: index rows"})
"""Stages of the writer's thread."""

Asked = tuple[str, str, bytes, str, bytes]
"""Method, path, token, media type, body."""


async def ask(app: Any, asked: Asked) -> bytes:
    """Send one request to the app, and return the body of its answer."""
    method, path, token, media_type, body = asked
    sent: list[Any] = []

    arriving = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        # Behind the request there is nothing but the end of the connection: it is waited for.
        return next(arriving, None) or await asyncio.Event().wait()

    async def send(message: Any) -> None:  # noqa: RUF029 - of ASGI
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8080"), (b"authorization", b"Bearer " + token)]
    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(),
        "query_string": b"", "headers": [*headers, (b"content-type", media_type.encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080), "scheme": "http",
        "root_path": "", "state": {}, "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    answer = b"".join(message.get("body", b"") for message in sent[1:])
    assert sent[0]["status"] < 300, answer[:500]
    return answer


async def measured(app: Any, name: str, requests: list[Asked]) -> None:
    """Send the requests, the first tenth to warm up, and print where their time went."""
    first = len(requests) // 10
    for asked in requests[:first]:
        await ask(app, asked)
    clock = Clock()
    with clock.over(STAGES[name]):
        began = now()
        for asked in requests[first:]:
            await ask(app, asked)
        whole = since(began)
    other = Spent(whole.wall, whole.cpu)
    for stage, spent in clock.spent.items():
        other.wall -= spent.wall
        other.cpu -= spent.cpu if stage not in WRITERS else 0
    clock.spent[OTHER] = other
    report(name, clock.spent, (len(requests) - first) / 1e6)


def report(name: str, spent: dict[str, Spent], millions: float) -> None:
    """Print one table, what computes most first."""
    cpu = sum(one.cpu for one in spent.values())
    wall = sum(one.wall for one in spent.values())
    print(f"\n| {name} | CPU µs | share | wall µs |\n| --- | --- | --- | --- |")
    for stage, one in sorted(spent.items(), key=lambda item: -item[1].cpu):
        print(
            f"| {stage} | {one.cpu / millions:,.0f} | {one.cpu / cpu:.0%} "
            f"| {one.wall / millions:,.0f} |"
        )
    print(f"| **all** | **{cpu / millions:,.0f}** | | **{wall / millions:,.0f}** |", flush=True)


async def stages(folder: Path, scale: float) -> None:
    """Build the app over a new demo store, and measure."""
    log.configure("json")
    settings = Settings(store=f"sqlite:///{folder}/fhir.db", keys=folder / "keys")
    store = await open_store(settings)
    try:
        serving = Serving(demo=True)
        composition = Composition(settings, store, serving.origin(settings))
        await prepare(composition, serving)
        async with new_http() as http:
            app = await build_app(composition, serving, http)
            app.access_log = AccessLog(lambda _: None)  # type: ignore[attr-defined]
            gc.collect()
            gc.freeze()
            await measure_all(app, composition, scale)
    finally:
        await store.close()


async def measure_all(app: Any, composition: Composition, scale: float) -> None:
    """Measure the four works."""
    system = (await composition.token("system", None, None)).encode()
    hospital = (await composition.token("hospital-01999", None, None)).encode()
    json, xml = "application/fhir+json", "application/xml"
    bundles: list[Asked] = [
        ("POST", "/fhir", system, json, codec.dumps(bundle_of_twenty(n)))
        for n in range(int(330 * scale))
    ]
    made = await ask(app, ("POST", "/fhir", system, json, codec.dumps(bundle_of_twenty(-1))))
    path = f"/fhir/{ids([made])[0]}"
    await measured(app, "read by id", [("GET", path, system, json, b"")] * int(3300 * scale))
    people: list[Asked] = [
        ("POST", "/fhir/Patient", system, json, codec.dumps(patient(n)))
        for n in range(int(1650 * scale))
    ]
    await measured(app, "create", people)
    await measured(app, "20-entry transaction", bundles)
    sent: list[Asked] = [
        ("POST", "/submissions", hospital, xml, dossier(n)) for n in range(int(330 * scale))
    ]
    await measured(app, "dossier (XML1-5)", sent)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.stages")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stages-"))
    try:
        asyncio.run(stages(folder, arguments.scale))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
