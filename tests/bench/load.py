"""The load: the same requests against any FHIR server, every answer checked.

A base URL and a token are all it needs; what is of our own product (dossiers, the book, the
claim check) is in `__main__`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import aiohttp

from fhir_server.model import codec

CODES = ("718-7", "789-8", "6690-2", "2345-7", "2093-3", "8480-6", "8462-4", "29463-7")
FAMILIES = ("Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ")
GIVEN = ("An", "Bình", "Chi", "Dũng", "Giang", "Hà", "Khánh", "Lan", "Minh", "Ngọc", "Phúc")
SYSTEM = "urn:oid:2.16.704.999.1"

Request = Callable[[aiohttp.ClientSession, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    count: int
    seconds: float
    p50: float
    p99: float
    cpu: float
    memory: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.count / self.seconds


def patient(number: int) -> dict[str, Any]:
    """Return a synthetic Patient."""
    random = Random(number)
    family, given = random.choice(FAMILIES), random.choice(GIVEN)
    return {
        "resourceType": "Patient",
        "identifier": [{"system": SYSTEM, "value": f"P{number:08d}"}],
        "active": True,
        "name": [{"text": f"{family} Văn {given}", "family": family, "given": ["Văn", given]}],
        "gender": random.choice(("male", "female")),
        "birthDate": f"{random.randint(1930, 2024)}-{random.randint(1, 12):02d}-11",
        "address": [{"city": random.choice(("Hà Nội", "Huế", "Đà Nẵng")), "country": "VN"}],
    }


def observation(number: int, subject: str) -> dict[str, Any]:
    """Return a synthetic Observation of a subject, of one of eight codes."""
    random = Random(number)
    return {
        "resourceType": "Observation",
        "identifier": [{"system": SYSTEM, "value": f"O{number:09d}"}],
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                    }
                ]
            }
        ],
        "code": {
            "coding": [{"system": "http://loinc.org", "code": CODES[number % len(CODES)]}],
            "text": "Xét nghiệm",
        },
        "subject": {"reference": subject},
        "effectiveDateTime": f"{random.randint(2020, 2026)}-{random.randint(1, 12):02d}-"
        f"{random.randint(1, 28):02d}T08:{random.randint(0, 59):02d}:00+07:00",
        "valueQuantity": {
            "value": round(random.uniform(1, 200), 1),
            "unit": "mmol/L",
            "system": "http://unitsofmeasure.org",
            "code": "mmol/L",
        },
    }


def transaction(number: int) -> dict[str, Any]:
    """Return a transaction of one Patient and nineteen Observations."""
    full_url = f"urn:uuid:00000000-0000-4000-8000-{number:012d}"
    entries = [
        {
            "fullUrl": full_url,
            "resource": patient(number),
            "request": {"method": "POST", "url": "Patient"},
        }
    ]
    entries += [
        {
            "resource": observation(number * 19 + line, full_url),
            "request": {"method": "POST", "url": "Observation"},
        }
        for line in range(19)
    ]
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def processes(root: int) -> list[int]:
    """Return a process and its descendants."""
    found = [root]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += [int(child) for child in task.read_text().split()]
    return found


def usage(root: int) -> tuple[float, float]:
    """Return CPU seconds and megabytes of their own of a server's processes (Linux)."""
    seconds = 0.0
    for pid in processes(root):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        seconds += (int(fields[11]) + int(fields[12])) / 100
    return seconds, memory(root)[0]


def memory(root: int) -> tuple[float, float]:
    """Return megabytes of a server's processes: their own, and pages of files that they map.

    What is mapped is counted once for each map of it, though the system has it once, and takes it
    where it needs to: a store whose connections map its file seems to grow with each.
    """
    own = mapped = 0.0
    for pid in processes(root):
        told = dict(re.findall(r"Rss(\w+):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()))
        own += int(told["Anon"]) * 1024 / 1e6
        mapped += (int(told["File"]) + int(told["Shmem"])) * 1024 / 1e6
    return own, mapped


async def measure(
    name: str, session: aiohttp.ClientSession, request: Request, count: int, clients: int, pid: int
) -> Row:
    """Run `request` so many times by so many clients at once, and return the line."""
    times: list[float] = []
    numbers = iter(range(count))

    async def client() -> None:
        for number in numbers:
            began = time.perf_counter()
            await request(session, number)
            times.append(time.perf_counter() - began)

    cpu, _ = usage(pid)
    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    seconds = time.perf_counter() - began
    cpu_after, own = usage(pid)
    times.sort()
    p50, p99 = (times[int(len(times) * share)] for share in (0.5, 0.99))
    return Row(name, count, seconds, p50 * 1e3, p99 * 1e3, (cpu_after - cpu) / count, own)


def get(path: Callable[[int], str], *, check: Callable[[Any], bool]) -> Request:
    """Return a request that reads a path and checks the parsed answer."""

    async def request(session: aiohttp.ClientSession, number: int) -> None:
        async with session.get(path(number)) as answer:
            body = await answer.read()
            assert answer.status == 200, (answer.status, body[:300])
            # One answer in a hundred is parsed: the generator shares the machine.
            if number % 100 == 0:
                assert check(codec.loads(body)), body[:300]

    return request


def post(
    path: str, body: Callable[[int], bytes], *, status: int, content_type: str, keep: list[bytes]
) -> Request:
    """Return a request that posts a body; the answers' bytes are kept."""

    async def request(session: aiohttp.ClientSession, number: int) -> None:
        headers = {"Content-Type": content_type}
        async with session.post(path, data=body(number), headers=headers) as answer:
            data = await answer.read()
            assert answer.status == status, (answer.status, data[:500])
            keep.append(data)

    return request
