"""`fhir-server serve`: every path of the contract's section 4 as one ASGI app, under uvicorn."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx2
import msgspec
import uvicorn
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from adapters.submissions.openapi import PATHS as PATHS_OF_SUBMISSIONS
from adapters.submissions.openapi import SCHEMAS
from adapters.submissions.routes import submissions_routes
from adapters.vneid.client import Registration, new_http
from adapters.vneid.stand_in.provider import RelyingParty, StandIn
from adapters.vneid.stand_in.routes import stand_in_routes
from auth.server.keys import FolderKeys
from auth.server.oauth import OAuthError, error_answer
from auth.server.routes import auth_routes
from fhir_server import demo, log
from fhir_server.app import META, Composition, Serving, now
from fhir_server.chores import at_chores
from fhir_server.model.outcome import UnknownResource
from fhir_server.operations.table import OPERATIONS
from fhir_server.parent import when_parent_ends
from fhir_server.prepare import prepare
from fhir_server.rest.draining import Draining
from fhir_server.rest.health import PATHS, health_app
from fhir_server.rest.metrics import Metrics
from fhir_server.rest.middleware import Outermost
from fhir_server.rest.routes import fhir_app
from fhir_server.rest.together import counted
from fhir_server.settings import Settings, WrongSettings, load_settings
from fhir_server.store.grants import LedgerGrants
from fhir_server.stores import Refused, at_work, open_store
from fhir_server.web.book import book_routes
from fhir_server.web.docs import docs_routes
from fhir_server.web.pages import refused_page
from fhir_server.web.session import BookSessions, session_routes

_SERVING: Final = "VN_FHIR_SERVING"
"""How worker processes are told how they were started; ours alone, no setting."""

_YOUNG: Final = 10_000
"""New objects after which the collector looks; a parsed resource is no cycle (5 % of a book)."""

_GRACE: Final = 10
"""Seconds that requests on their way have at a stop."""

_LOOK: Final = 0.05
"""Seconds between two looks whether the clients have gone elsewhere, at a stop."""

_TOGETHER: Final = 45
"""Seconds that a database has that is started together with us, or is away as a worker starts."""

_SILENT: Final = 60
"""Seconds after which a worker that says nothing is ended, and another one started. It is silent
while it loads the program, which took more than uvicorn's 5 where the machine was busy: then each
was killed before it had begun, again and again."""


class Server:
    """All paths over one store; it is opened when the server starts and closed when it stops."""

    def __init__(self, settings: Settings, serving: Serving) -> None:
        self._settings = settings
        self._serving = serving
        self._app: ASGIApp | None = None
        self._draining = Draining()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or follow the server's life."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._opened() as app:
            self._app = app
            await send({"type": "lifespan.startup.complete"})
            with drained_first(self._draining):
                await receive()
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[ASGIApp]:
        # Where one of several workers cannot start, uvicorn ends them all.
        store = await open_store(self._settings, patience=_TOGETHER)
        try:
            composition = Composition(self._settings, store, self._serving.origin(self._settings))
            metrics = Metrics()
            async with (
                at_work(store),
                new_http() as http,
                at_chores(composition),
                counted(metrics, self._serving.shared) as exposition,
            ):
                app = await build_app(
                    composition,
                    self._serving,
                    http,
                    draining=self._draining,
                    metrics=metrics,
                    exposition=exposition,
                )
                # Definitions and compiled tables live as long as the process: the collector need
                # not walk them again (it took up to 35 ms of a request).
                gc.collect()
                gc.freeze()
                gc.set_threshold(_YOUNG, 20, 20)
                yield app
        finally:
            await store.close()


@contextmanager
def drained_first(draining: Draining) -> Iterator[None]:
    """Give the time in which a SIGTERM stops the server only once its clients have gone elsewhere.

    A second one, which a supervisor may send to every process, changes nothing; a SIGINT stops it
    at once.
    """
    loop = asyncio.get_running_loop()
    stop = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or not callable(stop):
        yield
        return

    async def drained() -> None:
        while not draining.is_over:  # noqa: ASYNC110 - time passing is what makes it so
            await asyncio.sleep(_LOOK)
        stop(signal.SIGTERM, None)

    tasks: list[asyncio.Task[None]] = []

    def begin() -> None:
        if not draining.is_begun:
            draining.begin()
            tasks.append(loop.create_task(drained()))

    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(begin))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, stop)
        for task in tasks:
            task.cancel()


async def build_app(
    composition: Composition,
    serving: Serving,
    http: httpx2.AsyncClient,
    *,
    draining: Draining | None = None,
    metrics: Metrics | None = None,
    exposition: Callable[[], bytes] | None = None,
) -> ASGIApp:
    """Return the whole server: FHIR's bare app, and FastAPI beside it for everything else.

    Args:
        composition: Everything over the store.
        serving: How the server is started.
        http: What the provider is asked with.
        draining: Whether this process is about to stop.
        metrics: What it counts.
        exposition: What /metrics tells, where it is more than its own.
    """
    secret = await composition.store.get(META, "vneid-secret")
    our = _registration(composition, secret.decode() if secret else "")
    server = composition.authorization_server(http, our)
    sessions = BookSessions(server, composition.context_for)
    routes = [
        *auth_routes(server),
        *session_routes(sessions),
        *book_routes(),
        *docs_routes(PATHS_OF_SUBMISSIONS, SCHEMAS),
        Route("/", lambda _: RedirectResponse("/book", 303)),
    ]
    if serving.demo:
        routes += stand_in_routes(_stand_in(composition, our))
    beside = FastAPI(
        title="VN FHIR Server",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={StarletteHTTPException: _plain_refusal},
    )
    beside.router.routes.extend(routes)
    beside.state.book_sessions = sessions
    metrics = metrics or Metrics()
    draining = draining or Draining()
    fhir = fhir_app(
        composition.context_of,
        base_url=composition.fhir_base,
        operations=OPERATIONS,
        max_body=composition.settings.max_body,
        registry=composition.registry,
    )
    health = health_app(composition.store.ready, exposition or metrics.exposition, draining)
    submissions = Router(
        submissions_routes(
            composition.context_of, base_url=composition.origin, verify=composition.verify
        ),
        redirect_slashes=False,
    )
    return Outermost(_Paths(fhir, submissions, health, beside), metrics, draining=draining)


class _Paths:
    """Which app answers a path; FHIR's are looked at first, since they are the hot ones."""

    def __init__(
        self, fhir: ASGIApp, submissions: ASGIApp, health: ASGIApp, beside: ASGIApp
    ) -> None:
        self._fhir, self._submissions = fhir, submissions
        self._health, self._beside = health, beside

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if (path.startswith("/fhir/") or path == "/fhir") and not path.startswith(WELL_KNOWN):
            await self._fhir(scope, receive, send)
        elif path == "/submissions" or path.startswith("/submissions/"):
            await self._submissions(scope, receive, send)
        elif path in PATHS:
            await self._health(scope, receive, send)
        else:
            await self._beside(scope, receive, send)


WELL_KNOWN: Final = "/fhir/.well-known/"


def _registration(composition: Composition, secret: str) -> Registration:
    """How we are known at the citizens' provider: the settings', or the demo's stand-in."""
    settings = composition.settings
    return Registration(
        issuer=settings.vneid_issuer or f"{composition.origin}/vneid",
        client_id=settings.vneid_client_id or "fhir-server",
        client_secret=settings.vneid_client_secret or secret,
        scope=settings.vneid_scope,
        number_claim=settings.vneid_claim_id,
        acr_level2=settings.vneid_acr_level2,
    )


def _stand_in(composition: Composition, our: Registration) -> StandIn:
    party = RelyingParty(our.client_id, our.client_secret, (f"{composition.origin}/auth/callback",))
    return StandIn(
        issuer=f"{composition.origin}/vneid",
        parties=(party,),
        store=LedgerGrants(composition.store, now),
        keys=FolderKeys(composition.settings.keys / "vneid", now),
        lookup=composition.person,
        now=now,
        number_claim=our.number_claim,
        levels=("LoA1", our.acr_level2),
    )


async def _plain_refusal(request: Request, refusal: Any) -> Response:  # noqa: RUF029 - FastAPI's form
    """Answer a path that is not there, or a method it does not have, in its part's own form.

    Contract, section 4: to a browser a page, under `/auth` and `/vneid` OAuth's JSON, else a
    problem.
    """
    if "text/html" in request.headers.get("accept", ""):
        return refused_page(request, UnknownResource("There is nothing at this path."))
    if request.url.path.split("/")[1] in {"auth", "vneid"}:
        error = OAuthError(
            "invalid_request", "There is nothing at this path.", status=refusal.status_code
        )
        return error_answer(error)
    problem = {"type": "about:blank", "title": str(refusal.detail), "status": refusal.status_code}
    return JSONResponse(
        problem, refusal.status_code, refusal.headers, media_type="application/problem+json"
    )


def serve(settings: Settings, serving: Serving) -> int:
    """Make the store ready, then serve it until SIGINT or SIGTERM; return the exit status.

    Raises:
        WrongSettings: Without `--demo`, the provider's settings are not all there.
        Refused: The store is of the other kind.
    """
    if not serving.demo:
        _check_provider(settings)
    _check_port(serving)
    first_start = asyncio.run(_prepared(settings, serving))
    if first_start is not None:
        print(welcome(settings, serving, first_start), flush=True)
    options: dict[str, Any] = {
        "host": serving.host,
        "port": serving.port,
        "loop": "uvloop",
        "http": "httptools",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "timeout_graceful_shutdown": _GRACE,
        "lifespan": "on",
    }
    # uvicorn stops, then raises the signal it was stopped by again: stopped is what was asked for.
    signal.signal(signal.SIGTERM, lambda *_: None)
    if serving.workers == 1:
        uvicorn.run(Server(settings, serving), **options)
    else:
        with TemporaryDirectory(prefix="fhir-server-") as folder:
            serving = replace(serving, shared=folder)
            os.environ[_SERVING] = msgspec.json.encode(serving).decode()
            options |= {"factory": True, "workers": serving.workers}
            options["timeout_worker_healthcheck"] = _SILENT
            uvicorn.run("fhir_server.serve:worker", **options)
    return 0


def worker() -> ASGIApp:
    """Return the app of one worker process of several."""
    # One whose parent was killed would go on alone, and nobody else could have its port.
    when_parent_ends(lambda: os.kill(os.getpid(), signal.SIGTERM))
    settings = load_settings()
    log.configure(settings.log)
    return Server(settings, msgspec.json.decode(os.environ[_SERVING], type=Serving))


async def _prepared(settings: Settings, serving: Serving) -> datetime | None:
    store = await open_store(settings, patience=_TOGETHER)
    try:
        async with at_work(store):
            return await prepare(Composition(settings, store, serving.origin(settings)), serving)
    finally:
        await store.close()


def _check_port(serving: Serving) -> None:
    """Refuse an address that is taken, before anything is made."""
    family = socket.AF_INET6 if ":" in serving.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((serving.host, serving.port))
        except OSError as error:
            reason = error.strerror or "it cannot be listened on"
            another = "PORT=9000 make run, or --port 9000, takes another"
            raise Refused(f"{serving.host}:{serving.port}: {reason}; {another}.") from None


def _check_provider(settings: Settings) -> None:
    for name in ("vneid_issuer", "vneid_client_id", "vneid_client_secret"):
        if not getattr(settings, name):
            raise WrongSettings(f"FHIR_SERVER_{name.upper()}: needed, unless with --demo")


def welcome(settings: Settings, serving: Serving, first_start: datetime) -> str:
    """Return what a demo prints at its start: where, who, and one curl that works when pasted."""
    origin = serving.origin(settings)
    lines = [
        "",
        f"  Sổ sức khỏe / the book   {origin}/book",
        f"  FHIR R4                  {origin}/fhir/metadata",
        f"  Gửi hồ sơ / submissions  {origin}/submissions",
        "",
        "  Đăng nhập VNeID mẫu bằng một số / log in at the stand-in VNeID with a number:",
        *(
            f"    {citizen.number}  {citizen.name}  ({citizen.note})"
            for citizen in demo.citizens(first_start.date())
        ),
        "",
        "  Thử ngay / try it:",
        (
            f'    curl -s -H "Authorization: Bearer $({_token_command(settings)})" '
            f"'{origin}/fhir/Patient?_count=2&_pretty=true'"
        ),
        "",
    ]
    return "\n".join(lines)


def _token_command(settings: Settings) -> str:
    """The command that prints a token, so that it works from any folder."""
    program = Path(sys.argv[0]).resolve()
    command = str(program) if program.name == "fhir-server" else f"{sys.executable} -m fhir_server"
    store = f"FHIR_SERVER_STORE='{settings.store}' "
    if settings.is_embedded:
        store = f"FHIR_SERVER_STORE='sqlite:///{settings.sqlite_path.resolve()}' "
    elif re.search("@|password|properties", settings.store, re.IGNORECASE):
        store = ""  # it holds a secret: whoever runs the command has it in the environment
    return f"{store}FHIR_SERVER_KEYS='{settings.keys.resolve()}' {command} token --client system"
