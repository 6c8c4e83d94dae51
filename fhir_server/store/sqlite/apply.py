"""Batches applied in a transaction: conditions, versions, index rows, ledger, audit.

Index rows of the batches of one transaction are written together, in the order of their tables:
sorted rows touch fewer pages. A batch whose conditions search has them written first.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import apsw

from fhir_server.model.outcome import Unavailable
from fhir_server.search.values import IndexValues
from fhir_server.store.port import (
    INDEXED_BY,
    Batch,
    ConditionChanged,
    IndexedOtherwise,
    KeyHeld,
    Matches,
    Name,
    Referenced,
    Tag,
    Unchanged,
    Unreferenced,
    VersionConflict,
    Write,
    generation_of,
)
from fhir_server.store.sqlite.entry import Rows, entry_of, pack, rows_of, unpack
from fhir_server.store.sqlite.ledger import Chain, put_record
from fhir_server.store.sqlite.migrate import LATEST
from fhir_server.store.sqlite.names import WHOLE, Kind
from fhir_server.store.sqlite.numbering import Numbering, as_column, as_numbers
from fhir_server.store.sqlite.packing import Packing
from fhir_server.store.sqlite.search import Searcher
from fhir_server.store.sqlite.statements import DELETES, INSERTS

METHODS: Final = ("", "POST", "PUT", "PATCH", "DELETE")
"""A version's method is kept as its place in this list."""

_T = TypeVar("_T")


@dataclass(slots=True)
class _State:
    """A resource in a batch: as it was before, and as the batch has made it so far."""

    nr: int
    type: int
    rid: int | None
    version_id: int
    live: bool
    tags: tuple[int, ...]
    had_tags: tuple[int, ...] = ()
    new: bool = False
    was_rid: int | None = None
    last_updated: int | None = None
    write: Write | None = None
    versions: list[tuple[int, Write]] = field(default_factory=list)


class Applier:
    """Applies batches on the writer's connection, within the transaction that it holds."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self._numbering = Numbering(db)
        self.names = self._numbering.names
        self.packing = Packing(db)
        self._searcher = Searcher(db, self.names, self.packing)
        self._rows = Rows()
        self._rid = 0
        self._indexed = 0
        self._made: set[Name] = set()
        self._chain = Chain(db)
        self._has_changed = False

    def begin(self) -> None:
        """Read, under the write lock, where the last transaction (of any process) ended."""
        version, indexed, rid, nr, seq = next(
            self.db.execute(
                "SELECT (SELECT value FROM meta WHERE key = 'version'), "
                "(SELECT value FROM ledger WHERE bucket = ? AND key = ?), "
                "(SELECT coalesce(max(rid), 0) FROM version), "
                "(SELECT coalesce(max(nr), 0) FROM resource), "
                "(SELECT coalesce(max(seq), 0) FROM audit)",
                INDEXED_BY,
            )
        )
        if version != LATEST:
            raise Unavailable("The store was changed by another version of this program.")
        self._rid = rid
        self._indexed = generation_of(indexed)
        self._chain.begin(seq)
        self._numbering.begin(nr)
        self._has_changed = False
        self._made.clear()
        self._rows.clear()
        self.packing.refresh()

    def apply(self, batch: Batch) -> None:
        """Make all of a batch, or nothing of it.

        Raises:
            CommitRefused: A precondition does not hold.
        """
        if not (batch.writes or batch.tags or batch.conditions or batch.puts):
            self._chain.wait(batch.audit)
            return
        if batch.is_indexed:
            self.check_indexed(batch.indexed)
        if (
            batch.conditions
            or any(self._made_now(write) for write in batch.writes)
            or any(tag.without for tag in batch.tags)
        ):
            # What this batch looks at must be written, and outside its savepoint: rolled back
            # with it, the rows of the batches before would be lost.
            self.flush()
        self.whole(lambda: self._make(batch))
        self._chain.wait(batch.audit)
        self._has_changed = True
        for put in batch.puts:
            if (put.bucket, put.key) == INDEXED_BY:
                self._indexed = generation_of(put.value)
        self._made.update((write.resource_type, write.resource_id) for write in batch.writes)

    def check_indexed(self, generation: int) -> None:
        """Make sure that resources are indexed by these search parameters.

        Raises:
            IndexedOtherwise: They are not, or not any more.
        """
        if generation != self._indexed:
            raise IndexedOtherwise

    def _made_now(self, write: Write) -> bool:
        return (write.resource_type, write.resource_id) in self._made

    def whole(self, make: Callable[[], _T]) -> _T:
        """Return what `make` returns; where it raises, nothing of what it wrote is kept."""
        marks = (self._rid, self._numbering.last, self._rows.lengths())
        self.db.execute("SAVEPOINT batch")
        try:
            made = make()
        except BaseException:
            self._rid, self._numbering.last, lengths = marks
            self._rows.cut(lengths)
            self._numbering.forget_fresh()
            if self.db.in_transaction:
                self.db.execute("ROLLBACK TO batch; RELEASE batch")
            raise
        self.db.execute("RELEASE batch")
        self._numbering.settle()
        return made

    def forget(self) -> None:
        """Forget what the transaction made: it was rolled back."""
        self._rows.clear()
        self._numbering.forget()

    def probe(self) -> int:
        """Write something that nobody reads, to learn whether the disk takes it again."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('probe', randomblob(8))")
        return 1

    def flush(self) -> None:
        """Write the index rows and audit entries that are still to be written."""
        self._chain.write()
        for table, rows in self._rows.tables():
            if rows:
                if table == "said":
                    rows[:] = self._numbered(rows)
                rows.sort()
                self.db.executemany(INSERTS[table], rows)
        self._rows.clear()

    def _numbered(self, rows: list[tuple[int, Any, int]]) -> list[tuple[int, Any, int]]:
        """Return rows of words with the words' numbers."""
        give = self.names.give
        numbers = {word: give(Kind.WORD, word) for word in {word for _, word, _ in rows}}
        return [(param, numbers[word], rid) for param, word, rid in rows]

    def finish(self) -> None:
        """Write what is still to be written; where more than the audit changed, another edition."""
        self.flush()
        if self._has_changed:
            self.db.execute("UPDATE meta SET value = value + 1 WHERE key = 'edition'")

    def _make(self, batch: Batch) -> None:
        for condition in batch.conditions:
            self._check(condition)
        for put in batch.puts:
            put_record(self.db, put)
        states: dict[Name, _State] = {}
        for write in batch.writes:
            self._stage(write, states)
        for tag in batch.tags:
            self._tag(tag, states)
        for tag in batch.tags:
            if tag.without:
                self._untag(tag, states)
        for state in states.values():
            if state.was_rid is not None:
                self._take_out(state, state.was_rid)
        self._claim(states)
        self._keep(states)
        for condition in batch.conditions:
            if isinstance(condition, Unreferenced):
                self._check_unreferenced(condition)

    def _check(self, condition: Matches | Unchanged | Unreferenced) -> None:
        match condition:
            case Matches(resource_type, where, ids):
                rids = self._searcher.newest_now(resource_type, where, len(ids) + 1)
                found = {self._id_of(rid) for rid in rids}
                if found != ids:
                    raise ConditionChanged(f"other resources of {resource_type} match now")
            case Unchanged(resource_type, resource_id, version_id):
                state = self._state((resource_type, resource_id))
                if state.version_id != version_id:
                    raise ConditionChanged(f"{resource_type}/{resource_id} has changed")
            case Unreferenced():
                return

    def _id_of(self, rid: int) -> str:
        return str(
            self.db.execute(
                "SELECT id FROM resource WHERE nr = (SELECT nr FROM version WHERE rid = ?)", (rid,)
            ).get
        )

    def _check_unreferenced(self, condition: Unreferenced) -> None:
        self.flush()
        name = (condition.resource_type, condition.resource_id)
        rows: list[Any] = self.db.execute(
            "SELECT DISTINCT r.type, r.id FROM ref AS d CROSS JOIN entry AS e "
            "CROSS JOIN resource AS r WHERE d.target = ? AND e.rid = d.rid AND r.nr = e.nr",
            (self._numbering.resource(*name),),
        ).fetchall()
        allowed = {*condition.but_for, name}
        by = sorted((self.names.text(Kind.TYPE, nr), key) for nr, key in rows)
        for other in by:
            if other not in allowed:
                raise Referenced(name, other)

    def _state(self, name: Name) -> _State:
        type_nr = self.names.give_type(name[0])
        row = next(
            self.db.execute(
                "SELECT nr, rid, version_id, live, tags FROM resource WHERE type = ? AND id = ?",
                (type_nr, name[1]),
            ),
            None,
        )
        if row is None:
            return _State(0, type_nr, None, 0, live=False, tags=(), new=True)
        nr, rid, version_id, live, packed = row
        tags = as_numbers(packed)
        was = rid if live else None
        return _State(nr, type_nr, rid, version_id, bool(live), tags, had_tags=tags, was_rid=was)

    def _stage(self, write: Write, states: dict[Name, _State]) -> None:
        name = (write.resource_type, write.resource_id)
        state = states.get(name)
        if state is None:
            state = self._state(name)
        if write.version_id != state.version_id + 1:
            raise VersionConflict(name, state.version_id)
        if not state.nr:
            state.nr = self._numbering.next(name)
        states[name] = state
        self._rid += 1
        state.versions.append((self._rid, write))
        state.rid, state.version_id, state.write = self._rid, write.version_id, write
        state.last_updated, state.live = write.last_updated, not write.deleted
        if write.tags:
            self._add_tags(state, write.tags)

    def _tag(self, tag: Tag, states: dict[Name, _State]) -> None:
        name = (tag.resource_type, tag.resource_id)
        state = states.get(name)
        if state is not None:
            self._add_tags(state, tag.tags)
            return
        state = self._state(name)
        if not state.version_id:
            raise VersionConflict(name, 0)
        before = state.tags
        self._add_tags(state, tag.tags)
        if state.tags == before:
            return
        self.db.execute(
            "UPDATE resource SET tags = ? WHERE nr = ?", (as_column(state.tags), state.nr)
        )
        if state.live and state.rid is not None:
            self._rows.tag += [(nr, state.type, state.rid) for nr in state.tags]

    def _untag(self, tag: Tag, states: dict[Name, _State]) -> None:
        """Take tags away, once all of the batch are added."""
        name = (tag.resource_type, tag.resource_id)
        gone = {self.names.give(Kind.TAG, one) for one in tag.without}
        state = states.get(name)
        if state is not None:
            state.tags = tuple(nr for nr in state.tags if nr not in gone)
            return
        # The rows to be deleted may be waiting still to be written.
        self.flush()
        state = self._state(name)
        left = tuple(nr for nr in state.tags if nr not in gone)
        self.db.execute("UPDATE resource SET tags = ? WHERE nr = ?", (as_column(left), state.nr))
        if state.rid is not None:
            rows = [(nr, state.type, state.rid) for nr in gone]
            self.db.executemany(DELETES["tag"], rows)

    def _add_tags(self, state: _State, tags: frozenset[str]) -> None:
        given = {self.names.give(Kind.TAG, tag) for tag in tags}
        state.tags = tuple(sorted(given.union(state.tags)))

    def _take_out(self, state: _State, rid: int) -> None:
        """Delete the index rows of the version that was current."""
        packing, packed = next(
            self.db.execute("SELECT packing, packed FROM entry WHERE rid = ?", (rid,))
        )
        entry = unpack(self.packing.unpack(packing, packed))
        rows = Rows()
        rows_of(entry, rid, rows)
        patients = self.db.execute("SELECT patients FROM version WHERE rid = ?", (rid,)).get
        rows.compartment += [(nr, state.type, rid) for nr in as_numbers(patients)]
        rows.tag += [(nr, state.type, rid) for nr in {*state.had_tags, *state.tags}]
        rows.said[:] = self._numbered(rows.said)
        for table, gone in rows.tables():
            if gone:
                self.db.executemany(DELETES[table], gone)
        for statement in (
            "DELETE FROM date WHERE rid = ?",
            "DELETE FROM ref WHERE rid = ?",
            "DELETE FROM entry WHERE rid = ?",
        ):
            self.db.execute(statement, (rid,))
        for key in entry.unique:
            self.db.execute("DELETE FROM unique_key WHERE key = ? AND nr = ?", (key, state.nr))

    def reindex(self, name: Name, version_id: int, index: IndexValues) -> bool:
        """Index a resource anew; return False where it is not at this version any more."""
        state = self._state(name)
        if state.version_id != version_id or not state.live or state.rid is None:
            return False
        self._take_out(state, state.rid)
        state.write = Write(*name, version_id, 0, b"-", "", index)
        self._claim({name: state})
        patients = as_column(self._numbering.resource("Patient", one) for one in index.patients)
        self.db.execute(
            "UPDATE version SET patients = ?, patient_at = NULL WHERE rid = ? "
            "AND patients IS NOT ?",
            (patients, state.rid, patients),
        )
        entry = self._index(state, state.rid, state.write)
        self.db.execute("INSERT INTO entry VALUES (?, ?, ?, ?)", entry)
        self._has_changed = True
        return True

    def settle_shapes(self, resource_type: str) -> bool:
        """Note that all current resources of a type have their shapes indexed, where they have."""
        self.flush()
        param = self.names.param(resource_type, "")
        if param is None or self.names.shapes(resource_type) is not None:
            return False
        shaped, live = next(
            self.db.execute(
                "SELECT (SELECT count(*) FROM token WHERE param = ?), "
                "(SELECT count(*) FROM resource INDEXED BY resource_live "
                "WHERE type = ? AND live = 1)",
                (param, self.names.type(resource_type)),
            )
        )
        if shaped == live:
            self.names.see(param, WHOLE)
        return bool(shaped == live)

    def _claim(self, states: dict[Name, _State]) -> None:
        """Take the unique keys; those of the versions before are free already."""
        for state in states.values():
            if state.write is None or not state.live:
                continue
            for key in state.write.index.unique:
                held = self.db.execute("SELECT nr FROM unique_key WHERE key = ?", (key,)).get
                if held is None:
                    self.db.execute("INSERT INTO unique_key VALUES (?, ?)", (key, state.nr))
                elif held != state.nr:
                    holder = next((n for n, s in states.items() if s.nr == held), None)
                    raise KeyHeld(key, holder or self._name_of(held))

    def _name_of(self, nr: int) -> Name:
        type_nr, resource_id = next(
            self.db.execute("SELECT type, id FROM resource WHERE nr = ?", (nr,))
        )
        return self.names.text(Kind.TYPE, type_nr), resource_id

    def _keep(self, states: dict[Name, _State]) -> None:
        versions: list[tuple[Any, ...]] = []
        entries: list[tuple[Any, ...]] = []
        born: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        live: defaultdict[int, int] = defaultdict(int)
        for (_, resource_id), state in states.items():
            versions += [self._version(state, rid, write) for rid, write in state.versions]
            row = (state.rid, state.version_id, state.live, state.last_updated)
            tags = as_column(state.tags)
            if state.new:
                born.append((state.nr, state.type, resource_id, *row, tags))
            else:
                changed.append((*row, tags, state.nr))
            live[state.type] += state.live - (state.was_rid is not None)
            if state.live and state.write is not None and state.rid is not None:
                entries.append(self._index(state, state.rid, state.write))
        self.db.executemany("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", versions)
        self.db.executemany("INSERT INTO resource VALUES (?, ?, ?, ?, ?, ?, ?, ?)", born)
        self.db.executemany(
            "UPDATE resource SET rid = ?, version_id = ?, live = ?, last_updated = ?, tags = ? "
            "WHERE nr = ?",
            changed,
        )
        self.db.executemany("INSERT INTO entry VALUES (?, ?, ?, ?)", entries)
        self.db.executemany(
            "INSERT INTO counter VALUES (?, ?) "
            "ON CONFLICT DO UPDATE SET live = live + excluded.live",
            [item for item in live.items() if item[1]],
        )

    def _version(self, state: _State, rid: int, write: Write) -> tuple[Any, ...]:
        method: int | str = write.method
        if write.method in METHODS:
            method = METHODS.index(write.method)
        patients = as_column(
            self._numbering.resource("Patient", one) for one in write.index.patients
        )
        packing, body = self.packing.pack("body", write.body)
        return (
            rid, state.nr, state.type, write.version_id, write.last_updated, method, patients,
            packing, body, _patient_at(write),
        )  # fmt: skip

    def _index(self, state: _State, rid: int, write: Write) -> tuple[Any, ...]:
        """Add a version's index rows, and return the row of its entry."""
        numbers = self._numbering.of_type(write.resource_type)
        entry = entry_of(write.index, rid, numbers, self._rows)
        for one in write.index.patients:
            self._rows.compartment.append((
                self._numbering.resource("Patient", one),
                state.type,
                rid,
            ))
        self._rows.tag += [(nr, state.type, rid) for nr in state.tags]
        packing, packed = self.packing.pack("entry", pack(entry))
        return rid, state.nr, packing, packed


def _patient_at(write: Write) -> int | None:
    """Return where the body names the one Patient that a version is about.

    0 where it is that Patient itself; None where it is about none or several, or does not name it.
    """
    if len(write.index.patients) != 1:
        return None
    (patient,) = write.index.patients
    if (write.resource_type, write.resource_id) == ("Patient", patient):
        return 0
    before = b"Patient/"
    found = write.body.find(b'%s%s"' % (before, patient.encode()))
    return None if found < 0 else found + len(before)
