"""The commands of the contract's section 2: `fhir-server serve`, `load`, `token` and so on."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fhir_server import app, copies, doctor, log, stores
from fhir_server.loader import Counts, files_of, write_refused
from fhir_server.model import codec
from fhir_server.model.outcome import FhirError
from fhir_server.reindex import reindex
from fhir_server.settings import Settings, WrongSettings, load_settings

LAST_PORT: Final = 65535
LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and end the process with its exit status."""
    parsed = _parser().parse_args(arguments)
    try:
        settings = load_settings()
        log.configure(settings.log)
        status = parsed.run(settings, parsed)
    except (WrongSettings, stores.Refused) as refusal:
        print(refusal, file=sys.stderr)
        status = 2 if isinstance(refusal, WrongSettings) else 1
    except FhirError as error:
        print(error, file=sys.stderr)
        status = 1
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fhir-server", description="A FHIR R4 health-record server for Viet Nam."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    serve = commands.add_parser("serve", help="run the server")
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", type=_port, default=8080)
    serve.add_argument("--workers", type=_positive, default=1)
    serve.add_argument(
        "--demo", action="store_true", help="add the stand-in VNeID, demo clients and people"
    )
    serve.set_defaults(run=_serve)

    load = commands.add_parser("load", help="load files or folders into the store, each once")
    load.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    load.add_argument("--client", default="system", metavar="ID")
    load.set_defaults(run=_load)

    token = commands.add_parser("token", help="print an access token (demo mode only)")
    whose = token.add_mutually_exclusive_group(required=True)
    whose.add_argument("--client", metavar="ID")
    whose.add_argument("--citizen", metavar="CCCD")
    token.add_argument("--patient", metavar="CCCD-or-id", help="acting for this child")
    token.set_defaults(run=_token)

    client = commands.add_parser("client", help="the OAuth clients")
    actions = client.add_subparsers(required=True, metavar="ACTION")
    add = actions.add_parser("add", help="add a client from a JSON file")
    add.add_argument("file", type=Path, metavar="FILE.json")
    add.set_defaults(run=_client_add)
    actions.add_parser("list", help="list the clients").set_defaults(run=_client_list)
    disable = actions.add_parser("disable", help="disable a client, at its next request")
    disable.add_argument("id", metavar="ID")
    disable.set_defaults(run=_client_disable)

    backup = commands.add_parser("backup", help="a consistent copy, while the server runs")
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.set_defaults(run=_backup)
    restore = commands.add_parser("restore", help="a copy back into a store that nobody serves")
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.set_defaults(run=_restore)

    move = commands.add_parser("move", help="a store into another, of either kind")
    move.add_argument("--from", required=True, metavar="URL", dest="source")
    move.add_argument("--to", required=True, metavar="URL", dest="target")
    move.add_argument("--live", action="store_true", help="the source may be served meanwhile")
    move.set_defaults(run=_move)

    reindex = commands.add_parser("reindex", help="rebuild the search indexes")
    reindex.add_argument("--type", metavar="T", help="of this resource type alone")
    reindex.add_argument("--param", metavar="P", help="because of this search parameter")
    reindex.set_defaults(run=_reindex)

    keys = commands.add_parser("keys", help="the signing keys")
    rotate = keys.add_subparsers(required=True, metavar="ACTION")
    rotate.add_parser("rotate", help="a new signing key").set_defaults(run=_keys_rotate)
    commands.add_parser("verify-audit", help="whether the audit chain is whole").set_defaults(
        run=_verify_audit
    )
    commands.add_parser("doctor", help="what is wrong, and what to do about it").set_defaults(
        run=_doctor
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 < port <= LAST_PORT:
        raise argparse.ArgumentTypeError("a port is from 1 to 65535")
    return port


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def _serve(settings: Settings, parsed: argparse.Namespace) -> int:
    """Listen on loopback; a demo on any other address is warned of."""
    # The web's packages cost a fifth of every other command's start.
    from fhir_server import serve  # noqa: PLC0415

    if parsed.demo and parsed.host and parsed.host not in LOOPBACK:
        print(
            f"WARNING: the demo listens on {parsed.host}: its log-in asks for no proof.",
            file=sys.stderr,
        )
    serving = app.Serving(
        demo=parsed.demo, host=parsed.host or "127.0.0.1", port=parsed.port, workers=parsed.workers
    )
    return serve.serve(settings, serving)


def _load(settings: Settings, parsed: argparse.Namespace) -> int:
    for path in parsed.paths:
        if not path.exists():
            raise stores.Refused(f"{path}: there is no such file or folder.")
    return asyncio.run(_load_all(settings, parsed.paths, parsed.client))


async def _load_all(settings: Settings, paths: list[Path], client_id: str) -> int:
    refused = 0
    async with app.opened(settings) as composition:
        for path in paths:
            total = sum(file.stat().st_size for file in files_of(path))
            with _Progress(str(path), total) as progress:
                loader = await composition.loader(client_id, progress.advance)
                counts = await loader.load(path)
            print(f"{path}: {progress.text(counts)}")
            rejected = write_refused(path, counts)
            if rejected:
                print(f"{path}: {len(counts.refused)} refused, see {rejected}")
            refused += len(counts.refused)
    return 1 if refused else 0


class _Progress:
    """A progress bar where a person looks on, a line every few seconds elsewhere."""

    def __init__(self, name: str, total: int) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.fields[name]}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("load", total=total or 1, name=name, counts="")
        self._console = console
        self._name, self._total, self._done, self._said = name, total or 1, 0, -1

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, size: int, counts: Counts) -> None:
        """Note that so many bytes more are done."""
        self._done += size
        self._bar.update(self._task, advance=size, counts=self.text(counts))
        tenth = self._done * 10 // self._total
        if not self._console.is_terminal and tenth > self._said:
            self._said = tenth
            print(f"{self._name}: {tenth * 10}% {self.text(counts)}", file=sys.stderr)

    @staticmethod
    def text(counts: Counts) -> str:
        """Return the counts as one line."""
        said = [f"{name} {number}" for name, number in counts.of.items()]
        return " · ".join([*said, f"refused {len(counts.refused)}"])


def _token(settings: Settings, parsed: argparse.Namespace) -> int:
    if parsed.patient and not parsed.citizen:
        raise stores.Refused("--patient goes with --citizen.")

    async def run(composition: app.Composition) -> int:
        print(await composition.token(parsed.client, parsed.citizen, parsed.patient))
        return 0

    return _with(settings, run)


def _client_add(settings: Settings, parsed: argparse.Namespace) -> int:
    try:
        record = codec.loads(parsed.file.read_bytes())
    except OSError as error:
        raise stores.Refused(f"{parsed.file}: it cannot be read ({error.strerror}).") from None
    if not isinstance(record, dict):
        raise stores.Refused(f"{parsed.file}: it must hold one JSON object.")

    async def run(composition: app.Composition) -> int:
        client_id, was_there = await composition.add_client(record)
        print(f"{client_id}: {'replaced' if was_there else 'added'}")
        return 0

    return _with(settings, run)


def _client_list(settings: Settings, _parsed: argparse.Namespace) -> int:
    async def run(composition: app.Composition) -> int:
        for line in await composition.list_clients():
            print(line)
        return 0

    return _with(settings, run)


def _client_disable(settings: Settings, parsed: argparse.Namespace) -> int:
    async def run(composition: app.Composition) -> int:
        await composition.disable_client(parsed.id)
        print(f"{parsed.id}: disabled")
        return 0

    return _with(settings, run)


def _backup(settings: Settings, parsed: argparse.Namespace) -> int:
    with _Stages() as stages:
        asyncio.run(copies.backup(stores.Place(settings), parsed.file, stages.said))
    print(f"{parsed.file}: {parsed.file.stat().st_size:,} bytes")
    return 0


def _restore(settings: Settings, parsed: argparse.Namespace) -> int:
    if not parsed.file.is_file():
        raise stores.Refused(f"{parsed.file}: there is no such file.")
    with _Stages() as stages:
        asyncio.run(copies.restore(stores.Place(settings), parsed.file, stages.said))
    print(f"{settings.shown_store}: restored from {parsed.file}")
    return 0


def _move(_settings: Settings, parsed: argparse.Namespace) -> int:
    ours, theirs = stores.Place.at("--from", parsed.source), stores.Place.at("--to", parsed.target)
    with _Stages() as stages:
        outcome = asyncio.run(copies.move(ours, theirs, live=parsed.live, said=stages.said))
    for line in outcome.differences:
        print(line)
    if outcome.different > len(outcome.differences):
        print(f"… and {outcome.different - len(outcome.differences):,} more")
    equal = " · ".join(f"{name} {count:,}" for name, count in outcome.equal.items())
    brought = f"{theirs.address}: {outcome.copied:,} versions brought"
    if outcome.different:
        print(f"{brought}; NOT EQUAL: {outcome.different:,} differences; the same in both: {equal}")
        return 1
    print(f"{brought}; compared and equal: {equal}")
    if parsed.live:
        print(
            "The target may not be served yet: stop the source, then move once more without --live."
        )
    return 0


class _Stages:
    """How far a copy is: a bar for each stage where a person looks on, lines elsewhere."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._lines: set[str] = set()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def said(self, stage: str, done: int, total: int) -> None:
        """Note how much of a stage is done, and of how much (0: that is not known)."""
        counts = f"{done:,} of {max(done, total):,}" if total else f"{done:,}"
        if self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bar.add_task(stage, total=None, counts="")
            self._bar.update(self._tasks[stage], completed=done, total=total or None, counts=counts)
            return
        line = f"{stage}: {done * 10 // total * 10}%" if total else stage
        if line not in self._lines:
            self._lines.add(line)
            print(f"{line} ({counts})" if total else line, file=sys.stderr)


def _reindex(settings: Settings, parsed: argparse.Namespace) -> int:
    async def run(composition: app.Composition) -> int:
        def said(done: int, total: int) -> None:
            if shown:
                print(f"\r{done:,} of {total:,}", end="", file=sys.stderr)

        shown = sys.stderr.isatty()
        done = await reindex(composition, parsed.type, parsed.param, said)
        if shown:
            print(file=sys.stderr)
        print(f"{done:,} resources indexed again")
        return 0

    return _with(settings, run)


def _keys_rotate(settings: Settings, _parsed: argparse.Namespace) -> int:
    print(f"{app.rotate_keys(settings)}: signs from now on; the older keys still verify")
    return 0


def _verify_audit(settings: Settings, _parsed: argparse.Namespace) -> int:
    async def run(composition: app.Composition) -> int:
        whole, text = await composition.verify_audit()
        print(text)
        return 0 if whole else 1

    return _with(settings, run)


def _doctor(settings: Settings, _parsed: argparse.Namespace) -> int:
    findings = asyncio.run(doctor.examine(settings))
    for finding in findings:
        print(finding.line)
    return 0 if all(finding.good for finding in findings) else 1


def _with(settings: Settings, run: Callable[[app.Composition], Awaitable[int]]) -> int:
    """Run over the configured store."""

    async def opened() -> int:
        async with app.opened(settings) as composition:
            return await run(composition)

    return asyncio.run(opened())
