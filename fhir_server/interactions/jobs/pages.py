"""A search, a history or an operation as a job: page after page, as a client would follow them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace as changed

from fhir_server.interactions.entry import read_entry
from fhir_server.interactions.functions import FUNCTIONS
from fhir_server.interactions.jobs.once import answer_written, do_once
from fhir_server.interactions.jobs.output import Output
from fhir_server.interactions.perform import prepare
from fhir_server.model import codec

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, FhirRequest, FhirResult
    from fhir_server.interactions.jobs.work import Work

PAGE: Final = 500
"""Resources of one page of a search."""


class _Link(msgspec.Struct, frozen=True):
    relation: str
    url: str


class _Mode(msgspec.Struct, frozen=True):
    mode: str = ""


class _Entry(msgspec.Struct, frozen=True):
    fullUrl: str = ""  # noqa: N815 - FHIR's name
    resource: msgspec.Raw = msgspec.Raw()
    search: _Mode = _Mode()


class _Kind(msgspec.Struct, frozen=True):
    resourceType: str  # noqa: N815 - FHIR's name


class _Answer(msgspec.Struct, frozen=True):
    """What is looked at of an answer: the resources in it stay as they are."""

    resourceType: str  # noqa: N815 - FHIR's name
    link: tuple[_Link, ...] = ()
    entry: tuple[_Entry, ...] = ()

    @property
    def next(self) -> str:
        """The URL of the page after it; "" where it is the last."""
        return next((link.url for link in self.link if link.relation == "next"), "")


_ANSWER: Final = msgspec.json.Decoder(_Answer)
_KIND: Final = msgspec.json.Decoder(_Kind)


async def gather_resources(work: Work) -> None:
    """Gather all that a search finds: a file for each type, one resource a line."""
    await _gather(work, by_type=not _only_counts(work.job.asked))


async def gather_answers(work: Work) -> None:
    """Gather what a history or an operation answers, a page a line."""
    await _gather(work, by_type=False)


async def _gather(work: Work, *, by_type: bool) -> None:
    output = Output()
    seen: set[str] = set()
    done, following = work.job.done, work.job.next
    while True:
        ctx = await work.context()
        request = await _request(work, ctx, following, by_type=by_type)
        result = await _page(work, ctx, request)
        if not output.has_room(result.patients):
            await work.keep(output, done=done, next=following)
            seen.clear()
        following = _add(output, seen, _body(result), by_type=by_type)
        output.patients |= result.patients
        done += 1
        if not following:
            await work.finish(output, done=done)
            return
        if work.is_over():
            await work.keep(output, done=done, next=following)
            return


async def _page(work: Work, ctx: Context, request: FhirRequest) -> FhirResult:
    if request.interaction != "operation":
        return await prepare(ctx, request, FUNCTIONS[request.interaction])
    if work.job.written:
        return await answer_written(work, ctx, request)
    return await do_once(work, ctx, request, changed(work.job, written=True))


async def _request(work: Work, ctx: Context, following: str, *, by_type: bool) -> FhirRequest:
    asked = work.job.asked
    if not following:
        return _in_large_pages(await work.asked(), by_type=by_type)
    entry = read_entry({"request": {"method": "GET", "url": following}}, 0, ctx.base_url)
    return replace(entry.request, handling=asked.handling, purpose=asked.purpose)


def _in_large_pages(request: FhirRequest, *, by_type: bool) -> FhirRequest:
    """Return what is asked for in pages as large as they may be: all of them are gathered."""
    if _only_counts(request):
        return request
    query = [(name, value) for name, value in request.query if name not in {"_count", "_total"}]
    if by_type:
        query.append(("_total", "none"))  # nobody sees it
    if request.interaction != "operation" or _names_count(request):
        query.append(("_count", str(PAGE)))
    return replace(request, query=tuple(query))


def _names_count(request: FhirRequest) -> bool:
    """Return whether an operation was asked for pages of a size, which it so has."""
    if any(name == "_count" for name, _ in request.query):
        return True
    named = (request.resource or {}).get("parameter")
    return isinstance(named, list) and any(
        isinstance(one, dict) and one.get("name") == "_count" for one in named
    )


def _only_counts(asked: FhirRequest) -> bool:
    """Return whether a search shows no resources, but how many there are."""
    return any(pair in {("_summary", "count"), ("_count", "0")} for pair in asked.query)


def _body(result: FhirResult) -> bytes:
    if result.body is not None:
        return result.body
    if result.resource is not None:
        return codec.dumps(result.resource)
    return result.version.body if result.version is not None else b""


def _add(output: Output, seen: set[str], body: bytes, *, by_type: bool) -> str:
    """Add one answer to what is gathered; return the URL of the page after it."""
    answer = _ANSWER.decode(body)
    following = answer.next
    if not by_type:
        output.add(answer.resourceType, _alone(body) if answer.link else body)
        return following
    for entry in answer.entry:
        line = bytes(entry.resource)
        if not line or (entry.fullUrl and entry.fullUrl in seen):
            continue
        seen.add(entry.fullUrl)
        output.add(_KIND.decode(line).resourceType, line, error=entry.search.mode == "outcome")
    return following


def _alone(body: bytes) -> bytes:
    """Return a page without the links to others, which are lines of the same file."""
    answer = codec.loads_stored(body)
    kept = [link for link in answer["link"] if link["relation"] == "self"]
    return codec.dumps({**answer, "link": kept} if kept else answer)
