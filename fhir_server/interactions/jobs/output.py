"""What a job has gathered and not yet kept: NDJSON by type, as much as one file may hold."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from fhir_server.interactions.audit import MOST_PATIENTS
from fhir_server.interactions.jobs.kept import file_puts
from fhir_server.interactions.jobs.record import File, Job

if TYPE_CHECKING:
    from fhir_server.store.port import Put

FILE_BYTES: Final = 4_000_000
"""Bytes after which what was gathered is kept, about: a larger resource is a file of its own."""


@dataclass(slots=True)
class Output:
    """Lines by type.

    Attributes:
        patients: Whom they show, all types together: each file names them all.
    """

    lines: dict[tuple[str, bool], list[bytes]] = field(default_factory=dict)
    patients: set[str] = field(default_factory=set)
    size: int = 0

    def add(self, kind: str, line: bytes, *, error: bool = False) -> None:
        """Add a resource, as JSON without a line break."""
        self.lines.setdefault((kind, error), []).append(line)
        self.size += len(line) + 1

    def has_room(self, patients: AbstractSet[str] = frozenset()) -> bool:
        """Return whether more, which shows these Patients, goes into the same files."""
        return self.size < FILE_BYTES and (
            not self.lines or len(self.patients | patients) <= MOST_PATIENTS
        )

    async def kept(self, job_id: str, job: Job) -> tuple[Job, list[Put]]:
        """Return the job with these files, and their records; nothing is left here."""
        puts: list[Put] = []
        for (kind, error), lines in self.lines.items():
            data = b"\n".join([*lines, b""])
            file = File(kind, len(lines), len(data), 0, error=error)
            puts += await file_puts(job_id, job, file, data, () if error else self.patients)
            found = 0 if error else len(lines)
            job = msgspec.structs.replace(
                job, files=job.files + 1, size=job.size + len(data), found=job.found + found
            )
        self.lines, self.patients, self.size = {}, set(), 0
        return job, puts
