"""Twenty clients at two servers over one replica set whose members fail, and what they were told.

Each client notes what was answered. What was not answered, or with 503, it sends again with the
same content, to either server, as behind a load balancer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final

import httpx2 as httpx

from fhir_server.demo_dossiers import CASES, Person, envelope, visit
from tests.proxy import Cut, Network
from tests.server import Server

CLIENTS: Final = 20
COUNTERS: Final = 4
"""How many of the clients count on the one counter that all read."""
SYSTEM: Final = "urn:test:failing"
HANG: Final = 30.0
"""Seconds in which every call is answered, whatever fails."""
WITHIN: Final = 120.0
"""Seconds in which every write is answered that is tried again and again."""


# --- what is written -------------------------------------------------------------------------


def dossier(key: str, number: int, *, changed: bool = False) -> bytes:
    """Return a dossier of a person of its own, or what is sent later of the same visit."""
    random = Random(number)
    person = Person(
        f"NGƯỜI THỬ {chr(65 + number % 26)}{chr(65 + number // 26 % 26)}",
        f"099190{number:06d}",
        datetime(1990, 1, 1).date() + timedelta(days=number % 360),
        "1",
        f"GD4990{number:09d}",
        ma_bn=f"BN-{key}",
    )
    start = datetime(2026, 10, 1, 7, 0) + timedelta(minutes=number % 40_000)
    rows = visit(person, "01999", key, start, CASES[number % len(CASES)], random)
    if changed:
        rows["XML1"][0]["LY_DO_VV"] = CHANGED
    return envelope("01999", [rows])


CHANGED: Final = "Ho, sốt 3 ngày"


def _code(text: str) -> dict[str, Any]:
    return {"text": text}


def pair_of(key: str) -> dict[str, Any]:
    """Return a transaction of an Observation and one derived from it, each made at most once."""

    def entry(part: str, **more: Any) -> dict[str, Any]:
        return {
            "fullUrl": f"urn:uuid:00000000-0000-4000-8000-00000000000{part}",
            "resource": {
                "resourceType": "Observation",
                "identifier": [{"system": SYSTEM, "value": f"{key}-{part}"}],
                "status": "final",
                "code": _code("failing"),
                **more,
            },
            "request": {
                "method": "POST",
                "url": "Observation",
                "ifNoneExist": f"identifier={SYSTEM}|{key}-{part}",
            },
        }

    first = entry("1", valueString=key)
    second = entry("2", derivedFrom=[{"reference": first["fullUrl"]}])
    return {"resourceType": "Bundle", "type": "transaction", "entry": [second, first]}


def numbered(identity: str, text: str) -> dict[str, Any]:
    """Return a Basic that says a text: what a client counts, or the shared counter."""
    return {"resourceType": "Basic", "id": identity, "code": _code(text)}


def is_counting(key: str) -> bool:
    """Whether what has this key is counted too: what the first clients of transactions write."""
    return int(key.split("-")[1]) < 2 * COUNTERS


def put_entry(resource: dict[str, Any], after: int) -> dict[str, Any]:
    """Return the entry of an update that is refused unless this version is the current one."""
    url = f"{resource['resourceType']}/{resource['id']}"
    request = {"method": "PUT", "url": url} | ({"ifMatch": f'W/"{after}"'} if after else {})
    return {"resource": resource, "request": request}


# --- what was answered -----------------------------------------------------------------------


@dataclass(slots=True)
class Told:
    """What all clients were told.

    Attributes:
        receipts: Of each dossier (MA_LK), the receipts answered, as sent.
        pairs: Of each transaction of `pair_of`, what became of its Observations: their names.
        own: Of each client, the last text of its own resource.
        counted: Of each text that was counted, the counter's version.
        writes: Of each answered write, when it was sent and answered (monotonic seconds).
        longest: The longest call in seconds.
        refused: How many calls were answered 503.
    """

    receipts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    pairs: dict[str, tuple[str, str]] = field(default_factory=dict)
    own: dict[str, int] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)
    writes: list[tuple[float, float]] = field(default_factory=list)
    longest: float = 0.0
    refused: int = 0


class Client:
    """One client: it pushes dossiers or transactions, and reads what it wrote, in turn."""

    def __init__(self, number: int, load: Load, calls: list[httpx.Client]) -> None:
        self.name = f"own-{number}"
        self.number = number
        self.load = load
        self.told = load.told
        self.calls = calls
        self.random = Random(number)
        self.seen: dict[str, int] = {}
        """The newest version seen of what this client reads."""
        self.rounds = 0

    def work(self) -> None:
        """Work until the load is over; what was begun is finished."""
        try:
            while not self.load.is_over.is_set():
                self.rounds += 1
                key = f"FAIL-{self.number}-{self.rounds}"
                if self.number % 2:
                    self._push(key)
                else:
                    self._transact(key)
                self._look("Basic/counter")
        except BaseException:
            self.load.is_over.set()
            raise

    # --- dossiers ----------------------------------------------------------------------------

    def _push(self, key: str) -> None:
        """Push a dossier; every second one is sent anew with a change."""
        number = self.number * 10_000 + self.rounds
        self._submit(key, dossier(key, number), {"created", "unchanged"}, 1)
        if self.rounds % 2 == 0:
            self._submit(key, dossier(key, number, changed=True), {"updated", "unchanged"}, 2)

    def _submit(self, key: str, body: bytes, statuses: set[str], version: int) -> None:
        answer = self.write("/submissions", content=body, media_type="application/xml")
        assert answer.status_code == 200, answer.text
        receipt = answer.json()
        (part,) = receipt["dossiers"]
        assert part["status"] in statuses, receipt
        self.told.receipts.setdefault(key, []).append(receipt)
        assert self._look(part["encounter"])["meta"]["versionId"] == str(version)

    # --- transactions ------------------------------------------------------------------------

    def _transact(self, key: str) -> None:
        answer = self.write("/fhir", json=pair_of(key))
        assert answer.status_code == 200, answer.text
        second, first = (
            "/".join(entry["response"]["location"].split("/")[-4:-2])
            for entry in answer.json()["entry"]
        )
        self.told.pairs[key] = (first, second)
        derived = self._look(second)["derivedFrom"][0]["reference"]
        assert (derived, self._look(first)["valueString"]) == (first, key)
        self._count(key)
        own = self._look(f"Basic/{self.name}")
        assert own["code"]["text"] == key
        assert own["meta"]["versionId"] == str(self.rounds + 1)

    def _count(self, key: str) -> None:
        """Write the own resource, and count, each once: they are refused if they were written."""
        own = put_entry(numbered(self.name, key), self.rounds)
        while True:
            bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [own]}
            before = int(self._look("Basic/counter")["meta"]["versionId"])
            if is_counting(key):
                bundle["entry"] = [own, put_entry(numbered("counter", key), before)]
            answer = self.write("/fhir", json=bundle)
            assert answer.status_code in {200, 409, 412}, answer.text
            is_written = answer.status_code == 200
            if is_written and is_counting(key):
                self.told.counted[key] = before + 1
            if is_written or self._look(f"Basic/{self.name}")["code"]["text"] == key:
                self.told.own[self.name] = self.rounds
                return

    # --- calls -------------------------------------------------------------------------------

    def _look(self, name: str) -> dict[str, Any]:
        """Read a resource; it is never older than this client has seen it."""
        shown = {"Authorization": f"Bearer {self.load.tokens[0]}"}
        answer = self._call("GET", f"/fhir/{name}", headers=shown)[0]
        assert answer.status_code == 200, (name, answer.text)
        found: dict[str, Any] = answer.json()
        version = int(found["meta"]["versionId"])
        assert version >= self.seen.get(name, 0), f"{name} went back in time"
        if name.startswith("Basic/"):
            self.seen[name] = version
        return found

    def write(self, path: str, *, media_type: str = "application/fhir+json", **body: Any) -> Any:
        """Send until it is answered; note when."""
        answer, sent = self._call("POST", path, headers={"Content-Type": media_type}, **body)
        if answer.status_code == 200:
            self.told.writes.append((sent, time.monotonic()))
        return answer

    def _call(self, method: str, path: str, **more: Any) -> tuple[Any, float]:
        """Call one server or the other until the answer is another than 503."""
        until = time.monotonic() + WITHIN
        while True:
            sent = time.monotonic()
            answer = self.random.choice(self.calls).request(method, path, **more)
            self.told.longest = max(self.told.longest, time.monotonic() - sent)
            if answer.status_code != 503:
                return answer, sent
            self.told.refused += 1
            assert time.monotonic() < until, f"{path} was not answered in {WITHIN} s"
            time.sleep(min(float(answer.headers["Retry-After"]), 5))


# --- what fails ------------------------------------------------------------------------------


@dataclass(slots=True)
class Load:
    """The clients at work, and what is done to the members meanwhile.

    Attributes:
        tokens: Of `system`, with which all read and half of them write, and of a hospital.
        recoveries: What failed, and the seconds from then to the first answer to a write that was
            sent after it.
    """

    network: Network
    servers: tuple[Server, ...]
    tokens: tuple[str, str]
    told: Told = field(default_factory=Told)
    recoveries: list[tuple[str, float]] = field(default_factory=list)
    is_over: threading.Event = field(default_factory=threading.Event)

    def run(self, seconds: float, failures: list[str]) -> None:
        """Let the clients work for so long, with these failures evenly over it, each recovered."""
        with ThreadPoolExecutor(CLIENTS + 1) as pool, ExitStack() as stack:
            clients = [self._client(number, stack) for number in range(CLIENTS)]
            first = clients[0]
            first.write("/fhir", json={
                "resourceType": "Bundle", "type": "transaction",
                "entry": [put_entry(numbered(name, "0"), 0)
                          for name in ("counter", *(one.name for one in clients))],
            })  # fmt: skip
            failing = pool.submit(self._fail, seconds, failures)
            working = [pool.submit(client.work) for client in clients]
            for done in (*working, failing):
                done.result()

    def _client(self, number: int, stack: ExitStack) -> Client:
        headers = {"Authorization": f"Bearer {self.tokens[number % 2]}"}
        calls = [
            stack.enter_context(httpx.Client(base_url=one.url, headers=headers, timeout=2 * HANG))
            for one in self.servers
        ]
        return Client(number, self, calls)

    def _fail(self, seconds: float, failures: list[str]) -> None:
        """Let members fail one after the other; what has failed is whole again before the next."""
        began = time.monotonic()
        apart = seconds / (len(failures) + 1)
        try:
            for number, failure in enumerate(failures, 1):
                if self.is_over.wait(max(0.0, began + number * apart - time.monotonic())):
                    return
                self._one(failure)
            self.is_over.wait(max(0.0, began + seconds - time.monotonic()))
        finally:
            self.is_over.set()

    def _one(self, failure: str) -> None:
        members = self.network.members
        primary = members.primary()
        failed = time.monotonic()
        mend: Callable[[int], None]
        if failure == KILL:
            members.kill(primary)
            mend = members.restart
        else:
            self.network.cut(primary, Cut(silent=failure == SILENT))
            mend = self.network.mend
        try:
            self.recoveries.append((failure, self._recovered(failed)))
        finally:
            mend(primary)
        members.wait_for_all()

    def _recovered(self, failed: float) -> float:
        """Return after how many seconds a write was answered that was sent after a failure."""
        while time.monotonic() < failed + WITHIN:
            after = [answered for sent, answered in tuple(self.told.writes) if sent > failed]
            if after:
                return min(after) - failed
            if self.is_over.wait(0.02):
                raise AssertionError("a client failed before the members were back")
        raise AssertionError(f"no write was answered within {WITHIN} s of a failure")


KILL: Final = "kill -9"
CUT: Final = "cut"
SILENT: Final = "silent cut"
