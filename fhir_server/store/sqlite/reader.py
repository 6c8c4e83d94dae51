"""Reads on one connection: versions, history, ledger, audit, and the pages of a search."""

# ruff: noqa: S608 - every piece of the SQL is ours; what a client says is bound

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from fhir_server.search import paging
from fhir_server.search.expression import And, Expression, InPatient, Or, Search, Tagged
from fhir_server.search.paging import Begin, Place
from fhir_server.store.cursor import Cursors
from fhir_server.store.feed import Tokens
from fhir_server.store.port import AuditEntry, Name, Page, Some, Version
from fhir_server.store.sqlite.apply import METHODS
from fhir_server.store.sqlite.connect import POINT_CACHE_KIB, connect, cursor_key
from fhir_server.store.sqlite.names import Kind, Names
from fhir_server.store.sqlite.numbering import as_numbers
from fhir_server.store.sqlite.packing import Packing
from fhir_server.store.sqlite.search import ALL, LATEST_RID, Searcher, Span
from fhir_server.store.sqlite.search_sql import as_json

_MANY: Final = 4
"""From so many on, one statement costs less than one for each."""
_PATIENTS: Final = 50_000
_COLUMNS: Final = (
    "v.rid, v.version_id, v.last_updated, v.method, v.patients, v.packing, v.body, r.type, r.id, "
    "v.patient_at"
)
_OF_ONE: Final = (
    f"SELECT {_COLUMNS.replace('r.type, r.id', 'v.type, ?')} "
    "FROM json_each(?) AS j CROSS JOIN version AS v WHERE v.rid = j.value"
)
"""Versions of one resource, whose id is known: one tree less to look through."""
_PATIENT: Final = (
    "CASE WHEN v.patient_at IS NOT NULL THEN NULL WHEN v.patients = r.nr THEN r.id "
    "ELSE (SELECT p.id FROM resource AS p WHERE p.nr = v.patients) END"
)
"""The id of the Patient where there is one, and the body does not tell it: one statement costs less
than two, and the Patients of a large store are too many to be kept."""


class Reader:
    """Reads from one connection, in one thread.

    Args:
        path: The store's file.
        is_for_points: Whether what it is asked is short: a resource, or a page of a quick search.
    """

    def __init__(self, path: Path, *, is_for_points: bool = False) -> None:
        self.db = connect(path, cache_kib=POINT_CACHE_KIB) if is_for_points else connect(path)
        self.names = Names(self.db)
        self.packing = Packing(self.db)
        self.searcher = Searcher(self.db, self.names, self.packing)
        self.cursors = Cursors(cursor_key(self.db))
        self._patients: dict[int, str] = {}
        self._types: dict[int, str] = {}

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def edition(self) -> int:
        """Return a number that is another one after every commit but of audit entries alone."""
        return int(self.db.execute("SELECT value FROM meta WHERE key = 'edition'").get)

    # --- versions ------------------------------------------------------------------------

    def read(self, resource_type: str, resource_id: str) -> Version | None:
        """Return the current version (a deletion too), or None where none ever was."""
        type_nr = self.names.type(resource_type)
        if type_nr is None:
            return None
        row = self.db.execute(
            f"SELECT {_COLUMNS}, {_PATIENT} "
            "FROM resource AS r INDEXED BY resource_at CROSS JOIN version AS v "
            "WHERE r.type = ? AND r.id = ? AND v.rid = r.rid",
            (type_nr, resource_id),
        ).fetchone()
        return None if row is None else self._version(row[:-1], row[-1])

    def read_many(self, names: Sequence[Name]) -> list[Version | None]:
        """Return the current versions of several resources, in the order asked."""
        if len(names) < _MANY:
            return [self.read(*name) for name in names]
        asked = msgspec.json.encode([(self.names.type(kind), key) for kind, key in names])
        rows = self.db.execute(
            f"SELECT j.key, {_COLUMNS} FROM json_each(?) AS j "
            "CROSS JOIN resource AS r INDEXED BY resource_at CROSS JOIN version AS v "
            "WHERE r.type = j.value ->> 0 AND r.id = j.value ->> 1 AND v.rid = r.rid",
            (asked.decode(),),
        )
        found = {row[0]: self._version(row[1:]) for row in rows.fetchall()}
        return [found.get(at) for at in range(len(names))]

    def vread(self, resource_type: str, resource_id: str, version_id: int) -> Version | None:
        """Return one version, or None."""
        row = self.db.execute(
            f"SELECT {_COLUMNS} FROM resource AS r CROSS JOIN version AS v "
            "WHERE r.type = ? AND r.id = ? AND v.nr = r.nr AND v.version_id = ?",
            (self.names.type(resource_type), resource_id, version_id),
        ).fetchone()
        return None if row is None else self._version(row)

    def by_rid(self, rids: Sequence[int], of: str | None = None) -> tuple[Version, ...]:
        """Return versions in the order asked; `of` is the id where all are of one resource."""
        rows = (
            self.db.execute(
                f"SELECT {_COLUMNS} FROM json_each(?) AS j CROSS JOIN version AS v "
                "CROSS JOIN resource AS r WHERE v.rid = j.value AND r.nr = v.nr",
                (as_json(rids),),
            )
            if of is None
            else self.db.execute(_OF_ONE, (of, as_json(rids)))
        )
        found = {row[0]: self._version(row) for row in rows.fetchall()}
        return tuple(found[rid] for rid in rids)

    def walk(self, resource_type: str | None, after: int, limit: int) -> list[tuple[int, Version]]:
        """Return current resources by number, after one."""
        only = "" if resource_type is None else " AND r.type = ?"
        binds = () if resource_type is None else (self.names.type(resource_type),)
        rows: list[Any] = self.db.execute(
            f"SELECT r.nr, {_COLUMNS} FROM resource AS r NOT INDEXED CROSS JOIN version AS v "
            f"WHERE r.nr > ? AND r.live = 1{only} AND v.rid = r.rid ORDER BY r.nr LIMIT ?",
            (after, *binds, limit),
        ).fetchall()
        return [(row[0], self._version(row[1:])) for row in rows]

    # --- changes -------------------------------------------------------------------------

    def tokens(self) -> Tokens:
        """Return what makes the tokens of the feed of changes."""
        key = cursor_key(self.db)
        return Tokens(bytes(key))

    def last_number(self) -> int:
        """Return the number of the last version made; 0 where there is none."""
        return int(self.db.execute("SELECT coalesce(max(rid), 0) FROM version").get)

    def changes(self, after: int, limit: int) -> list[tuple[int, Name, int, int, bool]]:
        """Return versions after a number: number, name, version, last updated, whether deleted."""
        rows: list[Any] = self.db.execute(
            "SELECT v.rid, v.type, r.id, v.version_id, v.last_updated, length(v.body) = 0 "
            "FROM version AS v CROSS JOIN resource AS r WHERE v.rid > ? AND r.nr = v.nr "
            "ORDER BY v.rid LIMIT ?",
            (after, limit),
        ).fetchall()
        return [
            (rid, (self._type(kind), key), version_id, last_updated, bool(deleted))
            for rid, kind, key, version_id, last_updated, deleted in rows
        ]

    def _type(self, nr: int) -> str:
        known = self._types.get(nr)
        if known is None:
            known = self._types[nr] = self.names.text(Kind.TYPE, nr)
        return known

    def _version(self, row: tuple[Any, ...], patient: str | None = None) -> Version:
        _, version_id, last_updated, method, patients, packing, packed, type_nr, key, at = row
        body = self.packing.unpack(packing, packed)
        known = self._types.get(type_nr) or self._type(type_nr)
        if at is not None:
            shown: tuple[str, ...] = (body[at : body.index(b'"', at)].decode() if at else key,)
        elif type(patients) is int:
            shown = (patient or self._patient(patients),)
        else:
            shown = tuple(map(self._patient, as_numbers(patients)))
        made_by = METHODS[method] if type(method) is int else method
        return Version(known, key, version_id, last_updated, body, not body, made_by, shown)

    def _patient(self, nr: int) -> str:
        found = self._patients.get(nr)
        if found is None:
            found = str(self.db.execute("SELECT id FROM resource WHERE nr = ?", (nr,)).get)
            if len(self._patients) > _PATIENTS:
                self._patients.clear()
            self._patients[nr] = found
        return found

    # --- one resource --------------------------------------------------------------------

    def visible(self, name: Name, where: Expression) -> bool:
        """Return whether the current (not deleted) version of this resource matches."""
        row = self.db.execute(
            "SELECT r.rid, r.tags, v.patients FROM resource AS r CROSS JOIN version AS v "
            "WHERE r.type = ? AND r.id = ? AND r.live = 1 AND v.rid = r.rid",
            (self.names.type(name[0]), name[1]),
        ).fetchone()
        if row is None:
            return False
        simple = self._simple(where, row[1], row[2])
        return self.searcher.matches(name[0], where, row[0]) if simple is None else simple

    def _simple(self, where: Expression, tags: Any, patients: Any) -> bool | None:
        """Return what a policy asks most, without a search; None where it asks for more."""
        match where:
            case And(operands) | Or(operands):
                found = [self._simple(one, tags, patients) for one in operands]
                decides = isinstance(where, Or)
                if decides in found:
                    return decides
                return None if None in found else not decides
            case Tagged(tag):
                return self.names.find(Kind.TAG, tag) in as_numbers(tags)
            case InPatient(asked):
                return any(self._patient(nr) in asked for nr in as_numbers(patients))
            case _:
                return None

    def tags(self, name: Name) -> frozenset[str]:
        """Return the access tags of a resource."""
        found = self.db.execute(
            "SELECT tags FROM resource WHERE type = ? AND id = ?",
            (self.names.type(name[0]), name[1]),
        ).get
        return frozenset(self.names.text(Kind.TAG, nr) for nr in as_numbers(found))

    def holder(self, key: str) -> Name | None:
        """Return who holds a unique key."""
        row = self.db.execute(
            "SELECT r.type, r.id FROM unique_key AS u CROSS JOIN resource AS r "
            "WHERE u.key = ? AND r.nr = u.nr",
            (key,),
        ).fetchone()
        return None if row is None else (self.names.text(Kind.TYPE, row[0]), row[1])

    def referrers(self, name: Name, limit: int) -> list[Name]:
        """Return current resources that refer to this one; its own row is no referrer."""
        rows: list[Any] = self.db.execute(
            "SELECT DISTINCT r.type, r.id FROM resource AS t CROSS JOIN ref AS d "
            "CROSS JOIN entry AS e CROSS JOIN resource AS r WHERE t.type = ? AND t.id = ? "
            "AND d.target = t.nr AND e.rid = d.rid AND e.nr <> t.nr AND r.nr = e.nr LIMIT ?",
            (self.names.type(name[0]), name[1], limit),
        ).fetchall()
        return [(self.names.text(Kind.TYPE, nr), key) for nr, key in rows]

    # --- history -------------------------------------------------------------------------

    def history(
        self,
        name: tuple[str | None, str | None],
        since: int | None,
        at: tuple[int, int] | None,
        count: int,
        cursor: str | None,
        among: Sequence[Some] = (),
    ) -> Page:
        """Return versions newest first: of one resource, of a type, or of all."""
        about = paging.history_shape(name, among)
        begin = Begin(0) if cursor is None else self.cursors.begin(about, cursor)
        span = _span(begin)
        within = span.sql("v.rid")
        conditions: list[str] = []
        binds: list[Any] = []
        if since is not None:
            conditions.append("v.last_updated >= ?")
            binds.append(since)
        if at is not None:
            # A version was current from its own time until the next one's.
            conditions.append(
                "v.last_updated <= ? AND NOT EXISTS (SELECT 1 FROM version AS n WHERE "
                "n.nr = v.nr AND n.version_id = v.version_id + 1 AND n.last_updated <= ?)"
            )
            binds += [at[1], at[0]]
        rids: list[int] = []
        for index, of, whose in self._of(name, among):
            text = " AND ".join([within.text, *of, *conditions])
            rows: list[Any] = self.db.execute(
                f"SELECT v.rid FROM version AS v {index} "
                f"WHERE {text} ORDER BY v.rid {span.order} LIMIT ?",
                (*within.binds, *whose, *binds, count + 1),
            ).fetchall()
            rids += [row[0] for row in rows]
        if among:
            rids.sort(reverse=not span.oldest)
        page, last = rids[:count], None
        if page and not begin.snapshot:
            begin = Begin(page[0])
        if page and len(rids) > count:
            last = Place(page[-1], backwards=span.oldest)
        around = paging.around(begin, last, lambda items: self.cursors.seal(about, items))
        return Page.of(self.by_rid(page, None if among else name[1]), around)

    def _of(
        self, name: tuple[str | None, str | None], among: Sequence[Some]
    ) -> Iterator[tuple[str, list[str], list[Any]]]:
        """Give for each walk over versions its index, its conditions, and what they bind."""
        if not among and name[0] is None:
            yield "NOT INDEXED", [], []
            return
        numbers: list[int] = []
        for kind, one in among or (name,):
            type_nr = self.names.type(kind or "")
            if one is None:
                yield "INDEXED BY version_type", ["v.type = ?"], [type_nr]
                continue
            found = self.db.execute(
                "SELECT nr FROM resource WHERE type = ? AND id = ?", (type_nr, one)
            ).get
            if found is not None:
                numbers.append(found)
        if numbers:
            within = "v.nr IN (SELECT value FROM json_each(?))"
            yield "INDEXED BY version_nr", [within], [as_json(numbers)]

    # --- search --------------------------------------------------------------------------

    @contextmanager
    def snapshot(self, steps: int) -> Iterator[None]:
        """Hold one view of the store, and a work budget."""
        self.db.execute("BEGIN")
        try:
            with self.searcher.budget.of(steps):
                yield
        finally:
            self.db.execute("ROLLBACK")

    def search(self, search: Search, steps: int) -> Page:
        """Return one page of matches."""
        with self.snapshot(steps):
            rids, around = self.searcher.page(search)
            total = self._total(search, len(rids), around.next)
            explained = self.searcher.explained(search) if search.explain else ()
            return Page.of(self.by_rid(rids) if rids else (), around, total, explained)

    def _total(self, search: Search, shown: int, following: str | None) -> int | None:
        if search.total == "none":
            return None
        if search.cursor is None and following is None and search.count > 0:
            return shown  # the first page is the last one too
        if search.total == "accurate":
            return self.searcher.total(search)
        return self.searcher.estimate(search)

    def count(self, resource_type: str, where: Expression, steps: int) -> int:
        """Return how many current resources of a type match."""
        with self.snapshot(steps):
            return self.searcher.total(Search(((resource_type, where),)))

    # --- ledger --------------------------------------------------------------------------

    def get(self, bucket: str, key: str, now: int | None) -> bytes | None:
        """Return a ledger record, or None where it is absent or has ended."""
        row = self.db.execute(
            "SELECT value, expires FROM ledger WHERE bucket = ? AND key = ?", (bucket, key)
        ).fetchone()
        if row is None or (now is not None and row[1] is not None and row[1] <= now):
            return None
        return bytes(row[0])

    def scan(
        self, bucket: str, start: str, end: str | None, limit: int, *, reverse: bool
    ) -> list[tuple[str, bytes]]:
        """Return records with start <= key < end, in key order or backwards."""
        bound, binds = ("", ()) if end is None else (" AND key < ?", (end,))
        order = "DESC" if reverse else "ASC"
        rows = self.db.execute(
            f"SELECT key, value FROM ledger WHERE bucket = ? AND key >= ?{bound} "
            f"ORDER BY key {order} LIMIT ?",
            (bucket, start, *binds, limit),
        )
        return [(key, bytes(value)) for key, value in rows]

    # --- audit ---------------------------------------------------------------------------

    def audit(
        self,
        patient: str | None,
        since: int | None,
        until: int | None,
        before: int | None,
        after: int | None,
        limit: int,
    ) -> list[AuditEntry]:
        """Return audit entries newest first; behind one, oldest first."""
        seq = "a.seq" if patient is None else "p.seq"
        conditions = [f"{seq} < ?"]
        binds: list[Any] = [LATEST_RID if before is None else before]
        if after is not None:
            conditions.append(f"{seq} > ?")
            binds.append(after)
        source = "audit AS a NOT INDEXED"
        if patient is not None:
            source = "audit_patient AS p CROSS JOIN audit AS a"
            conditions = ["p.patient = ?", *conditions, "a.seq = p.seq"]
            binds = [patient, *binds]
        elif since is not None and after is None:
            # Entries come nearly in the order of their time: the index bounds the walk.
            source = "audit AS a INDEXED BY audit_recorded"
        if since is not None:
            conditions.append("a.recorded >= ?")
            binds.append(since)
        if until is not None:
            conditions.append("a.recorded <= ?")
            binds.append(until)
        way = "DESC" if after is None else "ASC"
        rows = self.db.execute(
            f"SELECT a.seq, a.recorded, a.body, a.digest, a.patients FROM {source} "
            f"WHERE {' AND '.join(conditions)} ORDER BY {seq} {way} LIMIT ?",
            (*binds, limit),
        )
        return [_entry(row) for row in rows]

    def audit_entry(self, seq: int) -> AuditEntry | None:
        """Return one audit entry."""
        row = self.db.execute(
            "SELECT seq, recorded, body, digest, patients FROM audit WHERE seq = ?", (seq,)
        ).fetchone()
        return None if row is None else _entry(row)

    def audit_after(self, seq: int, limit: int) -> list[AuditEntry]:
        """Return audit entries in the order in which they were made."""
        rows = self.db.execute(
            "SELECT seq, recorded, body, digest, patients FROM audit WHERE seq > ? "
            "ORDER BY seq LIMIT ?",
            (seq, limit),
        )
        return [_entry(row) for row in rows]


def _span(begin: Begin) -> Span:
    """Return which versions a page of history is of."""
    if begin.place is None:
        return Span(begin.snapshot + 1) if begin.snapshot else ALL
    if begin.place.backwards:
        return Span(begin.snapshot + 1, begin.place.number, oldest=True)
    return Span(begin.place.number)


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    seq, recorded, body, digest, patients = row
    return AuditEntry(seq, recorded, body, digest, tuple(patients.split("\n")) if patients else ())
