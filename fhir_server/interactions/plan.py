"""From writes asked for to one Batch: what each makes now, checked, stamped and indexed.

A plan is made of what the store says at one moment; the commit checks that it still holds, and
where it does not, a new plan is made (`interactions.commit`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auth.principal import Principal
from fhir_server.interactions import comments, refusals
from fhir_server.interactions.asked import Ask, at
from fhir_server.interactions.audit import is_chained
from fhir_server.interactions.audit_event import is_recorded
from fhir_server.interactions.changeable import (
    check_if_match,
    named,
    require_there,
    require_update,
)
from fhir_server.interactions.condition import Found, criteria_of, find
from fhir_server.interactions.draft_systems import in_our_systems
from fhir_server.interactions.elsewhere import left_as_it_was
from fhir_server.interactions.label import labelled
from fhir_server.interactions.let_go import moved
from fhir_server.interactions.narrow import is_shown, require_type, unknown
from fhir_server.interactions.own_parameters import redefined
from fhir_server.interactions.patched import patched, sees_comments
from fhir_server.interactions.removal import Removals
from fhir_server.interactions.stamp import is_same, moment_of, stamped
from fhir_server.interactions.written import check_written
from fhir_server.model.outcome import (
    Invalid,
    InvalidValue,
    Issue,
)
from fhir_server.search.extract import index_values
from fhir_server.search.parameters import R4, Known
from fhir_server.store.port import Condition, Name, Put, Tag, Version, Write
from fhir_server.validation.structure import validate

if TYPE_CHECKING:
    from fhir_server.interactions.context import Context, Resource
    from fhir_server.interactions.linking import Links
    from fhir_server.model.comments import Comments
    from fhir_server.search.expression import Expression

_BREATH: Final = 25
"""Entries of a Bundle after which other requests have their turn."""


@dataclass(slots=True)
class Step:
    """What becomes of one write asked for.

    Attributes:
        name: The resource it makes, changes, deletes or (a conditional create) found.
        current: The version that is there before; None where none ever was.
        version: The version that the client is told of: the new one or the one that stays.
        write: What is to be written; None where nothing changes.
        hidden: The conditional create's match is one that the caller may not read.
        repeats: The earlier, equal conditional create of the same Bundle.
        comments: Those of the version that a patch changes, as far as the caller sees them.
    """

    ask: Ask
    status: int = 200
    name: Name | None = None
    current: Version | None = None
    version: Version | None = None
    write: Write | None = None
    issues: tuple[Issue, ...] = ()
    hidden: bool = False
    repeats: Step | None = None
    comments: Comments | None = None

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be made: a conditional create that found its resource."""
        return self.ask.method == "POST" and self.version is not None and self.write is None


@dataclass(slots=True)
class Plan:
    """One attempt at all writes of a request.

    Attributes:
        known: The search parameters by which what is made is indexed.
        puts: Records of the ledger that follow from what is written.
        comments: Those of the comments that it came with.
        asked: The first step that has each condition.
        deleted: The names of what is deleted by id.
    """

    ctx: Context
    links: Links
    tag_all: frozenset[str] = frozenset()
    known: Known = R4
    steps: list[Step] = field(default_factory=list)
    conditions: list[Condition] = field(default_factory=list)
    removals: Removals = field(default_factory=Removals)
    tags: list[Tag] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    comments: list[Put] = field(default_factory=list)
    asked: dict[tuple[str, Expression], Step] = field(default_factory=dict)
    deleted: set[Name] = field(default_factory=set)

    async def make(self) -> Plan:
        """Settle names, references and content of everything asked for.

        Raises:
            FhirError: Something asked for cannot be done; nothing of it is.
        """
        asks = self.links.asks
        self.steps = [Step(ask) for ask in asks]
        for step in self.steps:
            with at(step.ask.place):
                require_type(self.ctx, step.ask.interaction, step.ask.resource_type)
                await self._identify(step)
        await self._load()
        self._refuse_overlap()
        await self._patch()
        await self.links.resolve(
            self.ctx, {n: s.name for n, s in enumerate(self.steps) if s.name is not None}
        )
        for number, step in enumerate(self.steps):
            with at(step.ask.place):
                await self._draft(step)
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        self.conditions += await check_written(self.ctx, self.steps)
        let_go, held = await moved(self.ctx, self.steps)
        self.tags += let_go
        self.conditions += held
        self.puts += await redefined(self.ctx.store, self.steps, self.removals.versions)
        self._tag_found()
        return self

    # Who is meant

    async def _identify(self, step: Step) -> None:
        ask = step.ask
        if ask.condition is None:
            step.name = (ask.resource_type, ask.resource_id or ask.new_id)
            if ask.method == "DELETE":
                self.deleted.add(step.name)
            return
        first = self._first_with(step, ask.condition)
        if ask.method == "DELETE":
            found = await find(
                self.ctx, ask.resource_type, ask.condition, anywhere=False, every=True
            )
            await self._remove_found(ask, found)
        elif first is step:
            await self._identify_by_condition(step, ask.condition)
        elif {first.ask.method, ask.method} != {"POST"}:
            raise InvalidValue("Two entries of the Bundle have the same condition.")
        else:
            # Two equal conditional creates of one Bundle make one resource.
            step.name, step.repeats = first.name, first

    def _first_with(self, step: Step, condition: str) -> Step:
        """Return the first step that has this condition: it itself where none has before it."""
        kind = step.ask.resource_type
        where = criteria_of(kind, condition, known=self.known)
        return self.asked.setdefault((kind, where), step)

    async def _identify_by_condition(self, step: Step, condition: str) -> None:
        ask = step.ask
        found = await find(self.ctx, ask.resource_type, condition, anywhere=True)
        if ask.method == "PATCH" and not await self._is_one_shown(found):
            # It makes nothing, so what is hidden need not be known: several of it are as none.
            found = await find(self.ctx, ask.resource_type, condition, anywhere=False)
        match = found.only()
        self.conditions.append(found.held())
        if match is None or self._is_doomed(match):
            own = (ask.resource or {}).get("id") if ask.method == "PUT" else None
            step.name = (ask.resource_type, own or ask.new_id)
            if own:
                await self._choose(step)
            return
        step.name = (ask.resource_type, match.resource_id)
        step.current = match
        if ask.method == "POST":
            step.version, step.hidden = match, not await is_shown(self.ctx, match)
        elif (ask.resource or {}).get("id", match.resource_id) != match.resource_id:
            raise InvalidValue("The body's id is not that of the resource that matches.")

    async def _is_one_shown(self, found: Found) -> bool:
        return len(found.versions) == 1 and await is_shown(self.ctx, found.versions[0])

    async def _choose(self, step: Step) -> None:
        """Let a conditional update that matches nothing make a resource under the body's id."""
        if not self.ctx.policy.chooses_ids:
            raise refusals.id_not_chosen()
        names = [step.name] if step.name else []
        (step.current,) = await self.ctx.store.read_many(names)
        if step.current is not None and not step.current.deleted:
            raise refusals.id_in_use()

    def _is_doomed(self, match: Version) -> bool:
        # FHIR, http.html#trules, has deletions first, so a condition no longer matches them.
        name = (match.resource_type, match.resource_id)
        return name in self.deleted or name in self.removals.versions

    async def _remove_found(self, ask: Ask, found: Found) -> None:
        self.conditions.append(found.held())
        for match in found.versions:
            await self.removals.add(self.ctx, match, ask)

    async def _load(self) -> None:
        missing = [
            step
            for step in self.steps
            if step.current is None and step.name is not None and step.ask.resource_id is not None
        ]
        if missing:
            names = [step.name for step in missing if step.name is not None]
            for step, version in zip(missing, await self.ctx.store.read_many(names), strict=True):
                step.current = version

    def _refuse_overlap(self) -> None:
        # FHIR, http.html#trules, says that identities that overlap SHALL make the transaction fail.
        seen: set[Name] = set(self.removals.versions)
        for step in self.steps:
            if step.name is None or step.is_settled:
                continue
            if step.repeats is not None:
                continue
            if step.name in seen:
                with at(step.ask.place):
                    raise InvalidValue("Two entries of the Bundle change the same resource.")
            seen.add(step.name)

    async def _patch(self) -> None:
        """Apply each patch to what is there, as far as it is shown and the caller's to change."""
        for number, step in enumerate(self.steps):
            patch = step.ask.patch
            if patch is None:
                continue
            # One may take as long as a whole request may: the others have their turn in between.
            await asyncio.sleep(0)
            with at(step.ask.place):
                current = await require_there(self.ctx, step)
                await require_update(self.ctx, step, current)
                if sees_comments(self.ctx, current):
                    step.comments = await comments.of(self.ctx.store, current)
                made, said = patched(self.ctx, current, patch, step.comments)
                step.ask = replace(step.ask, resource=made, comments=said)
            self.links.put(number, step.ask)

    # What is made

    async def _draft(self, step: Step) -> None:
        if is_chained(*(step.name or ("", ""))):
            await self._refuse_chained(step)
        if step.ask.method == "DELETE":
            await self._draft_deletion(step)
        elif step.is_settled:
            self._check_if_none_match(step)
        elif step.ask.method == "POST":
            await self._draft_create(step)
        else:
            await self._draft_update(step)

    async def _refuse_chained(self, step: Step) -> None:
        """Refuse to change the server's own AuditEvents, or to take their ids."""
        name = named(step.name)
        if step.name and await is_recorded(self.ctx, step.name[1]):
            raise refusals.of_the_chain(name)
        if step.ask.method != "DELETE":
            raise refusals.reserved(name)

    async def _draft_create(self, step: Step) -> None:
        if step.repeats is not None:
            step.version, step.hidden = step.repeats.version, step.repeats.hidden
        else:
            await self._write(step, step.ask.resource or {})

    async def _draft_update(self, step: Step) -> None:
        ask, current = step.ask, step.current
        if current is None or current.deleted:
            await self._revive(step)
            return
        if ask.patch is None:
            # Of a patch it was asked before the patch saw anything.
            await require_update(self.ctx, step, current)
        has_patients = ask.resource_type == "Patient" or b'"contained"' in current.body
        if self.ctx.policy.facility and has_patients:
            seen = left_as_it_was(ask.resource or {}, current.body, self.ctx.policy.facility)
            # Where something stands that the caller did not see, comments may have moved.
            if seen is not ask.resource:
                step.ask = replace(ask, resource=seen, comments=None)
                step.comments = None
        await self._write(step, step.ask.resource or {})

    async def _revive(self, step: Step) -> None:
        """Make a resource under an id that has none now: update as create."""
        ask = step.ask
        if ask.if_match is not None:
            raise refusals.not_at_version(named(step.name))
        if ask.condition is None and not self.ctx.policy.chooses_ids:
            raise unknown(ask.resource_type, ask.resource_id or "")
        require_type(self.ctx, "create", ask.resource_type)
        await self._write(step, ask.resource or {})

    async def _draft_deletion(self, step: Step) -> None:
        ask, current = step.ask, step.current
        step.status = 204
        if ask.condition is not None:
            return
        there = current is not None and not current.deleted and await is_shown(self.ctx, current)
        if ask.if_match is not None and not there:
            raise refusals.not_at_version(f"{ask.resource_type}/{ask.resource_id}")
        if current is not None and there:
            check_if_match(ask, current)
            await self.removals.add(self.ctx, current, ask)

    async def _write(self, step: Step, resource: Resource) -> None:
        kind, identity = step.name or (step.ask.resource_type, step.ask.new_id)
        current = step.current
        number = current.version_id + 1 if current else 1
        moment = moment_of(self.ctx.now(), after=current.last_updated if current else 0)
        made, body = labelled(self.ctx, stamped(resource, identity, number, moment), current)
        made, body = in_our_systems(made, body)
        step.issues = valid(made)
        is_new = current is None or current.deleted
        said = step.ask.comments
        if (
            current is not None
            and not is_new
            and is_same(current.body, made)
            and await comments.are_same(self.ctx.store, current, said)
        ):
            step.version = current
            return
        if said is None and step.comments and current is not None:
            said = comments.left(step.comments, current, made)
        method = step.ask.method
        index = index_values(made, base_url=self.ctx.base_url, known=self.known)
        step.write = Write(kind, identity, number, moment, body, method, index, self._own_tags())
        step.version = Version(
            kind, identity, number, moment, step.write.body, deleted=False, method=method,
            patients=index.patients,
        )  # fmt: skip
        step.status = 201 if is_new else 200
        if said:
            self.comments.append(comments.kept(step.write, said))

    def _own_tags(self) -> frozenset[str]:
        return tags_of(self.ctx.principal) | self.tag_all

    def _check_if_none_match(self, step: Step) -> None:
        if step.ask.if_none_match == "*":
            raise refusals.match_there()

    def _tag_found(self) -> None:
        if not self.tag_all:
            return
        for step in self.steps:
            if step.write is None and step.name is not None and step.ask.method != "DELETE":
                self.tags.append(Tag(*step.name, self.tag_all))

    # What is known of it all

    def writes(self) -> tuple[Write, ...]:
        """Return all versions to be made."""
        made = [step.write for step in self.steps if step.write is not None]
        return (*self.removals.writes(self.ctx, self._own_tags()), *made)

    def patients(self) -> frozenset[str]:
        """Return the ids of all Patients concerned, hidden matches of conditions too."""
        concerned: set[str] = set(self.removals.patients())
        for step in self.steps:
            if step.version is not None:
                concerned.update(step.version.patients)
        return frozenset(concerned)

    def step_holding(self, key: str, *, but_for: Name) -> Step | None:
        """Return the step that would hold a unique key that a resource of this name has."""
        holding = [s for s in self.steps if s.write is not None and key in s.write.index.unique]
        others = [step for step in holding if step.name != but_for]
        # Of two entries that bring the same new key the second is at fault.
        return (others[-1] if len(others) < len(holding) else others[0]) if others else None


def valid(resource: Resource) -> tuple[Issue, ...]:
    """Return the warnings about a valid resource.

    Raises:
        Invalid: It has errors; all findings are in it.
    """
    issues = validate(resource)
    if any(issue.severity in {"error", "fatal"} for issue in issues):
        raise Invalid(issues)
    return tuple(issues)


def tags_of(principal: Principal) -> frozenset[str]:
    """Return the tags that mark what a caller writes: whose it is, and who wrote it."""
    return frozenset(tag for tag in (principal.tag, principal.author) if tag)
