"""`fhir-server load`: files of FHIR resources and of dossiers into the store, each once.

A transaction Bundle is loaded whole, anything else a resource at a time. What was loaded is
known by its content's hash, committed with it, so a run that was stopped can be run again.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Literal

from fhir_server.interactions.context import AuditTrail, Context, FhirRequest, FhirResult
from fhir_server.interactions.perform import perform_with
from fhir_server.interactions.transaction import run_transaction
from fhir_server.model import codec
from fhir_server.model.comments import Comments, inside
from fhir_server.model.outcome import FhirError, Malformed
from fhir_server.store.port import Batch, CommitRefused, Put, RecordChanged

BUCKET: Final = "loaded"
SUFFIXES: Final = (".json", ".ndjson", ".xml", ".json.gz", ".ndjson.gz", ".xml.gz")
AT_ONCE: Final = 16

Submit = Callable[[Context, bytes], Awaitable[dict[str, Any]]]
"""Takes a dossier envelope as a caller sent it; gives the receipt."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is loaded as one: a transaction, one resource (as a Bundle of one), or an envelope.

    Attributes:
        share: Its part of the bytes of its file, for the progress.
        comments: Those of the Bundle; None where it did not come as XML.
    """

    kind: Literal["transaction", "resource", "dossiers"]
    place: str
    content: bytes
    bundle: dict[str, Any] | None = None
    share: int = 0
    comments: Comments | None = None

    def key(self, client_id: str) -> str:
        """Under which it is known as loaded by a client: by its content's hash."""
        return f"{client_id}|{sha256(self.content).hexdigest()}"


@dataclass(slots=True)
class Counts:
    """How a run went; `refused` are the lines of PATH.rejected.ndjson."""

    of: Counter[str] = field(default_factory=Counter)
    refused: list[dict[str, Any]] = field(default_factory=list)


def files_of(path: Path) -> list[Path]:
    """Return the files below a path that can be loaded, in the order of their names."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(
        file
        for file in found
        if file.name.endswith(SUFFIXES) and not file.name.endswith(".rejected.ndjson")
    )


def items_of(file: Path) -> Iterator[Item]:
    """Yield what a file holds, each with its part of the file's bytes.

    Raises:
        Malformed: The file is neither FHIR nor a dossier envelope.
    """
    zipped = file.name.endswith(".gz")
    if file.name.removesuffix(".gz").endswith(".ndjson"):
        yield from _lines(file, zipped=zipped)
        return
    items = list(_whole(file, zipped=zipped))
    share = file.stat().st_size // max(1, len(items))
    for item in items:
        yield replace(item, share=share)


def _lines(file: Path, *, zipped: bool) -> Iterator[Item]:
    """Yield an NDJSON file's lines as they are read: the file may be larger than memory."""
    with file.open("rb") as raw:
        before = 0
        stream = gzip.GzipFile(fileobj=raw) if zipped else raw
        try:
            for number, line in enumerate(stream, 1):
                if line.strip():
                    after = raw.tell()
                    yield Item("resource", f"{file}:{number}", line.strip(), share=after - before)
                    before = after
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Malformed("The file is not a whole gzip file.") from error


def _whole(file: Path, *, zipped: bool) -> Iterator[Item]:
    """Yield what a JSON or XML file holds."""
    data = file.read_bytes()
    if zipped:
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise Malformed("The file is not a whole gzip file.") from error
    is_xml = file.name.removesuffix(".gz").endswith(".xml")
    if is_xml and b"GIAMDINHHS" in data[:2000]:
        yield Item("dossiers", str(file), data)
    else:
        parsed, comments = (
            codec.from_commented_xml(data) if is_xml else (codec.parse_resource(data), None)
        )
        yield from _fhir(parsed, comments, data, str(file))


def _fhir(
    resource: dict[str, Any], comments: Comments | None, data: bytes, place: str
) -> Iterator[Item]:
    if resource["resourceType"] != "Bundle" or resource.get("type") in {"document", "message"}:
        yield Item("resource", place, data, _bundle_of(resource), comments=_in_bundle(comments))
    elif resource.get("type") == "transaction":
        yield Item("transaction", place, data, resource, comments=comments)
    else:
        for number, entry in enumerate(resource.get("entry", ())):
            content = codec.dumps([place, number, entry])
            if "request" in entry:
                bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
            elif isinstance(entry.get("resource"), dict):
                bundle = _bundle_of(entry["resource"])
            else:
                continue
            own = inside(comments, "Bundle[0]", f"entry[{number}]", "resource[0]")
            yield Item(
                "resource", f"{place}#entry[{number}]", content, bundle, comments=_in_bundle(own)
            )


def _in_bundle(comments: Comments | None) -> Comments | None:
    """Return those of a resource as those of a Bundle that holds it alone."""
    if comments is None:
        return None
    return {"Bundle[0]": {"entry[0]": {"resource[0]": comments}}}


def _bundle_of(resource: dict[str, Any]) -> dict[str, Any]:
    """One resource as a transaction: under its own id where it has one, else as a new one."""
    kind, own_id = resource.get("resourceType"), resource.get("id")
    request = (
        {"method": "PUT", "url": f"{kind}/{own_id}"}
        if own_id
        else {"method": "POST", "url": f"{kind}"}
    )
    entry = {"resource": resource, "request": request}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}


class Loader:
    """Loads paths as one caller.

    Args:
        ctx: The caller's Context; each item gets an AuditEvent of its own.
        submit: What takes a dossier envelope, as `POST /submissions` does.
        progress: Called with the bytes that are stored more than before, and the counts so far.
    """

    def __init__(
        self, ctx: Context, submit: Submit, progress: Callable[[int, Counts], None]
    ) -> None:
        self._ctx = ctx
        self._submit = submit
        self._progress = progress

    async def load(self, path: Path) -> Counts:
        """Load all that is below a path; return how it went."""
        counts = Counts()
        at_once = asyncio.Semaphore(AT_ONCE)
        running: set[asyncio.Task[None]] = set()

        async def one(item: Item) -> None:
            async with at_once:
                await self._one(item, counts)
            self._progress(item.share, counts)

        for file in files_of(path):
            counts.of["files"] += 1
            try:
                for item in items_of(file):
                    if item.kind == "transaction":
                        # A transaction may refer to what an earlier file holds.
                        await _all(running)
                        await one(item)
                        continue
                    task = asyncio.create_task(one(item))
                    running.add(task)
                    if len(running) >= AT_ONCE * 4:
                        done, running = await asyncio.wait(
                            running, return_when=asyncio.FIRST_COMPLETED
                        )
                        await _all(done)
            except FhirError as error:
                _refuse(counts, str(file), error.outcome(), None)
        await _all(running)
        return counts

    async def _one(self, item: Item, counts: Counts) -> None:
        store = self._ctx.store
        if await store.get(BUCKET, item.key(self._ctx.principal.client_id)) is not None:
            counts.of["already loaded"] += 1
            return
        if item.kind == "dossiers":
            await self._dossiers(item, counts)
            return
        try:
            changed = await self._transaction(item)
        except RecordChanged:
            counts.of["already loaded"] += 1
        except (FhirError, CommitRefused) as error:
            outcome = error.outcome() if isinstance(error, FhirError) else None
            _refuse(
                counts, item.place, outcome, item.bundle or item.content.decode("utf-8", "replace")
            )
        else:
            counts.of["resources"] += changed

    async def _transaction(self, item: Item) -> int:
        bundle = item.bundle or _bundle_of(codec.parse_resource(item.content))
        ctx = replace(self._ctx, trail=AuditTrail())
        mark = Put(BUCKET, item.key(ctx.principal.client_id), b"1", expected=None)
        written = 0

        async def run(ctx: Context, _request: FhirRequest) -> FhirResult:
            nonlocal written
            results = await run_transaction(
                ctx, bundle, comments=item.comments, puts=(mark,), audit=True
            )
            written = len(results)
            patients = {p for r in results if r.version for p in r.version.patients}
            return FhirResult(patients=frozenset(patients))

        request = FhirRequest("transaction", resource=bundle, method="POST", url="")
        await perform_with(ctx, request, run)
        return written

    async def _dossiers(self, item: Item, counts: Counts) -> None:
        try:
            receipt = await self._submit(replace(self._ctx, trail=AuditTrail()), item.content)
        except FhirError as error:
            _refuse(counts, item.place, error.outcome(), None)
            return
        for number, dossier in enumerate(receipt["dossiers"], 1):
            counts.of["dossiers"] += 1
            counts.of[dossier["status"]] += 1
            if dossier["status"] == "rejected":
                place = f"{item.place}#dossier[{number}]"
                counts.refused.append({"place": place, "dossier": dossier})
        if not receipt["rejected"]:
            mark = Put(BUCKET, item.key(self._ctx.principal.client_id), b"1")
            await self._ctx.store.commit(Batch(puts=(mark,)))


async def _all(running: set[asyncio.Task[None]]) -> None:
    if running:
        await asyncio.gather(*running)
        running.clear()


def _refuse(counts: Counts, place: str, outcome: dict[str, Any] | None, content: object) -> None:
    line: dict[str, Any] = {"place": place, "outcome": outcome}
    if content is not None:
        line["resource"] = content
    counts.refused.append(line)


def write_refused(path: Path, counts: Counts) -> Path | None:
    """Write what was refused beside the path, for its owner's eyes alone; None if nothing was."""
    target = path.parent / f"{path.resolve().name}.rejected.ndjson"
    target.unlink(missing_ok=True)
    if not counts.refused:
        return None
    target.touch(mode=0o600)
    with target.open("wb") as out:
        out.writelines(codec.dumps(line) + b"\n" for line in counts.refused)
    return target
