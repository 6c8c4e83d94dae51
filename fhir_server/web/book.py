"""The citizen's web book: `/book`, `/book/visits/{id}`, `/book/children/{id}`.

A page asks the operation `$health-book` through perform, so that policy and audit hold.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import TYPE_CHECKING, Protocol

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from fhir_server.interactions.context import FhirRequest, FhirResult
from fhir_server.interactions.facilities import Facilities
from fhir_server.interactions.narrow import visible_version
from fhir_server.interactions.perform import perform_with, refused
from fhir_server.model.outcome import FhirError, UnknownResource
from fhir_server.model.primitives import VIETNAM, is_id
from fhir_server.operations.book.values import Book, Visit
from fhir_server.operations.health_book import read_record
from fhir_server.operations.table import OPERATIONS
from fhir_server.web import session as sessions
from fhir_server.web.pages import page, refused_page, static_files
from mappings.immunization.schedule import Dose, due

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context


class Child(Protocol):
    """A child whose book this session may open."""

    @property
    def patient_id(self) -> str:
        """The child's Patient."""

    @property
    def name(self) -> str:
        """The child's name."""


class Session(Protocol):
    """What a page needs of a log-in (web.session.BookSession)."""

    @property
    def patient_id(self) -> str:
        """The citizen's own Patient."""

    @property
    def children(self) -> Sequence[Child]:
        """The children of verified links, now."""

    @property
    def kept_apart(self) -> Sequence[str]:
        """Codes of facilities whose visits were kept apart."""

    @property
    def csrf(self) -> str:
        """The token that a form of this session carries."""

    def context(self, patient_id: str | None = None) -> Context:
        """Return the Context of the citizen, or acting for a child."""


SessionOf = Callable[[Request], Awaitable[Session | None]]


@dataclass(frozen=True, slots=True)
class Member:
    """One book of the family, as the switch shows it."""

    name: str
    path: str
    current: bool
    own: bool = False


@dataclass(frozen=True, slots=True)
class Pages:
    """The pages, with what they need of the log-in.

    Attributes:
        session_of: The session of a request, or None.
        login_url: Where a request without one is sent.
    """

    session_of: SessionOf
    login_url: Callable[[Request], str]

    async def own(self, request: Request) -> Response:
        """Show the citizen's own book."""
        return await self._guarded(request, self._own)

    async def child(self, request: Request) -> Response:
        """Show the book of a child, with the vaccinations given, due and overdue."""
        return await self._guarded(request, self._child)

    async def visit(self, request: Request) -> Response:
        """Show one visit, of the citizen or of a child."""
        return await self._guarded(request, self._visit)

    async def _guarded(
        self, request: Request, show: Callable[[Request, Session], Awaitable[Response]]
    ) -> Response:
        session = await self.session_of(request)
        if session is None:
            return RedirectResponse(self.login_url(request), 303, {"Cache-Control": "no-store"})
        try:
            return await show(request, session)
        except FhirError as refusal:
            return refused_page(request, refusal, csrf=session.csrf)

    async def _own(self, request: Request, session: Session) -> Response:
        ctx = session.context()
        return await self._book(request, session, ctx, session.patient_id, child=False)

    async def _child(self, request: Request, session: Session) -> Response:
        child_id = request.path_params["id"]
        if all(child.patient_id != child_id for child in session.children):
            await _refuse(session, "Patient", child_id)
        return await self._book(request, session, session.context(child_id), child_id, child=True)

    async def _book(
        self, request: Request, session: Session, ctx: Context, patient_id: str, *, child: bool
    ) -> Response:
        book = await read_book(ctx, patient_id)
        today = today_of(ctx)
        plan = due(
            book.person.born if child else None, book.person.gender, book.immunizations, today
        )
        return page(
            request,
            "book.html",
            csrf=session.csrf,
            book=book,
            cards=sorted(book.cards, key=lambda card: not card.holds(today)),
            planned=[one for one in book.planned if one.at and one.at.date() >= today][::-1],
            plan=plan if child or plan.others else None,
            given=_by_series(plan.by("given")),
            child=child,
            born=book.person.born is not None,
            years=_by_year(book.visits),
            family=_family(session, book, patient_id),
            apart=() if child else await _named(ctx, session.kept_apart),
            today=today,
        )

    async def _visit(self, request: Request, session: Session) -> Response:
        visit_id = request.path_params["id"]
        ctx, patient_id = await _whose(session, visit_id)
        book = await read_book(ctx, patient_id)
        visit = next((one for one in book.visits if one.id == visit_id), None)
        if visit is None:
            raise UnknownResource("The visit is not in this book.")
        own = patient_id == session.patient_id
        return page(
            request,
            "visit.html",
            csrf=session.csrf,
            visit=visit,
            person=book.person,
            home="/book" if own else f"/book/children/{patient_id}",
        )


def book_routes(
    session_of: SessionOf = sessions.session_of,
    login_url: Callable[[Request], str] = sessions.login_url,
) -> list[BaseRoute]:
    """Return the routes of the web book; logging in and out are web.session's."""
    pages = Pages(session_of, login_url)
    return [
        Route("/book", pages.own),
        Route("/book/", without_slash),
        Route("/book/visits/{id}", pages.visit),
        Route("/book/children/{id}", pages.child),
        Mount("/book/static", static_files(), name="book-static"),
    ]


async def read_book(ctx: Context, patient_id: str) -> Book:
    """Return one person's book through `$health-book`: policy asked, access audited."""
    request = FhirRequest(
        "operation",
        resource_type="Patient",
        resource_id=patient_id,
        operation="$health-book",
        url=f"Patient/{patient_id}/$health-book",
    )
    books: list[Book] = []

    async def read(ctx: Context, request: FhirRequest) -> FhirResult:
        # A page needs the record, not the document: it is read in the same way, and not written.
        record = await read_record(ctx, request.resource_id or "")
        books.append(record.book)
        return FhirResult(patients=frozenset({patient_id}))

    await perform_with(replace(ctx, operations=OPERATIONS), request, read)
    return books[0]


async def _whose(session: Session, visit_id: str) -> tuple[Context, str]:
    """Return whose book of this family the visit is in; a stranger's is refused and audited."""
    if is_id(visit_id):
        for patient_id in (None, *(child.patient_id for child in session.children)):
            ctx = session.context(patient_id)
            try:
                await visible_version(ctx, "Encounter", visit_id)
            except FhirError:
                continue
            return ctx, patient_id or session.patient_id
    await _refuse(session, "Encounter", visit_id)
    raise UnknownResource("The visit is not in this book.")


async def _refuse(session: Session, resource_type: str, resource_id: str) -> None:
    """Leave the AuditEvent of a refused look, and refuse."""
    refusal = UnknownResource(f"{resource_type}/{resource_id} is not known.")
    named = resource_id if is_id(resource_id) else None
    request = FhirRequest(
        "read",
        resource_type=resource_type,
        resource_id=named,
        url=f"{resource_type}/{named}" if named else resource_type,
    )
    await refused(session.context(), request, refusal)
    raise refusal


async def _named(ctx: Context, codes: Sequence[str]) -> list[str]:
    """Return facilities by name and code, so that a person knows whom to ask."""
    facilities = Facilities(ctx.store)
    names = [(await facilities.name(code), code) for code in codes]
    return [f"{name} ({code})" if name else code for name, code in names]


async def without_slash(request: Request) -> Response:  # noqa: RUF029 - a route's function
    """Lead from `/book/` to the book, in the language that was asked for."""
    language = request.query_params.get("lang")
    asked = f"?lang={language}" if language in {"vi", "en"} else ""
    return RedirectResponse(f"/book{asked}", 303)


def _family(session: Session, book: Book, patient_id: str) -> list[Member]:
    own = patient_id == session.patient_id
    me = Member(book.person.name if own else "", "/book", own, own=True)
    return [
        me,
        *(
            Member(child.name, f"/book/children/{child.patient_id}", child.patient_id == patient_id)
            for child in session.children
        ),
    ]


def _by_year(visits: Sequence[Visit]) -> list[tuple[int | None, list[Visit]]]:
    def year(visit: Visit) -> int | None:
        return visit.start.year if visit.start else None

    return [(key, list(group)) for key, group in groupby(visits, key=year)]


def _by_series(doses: Sequence[Dose]) -> list[list[Dose]]:
    series: dict[str, list[Dose]] = {}
    for dose in doses:
        series.setdefault(dose.row.series, []).append(dose)
    return list(series.values())


def today_of(ctx: Context) -> date:
    """Return the day it is in Viet Nam."""
    return ctx.now().astimezone(VIETNAM).date()
