"""A process that commits batches and prints each that was answered; started by tests.

python writing.py FILE NAME COUNT
"""

from __future__ import annotations

import asyncio
import sys

from fhir_server.search.expression import TokenIs
from fhir_server.store.port import AuditRecord, Batch, CommitRefused, Matches, Put
from fhir_server.store.sqlite.store import SqliteStore
from tests.contracts.making import made, observation, patient


def batch_of(name: str) -> Batch:
    """Return a Patient, five Observations, a record and an audit entry, all of one name."""
    identifier = [{"system": "b", "value": name}]
    others = [made(observation(f"{name}-{n}", name, identifier=identifier)) for n in range(5)]
    return Batch(
        writes=[made(patient(name, identifier=identifier)), *others],
        conditions=[Matches("Patient", TokenIs("identifier", "b", name))],
        puts=[Put("batch", name, b"made")],
        audit=[AuditRecord(1, name.encode(), (name,))],
    )


async def main(path: str, name: str, count: int) -> None:
    """Commit batches, four at a time."""
    store = await SqliteStore.open(path)
    numbers = iter(range(count))

    async def write() -> None:
        for number in numbers:
            batch = f"b-{name}-{number}"
            try:
                await store.commit(batch_of(batch))
            except CommitRefused:
                print("refused", flush=True)
            else:
                print(batch, flush=True)

    await asyncio.gather(*(write() for _ in range(4)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
