"""`make bench`: a server from a clean folder, the load, and one table beside the machine's floor.

`python -m tests.bench` starts its own server, over SQLite or, where the variable STORE says
`mongodb`, over three members of its own; `--base-url URL --token T` runs what is plain FHIR
against any other one.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from fhir_server.demo_dossiers import CASES, Person, envelope, visit
from fhir_server.model import codec
from tests.bench import floor, mongo_floor
from tests.bench.load import (
    SYSTEM,
    Request,
    Row,
    get,
    measure,
    memory,
    observation,
    patient,
    post,
    transaction,
)
from tests.people import MOTHER
from tests.server import Server

CLIENTS = 16
MANY_CLIENTS = 64
READ_BY_MANY = f"read by id, {MANY_CLIENTS} clients"


class Table:
    """The rows, printed as they come."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        print("| Work | requests/s | p50 ms | p99 ms | CPU ms a request | own memory MB |")
        print("| --- | --- | --- | --- | --- | --- |")

    def add(self, row: Row) -> None:
        """Print one row."""
        self.rows.append(row)
        print(
            f"| {row.name} | {row.rate:,.0f} | {row.p50:.1f} | {row.p99:.1f} "
            f"| {row.cpu * 1e3:.2f} | {row.memory:.0f} |",
            flush=True,
        )

    def rate(self, name: str) -> float:
        """Return requests a second of a row."""
        return next(row.rate for row in self.rows if row.name == name)


def ids(answers: list[bytes]) -> list[str]:
    """Return `Type/id` of the resources that answers hold."""
    found = []
    for answer in answers:
        body = codec.loads(answer)
        if body["resourceType"] == "Bundle":
            found += [
                "/".join(e["response"]["location"].split("/_history")[0].split("/")[-2:])
                for e in body["entry"]
            ]
        else:
            found.append(f"{body['resourceType']}/{body['id']}")
    return found


def session(base_url: str, token: str) -> aiohttp.ClientSession:
    """Return a client that calls with this token."""
    return aiohttp.ClientSession(
        base_url=base_url,
        headers={"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"},
        connector=aiohttp.TCPConnector(limit=MANY_CLIENTS),
    )


def post_transactions(first: int, keep: list[bytes]) -> Request:
    """Return a request that posts a transaction of 20 entries, the first of that number."""
    return post(
        "/fhir",
        lambda n: codec.dumps(transaction(first + n)),
        status=200,
        content_type="application/fhir+json",
        keep=keep,
    )


def get_some(names: list[str]) -> Request:
    """Return a request that reads one resource of these."""
    return get(lambda n: f"/fhir/{names[n % len(names)]}", check=lambda r: "id" in r)


def as_served(http: aiohttp.ClientSession, names: list[str], pid: int) -> mongo_floor.Served:
    """Return how the server is asked for what the driver alone does beside it."""
    sent = itertools.count(2_000_000, 1_000)

    async def transactions(count: int) -> float:
        request = post_transactions(next(sent), [])
        return (await measure("", http, request, count, CLIENTS, pid)).rate

    async def reads(count: int, clients: int) -> float:
        return (await measure("", http, get_some(names), count, clients, pid)).rate

    return mongo_floor.Served(transactions, reads)


async def plain(base_url: str, token: str, pid: int, table: Table, scale: float) -> list[str]:
    """Measure what any FHIR server has; return the Patients' names."""

    def many(count: int) -> int:
        return max(CLIENTS, int(count * scale))

    fhir = {"status": 201, "content_type": "application/fhir+json"}
    async with session(base_url, token) as http:

        async def line(name: str, request: Any, count: int, clients: int = CLIENTS) -> None:
            table.add(await measure(name, http, request, many(count), clients, pid))

        people: list[bytes] = []
        create = post("/fhir/Patient", lambda n: codec.dumps(patient(n)), keep=people, **fhir)
        await line("create, durable, audited", create, 4000)
        patients = ids(people)
        await line(
            "create Observation",
            post(
                "/fhir/Observation",
                lambda n: codec.dumps(observation(n, patients[n % len(patients)])),
                keep=[],
                **fhir,
            ),
            4000,
        )
        answers: list[bytes] = []
        await line("20-entry transaction", post_transactions(1_000_000, answers), 500)
        bundled = [name for name in ids(answers[:200]) if name.startswith("Patient/")]

        def of(n: int) -> str:
            return bundled[n % len(bundled)]

        some = get_some(patients)
        await line("read by id", some, 12000)
        await line(READ_BY_MANY, some, 12000, MANY_CLIENTS)
        await line(
            "Patient by identifier",
            get(
                lambda n: f"/fhir/Patient?identifier={SYSTEM}|P{n % many(4000):08d}",
                check=lambda r: len(r["entry"]) >= 1,
            ),
            4000,
        )
        await line(
            "Observation by patient and code, newest first",
            get(
                lambda n: f"/fhir/Observation?patient={of(n)}&code=718-7&_sort=-date",
                check=lambda r: len(r["entry"]) >= 1,
            ),
            3000,
        )
        await line(
            "search by token",
            get(
                lambda _: "/fhir/Observation?code=http://loinc.org|789-8&_count=20",
                check=lambda r: len(r["entry"]) == 20,
            ),
            1000,
        )
        await line(
            "search by date",
            get(
                lambda n: f"/fhir/Observation?date=ge2024-{n % 12 + 1:02d}-01&_count=20",
                check=lambda r: len(r["entry"]) == 20,
            ),
            1000,
        )
        whole = min(200, many(500))
        await line(
            "chained search",
            get(
                lambda n: (
                    f"/fhir/Observation?patient.identifier={SYSTEM}|P{1_000_000 + n % whole:08d}"
                ),
                check=lambda r: len(r["entry"]) >= 19,
            ),
            1000,
        )
        await line(
            "name begins with, folded",
            get(lambda _: "/fhir/Patient?family=nguyen", check=lambda r: len(r["entry"]) >= 20),
            1000,
        )
        big = codec.loads(people[0])
        bundle = {
            "resourceType": "Bundle",
            "type": "transaction",
            "entry": [
                {
                    "resource": observation(5_000_000 + n, f"Patient/{big['id']}"),
                    "request": {"method": "POST", "url": "Observation"},
                }
                for n in range(199)
            ],
        }
        headers = {"Content-Type": "application/fhir+json"}
        async with http.post("/fhir", data=codec.dumps(bundle), headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        everything = f"/fhir/Patient/{big['id']}/$everything?_count=1000"
        async with http.get(everything) as answer:
            there = answer.status == 200
        if there:
            await line(
                "$everything of 200",
                get(lambda _: everything, check=lambda r: len(r["entry"]) >= 200),
                400,
            )
    return patients


def dossier(number: int) -> bytes:
    """Return one dossier of a person who comes three times."""
    random = Random(number)
    person = Person(
        f"NGƯỜI ĐO {chr(65 + number // 3 % 26)}",
        f"099170{number // 3:06d}",
        (datetime(1970, 1, 1) + timedelta(days=number // 3)).date(),
        "1",
        f"GD4991{number // 3:09d}",
        ma_bn=f"BN-BENCH-{number // 3}",
    )
    start = datetime(2025, 3, 1, 7, 0) + timedelta(hours=number * 2)
    rows = visit(person, "01999", f"BENCH-{number}", start, CASES[number % 5], random)
    return envelope("01999", [rows])


async def ours(server: Server, pid: int, table: Table, scale: float) -> None:
    """Measure what is of this product: dossiers, the book, the claim check."""

    def many(count: int) -> int:
        return max(CLIENTS, int(count * scale))

    bodies = [dossier(n) for n in range(many(1500))]
    async with session(server.url, server.token(client="hospital-01999")) as http:
        push = post(
            "/submissions", bodies.__getitem__, status=200, content_type="application/xml", keep=[]
        )
        table.add(await measure("dossier (XML1-5)", http, push, len(bodies), CLIENTS, pid))
    async with session(server.url, server.token(citizen=MOTHER)) as http:
        async with http.get("/fhir/Patient") as answer:
            own = codec.loads(await answer.read())["entry"][0]["resource"]["id"]
        book = get(
            lambda _: f"/fhir/Patient/{own}/$health-book", check=lambda r: r["type"] == "document"
        )
        table.add(await measure("$health-book, 3 years", http, book, many(400), 4, pid))
    async with session(server.url, server.token(client="insurer-bhxh")) as http:
        async with http.get("/fhir/Claim?_count=100") as answer:
            claims = [e["resource"]["id"] for e in codec.loads(await answer.read())["entry"]]
        check = post_check(claims)
        table.add(await measure("claim check", http, check, many(400), 4, pid))


def post_check(claims: list[str]) -> Any:
    """Return a request that has a claim checked."""

    async def request(http: aiohttp.ClientSession, number: int) -> None:
        async with http.post(f"/fhir/Claim/{claims[number % len(claims)]}/$check") as answer:
            body = await answer.read()
            assert answer.status == 200, body[:500]

    return request


def hot_reads(server: Server, path: str, token: str) -> str:
    """Return wrk's requests a second for one path, where Debian's wrk is installed."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "not measured (wrk is not installed)"
    done = subprocess.run(
        [wrk, "-t1", "-c16", "-d5s", "-H", f"Authorization: Bearer {token}", server.url + path],
        capture_output=True,
        text=True,
        check=True,
    )
    return next(line.split()[1] for line in done.stdout.splitlines() if "Requests/sec" in line)


async def on_disk(server: Server) -> int:
    """Return the bytes of the store's files, on one member."""
    if server.engine == "mongodb":
        return await mongo_floor.on_disk(server.store)
    return sum(file.stat().st_size for file in server.folder.glob("fhir.db*"))


async def bench(scale: float, workers: int) -> None:
    """Start a server, load it, print the table."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    server = Server(folder, arguments=("--demo", "--workers", str(workers))).start()
    try:
        assert server.process is not None
        pid = server.process.pid
        table = Table()
        token = server.token(client="system")
        patients = await plain(server.url, token, pid, table, scale)
        await ours(server, pid, table, scale)
        print(f"\nHot reads by wrk: {hot_reads(server, f'/fhir/{patients[0]}', token)} requests/s")
        own, mapped = memory(pid)
        size = await on_disk(server)
        print(
            f"Server at the end: {own:.0f} MB of its own and {mapped:.0f} MB of mapped files "
            f"resident, {size / 1e6:.0f} MB on disk."
        )
        if server.engine == "mongodb":
            async with session(server.url, token) as http:
                served = as_served(http, patients, pid)
                rounds = await mongo_floor.beside(server.store, served, scale)
            print("\n" + "\n".join(mongo_floor.lines(rounds)))
        print("\nFloor of this machine, measured in the same run:")
        for text in await asyncio.to_thread(lambda: list(floor.lines(folder))):
            print(f"- {text}")
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Run the bench."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of requests")
    parser.add_argument("--workers", type=int, default=1, help="processes of the server")
    parser.add_argument("--base-url", help="another FHIR server (its origin; FHIR at /fhir)")
    parser.add_argument("--token", default="")
    parser.add_argument("--pid", type=int, help="its process, for CPU and memory")
    arguments = parser.parse_args()
    if arguments.base_url:
        if not arguments.pid:
            sys.exit("--pid is needed to watch another server's CPU and memory")
        table = Table()
        asyncio.run(
            plain(arguments.base_url, arguments.token, arguments.pid, table, arguments.scale)
        )
    else:
        asyncio.run(bench(arguments.scale, arguments.workers))


if __name__ == "__main__":
    main()
